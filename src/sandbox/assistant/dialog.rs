//! The dialog file of the sandbox's assistant: ordered rules from what the caller said to Assistant v2 responses.

use super::reader::{self, Problem};
use super::template::{Node, Template};
use regex::Regex;
use std::path::Path;

/// A dialog, checked.
#[derive(Clone, Debug)]
pub struct Dialog {
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
    pub(super) fallback: Rule,
}

/// One rule. It answers a turn when all its conditions hold and no rule before it did.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule {
    /// Unique; shown in events and in the context as `last_rule`.
    pub(super) name: String,
    /// One of these is found in `input.text`. None: any ordinary text (not empty, not `vgw...`).
    pub(super) patterns: Vec<Regex>,
    /// The dialog is in one of these states. None: in any.
    pub(super) states: Vec<String>,
    /// Variables have these values (`""`: not set).
    pub(super) when: Vec<(String, String)>,
    /// The turn before was answered by this rule.
    pub(super) after: Option<String>,
    /// Variables set from now on.
    pub(super) set: Vec<(String, Template)>,
    /// State from now on; `""` is the start state. None: the same.
    pub(super) next: Option<String>,
    /// Merged into the context that is returned.
    pub(super) context: Option<Node>,
    /// `output.generic`.
    pub(super) responses: Vec<Node>,
    /// The turn fails with this HTTP status and message instead, and changes nothing.
    pub(super) error: Option<(u16, String)>,
}

/// A dialog file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DialogError {
    /// It cannot be read.
    #[error("dialog file {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// What is wrong in it, all of it.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

impl Dialog {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// When it cannot be read, or with all that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, DialogError> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&name, &text),
            Err(source) => Err(DialogError::Read { path: name, source }),
        }
    }

    /// Checks the text of a file called `file`.
    ///
    /// # Errors
    /// With all that is wrong in it.
    pub fn parse(file: &str, text: &str) -> Result<Self, DialogError> {
        reader::read(file, text).map_err(DialogError::Invalid)
    }

    /// The dialog that comes with the program: Acme Energy (`config/sandbox/dialog.toml`).
    ///
    /// # Errors
    /// Never in a tested build.
    pub fn acme_energy() -> Result<Self, DialogError> {
        Self::parse("config/sandbox/dialog.toml", include_str!("../../../config/sandbox/dialog.toml"))
    }

    /// What the file calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sentences a caller can hear that have no places to fill in: to be synthesised ahead.
    #[must_use]
    pub fn fixed_sentences(&self) -> Vec<String> {
        let nothing = serde_json::Map::new();
        let scope = super::template::Scope {
            captures: &std::collections::BTreeMap::new(),
            variables: &nothing,
            input: "",
            context: &serde_json::Value::Null,
        };
        let rules = self.rules.iter().chain([&self.fallback]);
        let fixed = rules.flat_map(|rule| &rule.responses).filter(|response| response.sources().is_empty());
        let filled = fixed.map(|response| response.fill(&scope));
        filled
            .filter_map(|response| match response.get("response_type")?.as_str()? {
                "text" => response.get("text")?.as_str().map(str::to_owned),
                "connect_to_agent" => response.get("agent_available")?.get("message")?.as_str().map(str::to_owned),
                _ => None,
            })
            .collect()
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
