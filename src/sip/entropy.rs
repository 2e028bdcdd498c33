//! Tags, branches and Call-IDs that a stranger cannot guess (RFC 3261 section 19.3), from a seed: the same seed replays the same
//! run.

use std::hash::{DefaultHasher, Hasher as _};

/// A keyed counter.
#[derive(Clone)]
pub(crate) struct Entropy {
    key: [u8; 32],
    drawn: u64,
}

impl Entropy {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key, drawn: 0 }
    }

    /// The next 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.drawn += 1;
        let drawn = self.drawn.to_be_bytes();
        self.keyed(&[b"draw", &drawn])
    }

    /// 32 characters from 128 bits.
    pub(crate) fn token(&mut self) -> String {
        format!("{:016x}{:016x}", self.word(), self.word())
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound.max(1)
    }

    /// A To tag that needs no memory: the same for every copy of one request (section 8.2.7).
    pub(crate) fn stateless_tag(&self, transaction: &str) -> String {
        format!("{:016x}", self.keyed(&[b"tag", transaction.as_bytes()]))
    }

    fn keyed(&self, parts: &[&[u8]]) -> u64 {
        // SipHash over key, parts, key: unpredictable without the key, which never leaves this struct.
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.key);
        for part in parts {
            hasher.write(part);
        }
        hasher.write(&self.key);
        hasher.finish()
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ_and_stateless_tags_repeat() {
        let mut one = Entropy::new([1; 32]);
        let drawn: std::collections::HashSet<String> = (0..1000).map(|_| one.token()).collect();
        assert_eq!(drawn.len(), 1000);
        assert_eq!(one.stateless_tag("x"), Entropy::new([1; 32]).stateless_tag("x"));
        assert_ne!(one.stateless_tag("x"), Entropy::new([2; 32]).stateless_tag("x"));
    }
}
