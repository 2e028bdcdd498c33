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

use super::comfort_noise::ComfortNoise;
use super::concealment::Concealer;
use super::delay::{Bounds, Delay};
use super::extended::ExtendedTimestamp;
use super::ring::Ring;
use super::splice::{AFTER, Around, BEFORE};
use crate::audio::{FRAME, Law, level};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

/// The ring and where it is read. Our clock counts samples, as the peer's timestamps do.
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    ring: Ring,
    law: Law,
    /// None before the first packet.
    span: Option<Span>,
    bounds: Bounds,
    delay: Delay,
    concealer: Concealer,
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

/// Our clock, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Now.
    pub now: i64,
    /// When the next frame is read.
    pub slot: i64,
}

/// An audio packet, and when it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// When it came.
    pub clock: Clock,
    /// When its first sample was taken.
    pub timestamp: ExtendedTimestamp,
    /// Whether it has the number after the highest: whatever lies between them was left out by the peer.
    pub follows: bool,
    /// Its samples.
    pub payload: &'a [u8],
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It will be heard.
    Kept,
    /// Its time has passed.
    Late,
}

/// What had to be done to what came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Playout {
    /// Sound that was made up for what was lost or late. Pauses of the peer are none.
    pub concealed: Duration,
    /// Sound left out to come back to real time.
    pub shortened: Duration,
    /// Sound heard once more to give late packets time.
    pub lengthened: Duration,
}

impl JitterBuffer {
    /// An empty buffer that delays by between `least` and `longest`.
    #[must_use]
    pub fn new(law: Law, least: Duration, longest: Duration) -> Self {
        let bounds = Bounds::new(least, longest);
        Self {
            ring: Ring::new(bounds.longest.unsigned_abs() + 2 * LONGEST_PACKET + STEP.unsigned_abs()),
            law,
            span: None,
            bounds,
            delay: Delay::new(bounds),
            concealer: Concealer::new(law),
            pause: None,
            unsure: 0,
            overfull: 0,
            steady: 0,
            counts: Playout::default(),
        }
    }

    /// Forgets what waits: another source, or another law.
    pub fn reset(&mut self, law: Law) {
        self.concealer.turn_to(law);
        self.law = law;
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
        time(self.delay.depth())
    }

    /// Puts a packet in its place.
    pub fn put(&mut self, packet: &Arrival<'_>) -> Placed {
        let first = packet.timestamp.0;
        let last = first + count(packet.payload.len()).min(LONGEST_PACKET);
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
            self.counts.concealed += time(self.unsure);
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
    pub fn take(&mut self, slot: i64, frame: &mut [u8; FRAME]) {
        let Some(mut span) = self.span else {
            self.concealer.conceal(frame);
            return;
        };
        let behind = slot.saturating_sub(signed(span.play));
        let excess = behind.saturating_sub(self.delay.wanted());
        self.steady = self.steady.saturating_add(1);
        if span.end <= span.play {
            // Nothing waits: nothing is lost by reading elsewhere.
            if !(0..=STEP).contains(&excess) {
                span.play = span.play.saturating_add_signed(excess);
                span.end = span.end.min(span.play);
                self.span = Some(span);
            }
        } else if let Some(spliced) = self.adapt(span, behind, excess) {
            *frame = spliced;
            self.concealer.heard(frame);
            return;
        }
        self.read(frame);
    }

    /// Starts anew so that the first sample of the packet is read after the delay.
    fn begin(&mut self, packet: &Arrival<'_>) -> Span {
        self.ring.clear();
        self.delay.reset();
        self.pause = None;
        self.overfull = 0;
        let wait = self.bounds.start() - packet.clock.slot.saturating_sub(packet.clock.now).clamp(0, STEP);
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
            let mut part = [self.law.silence(); FRAME];
            let length = usize::try_from(gap.end - at).unwrap_or(FRAME).min(FRAME);
            if let Some(part) = part.get_mut(..length) {
                if let Some(pause) = &mut self.pause {
                    pause.noise.fill(self.law, part);
                }
                self.ring.put(at, part);
            }
            at += count(length);
        }
    }

    /// The next frame, where it is one with samples left out or heard once more.
    fn adapt(&mut self, span: Span, behind: i64, excess: i64) -> Option<[u8; FRAME]> {
        self.overfull = match excess {
            ..STEP => 0,
            STEP => self.overfull.saturating_add(1),
            _ => self.overfull.saturating_add(HASTE),
        };
        let beyond = behind.saturating_sub(self.delay.most());
        if beyond > STEP {
            return self.cut(span, beyond.unsigned_abs());
        }
        let quiet = self.quiet(span.play);
        let patient = self.overfull >= PATIENCE;
        let one = |by: i64| isize::try_from(by).map(|by| by..=by);
        let (jumps, likeness) = match quiet {
            true if patient && self.steady > 1 => (one(excess.min(STEP)).ok()?, NONE),
            true if excess < 0 && self.steady > 1 => (one(excess.max(-STEP)).ok()?, NONE),
            false if patient && excess > 2 * STEP && self.steady > 4 => (SHORTEST..=LONGEST, ALIKE),
            false if excess < 0 && self.steady > 2 => (-LONGEST..=-SHORTEST, ALIKE),
            _ => return None,
        };
        self.splice(span, jumps, likeness)
    }

