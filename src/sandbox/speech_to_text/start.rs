//! The text messages a client sends to Speech to Text (Watson facts 2.2): `start` with its parameters, `stop`.

use crate::sandbox::audio_format::{AudioFormat, Encoding};
use crate::sandbox::engine::RecognitionOptions;
use serde_json::{Map, Value};
use std::time::Duration;

/// A text message, understood.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Start(Box<Start>),
    Stop,
}

/// A `start` message.
#[derive(Debug, PartialEq)]
pub(super) struct Start {
    pub(super) options: RecognitionOptions,
    /// Audio without speech that ends the session; `None` is -1.
    pub(super) inactivity: Option<Duration>,
    pub(super) speech_begin_event: bool,
    /// `split_transcript_at_phrase_end`: finals carry `end_of_utterance`.
    pub(super) tells_end: bool,
    /// `timestamps`: finals carry the time of each word.
    pub(super) timestamps: bool,
    /// Names nobody knows: a warning, not an error.
    pub(super) unknown: Vec<String>,
}

impl Command {
    /// Understands a text message of a session on `model`, or says in Watson's manner what is wrong.
    pub(super) fn parse(text: &str, model: &str) -> Result<Self, String> {
        let message: Value = serde_json::from_str(text).map_err(|error| format!("JSON parse error: {error}"))?;
        let Value::Object(fields) = message else { return Err("JSON parse error: expected an object".to_owned()) };
        match fields.get("action").and_then(Value::as_str) {
            Some("start") => Start::read(&fields, model).map(|start| Self::Start(Box::new(start))),
            Some("stop") => Ok(Self::Stop),
            Some(other) => Err(format!("action: '{other}' is not supported, must be 'start' or 'stop'")),
            None => Err("action: required, must be 'start' or 'stop'".to_owned()),
        }
    }
}

impl Start {
    fn read(fields: &Map<String, Value>, model: &str) -> Result<Self, String> {
        let content_type = match fields.get("content-type") {
            None => return Err("unable to transcode data stream application/octet-stream -> audio/l16".to_owned()),
            Some(value) => value.as_str().ok_or("content-type: must be a string")?,
        };
        let format = AudioFormat::parse(content_type).map_err(|error| format!("content-type: {error}"))?;
        if format.encoding == Encoding::Wav {
            return Err(format!("unable to transcode data stream {content_type} -> audio/l16"));
        }
        for (name, least, most) in NUMBERS {
            number(fields, name, *least..=*most)?;
        }
        for name in FLAGS {
            flag(fields, name)?;
        }
        if flag(fields, "low_latency")? && !has_low_latency(model) {
            return Err(format!("low_latency is not a supported feature for model {model}"));
        }
        let silence = number(fields, "end_of_phrase_silence_time", 0.0..=120.0)?.filter(|seconds| *seconds > 0.0);
        let inactivity = number(fields, "inactivity_timeout", -1.0..=86_400.0)?.unwrap_or(30.0);
        // A documented trap: asking for a version of smart formatting turns interim results off.
        let interim_results = flag(fields, "interim_results")? && !fields.contains_key("smart_formatting_version");
        let known = |name: &str| {
            FLAGS.contains(&name) || OTHERS.contains(&name) || NUMBERS.iter().any(|(number, _, _)| *number == name)
        };
        Ok(Self {
            options: RecognitionOptions {
                format,
                end_of_phrase_silence: Duration::from_secs_f64(silence.unwrap_or(0.8)),
                interim_results,
            },
            inactivity: (inactivity > 0.0).then(|| Duration::from_secs_f64(inactivity)),
            speech_begin_event: flag(fields, "speech_begin_event")?,
            tells_end: flag(fields, "split_transcript_at_phrase_end")?,
            timestamps: flag(fields, "timestamps")?,
            unknown: fields.keys().filter(|name| !known(name)).cloned().collect(),
        })
    }
}

fn flag(fields: &Map<String, Value>, name: &str) -> Result<bool, String> {
    match fields.get(name) {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| format!("{name}: must be a boolean, not {value}")),
    }
}

fn number(
    fields: &Map<String, Value>,
    name: &str,
    range: std::ops::RangeInclusive<f64>,
) -> Result<Option<f64>, String> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    let number = value.as_f64().ok_or_else(|| format!("{name}: must be a number, not {value}"))?;
    if range.contains(&number) {
        Ok(Some(number))
    } else {
        Err(format!("{name}: {number} is out of range, must be {} to {}", range.start(), range.end()))
    }
}

