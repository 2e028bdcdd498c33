//! The SIP ladder of a call: every message of it in both directions, as it went over the wire, for the first look at a call that went
//! wrong. Kept in memory only, bounded in messages and bytes, and shown with its secrets taken out.

mod archive;
mod book;
mod redact;
mod show;

pub use book::Ladders;
pub use redact::Disclosure;
pub use show::{Shown, ShownMessage};

use super::transport::Flow;
use crate::base::Now;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Instant;

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came from the peer.
    In,
    /// We sent it.
    Out,
}

/// One message.
#[derive(Clone, Debug)]
struct Rung {
    at: Instant,
    direction: Direction,
    flow: Flow,
    /// As it went over the wire, at most `LONGEST` bytes of it.
    bytes: Bytes,
    /// Of the whole.
    size: usize,
}

/// The messages of one Call-ID, in the order of our seeing them. How a call began and how it ended are kept; where there are too
/// many, the oldest between them are left out.
#[derive(Clone, Debug)]
pub struct Ladder {
    started: Now,
    first: Vec<Rung>,
    last: VecDeque<Rung>,
    left_out: u64,
    cost: usize,
}

impl Ladder {
    fn new(started: Now) -> Self {
        Self { started, first: Vec::new(), last: VecDeque::new(), left_out: 0, cost: 0 }
    }

    fn push(&mut self, now: Now, direction: Direction, flow: Flow, bytes: &[u8]) {
        let kept = bytes.get(..LONGEST).unwrap_or(bytes);
        let rung = Rung { at: now.at, direction, flow, bytes: Bytes::copy_from_slice(kept), size: bytes.len() };
        self.cost += rung.cost();
        if self.first.len() < FIRST && self.last.is_empty() {
            self.first.push(rung);
        } else {
            self.last.push_back(rung);
        }
        while self.first.len() + self.last.len() > MESSAGES || self.cost > BYTES {
            let Some(oldest) = self.last.pop_front() else { break };
            self.cost -= oldest.cost();
            self.left_out += 1;
        }
    }

    fn rungs(&self) -> impl Iterator<Item = &Rung> {
        self.first.iter().chain(&self.last)
    }
}

impl Rung {
    fn cost(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }
}

/// Messages kept of one call.
const MESSAGES: usize = 64;
/// So many of them from its beginning.
const FIRST: usize = 12;
/// Bytes kept of one call: above the cost of `FIRST` messages of `LONGEST` bytes.
const BYTES: usize = 64 << 10;
/// Bytes kept of one message.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::sip::Transport;

    fn flow() -> Flow {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.2:5060"].map(|address| address.parse().unwrap());
        Flow { transport: Transport::Udp, socket: 0, connection: 0, local, remote }
    }

    #[test]
    fn the_first_and_the_last_messages_stay_and_the_others_are_counted() {
        let mut ladder = Ladder::new(clock::now());
        for number in 0..1_000 {
            ladder.push(clock::now(), Direction::In, flow(), format!("{number}").as_bytes());
        }
        let kept: Vec<_> = ladder.rungs().map(|rung| std::str::from_utf8(&rung.bytes).unwrap().to_owned()).collect();
        assert_eq!(kept.len(), MESSAGES);
        assert_eq!((kept[0].as_str(), kept[FIRST - 1].as_str(), kept[MESSAGES - 1].as_str()), ("0", "11", "999"));
        assert_eq!(kept[FIRST], (1_000 - (MESSAGES - FIRST)).to_string());
        assert_eq!(ladder.left_out, 1_000 - MESSAGES as u64);
    }

    #[test]
    fn long_messages_are_cut_and_a_call_of_them_is_bounded_in_bytes() {
        let mut ladder = Ladder::new(clock::now());
        for _ in 0..MESSAGES {
            ladder.push(clock::now(), Direction::Out, flow(), &[b'x'; 60_000]);
            assert!(ladder.cost <= BYTES, "{}", ladder.cost);
        }
        let sizes: Vec<_> = ladder.rungs().map(|rung| (rung.bytes.len(), rung.size)).collect();
        assert!(sizes.len() > FIRST && sizes.iter().all(|size| *size == (LONGEST, 60_000)), "{sizes:?}");
        assert_eq!(ladder.cost, ladder.rungs().map(Rung::cost).sum::<usize>());
        assert_eq!(ladder.left_out as usize + sizes.len(), MESSAGES);
    }
}
