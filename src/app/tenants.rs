//! From configuration to working clients: one set of services per tenant, found by the dialled number.

use super::GatewayError;
use crate::audio::Form;
use crate::call::{CallSettings, ContactRule, MissingContact};
use crate::config::{self, BandPreference, Config, TenantConfig};
use crate::cxone::{self, Cxone};
use crate::media::sdp::Codec;
use crate::talk::TalkSettings;
use crate::watson::{
    Assistant, AssistantSettings, Auth, ServiceSettings, SpeakPace, SpeechToText, SpeechToTextSettings, StreamPace,
    TextToSpeech, TextToSpeechSettings, Tokens, Watson, speech_to_text::end_of_phrase_silence,
    text_to_speech as speaking,
};
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

/// What a call to one number is held with.
pub struct Tenant {
    /// Its name; `default` where the configuration has no tenants.
    pub name: String,
    /// Token of the assistant's service, for `check`; services with the same key share it.
    pub tokens: Tokens,
    /// Hears.
    pub speech_to_text: SpeechToText,
    /// Speaks.
    pub text_to_speech: TextToSpeech,
    /// Thinks.
    pub assistant: Assistant,
    /// Is signalled.
    pub cxone: Cxone,
    /// How its calls go.
    pub call: Arc<CallSettings>,
    /// Audio in one message to Speech to Text.
    pub audio_message: Duration,
    /// What Speech to Text is asked beyond for sound of a wide band.
    pub broadband_recognize: serde_json::Map<String, serde_json::Value>,
    /// In order of preference.
    pub codecs: Vec<Codec>,
}

/// All tenants of the process.
pub struct Tenants {
    config: Arc<Config>,
    by_name: HashMap<String, Arc<Tenant>>,
}

impl Tenants {
    /// Builds every client. Token refreshers start at once on `tracker`, so that no first call waits for a token.
    ///
    /// # Errors
    /// The first client that cannot be built, named with its tenant.
    pub fn build(config: Arc<Config>, tracker: &TaskTracker, stop: &CancellationToken) -> Result<Self, GatewayError> {
        let mut watson = Watson::new(tracker, stop).map_err(|error| GatewayError::Service(error.to_string()))?;
        let mut by_name = HashMap::new();
        for sections in config.tenant_configs() {
            let tenant = build(&config, sections, &mut watson)
                .map_err(|error| GatewayError::Service(format!("tenant {}: {error}", sections.name)))?;
            tenant.cxone.start(tracker, stop.clone());
            by_name.insert(sections.name.to_owned(), Arc::new(tenant));
        }
        Ok(Self { config, by_name })
    }

    /// The tenant of a dialled number; none is a 404.
    #[must_use]
    pub fn find(&self, number: &str) -> Option<Arc<Tenant>> {
        let sections = self.config.for_number(number)?;
        self.by_name.get(sections.name).cloned()
    }

    /// Every tenant, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Tenant>)> {
        self.by_name.iter().map(|(name, tenant)| (name.as_str(), tenant))
    }
}

type Wrong = Box<dyn std::error::Error + Send + Sync>;

fn build(config: &Config, sections: TenantConfig<'_>, watson: &mut Watson) -> Result<Tenant, Wrong> {
    let assistant = assistant(sections.assistant)?;
    Ok(Tenant {
        tokens: watson.tokens(&assistant.service),
        name: sections.name.to_owned(),
        speech_to_text: watson.speech_to_text(speech_to_text(sections.speech_to_text)?)?,
        text_to_speech: watson.text_to_speech(text_to_speech(sections.text_to_speech)?)?,
        assistant: watson.assistant(assistant)?,
        cxone: Cxone::new(cxone_settings(config, sections.cxone)?)?,
        call: Arc::new(call(config, sections)?),
        audio_message: sections.speech_to_text.audio_message,
        broadband_recognize: sections.speech_to_text.broadband_recognize.clone(),
        codecs: codecs(&config.media.codecs, sections.speech_to_text.band_preference),
    })
}

/// The codecs of the configuration, those of the band that is preferred first.
fn codecs(configured: &[config::Codec], preferred: Option<BandPreference>) -> Vec<Codec> {
    let known = |codec: &config::Codec| match codec {
        config::Codec::Pcmu => Some(Codec::Pcmu),
        config::Codec::Pcma => Some(Codec::Pcma),
        config::Codec::G722 => Some(Codec::G722),
        #[cfg(feature = "opus")]
        config::Codec::Opus => Some(Codec::Opus),
        #[cfg(not(feature = "opus"))]
        config::Codec::Opus => None,
    };
    let mut codecs: Vec<Codec> = configured.iter().filter_map(known).collect();
    let wide = |codec: &Codec| codec.form() == Form::Wide;
    match preferred {
        None => {}
        Some(BandPreference::Broadband) => codecs.sort_by_key(|codec| !wide(codec)),
        Some(BandPreference::Narrowband) => codecs.sort_by_key(wide),
    }
    codecs
}

fn service(
    section: &str,
    url: Option<&Url>,
    api_key: Option<&SecretString>,
    bearer_token: Option<&SecretString>,
    iam_url: &Url,
    allow_insecure: bool,
) -> Result<ServiceSettings, Wrong> {
    let url = url.ok_or_else(|| format!("{section}.url is missing"))?.clone();
    let auth = match (api_key, bearer_token) {
        (Some(key), _) => Auth::ApiKey(key.clone()),
        (None, Some(token)) => Auth::BearerToken(token.clone()),
        // `Config::load_complete` lets only loopback services do without: they get a token that nobody checks.
        (None, None) => Auth::BearerToken(SecretString::from("none")),
    };
    Ok(ServiceSettings { url, auth, iam_url: iam_url.clone(), allow_insecure })
}

