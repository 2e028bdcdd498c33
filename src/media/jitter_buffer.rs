//! The peer's audio put back into its order and time: a ring of samples by timestamp, read at the pace of our own clock.
//!
//! The reader never falls behind real time, whatever is lost, reordered, doubled or left out by silence suppression, and whatever
//! the size of the packets. While all comes in time its bytes are passed on as they are. What does not is concealed
//! (`concealment`); what the peer left out is noise as it asked for, or silence.
//!
//! How far the reader lies behind is adapted (`delay`). After a stall it goes back to where it was, as far as `longest`
//! allows, so that the burst after it is heard and not thrown away. Where it lies too far behind or not far enough, because the
//! jitter has changed or both clocks drift, samples are left out or heard once more: in a pause where there is one, else by whole
//! pitch periods (`splice`). Beyond `longest` the oldest go.

pub use super::arrival::{Arrival, Clock, Placed, Playout};

use super::comfort_noise::ComfortNoise;
use super::concealment::Concealer;
use super::delay::{Bounds, Delay};
use super::extended::ExtendedTimestamp;
use super::ring::Ring;
use super::splice::{Around, frame_of};
use crate::audio::{Law, Sound};
use std::cmp::Ordering;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

/// The ring and where it is read. Our clock counts samples, and so do the times of the packets.
#[derive(Clone, Debug)]
pub struct JitterBuffer<S: Sound = Law> {
    ring: Ring<S::Sample>,
    sound: S,
    /// None before the first packet.
    span: Option<Span>,
    bounds: Bounds,
    delay: Delay,
    concealer: Concealer<S>,
    pause: Option<Pause>,
    /// Samples made up since the last packet: whether for a loss or a pause, the next one tells.
    unsure: i64,
    /// Rises while the reader lies too far behind.
    overfull: u32,
    /// Frames since samples were left out or heard once more.
    steady: u32,
    counts: Playout,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    /// Time of the next sample to read.
    play: u64,
    /// Of the one after the newest.
    end: u64,
    /// Of the first of all: what is missing before it is not lost.
    begin: u64,
}

/// A pause for which the peer asked for noise.
#[derive(Clone, Debug)]
struct Pause {
    since: u64,
    noise: ComfortNoise,
}

impl<S: Sound> JitterBuffer<S> {
    /// Samples of a frame. So much too far behind is borne: one visit of the socket may fall on either side of a packet.
    const STEP: i64 = 20 * Self::MS;
    const MS: i64 = S::PER_MS.cast_signed() as i64;
    /// Jumps that are tried within speech: 5 to 20 ms.
    const SHORTEST: isize = 5 * S::PER_MS.cast_signed();
    const LONGEST: isize = 20 * S::PER_MS.cast_signed();

    /// An empty buffer that delays by between `least` and `longest`.
    #[must_use]
    pub fn new(sound: S, least: Duration, longest: Duration) -> Self {
        let bounds = Bounds::new(least, longest, S::PER_MS);
        Self {
            ring: Ring::new(bounds.longest.unsigned_abs() + 2 * longest_packet::<S>() + Self::STEP.unsigned_abs()),
            sound,
            span: None,
            bounds,
            delay: Delay::new(bounds),
            concealer: Concealer::new(sound),
            pause: None,
            unsure: 0,
            overfull: 0,
            steady: 0,
            counts: Playout::default(),
        }
    }

    /// Forgets what waits: another source, or another law.
    pub fn reset(&mut self, sound: S) {
        self.concealer.turn_to(sound);
        self.sound = sound;
        self.span = None;
        self.pause = None;
        self.unsure = 0;
    }

    /// What had to be done up to now.
    #[must_use]
    pub const fn counts(&self) -> Playout {
        self.counts
    }

    /// What the buffer adds to the way of the fast packets.
    #[must_use]
    pub fn depth(&self) -> Duration {
        Self::time(self.delay.depth())
    }

    /// Time of the next sample that is read; `None` before the first packet.
    pub(super) fn reads(&self) -> Option<u64> {
        self.span.map(|span| span.play)
    }

    /// Puts a packet in its place.
    pub fn put(&mut self, packet: &Arrival<'_, S::Sample>) -> Placed {
        let first = packet.timestamp.0;
        let last = first + count(packet.payload.len()).min(longest_packet::<S>());
        let transit = packet.clock.now.saturating_sub(signed(first));
        let before = self.span;
        let span = match before {
            None => self.begin(packet),
            Some(span) if last > span.play + self.ring.reach() => self.begin(packet),
            Some(span) if first < span.play && span.end <= span.play => match signed(span.play - first) {
                // A stall: nothing newer has been read, so its audio can still be heard, later.
                late if first >= span.end && late <= self.bounds.longest => Span { play: first, end: first, ..span },
                // The sender's clock has jumped, or stood still while it was silent.
                late if first >= span.end || late > signed(self.ring.reach()) => self.begin(packet),
                _ => {
                    self.delay.note(transit);
                    return Placed::Late;
                }
            },
            Some(span) if last <= span.play => {
                self.delay.note(transit);
                return Placed::Late;
            }
            Some(span) => span,
        };
        self.delay.note(transit);
        let rested = packet.follows && before.is_none_or(|before| first > before.end);
        if !rested {
            self.counts.concealed += Self::time(self.unsure);
        }
        self.unsure = 0;
        self.rest(span.end.max(span.play)..first, rested);
        if self.pause.as_ref().is_some_and(|pause| last > pause.since) {
            self.pause = None;
        }
        self.span = Some(Span { end: span.end.max(last), ..span });
        let from = first.max(span.play);
        let skipped = usize::try_from(from - first).unwrap_or(usize::MAX);
        if let Some(payload) = packet.payload.get(skipped..) {
            self.ring.put(from, payload);
        }
        Placed::Kept
    }

