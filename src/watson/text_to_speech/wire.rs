//! Text to Speech messages (Watson facts 2.3): query, request and HTTP body out; announcements, marks and errors in.

use super::super::Coding;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

/// The URL with its query: the voice, and `[text_to_speech.synthesize]`.
#[must_use]
pub fn with_query(mut url: Url, voice: &str, synthesize: &Map<String, Value>) -> Url {
    {
        let mut query = url.query_pairs_mut();
        if !synthesize.contains_key("voice") {
            query.append_pair("voice", voice);
        }
        for (key, value) in synthesize.iter().filter(|(key, _)| !MESSAGE_KEYS.contains(&key.as_str())) {
            query.append_pair(key, &value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned));
        }
    }
    url
}

/// The one message of a WebSocket request.
#[must_use]
pub fn request(text: &str, coding: Coding, synthesize: &Map<String, Value>) -> String {
    let mut message = json!({"text": text, "accept": coding.content_type()});
    if let (Some(timings), Value::Object(fields)) = (synthesize.get("timings"), &mut message) {
        fields.insert("timings".to_owned(), timings.clone());
    }
    message.to_string()
}

/// The body of an HTTP request.
#[must_use]
pub fn body(text: &str) -> Value {
    json!({"text": text})
}

/// One text message of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    /// The content type of the audio that follows.
    pub content_type: Option<String>,
    /// Why there is no more audio: the service closes next.
    pub error: Option<String>,
    /// Non-fatal words of the service.
    pub warning: Option<String>,
}

/// Reads one text message; marks and timings are legal and of no use here. `None` is garbage.
#[must_use]
pub fn parse(text: &str) -> Option<Incoming> {
    #[derive(Deserialize)]
    struct Message {
        binary_streams: Option<Vec<Announced>>,
        error: Option<Value>,
        warnings: Option<Value>,
        marks: Option<serde::de::IgnoredAny>,
        words: Option<serde::de::IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Announced {
        content_type: Option<String>,
    }
    let message: Message = serde_json::from_str(text).ok()?;
    let known = message.binary_streams.is_some()
        || message.error.is_some()
        || message.warnings.is_some()
        || message.marks.is_some()
        || message.words.is_some();
    let said = |value: Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    known.then(|| Incoming {
        content_type: message.binary_streams.and_then(|streams| streams.into_iter().next()?.content_type),
        error: message.error.map(said),
        warning: message.warnings.map(said),
    })
}

/// Not for the query: the gateway's own, what belongs into the message, and what would carry a secret in a URL.
const MESSAGE_KEYS: &[&str] = &["text", "accept", "timings", "access_token"];

#[cfg(test)]
mod tests {
    use super::*;

    fn table(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn voice_and_parameters_go_to_the_query_and_timings_to_the_message() {
        let url: Url = "wss://api.example.com/instances/1/v1/synthesize".parse().unwrap();
        let synthesize =
            table(json!({"rate_percentage": -10, "timings": ["words"], "accept": "audio/wav", "access_token": "t"}));
        let asked = with_query(url.clone(), "en-US_AllisonV3Voice", &synthesize);
        assert_eq!(asked.query(), Some("voice=en-US_AllisonV3Voice&rate_percentage=-10"));
        assert_eq!(with_query(url, "a", &table(json!({"voice": "b"}))).query(), Some("voice=b"));
        let message: Value = serde_json::from_str(&request("Hi \"you\"", Coding::Mulaw, &synthesize)).unwrap();
        assert_eq!(message, json!({"text":"Hi \"you\"","accept":"audio/mulaw;rate=8000","timings":["words"]}));
        assert_eq!(body("x"), json!({"text":"x"}));
    }

    #[test]
    fn the_documented_messages_are_read() {
        let announced = parse(r#"{"binary_streams":[{"content_type":"audio/mulaw;rate=8000"}]}"#).unwrap();
        assert_eq!(announced.content_type.as_deref(), Some("audio/mulaw;rate=8000"));
        assert_eq!(parse(r#"{"marks":[["here",0.501]]}"#), Some(Incoming::default()));
        assert_eq!(parse(r#"{"words":[["Hello",0.0,0.31]]}"#), Some(Incoming::default()));
        assert_eq!(parse(r#"{"warnings":"odd"}"#).unwrap().warning.as_deref(), Some("odd"));
        assert_eq!(parse(r#"{"error":"Invalid SSML"}"#).unwrap().error.as_deref(), Some("Invalid SSML"));
    }

    #[test]
    fn garbage_is_told_from_messages() {
        for garbage in ["", "<html>", "7", "{}", r#"{"binary_streams":"#] {
            assert_eq!(parse(garbage), None, "{garbage}");
        }
    }
}
