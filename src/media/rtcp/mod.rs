//! RTCP of one session (RFC 3550 section 6, 3605, 5506, 5761): reports both ways, and what they say of the line.

mod control;
mod packet;
#[cfg(test)]
mod tests;

pub(super) use control::Unused;
pub use control::{Control, Heard, Ours, Reports, Theirs};
pub use packet::{Compound, Item, read};

use std::net::SocketAddr;

/// Where the RTCP of a call goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControlPath {
    /// To the port behind that of RTP (RFC 3550 section 11).
    #[default]
    Neighbour,
    /// To where `a=rtcp` says (RFC 3605).
    At(SocketAddr),
    /// By the sockets of RTP (RFC 5761).
    Multiplexed,
    /// Nowhere: the peer wants none (RFC 3556).
    Off,
}

/// Whether a datagram of a socket that carries both is RTCP (RFC 5761 section 4).
#[must_use]
pub fn is_control(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|kind| packet::KINDS.contains(kind))
}
