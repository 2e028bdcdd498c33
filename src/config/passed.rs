//! Parameters that the gateway does not know and passes on to a service.

use super::raw::{Node, Raw};
use super::reader::{Reader, Setting};

/// Parameters passed on to a service as they are (`speech_to_text.recognize` and `broadband_recognize`, `text_to_speech.synthesize`).
pub type Passed = serde_json::Map<String, serde_json::Value>;

impl Setting for Passed {
    fn read(from: &mut Reader<'_>, key: &'static str, default: Self) -> Self {
        let Some(node) = from.take(key) else { return default };
        match json(node) {
            serde_json::Value::Object(map) => map,
            _ => {
                from.wrong(key, format!("must be a table, not {}", node.quoted()));
                default
            }
        }
    }

    fn write(&self, key: &str, out: &mut toml::Table) {
        // `null` is the one JSON value TOML has not; it cannot come from TOML either.
        if let Ok(table) = toml::Value::try_from(self) {
            out.insert(key.to_owned(), table);
        }
    }

    fn keys(&self, path: &str, out: &mut Vec<String>) {
        out.push(path.to_owned());
    }
}

fn json(node: &Node) -> serde_json::Value {
    match &node.raw {
        Raw::Bool(value) => (*value).into(),
        Raw::Integer(value) => (*value).into(),
        Raw::Float(value) => (*value).into(),
        // The environment only knows text: what reads as JSON's true, false or number is meant so.
        Raw::Text(text) if node.variable.is_some() => match serde_json::from_str(text) {
            Ok(value @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_))) => value,
            _ => text.clone().into(),
        },
        Raw::Text(text) => text.clone().into(),
        Raw::List(list) => list.iter().map(json).collect::<Vec<_>>().into(),
        Raw::Table(table) => {
            serde_json::Value::Object(table.iter().map(|(key, node)| (key.clone(), json(node))).collect())
        }
    }
}
