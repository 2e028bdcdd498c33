//! A call under SRTP, its clock, and a network that loses packets and lets them overtake each other.

use crate::packets::key;
use std::net::SocketAddr;
use std::time::Duration;
use voice_gateway::base::{Now, clock};
use voice_gateway::media::rtp::Numbering;
use voice_gateway::media::srtp::{Srtp, Suite};
use voice_gateway::media::{Codec, Input, Negotiated, Output, Session, Settings, Statistics};

pub(crate) const ADDRESSES: [&str; 2] = ["198.51.100.7:4000", "192.0.2.10:20000"];

/// Two sessions and the network between them, on simulated time.
pub(crate) struct Call {
    sessions: [Session; 2],
    now: Now,
    /// What was sent, by each side, on its way: to arrive at a slot, the bytes.
    pub(crate) flight: [Vec<(u32, Vec<u8>)>; 2],
    slot: u32,
    heard: [Vec<u8>; 2],
    closed: [Option<Statistics>; 2],
    random: fastrand::Rng,
    /// Percent of packets that get lost.
    pub(crate) loss: u8,
    /// Slots by which packets overtake each other.
    pub(crate) disorder: u32,
}

pub(crate) fn srtp(suite: Suite, ours: u8, theirs: u8) -> Option<Srtp> {
    Some(Srtp { suite, ours: key(suite, ours), theirs: key(suite, theirs), mki: 0 })
}

impl Call {
    pub(crate) fn new(sequence: u16) -> Self {
        let now = clock::now();
        let settings = Settings { chunk: Duration::from_millis(20), ..Settings::default() };
        let session = |ssrc| Session::new(settings, now.at, Numbering::new(ssrc, sequence, 0));
        Self {
            sessions: [session(1), session(2)],
            now,
            flight: [vec![], vec![]],
            slot: 0,
            heard: [vec![], vec![]],
            closed: [None, None],
            random: fastrand::Rng::with_seed(7),
            loss: 0,
            disorder: 0,
        }
    }

    pub(crate) fn agree(&mut self, side: usize, codec: Codec, srtp: Option<Srtp>) {
        let remote: SocketAddr = ADDRESSES[1 - side].parse().unwrap();
        let media = Negotiated { srtp, ..Negotiated::usual(remote, codec) };
        self.feed(side, Input::Agree(media));
    }

    pub(crate) fn both(&mut self, suite: Suite, keys: [u8; 2]) {
        self.agree(0, Codec::Pcmu, srtp(suite, keys[0], keys[1]));
        self.agree(1, Codec::Pcmu, srtp(suite, keys[1], keys[0]));
    }

    pub(crate) fn feed(&mut self, side: usize, input: Input<'_>) {
        let mut out = Vec::new();
        let _ = self.sessions[side].step(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Send { datagram, .. } if self.random.u8(..100) >= self.loss => {
                    let arrival = self.slot + 1 + self.random.u32(..=self.disorder);
                    self.flight[side].push((arrival, datagram.bytes().to_vec()));
                }
                Output::Heard(bytes) => self.heard[side].extend_from_slice(&bytes),
                Output::Closed(statistics) => self.closed[side] = Some(statistics),
                _ => {}
            }
        }
    }

    /// What arrives now, then a slot of each side.
    pub(crate) fn run(&mut self, slots: u32) {
        for _ in 0..slots {
            self.slot += 1;
            self.now = self.now.after(Duration::from_millis(20));
            for side in [0, 1] {
                let (due, later) = std::mem::take(&mut self.flight[side])
                    .into_iter()
                    .partition(|(arrival, _): &(u32, _)| *arrival <= self.slot);
                self.flight[side] = later;
                for (_, bytes) in due {
                    let from = ADDRESSES[side].parse().unwrap();
                    self.feed(1 - side, Input::Datagram { from, bytes: &bytes });
                }
            }
            (0..2).for_each(|side| self.feed(side, Input::Tick));
        }
    }

    pub(crate) fn play(&mut self, side: usize, play: u64, sound: Vec<u8>) {
        let play = voice_gateway::base::PlayId(play);
        self.feed(side, Input::Play { play, keys_stop: false });
        self.feed(side, Input::Chunk { play, bytes: sound.into() });
        self.feed(side, Input::PlayEnd(play));
    }

    pub(crate) fn statistics(&self, side: usize) -> Statistics {
        self.sessions[side].statistics()
    }

    /// How much of the last `slots` slots that `side` heard is this byte.
    pub(crate) fn share(&self, side: usize, slots: usize, byte: u8) -> f64 {
        let heard = &self.heard[side][self.heard[side].len() - slots * 160..];
        heard.iter().filter(|heard| **heard == byte).count() as f64 / heard.len() as f64
    }
}