fn has_low_latency(model: &str) -> bool {
    model.ends_with("_Telephony") || model.ends_with("_Multimedia") || model == "en-US"
}

const FLAGS: &[&str] = &[
    "audio_metrics",
    "interim_results",
    "low_latency",
    "processing_metrics",
    "profanity_filter",
    "redaction",
    "smart_formatting",
    "speaker_labels",
    "speech_begin_event",
    "split_transcript_at_phrase_end",
    "timestamps",
    "word_confidence",
];
const NUMBERS: &[(&str, f64, f64)] = &[
    ("background_audio_suppression", 0.0, 1.0),
    ("character_insertion_bias", -1.0, 1.0),
    ("customization_weight", 0.0, 1.0),
    ("end_of_phrase_silence_time", 0.0, 120.0),
    ("inactivity_timeout", -1.0, 86_400.0),
    ("keywords_threshold", 0.0, 1.0),
    ("max_alternatives", 0.0, 100.0),
    ("processing_metrics_interval", 0.0, 86_400.0),
    ("sad_module", 1.0, 2.0),
    ("speech_detector_sensitivity", 0.0, 1.0),
    ("speech_event_sensitivity", 0.0, 1.0),
    ("word_alternatives_threshold", 0.0, 1.0),
];
const OTHERS: &[&str] =
    &["action", "content-type", "grammar_name", "keywords", "parameter_set", "smart_formatting_version"];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(message: &Value) -> Result<Command, String> {
        Command::parse(&message.to_string(), "en-US_Telephony")
    }

    fn start(message: &Value) -> Start {
        match parse(message) {
            Ok(Command::Start(start)) => *start,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_documented_start_message_is_understood() {
        let start = start(&json!({"action":"start","content-type":"audio/mulaw;rate=8000","interim_results":true,
            "inactivity_timeout":-1,"smart_formatting":true,"end_of_phrase_silence_time":0.5,"low_latency":true}));
        assert!(start.options.interim_results);
        assert_eq!(start.options.format.rate, 8_000);
        assert_eq!(start.options.end_of_phrase_silence, Duration::from_millis(500));
        assert_eq!((start.inactivity, start.unknown.len()), (None, 0));
    }

    #[test]
    fn defaults_are_the_services() {
        let start = start(&json!({"action":"start","content-type":"audio/basic","end_of_phrase_silence_time":0}));
        assert_eq!(start.options.end_of_phrase_silence, Duration::from_millis(800));
        assert_eq!(start.inactivity, Some(Duration::from_secs(30)));
        assert!(!start.options.interim_results && !start.speech_begin_event && !start.tells_end);
    }

    #[test]
    fn a_formatting_version_turns_interim_results_off_and_unknown_names_are_told() {
        let start = start(&json!({"action":"start","content-type":"audio/basic","interim_results":true,
            "smart_formatting_version":2,"continuous":true}));
        assert!(!start.options.interim_results);
        assert_eq!(start.unknown, ["continuous"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (message, named) in [
            (json!({"action":"start"}), "unable to transcode"),
            (json!({"action":"start","content-type":"audio/mulaw"}), "sampling rate"),
            (json!({"action":"start","content-type":"audio/ogg"}), "audio/ogg"),
            (json!({"action":"start","content-type":"audio/basic","interim_results":"yes"}), "interim_results"),
            (json!({"action":"start","content-type":"audio/basic","inactivity_timeout":-2}), "inactivity_timeout"),
            (json!({"action":"start","content-type":"audio/basic","sad_module":"two"}), "sad_module"),
            (json!({"action":"begin"}), "begin"),
            (json!({"content-type":"audio/basic"}), "action"),
            (json!([1]), "object"),
        ] {
            let error = parse(&message).unwrap_err();
            assert!(error.contains(named), "{message}: {error}");
        }
        assert!(Command::parse("{", "en-US").unwrap_err().starts_with("JSON parse error"));
        let low = json!({"action":"start","content-type":"audio/basic","low_latency":true}).to_string();
        let error = Command::parse(&low, "en-GB").unwrap_err();
        assert_eq!(error, "low_latency is not a supported feature for model en-GB");
        assert_eq!(parse(&json!({"action":"stop"})), Ok(Command::Stop));
    }
}
