//! The one place that prints: results to stdout, complaints to stderr, colour only where a person looks.

use std::io::{IsTerminal as _, Write as _};

/// A line of result. A closed pipe is no error: whoever reads has seen enough.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line about what went wrong.
pub(super) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "voice-gateway: {line}");
}

/// A line on stderr that the next one takes the place of, for whoever waits at a terminal; nobody else sees it.
pub(super) fn meanwhile(line: &str) {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[2K{line}");
        let _ = stderr.flush();
    }
}

/// What is done now, for whoever waits: a line on stderr.
pub(super) fn note(line: &str) {
    meanwhile("");
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Colour of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Quiet,
    #[cfg(feature = "sandbox")]
    Bold,
    /// A caller's voice.
    #[cfg(feature = "sandbox")]
    Caller,
    /// The assistant's voice.
    #[cfg(feature = "sandbox")]
    Assistant,
    /// CXone's script.
    #[cfg(feature = "sandbox")]
    Studio,
}

/// `text` in `tone` on a terminal, as it is elsewhere and where NO_COLOR is set.
pub(super) fn toned(tone: Tone, text: &str) -> String {
    if !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Quiet => "2",
        #[cfg(feature = "sandbox")]
        Tone::Bold => "1",
        #[cfg(feature = "sandbox")]
        Tone::Caller => "36",
        #[cfg(feature = "sandbox")]
        Tone::Assistant => "35",
        #[cfg(feature = "sandbox")]
        Tone::Studio => "33",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
