//! The peer's audio put back into its order and time: a ring of samples by timestamp, read at the pace of our own clock.
//!
//! What did not come in time is silence, so the reader never falls behind real time, whatever is lost, reordered, doubled or
//! left out by silence suppression, and whatever the size of the packets. The delay is fixed, with three exceptions: after a
//! stall it grows to what the stall took (up to `longest`), so that the burst after it is heard and not thrown away; frames
//! without speech are left out until it has shrunk again; beyond `longest` the oldest samples go. Concealment, and a delay that
//! follows the measured jitter, are not done here.

use super::extended::ExtendedTimestamp;
use crate::audio::{FRAME, Law, level};
use std::ops::Range;
use std::time::Duration;

/// The ring and where it is read.
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    /// The sample of time `t` lies at `t % RING`; what is not there is silence.
    ring: Box<[u8]>,
    law: Law,
    /// Time of the next sample to read and of the one after the newest; none before the first packet.
    span: Option<Span>,
    depth: u64,
    longest: u64,
    /// Frames in a row that found more in the ring than the delay accounts for.
    overfull: u32,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    play: u64,
    end: u64,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It will be heard.
    Kept,
    /// Its time has passed.
    Late,
}

/// What a frame was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Nothing had come in time for it.
    pub starved: bool,
    /// Frames left out before it.
    pub shortened: u64,
}

impl JitterBuffer {
    /// An empty buffer that delays by `depth`, and by up to `longest` after stalls.
    #[must_use]
    pub fn new(law: Law, depth: Duration, longest: Duration) -> Self {
        let most = RING - 2 * LONGEST_PACKET;
        let depth = samples(depth).min(most);
        Self {
            ring: vec![law.silence(); SIZE].into_boxed_slice(),
            law,
            span: None,
            depth,
            longest: samples(longest).clamp(depth, most),
            overfull: 0,
        }
    }

    /// Forgets everything: another source, or another law.
    pub fn reset(&mut self, law: Law) {
        self.law = law;
        self.ring.fill(law.silence());
        self.span = None;
        self.overfull = 0;
    }

    /// Puts a packet in its place.
    pub fn put(&mut self, timestamp: ExtendedTimestamp, payload: &[u8]) -> Placed {
        let first = timestamp.0;
        let last = first + u64::try_from(payload.len()).unwrap_or(u64::MAX).min(LONGEST_PACKET);
        let span = match self.span {
            None => self.begin(first),
            Some(span) if last > span.play + RING => self.begin(first),
            Some(span) if first < span.play && span.end <= span.play => match span.play - first {
                // A stall: nothing newer has been read, so its audio can still be heard, later.
                late if first >= span.end && late <= self.longest => Span { play: first, end: first },
                // The sender's clock has jumped, or stood still while it was silent.
                late if first >= span.end || late > RING => self.begin(first),
                _ => return Placed::Late,
            },
            Some(span) if last <= span.play => return Placed::Late,
            Some(span) => span,
        };
        self.span = Some(Span { play: span.play, end: span.end.max(last) });
        let from = first.max(span.play);
        let skipped = usize::try_from(from - first).unwrap_or(usize::MAX);
        if let Some(payload) = payload.get(skipped..) {
            self.write(from, payload);
        }
        Placed::Kept
    }

    /// Reads the next 20 ms into `frame`.
    pub fn take(&mut self, frame: &mut [u8; FRAME]) -> Taken {
        frame.fill(self.law.silence());
        if self.span.is_none() {
            return Taken { starved: false, shortened: 0 };
        }
        let shortened = self.shorten(frame);
        let starved = self.span.is_some_and(|span| span.end <= span.play);
        self.read(frame);
        Taken { starved, shortened }
    }

    /// Starts anew so that the sample of `first` is read after the delay.
    fn begin(&mut self, first: u64) -> Span {
        self.ring.fill(self.law.silence());
        self.overfull = 0;
        let play = first.saturating_sub(self.depth);
        Span { play, end: play }
    }

    /// Leaves out what stands between us and the wanted delay, and says how many frames it was.
    fn shorten(&mut self, scratch: &mut [u8; FRAME]) -> u64 {
        let held = self.span.map_or(0, |span| span.end.saturating_sub(span.play));
        if held > self.longest + SLACK {
            let frames = (held - self.depth) / STEP;
            for _ in 0..frames {
                self.read(scratch);
            }
            self.overfull = 0;
            return frames;
        }
        self.overfull = if held > self.depth + SLACK { self.overfull + 1 } else { 0 };
        if self.overfull < PATIENCE || !self.quiet() {
            return 0;
        }
        self.overfull = 0;
        self.read(scratch);
        1
    }

