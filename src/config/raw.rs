//! Untyped values as they come from the file and the environment, and how one layer lies over another.

use super::problem::Problem;
use config::{Environment, File, FileFormat, Source, Value, ValueKind};
use std::collections::BTreeMap;
use std::path::Path;

/// A table of values by key.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) raw: Raw,
    /// The environment variable that set it; `None` for the file.
    pub(super) variable: Option<String>,
}

/// The shapes TOML knows.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(Table),
}

impl Node {
    fn of_file(raw: Raw) -> Self {
        Self { raw, variable: None }
    }

    /// The list, where this is one. A table whose keys are all numbers is one too: that is how the environment names
    /// the elements of a list (`VOICE_GATEWAY__TENANTS__0__NAME`).
    pub(super) fn as_list(&self) -> Option<Vec<&Node>> {
        match &self.raw {
            Raw::List(list) => Some(list.iter().collect()),
            Raw::Table(table) => {
                let mut numbered = indexed(table)?;
                numbered.sort_by_key(|(index, _)| *index);
                Some(numbered.into_iter().map(|(_, node)| node).collect())
            }
            _ => None,
        }
    }

    /// How a problem quotes the value. Not for secrets.
    pub(super) fn quoted(&self) -> String {
        match &self.raw {
            Raw::Bool(value) => value.to_string(),
            Raw::Integer(value) => value.to_string(),
            Raw::Float(value) => value.to_string(),
            Raw::Text(text) if text.chars().count() > 60 => {
                format!("{:?}…", text.chars().take(60).collect::<String>())
            }
            Raw::Text(text) => format!("{text:?}"),
            Raw::List(_) => "a list".to_owned(),
            Raw::Table(_) => "a table".to_owned(),
        }
    }
}

/// Reads the file. TOML errors are told with their line, but never with the line's text: it may hold a secret.
pub(super) fn from_file(path: &Path) -> Result<Table, Problem> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problem::new(
            &name,
            format!("cannot be read: {error}; `voice-gateway config --example` prints a file to start from"),
        )
    })?;
    match File::from_str(&text, FileFormat::Toml).collect() {
        Ok(values) => Ok(values.into_iter().filter_map(|(key, value)| Some((key, of_value(value)?))).collect()),
        Err(_) => Err(match toml::from_str::<toml::Table>(&text) {
            Err(error) => {
                let line =
                    error.span().and_then(|span| text.get(..span.start)).map_or(1, |before| before.split('\n').count());
                Problem::new(format!("{name} line {line}"), format!("not TOML: {}", error.message()))
            }
            Ok(_) => Problem::new(name, "holds a value that cannot be used here"),
        }),
    }
}

/// Collects `VOICE_GATEWAY__A__B=…` into a tree. Values stay text: the settings know what they want.
pub(super) fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Result<Table, Problem> {
    let source = Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .source(Some(variables.collect()));
    let values = source.collect().map_err(|error| Problem::new("environment", error.to_string()))?;
    let mut flat: Vec<(String, Value)> = values.into_iter().collect();
    flat.sort_by(|a, b| a.0.cmp(&b.0));
    let mut root = Table::new();
    for (key, value) in flat {
        let Ok(text) = value.into_string() else { continue };
        let variable = format!("{PREFIX}{SEPARATOR}{}", key.replace('.', SEPARATOR).to_uppercase());
        plant(&mut root, &key, Node { raw: Raw::Text(text), variable: Some(variable) });
    }
    Ok(root)
}

/// Lays `over` on `base`: tables merge, everything else replaces. A credential in `over` replaces its alternatives in
/// `base` too (`api_key` there gives way to `api_key_file` or `bearer_token` here).
pub(super) fn lay_over(base: &mut Table, over: &Table) {
    for key in over.keys() {
        for alternative in alternatives(key) {
            if !over.contains_key(&alternative) {
                base.remove(&alternative);
            }
        }
    }
    for (key, node) in over {
        match (base.get_mut(key).map(|below| &mut below.raw), &node.raw) {
            (Some(Raw::Table(below)), Raw::Table(above)) => lay_over(below, above),
            (Some(Raw::List(below)), Raw::Table(above)) if indexed(above).is_some() => {
                for (index, element) in indexed(above).unwrap_or_default() {
                    match (below.get_mut(index).map(|node| &mut node.raw), &element.raw) {
                        (Some(Raw::Table(below)), Raw::Table(above)) => lay_over(below, above),
                        (Some(raw), _) => *raw = element.raw.clone(),
                        (None, _) => below.push(element.clone()),
                    }
                }
            }
            _ => {
                base.insert(key.clone(), node.clone());
            }
        }
    }
}

/// Puts a leaf where its dotted key says. A table wins over a leaf of the same name.
fn plant(table: &mut Table, key: &str, leaf: Node) {
    let Some((first, rest)) = key.split_once('.') else {
        table.entry(key.to_owned()).or_insert(leaf);
        return;
    };
    let branch = table
        .entry(first.to_owned())
        .or_insert_with(|| Node { raw: Raw::Table(Table::new()), variable: leaf.variable.clone() });
    match &mut branch.raw {
        Raw::Table(inner) => plant(inner, rest, leaf),
        other => {
            let mut inner = Table::new();
            plant(&mut inner, rest, leaf);
            *other = Raw::Table(inner);
        }
    }
}

/// The other keys that say the same thing as `key`.
fn alternatives(key: &str) -> Vec<String> {
    let secret = key.strip_suffix("_file").unwrap_or(key);
    if !SECRETS.contains(&secret) {
        return Vec::new();
    }
    let group: &[&str] = if IBM_CREDENTIALS.contains(&secret) { &IBM_CREDENTIALS } else { &[secret] };
    group.iter().flat_map(|name| [(*name).to_owned(), format!("{name}_file")]).filter(|other| other != key).collect()
}

fn indexed(table: &Table) -> Option<Vec<(usize, &Node)>> {
    if table.is_empty() {
        return None;
    }
    table.iter().map(|(key, node)| Some((key.parse().ok()?, node))).collect()
}

fn of_value(value: Value) -> Option<Node> {
    Some(Node::of_file(match value.kind {
        ValueKind::Nil => return None,
        ValueKind::Boolean(value) => Raw::Bool(value),
        ValueKind::I64(value) => Raw::Integer(value),
        ValueKind::I128(value) => Raw::Integer(i64::try_from(value).unwrap_or(i64::MAX)),
        ValueKind::U64(value) => Raw::Integer(i64::try_from(value).unwrap_or(i64::MAX)),
        ValueKind::U128(value) => Raw::Integer(i64::try_from(value).unwrap_or(i64::MAX)),
        ValueKind::Float(value) => Raw::Float(value),
        ValueKind::String(text) => Raw::Text(text),
        ValueKind::Table(table) => {
            Raw::Table(table.into_iter().filter_map(|(key, value)| Some((key, of_value(value)?))).collect())
        }
        ValueKind::Array(list) => Raw::List(list.into_iter().filter_map(of_value).collect()),
    }))
}

const PREFIX: &str = "VOICE_GATEWAY";
const SEPARATOR: &str = "__";
/// Keys that have a `_file` twin.
const SECRETS: [&str; 9] = [
    "api_key",
    "bearer_token",
    "access_key_id",
    "access_key_secret",
    "client_secret",
    "password",
    "token",
    "secret",
    "value",
];
/// Either of these authenticates at a Watson service.
const IBM_CREDENTIALS: [&str; 2] = ["api_key", "bearer_token"];
