//! Reads a dialog file and tells everything that is wrong in it at once: file, rule, key, and what would be right.

use super::dialog::{Dialog, Rule};
use super::responses;
use super::template::{Node, Source, Template};
use regex::{Regex, RegexBuilder};
use std::collections::BTreeSet;
use std::fmt;
use toml::{Table, Value};

/// One thing that is wrong in a dialog file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Which rule, by number and name; `None` outside rules.
    pub rule: Option<String>,
    /// Path of the key in it.
    pub key: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "{}: {rule}: {}: {}", self.file, self.key, self.what),
            None => write!(f, "{}: {}: {}", self.file, self.key, self.what),
        }
    }
}

/// Reads the text of a file.
pub(super) fn read(file: &str, text: &str) -> Result<Dialog, Vec<Problem>> {
    let mut problems = Problems { file: file.to_owned(), rule: None, found: Vec::new() };
    let table = match text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            problems.add("toml", error.to_string().trim_end().to_owned());
            return Err(problems.found);
        }
    };
    for key in table.keys().filter(|key| !matches!(key.as_str(), "name" | "rules" | "fallback")) {
        problems.add(key, "unknown key: there are name, rules and fallback".to_owned());
    }
    let name = string(&table, "name", &mut problems).unwrap_or_default();
    let mut rules = Vec::new();
    match table.get("rules") {
        Some(Value::Array(entries)) if !entries.is_empty() => {
            for (index, entry) in entries.iter().enumerate() {
                let title = entry.get("name").and_then(Value::as_str).unwrap_or("without a name");
                problems.rule = Some(format!("rule {} ({title})", index + 1));
                match entry.as_table() {
                    Some(entry) => rules.push(rule(entry, true, &mut problems)),
                    None => problems.add("rules", "must be a table: [[rules]]".to_owned()),
                }
            }
        }
        _ => problems.add("rules", "at least one [[rules]] is needed".to_owned()),
    }
    problems.rule = Some("fallback".to_owned());
    let fallback = match table.get("fallback").and_then(Value::as_table) {
        Some(entry) => Rule { name: FALLBACK.to_owned(), ..rule(entry, false, &mut problems) },
        None => {
            problems.add(
                "fallback",
                "a [fallback] with responses is needed: what is answered when no rule fits".to_owned(),
            );
            Rule::default()
        }
    };
    let dialog = Dialog { name, rules, fallback };
    cross_check(&dialog, &mut problems);
    if problems.found.is_empty() { Ok(dialog) } else { Err(problems.found) }
}

/// Collects what is wrong.
pub(super) struct Problems {
    file: String,
    rule: Option<String>,
    found: Vec<Problem>,
}

impl Problems {
    pub(super) fn add(&mut self, key: &str, what: String) {
        self.found.push(Problem { file: self.file.clone(), rule: self.rule.clone(), key: key.to_owned(), what });
    }
}

fn rule(table: &Table, named: bool, problems: &mut Problems) -> Rule {
    let known: &[&str] = if named { RULE_KEYS } else { FALLBACK_KEYS };
    for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
        problems.add(key, format!("unknown key: there are {}", known.join(", ")));
    }
    let name = string(table, "name", problems).unwrap_or_default();
    if named && name.is_empty() {
        problems.add("name", "is needed".to_owned());
    }
    let patterns = strings(table, "patterns", problems);
    let patterns = patterns.iter().enumerate().filter_map(|(n, text)| pattern(n, text, problems)).collect();
    let mut set = Vec::new();
    for (name, text) in text_table(table, "set", problems) {
        let key = format!("set.{name}");
        if RESERVED.contains(&name.as_str()) {
            problems.add(&key, "this name is the program's own".to_owned());
        }
        match Template::parse(&text) {
            Ok(template) => set.push((name, template)),
            Err(error) => problems.add(&key, error),
        }
    }
    let error = error(table, problems);
    let responses = responses(table, problems);
    let context = table.get("context").map(|value| node(value, "context", problems));
    if error.is_some() && (!responses.is_empty() || context.is_some() || !set.is_empty() || table.contains_key("next"))
    {
        problems
            .add("error", "a rule that fails answers nothing: no responses, set, next or context beside it".to_owned());
    }
    if error.is_none() && !table.contains_key("responses") {
        problems.add("responses", "is needed (it may be empty: [])".to_owned());
    }
    Rule {
        name,
        patterns,
        states: strings(table, "state", problems),
        when: text_table(table, "when", problems),
        after: string(table, "after", problems),
        set,
        next: string(table, "next", problems),
        context,
        responses,
        error,
    }
}

