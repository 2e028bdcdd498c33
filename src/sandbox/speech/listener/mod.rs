//! Finds the utterances in a stream of telephone audio and says what is to be decoded when.
//!
//! A pure machine on fed audio: time is what the samples say, and decoding is the caller's. [`Listener::feed`] orders
//! decodes ([`Heard::Decode`]), the caller runs them on a [`Recogniser`](super::Recogniser) wherever it likes and hands
//! the result to [`Listener::decoded`]. At most one partial decode is out at a time; while it is slow, no other is
//! ordered, so a busy machine gives fewer interim results and not later ones. Only urgent decodes have to be run.
//!
//! An utterance that goes on is cut at a pause and decoded in parts, since the recogniser is only good for a dozen
//! seconds; its final result joins them.

mod endpoint;
mod input;
mod utterance;

use super::{Recognition, SpeechError};
use crate::sandbox::audio_format::{AudioFormat, Encoding};
use endpoint::Endpointer;
use input::Input;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use utterance::{Closed, Utterance};

/// How to listen.
#[derive(Clone, Copy, Debug)]
pub struct ListenerSettings {
    /// What the fed bytes are.
    pub format: AudioFormat,
    /// Silence that ends an utterance (Watson's `end_of_phrase_silence_time`).
    pub end_of_phrase_silence: Duration,
    /// Whether hypotheses are wanted: without them there are fewer decodes.
    pub interim_results: bool,
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self {
            format: AudioFormat { encoding: Encoding::Mulaw, rate: 8_000 },
            end_of_phrase_silence: Duration::from_millis(800),
            interim_results: true,
        }
    }
}

/// What the listener has to say. Times count from the first sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Somebody began to speak.
    Began {
        /// When.
        at: Duration,
    },
    /// Decode this.
    Decode(Take),
    /// A hypothesis of what has been said so far in the open utterance.
    Interim {
        /// All words of the utterance so far.
        words: String,
    },
    /// An utterance that has ended. There is one for every utterance with words, and for every one that had an interim
    /// result.
    Final {
        /// Its words.
        words: String,
        /// How sure the recogniser is, 0 to 1.
        confidence: f32,
        /// When its first sound began.
        begin: Duration,
        /// When its last sound ended.
        end: Duration,
    },
}

/// Audio to be decoded.
#[derive(Clone, PartialEq)]
pub struct Take {
    /// Goes back with the result.
    pub id: u64,
    /// Samples at 16 kHz.
    pub pcm: Arc<[f32]>,
    /// Part of a final result: it must be decoded, in whatever time. Otherwise it may be skipped
    /// (`decoded(id, None)`) when no decoder is free.
    pub urgent: bool,
}

impl std::fmt::Debug for Take {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Take({}, {} samples, urgent: {})", self.id, self.pcm.len(), self.urgent)
    }
}

/// Listens to one stream.
pub struct Listener {
    input: Input,
    endpointer: Endpointer,
    silence_frames: u64,
    interim_results: bool,
    open: Option<Utterance>,
    /// Ended utterances whose parts are being decoded, oldest first: finals keep their order.
    closed: VecDeque<Closed>,
    next_id: u64,
}

impl Listener {
    /// A listener at the start of a stream.
    ///
    /// # Errors
    /// A sample rate that no Watson format has.
    pub fn new(settings: ListenerSettings) -> Result<Self, SpeechError> {
        let silence = settings.end_of_phrase_silence.max(SHORTEST_SILENCE).as_millis() as u64;
        Ok(Self {
            input: Input::new(settings.format)?,
            endpointer: Endpointer::new(),
            silence_frames: silence.div_ceil(FRAME_MILLISECONDS),
            interim_results: settings.interim_results,
            open: None,
            closed: VecDeque::new(),
            next_id: 0,
        })
    }

    /// Feeds audio, in pieces of any size.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Heard>) {
        self.input.push(bytes);
        while let Some(frame) = self.input.frame() {
            self.frame(&frame, out);
        }
    }

    /// The stream has ended, or its pause: what has been said so far is final.
    pub fn stop(&mut self, out: &mut Vec<Heard>) {
        if let Some(utterance) = self.open.take() {
            self.close(utterance, out);
        }
        self.endpointer.reset();
    }

    /// The result of an ordered decode; `None` when it was skipped or failed. Results may come in any order.
    pub fn decoded(&mut self, id: u64, result: Option<Recognition>, out: &mut Vec<Heard>) {
        if let Some(utterance) = &mut self.open
            && utterance.is_waiting_for(id)
        {
            utterance.decoded(id, result, out);
            return;
        }
        if let Some(closed) = self.closed.iter_mut().find(|closed| closed.is_waiting_for(id)) {
            closed.decoded(id, result, out);
        }
        self.settle(out);
    }

    /// How many decodes must still come back before every ended utterance is reported. A caller that feeds faster than
    /// it decodes stops feeding at a handful: each holds up to a megabyte.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.closed.iter().map(Closed::waiting).sum::<usize>() + self.open.as_ref().map_or(0, Utterance::waiting)
    }

    /// Whether somebody is speaking.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn frame(&mut self, frame: &[i16; FRAME], out: &mut Vec<Heard>) {
        let judged = self.endpointer.frame(frame);
        let Some(utterance) = &mut self.open else {
            if let Some(onset) = self.endpointer.onset() {
                out.push(Heard::Began { at: time(onset.frame) });
                self.open = Some(Utterance::new(onset, self.interim_results));
            }
            return;
        };
        utterance.frame(frame, judged, &mut self.next_id, out);
        if utterance.has_ended(self.silence_frames)
            && let Some(utterance) = self.open.take()
        {
            self.close(utterance, out);
            self.endpointer.reset();
        }
    }

    fn close(&mut self, utterance: Utterance, out: &mut Vec<Heard>) {
        self.closed.push_back(utterance.close(&mut self.next_id, out));
        self.settle(out);
    }

    /// Reports the ended utterances that are decoded, in their order.
    fn settle(&mut self, out: &mut Vec<Heard>) {
        while let Some(closed) = self.closed.pop_front_if(|closed| closed.waiting() == 0) {
            out.extend(closed.report());
        }
    }
}

/// When the frame with this number began.
fn time(frame: u64) -> Duration {
    Duration::from_millis(frame * FRAME_MILLISECONDS)
}

/// The voice detector's frame: 16 ms at 16 kHz.
const FRAME: usize = 256;
const FRAME_MILLISECONDS: u64 = 16;
/// Below, every stop consonant would end an utterance.
const SHORTEST_SILENCE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
