//! Crypto suites and master keys (RFC 4568 section 6.2, RFC 6188 section 4, RFC 7714 section 14).

use rtc_crypto::SecretVec;
use sha2::{Digest as _, Sha512};
use std::fmt;

/// A crypto suite, as `a=crypto` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-128 in counter mode, tags of 80 bits: what everybody has.
    AesCm128HmacSha1_80,
    /// The same with tags of 32 bits on RTP.
    AesCm128HmacSha1_32,
    /// AES-256 in counter mode, tags of 80 bits.
    AesCm256HmacSha1_80,
    /// The same with tags of 32 bits on RTP.
    AesCm256HmacSha1_32,
    /// AES-128 in Galois counter mode.
    AeadAes128Gcm,
    /// AES-256 in Galois counter mode.
    AeadAes256Gcm,
}

impl Suite {
    /// All that we have.
    pub const ALL: [Self; 6] = [
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
        Self::AesCm256HmacSha1_80,
        Self::AesCm256HmacSha1_32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// Its name in SDP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm256HmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of the master key.
    #[must_use]
    pub const fn key_length(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AeadAes128Gcm => 16,
            Self::AesCm256HmacSha1_80 | Self::AesCm256HmacSha1_32 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of the master salt behind it.
    #[must_use]
    pub const fn salt_length(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    pub(super) const fn is_aead(self) -> bool {
        matches!(self, Self::AeadAes128Gcm | Self::AeadAes256Gcm)
    }

    /// Bytes of the tag behind an RTP packet. Those of RTCP are never shortened.
    pub(super) const fn tag_length(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm256HmacSha1_80 => 10,
            Self::AesCm128HmacSha1_32 | Self::AesCm256HmacSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => super::LONGEST_TAG,
        }
    }
}

/// A master key with its salt: never shown, wiped when dropped.
#[derive(Clone)]
pub struct MasterKey(SecretVec);

impl MasterKey {
    /// The bytes of an `inline:` parameter; `None` where they are not as many as `suite` wants.
    #[must_use]
    pub fn new(suite: Suite, bytes: Vec<u8>) -> Option<Self> {
        let bytes = SecretVec::new(bytes);
        (bytes.len() == suite.key_length() + suite.salt_length()).then_some(Self(bytes))
    }

    /// Key and salt, one behind the other.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        rtc_crypto::constant_time_eq(self.expose(), other.expose())
    }
}

impl Eq for MasterKey {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// What a call agreed on for both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srtp {
    /// The suite both ways.
    pub suite: Suite,
    /// For what we send.
    pub ours: MasterKey,
    /// For what the peer sends.
    pub theirs: MasterKey,
    /// Bytes of the master key identifier in the peer's packets; 0 where it has none.
    pub mki: u8,
}

/// Our master keys, one after the other, all from one seed of the operating system: the same seed replays the same call.
#[derive(Clone)]
pub struct KeySource {
    seed: SecretVec,
    drawn: u64,
}

impl KeySource {
    /// Keys from `seed`.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed: SecretVec::new(seed.to_vec()), drawn: 0 }
    }

    /// The next key, for `suite`.
    pub(in crate::media) fn key(&mut self, suite: Suite) -> Option<MasterKey> {
        self.drawn += 1;
        let digest = Sha512::new().chain_update(self.seed.as_ref()).chain_update(self.drawn.to_be_bytes()).finalize();
        let wanted = suite.key_length() + suite.salt_length();
        MasterKey::new(suite, digest.get(..wanted)?.to_vec())
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySource({} drawn)", self.drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_fit_their_suite_and_are_never_shown() {
        let mut source = KeySource::new([7; 32]);
        let keys: Vec<MasterKey> = Suite::ALL.into_iter().map(|suite| source.key(suite).unwrap()).collect();
        for (n, key) in keys.iter().enumerate() {
            assert!(keys.iter().skip(n + 1).all(|other| other.expose()[..28] != key.expose()[..28]));
        }
        assert_eq!(KeySource::new([7; 32]).key(Suite::ALL[0]).unwrap(), keys[0]);
        assert_ne!(KeySource::new([8; 32]).key(Suite::ALL[0]).unwrap(), keys[0]);
        let shown = format!("{source:?} {:?}", keys[0]);
        assert_eq!(shown, "KeySource(6 drawn) MasterKey(…)");
        assert!(MasterKey::new(Suite::AeadAes128Gcm, vec![0; 30]).is_none());
    }
}
