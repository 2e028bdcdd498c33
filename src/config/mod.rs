//! Typed settings: load, validate, report every problem at once. `config/voice-gateway.toml` documents every key.

mod checks;
mod duration;
mod passed;
mod problem;
mod raw;
mod reader;
mod scalars;
mod sections;
mod services;
mod tenants;
mod validate;
mod values;
mod words;

pub use passed::Passed;
pub use problem::{Problem, Problems};
pub use sections::{
    Admin, Agent, Digest, History, JitterBuffer, Log, Media, RequiredHeader, Sandbox, Sip, Tls, Webhook,
};
pub use services::{Assistant, Cxone, Dialog, SpeechToText, TextToSpeech};
pub use tenants::{Tenant, TenantConfig};
pub use values::{Listen, Pattern, PortRange, Store};
pub use words::{
    BandPreference, Codec, CxoneAuth, DigestAlgorithm, LogFormat, MissingContactId, ParametersIn, Silence,
    SpeechTransport, Srtp, Transport, WebhookEvent,
};

use reader::{Reader, Section, settings};
use std::path::Path;

/// The annotated default file, as `voice-gateway config --example` prints it.
pub const EXAMPLE: &str = include_str!("../../config/voice-gateway.toml");

settings! {
    /// The whole configuration.
    Config {
        /// The leg towards CXone.
        sip: Sip = Sip::default();
        /// RTP.
        media: Media = Media::default();
        /// Watson Speech to Text.
        speech_to_text: SpeechToText = SpeechToText::default();
        /// Watson Text to Speech.
        text_to_speech: TextToSpeech = TextToSpeech::default();
        /// Watson Assistant.
        assistant: Assistant = Assistant::default();
        /// NICE CXone.
        cxone: Cxone = Cxone::default();
        /// The conversation.
        dialog: Dialog = Dialog::default();
        /// Transcripts.
        history: History = History::default();
        /// The log webhook.
        webhook: Webhook = Webhook::default();
        /// The agent's page.
        agent: Agent = Agent::default();
        /// Health, metrics, calls.
        admin: Admin = Admin::default();
        /// The other side of every wire, for development.
        sandbox: Sandbox = Sandbox::default();
        /// Lines on stderr.
        log: Log = Log::default();
        /// What differs by the number that was called; without any, every number is answered.
        tenants: Vec<Tenant> = Vec::new();
    }
}

impl Config {
    /// Reads the file, lays the environment (`VOICE_GATEWAY__A__B=…`) over it and validates the whole. Services may
    /// still be unnamed: `require_complete` tells.
    pub fn load(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Self, Problems> {
        let (config, problems) = Self::read_all(path, env).map_err(Problems::of)?;
        Problems::none_or(problems).map(|()| config)
    }

    /// `load` and `require_complete` in one report: what `serve` and `check` need.
    pub fn load_complete(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Self, Problems> {
        let (config, mut problems) = Self::read_all(path, env).map_err(Problems::of)?;
        for lacking in validate::missing(&config) {
            // A key that was given and wrong is not missing too.
            if !problems.iter().any(|told| told.path.trim_end_matches("_file") == lacking.path) {
                problems.push(lacking);
            }
        }
        Problems::none_or(problems).map(|()| config)
    }

    /// Whether everything is there that calls need: the services' URLs and credentials.
    pub fn require_complete(&self) -> Result<(), Problems> {
        Problems::none_or(validate::missing(self))
    }

    /// What is worth a line in the log at start: defaults that this version does not act on yet, and likely slips.
    #[must_use]
    pub fn notices(&self) -> Vec<Problem> {
        validate::notices(self)
    }

    /// What a call to `number` (or SIP user name) is held with; `None` where tenants are configured and none has it.
    #[must_use]
    pub fn for_number(&self, number: &str) -> Option<TenantConfig<'_>> {
        if self.tenants.is_empty() {
            return Some(self.top());
        }
        let has = |tenant: &&Tenant| tenant.numbers.iter().any(|own| tenants::same(own, number));
        self.tenants.iter().find(has).map(Tenant::sections)
    }

    /// The sections of every tenant, or the top level's where there are no tenants: one set of clients each.
    #[must_use]
    pub fn tenant_configs(&self) -> Vec<TenantConfig<'_>> {
        if self.tenants.is_empty() { vec![self.top()] } else { self.tenants.iter().map(Tenant::sections).collect() }
    }

    /// The effective configuration as TOML, secrets as `***`.
    #[must_use]
    pub fn to_redacted_toml(&self) -> String {
        toml::to_string(&Section::write(self)).unwrap_or_default()
    }

    /// The paths of all keys, as in `sip.tls.certificate_file`; `_file` twins included.
    #[must_use]
    pub fn key_paths() -> Vec<String> {
        let mut paths = Vec::new();
        Section::keys(&Self::default(), "", &mut paths);
        paths
    }

    fn top(&self) -> TenantConfig<'_> {
        TenantConfig {
            name: "default",
            assistant: &self.assistant,
            speech_to_text: &self.speech_to_text,
            text_to_speech: &self.text_to_speech,
            cxone: &self.cxone,
            dialog: &self.dialog,
        }
    }

    fn read_all(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut table = raw::Table::new();
        for layer in [path.map_or_else(|| Ok(raw::Table::new()), raw::from_file), raw::from_environment(env)] {
            match layer {
                Ok(layer) => raw::lay_over(&mut table, &layer),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            // Half of what was meant is no ground to judge the rest on.
            return Err(problems);
        }
        let mut reader = Reader::new(&table, "", &mut problems);
        let mut config = <Self as Section>::read(&mut reader);
        reader.finish();
        config.cxone = validate::token_url_of(config.cxone);
        validate::config(&config, &mut problems);
        Ok((config, problems))
    }
}