    /// A comfort noise packet: from its time on the peer pauses and wants `payload` to be heard.
    pub fn pause(&mut self, timestamp: ExtendedTimestamp, payload: &[u8]) {
        let since = timestamp.0;
        match &mut self.pause {
            // The level and the colour change, the pause goes on.
            Some(pause) if since >= pause.since => pause.noise = ComfortNoise::read(payload),
            Some(_) => {}
            None if self.span.is_some_and(|span| since >= span.end) => {
                self.pause = Some(Pause { since, noise: ComfortNoise::read(payload) });
                self.unsure = 0;
            }
            None => {}
        }
    }

    /// Reads the next 20 ms into `frame`, at `slot` of our clock.
    pub fn take(&mut self, slot: i64, frame: &mut [S::Sample]) {
        let Some(mut span) = self.span else {
            self.concealer.conceal(frame);
            return;
        };
        let behind = slot.saturating_sub(signed(span.play));
        let excess = behind.saturating_sub(self.delay.wanted());
        self.steady = self.steady.saturating_add(1);
        if span.end <= span.play {
            // Nothing waits: nothing is lost by reading elsewhere.
            if !(0..=Self::STEP).contains(&excess) {
                span.play = span.play.saturating_add_signed(excess);
                span.end = span.end.min(span.play);
                self.span = Some(span);
            }
        } else if self.adapt(span, behind, excess, frame) {
            self.concealer.heard(frame);
            return;
        }
        self.read(frame);
    }

    /// Starts anew so that the first sample of the packet is read after the delay.
    fn begin(&mut self, packet: &Arrival<'_, S::Sample>) -> Span {
        self.ring.clear();
        self.delay.reset();
        self.pause = None;
        self.overfull = 0;
        let wait = self.bounds.start() - packet.clock.slot.saturating_sub(packet.clock.now).clamp(0, Self::STEP);
        let first = packet.timestamp.0;
        let play = first.saturating_sub(wait.unsigned_abs());
        Span { play, end: play, begin: first }
    }

    /// Puts noise or silence where the peer sent nothing on purpose.
    fn rest(&mut self, gap: Range<u64>, rested: bool) {
        let mut at = match &self.pause {
            _ if rested => gap.start,
            Some(pause) => gap.start.max(pause.since),
            None => return,
        };
        while at < gap.end {
            let mut part = [self.sound.silence(); PART];
            let length = usize::try_from(gap.end - at).unwrap_or(PART).min(PART);
            if let Some(part) = part.get_mut(..length) {
                if let Some(pause) = &mut self.pause {
                    pause.noise.fill(self.sound, part);
                }
                self.ring.put(at, part);
            }
            at += count(length);
        }
    }

    /// The next frame, where it is one with samples left out or heard once more. False where it is not, and nothing was read.
    fn adapt(&mut self, span: Span, behind: i64, excess: i64, frame: &mut [S::Sample]) -> bool {
        self.overfull = match excess.cmp(&Self::STEP) {
            Ordering::Less => 0,
            Ordering::Equal => self.overfull.saturating_add(1),
            Ordering::Greater => self.overfull.saturating_add(HASTE),
        };
        let beyond = behind.saturating_sub(self.delay.most());
        if beyond > Self::STEP {
            return self.cut(span, beyond.unsigned_abs(), frame);
        }
        let quiet = self.quiet(span.play);
        let patient = self.overfull >= PATIENCE;
        let one = |by: i64| isize::try_from(by).map_or(0..=0, |by| by..=by);
        let (jumps, likeness) = match quiet {
            true if patient && self.steady > 1 => (one(excess.min(Self::STEP)), NONE),
            true if excess < 0 && self.steady > 1 => (one(excess.max(-Self::STEP)), NONE),
            false if patient && excess > 2 * Self::STEP && self.steady > 4 => (Self::SHORTEST..=Self::LONGEST, ALIKE),
            false if excess < 0 && self.steady > 2 => (-Self::LONGEST..=-Self::SHORTEST, ALIKE),
            _ => return false,
        };
        self.splice(span, jumps, likeness, frame)
    }

