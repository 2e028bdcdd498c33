//! What a client is told of what was heard: the results of Watson's messages (Watson facts 2.2).

use super::start::Start;
use serde_json::{Value, json};
use std::time::Duration;

/// The message that carries results.
pub(super) fn message(index: u64, results: &[Value]) -> Value {
    json!({"result_index": index, "results": results})
}

/// Speech began: a message of its own.
pub(super) fn began(index: u64, at: Duration) -> Value {
    let event = json!({"speech_begin_event": {"begin": at.as_secs_f64()}});
    json!({"results": [event], "result_index": index})
}

/// What is being said, so far.
pub(super) fn interim_result(transcript: &str) -> Value {
    json!({"final": false, "alternatives": [{"transcript": spaced(transcript)}]})
}

/// What was said, with what `start` asked for: the time of each word between `begin` and `end`, and `ending`, why it is over.
pub(super) fn final_result(
    start: &Start,
    transcript: &str,
    confidence: f64,
    (begin, end): (Duration, Duration),
    ending: &str,
) -> Value {
    let confidence = (confidence.clamp(0.0, 1.0) * 100.0).round() / 100.0;
    let mut alternative = json!({"transcript": spaced(transcript), "confidence": confidence});
    if let (true, Some(fields)) = (start.timestamps, alternative.as_object_mut()) {
        fields.insert("timestamps".to_owned(), timestamps(transcript, begin, end));
    }
    let mut result = json!({"final": true, "alternatives": [alternative]});
    if let (true, Some(fields)) = (start.tells_end, result.as_object_mut()) {
        fields.insert("end_of_utterance".to_owned(), ending.into());
    }
    result
}

fn spaced(transcript: &str) -> String {
    format!("{} ", transcript.trim())
}

/// `[["word", begin, end], ...]`: the words share the time of the phrase by their length.
fn timestamps(transcript: &str, begin: Duration, end: Duration) -> Value {
    let length = |word: &str| f64::from(u32::try_from(word.chars().count()).unwrap_or(u32::MAX));
    let all: f64 = transcript.split_whitespace().map(length).sum();
    let span = end.saturating_sub(begin).as_secs_f64();
    let hundredths = |seconds: f64| (seconds * 100.0).round() / 100.0;
    let mut said = 0.0;
    let words = transcript.split_whitespace().map(|word| {
        let from = begin.as_secs_f64() + span * said / all;
        said += length(word);
        json!([word, hundredths(from), hundredths(begin.as_secs_f64() + span * said / all)])
    });
    words.collect()
}
