//! The synthesiser behind the sandbox's Text to Speech.

use super::slots::Slots;
use super::{Synthesiser, Voice};
use crate::sandbox::engine;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Speaks for all requests: one clause is rendered at a time, since each may use the whole machine; those rendered
/// before are handed out without waiting.
pub struct Mouth {
    synthesiser: Arc<Synthesiser>,
    voice: Voice,
    slots: Slots,
}

impl Mouth {
    /// A mouth that speaks with one voice, whatever name it is asked for by.
    #[must_use]
    pub fn new(synthesiser: Arc<Synthesiser>, voice: Voice) -> Self {
        Self { synthesiser, voice, slots: Slots::new(1) }
    }
}

impl engine::Synthesis for Mouth {
    fn cost(&self) -> engine::Cost {
        engine::Cost::Blocking
    }

    fn speak(
        &self,
        utterance: &engine::Utterance<'_>,
        hand_out: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
    ) -> Result<(), engine::SynthesisFailure> {
        let failed = |error: super::SpeechError| engine::SynthesisFailure(error.to_string());
        let mut clauses = self.synthesiser.clauses(self.voice, utterance.text, utterance.rate);
        loop {
            let slot = (!clauses.next_is_ready()).then(|| self.slots.wait());
            let Some(clause) = clauses.next() else { return Ok(()) };
            drop(slot);
            if hand_out(&clause.map_err(failed)?.samples).is_break() {
                return Ok(());
            }
        }
    }
}
