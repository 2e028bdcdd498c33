//! One utterance: its audio, its cuts, and what has been decoded of it.

use super::super::Recognition;
use super::endpoint::{Judged, Onset, VOICED};
use super::{FRAME, Heard, Take, time};
use std::sync::Arc;
use std::time::Duration;

/// An utterance that goes on.
pub(super) struct Utterance {
    begin: u64,
    last_voiced: u64,
    latest: u64,
    /// What was cut off and is settled or being decoded.
    parts: Vec<Part>,
    /// What follows the last cut.
    tail: Tail,
    /// The partial decode that is out.
    ordered: Option<Ordered>,
    /// The newest result for the tail, and up to which voiced frame it reaches.
    known: Option<(u64, Recognition)>,
    next_order: u64,
    /// The frame at which it was cut last.
    cut_at: u64,
    interim_results: bool,
    shown: String,
}

/// An utterance that has ended.
pub(super) struct Closed {
    begin: Duration,
    end: Duration,
    parts: Vec<Part>,
    shown: String,
}

struct Tail {
    samples: Vec<i16>,
    scores: Vec<f32>,
    voiced: usize,
}

struct Ordered {
    id: u64,
    reaches: u64,
    pcm: Arc<[f32]>,
}

enum Part {
    /// The audio is kept: a decode that was skipped is ordered again.
    Waiting {
        id: u64,
        pcm: Arc<[f32]>,
    },
    Done(Recognition),
}

impl Utterance {
    pub(super) fn new(onset: Onset, interim_results: bool) -> Self {
        let frames = onset.samples.len() / FRAME;
        let voiced = (onset.latest - onset.frame + 1) as usize;
        // The exact scores of the onset do not matter: nothing is cut there.
        let scores = (0..frames).map(|i| if i + voiced >= frames { 1.0 } else { 0.0 }).collect();
        Self {
            begin: onset.frame,
            last_voiced: onset.latest,
            latest: onset.latest,
            parts: Vec::new(),
            tail: Tail { samples: onset.samples, scores, voiced },
            ordered: None,
            known: None,
            next_order: onset.latest + PARTIAL_EVERY,
            cut_at: onset.latest,
            interim_results,
            shown: String::new(),
        }
    }

    pub(super) fn frame(&mut self, frame: &[i16; FRAME], judged: Judged, next_id: &mut u64, out: &mut Vec<Heard>) {
        self.latest = judged.frame;
        self.tail.samples.extend(frame);
        self.tail.scores.push(judged.score);
        if judged.score >= STILL_VOICED {
            self.last_voiced = judged.frame;
            self.tail.voiced += usize::from(judged.score >= VOICED);
        }
        if let Some(frames) = self.place_to_cut() {
            self.cut(frames, next_id, out);
        }
        self.order_partial(next_id, out);
    }

    pub(super) fn has_ended(&self, silence_frames: u64) -> bool {
        self.latest - self.last_voiced >= silence_frames
            || (self.latest - self.begin >= LONGEST && self.cut_at == self.latest)
    }

    pub(super) fn is_waiting_for(&self, id: u64) -> bool {
        self.ordered.as_ref().is_some_and(|ordered| ordered.id == id) || self.parts.iter().any(|p| p.is_waiting_for(id))
    }

