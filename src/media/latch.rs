//! Symmetric RTP (RFC 4961): where the peer really sends from, learnt once and then held against strangers.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Where the peer sends from and is sent to.
#[derive(Clone, Debug)]
pub struct Latch {
    signalled: SocketAddr,
    /// Host of the peer's signalling.
    signalling: Option<IpAddr>,
    held: Option<Held>,
    /// Who may become the source once it has shown that it sends a stream.
    candidates: [Option<Candidate>; CANDIDATES],
    turn: usize,
}

/// A source that is nothing but translated: any host of the world can send one packet.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    address: SocketAddr,
    ssrc: u32,
    sequence: u16,
    packets: u8,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    address: SocketAddr,
    rank: Rank,
    last: Instant,
}

/// How much a source has to do with what was signalled. A higher one takes over at any time, an equal or lower one only once
/// the held one has been silent for long: so a stranger can neither steal a stream nor shut the true peer out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Another address, where the signalled one is private: the peer is behind NAT and does not know how it looks from here.
    Translated,
    /// The same, from the host that signals: where a peer behind NAT mostly is.
    SignallingHost,
    /// The signalled address, another port: NAT, or a peer that sends from another socket.
    OtherPort,
    /// As signalled.
    Signalled,
}

impl Latch {
    /// Held by nobody; until then packets go to the signalled address. `signalling` is the host of the peer's signalling.
    #[must_use]
    pub const fn new(signalled: SocketAddr, signalling: Option<IpAddr>) -> Self {
        Self { signalled, signalling, held: None, candidates: [None; CANDIDATES], turn: 0 }
    }

    /// A new body was agreed: a peer that moved is learnt anew, one that stayed keeps what is known of it.
    pub fn signal(&mut self, signalled: SocketAddr) {
        if signalled != self.signalled && !signalled.ip().is_unspecified() {
            *self = Self::new(signalled, self.signalling);
        }
    }

    /// Where to send to.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.held.map_or(self.signalled, |held| held.address)
    }

    /// Whether `from` is the source that is held.
    #[must_use]
    pub fn holds(&self, from: SocketAddr) -> bool {
        self.held.is_some_and(|held| held.address == from)
    }

    /// Whether a valid packet from `from` may be taken, which makes `from` the source that is held.
    pub fn admit(&mut self, now: Instant, from: SocketAddr, ssrc: u32, sequence: u16) -> bool {
        let Some(rank) = self.rank(from) else { return false };
        let admitted = self.held.is_none_or(|held| {
            held.address == from || rank > held.rank || now.saturating_duration_since(held.last) >= SILENT
        });
        if !admitted || rank == Rank::Translated && !self.holds(from) && !self.proven(from, ssrc, sequence) {
            return false;
        }
        self.held = Some(Held { address: from, rank, last: now });
        true
    }

    /// Whether this packet is the last of enough that follow each other.
    fn proven(&mut self, address: SocketAddr, ssrc: u32, sequence: u16) -> bool {
        let known = self.candidates.iter_mut().flatten().find(|candidate| candidate.address == address);
        let Some(candidate) = known else {
            let place = self.turn % CANDIDATES;
            self.turn = place + 1;
            if let Some(place) = self.candidates.get_mut(place) {
                *place = Some(Candidate { address, ssrc, sequence, packets: 1 });
            }
            return false;
        };
        let follows = candidate.ssrc == ssrc && sequence == candidate.sequence.wrapping_add(1);
        let packets = if follows { candidate.packets + 1 } else { 1 };
        *candidate = Candidate { address, ssrc, sequence, packets };
        if packets < PROBATION {
            return false;
        }
        self.candidates = [None; CANDIDATES];
        true
    }

    fn rank(&self, from: SocketAddr) -> Option<Rank> {
        if from == self.signalled {
            Some(Rank::Signalled)
        } else if from.ip() == self.signalled.ip() {
            Some(Rank::OtherPort)
        } else if !private(self.signalled.ip()) {
            None
        } else if self.signalling == Some(from.ip()) {
            Some(Rank::SignallingHost)
        } else {
            Some(Rank::Translated)
        }
    }
}

/// Addresses that say nothing about how a peer looks from outside its network, and the hold of RFC 2543.
fn private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let shared = matches!(ip.octets(), [100, second, ..] if second & 0xC0 == 64);
            ip.is_private() || ip.is_link_local() || ip.is_unspecified() || shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}