    fn splice(&mut self, span: Span, jumps: RangeInclusive<isize>, likeness: f32) -> Option<[u8; FRAME]> {
        let most = FRAME.saturating_add_signed((*jumps.end()).max(0));
        // What was made up does not lead to what comes: there is no going back to it.
        if self.concealer.conceals() || !self.ring.has(span.play, most) {
            return None;
        }
        let mut around = Around { law: self.law, samples: [self.law.silence(); BEFORE + AFTER] };
        let (before, after) = around.samples.split_at_mut(BEFORE);
        before.copy_from_slice(self.concealer.last(BEFORE));
        self.ring.copy(span.play, after);
        let jump = around.likest(jumps);
        if jump.likeness < likeness {
            return None;
        }
        self.moved(span, i64::try_from(jump.by).unwrap_or(0));
        Some(around.frame(jump.by))
    }

    /// Leaves out what lies beyond the longest delay.
    fn cut(&mut self, span: Span, beyond: u64) -> Option<[u8; FRAME]> {
        let there = span.play.saturating_add(beyond.min(span.end - span.play));
        let mut around = Around { law: self.law, samples: [self.law.silence(); BEFORE + AFTER] };
        let whole = self.ring.has(span.play, FRAME) && self.ring.has(there, FRAME);
        let (here, next) = around.samples.split_at_mut(BEFORE).1.split_at_mut(FRAME);
        self.ring.copy(span.play, here);
        self.ring.copy(there, next);
        let by = signed(there - span.play);
        if whole {
            self.moved(span, by);
            return Some(around.frame(FRAME.cast_signed()));
        }
        self.moved(span, by - STEP);
        None
    }

    /// A frame was read, and so many samples beside it were left out or will be heard once more.
    fn moved(&mut self, span: Span, by: i64) {
        let read = usize::try_from(STEP + by).unwrap_or(0);
        self.ring.forget(span.play, read);
        let play = span.play.saturating_add_signed(STEP + by);
        self.span = Some(Span { play, ..span });
        self.steady = 0;
        if by < 0 {
            self.counts.lengthened += time(-by);
        } else {
            self.counts.shortened += time(by);
        }
    }

    /// Whether there is no speech in the next samples.
    fn quiet(&self, play: u64) -> bool {
        let mut next = [0; FRAME];
        self.ring.copy(play, &mut next);
        level::mean_square(self.law, &next) < FAINT
    }

    /// Reads the frame at the reader's place, and makes up what of it has not come.
    fn read(&mut self, frame: &mut [u8; FRAME]) {
        let Some(span) = &mut self.span else { return };
        let mut at = 0;
        while at < FRAME {
            let place = span.play + count(at);
            let (came, length) = self.ring.run(place, FRAME - at);
            let Some(part) = frame.get_mut(at..at + length) else { break };
            at += length;
            match &mut self.pause {
                _ if came => self.ring.copy(place, part),
                Some(pause) if place >= pause.since => pause.noise.fill(self.law, part),
                _ => {
                    self.concealer.conceal(part);
                    let made_up = i64::try_from(length).unwrap_or(0);
                    if place >= span.end {
                        self.unsure += made_up;
                    } else if place >= span.begin {
                        self.counts.concealed += time(made_up);
                    }
                    continue;
                }
            }
            self.concealer.heard(part);
        }
        self.ring.forget(span.play, FRAME);
        span.play = span.play.saturating_add(count(FRAME));
    }
}

fn count(samples: usize) -> u64 {
    u64::try_from(samples).unwrap_or(u64::MAX)
}

fn signed(samples: u64) -> i64 {
    i64::try_from(samples).unwrap_or(i64::MAX)
}

fn time(samples: i64) -> Duration {
    Duration::from_micros(samples.unsigned_abs().saturating_mul(125))
}

/// Samples of the longest packet that is taken: 60 ms are the longest anybody sends, 100 ms are borne.
pub const LONGEST_PACKET: u64 = 800;
/// Samples of a frame. So much too far behind is borne: one visit of the socket may fall on either side of a packet.
const STEP: i64 = 160;
/// Frames too far behind by just a step that are waited for (10 s), and how much more any further counts.
const PATIENCE: u32 = 500;
const HASTE: u32 = 25;
/// Jumps that are tried within speech: 5 to 20 ms.
const SHORTEST: isize = 40;
const LONGEST: isize = 160;
/// How much both sides of such a jump must resemble each other, and of one within a pause.
const ALIKE: f32 = 0.6;
const NONE: f32 = -1.0;
/// -45 dB.
const FAINT: u32 = 34_000;
