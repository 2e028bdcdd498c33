//! Nonces that need no memory until they are used, and the counts that were used with each (RFC 7616 sections 3.3 and 3.4).

use super::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// When a nonce was made, in milliseconds since the first one, and what makes it differ from the others of that moment.
pub(super) type Stamp = (u64, u64);

/// Makes nonces and knows its own again: a keyed hash of their stamp and of the algorithm that they are for, so that an answer
/// to the challenge of the stronger one cannot be given with the weaker.
pub(super) struct Nonces {
    keyed: Hmac<Sha256>,
    first: Option<Instant>,
}

impl Nonces {
    pub(super) fn new(key: [u8; 32]) -> Self {
        let mut block = [0; 64];
        block.iter_mut().zip(key).for_each(|(to, from)| *to = from);
        Self { keyed: Hmac::new(&block.into()), first: None }
    }

    pub(super) fn mint(&mut self, now: Instant, salt: u64, algorithm: Algorithm) -> String {
        let first = *self.first.get_or_insert(now);
        let stamp = (elapsed(first, now), salt);
        let mut bytes = [stamp.0.to_be_bytes(), stamp.1.to_be_bytes()].concat();
        let mac = self.mac(&bytes, algorithm).finalize().into_bytes();
        bytes.extend(mac.iter().take(MAC));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The stamp of a nonce of ours for `algorithm` that has not expired.
    pub(super) fn verify(&self, now: Instant, nonce: &str, algorithm: Algorithm) -> Option<Stamp> {
        // Ours has 43 characters: nothing longer is decoded.
        let bytes = URL_SAFE_NO_PAD.decode(nonce.get(..LENGTH).filter(|all| all.len() == nonce.len())?).ok()?;
        let (stamp, mac) = bytes.split_at_checked(16)?;
        self.mac(stamp, algorithm).verify_truncated_left(mac).ok()?;
        let (made, salt) = stamp.split_at_checked(8)?;
        let stamp = (u64::from_be_bytes(made.try_into().ok()?), u64::from_be_bytes(salt.try_into().ok()?));
        let age = Duration::from_millis(elapsed(self.first?, now).checked_sub(stamp.0)?);
        (age < LIFE).then_some(stamp)
    }

    /// A stamp of now, for `Counts::mark`.
    pub(super) fn stamp(&self, now: Instant) -> Stamp {
        (self.first.map_or(0, |first| elapsed(first, now)), 0)
    }

    fn mac(&self, stamp: &[u8], algorithm: Algorithm) -> Hmac<Sha256> {
        self.keyed.clone().chain_update(stamp).chain_update(algorithm.name())
    }
}

fn elapsed(first: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(first).as_millis()).unwrap_or(u64::MAX)
}

/// Which counts were used with which nonce, so that none is used twice. Only nonces that came with the right password get in;
/// when it is full the oldest one leaves, and neither it nor any that is older is good for anything any more.
#[derive(Default)]
pub(super) struct Counts {
    used: BTreeMap<Stamp, Window>,
    /// Up to here nonces are stale.
    floor: Option<Stamp>,
}

impl Counts {
    /// Whether `count` may still be used.
    pub(super) fn is_fresh(&self, stamp: Stamp, count: u32) -> bool {
        self.floor.is_none_or(|floor| stamp > floor)
            && self.used.get(&stamp).is_none_or(|window| window.is_fresh(count))
    }

    /// It has been used; forgets what has expired.
    pub(super) fn mark(&mut self, now: Stamp, stamp: Stamp, count: u32) {
        let expired = now.0.saturating_sub(u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX));
        while self.used.first_key_value().is_some_and(|(oldest, _)| oldest.0 < expired) {
            self.used.pop_first();
        }
        self.used.entry(stamp).or_default().mark(count);
        if self.used.len() > MAX_USED
            && let Some((oldest, _)) = self.used.pop_first()
        {
            self.floor = Some(oldest);
        }
    }
}

