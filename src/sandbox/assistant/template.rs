//! `{{ name | filter }}` in the dialog file: captures, variables and values of the context put into responses.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Text with places to fill in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Part>);

/// JSON whose strings are templates.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Text(Template),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
    Other(Value),
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Value(Source, Filter),
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A named group of the rule's patterns, else a variable.
    Name(String),
    /// `input.text`.
    Input,
    /// `context.a.b.c`.
    Context(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    None,
    /// `four seven one-1` becomes `4711`.
    Digits,
    /// `4711` becomes `four seven one one`.
    Words,
}

/// What can be filled in.
pub(super) struct Scope<'a> {
    pub(super) captures: &'a BTreeMap<String, String>,
    pub(super) variables: &'a Map<String, Value>,
    pub(super) input: &'a str,
    pub(super) context: &'a Value,
}

impl Template {
    /// Reads a template, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let (inside, after) = after.split_once("}}").ok_or("'{{' without '}}'")?;
            let (name, filter) = match inside.split_once('|') {
                None => (inside.trim(), Filter::None),
                Some((name, "")) => return Err(format!("'{{{{{name}|' without a filter: digits or words")),
                Some((name, filter)) => match filter.trim() {
                    "digits" => (name.trim(), Filter::Digits),
                    "words" => (name.trim(), Filter::Words),
                    other => return Err(format!("no filter '{other}': there are digits and words")),
                },
            };
            parts.push(Part::Value(Source::parse(name)?, filter));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The sources it names.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.0.iter().filter_map(|part| if let Part::Value(source, _) = part { Some(source) } else { None })
    }

    /// Filled in; what is not there is empty.
    pub(super) fn fill(&self, scope: &Scope<'_>) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Value(source, filter) => filter.apply(&source.value(scope)),
            })
            .collect()
    }
}

impl Node {
    /// Reads JSON, telling each string that is no template with its path.
    pub(super) fn parse(value: &Value, path: &str, wrong: &mut impl FnMut(&str, String)) -> Self {
        match value {
            Value::String(text) => match Template::parse(text) {
                Ok(template) => Self::Text(template),
                Err(error) => {
                    wrong(path, error);
                    Self::Other(Value::Null)
                }
            },
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Self::Array(items.map(|(n, item)| Self::parse(item, &format!("{path}[{n}]"), wrong)).collect())
            }
            Value::Object(fields) => {
                let fields = fields.iter();
                Self::Object(
                    fields
                        .map(|(name, value)| (name.clone(), Self::parse(value, &format!("{path}.{name}"), wrong)))
                        .collect(),
                )
            }
            other => Self::Other(other.clone()),
        }
    }

    /// All sources named anywhere in it.
    pub(super) fn sources(&self) -> Vec<&Source> {
        match self {
            Self::Text(template) => template.sources().collect(),
            Self::Array(items) => items.iter().flat_map(Self::sources).collect(),
            Self::Object(fields) => fields.iter().flat_map(|(_, node)| node.sources()).collect(),
            Self::Other(_) => Vec::new(),
        }
    }

    /// Filled in.
    pub(super) fn fill(&self, scope: &Scope<'_>) -> Value {
        match self {
            Self::Text(template) => template.fill(scope).into(),
            Self::Array(items) => items.iter().map(|item| item.fill(scope)).collect(),
            Self::Object(fields) => fields.iter().map(|(name, node)| (name.clone(), node.fill(scope))).collect(),
            Self::Other(value) => value.clone(),
        }
    }
}

impl Source {
    fn parse(name: &str) -> Result<Self, String> {
        let valid = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
        if name == "input.text" {
            return Ok(Self::Input);
        }
        if let Some(path) = name.strip_prefix("context.") {
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            return if path.iter().all(|part| valid(part)) {
                Ok(Self::Context(path))
            } else {
                Err(format!("'{name}' is not a path"))
            };
        }
        if valid(name) { Ok(Self::Name(name.to_owned())) } else { Err(format!("'{name}' is not a name")) }
    }

    fn value(&self, scope: &Scope<'_>) -> String {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        match self {
            Self::Input => scope.input.to_owned(),
            Self::Name(name) => match scope.captures.get(name) {
                Some(capture) => capture.clone(),
                None => scope.variables.get(name).map(text).unwrap_or_default(),
            },
            Self::Context(path) => {
                path.iter().try_fold(scope.context, |value, name| value.get(name)).map(text).unwrap_or_default()
            }
        }
    }
}

impl Filter {
    fn apply(self, value: &str) -> String {
        match self {
            Self::None => value.to_owned(),
            Self::Digits => digits(value),
            Self::Words => {
                let words: Vec<String> = digits(value)
                    .chars()
                    .filter_map(|digit| {
                        let word = DIGITS.get(digit.to_digit(10)? as usize)?.first()?;
                        Some((*word).to_owned())
                    })
                    .collect();
                words.join(" ")
            }
        }
    }
}

/// The digits of what was said or keyed in, as people and recognisers write them.
fn digits(value: &str) -> String {
    let mut found = String::new();
    for word in value.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let lower = word.to_ascii_lowercase();
        match (0u32..).zip(DIGITS).find(|(_, words)| words.contains(&lower.as_str())) {
            Some((digit, _)) => found.extend(char::from_digit(digit, 10)),
            None => found.extend(lower.chars().filter(char::is_ascii_digit)),
        }
    }
    found
}

const DIGITS: &[&[&str]] = &[
    &["zero", "oh", "o"],
    &["one"],
    &["two", "to", "too"],
    &["three"],
    &["four", "for"],
    &["five"],
    &["six"],
    &["seven"],
    &["eight"],
    &["nine"],
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(template: &str) -> String {
        let captures = BTreeMap::from([("account".to_owned(), "four seven one-1, oh 23.".to_owned())]);
        let variables = json!({"topic": "balance", "account": "unused", "count": 3});
        let context = json!({"integrations": {"voice_telephony": {"sip_call_id": "abc"}}});
        let scope =
            Scope { captures: &captures, variables: variables.as_object().unwrap(), input: "hello", context: &context };
        Template::parse(template).unwrap().fill(&scope)
    }

    #[test]
    fn values_come_from_captures_variables_input_and_context() {
        assert_eq!(fill("no places"), "no places");
        assert_eq!(fill("{{account|digits}} is {{ account | words }}"), "4711023 is four seven one one zero two three");
        assert_eq!(fill("{{topic}} {{count}} {{missing}}."), "balance 3 .");
        assert_eq!(fill("{{input.text}}"), "hello");
        assert_eq!(fill("{{context.integrations.voice_telephony.sip_call_id}}"), "abc");
        assert_eq!(fill("{{context.no.such}}"), "");
    }

    #[test]
    fn mistakes_are_told() {
        for wrong in ["{{name", "{{}}", "{{a b}}", "{{a|upper}}", "{{a|}}", "{{context.a..b}}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
        let mut paths = Vec::new();
        let node = Node::parse(&json!({"a": ["{{", {"b": "{{x|y}}"}]}), "responses[0]", &mut |path, _| {
            paths.push(path.to_owned());
        });
        assert_eq!(paths, ["responses[0].a[0]", "responses[0].a[1].b"]);
        assert!(node.sources().is_empty());
    }
}
