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
use crate::audio::Law;
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// G.711 flavour on the wire; payload bytes go to Speech to Text undecoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 mu-law, static payload type 0.
    Pcmu,
    /// G.711 A-law, static payload type 8.
    Pcma,
}

impl Codec {
    /// Encoding name of its rtpmap.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// Static payload type (RFC 3551 section 6).
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// Steps of its RTP clock in a second.
    #[must_use]
    pub const fn clock(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
        }
    }

    /// The law its bytes are coded by.
    #[must_use]
    pub const fn law(self) -> Law {
        match self {
            Self::Pcmu => Law::Mu,
            Self::Pcma => Law::A,
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
    /// Payload type of telephone-event/8000 where the peer has it.
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
