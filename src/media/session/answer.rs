//! When the caller begins to hear an answer: the first packet of a prompt in which somebody speaks.

use crate::audio::{Frame, Linear, Voice};
use crate::base::PlayId;

/// What is sent, as its listener hears it.
#[derive(Debug, Default)]
pub(super) struct Answer {
    voice: Voice,
    /// The prompt in which nobody has spoken so far.
    silent: Option<PlayId>,
}

impl Answer {
    /// Takes the next frame, with which a prompt may have begun: the prompt that begins to speak with it.
    pub(super) fn spoken(&mut self, frame: &Frame, began: Option<PlayId>) -> Option<PlayId> {
        self.silent = began.or(self.silent);
        self.silent.take_if(|_| match frame {
            Frame::Narrow(law, coded) => self.voice.voiced(*law, coded),
            Frame::Wide(samples) => self.voice.voiced(Linear, samples),
        })
    }
}
