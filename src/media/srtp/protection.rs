//! One direction of RTP or RTCP under its session keys: derivation, encryption, authentication (RFC 3711 section 4, RFC 7714).

use super::LONGEST_TAG;
use super::keys::{MasterKey, Suite};
use rtc_crypto::{AeadAlgorithm, AeadCipher, HmacAlgorithm, Mac, RTCCrypto, SecretVec, StreamCipher};
use rtc_crypto::{StreamCipherAlgorithm, constant_time_eq, default_provider};

/// Session keys of one direction.
pub(super) struct Protection {
    cipher: Cipher,
    salt: [u8; MOST_SALT],
    tag: usize,
}

enum Cipher {
    Counter { stream: Box<dyn StreamCipher>, mac: Box<dyn Mac> },
    Aead(Box<dyn AeadCipher>),
}

/// What a set of session keys is for: it names their labels (RFC 3711 section 4.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Rtp,
    Rtcp,
}

/// Where a packet stands: what makes its initialisation vector unique.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) ssrc: u32,
    /// 48 bits: rollover counter and sequence number, or the SRTCP index.
    pub(super) index: u64,
}

impl Protection {
    /// Derives the keys; `None` where the library has not the suite.
    pub(super) fn new(suite: Suite, master: &MasterKey, purpose: Purpose) -> Option<Self> {
        let provider = default_provider().ok()?;
        let crypto = provider.crypto();
        let (key, salt) = master.expose().split_at_checked(suite.key_length())?;
        let mut derivation = Derivation::new(crypto, key, salt)?;
        let [for_key, for_tag, for_salt] = match purpose {
            Purpose::Rtp => [0, 1, 2],
            Purpose::Rtcp => [3, 4, 5],
        };
        let session_key = derivation.derive(for_key, suite.key_length())?;
        let cipher = if suite.is_aead() {
            let algorithm = if key.len() == 16 { AeadAlgorithm::Aes128Gcm } else { AeadAlgorithm::Aes256Gcm };
            Cipher::Aead(crypto.new_aead(algorithm, session_key.as_ref()).ok()?)
        } else {
            let tag_key = derivation.derive(for_tag, TAG_KEY)?;
            Cipher::Counter {
                stream: crypto.new_stream_cipher(counter_mode(key), session_key.as_ref()).ok()?,
                mac: crypto.new_hmac(HmacAlgorithm::Sha1, tag_key.as_ref()).ok()?,
            }
        };
        let session_salt = derivation.derive(for_salt, suite.salt_length())?;
        let mut salt = [0; MOST_SALT];
        salt.get_mut(..session_salt.len())?.copy_from_slice(session_salt.as_ref());
        let tag = match (suite.is_aead(), purpose) {
            (false, Purpose::Rtcp) => CONTROL_TAG,
            _ => suite.tag_length(),
        };
        Some(Self { cipher, salt, tag })
    }

    /// Bytes of the tag.
    pub(super) const fn tag(&self) -> usize {
        self.tag
    }

    /// Whether the tag lies right behind what is encrypted, before all else that is added.
    pub(super) const fn is_aead(&self) -> bool {
        matches!(self.cipher, Cipher::Aead(_))
    }

    /// Encrypts `text` behind `header`, and makes the tag over both and `more`, which is not in the packet or not before the tag.
    pub(super) fn seal(&mut self, place: Place, parts: Parts<'_>, tag: &mut [u8]) -> Option<()> {
        let vector = self.vector(place);
        let Parts { header, text, more } = parts;
        match &mut self.cipher {
            Cipher::Counter { stream, mac } => {
                stream.apply_keystream(&vector, text).ok()?;
                let mut whole = [0; SHA1];
                mac.sign(&[header, text, more], &mut whole).ok()?;
                tag.copy_from_slice(whole.get(..tag.len())?);
                Some(())
            }
            Cipher::Aead(aead) => {
                let nonce = vector.first_chunk::<NONCE>()?;
                aead.seal_in_place(nonce, additional(header, more, &mut [0; CONTROL_HEADER + WORD])?, text, tag).ok()
            }
        }
    }

    /// Checks `tag` and decrypts `text`. `None` where the packet is not authentic; then `text` is worth nothing.
    pub(super) fn open(&mut self, place: Place, parts: Parts<'_>, tag: &[u8]) -> Option<()> {
        let vector = self.vector(place);
        let Parts { header, text, more } = parts;
        match &mut self.cipher {
            Cipher::Counter { stream, mac } => {
                let mut whole = [0; SHA1];
                mac.sign(&[header, text, more], &mut whole).ok()?;
                if !constant_time_eq(tag, whole.get(..tag.len())?) {
                    return None;
                }
                stream.apply_keystream(&vector, text).ok()
            }
            Cipher::Aead(aead) => {
                let nonce = vector.first_chunk::<NONCE>()?;
                aead.open_in_place(nonce, additional(header, more, &mut [0; CONTROL_HEADER + WORD])?, text, tag).ok()
            }
        }
    }