    pub(super) fn waiting(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Waiting { .. })).count()
    }

    pub(super) fn decoded(&mut self, id: u64, result: Option<Recognition>, out: &mut Vec<Heard>) {
        if let Some(ordered) = self.ordered.take_if(|ordered| ordered.id == id) {
            self.known = result.map(|result| (ordered.reaches, result)).or(self.known.take());
        } else if let Some(part) = self.parts.iter_mut().find(|part| part.is_waiting_for(id)) {
            part.decoded(id, result, out);
        }
        if self.waiting() > 0 || !self.interim_results {
            return;
        }
        let words = joined(&self.parts, self.known.as_ref().map(|(_, known)| known));
        if !words.is_empty() && words != self.shown {
            self.shown.clone_from(&words);
            out.push(Heard::Interim { words });
        }
    }

    /// Orders what has not been decoded yet.
    pub(super) fn close(mut self, next_id: &mut u64, out: &mut Vec<Heard>) -> Closed {
        let end = time(self.last_voiced + 1);
        let frames = self.tail.scores.len();
        self.settle_tail(frames, next_id, out);
        Closed { begin: time(self.begin), end, parts: self.parts, shown: self.shown }
    }

    /// Where to cut, in frames of the tail: at a pause when it has become long, at the weakest place when it is too long.
    fn place_to_cut(&self) -> Option<usize> {
        let length = self.tail.scores.len();
        let silent = (self.latest - self.last_voiced) as usize;
        if length >= CUT_AT_PAUSE && silent >= PAUSE {
            return Some(length - silent / 2);
        }
        if length < CUT_ANYWHERE {
            return None;
        }
        let from = length - WEAKEST_OF;
        let scores = self.tail.scores.get(from..)?;
        let weakest =
            scores.windows(5).map(|w| w.iter().sum::<f32>()).enumerate().min_by(|a, b| a.1.total_cmp(&b.1))?.0;
        Some(from + weakest + 2)
    }

    /// The first `frames` of the tail become a part.
    fn cut(&mut self, frames: usize, next_id: &mut u64, out: &mut Vec<Heard>) {
        let lead = frames.saturating_sub(LEAD_AFTER_CUT);
        let rest = Tail::from_frames(&self.tail, lead);
        self.settle_tail(frames, next_id, out);
        self.tail = rest;
        self.next_order = self.latest + PARTIAL_EVERY;
        self.cut_at = self.latest;
    }

    /// Turns the first `frames` of the tail into a part, by what is known of it already or by ordering its decode.
    fn settle_tail(&mut self, frames: usize, next_id: &mut u64, out: &mut Vec<Heard>) {
        let (known, ordered) = (self.known.take(), self.ordered.take());
        if self.tail.voiced < FEWEST_VOICED {
            return;
        }
        let part = match (known, ordered) {
            (Some((reaches, known)), _) if reaches == self.last_voiced => Part::Done(known),
            (_, Some(ordered)) if ordered.reaches == self.last_voiced => {
                Part::Waiting { id: ordered.id, pcm: ordered.pcm }
            }
            _ => {
                let (id, pcm) = (new_id(next_id), self.tail.pcm(frames.min(self.reach())));
                out.push(Heard::Decode(Take { id, pcm: Arc::clone(&pcm), urgent: true }));
                Part::Waiting { id, pcm }
            }
        };
        self.parts.push(part);
    }

    /// Frames of the tail worth decoding: up to a little after the last voiced one.
    fn reach(&self) -> usize {
        let silent = (self.latest - self.last_voiced) as usize;
        self.tail.scores.len().saturating_sub(silent.saturating_sub(TRAIL))
    }

    fn order_partial(&mut self, next_id: &mut u64, out: &mut Vec<Heard>) {
        let reaches = self.known.as_ref().is_some_and(|(reaches, _)| *reaches == self.last_voiced);
        if self.ordered.is_some() || reaches || self.tail.voiced < FEWEST_VOICED {
            return;
        }
        // In a pause the decode that may turn out to be the last is ordered at once: then the final has no delay.
        let silent = self.latest - self.last_voiced;
        let interim = self.interim_results && self.latest >= self.next_order;
        if !interim && silent != TRAIL as u64 {
            return;
        }
        let (id, pcm) = (new_id(next_id), self.tail.pcm(self.reach()));
        // A decode that lacks the sounds after the last voiced frame is not the final one.
        let reaches = if silent >= TRAIL as u64 { self.last_voiced } else { u64::MAX };
        self.ordered = Some(Ordered { id, reaches, pcm: Arc::clone(&pcm) });
        self.next_order = self.latest + PARTIAL_EVERY;
        out.push(Heard::Decode(Take { id, pcm, urgent: false }));
    }
}

