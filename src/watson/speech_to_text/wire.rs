//! Speech to Text messages (Watson facts 2.2): query and start message out, results, errors and warnings in.

use super::super::Coding;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

/// The URL with its query, and the start message: `recognize` is split between both, since some parameters are only
/// read from the query.
#[must_use]
pub fn open(mut url: Url, model: &str, recognize: &Map<String, Value>, coding: Coding) -> (Url, String) {
    let mut start = Map::new();
    {
        let mut query = url.query_pairs_mut();
        if !recognize.contains_key("model") {
            query.append_pair("model", model);
        }
        for (key, value) in recognize {
            if QUERY_KEYS.contains(&key.as_str()) {
                query.append_pair(key, &as_text(value));
            } else if !FIXED_KEYS.contains(&key.as_str()) {
                start.insert(key.clone(), value.clone());
            }
        }
    }
    start.insert("action".to_owned(), json!("start"));
    start.insert("content-type".to_owned(), json!(coding.content_type()));
    start.insert("interim_results".to_owned(), json!(true));
    start.insert("inactivity_timeout".to_owned(), json!(-1));
    (url, Value::Object(start).to_string())
}

/// Ends the audio; the service answers with the remaining finals, then `listening`.
pub const STOP: &str = r#"{"action":"stop"}"#;

/// One message of the service. It may hold several of these at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incoming {
    /// `{"state":"listening"}`.
    pub listening: bool,
    /// An `error`: the service closes next.
    pub error: Option<ServiceError>,
    /// Non-fatal words of the service.
    pub warning: Option<String>,
    /// Hypotheses and speech begins, in order.
    pub items: Vec<Item>,
    /// The whole message where it holds a final result.
    pub raw: Option<Value>,
}

/// One of `results`.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `speech_begin_event`.
    Began,
    /// The best alternative so far.
    Interim {
        /// Trimmed.
        transcript: String,
    },
    /// The best alternative, for good.
    Final {
        /// Trimmed.
        transcript: String,
        /// As the service rates it.
        confidence: Option<f64>,
        /// Where its last word ends, in seconds of this socket's audio; only with `timestamps`.
        ends_at: Option<f64>,
    },
}

/// `{"error":…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    /// What it says.
    pub text: String,
    /// `code`, where there is one.
    pub code: Option<u16>,
}

/// Reads one text message; `None` is garbage: no JSON, or nothing of the protocol in it.
#[must_use]
pub fn parse(text: &str) -> Option<Incoming> {
    let message: Message<'_> = serde_json::from_str(text).ok()?;
    let known = message.state.is_some()
        || message.error.is_some()
        || message.warnings.is_some()
        || message.results.is_some()
        || message.speaker_labels.is_some();
    if !known {
        return None;
    }
    let items: Vec<Item> = message.results.unwrap_or_default().into_iter().filter_map(item).collect();
    let raw = if items.iter().any(|item| matches!(item, Item::Final { .. })) {
        serde_json::from_str(text).ok()
    } else {
        None
    };
    Some(Incoming {
        listening: message.state == Some("listening"),
        error: message.error.map(|error| ServiceError {
            text: error.as_str().map_or_else(|| error.to_string(), ToOwned::to_owned),
            code: message.code,
        }),
        warning: message.warnings.map(|warning| as_text(&warning)),
        items,
        raw,
    })
}

fn item(result: RecognitionResult) -> Option<Item> {
    if result.speech_begin_event.is_some() {
        return Some(Item::Began);
    }
    let best = result.alternatives.into_iter().next()?;
    let transcript = best.transcript.trim().to_owned();
    if result.is_final {
        let ends_at = best.timestamps.last().and_then(|word| word.get(2)).and_then(Value::as_f64);
        return Some(Item::Final { transcript, confidence: best.confidence, ends_at });
    }
    // An empty hypothesis says nothing, and must not stop a prompt.
    (!transcript.is_empty()).then_some(Item::Interim { transcript })
}