    /// RFC 3711 section 4.1.1 and RFC 7714 sections 8.1 and 9.1: source and index, upon the salt.
    fn vector(&self, place: Place) -> [u8; BLOCK] {
        let [_, _, index @ ..] = place.index.to_be_bytes();
        let source = place.ssrc.to_be_bytes();
        // Counter mode keeps two bytes in front of the source more than GCM, and two for blocks at the end.
        let lead = if self.is_aead() { 2 } else { 4 };
        let mut vector = [0; BLOCK];
        for (byte, value) in vector.iter_mut().skip(lead).zip(source.into_iter().chain(index)) {
            *byte = value;
        }
        for (byte, salt) in vector.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        vector
    }
}

/// A packet in its parts.
pub(super) struct Parts<'a> {
    /// What stays readable.
    pub(super) header: &'a [u8],
    /// What is encrypted.
    pub(super) text: &'a mut [u8],
    /// What is authenticated beside them: the rollover counter of RTP in counter mode, the index word of RTCP.
    pub(super) more: &'a [u8],
}

/// What GCM authenticates beside the text, in one piece.
fn additional<'a>(header: &'a [u8], more: &[u8], room: &'a mut [u8; CONTROL_HEADER + WORD]) -> Option<&'a [u8]> {
    if more.is_empty() {
        return Some(header);
    }
    room.get_mut(..header.len())?.copy_from_slice(header);
    room.get_mut(header.len()..)?.copy_from_slice(more.get(..WORD)?);
    Some(room)
}

/// The pseudo-random function of RFC 3711 section 4.3.3 (RFC 6188 for 256 bits), with a key derivation rate of 0.
struct Derivation {
    stream: Box<dyn StreamCipher>,
    salt: [u8; BLOCK],
}

impl Derivation {
    fn new(crypto: &dyn RTCCrypto, key: &[u8], master_salt: &[u8]) -> Option<Self> {
        let mut salt = [0; BLOCK];
        salt.get_mut(..master_salt.len())?.copy_from_slice(master_salt);
        Some(Self { stream: crypto.new_stream_cipher(counter_mode(key), key).ok()?, salt })
    }

    fn derive(&mut self, label: u8, length: usize) -> Option<SecretVec> {
        let mut vector = self.salt;
        if let Some(byte) = vector.get_mut(LABEL) {
            *byte ^= label;
        }
        let mut key = SecretVec::new(vec![0; length]);
        self.stream.apply_keystream(&vector, key.as_mut()).ok()?;
        Some(key)
    }
}

const fn counter_mode(key: &[u8]) -> StreamCipherAlgorithm {
    if key.len() == 16 { StreamCipherAlgorithm::Aes128Ctr } else { StreamCipherAlgorithm::Aes256Ctr }
}

const MOST_SALT: usize = 14;
const BLOCK: usize = 16;
const NONCE: usize = 12;
/// Where the label lies in what is derived from.
const LABEL: usize = 7;
const SHA1: usize = 20;
/// Bytes of the key of the tags (RFC 3711 section 5.2).
const TAG_KEY: usize = 20;
/// Bytes of a tag on RTCP in counter mode, whatever those on RTP are (RFC 4568 section 6.2).
const CONTROL_TAG: usize = 10;
/// Bytes of an RTCP packet that stay readable.
pub(super) const CONTROL_HEADER: usize = 8;
/// Bytes of the index word of SRTCP.
pub(super) const WORD: usize = 4;
const _: () = assert!(CONTROL_TAG <= LONGEST_TAG);

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn keys_are_derived_as_the_standards_derive_them() {
        // RFC 3711 appendix B.3 and RFC 6188 section 7.2.
        for (key, salt, derived) in [
            (
                "E1F97A0D3E018BE0D64FA32C06DE4139",
                "0EC675AD498AFEEBB6960B3AABE6",
                [
                    "C61E7A93744F39EE10734AFE3FF7A087",
                    "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4",
                    "30CBBC08863D8C85D49DB34A9AE1",
                ],
            ),
            (
                "F0F04914B513F2763A1B1FA130F10E2998F6F6E43E4309D1E622A0E332B9F1B6",
                "3B04803DE51EE7C96423AB5B78D2",
                [
                    "5BA1064E30EC51613CAD926C5A28EF731EC7FB397F70A960653CAF06554CD8C4",
                    "FD9C32D39ED5FBB5A9DC96B30818454D1313DC05",
                    "FA31791685CA444A9E07C6C64E93",
                ],
            ),
        ] {
            let provider = default_provider().unwrap();
            let mut derivation = Derivation::new(provider.crypto(), &bytes(key), &bytes(salt)).unwrap();
            for (label, wanted) in (0..).zip(derived) {
                let wanted = bytes(wanted);
                assert_eq!(derivation.derive(label, wanted.len()).unwrap().as_ref(), wanted);
            }
        }
    }
}