fn pattern(n: usize, text: &str, problems: &mut Problems) -> Option<Regex> {
    match RegexBuilder::new(text).case_insensitive(true).size_limit(1 << 20).build() {
        Ok(regex) => Some(regex),
        Err(error) => {
            let what = format!("not a regular expression: {}", error.to_string().replace('\n', " "));
            problems.add(&format!("patterns[{n}]"), what);
            None
        }
    }
}

fn responses(table: &Table, problems: &mut Problems) -> Vec<Node> {
    let Some(value) = table.get("responses") else { return Vec::new() };
    let Some(items) = value.as_array() else {
        problems.add("responses", "must be an array of tables".to_owned());
        return Vec::new();
    };
    let mut nodes = Vec::new();
    for (n, item) in items.iter().enumerate() {
        let path = format!("responses[{n}]");
        let json = json(item, &path, problems);
        responses::check(&json, &path, problems);
        nodes.push(Node::parse(&json, &path, &mut |path, what| problems.add(path, what)));
    }
    nodes
}

fn node(value: &Value, path: &str, problems: &mut Problems) -> Node {
    let json = json(value, path, problems);
    if !json.is_object() {
        problems.add(path, "must be a table".to_owned());
    }
    Node::parse(&json, path, &mut |path, what| problems.add(path, what))
}

fn json(value: &Value, path: &str, problems: &mut Problems) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_else(|error| {
        problems.add(path, format!("cannot be written as JSON: {error}"));
        serde_json::Value::Null
    })
}

fn error(table: &Table, problems: &mut Problems) -> Option<(u16, String)> {
    let value = table.get("error")?;
    let status = value.get("status").and_then(Value::as_integer).and_then(|status| u16::try_from(status).ok());
    let message = value.get("message").and_then(Value::as_str).unwrap_or("Internal Server Error");
    match status.filter(|status| (400..=599).contains(status)) {
        Some(status) => Some((status, message.to_owned())),
        None => {
            problems.add("error.status", "is needed: 400 to 599".to_owned());
            None
        }
    }
}

fn string(table: &Table, key: &str, problems: &mut Problems) -> Option<String> {
    match table.get(key) {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => {
            problems.add(key, "must be a string".to_owned());
            None
        }
    }
}

fn strings(table: &Table, key: &str, problems: &mut Problems) -> Vec<String> {
    let texts = match table.get(key) {
        None => return Vec::new(),
        Some(Value::String(text)) => Some(vec![text.clone()]),
        Some(Value::Array(items)) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    };
    texts.unwrap_or_else(|| {
        problems.add(key, "must be a string or an array of strings".to_owned());
        Vec::new()
    })
}

fn text_table(table: &Table, key: &str, problems: &mut Problems) -> Vec<(String, String)> {
    let texts = match table.get(key) {
        None => return Vec::new(),
        Some(Value::Table(fields)) => {
            fields.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
        }
        Some(_) => None,
    };
    texts.unwrap_or_else(|| {
        problems.add(key, "must be a table of strings".to_owned());
        Vec::new()
    })
}

