//! A peer's body read into the few things that matter, with every limit enforced (RFC 8866).

use super::crypto::{self, Choice, Profile};
use super::{Codec, Direction, Privacy, SdpProblem};
use crate::media::rtcp::ControlPath;
use std::net::{IpAddr, SocketAddr};

/// A body with at least one audio stream that we could take part in, and the rest of its m-lines.
pub(super) struct Body {
    /// All streams in order.
    pub(super) streams: Vec<Stream>,
    /// Which of them is the audio we take.
    pub(super) chosen: usize,
    /// That audio.
    pub(super) audio: Audio,
}

/// An m-line, as far as a refusal has to repeat it (RFC 3264 section 6).
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) media: String,
    pub(super) proto: String,
    pub(super) formats: String,
}

/// An audio stream we can take part in.
pub(super) struct Audio {
    /// Where the peer receives; `None` is the hold of RFC 2543 (0.0.0.0).
    pub(super) remote: Option<SocketAddr>,
    /// The port, also while held.
    pub(super) port: u16,
    /// Codecs that we have, with the peer's numbers, in the peer's order.
    pub(super) codecs: Vec<(Codec, u8)>,
    /// Payload types of telephone-event by their clocks.
    pub(super) telephone_events: Vec<(u32, u8)>,
    /// Payload type of CN/8000.
    pub(super) comfort_noise: Option<u8>,
    /// As the peer sees it.
    pub(super) direction: Direction,
    pub(super) rtcp: ControlPath,
    pub(super) crypto: Choice,
}

/// What we can do.
pub(super) struct Ours<'a> {
    /// Our address.
    pub(super) local: IpAddr,
    pub(super) codecs: &'a [Codec],
    pub(super) privacy: &'a Privacy,
}

/// Reads `body`. The audio taken is the first encrypted one that can be, else the first, or the one at `place`.
pub(super) fn body(body: &[u8], ours: &Ours<'_>, place: Option<usize>) -> Result<Body, SdpProblem> {
    if body.len() > LONGEST {
        return Err(SdpProblem::Malformed(format!("{} bytes long, at most {LONGEST} are read", body.len())));
    }
    let session = session(body)?;
    if session.medias.len() > MOST_STREAMS {
        return Err(SdpProblem::Malformed(format!(
            "{} m= lines, at most {MOST_STREAMS} are read",
            session.medias.len()
        )));
    }
    let mut problem = SdpProblem::NoAudio;
    let mut chosen: Option<(usize, Audio)> = None;
    for (index, media) in session.medias.iter().enumerate() {
        let wanted = place.is_none_or(|place| place == index);
        if wanted && media.media.eq_ignore_ascii_case("audio") && media.port != 0 {
            match audio(&session, media, ours) {
                Ok(audio) => {
                    let encrypted = |audio: &Audio| matches!(audio.crypto, Choice::Encrypted(_));
                    if chosen.as_ref().is_none_or(|(_, chosen)| encrypted(&audio) && !encrypted(chosen)) {
                        chosen = Some((index, audio));
                    }
                }
                // The first refusal names the stream that mattered most to the peer.
                Err(refused) if problem == SdpProblem::NoAudio => problem = refused,
                Err(_) => {}
            }
        }
    }
    let (chosen, audio) = chosen.ok_or(problem)?;
    let streams = session
        .medias
        .into_iter()
        .map(|media| Stream { media: plain(media.media), proto: plain(media.proto), formats: plain(media.fmt) })
        .collect();
    Ok(Body { streams, chosen, audio })
}

fn session(body: &[u8]) -> Result<sdp_types::Session, SdpProblem> {
    sdp_types::Session::parse(body).or_else(|problem| {
        // Peers write all sorts of things into `o=`, which we have no use for: a body that is right without it is right.
        let without: Vec<u8> =
            body.split_inclusive(|&b| b == b'\n').filter(|line| !line.starts_with(b"o=")).flatten().copied().collect();
        sdp_types::Session::parse(&without).map_err(|_| SdpProblem::Malformed(problem.to_string()))
    })
}

fn audio(session: &sdp_types::Session, media: &sdp_types::Media, ours: &Ours<'_>) -> Result<Audio, SdpProblem> {
    let profile = Profile::of(&media.proto).ok_or_else(|| transport(&media.proto))?;
    let Formats { ours: codecs, telephone_events, comfort_noise, offered } = formats(media, ours.codecs);
    if codecs.is_empty() {
        return Err(SdpProblem::NoCommonCodec { offered: offered.join(" ") });
    }
    let crypto = crypto::choose(profile, media, ours.privacy)?;
    let connection = media.connections.first().or(session.connection.as_ref());
    let connection = connection.ok_or_else(|| SdpProblem::Malformed("no c= line for the audio stream".to_owned()))?;
    let remote = address(connection, ours.local)?.map(|ip| SocketAddr::new(ip, media.port));
    let direction = direction(&media.attributes).or_else(|| direction(&session.attributes)).unwrap_or_default();
    let rtcp = control(session, media, remote, ours.local);
    Ok(Audio { remote, port: media.port, codecs, telephone_events, comfort_noise, direction, rtcp, crypto })
}

