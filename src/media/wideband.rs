//! The peer's audio in a codec that has to be decoded: packets are put in order before they are, for a decoder knows what it heard.
//!
//! What follows is decoded at once, into a jitter buffer of samples. Behind a gap a few packets wait for what is missing, until the
//! reader comes near them; then the gap is left to the decoder, where it can mend it (Opus), or to the buffer.

use super::arrival::{Arrival, Clock, Placed, Playout};
use super::extended::ExtendedTimestamp;
use super::jitter_buffer::JitterBuffer;
use super::splice::frame_of;
use crate::audio::wideband::{Decoder, LONGEST_HEARD, WideCodec};
use crate::audio::{Linear, Voice, WIDE_FRAME};
use std::time::Duration;

/// The packets that wait, the decoder and its buffer. Times are in samples of 16 kHz.
#[derive(Debug)]
pub(super) struct Wideband {
    codec: WideCodec,
    decoder: Decoder,
    buffer: JitterBuffer<Linear>,
    /// Behind what was decoded last.
    next: Option<u64>,
    /// In order.
    held: Vec<Held>,
    /// The room of packets that waited, for those that will.
    spare: Vec<Vec<u8>>,
}

/// A packet that waits for those before it.
#[derive(Debug)]
struct Held {
    clock: Clock,
    time: u64,
    payload: Vec<u8>,
}

impl Wideband {
    /// An empty buffer that delays by between `least` and `longest`.
    pub(super) fn new(codec: WideCodec, least: Duration, longest: Duration) -> Self {
        let buffer = JitterBuffer::new(Linear, least, longest);
        Self { codec, decoder: Decoder::new(codec), buffer, next: None, held: Vec::new(), spare: Vec::new() }
    }

    /// Forgets what waits: another source.
    pub(super) fn reset(&mut self) {
        self.decoder = Decoder::new(self.codec);
        self.buffer.reset(Linear);
        self.next = None;
        self.held.clear();
    }

    pub(super) const fn counts(&self) -> Playout {
        self.buffer.counts()
    }

    pub(super) fn depth(&self) -> Duration {
        self.buffer.depth()
    }

    /// Takes a packet; tells whether there is speech in what was decoded. `None`: it is none of the codec's.
    pub(super) fn put(&mut self, packet: &Arrival<'_>, voice: &mut Voice) -> Option<(Placed, bool)> {
        let time = packet.timestamp.0;
        match self.next {
            // Only what is missing is waited for, not what the peer left out; and not for long.
            Some(next) if time > next && time - next <= PATIENCE && !(packet.follows && self.held.is_empty()) => {
                if self.held.iter().any(|held| held.time == time) {
                    return Some((Placed::Late, false));
                }
                let voiced = self.held.len() >= MOST_HELD && self.release(voice);
                let at = self.held.partition_point(|held| held.time < time);
                let mut payload = self.spare.pop().unwrap_or_default();
                payload.extend_from_slice(packet.payload);
                self.held.insert(at, Held { clock: packet.clock, time, payload });
                Some((Placed::Kept, voiced))
            }
            // Its turn has passed: the decoder has gone on without it.
            Some(next) if time < next && next - time <= BACK && !packet.follows => Some((Placed::Late, false)),
            _ => {
                let (placed, mut voiced) = self.decode(packet, voice)?;
                while self.held.first().is_some_and(|held| Some(held.time) <= self.next) {
                    voiced |= self.release(voice);
                }
                Some((placed, voiced))
            }
        }
    }

    /// A comfort noise packet (`JitterBuffer::pause`).
    pub(super) fn pause(&mut self, timestamp: ExtendedTimestamp, payload: &[u8]) {
        self.buffer.pause(timestamp, payload);
    }

