//! Methods (RFC 3261 section 7.1, RFC 3262, 3311, 3428, 3515, 3903, 6086, 6665). Case-sensitive.

use std::fmt;

/// A request method.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the method of its name")]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Info,
    Update,
    Prack,
    Refer,
    Notify,
    Subscribe,
    Register,
    Message,
    Publish,
    /// Any other token.
    Other(String),
}

const KNOWN: [(Method, &str); 14] = [
    (Method::Invite, "INVITE"),
    (Method::Ack, "ACK"),
    (Method::Bye, "BYE"),
    (Method::Cancel, "CANCEL"),
    (Method::Options, "OPTIONS"),
    (Method::Info, "INFO"),
    (Method::Update, "UPDATE"),
    (Method::Prack, "PRACK"),
    (Method::Refer, "REFER"),
    (Method::Notify, "NOTIFY"),
    (Method::Subscribe, "SUBSCRIBE"),
    (Method::Register, "REGISTER"),
    (Method::Message, "MESSAGE"),
    (Method::Publish, "PUBLISH"),
];

impl Method {
    /// Reads a method token.
    #[must_use]
    pub fn new(token: &str) -> Self {
        match KNOWN.iter().find(|(_, name)| *name == token) {
            Some((method, _)) => method.clone(),
            None => Self::Other(token.to_owned()),
        }
    }

    /// The token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(token) => token,
            known => KNOWN.iter().find(|(method, _)| method == known).map_or("", |(_, name)| name),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_case_sensitive_and_unknown_ones_are_kept() {
        for (method, name) in &KNOWN {
            assert_eq!(Method::new(name), *method);
            assert_eq!(method.as_str(), *name);
        }
        assert_eq!(Method::new("invite"), Method::Other("invite".into()));
        assert_eq!(Method::new("RE%47IST%45R").as_str(), "RE%47IST%45R");
    }
}
