//! The recogniser behind the sandbox's Speech to Text.

use super::listener::{Heard, Listener, ListenerSettings, Take};
use super::slots::Slots;
use super::{Recogniser, Recognition};
use crate::sandbox::engine;
use std::collections::VecDeque;
use std::sync::Arc;

/// Hears for all sessions: at most two decodes run at a time.
pub struct Ears {
    recogniser: Arc<Recogniser>,
    slots: Arc<Slots>,
}

impl Ears {
    /// Ears of a loaded recogniser.
    #[must_use]
    pub fn new(recogniser: Arc<Recogniser>) -> Self {
        Self { recogniser, slots: Arc::new(Slots::new(DECODES)) }
    }
}

impl engine::Recognition for Ears {
    fn cost(&self) -> engine::Cost {
        engine::Cost::Blocking
    }

    fn open(&self, options: &engine::RecognitionOptions) -> Box<dyn engine::RecognitionSession> {
        let settings = ListenerSettings {
            format: options.format,
            end_of_phrase_silence: options.end_of_phrase_silence,
            interim_results: options.interim_results,
        };
        match Listener::new(settings) {
            Ok(listener) => {
                Box::new(Session { listener, recogniser: Arc::clone(&self.recogniser), slots: Arc::clone(&self.slots) })
            }
            Err(error) => {
                tracing::error!(%error, "the sandbox cannot hear this stream");
                Box::new(Deaf)
            }
        }
    }
}

/// One stream. Decodes run on the session's own thread; meanwhile its audio waits and then comes in one piece, so that
/// a slow machine makes fewer partial decodes.
struct Session {
    listener: Listener,
    recogniser: Arc<Recogniser>,
    slots: Arc<Slots>,
}

impl engine::RecognitionSession for Session {
    fn audio(&mut self, bytes: &[u8]) -> Vec<engine::Heard> {
        let mut heard = Vec::new();
        let mut told = Vec::new();
        // More than a piece means that the session has fallen behind: then only what is needed for finals is decoded,
        // until it has caught up.
        let mut pieces = bytes.chunks(PIECE).peekable();
        while let Some(piece) = pieces.next() {
            self.listener.feed(piece, &mut heard);
            self.work(pieces.peek().is_some(), &mut heard, &mut told);
        }
        told
    }

    fn finish(&mut self) -> Vec<engine::Heard> {
        let mut heard = Vec::new();
        let mut told = Vec::new();
        self.listener.stop(&mut heard);
        self.work(true, &mut heard, &mut told);
        told
    }
}

impl Session {
    /// Runs what was ordered, and what follows from it, and tells the rest.
    fn work(&mut self, behind: bool, heard: &mut Vec<Heard>, told: &mut Vec<engine::Heard>) {
        let mut todo = VecDeque::from(std::mem::take(heard));
        while let Some(item) = todo.pop_front() {
            match item {
                Heard::Decode(take) => {
                    let result = if behind && !take.urgent { None } else { self.decode(&take) };
                    self.listener.decoded(take.id, result, heard);
                    todo.extend(heard.drain(..));
                }
                Heard::Began { at } => told.push(engine::Heard::Began { at }),
                Heard::Interim { words } => told.push(engine::Heard::Interim { transcript: words }),
                Heard::Final { words, confidence, begin, end } => {
                    let confidence = f64::from(confidence);
                    told.push(engine::Heard::Final { transcript: words, confidence, begin, end });
                }
            }
        }
    }

    /// `None` when a take that can wait finds no free slot.
    fn decode(&self, take: &Take) -> Option<Recognition> {
        let _slot = if take.urgent { self.slots.wait() } else { self.slots.try_take()? };
        match self.recogniser.recognise(&take.pcm) {
            Ok(recognition) => Some(recognition),
            Err(error) => {
                tracing::error!(%error, "the sandbox's recogniser failed");
                // An urgent take that fails once fails again: it is heard as nothing.
                take.urgent.then(|| Recognition { words: String::new(), confidence: 0.0 })
            }
        }
    }
}

/// Hears nothing.
struct Deaf;

impl engine::RecognitionSession for Deaf {
    fn audio(&mut self, _: &[u8]) -> Vec<engine::Heard> {
        Vec::new()
    }

    fn finish(&mut self) -> Vec<engine::Heard> {
        Vec::new()
    }
}

/// Side by side they lose no speed on two cores.
const DECODES: usize = 2;
/// A quarter of a second of narrow band.
const PIECE: usize = 2_000;
