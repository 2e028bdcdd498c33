//! Offer and answer (RFC 3264, RFC 8866): from a peer's body to what was agreed, and our own bodies.

mod crypto;
mod exchange;
mod offer;
mod parse;
mod write;

pub use exchange::Exchange;
pub use offer::{accept_answer, answer, offer};

use super::rtcp::ControlPath;
use super::srtp::{KeySource, Srtp};
use crate::audio::wideband::WideCodec;
use crate::audio::{Form, Law};
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// A codec on the wire. G.711 goes to Speech to Text undecoded, the others as linear sound of 16 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 mu-law, static payload type 0.
    Pcmu,
    /// G.711 A-law, static payload type 8.
    Pcma,
    /// G.722 at 64 kbit/s, static payload type 9.
    G722,
    /// Opus (RFC 7587), of a dynamic payload type.
    #[cfg(feature = "opus")]
    Opus,
}

impl Codec {
    /// Encoding name of its rtpmap.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            #[cfg(feature = "opus")]
            Self::Opus => "opus",
        }
    }

    /// Its rtpmap: the name with the clock, which for G.722 is not its sampling rate (RFC 3551 section 4.5.2), and for Opus with two
    /// channels, however many it has (RFC 7587 section 7).
    #[must_use]
    pub const fn encoding(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU/8000",
            Self::Pcma => "PCMA/8000",
            Self::G722 => "G722/8000",
            #[cfg(feature = "opus")]
            Self::Opus => "opus/48000/2",
        }
    }

    /// Payload type (RFC 3551 section 6): static, or what everybody numbers it.
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            #[cfg(feature = "opus")]
            Self::Opus => 111,
        }
    }

    /// Steps of its RTP clock in a second.
    #[must_use]
    pub const fn clock(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8000,
            #[cfg(feature = "opus")]
            Self::Opus => 48_000,
        }
    }

    /// The form that its sound has here.
    #[must_use]
    pub const fn form(self) -> Form {
        match self {
            Self::Pcmu => Form::Narrow(Law::Mu),
            Self::Pcma => Form::Narrow(Law::A),
            Self::G722 => Form::Wide,
            #[cfg(feature = "opus")]
            Self::Opus => Form::Wide,
        }
    }

    /// How it is decoded, unless it is G.711.
    #[must_use]
    pub(super) const fn wide(self) -> Option<WideCodec> {
        match self {
            Self::Pcmu | Self::Pcma => None,
            Self::G722 => Some(WideCodec::G722),
            #[cfg(feature = "opus")]
            Self::Opus => Some(WideCodec::Opus),
        }
    }
}

/// The agreed media of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Where the peer wants RTP; the latch may correct it (symmetric RTP).
    pub remote: SocketAddr,
    /// The codec both ways.
    pub codec: Codec,
    /// Its payload type as the offer numbered it.
    pub payload_type: u8,
    /// Payload type of telephone-event by the codec's clock where the peer has it.
    pub telephone_event: Option<u8>,
    /// Payload type of CN/8000 where the peer has it (RFC 3389).
    pub comfort_noise: Option<u8>,
    /// Whether we may send (false while the peer holds us: sendonly towards us is not a hold; recvonly/inactive rules of RFC 3264 section 8.4).
    pub send: bool,
    /// Whether the peer sends.
    pub receive: bool,
    /// Suite and keys; without them RTP is plain.
    pub srtp: Option<Srtp>,
    /// Where RTCP goes.
    pub rtcp: ControlPath,
}

impl Negotiated {
    /// What two ordinary peers agree to: sound both ways (RFC 3264 section 5.1) and keys as telephone-events (RFC 4733), numbered as
    /// everybody does (RFC 3551), in plain RTP with RTCP one port on (RFC 3550 section 11), and no comfort noise.
    #[must_use]
    pub fn usual(remote: SocketAddr, codec: Codec) -> Self {
        Self {
            remote,
            codec,
            payload_type: codec.payload_type(),
            telephone_event: offer::number_of(&exchange::TELEPHONE_EVENTS, codec.clock()),
            comfort_noise: None,
            send: true,
            receive: true,
            srtp: None,
            rtcp: ControlPath::Neighbour,
        }
    }
}

/// Our side of the media, as it is written into our body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalMedia {
    /// Address that the peer can reach.
    pub address: IpAddr,
    /// RTP port.
    pub port: u16,
    /// `sess-id` of `o=`: the same for the whole call.
    pub session_id: u64,
    /// `sess-version` of `o=`: one more with each body that differs.
    pub session_version: u64,
}

/// Whether RTP is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Never.
    #[default]
    Off,
    /// Where the peer can.
    Optional,
    /// Always: without it there is no agreement.
    Required,
}

/// On which terms a call uses SRTP.
#[derive(Clone, Debug)]
pub struct Privacy {
    /// Whether it does.
    pub encryption: Encryption,
    /// Whether others may read the keys on their way: the signalling is in plain text, and nobody has said that this will do.
    pub exposed: bool,
    /// Our keys.
    pub keys: KeySource,
}

/// Why a body was not agreed to. `code` tells the SIP status, `warning` the code of the Warning header.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SdpProblem {
    /// Not SDP.
    #[error("malformed SDP: {0}")]
    Malformed(String),
    /// SDP without any audio that is not switched off.
    #[error("no audio offered")]
    NoAudio,
    /// Audio in codecs that we have not.
    #[error("no common codec: offered {offered}")]
    NoCommonCodec {
        /// Names of the offered codecs.
        offered: String,
    },
    /// Audio only over a transport that we have not.
    #[error("{0}")]
    Transport(String),
    /// An address that media cannot be sent to.
    #[error("unusable media address {address}: {why}")]
    Address {
        /// As it was sent, at most 64 characters.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl SdpProblem {
    /// SIP status: 400 for what is not SDP, 488 for what we cannot do.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            _ => 488,
        }
    }

    /// Warning code (RFC 3261 section 20.43).
    #[must_use]
    pub const fn warning(&self) -> u16 {
        match self {
            Self::Malformed(_) => 399,
            Self::NoAudio => 304,
            Self::NoCommonCodec { .. } => 305,
            Self::Transport(_) => 302,
            Self::Address { .. } => 301,
        }
    }
}

/// Direction of a stream as one side sees it (RFC 3264 section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Direction {
    #[default]
    Both,
    SendOnly,
    ReceiveOnly,
    Inactive,
}

impl Direction {
    const fn new(send: bool, receive: bool) -> Self {
        match (send, receive) {
            (true, true) => Self::Both,
            (true, false) => Self::SendOnly,
            (false, true) => Self::ReceiveOnly,
            (false, false) => Self::Inactive,
        }
    }

    const fn sends(self) -> bool {
        matches!(self, Self::Both | Self::SendOnly)
    }

    const fn receives(self) -> bool {
        matches!(self, Self::Both | Self::ReceiveOnly)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Both => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::ReceiveOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}
