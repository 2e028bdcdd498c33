//! What is wrong with a configuration: every problem with its key path and what would be right.

use std::fmt;

/// One thing that is wrong (or, as a notice, worth knowing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, as in `media.port_range` or `tenants[0].assistant.url`; the file's name where no key can be named.
    pub path: String,
    /// What is wrong and what would be right. Never a secret's value.
    pub message: String,
}

impl Problem {
    /// A problem at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// All that is wrong, one a line when displayed. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Ok` when there is nothing to report.
    pub(super) fn none_or(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self::of(problems)) }
    }

    /// What there is to report, known not to be nothing.
    pub(super) fn of(problems: Vec<Problem>) -> Self {
        Self(problems)
    }

    /// The problems in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
