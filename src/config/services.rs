//! The sections of the file about the services a call needs and the conversation itself. Tenants may override them.

use super::checks::{between, recognize, short, within_unit};
use super::passed::Passed;
use super::reader::settings;
use super::values::literal;
use super::words::{BandPreference, CxoneAuth, ParametersIn, SpeechTransport};
use secrecy::SecretString;
use std::time::Duration;
use url::Url;

settings! {
    /// `[speech_to_text]`: Watson Speech to Text.
    SpeechToText {
        /// Instance URL (`https://…/instances/…`); always http(s) here, the socket is `{url}/v1/recognize`.
        url: Option<Url> = None;
        /// IAM API key.
        api_key: Option<SecretString> = None;
        /// A token instead of a key.
        bearer_token: Option<SecretString> = None;
        /// Where the key is turned into a token. Default `https://iam.cloud.ibm.com/identity/token`.
        iam_url: Url = literal(IAM);
        /// Plain HTTP and WebSocket also off loopback. Default false.
        allow_insecure: bool = false;
        /// Query parameter `model`. Default `en-US_Telephony`.
        model: String = "en-US_Telephony".to_owned(), super::checks::not_empty;
        /// Audio in one WebSocket message, 20 ms to 1 s: shorter is faster and costs more. Default 100 ms.
        audio_message: Duration = Duration::from_millis(100), between(Duration::from_millis(20), Duration::from_secs(1));
        /// Put into the start message as it is.
        recognize: Passed = Passed::new(), recognize;
        /// Put over `recognize` for calls whose first codec is one of 16 kHz.
        broadband_recognize: Passed = Passed::new(), recognize;
        /// Which codecs of `media.codecs` are tried first; in their order there without it.
        band_preference: Option<BandPreference> = None;
    }
}

settings! {
    /// `[text_to_speech]`: Watson Text to Speech.
    TextToSpeech {
        /// Instance URL; always http(s) here.
        url: Option<Url> = None;
        /// IAM API key.
        api_key: Option<SecretString> = None;
        /// A token instead of a key.
        bearer_token: Option<SecretString> = None;
        /// Where the key is turned into a token. Default `https://iam.cloud.ibm.com/identity/token`.
        iam_url: Url = literal(IAM);
        /// Plain HTTP and WebSocket also off loopback. Default false.
        allow_insecure: bool = false;
        /// Query parameter `voice`. Default `en-US_AllisonV3Voice`.
        voice: String = "en-US_AllisonV3Voice".to_owned(), super::checks::not_empty;
        /// How it is asked. Default websocket.
        transport: SpeechTransport = SpeechTransport::Websocket;
        /// Passed through as it is.
        synthesize: Passed = Passed::new(), super::checks::synthesize;
    }
}

settings! {
    /// `[assistant]`: Watson Assistant v2.
    Assistant {
        /// Instance URL.
        url: Option<Url> = None;
        /// IAM API key.
        api_key: Option<SecretString> = None;
        /// A token instead of a key.
        bearer_token: Option<SecretString> = None;
        /// Where the key is turned into a token. Default `https://iam.cloud.ibm.com/identity/token`.
        iam_url: Url = literal(IAM);
        /// Plain HTTP also off loopback. Default false.
        allow_insecure: bool = false;
        /// Environment whose sessions are opened.
        environment_id: Option<String> = None, super::checks::path_segment;
        /// Assistant of that environment: with it the path is `/v2/assistants/{assistant_id}/environments/{environment_id}/sessions`.
        assistant_id: Option<String> = None, super::checks::path_segment;
        /// API version date. Default 2024-08-25.
        version: String = "2024-08-25".to_owned(), super::checks::date;
        /// A turn may take so long, then it is tried once more, 100 ms to 2 m. Default 10 s.
        timeout: Duration = Duration::from_secs(10), between(Duration::from_millis(100), Duration::from_secs(120));
    }
}

