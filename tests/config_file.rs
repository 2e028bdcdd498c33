//! The annotated file names every key and equals the defaults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use voice_gateway::config::{Config, EXAMPLE};

#[test]
fn the_annotated_file_equals_the_defaults() {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/voice-gateway.toml"));
    let loaded = Config::load(Some(file), std::iter::empty()).unwrap();
    assert_eq!(loaded.to_redacted_toml(), Config::default().to_redacted_toml());
    assert_eq!(std::fs::read_to_string(file).unwrap(), EXAMPLE);
}

/// Tables that are there, but empty.
const EMPTY: [&str; 3] =
    ["speech_to_text.recognize", "speech_to_text.broadband_recognize", "text_to_speech.synthesize"];

#[test]
fn every_key_with_a_default_is_written_out_and_no_other() {
    let mut file: BTreeSet<String> = leaves(EXAMPLE);
    let mut defaults: BTreeSet<String> = leaves(&Config::default().to_redacted_toml());
    // An empty table is there, but holds no leaf.
    for empty in EMPTY {
        assert!(EXAMPLE.contains(&format!("\n[{empty}]\n")));
        file.insert(empty.to_owned());
        defaults.insert(empty.to_owned());
    }
    assert_eq!(file, defaults);
}

#[test]
fn every_key_is_named_and_every_named_key_exists() {
    let named: BTreeSet<String> = leaves(&uncommented(EXAMPLE))
        .into_iter()
        .map(|path| path.replace("tenants.0.", "tenants."))
        .filter(|path| path != "tenants.assistant.environment_id")
        .chain(EMPTY.map(str::to_owned))
        .collect();
    let known: BTreeSet<String> = Config::key_paths().into_iter().collect();
    assert_eq!(named, known);
    assert!(known.len() > 90, "{}", known.len());
}

#[test]
fn every_key_has_a_comment_above_it_in_its_paragraph() {
    for paragraph in EXAMPLE.split("\n\n") {
        let keys = paragraph.lines().filter(|line| is_setting(line.trim_start_matches('#'))).count();
        let comments = paragraph.lines().filter(|line| line.starts_with("# ")).count();
        assert!(keys == 0 || comments > 0, "no word about:\n{paragraph}");
    }
}

#[test]
fn every_example_in_the_file_is_acceptable_or_says_that_it_is_not_available_yet() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let mut tried = 0;
    for (index, line) in lines.iter().enumerate() {
        let Some(setting) = line.strip_prefix('#').filter(|line| is_setting(line) && line.contains(" = ")) else {
            continue;
        };
        let section = lines[..index]
            .iter()
            .rev()
            .map(|line| line.trim_start_matches('#'))
            .find(|line| line.starts_with('['))
            .unwrap();
        if setting.contains("_file = \"/run/secrets")
            || ["[sip.digest]", "[sip.required_header]", "[sip.tls]"].contains(&section)
            || section.contains("tenants")
        {
            continue;
        }
        let file = file_of(&format!("{section}\n{setting}\n"));
        match Config::load(Some(file.path()), std::iter::empty()) {
            Ok(_) => {}
            Err(problems) => assert!(
                problems.iter().all(|problem| problem.message.starts_with("not available yet")),
                "{setting}: {problems}"
            ),
        }
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
}

/// The file with its commented settings and tables in force.
fn uncommented(text: &str) -> String {
    text.lines()
        .map(|line| line.strip_prefix('#').filter(|line| is_setting(line)).unwrap_or(line))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// `key = …` or `[table]`, right at the start: prose has a space there.
fn is_setting(line: &str) -> bool {
    let key = line.split(" = ").next().unwrap_or_default();
    line.starts_with('[')
        || (line.contains(" = ") && !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
}

fn leaves(text: &str) -> BTreeSet<String> {
    fn walk(value: &toml::Value, path: &str, out: &mut BTreeSet<String>) {
        let mut inner = |key: &str, value: &toml::Value| {
            walk(value, &if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }, out);
        };
        match value {
            toml::Value::Table(table) => table.iter().for_each(|(key, value)| inner(key, value)),
            toml::Value::Array(list) if list.first().is_some_and(toml::Value::is_table) => {
                list.iter().enumerate().for_each(|(index, value)| inner(&index.to_string(), value));
            }
            _ => {
                out.insert(path.to_owned());
            }
        }
    }
    let mut out = BTreeSet::new();
    walk(&toml::Value::Table(toml::from_str(text).unwrap()), "", &mut out);
    out
}

fn file_of(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}