impl Closed {
    pub(super) fn is_waiting_for(&self, id: u64) -> bool {
        self.parts.iter().any(|part| part.is_waiting_for(id))
    }

    pub(super) fn waiting(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Waiting { .. })).count()
    }

    pub(super) fn decoded(&mut self, id: u64, result: Option<Recognition>, out: &mut Vec<Heard>) {
        if let Some(part) = self.parts.iter_mut().find(|part| part.is_waiting_for(id)) {
            part.decoded(id, result, out);
        }
    }

    /// The final result. An interim result that was shown is never left open, even when the last look finds no words.
    pub(super) fn report(self) -> Option<Heard> {
        let words = joined(&self.parts, None);
        let (words, confidence) = match (words.is_empty(), self.shown.is_empty()) {
            (false, _) => (words, confidence(&self.parts)),
            (true, false) => (self.shown, 0.0),
            (true, true) => return None,
        };
        Some(Heard::Final { words, confidence, begin: self.begin, end: self.end })
    }
}

impl Part {
    fn is_waiting_for(&self, id: u64) -> bool {
        matches!(self, Self::Waiting { id: waiting, .. } if *waiting == id)
    }

    fn decoded(&mut self, id: u64, result: Option<Recognition>, out: &mut Vec<Heard>) {
        match result {
            Some(result) => *self = Self::Done(result),
            // It was ordered when it could still be skipped.
            None => {
                if let Self::Waiting { pcm, .. } = self {
                    out.push(Heard::Decode(Take { id, pcm: Arc::clone(pcm), urgent: true }));
                }
            }
        }
    }
}

impl Tail {
    fn from_frames(tail: &Self, first: usize) -> Self {
        let scores = tail.scores.get(first..).unwrap_or_default().to_vec();
        let samples = tail.samples.get(first * FRAME..).unwrap_or_default().to_vec();
        let voiced = scores.iter().filter(|s| **s >= VOICED).count();
        Self { samples, scores, voiced }
    }

    fn pcm(&self, frames: usize) -> Arc<[f32]> {
        self.samples.iter().take(frames * FRAME).map(|s| f32::from(*s) / 32_768.0).collect()
    }
}

fn new_id(next_id: &mut u64) -> u64 {
    *next_id += 1;
    *next_id
}

fn results(parts: &[Part]) -> impl Iterator<Item = &Recognition> {
    parts.iter().filter_map(|part| match part {
        Part::Done(result) => Some(result),
        Part::Waiting { .. } => None,
    })
}

fn joined(parts: &[Part], tail: Option<&Recognition>) -> String {
    let words: Vec<&str> = results(parts).chain(tail).map(|r| r.words.as_str()).filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

/// The mean of the parts with words, by their length.
fn confidence(parts: &[Part]) -> f32 {
    let (sum, length) = results(parts)
        .map(|r| (r.confidence, r.words.len() as f32))
        .fold((0.0, 0.0), |(sum, length), (c, l)| (sum + c * l, length + l));
    if length > 0.0 { sum / length } else { 0.0 }
}

// All in frames of 16 ms.
/// Half a second between partial decodes.
const PARTIAL_EVERY: u64 = 31;
/// Sound kept after the last voiced frame: 256 ms.
const TRAIL: usize = 16;
/// From 7.7 s on, a pause of 192 ms is used to cut; at 12 s the weakest place of the last 3.2 s is.
const CUT_AT_PAUSE: usize = 480;
const PAUSE: usize = 12;
const CUT_ANYWHERE: usize = 750;
const WEAKEST_OF: usize = 200;
/// Sound before a cut that the next part hears again: it starts in a pause or at a weak place, not in a word.
const LEAD_AFTER_CUT: usize = 2;
/// A minute without a pause: it ends at the next cut.
const LONGEST: u64 = 3_750;
/// Fewer voiced frames (64 ms) hold no word; the recogniser would invent one.
const FEWEST_VOICED: usize = 4;
/// Within an utterance, a frame of this score still belongs to it.
const STILL_VOICED: f32 = 0.35;
