//! Watson clients: IAM tokens, Speech to Text, Text to Speech, Assistant v2. `Watson` builds them on shared connections and tokens.

pub mod assistant;
pub mod iam;
pub mod settings;
pub mod speech_to_text;
pub mod text_to_speech;
mod transport;

pub use assistant::{Assistant, AssistantSettings, Conversation, SessionId};
pub use iam::{Token, Tokens};
pub use settings::{Auth, ServiceSettings, SettingsError};
pub use speech_to_text::{Pause, SpeechStream, SpeechToText, SpeechToTextSettings, StreamOptions, StreamPace};
pub use text_to_speech::{SpeakPace, Spoken, TextToSpeech, TextToSpeechSettings};

use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use transport::Transport;
use url::Url;

/// What all Watson clients of the process share: one HTTP pool, one TLS configuration (its session cache makes the next
/// handshake shorter), and one token per API key however many tenants and services use that key.
pub struct Watson {
    transport: Transport,
    tracker: TaskTracker,
    stop: CancellationToken,
    pace: iam::Pace,
    minted: Vec<(Url, SecretString, Tokens)>,
}

impl Watson {
    /// Prepares the shared parts. Token refreshers run on `tracker` until `stop`.
    pub fn new(tracker: &TaskTracker, stop: &CancellationToken) -> Result<Self, SettingsError> {
        Ok(Self {
            transport: Transport::new()?,
            tracker: tracker.clone(),
            stop: stop.clone(),
            pace: iam::Pace::default(),
            minted: Vec::new(),
        })
    }

    /// Replaces the pace of token refreshes made from now on. Tests use it.
    #[must_use]
    pub fn with_token_pace(mut self, pace: iam::Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The tokens for a service; minting starts at once, and an API key that is known already shares its token.
    pub fn tokens(&mut self, service: &ServiceSettings) -> Tokens {
        match &service.auth {
            Auth::BearerToken(token) => Tokens::given(token),
            Auth::ApiKey(key) => {
                let known = self
                    .minted
                    .iter()
                    .find(|(url, k, _)| *url == service.iam_url && k.expose_secret() == key.expose_secret());
                if let Some((_, _, tokens)) = known {
                    return tokens.clone();
                }
                let mint = iam::by_api_key(self.transport.clone(), service.iam_url.clone(), key.clone());
                let tokens = Tokens::minted(mint, self.pace.clone(), &self.tracker, &self.stop);
                self.minted.push((service.iam_url.clone(), key.clone(), tokens.clone()));
                tokens
            }
        }
    }

    /// A Speech to Text client. Fails on the first problem of the settings (`ServiceSettings::problems` tells all).
    pub fn speech_to_text(&mut self, settings: SpeechToTextSettings) -> Result<SpeechToText, SettingsError> {
        settings.service.check("speech_to_text")?;
        let tokens = self.tokens(&settings.service);
        Ok(SpeechToText::new(settings, tokens, self.transport.clone()))
    }

    /// A Text to Speech client. Fails on the first problem of the settings.
    pub fn text_to_speech(&mut self, settings: TextToSpeechSettings) -> Result<TextToSpeech, SettingsError> {
        settings.service.check("text_to_speech")?;
        let tokens = self.tokens(&settings.service);
        Ok(TextToSpeech::new(settings, tokens, self.transport.clone()))
    }

    /// An Assistant v2 client. Fails on the first problem of the settings.
    pub fn assistant(&mut self, settings: AssistantSettings) -> Result<Assistant, SettingsError> {
        settings.service.check("assistant")?;
        let tokens = self.tokens(&settings.service);
        Ok(Assistant::new(settings, tokens, self.transport.clone()))
    }
}

/// The sound of the call as Watson names it: RTP payload of G.711 goes there and comes back without transcoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// G.711 mu-law at 8 kHz.
    Mulaw,
    /// G.711 A-law at 8 kHz.
    Alaw,
}

impl Coding {
    /// The media type, in `content-type` of Speech to Text and `accept` of Text to Speech. The rate is mandatory.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mulaw => "audio/mulaw;rate=8000",
            Self::Alaw => "audio/alaw;rate=8000",
        }
    }

    /// The code word of digital silence (ITU-T G.711).
    #[must_use]
    pub fn silence(self) -> u8 {
        match self {
            Self::Mulaw => 0xff,
            Self::Alaw => 0xd5,
        }
    }

    /// Whether a service's content type is this coding. A missing rate is forgiven, `audio/basic` is mu-law at 8 kHz.
    #[must_use]
    pub fn matches(self, content_type: &str) -> bool {
        let mut parts = content_type.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let rate = parts.find_map(|part| part.strip_prefix("rate=")).unwrap_or("8000");
        let ours = match self {
            Self::Mulaw => essence == "audio/mulaw" || essence == "audio/basic",
            Self::Alaw => essence == "audio/alaw",
        };
        ours && rate == "8000"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_knows_its_own_content_type_and_no_other() {
        assert!(Coding::Mulaw.matches("audio/mulaw; rate=8000"));
        assert!(Coding::Mulaw.matches("audio/basic"));
        assert!(Coding::Alaw.matches("Audio/ALAW;rate=8000"));
        assert!(!Coding::Mulaw.matches("audio/mulaw;rate=16000"));
        assert!(!Coding::Mulaw.matches("audio/alaw;rate=8000"));
        assert!(!Coding::Alaw.matches("text/html"));
    }
}
