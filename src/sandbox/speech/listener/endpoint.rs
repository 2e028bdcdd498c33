//! Where speech begins, and which frames are speech.

use super::FRAME;
use earshot::Detector;
use std::collections::VecDeque;

/// Judges frames one after the other.
pub(super) struct Endpointer {
    detector: Box<Detector>,
    frames: u64,
    /// What lies before a possible onset, so that its first sounds are not lost.
    before: VecDeque<[i16; FRAME]>,
    /// Which of the latest frames were voiced, one bit each.
    votes: u32,
    /// The same for those that are clearly a voice.
    strong_votes: u32,
}

/// The verdict on a frame.
pub(super) struct Judged {
    /// Number of the frame in the stream.
    pub(super) frame: u64,
    /// How much of a voice it is, 0 to 1.
    pub(super) score: f32,
}

/// The beginning of speech.
pub(super) struct Onset {
    /// Number of the first voiced frame.
    pub(super) frame: u64,
    /// Number of the latest frame.
    pub(super) latest: u64,
    /// What was heard up to now, from a little before the onset.
    pub(super) samples: Vec<i16>,
}

impl Endpointer {
    pub(super) fn new() -> Self {
        Self { detector: Detector::default_boxed(), frames: 0, before: VecDeque::new(), votes: 0, strong_votes: 0 }
    }

    pub(super) fn frame(&mut self, frame: &[i16; FRAME]) -> Judged {
        let score = self.detector.predict_i16(frame);
        let unpredicted = unpredicted(frame);
        let score = if is_silent(frame) || unpredicted < TONE { 0.0 } else { score };
        let number = self.frames;
        self.frames += 1;
        if self.before.len() == LEAD + WINDOW {
            self.before.pop_front();
        }
        self.before.push_back(*frame);
        let vote = |votes: u32, yes: bool| (votes << 1 | u32::from(yes)) & ((1 << WINDOW) - 1);
        self.votes = vote(self.votes, score >= VOICED);
        self.strong_votes = vote(self.strong_votes, score >= STRONG && unpredicted < HISS);
        Judged { frame: number, score }
    }

    /// Whether speech is there now; asked for while nobody speaks.
    pub(super) fn onset(&self) -> Option<Onset> {
        if self.votes.count_ones() < ENOUGH || self.strong_votes.count_ones() < ENOUGH_STRONG {
            return None;
        }
        let latest = self.frames.checked_sub(1)?;
        let voiced_before = self.votes.ilog2();
        let skip = self.before.len().saturating_sub(LEAD + voiced_before as usize + 1);
        Some(Onset {
            frame: latest.saturating_sub(u64::from(voiced_before)),
            latest,
            samples: self.before.iter().skip(skip).flatten().copied().collect(),
        })
    }

    /// What came before does not count towards the next onset.
    pub(super) fn reset(&mut self) {
        (self.votes, self.strong_votes) = (0, 0);
    }
}

/// Below -60 dB nobody speaks, whatever the detector still believes.
fn is_silent(frame: &[i16; FRAME]) -> bool {
    frame.iter().map(|s| i64::from(*s).pow(2)).sum::<i64>() < SILENT.pow(2) * FRAME as i64
}

/// How much of the frame four samples do not tell of the next (0 to 1): next to nothing of keys (DTMF), dial and busy
/// tones, which are one or two sines; nearly all of hiss; a voice lies between. Burg's method on the 8 kHz grid, where a
/// telephone's band is full.
fn unpredicted(frame: &[i16; FRAME]) -> f32 {
    let mut forward: Vec<f32> = frame.iter().step_by(2).map(|s| f32::from(*s)).collect();
    let mut backward = forward.clone();
    let mut left = 1.0;
    for order in 1..=4 {
        let pairs = || forward.iter().skip(order).zip(backward.iter().skip(order - 1));
        let (cross, power) = pairs().fold((0.0, 1.0), |(c, p), (f, b)| (c + f * b, p + f * f + b * b));
        let reflection = -2.0 * cross / power;
        left *= 1.0 - reflection * reflection;
        // Both errors of this order; the backward one of the sample before is taken before it is replaced.
        let mut before = backward.get(order - 1).copied().unwrap_or_default();
        for (f, b) in forward.iter_mut().zip(&mut backward).skip(order) {
            let (old_f, old_b) = (*f, *b);
            *f = old_f + reflection * before;
            *b = before + reflection * old_f;
            before = old_b;
        }
    }
    left
}

/// From this score on, a frame counts as voiced.
pub(super) const VOICED: f32 = 0.5;
/// From this score on, it is clearly a voice: loud noise stays below.
const STRONG: f32 = 0.7;
const ENOUGH_STRONG: u32 = 2;
const SILENT: i64 = 30;
/// 22 dB of prediction gain.
const TONE: f32 = 0.0063;
/// 2 dB of prediction gain: a burst of noise looks like an onset for a moment, but has none.
const HISS: f32 = 0.63;
/// So many of the latest `WINDOW` frames (160 ms) must be voiced: a click or a tone is not.
const ENOUGH: u32 = 6;
const WINDOW: usize = 10;
/// Frames kept before the onset: 256 ms.
const LEAD: usize = 16;
