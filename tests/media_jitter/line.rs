//! A line of packets of 20 ms, and what it sounds like.

use std::f32::consts::TAU;
use std::ops::Range;
use std::time::Duration;
use voice_gateway::audio::{FRAME, Law};
use voice_gateway::media::extended::ExtendedTimestamp;
use voice_gateway::media::jitter_buffer::{Arrival, Clock, JitterBuffer, Placed, Playout};

pub(crate) const SILENCE: u8 = 0xFF;
pub(crate) const STEP: i64 = 160;
pub(crate) const MS: i64 = 8;

/// A line of packets of 20 ms, read at our pace.
pub(crate) struct Line {
    pub(crate) buffer: JitterBuffer,
    /// Our clock: the next frame is read now.
    pub(crate) slot: i64,
    /// Timestamp of packet 0.
    pub(crate) base: u64,
    pub(crate) highest: Option<u64>,
    pub(crate) heard: Vec<u8>,
}

impl Line {
    pub(crate) fn between(least: u64, longest: u64) -> Self {
        let buffer = JitterBuffer::new(Law::Mu, Duration::from_millis(least), Duration::from_millis(longest));
        let base = ExtendedTimestamp::first(u32::MAX - 300).0;
        Self { buffer, slot: 0, base, highest: None, heard: Vec::new() }
    }

    /// Of a delay that is always 40 ms, but for stalls of up to 200 ms.
    pub(crate) fn held() -> Self {
        Self::between(40, 200)
    }

    /// 160 ms without a packet, then all of them at once.
    pub(crate) fn after_a_stall(sound: impl Fn(u64) -> Vec<u8>) -> Self {
        let mut line = Self::held();
        line.put(0, &sound(0));
        line.take(9);
        (1..9).for_each(|n| assert_eq!(line.put(n, &sound(n)), Placed::Kept));
        line
    }

    /// Packet `n` comes now.
    pub(crate) fn put(&mut self, n: u64, payload: &[u8]) -> Placed {
        self.put_at(self.slot, n, self.base + n * 160, payload)
    }

    pub(crate) fn put_at(&mut self, now: i64, sequence: u64, timestamp: u64, payload: &[u8]) -> Placed {
        let follows = self.highest.is_some_and(|highest| sequence == highest + 1);
        self.highest = self.highest.max(Some(sequence));
        let clock = Clock { now, slot: self.slot };
        self.buffer.put(&Arrival { clock, timestamp: ExtendedTimestamp(timestamp), follows, payload })
    }

    pub(crate) fn take(&mut self, frames: usize) {
        for _ in 0..frames {
            let mut frame = [0; FRAME];
            self.buffer.take(self.slot, &mut frame);
            self.slot += STEP;
            self.heard.extend(frame);
        }
    }

    /// The last byte of each frame: what is mixed at the seam of a loss is before it.
    pub(crate) fn lasts(&self) -> Vec<u8> {
        self.heard.chunks(FRAME).map(|frame| frame[FRAME - 1]).collect()
    }

    pub(crate) fn counts(&self) -> Playout {
        self.buffer.counts()
    }

    pub(crate) fn samples(&self) -> Vec<i16> {
        self.heard.iter().map(|byte| Law::Mu.decode(*byte)).collect()
    }
}

/// A packet whose bytes tell its number, and are loud.
pub(crate) fn packet(n: u64) -> Vec<u8> {
    vec![number(n); FRAME]
}

pub(crate) fn number(n: u64) -> u8 {
    (n % 100) as u8
}

pub(crate) fn heard(numbers: impl IntoIterator<Item = Option<u64>>) -> Vec<u8> {
    numbers.into_iter().map(|n| n.map_or(SILENCE, number)).collect()
}

pub(crate) fn some(numbers: Range<u64>) -> impl Iterator<Item = Option<u64>> {
    numbers.map(Some)
}

/// Somebody who speaks, and whose pitch wanders about 140 Hz.
pub(crate) fn voice(at: u64) -> i16 {
    let t = at as f32 / 8000.0;
    let phase = TAU * (140.0 * t + 4.0 * (TAU * 0.7 * t).sin());
    (7000.0 * phase.sin() + 3000.0 * (2.0 * phase + 0.5).sin() + 1200.0 * (3.0 * phase).sin()) as i16
}

pub(crate) fn made_up(ms: u64) -> Playout {
    Playout { concealed: Duration::from_millis(ms), ..Playout::default() }
}

pub(crate) fn spoken(times: Range<u64>) -> Vec<u8> {
    times.map(|at| Law::Mu.encode(voice(at))).collect()
}

pub(crate) fn steepest(samples: &[i16]) -> i32 {
    samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap()
}

/// What the coded voice itself has for its largest step.
pub(crate) fn steepest_of_the_voice() -> i32 {
    let samples: Vec<i16> = (0..80_000).map(|at| Law::Mu.decode(Law::Mu.encode(voice(at)))).collect();
    steepest(&samples)
}
