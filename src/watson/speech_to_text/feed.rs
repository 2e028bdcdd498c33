//! Where the audio of a stream comes from, and silence where none comes: the service ends a session that hears nothing for 30 s.

use super::super::Coding;
use super::Pause;
use super::replay::Replay;
use crate::base::{clock, metric};
use crate::call::SpeechEvent;
use bytes::Bytes;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

/// Audio in, into the replay.
pub(super) struct Feed {
    pub(super) audio: mpsc::Receiver<Bytes>,
    pub(super) replay: Replay,
    pub(super) pause: Pause,
    pub(super) silence: Bytes,
    pub(super) hush: Duration,
    /// The time up to which there is audio.
    pub(super) filled_to: Instant,
}

impl Feed {
    pub(super) fn take(&mut self, chunk: Bytes) {
        self.filled_to = clock::now().at;
        let chunk = if self.pause.paused() { self.silence_of(chunk.len()) } else { chunk };
        self.push(chunk);
    }

    /// Fills a gap in the audio up to `hush` before now.
    pub(super) fn fill(&mut self, now: Instant) {
        if now.duration_since(self.filled_to) > LONGEST_GAP {
            self.filled_to = now - LONGEST_GAP;
        }
        while now >= self.filled_to + self.hush {
            self.filled_to += SILENCE;
            self.push(self.silence.clone());
        }
    }

    fn push(&mut self, chunk: Bytes) {
        let lost = self.replay.push(chunk);
        if lost > 0 {
            metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "stt_replay").increment(lost);
        }
    }

    fn silence_of(&self, length: usize) -> Bytes {
        if length <= self.silence.len() {
            return self.silence.slice(..length);
        }
        Bytes::from(vec![self.silence.first().copied().unwrap_or_default(); length])
    }

    /// Does `work` while audio is taken in; `None` when the call is over before.
    pub(super) async fn meanwhile<T>(
        &mut self,
        events: &mpsc::Sender<SpeechEvent>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = work.as_mut() => return Some(done),
                chunk = self.audio.recv() => self.take(chunk?),
                () = events.closed() => return None,
                () = sleep_until((self.filled_to + self.hush).into()) => self.fill(clock::now().at),
            }
        }
    }
}

/// One message of silence.
pub(super) fn silence(coding: Coding) -> Bytes {
    let bytes = u64::from(coding.bytes_per_second()) * SILENCE.as_millis() as u64 / 1000;
    Bytes::from(vec![coding.silence(); bytes as usize])
}

/// Silence is sent in messages of this length.
const SILENCE: Duration = Duration::from_millis(100);
/// A gap longer than this (the process was stopped) is not filled in: it would only delay what comes next.
const LONGEST_GAP: Duration = Duration::from_secs(2);