/// A sliding window over the counts of one nonce: requests may overtake each other.
#[derive(Default)]
struct Window {
    highest: u32,
    /// Bit n: `highest - n` was used.
    used: u64,
}

impl Window {
    fn is_fresh(&self, count: u32) -> bool {
        match self.highest.checked_sub(count) {
            None => true,
            Some(behind) => behind < u64::BITS && self.used & (1 << behind) == 0,
        }
    }

    fn mark(&mut self, count: u32) {
        match count.checked_sub(self.highest) {
            Some(ahead) => {
                self.used = self.used.checked_shl(ahead).unwrap_or(0) | 1;
                self.highest = count;
            }
            None => self.used |= 1_u64.checked_shl(self.highest - count).unwrap_or(0),
        }
    }
}

/// How long a nonce may be answered.
const LIFE: Duration = Duration::from_secs(60);
/// Nonces with counts: more than 200 calls a second, each with a nonce of its own.
const MAX_USED: usize = 16_384;
/// Bytes of the keyed hash.
const MAC: usize = 16;
/// Characters of a nonce.
const LENGTH: usize = 43;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_known_again_until_it_expires_and_only_for_its_algorithm() {
        let start = crate::base::clock::now().at;
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut nonces = Nonces::new([1; 32]);
        assert!(nonces.verify(start, &"A".repeat(43), Algorithm::Md5).is_none(), "none was made yet");
        let nonce = nonces.mint(at(5), 7, Algorithm::Sha256);
        let later = nonces.mint(at(6), 7, Algorithm::Sha256);
        assert_eq!(nonces.verify(at(64), &nonce, Algorithm::Sha256), Some((0, 7)));
        assert_eq!(nonces.verify(at(65), &nonce, Algorithm::Sha256), None, "expired");
        assert_eq!(nonces.verify(at(65), &later, Algorithm::Sha256), Some((1000, 7)));
        assert_eq!(nonces.verify(at(6), &nonce, Algorithm::Md5), None);
        let mut other = Nonces::new([2; 32]);
        other.mint(start, 0, Algorithm::Md5);
        assert_eq!(other.verify(at(6), &nonce, Algorithm::Sha256), None, "another process");
        for index in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[index] = if forged[index] == b'x' { b'y' } else { b'x' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(nonces.verify(at(6), &forged, Algorithm::Sha256), None, "{index}");
        }
        for text in ["", "é", &"é".repeat(43), &nonce[..42], &format!("{nonce}A"), &"A".repeat(100_000)] {
            assert_eq!(nonces.verify(at(6), text, Algorithm::Sha256), None);
        }
    }

    #[test]
    fn a_count_is_good_once_within_a_window() {
        let mut counts = Counts::default();
        let (now, stamp) = ((0, 0), (0, 1));
        let mut takes = |count| {
            let fresh = counts.is_fresh(stamp, count);
            if fresh {
                counts.mark(now, stamp, count);
            }
            fresh
        };
        let tried = [(1, true), (1, false), (3, true), (2, true), (2, false), (3, false), (100, true), (37, true)];
        for (count, fresh) in tried.into_iter().chain([(36, false), (37, false), (u32::MAX, true), (100, false)]) {
            assert_eq!(takes(count), fresh, "{count}");
        }
    }

    #[test]
    fn memory_is_bounded_and_what_left_it_is_stale() {
        let mut counts = Counts::default();
        for n in 0..MAX_USED as u64 + 10 {
            counts.mark((n, 0), (n, 0), 1);
        }
        assert_eq!(counts.used.len(), MAX_USED);
        assert!(!counts.is_fresh((9, 0), 2) && !counts.is_fresh((3, 9), 1), "evicted, or older than that");
        assert!(counts.is_fresh((10, 0), 2) && !counts.is_fresh((10, 0), 1));
        let later = MAX_USED as u64 + 60_000;
        counts.mark((later, 0), (later, 0), 1);
        assert_eq!(counts.used.len(), 11, "expired ones go");
    }
}