/// Where RTCP goes. An `a=rtcp` that cannot be used is as none: reports are not worth a call.
fn control(
    session: &sdp_types::Session,
    media: &sdp_types::Media,
    remote: Option<SocketAddr>,
    local: IpAddr,
) -> ControlPath {
    let mut said = media.attributes.iter();
    if said.clone().any(|attribute| attribute.attribute.eq_ignore_ascii_case("rtcp-mux")) {
        return ControlPath::Multiplexed;
    }
    // RFC 3556 section 2: a stream's own figure comes before the session's.
    let none = |name: &str| {
        let figure = |all: &[sdp_types::Bandwidth]| all.iter().find(|one| one.bwtype == name).map(|one| one.bandwidth);
        figure(&media.bandwidths).or_else(|| figure(&session.bandwidths)) == Some(0)
    };
    if none("RS") && none("RR") {
        return ControlPath::Off;
    }
    let at = said.find(|attribute| attribute.attribute.eq_ignore_ascii_case("rtcp")).and_then(|attribute| {
        let mut words = attribute.value.as_deref()?.split_ascii_whitespace();
        let port = words.next()?.parse().ok().filter(|port| *port != 0)?;
        let ip = match words.nth(2) {
            Some(word) => usable(word, local).ok()??,
            None => remote?.ip(),
        };
        Some(SocketAddr::new(ip, port))
    });
    at.map_or(ControlPath::Neighbour, ControlPath::At)
}

/// Why audio over `proto` cannot be.
fn transport(proto: &str) -> SdpProblem {
    let why = if proto.to_ascii_uppercase().contains("TLS") {
        "DTLS-SRTP offered, wanted is RTP/SAVP with a=crypto, or RTP/AVP".to_owned()
    } else {
        format!("audio over {} offered, wanted is RTP/AVP or RTP/SAVP", shown(proto))
    };
    SdpProblem::Transport(why)
}

/// What an m-line has.
#[derive(Default)]
struct Formats {
    ours: Vec<(Codec, u8)>,
    telephone_events: Vec<(u32, u8)>,
    comfort_noise: Option<u8>,
    /// Names of all its codecs.
    offered: Vec<String>,
}

fn formats(media: &sdp_types::Media, codecs: &[Codec]) -> Formats {
    let mut formats = Formats::default();
    for number in media.fmt.split_ascii_whitespace().take(MOST_FORMATS).filter_map(|format| format.parse::<u8>().ok()) {
        let Some(encoding) = (number < 128).then(|| encoding(media, number)).flatten() else { continue };
        let mut parts = encoding.split('/');
        let (name, rate) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("8000"));
        let channels = parts.next().unwrap_or("1").trim();
        if name.eq_ignore_ascii_case("telephone-event") {
            if let Ok(rate) = rate.parse::<u32>()
                && formats.telephone_events.iter().all(|(known, _)| *known != rate)
            {
                formats.telephone_events.push((rate, number));
            }
            continue;
        }
        if name.eq_ignore_ascii_case("CN") && rate == "8000" {
            formats.comfort_noise.get_or_insert(number);
        }
        let codec = codecs.iter().find(|codec| codec.name().eq_ignore_ascii_case(name));
        let written = |codec: &&Codec| {
            let mut ours = codec.encoding().split('/').skip(1);
            ours.next() == Some(rate) && ours.next().unwrap_or("1") == channels
        };
        if let Some(&codec) = codec.filter(written) {
            formats.ours.push((codec, number));
        }
        formats.offered.push(shown(name));
    }
    formats
}

/// Encoding of a payload type: its rtpmap, else the static table where it concerns us (RFC 3551 section 6).
fn encoding(media: &sdp_types::Media, number: u8) -> Option<&str> {
    let mapped =
        media.attributes.iter().filter(|attribute| attribute.attribute.eq_ignore_ascii_case("rtpmap")).find_map(
            |attribute| {
                let (mapped, encoding) = attribute.value.as_deref()?.trim().split_once(char::is_whitespace)?;
                (mapped.parse() == Ok(number)).then(|| encoding.trim())
            },
        );
    mapped.or(match number {
        0 => Some("PCMU/8000"),
        3 => Some("GSM/8000"),
        4 => Some("G723/8000"),
        8 => Some("PCMA/8000"),
        9 => Some("G722/8000"),
        13 => Some("CN/8000"),
        15 => Some("G728/8000"),
        18 => Some("G729/8000"),
        _ => None,
    })
}

/// The address of a c= line; `None` is a hold.
fn address(connection: &sdp_types::Connection, local: IpAddr) -> Result<Option<IpAddr>, SdpProblem> {
    usable(&connection.connection_address, local)
}

fn usable(text: &str, local: IpAddr) -> Result<Option<IpAddr>, SdpProblem> {
    let refuse = |why| SdpProblem::Address { address: shown(text), why };
    let ip: IpAddr = text
        .split('/')
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(|_| refuse("an IP address is wanted, not a name"))?;
    if ip.is_unspecified() {
        return Ok(None);
    }
    if ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast()) {
        return Err(refuse("a unicast address is wanted"));
    }
    if ip.is_loopback() && !local.is_loopback() {
        return Err(refuse("loopback reaches nobody from here"));
    }
    if ip.is_ipv4() != local.is_ipv4() {
        return Err(refuse("not of our address family"));
    }
    Ok(Some(ip))
}

fn direction(attributes: &[sdp_types::Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| {
        [Direction::Both, Direction::SendOnly, Direction::ReceiveOnly, Direction::Inactive]
            .into_iter()
            .find(|direction| attribute.attribute.trim().eq_ignore_ascii_case(direction.name()))
    })
}

/// A peer's words without what could end a line of ours.
fn plain(words: String) -> String {
    if words.chars().any(char::is_control) { words.chars().filter(|c| !c.is_control()).collect() } else { words }
}

/// A peer's word as it may stand in a header and a log line.
fn shown(word: &str) -> String {
    word.chars().filter(|c| c.is_ascii_graphic() && *c != '"' && *c != '\\').take(64).collect()
}

const LONGEST: usize = 64 * 1024;
const MOST_STREAMS: usize = 32;
const MOST_FORMATS: usize = 64;
