//! Offer and answer of those who exchange but one (RFC 3264), and what an audio stream agrees to.

use super::{Codec, Exchange, LocalMedia, Negotiated, SdpProblem, parse};
use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Answers `offer` with the first of `codecs` (in order of our preference) that it has: our body, and what is agreed.
///
/// # Errors
/// A [`SdpProblem`] with the SIP status to refuse with.
pub fn answer(offer: &[u8], local: &LocalMedia, codecs: &[Codec]) -> Result<(Bytes, Negotiated), SdpProblem> {
    Exchange::new(*local, codecs.to_vec()).answer(offer)
}

/// The first offer of a call: for an INVITE that came without one, and for the test phone.
#[must_use]
pub fn offer(local: &LocalMedia, codecs: &[Codec]) -> Bytes {
    Exchange::new(*local, codecs.to_vec()).offer()
}

/// What a peer's `answer` to our [`offer`] of `codecs` agrees to. The codec is the first one that the peer lists.
///
/// # Errors
/// A [`SdpProblem`]: the call has no media and must end.
pub fn accept_answer(answer: &[u8], local: &LocalMedia, codecs: &[Codec]) -> Result<Negotiated, SdpProblem> {
    Exchange::new(*local, codecs.to_vec()).accept(answer)
}

pub(super) fn agree(audio: &parse::Audio, local: IpAddr, preference: &[Codec]) -> Result<Negotiated, SdpProblem> {
    let (codec, payload_type) = preference
        .iter()
        .find_map(|wanted| audio.codecs.iter().find(|(codec, _)| codec == wanted))
        .copied()
        .ok_or(SdpProblem::NoCommonCodec { offered: String::new() })?;
    let nowhere = match local {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Ok(Negotiated {
        remote: audio.remote.unwrap_or(SocketAddr::new(nowhere, audio.port)),
        codec,
        payload_type,
        // Keys go by the clock of the sound around them (RFC 4733 section 2.1): those of another would have no place in time.
        telephone_event: number_of(&audio.telephone_events, codec.clock()),
        comfort_noise: audio.comfort_noise,
        // 0.0.0.0 says "send nothing to me" whatever the attribute says (RFC 3264 section 8.4).
        send: audio.direction.receives() && audio.remote.is_some(),
        receive: audio.direction.sends(),
        srtp: None,
        rtcp: audio.rtcp,
    })
}

/// The payload type of telephone-event by this clock.
pub(super) fn number_of(telephone_events: &[(u32, u8)], clock: u32) -> Option<u8> {
    telephone_events.iter().find(|(known, _)| *known == clock).map(|(_, number)| *number)
}
