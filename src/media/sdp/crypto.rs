//! The `a=crypto` lines of an audio stream (RFC 4568): which of a peer's we can use, and ours.

use super::{Encryption, Privacy, SdpProblem};
use crate::media::srtp::{MasterKey, Suite};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt::Write as _;

/// An `a=crypto` line that we can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Crypto {
    /// By which an answer names the line of the offer.
    pub(super) tag: u32,
    pub(super) suite: Suite,
    /// Of the side that wrote the line.
    pub(super) key: MasterKey,
    /// Bytes of the key identifier in the packets of that side.
    pub(super) mki: u8,
}

/// What the proto of an m-line says of encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// RTP/AVP and RTP/AVPF.
    Plain,
    /// RTP/SAVP and RTP/SAVPF.
    Secure,
}

impl Profile {
    pub(super) fn of(proto: &str) -> Option<Self> {
        [("RTP/AVP", Self::Plain), ("RTP/AVPF", Self::Plain), ("RTP/SAVP", Self::Secure), ("RTP/SAVPF", Self::Secure)]
            .into_iter()
            .find_map(|(name, profile)| proto.eq_ignore_ascii_case(name).then_some(profile))
    }
}

/// By which line a stream is encrypted, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is plain.
    Plain,
    /// It would be plain: there are lines, and why none of them can be used.
    Unusable(String),
    /// By this one, which the peer wrote.
    Encrypted(Crypto),
}

/// How a stream is to be had on our terms.
///
/// A plain profile with `a=crypto` is the widespread way to offer encryption without insisting on it: taken where we may.
pub(super) fn choose(profile: Profile, media: &sdp_types::Media, privacy: &Privacy) -> Result<Choice, SdpProblem> {
    let refuse = |why: String| Err(SdpProblem::Transport(why));
    match (profile, privacy.encryption) {
        (Profile::Plain, Encryption::Off) => Ok(Choice::Plain),
        (Profile::Secure, Encryption::Off) => refuse("only SRTP offered, and media.srtp is off".to_owned()),
        (Profile::Plain, Encryption::Optional) if privacy.exposed || !mentioned(media) => Ok(Choice::Plain),
        (Profile::Plain, Encryption::Optional) => Ok(usable(media).map_or_else(Choice::Unusable, Choice::Encrypted)),
        (_, _) if privacy.exposed => refuse(EXPOSED.to_owned()),
        (_, _) => match usable(media) {
            Ok(crypto) => Ok(Choice::Encrypted(crypto)),
            Err(why) if profile == Profile::Plain => refuse(format!("SRTP is required here: {why}")),
            Err(why) => refuse(why),
        },
    }
}

fn mentioned(media: &sdp_types::Media) -> bool {
    media.attributes.iter().any(|attribute| attribute.attribute.eq_ignore_ascii_case("crypto"))
}

/// The first line that we can use: the peer's order is its preference.
fn usable(media: &sdp_types::Media) -> Result<Crypto, String> {
    let mut why = "no a=crypto line in the offered audio".to_owned();
    let lines = media.attributes.iter().filter(|attribute| attribute.attribute.eq_ignore_ascii_case("crypto"));
    for (n, line) in lines.take(MOST_LINES).enumerate() {
        match read(line.value.as_deref().unwrap_or_default()) {
            Ok(crypto) => return Ok(crypto),
            // The first line is what the peer wanted most.
            Err(problem) if n == 0 => why = format!("no usable a=crypto line: {problem}"),
            Err(_) => {}
        }
    }
    Err(why)
}

/// What is wrong with a line is told without a word of it: there are keys in it.
fn read(line: &str) -> Result<Crypto, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let (tag, suite, keys) = (words.next(), words.next(), words.next());
    let tag = tag.filter(|tag| (1..=9).contains(&tag.len())).and_then(|tag| tag.parse().ok()).ok_or("no tag")?;
    let suite = suite.and_then(Suite::named).ok_or("a suite that is unknown here")?;
    let (method, keys) = keys.and_then(|keys| keys.split_at_checked(INLINE.len())).ok_or("no key")?;
    if !method.eq_ignore_ascii_case(INLINE) {
        return Err("no inline: key");
    }
    if keys.contains(';') {
        return Err("several keys in a line are not supported");
    }
    let mut parts = keys.split('|');
    let key = BASE64.decode(parts.next().unwrap_or_default()).map_err(|_| "a key that is no base64")?;
    let key = MasterKey::new(suite, key).ok_or("a key whose length does not fit the suite")?;
    let mut mki = 0;
    for part in parts {
        match part.split_once(':') {
            Some((_, length)) if mki == 0 => {
                mki = length.parse().ok().filter(|length| (1..=LONGEST_MKI).contains(length)).ok_or("a wrong MKI")?;
            }
            None if mki == 0 && lifetime(part) => {}
            _ => return Err("a wrong lifetime or MKI"),
        }
    }
    // What the peer asks for beyond must be understood (section 6.3), but for what it marks with "-", and for a window size, which
    // only says how far its packets may stray.
    let bearable = |word: &str| word.starts_with('-') || word.starts_with("WSH=");
    if words.any(|word| !bearable(word)) {
        return Err("session parameters that are not supported");
    }
    Ok(Crypto { tag, suite, key, mki })
}

/// Packets that the key is good for, as a number or a power of two. The peer that made the key counts them.
fn lifetime(text: &str) -> bool {
    match text.strip_prefix("2^") {
        Some(power) => power.parse::<u8>().is_ok_and(|power| power <= 48),
        None => text.parse::<u64>().is_ok_and(|packets| (1..=1 << 48).contains(&packets)),
    }
}

/// Our lines.
pub(super) fn write(text: &mut String, lines: &[Crypto]) {
    for Crypto { tag, suite, key, .. } in lines {
        // Writing into a String cannot fail.
        let _ = write!(text, "a=crypto:{tag} {} {INLINE}", suite.name());
        BASE64.encode_string(key.expose(), text);
        text.push_str("\r\n");
    }
}

/// What an offer of ours names, in order of preference: what everybody has before what is faster.
pub(super) const OFFERED: [Suite; 3] = [Suite::AesCm128HmacSha1_80, Suite::AeadAes128Gcm, Suite::AeadAes256Gcm];

const EXPOSED: &str =
    "SRTP keys would travel in plain text: signal over TLS, or set media.srtp_without_tls where the path is private";
const INLINE: &str = "inline:";
/// With or without its padding: peers write both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
const LONGEST_MKI: u8 = 128;
const MOST_LINES: usize = 32;