    /// Reads the next 20 ms, at `slot` of our clock; tells whether there is speech in what was decoded for it.
    pub(super) fn take(&mut self, slot: i64, voice: &mut Voice, frame: &mut [i16; WIDE_FRAME]) -> bool {
        let mut voiced = false;
        let near = self.buffer.reads().unwrap_or(0).saturating_add(2 * count(frame_of::<Linear>()));
        while self.held.first().is_some_and(|held| held.time < near) {
            voiced |= self.release(voice);
        }
        self.buffer.take(slot, frame);
        voiced
    }

    /// Decodes the first that waits, whatever is missing before it.
    fn release(&mut self, voice: &mut Voice) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let Held { clock, time, mut payload } = self.held.remove(0);
        if let Some(next) = self.next
            && let Some(missing) = time.checked_sub(next).filter(|missing| (1..=PATIENCE).contains(missing))
            && let Ok(missing) = usize::try_from(missing)
            && let Some(mended) = self.decoder.mend(missing, &payload, &mut [0; LONGEST_HEARD])
        {
            self.buffer.mend(next, mended);
        }
        let timestamp = ExtendedTimestamp(time);
        let packet = Arrival { clock, timestamp, follows: false, payload: &payload[..] };
        let voiced = self.decode(&packet, voice).is_some_and(|(_, voiced)| voiced);
        payload.clear();
        self.spare.push(payload);
        voiced
    }

    fn decode(&mut self, packet: &Arrival<'_>, voice: &mut Voice) -> Option<(Placed, bool)> {
        let Arrival { clock, timestamp, follows, payload } = *packet;
        let mut room = [0; LONGEST_HEARD];
        let samples = self.decoder.decode(payload, &mut room)?;
        self.next = Some(timestamp.0.saturating_add(count(samples.len())));
        let placed = self.buffer.put(&Arrival { clock, timestamp, follows, payload: samples });
        Some((placed, voice.voiced(Linear, samples)))
    }
}

fn count(samples: usize) -> u64 {
    u64::try_from(samples).unwrap_or(u64::MAX)
}

