//! Requests to Text to Speech, over WebSocket and HTTP alike (Watson facts 2.3): what is asked for, or what is wrong with it.

use super::ssml::{self, Piece};
use crate::sandbox::audio_format::AudioFormat;
use serde_json::Value;

/// What is to be spoken and how it is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// As sent, for the demo's terminal.
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
    pub(super) voice: String,
    pub(super) format: AudioFormat,
    /// The format as it was asked for: goes back in `content_type`.
    pub(super) accept: String,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("Model {0} not found")]
    Voice(String),
    #[error(
        "Unsupported mimetypes: {0}. Supported mimetypes are: ['audio/alaw', 'audio/basic', 'audio/l16', 'audio/mulaw', 'audio/wav']"
    )]
    Format(String),
    #[error("Text is too long: {0} bytes, the maximum is 5 KB including SSML")]
    TooLong(usize),
    #[error("{0}")]
    Invalid(String),
}

impl Request {
    /// A request by HTTP or of the one message of a WebSocket.
    pub(super) fn new(text: &str, voice: Option<&str>, accept: Option<&str>) -> Result<Self, Refusal> {
        let voice = voice.unwrap_or(DEFAULT_VOICE);
        if !VOICES.contains(&voice) {
            return Err(Refusal::Voice(voice.to_owned()));
        }
        // What the service takes by default the sandbox cannot write.
        let accept = accept.filter(|accept| *accept != "*/*").unwrap_or("audio/ogg;codecs=opus");
        let format = AudioFormat::parse(accept).map_err(|error| Refusal::Format(error.to_string()))?;
        if text.len() > MOST_TEXT {
            return Err(Refusal::TooLong(text.len()));
        }
        let pieces = ssml::parse(text).map_err(Refusal::Invalid)?;
        if pieces.is_empty() {
            return Err(Refusal::Invalid("Required property 'text' is missing or empty".to_owned()));
        }
        Ok(Self { text: text.to_owned(), pieces, voice: voice.to_owned(), format, accept: accept.to_owned() })
    }

    /// The one text message of a WebSocket, with the names in it that nobody knows.
    pub(super) fn from_message(message: &str, voice: Option<&str>) -> Result<(Self, Vec<String>), Refusal> {
        let message: Value =
            serde_json::from_str(message).map_err(|error| Refusal::Invalid(format!("JSON parse error: {error}")))?;
        let fields =
            message.as_object().ok_or_else(|| Refusal::Invalid("JSON parse error: expected an object".to_owned()))?;
        let string = |name: &str| match fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(other) => Err(Refusal::Invalid(format!("{name}: must be a string, not {other}"))),
        };
        let request = Self::new(string("text")?.unwrap_or_default(), voice, string("accept")?)?;
        let unknown = fields.keys().filter(|name| !KNOWN.contains(&name.as_str())).cloned().collect();
        Ok((request, unknown))
    }
}

/// Query parameters of both interfaces, beside those of the message.
pub(super) const PARAMETERS: &[&str] = &[
    "accept",
    "access_token",
    "customization_id",
    "pitch_percentage",
    "rate_percentage",
    "spell_out_mode",
    "text",
    "voice",
    "x-watson-learning-opt-out",
    "x-watson-metadata",
];
const KNOWN: &[&str] = &["text", "accept", "timings", "action"];
const MOST_TEXT: usize = 5 * 1024;
const DEFAULT_VOICE: &str = "en-US_MichaelV3Voice";
/// The English voices. What they sound like is the engine's matter.
const VOICES: &[&str] = &[
    "en-US_AllisonV3Voice",
    "en-US_EmilyV3Voice",
    "en-US_HenryV3Voice",
    "en-US_KevinV3Voice",
    "en-US_LisaV3Voice",
    "en-US_MichaelV3Voice",
    "en-US_OliviaV3Voice",
    "en-US_AllisonExpressive",
    "en-US_EmmaExpressive",
    "en-US_LisaExpressive",
    "en-US_MichaelExpressive",
    "en-US_EllieNatural",
    "en-US_EmmaNatural",
    "en-US_EthanNatural",
    "en-GB_CharlotteV3Voice",
    "en-GB_JamesV3Voice",
    "en-GB_KateV3Voice",
    "en-AU_HeidiExpressive",
    "en-AU_JackExpressive",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_and_unknown_names_are_told() {
        let message = r#"{"text":"Hello","accept":"audio/mulaw;rate=8000","timings":["words"],"colour":"red"}"#;
        let (request, unknown) = Request::from_message(message, Some("en-US_AllisonV3Voice")).unwrap();
        assert_eq!(request.pieces, [Piece::Text("Hello".to_owned())]);
        assert_eq!(request.accept, "audio/mulaw;rate=8000");
        assert_eq!(unknown, ["colour"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mulaw = Some("audio/mulaw;rate=8000");
        assert_eq!(Request::new("Hi", Some("xx-XX_Nobody"), mulaw), Err(Refusal::Voice("xx-XX_Nobody".to_owned())));
        assert!(matches!(Request::new("Hi", None, None), Err(Refusal::Format(_))), "the default is Ogg");
        assert!(matches!(Request::new("Hi", None, Some("audio/mulaw")), Err(Refusal::Format(_))));
        assert!(matches!(Request::new(&"a".repeat(5_121), None, mulaw), Err(Refusal::TooLong(5_121))));
        assert!(Request::new(&"a".repeat(5_120), None, mulaw).is_ok());
        assert!(matches!(Request::new("", None, mulaw), Err(Refusal::Invalid(_))));
        assert!(matches!(Request::from_message("[]", None), Err(Refusal::Invalid(_))));
        assert!(matches!(Request::from_message(r#"{"text":5}"#, None), Err(Refusal::Invalid(_))));
    }
}
