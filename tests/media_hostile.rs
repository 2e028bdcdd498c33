//! Streams that no honest peer sends, from the peer's own address: what is heard stays real time, every packet is counted, and a good
//! stream after them is heard as if nothing had been.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;
use voice_gateway::base::{Now, clock};
use voice_gateway::media::rtp::Numbering;
use voice_gateway::media::{Codec, Input, Negotiated, Output, Session, Settings};

const SLOT: Duration = Duration::from_millis(20);
const PEER: &str = "198.51.100.7:4000";

struct Stage {
    session: Session,
    now: Now,
    heard: Vec<u8>,
    sent: usize,
    fed: u64,
}

impl Stage {
    fn new() -> Self {
        let now = clock::now();
        let session = Session::new(Settings::default(), now.at, Numbering::new(1, 2, 3));
        let mut stage = Self { session, now, heard: Vec::new(), sent: 0, fed: 0 };
        stage.feed(Input::Agree(Negotiated::usual(PEER.parse().unwrap(), Codec::Pcmu)));
        stage
    }

    fn feed(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        let _ = self.session.step(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Heard(bytes) => self.heard.extend(bytes),
                Output::Send { .. } => self.sent += 1,
                _ => {}
            }
        }
    }

    fn packet(&mut self, sequence: u32, timestamp: u32, ssrc: u32, sound: u8) {
        let mut bytes = vec![0x80, 0];
        bytes.extend((sequence as u16).to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend(ssrc.to_be_bytes());
        bytes.extend([sound; 160]);
        self.fed += 1;
        self.feed(Input::Datagram { from: PEER.parse().unwrap(), bytes: &bytes });
    }

    fn tick(&mut self) {
        self.now = self.now.after(SLOT);
        self.feed(Input::Tick);
    }
}

/// What a stream sends in a slot of the grid.
type Stream = fn(&mut Stage, u32);

#[test]
fn whatever_a_peer_sends_real_time_goes_on_and_a_good_stream_is_heard_after_it() {
    let streams: [(&str, Stream); 7] = [
        ("200 packets of 20 ms a second", |stage, n| (4 * n..4 * n + 4).for_each(|n| stage.packet(n, n * 160, 1, 90))),
        ("200 packets a second, each of the same time", |stage, n| {
            (4 * n..4 * n + 4).for_each(|at| stage.packet(at, n * 160, 1, 90))
        }),
        ("a source that changes with each packet", |stage, n| stage.packet(n, n * 160, n, 90)),
        ("timestamps that jump by hours", |stage, n| stage.packet(n, n.wrapping_mul(0x2000_0001), 1, 90)),
        ("timestamps that run backwards", |stage, n| stage.packet(n, n.wrapping_mul(160).wrapping_neg(), 1, 90)),
        ("numbers at random", |stage, n| stage.packet(n.wrapping_mul(0x9E37_79B9) >> 16, n * 160, 1, 90)),
        ("all numbers at random", |stage, n| {
            let random = |by: u32| n.wrapping_mul(by).wrapping_add(by >> 7);
            stage.packet(random(0x85EB_CA6B) >> 16, random(0x9E37_79B9), random(0xC2B2_AE35), 90);
        }),
    ];
    for (name, stream) in streams {
        let mut stage = Stage::new();
        for n in 0..3000 {
            stream(&mut stage, n);
            stage.tick();
        }
        let statistics = stage.session.statistics();
        let refused = statistics.dropped.stranger + statistics.dropped.not_rtp + statistics.dropped.payload_type;
        assert_eq!(statistics.packets_in + refused + statistics.dropped.flood, stage.fed, "{name}: {statistics:?}");
        for n in 0..250_u32 {
            stage.packet(40_000 + n, 5_000_000 + n * 160, 0xF00D, (n % 50) as u8);
            stage.tick();
        }
        assert_eq!(
            (stage.heard.len() / 800, stage.sent),
            (3251 / 5, 3251),
            "{name}: a packet a slot, from the first to the last"
        );
        // The last two seconds, less what a buffer holds: each frame of the good stream once.
        let last = &stage.heard[stage.heard.len() - 16_000..];
        assert!(!last.contains(&90), "{name}: the old stream is heard");
        let frames: Vec<u8> = last.chunks(160).map(|frame| frame[80]).collect();
        let follow = frames.windows(2).filter(|pair| pair[1] == (pair[0] + 1) % 50).count();
        assert!(follow >= 97, "{name}: {frames:?}");
    }
}