    fn splice(&mut self, span: Span, jumps: RangeInclusive<isize>, likeness: f32, frame: &mut [S::Sample]) -> bool {
        let most = frame_of::<S>().saturating_add_signed((*jumps.end()).max(0));
        // What was made up does not lead to what comes: there is no going back to it.
        if self.concealer.conceals() || !self.ring.has(span.play, most) {
            return false;
        }
        let mut around = Around::new(self.sound);
        let (before, after) = around.sides();
        before.copy_from_slice(self.concealer.last(before.len()));
        self.ring.copy(span.play, after);
        let jump = around.likest(jumps);
        if jump.likeness < likeness {
            return false;
        }
        self.moved(span, i64::try_from(jump.by).unwrap_or(0));
        around.frame(jump.by, frame);
        true
    }

    /// Leaves out what lies beyond the longest delay.
    fn cut(&mut self, span: Span, beyond: u64, frame: &mut [S::Sample]) -> bool {
        let (there, length) = (span.play.saturating_add(beyond.min(span.end - span.play)), frame_of::<S>());
        let mut around = Around::new(self.sound);
        let whole = self.ring.has(span.play, length) && self.ring.has(there, length);
        let (here, next) = around.sides().1.split_at_mut(length);
        self.ring.copy(span.play, here);
        self.ring.copy(there, next);
        let by = signed(there - span.play);
        if whole {
            self.moved(span, by);
            around.frame(length.cast_signed(), frame);
        } else {
            self.moved(span, by - Self::STEP);
        }
        whole
    }

    /// A frame was read, and so many samples beside it were left out or will be heard once more.
    fn moved(&mut self, span: Span, by: i64) {
        let read = usize::try_from(Self::STEP + by).unwrap_or(0);
        self.ring.forget(span.play, read);
        let play = span.play.saturating_add_signed(Self::STEP + by);
        self.span = Some(Span { play, ..span });
        self.steady = 0;
        if by < 0 {
            self.counts.lengthened += Self::time(-by);
        } else {
            self.counts.shortened += Self::time(by);
        }
    }

    /// Whether there is no speech in the next samples.
    fn quiet(&self, play: u64) -> bool {
        let mut next = [self.sound.silence(); PART];
        let Some(next) = next.get_mut(..frame_of::<S>()) else { return false };
        self.ring.copy(play, next);
        self.sound.mean_square(next) < FAINT
    }

    /// Reads the frame at the reader's place, and makes up what of it has not come.
    fn read(&mut self, frame: &mut [S::Sample]) {
        let Some(span) = &mut self.span else { return };
        let (mut at, whole) = (0, frame.len());
        while at < whole {
            let place = span.play + count(at);
            let (came, length) = self.ring.run(place, whole - at);
            let Some(part) = frame.get_mut(at..at + length) else { break };
            at += length;
            match &mut self.pause {
                _ if came => self.ring.copy(place, part),
                Some(pause) if place >= pause.since => pause.noise.fill(self.sound, part),
                _ => {
                    self.concealer.conceal(part);
                    let made_up = i64::try_from(length).unwrap_or(0);
                    if place >= span.end {
                        self.unsure += made_up;
                    } else if place >= span.begin {
                        self.counts.concealed += Self::time(made_up);
                    }
                    continue;
                }
            }
            self.concealer.heard(part);
        }
        self.ring.forget(span.play, whole);
        span.play = span.play.saturating_add(count(whole));
    }

    /// Puts what the decoder made up where packets are missing, as far as it is not read yet.
    pub(super) fn mend(&mut self, at: u64, samples: &[S::Sample]) {
        let Some(span) = &mut self.span else { return };
        let from = at.max(span.play);
        let Some(samples) = usize::try_from(from - at).ok().and_then(|read| samples.get(read..)) else { return };
        self.ring.put(from, samples);
        span.end = span.end.max(from + count(samples.len()));
        self.counts.concealed += Self::time(i64::try_from(samples.len()).unwrap_or(0));
    }

    fn time(samples: i64) -> Duration {
        Duration::from_micros(samples.unsigned_abs().saturating_mul(1000) / Self::MS.unsigned_abs())
    }
}

fn count(samples: usize) -> u64 {
    u64::try_from(samples).unwrap_or(u64::MAX)
}

fn signed(samples: u64) -> i64 {
    i64::try_from(samples).unwrap_or(i64::MAX)
}

/// Samples of the longest packet that is taken: 60 ms are the longest anybody sends, 100 ms are borne, and 120 ms of what is decoded.
const fn longest_packet<S: Sound>() -> u64 {
    if S::PER_MS == 8 { LONGEST_PACKET } else { 120 * S::PER_MS as u64 }
}

/// Bytes of the longest packet of a byte a sample.
pub const LONGEST_PACKET: u64 = 800;
/// Samples that are handled at once: a frame at the highest rate.
const PART: usize = 320;
/// Frames too far behind by just a step that are waited for (10 s), and how much more any further counts.
const PATIENCE: u32 = 500;
const HASTE: u32 = 25;
/// How much both sides of a jump within speech must resemble each other, and of one within a pause.
const ALIKE: f32 = 0.6;
const NONE: f32 = -1.0;
/// -45 dB.
const FAINT: u32 = 34_000;
