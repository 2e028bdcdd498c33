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

/// The sound of the call as Watson names it: RTP payload of G.711 goes there and comes back without transcoding, sound of a wide
/// band as linear samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// G.711 mu-law at 8 kHz.
    Mulaw,
    /// G.711 A-law at 8 kHz.
    Alaw,
    /// Linear samples of 16 bits, little-endian, at 16 kHz.
    L16,
}

impl Coding {
    /// The media type, in `content-type` of Speech to Text and `accept` of Text to Speech. The rate is mandatory.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mulaw => "audio/mulaw;rate=8000",
            Self::Alaw => "audio/alaw;rate=8000",
            Self::L16 => "audio/l16;rate=16000;endianness=little-endian",
        }
    }

    /// Bytes of a second.
    #[must_use]
    pub const fn bytes_per_second(self) -> u32 {
        match self {
            Self::Mulaw | Self::Alaw => 8000,
            Self::L16 => 32_000,
        }
    }

    /// The byte of digital silence (ITU-T G.711).
    #[must_use]
    pub fn silence(self) -> u8 {
        match self {
            Self::Mulaw => 0xff,
            Self::Alaw => 0xd5,
            Self::L16 => 0,
        }
    }

    /// Whether a service's content type is this coding. A missing rate is forgiven, `audio/basic` is mu-law at 8 kHz.
    #[must_use]
    pub fn matches(self, content_type: &str) -> bool {
        let content_type = content_type.to_ascii_lowercase();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let parameter = |name: &str| {
            content_type.split(';').skip(1).find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let rate = parameter("rate").unwrap_or("8000");
        match self {
            Self::Mulaw => matches!(essence, "audio/mulaw" | "audio/basic") && rate == "8000",
            Self::Alaw => essence == "audio/alaw" && rate == "8000",
            Self::L16 => essence == "audio/l16" && rate == "16000" && parameter("endianness") != Some("big-endian"),
        }
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
        assert!(Coding::L16.matches(Coding::L16.content_type()));
        assert!(Coding::L16.matches("audio/l16; rate=16000; channels=1"));
        for other in ["audio/l16;rate=8000", "audio/l16", "audio/l16;rate=16000;endianness=big-endian", "audio/mulaw"] {
            assert!(!Coding::L16.matches(other), "{other}");
        }
    }
}