    /// Whether the next frame has no speech in it.
    fn quiet(&self) -> bool {
        let Some(span) = self.span else { return true };
        let (head, tail) = ranges(span.play, FRAME);
        [head, tail]
            .into_iter()
            .filter_map(|range| self.ring.get(range))
            .all(|part| level::mean_square(self.law, part) < FAINT)
    }

    fn read(&mut self, frame: &mut [u8; FRAME]) {
        let Some(span) = &mut self.span else { return };
        let (head, tail) = ranges(span.play, FRAME);
        span.play += STEP;
        let (front, back) = frame.split_at_mut(head.len());
        for (part, range) in [(front, head), (back, tail)] {
            if let Some(samples) = self.ring.get_mut(range) {
                part.copy_from_slice(samples);
                samples.fill(self.law.silence());
            }
        }
    }

    fn write(&mut self, at: u64, payload: &[u8]) {
        let (head, tail) = ranges(at, payload.len());
        let (front, back) = payload.split_at(head.len());
        for (part, range) in [(front, head), (back, tail)] {
            if let Some(room) = self.ring.get_mut(range) {
                room.copy_from_slice(part);
            }
        }
    }
}

/// Where `length` samples from time `at` lie in the ring: up to its end, and on from its start.
fn ranges(at: u64, length: usize) -> (Range<usize>, Range<usize>) {
    let start = usize::try_from(at % RING).unwrap_or(0);
    let head = length.min(SIZE - start);
    (start..start + head, 0..length - head)
}

fn samples(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).saturating_mul(8)
}

