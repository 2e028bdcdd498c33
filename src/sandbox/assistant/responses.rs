//! What the response types of the dialog file must carry (Watson facts 1.2, 1.4). Types nobody knows are let through: that a
//! gateway skips them is to be seen.

use super::reader::Problems;
use serde_json::Value;

/// Tells what is wrong with one entry of `responses`.
pub(super) fn check(response: &Value, path: &str, problems: &mut Problems) {
    let mut wrong = |key: &str, what: &str| problems.add(&format!("{path}.{key}"), what.to_owned());
    if !response.is_object() {
        return problems.add(path, "must be a table with a response_type".to_owned());
    }
    match response.get("response_type").and_then(Value::as_str) {
        None => wrong("response_type", "is needed: text, option, connect_to_agent, end_session, pause, ..."),
        Some("text") if !has_text(response, "/text") => wrong("text", "is needed: what to say"),
        Some("pause") if !response.get("time").is_some_and(Value::is_u64) => wrong("time", "is needed: milliseconds"),
        Some("option") => {
            if !has_text(response, "/title") {
                wrong("title", "is needed: what to say before the choices");
            }
            match response.get("options").and_then(Value::as_array) {
                Some(options) if !options.is_empty() => {
                    for (n, option) in options.iter().enumerate() {
                        for (pointer, key) in [("/label", "label"), ("/value/input/text", "value.input.text")] {
                            if !has_text(option, pointer) {
                                wrong(&format!("options[{n}].{key}"), "is needed");
                            }
                        }
                    }
                }
                _ => wrong("options", "at least one is needed: { label, value.input.text }"),
            }
        }
        Some("connect_to_agent") => {
            let custom_data = "/transfer_info/target/nice_cxone/custom_data";
            let key = "transfer_info.target.nice_cxone.custom_data";
            match response.pointer(custom_data) {
                None => {}
                Some(Value::Object(fields)) => {
                    for (name, value) in fields {
                        if name == "p1" {
                            wrong(&format!("{key}.p1"), "is the gateway's own: the session history key");
                        } else if !PARAMETERS.contains(&name.as_str()) {
                            wrong(&format!("{key}.{name}"), "there are only p2 to p9");
                        } else if !value.is_string() {
                            wrong(&format!("{key}.{name}"), "must be a string");
                        }
                    }
                }
                Some(_) => wrong(key, "must be a table of p2 to p9"),
            }
        }
        Some(_) => {}
    }
    match response.get("channels") {
        None => {}
        Some(Value::Array(channels)) if channels.iter().all(|channel| has_text(channel, "/channel")) => {}
        Some(_) => wrong("channels", "must be an array of { channel = \"voice_telephony\" }"),
    }
}

fn has_text(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty())
}

const PARAMETERS: &[&str] = &["p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"];