settings! {
    /// `[cxone]`: NICE CXone.
    Cxone {
        /// Id of the access key.
        access_key_id: Option<SecretString> = None;
        /// Secret of the access key.
        access_key_secret: Option<SecretString> = None;
        /// How a token is got. Default access_key.
        auth: CxoneAuth = CxoneAuth::AccessKey;
        /// Client id of the registered application (`oauth_password`).
        client_id: Option<String> = None;
        /// Its secret.
        client_secret: Option<SecretString> = None;
        /// Where a token is got. Default `https://na1.nice-incontact.com/authentication/v1/token/access-key`, with
        /// `oauth_password` `https://cxone.niceincontact.com/auth/token`.
        token_url: Url = literal(ACCESS_KEY_TOKEN);
        /// Where the API's address is asked; `tenantId` is appended. Default
        /// `https://cxone.niceincontact.com/.well-known/cxone-configuration`.
        discovery_url: Url = literal("https://cxone.niceincontact.com/.well-known/cxone-configuration");
        /// The API's address; set, there is no discovery.
        api_url: Option<Url> = None;
        /// Version in the path of the signal. Default v30.0.
        api_version: String = "v30.0".to_owned(), super::checks::api_version;
        /// Plain HTTP also off loopback. Default false.
        allow_insecure: bool = false;
        /// Where p1 to p9 travel. Default query.
        parameters_in: ParametersIn = ParametersIn::Query;
        /// A signal with its repetitions may take so long, 500 ms to 1 m: the caller is waiting. Default 5 s.
        signal_budget: Duration = Duration::from_secs(5), between(Duration::from_millis(500), Duration::from_secs(60));
        /// Wait for CXone's BYE after a transfer, then send ours, 0 s to 1 h. Default 30 s.
        after_transfer: Duration = Duration::from_secs(30), between(Duration::ZERO, Duration::from_secs(3600));
        /// The same after a hangup. Default 5 s.
        after_hangup: Duration = Duration::from_secs(5), between(Duration::ZERO, Duration::from_secs(3600));
    }
}

settings! {
    /// `[dialog]`: the conversation.
    Dialog {
        /// Silence after a prompt, then a turn `vgwPostResponseTimeout`, 100 ms to 1 h. Default 7 s.
        post_response_timeout: Duration = Duration::from_secs(7), between(Duration::from_millis(100), Duration::from_secs(3600));
        /// Speech without a final result, then a turn `vgwFinalUtteranceTimeout`, 100 ms to 1 h; off without it.
        final_utterance_timeout: Option<Duration> = None, |value: &Option<Duration>| {
            value.as_ref().map_or(Ok(()), between(Duration::from_millis(100), Duration::from_secs(3600)))
        };
        /// Final results below it are dropped, 0 to 1. Default 0.
        confidence_threshold: f64 = 0.0, within_unit;
        /// The caller may interrupt by speaking when the call starts. Default true.
        barge_in: bool = true;
        /// Spoken before the error BYE where speech still works; empty says nothing.
        failure_message: String =
            "I'm sorry, something went wrong on our side. Please hold while I connect you to an agent.".to_owned(), short;
        /// Spoken when a transfer cannot be signalled; empty says nothing.
        transfer_failure_message: String =
            "I'm sorry, I could not transfer your call the usual way. Please hold.".to_owned(), short;
        /// True: then the error BYE. False: a new turn tells the assistant. Default true.
        disconnect_on_transfer_failure: bool = true;
        /// What came of a transfer by REFER is waited for so long, 1 s to 10 min. Default 60 s.
        refer_timeout: Duration = Duration::from_secs(60), between(Duration::from_secs(1), Duration::from_secs(600));
    }
}

pub(super) const ACCESS_KEY_TOKEN: &str = "https://na1.nice-incontact.com/authentication/v1/token/access-key";
pub(super) const OAUTH_TOKEN: &str = "https://cxone.niceincontact.com/auth/token";
const IAM: &str = "https://iam.cloud.ibm.com/identity/token";