/// Samples in the ring: 0.5 s.
const SIZE: usize = 4096;
const RING: u64 = 4096;
/// Samples of the longest packet that is taken: 60 ms are the longest anybody sends, 100 ms are borne.
pub const LONGEST_PACKET: u64 = 800;
const STEP: u64 = 160;
/// What the ring holds above the delay on a good line: a packet just put, and one that came early.
const SLACK: u64 = 320;
/// So many overfull frames (200 ms) are waited for before one is left out.
const PATIENCE: u32 = 10;
/// -45 dB.
const FAINT: u32 = 34_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: u8 = 0xFF;

    struct Line {
        buffer: JitterBuffer,
        base: u64,
        heard: Vec<u8>,
        shortened: u64,
    }

    impl Line {
        fn new() -> Self {
            let buffer = JitterBuffer::new(Law::Mu, Duration::from_millis(40), Duration::from_millis(200));
            Self { buffer, base: ExtendedTimestamp::first(u32::MAX - 300).0, heard: Vec::new(), shortened: 0 }
        }

        /// 160 ms without a packet, then all of them at once.
        fn after_a_stall() -> Self {
            let mut line = Self::new();
            line.put(0);
            line.take(9);
            (1..9).for_each(|n| assert_eq!(line.put(n), Placed::Kept));
            line
        }

        /// Packet `n` of 20 ms; its bytes tell its number, and are loud.
        fn put(&mut self, n: u64) -> Placed {
            self.buffer.put(ExtendedTimestamp(self.base + n * 160), &[number(n); FRAME])
        }

        /// Reads `frames` frames and notes the first byte of each.
        fn take(&mut self, frames: usize) -> &mut Self {
            for _ in 0..frames {
                let mut frame = [0; FRAME];
                self.shortened += self.buffer.take(&mut frame).shortened;
                assert!(frame.iter().all(|b| *b == frame[0]), "a frame of two packets");
                self.heard.push(frame[0]);
            }
            self
        }
    }

    fn number(n: u64) -> u8 {
        (n % 100) as u8
    }

    fn heard(numbers: impl IntoIterator<Item = Option<u64>>) -> Vec<u8> {
        numbers.into_iter().map(|n| n.map_or(SILENCE, number)).collect()
    }

    #[test]
    fn packets_in_order_come_out_in_order_after_the_delay() {
        let mut line = Line::new();
        for n in 0..200 {
            assert_eq!(line.put(n), Placed::Kept);
            line.take(1);
        }
        assert_eq!(line.heard, heard([None, None].into_iter().chain((0..198).map(Some))));
    }

    #[test]
    fn reordered_and_double_packets_are_put_right_and_lost_ones_are_silence() {
        let mut line = Line::new();
        for put in [&[0][..], &[2], &[1, 1], &[3], &[], &[5], &[6, 0], &[7], &[8]] {
            for &n in put {
                line.put(n);
            }
            line.take(1);
        }
        line.take(3);
        let wanted = [None, None, Some(0), Some(1), Some(2), Some(3), None, Some(5), Some(6), Some(7), Some(8), None];
        assert_eq!(line.heard, heard(wanted));
        // A straggler does not come after what followed it.
        assert_eq!(line.put(4), Placed::Late);
    }

    #[test]
    fn the_burst_after_a_stall_is_heard_whole() {
        let mut line = Line::after_a_stall();
        line.take(9);
        let wanted =
            [None, None, Some(0), None, None, None, None, None, None].into_iter().chain((1..9).map(Some)).chain([None]);
        assert_eq!(line.heard, heard(wanted));
    }

    #[test]
    fn the_delay_shrinks_again_where_nobody_speaks() {
        let mut line = Line::after_a_stall();
        for n in 9..100 {
            line.buffer.put(ExtendedTimestamp(line.base + n * 160), &[SILENCE; FRAME]);
            line.take(1);
        }
        // From 180 ms down to where 40 ms and one packet lie in the ring.
        assert_eq!(line.shortened, 5, "{:?}", line.buffer.span);
        let span = line.buffer.span.unwrap();
        assert!(span.end - span.play <= 40 * 8 + SLACK);
    }

    #[test]
    fn speech_is_not_left_out_while_the_delay_is_bearable() {
        let mut line = Line::after_a_stall();
        for n in 9..100 {
            line.put(n);
            line.take(1);
        }
        assert_eq!(line.shortened, 0);
    }

    #[test]
    fn beyond_the_longest_delay_the_oldest_goes() {
        let mut line = Line::new();
        for n in 0..20 {
            line.put(n);
        }
        line.take(1);
        assert!(line.shortened > 0);
        let span = line.buffer.span.unwrap();
        assert!(span.end - span.play <= 200 * 8);
    }

    #[test]
    fn a_sender_that_leaves_silence_out_is_heard_at_its_time() {
        let mut line = Line::new();
        for n in 0..5 {
            line.put(n);
            line.take(1);
        }
        line.take(45);
        for n in 50..55 {
            line.put(n);
            line.take(1);
        }
        let wanted = [None, None, Some(0), Some(1), Some(2), Some(3), Some(4)].into_iter().chain([None; 45]).chain([
            Some(50),
            Some(51),
            Some(52),
        ]);
        assert_eq!(line.heard, heard(wanted));
    }

    #[test]
    fn timestamps_that_jump_by_hours_either_way_cost_a_moment_only() {
        for jump in [1_u64 << 30, 0_u64.wrapping_sub(1 << 30)] {
            let mut line = Line::new();
            for n in 0..10 {
                line.put(n);
                line.take(1);
            }
            line.base = line.base.wrapping_add(jump);
            line.heard.clear();
            for n in 10..60 {
                line.put(n);
                line.take(1);
            }
            assert_eq!(line.heard[10..], heard((18..58).map(Some))[..40], "{jump:#x}");
        }
    }

    #[test]
    fn packets_of_any_size_are_one_stream() {
        for size in [80_u64, 160, 240, 320, 480] {
            let mut buffer = JitterBuffer::new(Law::A, Duration::from_millis(60), Duration::from_millis(200));
            let (mut put, mut sound) = (0, Vec::new());
            let base = ExtendedTimestamp::first(12_345).0;
            for tick in 0..100_u64 {
                while put < (tick + 1) * 160 {
                    let payload: Vec<u8> = (put..put + size).map(|n| number(n / 7)).collect();
                    assert_eq!(buffer.put(ExtendedTimestamp(base + put), &payload), Placed::Kept);
                    put += size;
                }
                let mut frame = [0; FRAME];
                buffer.take(&mut frame);
                sound.extend(frame);
            }
            let wanted: Vec<u8> = (0..97 * 160_u64).map(|n| number(n / 7)).collect();
            assert_eq!(sound[480..], wanted, "{size}");
        }
    }

    #[test]
    fn a_slow_sender_gets_a_frame_of_silence_now_and_then_and_loses_nothing() {
        let mut line = Line::new();
        let mut sent = 0;
        for tick in 0..5000_u64 {
            // 1 % slow.
            if tick * 99 / 100 >= sent {
                assert_eq!(line.put(sent), Placed::Kept);
                sent += 1;
            }
            line.take(1);
        }
        let sound: Vec<u8> = line.heard.iter().copied().filter(|b| *b != SILENCE).collect();
        assert_eq!(sound, heard((0..sound.len() as u64).map(Some)));
        assert!(sound.len() >= 4940, "{}", sound.len());
    }
}