/// What can only be seen from all rules together: names that lead nowhere.
fn cross_check(dialog: &Dialog, problems: &mut Problems) {
    let all = || dialog.rules.iter().chain([&dialog.fallback]);
    let variables: BTreeSet<&str> = all().flat_map(|rule| rule.set.iter().map(|(name, _)| name.as_str())).collect();
    let states: BTreeSet<&str> = all().flat_map(|rule| rule.states.iter().map(String::as_str)).collect();
    let reached: BTreeSet<&str> = all().filter_map(|rule| rule.next.as_deref()).chain([""]).collect();
    let names: BTreeSet<&str> = all().map(|rule| rule.name.as_str()).collect();
    let mut seen = BTreeSet::new();
    for (index, rule) in all().enumerate() {
        let title = format!("rule {} ({})", index + 1, rule.name);
        problems.rule = Some(if rule.name == FALLBACK { FALLBACK.to_owned() } else { title });
        if !rule.name.is_empty() && !seen.insert(rule.name.as_str()) {
            problems.add("name", "another rule has this name".to_owned());
        }
        if let Some(state) = rule.next.as_deref().filter(|state| !state.is_empty() && !states.contains(state)) {
            problems.add("next", format!("no rule is in state '{state}'"));
        }
        for state in rule.states.iter().filter(|state| !reached.contains(state.as_str())) {
            problems.add("state", format!("no rule leads to state '{state}'"));
        }
        for (name, _) in rule.when.iter().filter(|(name, _)| !variables.contains(name.as_str())) {
            problems.add(&format!("when.{name}"), "no rule sets this variable".to_owned());
        }
        if let Some(after) = rule.after.as_deref().filter(|after| !names.contains(after)) {
            problems.add("after", format!("there is no rule '{after}'"));
        }
        let captures: BTreeSet<&str> = rule.patterns.iter().flat_map(|p| p.capture_names().flatten()).collect();
        let in_responses = rule.responses.iter().chain(rule.context.as_ref()).flat_map(Node::sources);
        let in_set = rule.set.iter().flat_map(|(_, template)| template.sources());
        for source in in_responses.chain(in_set) {
            if let Source::Name(name) = source
                && !captures.contains(name.as_str())
                && !variables.contains(name.as_str())
            {
                let what = format!("'{{{{{name}}}}}' is neither a named group of the patterns nor set by any rule");
                problems.add("template", what);
            }
        }
    }
}

pub(super) const FALLBACK: &str = "fallback";
/// Kept beside the variables in the context.
pub(super) const RESERVED: &[&str] = &["state", "last_rule"];
const RULE_KEYS: &[&str] =
    &["name", "patterns", "state", "when", "after", "set", "next", "context", "responses", "error"];
const FALLBACK_KEYS: &[&str] = &["set", "next", "context", "responses", "error"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_told_at_once_with_file_rule_and_key() {
        let text = r#"
            colour = "red"
            [[rules]]
            name = "a"
            patterns = ["(", "fine", "(?P<who>x)"]
            next = "nowhere"
            after = "nobody"
            when = { missing = "1" }
            set = { state = "x", greeting = "{{who}} {{stranger}}" }
            responses = [
                { response_type = "text" },
                { text = "no type" },
                { response_type = "connect_to_agent", transfer_info.target.nice_cxone.custom_data = { p1 = "x", p10 = "y", p2 = 5 } },
                { response_type = "option", title = "t", options = [{ label = "one" }] },
                { response_type = "text", text = "{{greeting|loud}}" },
                { response_type = "my_own", anything = [1] },
            ]
            [[rules]]
            name = "a"
            state = "limbo"
            patern = "x"
            error = { status = 200 }
        "#;
        let problems = read("d.toml", text).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for expected in [
            "d.toml: colour: unknown key",
            "d.toml: rule 1 (a): patterns[0]: not a regular expression",
            "rule 1 (a): set.state: this name is the program's own",
            "rule 1 (a): responses[0].text:",
            "rule 1 (a): responses[1].response_type:",
            "rule 1 (a): responses[2].transfer_info.target.nice_cxone.custom_data.p1:",
            "rule 1 (a): responses[2].transfer_info.target.nice_cxone.custom_data.p10:",
            "rule 1 (a): responses[2].transfer_info.target.nice_cxone.custom_data.p2:",
            "rule 1 (a): responses[3].options[0].value.input.text:",
            "rule 1 (a): responses[4].text: no filter 'loud'",
            "rule 2 (a): patern: unknown key",
            "rule 2 (a): error.status:",
            "d.toml: fallback: fallback: a [fallback]",
            "rule 1 (a): next: no rule is in state 'nowhere'",
            "rule 1 (a): after: there is no rule 'nobody'",
            "rule 1 (a): when.missing: no rule sets this variable",
            "rule 1 (a): template: '{{stranger}}'",
            "rule 2 (a): name: another rule has this name",
            "rule 2 (a): state: no rule leads to state 'limbo'",
        ] {
            assert!(told.iter().any(|line| line.contains(expected)), "{expected} not in:\n{}", told.join("\n"));
        }
        assert!(!told.iter().any(|line| line.contains("responses[5]") || line.contains("{{who}}")), "{told:#?}");
    }

    #[test]
    fn a_file_that_is_not_toml_says_where() {
        let problems = read("d.toml", "name = [").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("line 1"), "{}", problems[0]);
    }
}
