//! `custom_data` of a transfer as signal parameters p2 to p9 (CXone facts 2.5).

use super::json::short;
use serde_json::Value;

/// Takes p2 to p9 in order. Everything else is ignored with a warning: p1 is the session key's. What is not a string becomes its JSON
/// text; null is nothing. Control characters go; a value is cut at 1 KiB and all together at 6 KiB, between characters.
#[must_use]
pub fn parameters(custom_data: Option<&Value>) -> Vec<(String, String)> {
    let members = match custom_data {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Object(members)) => members,
        Some(_) => {
            tracing::warn!("custom_data is not an object, ignored");
            return Vec::new();
        }
    };
    for name in members.keys().filter(|name| !NAMES.contains(&name.as_str())) {
        if name.eq_ignore_ascii_case("p1") {
            tracing::warn!("custom_data.p1 ignored: p1 carries the session key");
        } else {
            tracing::warn!(name = %short(name), "custom_data key ignored: only p2 to p9 are signal parameters");
        }
    }
    let mut room = TOTAL;
    let mut parameters = Vec::new();
    for name in NAMES {
        let text = match members.get(name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let clean: String = text.chars().filter(|c| !c.is_control()).collect();
        let cut = head(&clean, VALUE.min(room));
        if cut.len() < clean.len() {
            tracing::warn!(name, bytes = clean.len(), kept = cut.len(), "custom_data value cut");
        }
        if cut.is_empty() && !clean.is_empty() {
            continue;
        }
        room -= cut.len();
        parameters.push((name.to_owned(), cut.to_owned()));
    }
    parameters
}

/// The longest beginning of `text` of at most `limit` bytes that ends between characters.
pub(super) fn head(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

const NAMES: [&str; 8] = ["p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"];
/// Bytes of one value.
const VALUE: usize = 1024;
/// Bytes of all values.
const TOTAL: usize = 6 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: Value) -> Vec<(String, String)> {
        parameters(Some(&value))
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_table_of_the_facts() {
        let table = [
            (json!({"p2": "test"}), vec![pair("p2", "test")]),
            (json!({"p9": "i", "p2": "b"}), vec![pair("p2", "b"), pair("p9", "i")]),
            (json!({"p1": "hangup", "p2": "x"}), vec![pair("p2", "x")]),
            (json!({"p10": "x", "P2": "x", "skill": "x", "": "x"}), vec![]),
            (
                json!({"p2": 5, "p3": true, "p4": {"a": [1]}}),
                vec![pair("p2", "5"), pair("p3", "true"), pair("p4", "{\"a\":[1]}")],
            ),
            (json!({"p2": null}), vec![]),
            (json!({"p2": ""}), vec![pair("p2", "")]),
            (json!({"p2": "a\r\nX-Evil: b\t\u{0}\u{7f}\u{85}c"}), vec![pair("p2", "aX-Evil: bc")]),
            (json!({"p2": "a b&c=d%+ü\"{}"}), vec![pair("p2", "a b&c=d%+ü\"{}")]),
            (json!("p2"), vec![]),
            (json!(["p2"]), vec![]),
            (json!(null), vec![]),
        ];
        for (input, expected) in table {
            assert_eq!(of(input.clone()), expected, "{input}");
        }
        assert_eq!(parameters(None), vec![]);
    }

    #[test]
    fn values_are_cut_between_characters_and_all_together_bounded() {
        let long = "ü".repeat(600);
        let one = of(json!({"p2": long.clone()}));
        assert_eq!(one.first().map(|(_, value)| value.len()), Some(1024));
        let odd = of(json!({"p2": format!("a{long}")}));
        assert_eq!(odd.first().map(|(_, value)| value.len()), Some(1023));
        let many: serde_json::Map<_, _> =
            NAMES.iter().map(|name| ((*name).to_owned(), json!("x".repeat(2000)))).collect();
        let all = of(Value::Object(many));
        assert_eq!(all.iter().map(|(_, value)| value.len()).sum::<usize>(), TOTAL);
        assert_eq!(all.len(), 6, "what has no room at all is left out");
    }
}