/// So long the held source must be silent before one of the same rank may take its place.
const SILENT: Duration = Duration::from_secs(3);
/// Packets of one source in a row that prove a stream (RFC 3550 appendix A.1 takes two).
const PROBATION: u8 = 3;
/// Sources that are looked at, at once.
const CANDIDATES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn start() -> Instant {
        crate::base::clock::now().at
    }

    /// A packet that follows no other.
    fn one(latch: &mut Latch, now: Instant, from: SocketAddr) -> bool {
        latch.admit(now, from, 7, 5)
    }

    /// Enough packets of one stream; whether the last was admitted.
    fn stream(latch: &mut Latch, now: Instant, from: SocketAddr) -> bool {
        (65_534..=65_536_u32).map(|n| latch.admit(now, from, 9, n as u16)).last() == Some(true)
    }

    #[test]
    fn before_anything_comes_packets_go_where_the_body_said() {
        assert_eq!(Latch::new(at("198.51.100.1:4000"), None).target(), at("198.51.100.1:4000"));
    }

    #[test]
    fn the_signalled_host_may_send_from_another_port_and_gets_its_packets_there() {
        let mut latch = Latch::new(at("198.51.100.1:4000"), None);
        assert!(one(&mut latch, start(), at("198.51.100.1:61000")));
        assert_eq!(latch.target(), at("198.51.100.1:61000"));
    }

    #[test]
    fn a_public_host_that_was_not_signalled_is_a_stranger() {
        let mut latch = Latch::new(at("198.51.100.1:4000"), None);
        assert!(!one(&mut latch, start(), at("203.0.113.9:4000")));
        assert_eq!(latch.target(), at("198.51.100.1:4000"));
    }

    #[test]
    fn behind_nat_the_first_source_is_held_and_a_later_stranger_cannot_steal_it() {
        let now = start();
        let mut latch = Latch::new(at("192.168.1.20:4000"), None);
        assert!(stream(&mut latch, now, at("203.0.113.9:33000")));
        for n in 1..200 {
            let now = now + Duration::from_millis(20 * n);
            assert!(one(&mut latch, now, at("203.0.113.9:33000")));
            assert!(!stream(&mut latch, now, at("203.0.113.66:33000")));
            assert!(!stream(&mut latch, now, at("203.0.113.9:33002")));
        }
        assert_eq!(latch.target(), at("203.0.113.9:33000"));
    }

    #[test]
    fn a_silent_source_may_be_followed_by_another_but_only_after_a_while() {
        let now = start();
        let mut latch = Latch::new(at("192.168.1.20:4000"), None);
        assert!(stream(&mut latch, now, at("203.0.113.9:33000")));
        assert!(!stream(&mut latch, now + SILENT - Duration::from_millis(1), at("203.0.113.9:44000")));
        assert!(stream(&mut latch, now + SILENT, at("203.0.113.9:44000")));
        assert_eq!(latch.target(), at("203.0.113.9:44000"));
    }

    #[test]
    fn the_true_peer_takes_over_from_whoever_was_faster() {
        let now = start();
        let mut latch = Latch::new(at("10.0.0.7:4000"), None);
        assert!(stream(&mut latch, now, at("203.0.113.66:1")));
        assert!(one(&mut latch, now, at("10.0.0.7:4000")));
        assert!(!stream(&mut latch, now, at("203.0.113.66:1")));
    }

    #[test]
    fn a_peer_that_moves_is_learnt_anew_one_that_stays_or_holds_is_not() {
        let now = start();
        let mut latch = Latch::new(at("198.51.100.1:4000"), None);
        assert!(one(&mut latch, now, at("198.51.100.1:61000")));
        latch.signal(at("198.51.100.1:4000"));
        latch.signal(at("0.0.0.0:4000"));
        assert!(latch.holds(at("198.51.100.1:61000")));
        latch.signal(at("198.51.100.2:5000"));
        assert_eq!(latch.target(), at("198.51.100.2:5000"));
    }

    #[test]
    fn behind_nat_single_packets_do_not_steal_a_stream_and_do_not_keep_the_peer_from_beginning_it() {
        let now = start();
        let mut latch = Latch::new(at("192.168.1.20:4000"), None);
        for n in 0..PROBATION {
            assert!(!one(&mut latch, now, at("203.0.113.66:33000")), "always the same number");
            assert!(!latch.admit(now, at("203.0.113.66:33001"), u32::from(n), u16::from(n)), "always another source");
            assert_eq!(latch.target(), at("192.168.1.20:4000"));
            assert_eq!(latch.admit(now, at("203.0.113.9:33000"), 1, 100 + u16::from(n)), n == PROBATION - 1);
        }
        assert_eq!(latch.target(), at("203.0.113.9:33000"));
        assert!(one(&mut latch, now, at("203.0.113.9:33000")), "known from here on");
    }

    #[test]
    fn the_host_that_signals_is_believed_at_once_and_takes_over_from_any_other() {
        let now = start();
        let mut latch = Latch::new(at("192.168.1.20:4000"), Some(at("203.0.113.9:5060").ip()));
        assert!(stream(&mut latch, now, at("203.0.113.66:33000")));
        assert!(one(&mut latch, now, at("203.0.113.9:33000")));
        assert!(!stream(&mut latch, now, at("203.0.113.66:33000")));
        assert_eq!(latch.target(), at("203.0.113.9:33000"));

        let mut latch = Latch::new(at("198.51.100.1:4000"), Some(at("203.0.113.9:5060").ip()));
        assert!(!stream(&mut latch, now, at("203.0.113.9:33000")), "a public media address is what it says");
    }
}
