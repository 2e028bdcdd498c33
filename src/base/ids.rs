//! Identifiers that cross layers. Newtypes, so that a contact id is never taken for a Call-ID.

use std::fmt;
use std::sync::Arc;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps text that has been checked by its owner.
            #[must_use]
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// SIP Call-ID of the leg (RFC 3261 section 20.8). Names the call in logs and in the admin API.
    CallId
}
text_id! {
    /// CXone contact id, accepted by the configured pattern.
    ContactId
}
text_id! {
    /// Session history key: the `p1` of a transfer signal and the parameter of the agent's page. A bearer secret:
    /// `Debug` and `short` show eight characters, only `as_str` the whole.
    SessionKey
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ContactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.short())
    }
}

impl SessionKey {
    /// A key from 160 random bits: 27 characters of `[A-Za-z0-9_-]`, so it can never equal `hangup` (6 characters).
    #[must_use]
    pub fn from_random(random: [u8; 20]) -> Self {
        use base64::Engine as _;
        Self(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random).into())
    }

    /// The first eight characters: what logs may show.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }

    /// Whether `text` has the form of a key this program issues (24 to 64 characters of `[A-Za-z0-9_-]`).
    #[must_use]
    pub fn well_formed(text: &str) -> bool {
        (24..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    }
}

/// One prompt being spoken or played; numbered within its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlayId(pub u64);

/// One assistant turn; numbered within its call. An answer to an older turn is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TurnId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_key_is_url_safe_long_and_shows_only_eight_characters() {
        let key = SessionKey::from_random([0xfb; 20]);
        assert!(SessionKey::well_formed(key.as_str()), "{}", key.as_str());
        assert!(!SessionKey::well_formed("hangup"));
        assert_eq!(format!("{key:?}").chars().count(), 9);
    }
}
