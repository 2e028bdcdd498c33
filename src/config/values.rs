//! The values of settings that have types of their own: sockets, ports, patterns, stores.

use super::raw::{Node, Raw};
use super::reader::Scalar;
use super::scalars::{last_line, text};
use super::words::Transport;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use url::Url;

/// A socket to listen on: `udp:0.0.0.0:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// How.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.as_str(), self.address)
    }
}

/// UDP ports for RTP and RTCP: from an even one to an odd one, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first RTP port, even.
    pub first: u16,
    /// The last RTCP port, odd.
    pub last: u16,
}

impl PortRange {
    /// How many calls it has ports for: one pair each.
    #[must_use]
    pub fn pairs(self) -> u32 {
        (u32::from(self.last) + 1).saturating_sub(u32::from(self.first)) / 2
    }
}

/// A regular expression that must match the whole text, anchored or not: a contact id becomes part of a URL's path.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    whole: regex::Regex,
}

impl Pattern {
    /// Compiles it; the error says where it is wrong.
    pub fn new(text: &str) -> Result<Self, String> {
        let regex = |text: &str| regex::RegexBuilder::new(text).size_limit(1 << 20).build();
        // Alone first: "(" and ")" around a wrong pattern could make it right.
        regex(text)
            .and_then(|_| regex(&format!("^(?:{text})$")))
            .map(|whole| Self { text: text.to_owned(), whole })
            .map_err(|error| format!("must be a regular expression: {}", last_line(&error.to_string())))
    }

    /// One to nineteen digits: what CXone numbers contacts with.
    #[expect(clippy::expect_used, reason = "a literal; `Config::default` is built in tests")]
    pub(super) fn digits() -> Self {
        Self::new("^[0-9]{1,19}$").expect("a pattern")
    }

    /// Whether all of `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }

    /// As configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Where history and the ledger of signals are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Store {
    /// A SQLite file, relative to the working directory.
    Sqlite(PathBuf),
    /// A PostgreSQL URL; may hold a password.
    Postgres(Url),
}

impl fmt::Display for Store {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let mut shown = url.clone();
                if shown.password().is_some() && shown.set_password(Some(super::reader::REDACTED)).is_err() {
                    return f.write_str("postgres://");
                }
                f.write_str(shown.as_str())
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Scalar for Listen {
    fn parse(node: &Node) -> Result<Self, String> {
        let wrong =
            || format!("must look like \"udp:0.0.0.0:5060\", \"tcp:[::]:5060\" or \"tls:…\", not {}", node.quoted());
        let (transport, address) = text(node)?.split_once(':').ok_or_else(wrong)?;
        let transport = [Transport::Udp, Transport::Tcp, Transport::Tls]
            .into_iter()
            .find(|known| known.as_str() == transport.to_ascii_lowercase())
            .ok_or_else(wrong)?;
        Ok(Self { transport, address: address.parse().map_err(|_| wrong())? })
    }

    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

impl Scalar for PortRange {
    fn parse(node: &Node) -> Result<Self, String> {
        let wrong = || {
            format!(
                "must be a list of two ports such as [20000, 29999], the first even, the last odd, not {}",
                node.quoted()
            )
        };
        let split;
        let ends = match &node.raw {
            Raw::Text(text) if node.variable.is_some() => {
                split = super::reader::split_list(&text.replace('-', ","), node.variable.as_ref());
                split.iter().collect()
            }
            _ => node.as_list().ok_or_else(wrong)?,
        };
        let [first, last] = ends.as_slice() else { return Err(wrong()) };
        let range = Self { first: u16::parse(first)?, last: u16::parse(last)? };
        if range.first < 1024
            || !range.first.is_multiple_of(2)
            || range.last.is_multiple_of(2)
            || range.last < range.first
        {
            return Err(format!(
                "must go from an even port of at least 1024 to a greater odd one, not from {} to {}",
                range.first, range.last
            ));
        }
        Ok(range)
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(vec![i64::from(self.first).into(), i64::from(self.last).into()])
    }
}

impl Scalar for Pattern {
    fn parse(node: &Node) -> Result<Self, String> {
        Self::new(text(node)?)
    }

    fn show(&self) -> toml::Value {
        self.text.clone().into()
    }
}

impl Scalar for Store {
    fn parse(node: &Node) -> Result<Self, String> {
        let text = text(node)?;
        let wrong = || "must be \"sqlite:FILE\" or \"postgres://USER@HOST/DATABASE\"".to_owned();
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Sqlite(path.into())) };
        }
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") && url.has_host() => Ok(Self::Postgres(url)),
            _ => Err(wrong()),
        }
    }

    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

/// A URL written in the program.
#[expect(clippy::expect_used, reason = "a literal; `Config::default` is built in tests")]
pub(super) fn literal(url: &str) -> Url {
    Url::parse(url).expect("a URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_texts_only_even_when_not_anchored() {
        let pattern = Pattern::new("[0-9]{1,19}").unwrap();
        assert!(pattern.is_match("123456789"));
        for hostile in ["1/../x", "1?p1=hangup", "1\n", "\r\n1", "", "12345678901234567890"] {
            assert!(!pattern.is_match(hostile), "{hostile:?}");
        }
        let either = Pattern::new("a|b").unwrap();
        assert!(either.is_match("a") && !either.is_match("ax") && !either.is_match("xb"));
        assert!(Pattern::new("(").unwrap_err().contains("regular expression"));
        assert!(Pattern::new("a)(b").is_err());
    }

    #[test]
    fn a_postgres_password_is_not_shown() {
        let node = Node { raw: Raw::Text("postgres://vg:hunter2@db/history".to_owned()), variable: None };
        let store = Store::parse(&node).unwrap();
        assert_eq!(store.to_string(), "postgres://vg:***@db/history");
        assert!(!format!("{store:?}").contains("hunter2"));
    }

    #[test]
    fn a_port_range_counts_its_pairs() {
        assert_eq!(PortRange { first: 20_000, last: 29_999 }.pairs(), 5000);
        assert_eq!(PortRange { first: 20_000, last: 20_001 }.pairs(), 1);
        assert_eq!(PortRange { first: 65_534, last: 65_535 }.pairs(), 1);
    }
}