/// A parameter's value as a query writes it.
fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    state: Option<&'a str>,
    error: Option<Value>,
    code: Option<u16>,
    warnings: Option<Value>,
    results: Option<Vec<RecognitionResult>>,
    speaker_labels: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct RecognitionResult {
    #[serde(rename = "final", default)]
    is_final: bool,
    #[serde(default)]
    alternatives: Vec<Alternative>,
    speech_begin_event: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Alternative {
    #[serde(default)]
    transcript: String,
    confidence: Option<f64>,
    #[serde(default)]
    timestamps: Vec<Vec<Value>>,
}

/// Read from the query only (Watson facts 1.3 and 2.2).
const QUERY_KEYS: &[&str] = &[
    "model",
    "language_customization_id",
    "acoustic_customization_id",
    "base_model_version",
    "version",
    "x-watson-learning-opt-out",
    "x-watson-metadata",
];
/// What the gateway decides, or what would carry a secret in a URL.
const FIXED_KEYS: &[&str] =
    &["action", "content-type", "interim_results", "continuous", "inactivity_timeout", "access_token"];

#[cfg(test)]
mod tests {
    use super::*;

    fn open_with(recognize: Value) -> (Url, Value) {
        let Value::Object(recognize) = recognize else { panic!("an object") };
        let url = "wss://api.example.com/instances/1/v1/recognize".parse().unwrap();
        let (url, start) = open(url, "en-US_Telephony", &recognize, Coding::Mulaw);
        (url, serde_json::from_str(&start).unwrap())
    }

    #[test]
    fn the_start_message_holds_what_the_gateway_decides_and_low_latency_only_when_set() {
        let (url, start) = open_with(json!({}));
        assert_eq!(url.query(), Some("model=en-US_Telephony"));
        assert_eq!(
            start,
            json!({"action":"start","content-type":"audio/mulaw;rate=8000","interim_results":true,"inactivity_timeout":-1})
        );
    }

    #[test]
    fn the_table_is_split_between_query_and_start_and_cannot_override_the_gateway() {
        let (url, start) = open_with(json!({
            "model": "en-US", "language_customization_id": "81d3630", "x-watson-learning-opt-out": true,
            "end_of_phrase_silence_time": 1.2, "low_latency": true, "sad_module": 2,
            "action": "stop", "content-type": "audio/wav", "interim_results": false, "inactivity_timeout": 5,
            "access_token": "t",
        }));
        let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        assert_eq!(query.len(), 3, "{query:?}");
        assert!(query.contains(&("model".into(), "en-US".into())));
        assert!(query.contains(&("x-watson-learning-opt-out".into(), "true".into())));
        assert_eq!(start["end_of_phrase_silence_time"], json!(1.2));
        assert_eq!(start["low_latency"], json!(true));
        assert_eq!(start["action"], "start");
        assert_eq!(start["content-type"], "audio/mulaw;rate=8000");
        assert_eq!(start["interim_results"], true);
        assert_eq!(start["inactivity_timeout"], -1);
        assert_eq!(start.get("access_token"), None);
    }

    #[test]
    fn the_documented_messages_are_read() {
        assert!(parse(r#"{"state":"listening"}"#).unwrap().listening);
        let interim = r#"{"result_index":0,"results":[{"final":false,"alternatives":[{"transcript":"name the "}]}]}"#;
        let interim = parse(interim).unwrap();
        assert_eq!(interim.items, [Item::Interim { transcript: "name the".into() }]);
        assert_eq!(interim.raw, None);
        let text = r#"{"result_index":0,"results":[{"final":true,"alternatives":[{"transcript":"name the mayflower ","confidence":0.91}],"end_of_utterance":"silence"}]}"#;
        let last = parse(text).unwrap();
        let transcript = "name the mayflower".to_owned();
        assert_eq!(last.items, [Item::Final { transcript, confidence: Some(0.91), ends_at: None }]);
        assert_eq!(last.raw, serde_json::from_str(text).ok());
        let began = parse(r#"{"results":[{"speech_begin_event":{"begin":2.5}}],"result_index":0}"#).unwrap();
        assert_eq!(began.items, [Item::Began]);
    }

    #[test]
    fn a_message_with_a_final_and_the_next_interim_gives_both_and_timestamps_say_where_the_final_ends() {
        let both = parse(
            r#"{"results":[{"final":true,"alternatives":[{"transcript":"one ","confidence":1,"timestamps":[["one",0.2,0.51]]}]},
                {"final":false,"alternatives":[{"transcript":"two"}]}]}"#,
        )
        .unwrap();
        assert_eq!(
            both.items,
            [
                Item::Final { transcript: "one".into(), confidence: Some(1.0), ends_at: Some(0.51) },
                Item::Interim { transcript: "two".into() }
            ]
        );
    }

    #[test]
    fn errors_and_warnings_come_in_several_shapes() {
        let error = parse(r#"{"error":"Session timed out."}"#).unwrap().error.unwrap();
        assert_eq!(error, ServiceError { text: "Session timed out.".into(), code: None });
        let error = parse(
            r#"{"code":400,"code_description":"Bad Request","error":"low_latency is not a supported feature for model x"}"#,
        );
        assert_eq!(error.unwrap().error.unwrap().code, Some(400));
        assert_eq!(
            parse(r#"{"warnings":"Unknown arguments: low_latency."}"#).unwrap().warning.unwrap(),
            "Unknown arguments: low_latency."
        );
        assert!(parse(r#"{"warnings":["a","b"],"state":"listening"}"#).unwrap().listening);
    }

    #[test]
    fn garbage_is_told_from_messages() {
        for garbage in ["", "<html></html>", "[]", "{}", r#"{"results":7}"#, r#"{"state":"liste"#, r#"{"hello":1}"#] {
            assert_eq!(parse(garbage), None, "{garbage}");
        }
        assert!(parse(r#"{"results":[],"result_index":1}"#).unwrap().items.is_empty());
        assert!(
            parse(r#"{"results":[{"final":false,"alternatives":[{"transcript":"  "}]}]}"#).unwrap().items.is_empty()
        );
    }
}