fn speech_to_text(section: &config::SpeechToText) -> Result<SpeechToTextSettings, Wrong> {
    Ok(SpeechToTextSettings {
        service: service(
            "speech_to_text",
            section.url.as_ref(),
            section.api_key.as_ref(),
            section.bearer_token.as_ref(),
            &section.iam_url,
            section.allow_insecure,
        )?,
        model: section.model.clone(),
        recognize: section.recognize.clone(),
        pace: StreamPace::default(),
    })
}

fn text_to_speech(section: &config::TextToSpeech) -> Result<TextToSpeechSettings, Wrong> {
    Ok(TextToSpeechSettings {
        service: service(
            "text_to_speech",
            section.url.as_ref(),
            section.api_key.as_ref(),
            section.bearer_token.as_ref(),
            &section.iam_url,
            section.allow_insecure,
        )?,
        voice: section.voice.clone(),
        synthesize: section.synthesize.clone(),
        transport: match section.transport {
            config::SpeechTransport::Websocket => speaking::Transport::Websocket,
            config::SpeechTransport::Http => speaking::Transport::Http,
        },
        pace: SpeakPace::default(),
    })
}

fn assistant(section: &config::Assistant) -> Result<AssistantSettings, Wrong> {
    Ok(AssistantSettings {
        service: service(
            "assistant",
            section.url.as_ref(),
            section.api_key.as_ref(),
            section.bearer_token.as_ref(),
            &section.iam_url,
            section.allow_insecure,
        )?,
        environment_id: section.environment_id.clone().ok_or("assistant.environment_id is missing")?,
        assistant_id: section.assistant_id.clone(),
        version: section.version.clone(),
        timeout: section.timeout,
    })
}

fn cxone_settings(config: &Config, section: &config::Cxone) -> Result<cxone::Settings, Wrong> {
    let id = section.access_key_id.as_ref().ok_or("cxone.access_key_id is missing")?.expose_secret().to_owned();
    let secret = section.access_key_secret.clone().ok_or("cxone.access_key_secret is missing")?;
    let auth = match section.auth {
        config::CxoneAuth::AccessKey => cxone::Auth::AccessKey { id, secret },
        config::CxoneAuth::OauthPassword => cxone::Auth::OauthPassword {
            id,
            secret,
            client_id: section.client_id.clone().ok_or("cxone.client_id is missing")?,
            client_secret: section.client_secret.clone().ok_or("cxone.client_secret is missing")?,
        },
    };
    Ok(cxone::Settings {
        token_url: section.token_url.to_string(),
        discovery_url: section.discovery_url.to_string(),
        api_url: section.api_url.as_ref().map(ToString::to_string),
        api_version: section.api_version.clone(),
        parameters_in: match section.parameters_in {
            config::ParametersIn::Query => cxone::ParametersIn::Query,
            config::ParametersIn::Body => cxone::ParametersIn::Body,
            config::ParametersIn::Split => cxone::ParametersIn::Split,
        },
        contact_id_pattern: config.sip.contact_id_pattern.as_str().to_owned(),
        allow_insecure: section.allow_insecure,
        signal_budget: section.signal_budget,
        ..cxone::Settings::new(auth)
    })
}

fn call(config: &Config, sections: TenantConfig<'_>) -> Result<CallSettings, Wrong> {
    let sip = &config.sip;
    let missing = match sip.missing_contact_id {
        config::MissingContactId::Reject => MissingContact::Reject,
        config::MissingContactId::Accept => MissingContact::Accept,
    };
    let rule = ContactRule::new(sip.contact_id_headers.clone(), sip.contact_id_pattern.as_str(), missing)?;
    let (dialog, cxone) = (sections.dialog, sections.cxone);
    let defaults = TalkSettings::default();
    Ok(CallSettings {
        ringing: sip.ringing,
        session_key_header: sip.session_key_header.clone(),
        extract_headers: sip.extract_headers.clone(),
        withheld_headers: ["Authorization", "Proxy-Authorization"]
            .into_iter()
            .chain(sip.required_header.iter().map(|header| header.name.as_str()))
            .map(str::to_owned)
            .collect(),
        talk: TalkSettings {
            post_response_timeout: dialog.post_response_timeout,
            final_utterance_timeout: dialog.final_utterance_timeout,
            confidence_threshold: dialog.confidence_threshold,
            barge_in: dialog.barge_in,
            // One turn is asked at most twice; above that only a lost answer is left to explain the wait.
            turn_limit: defaults.turn_limit.max(sections.assistant.timeout * 2 + TURN_SLACK),
            end_of_phrase_silence: end_of_phrase_silence(&sections.speech_to_text.recognize),
            log_transcripts: config.log.transcripts,
        },
        failure_message: dialog.failure_message.clone(),
        transfer_failure_message: dialog.transfer_failure_message.clone(),
        disconnect_on_transfer_failure: dialog.disconnect_on_transfer_failure,
        refer_timeout: dialog.refer_timeout,
        signal_budget: cxone.signal_budget,
        after_transfer: cxone.after_transfer,
        after_hangup: cxone.after_hangup,
        ..CallSettings::new(rule)
    })
}

/// Above twice the assistant's timeout: token, connect and session creation.
const TURN_SLACK: Duration = Duration::from_secs(10);