/// Packets that wait at most.
const MOST_HELD: usize = 8;
/// A gap that is waited for, and mended: 100 ms.
const PATIENCE: u64 = 1600;
/// What lies further back than a second is no straggler but a clock that was set anew.
const BACK: u64 = 16_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::wideband::Encoder;
    use std::f32::consts::TAU;

    fn tone(n: usize) -> [i16; WIDE_FRAME] {
        std::array::from_fn(|at| (8000.0 * (TAU * 250.0 * (n * WIDE_FRAME + at) as f32 / 16_000.0).sin()) as i16)
    }

    /// `count` packets of a tone in the order of `arrivals` (by their place in time), read at our pace, behind 40 ms.
    fn heard(
        codec: WideCodec,
        count: usize,
        arrivals: impl Fn(usize) -> Vec<usize>,
    ) -> (Vec<i16>, Playout, Vec<Placed>) {
        let mut encoder = Encoder::new(codec);
        let packets: Vec<Vec<u8>> = (0..count)
            .map(|n| {
                let mut packet = [0; crate::audio::wideband::LONGEST_SENT];
                let length = encoder.encode(&tone(n), &mut packet);
                packet[..length].to_vec()
            })
            .collect();
        let forty = Duration::from_millis(40);
        let mut wideband = Wideband::new(codec, forty, Duration::from_millis(200));
        let (mut voice, mut heard, mut placed, mut highest) = (Voice::default(), Vec::new(), Vec::new(), None);
        for slot in 0..count {
            let now = (slot * WIDE_FRAME) as i64;
            for n in arrivals(slot) {
                let timestamp = ExtendedTimestamp((1 << 40) + (n * WIDE_FRAME) as u64);
                let follows = highest.is_some_and(|highest| n == highest + 1);
                highest = highest.max(Some(n));
                let packet = Arrival { clock: Clock { now, slot: now }, timestamp, follows, payload: &packets[n] };
                placed.push(wideband.put(&packet, &mut voice).unwrap().0);
            }
            let mut frame = [0; WIDE_FRAME];
            let _ = wideband.take(now, &mut voice, &mut frame);
            heard.extend(frame);
        }
        (heard, wideband.counts(), placed)
    }

    /// What does not fit the tone, in dB below it, the best delay of the codec granted.
    fn error(heard: &[i16], from: usize, to: usize) -> f32 {
        let delays = 0..128_usize;
        let at = |delay: usize| {
            let (mut power, mut off) = (0.0, 0.0);
            for (n, sample) in heard.iter().enumerate().take(to * WIDE_FRAME).skip(from * WIDE_FRAME) {
                let phase = TAU * 250.0 * (n as f32 - 640.0 - delay as f32) / 16_000.0;
                let wanted = 8000.0 * phase.sin();
                power += wanted * wanted;
                off += (f32::from(*sample) - wanted).powi(2);
            }
            10.0 * (off / power).log10()
        };
        delays.map(at).fold(f32::MAX, f32::min)
    }

    #[test]
    fn packets_out_of_order_are_decoded_in_order() {
        let swapped = |slot: usize| match slot {
            20 => vec![],
            21 => vec![21, 20],
            30 => vec![31],
            31 => vec![30],
            n => vec![n],
        };
        let (in_order, ..) = heard(WideCodec::G722, 31, |n| vec![n]);
        let (heard, counts, placed) = heard(WideCodec::G722, 40, swapped);
        assert!(placed.iter().all(|placed| *placed == Placed::Kept));
        assert_eq!(counts.concealed, Duration::ZERO);
        assert_eq!(heard[..31 * WIDE_FRAME], in_order, "to the sample as if all had come in order");
        assert!(error(&heard, 30, 38) < -20.0, "{}", error(&heard, 30, 38));
    }

    #[test]
    fn what_is_lost_is_made_up_and_what_comes_too_late_is_late() {
        let lossy = |slot: usize| match slot {
            20 | 33 | 34 => vec![],
            28 => vec![28, 20],
            n => vec![n],
        };
        let (heard, counts, placed) = heard(WideCodec::G722, 60, lossy);
        assert_eq!(counts.concealed, Duration::from_millis(60));
        assert_eq!(placed.iter().filter(|placed| **placed == Placed::Late).count(), 1);
        let loudest = |slot: usize| heard[slot * WIDE_FRAME..(slot + 1) * WIDE_FRAME].iter().map(|s| s.abs()).max();
        for slot in 22..50 {
            assert!(loudest(slot) > Some(5000), "slot {slot}: {:?}", loudest(slot));
        }
        assert!(error(&heard, 45, 58) < -20.0, "{}", error(&heard, 45, 58));
    }

    #[cfg(feature = "opus")]
    #[test]
    fn opus_mends_its_own_gaps() {
        let lossy = |slot: usize| if slot % 10 == 9 { vec![] } else { vec![slot] };
        let (heard, counts, _) = heard(WideCodec::Opus, 100, lossy);
        assert_eq!(counts.concealed, Duration::from_millis(180), "the last is still to come");
        let steepest = heard[10 * WIDE_FRAME..].windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap();
        assert!(steepest < 2000, "a click of {steepest}");
    }

    #[test]
    fn a_clock_set_anew_is_followed() {
        let mut wideband = Wideband::new(WideCodec::G722, Duration::from_millis(40), Duration::from_millis(200));
        let mut voice = Voice::default();
        let mut put = |time: u64, follows: bool| {
            let clock = Clock { now: 0, slot: 0 };
            let packet = Arrival { clock, timestamp: ExtendedTimestamp(time), follows, payload: &[0x55; 160] };
            let placed = wideband.put(&packet, &mut voice).unwrap().0;
            (0..10).for_each(|slot| {
                let _ = wideband.take(320 * slot, &mut voice, &mut [0; WIDE_FRAME]);
            });
            placed
        };
        assert_eq!(put(1 << 40, false), Placed::Kept);
        assert_eq!(put((1 << 40) - 100_000, false), Placed::Kept);
        assert_eq!(put((1 << 40) + 9_000_000, true), Placed::Kept);
    }
}
