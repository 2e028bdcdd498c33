//! What the sandbox's servers need of a speech engine: recognition and synthesis behind a trait each.

use super::audio_format::AudioFormat;
use std::ops::ControlFlow;
use std::time::Duration;

/// Whether a call into an engine may take longer than an async thread can be kept waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Microseconds: called where the socket is served.
    Inline,
    /// Real decoding or synthesis: each session gets a blocking thread of its own.
    Blocking,
}

/// A recogniser of speech.
pub trait Recognition: Send + Sync + 'static {
    /// How dear its sessions' calls are.
    fn cost(&self) -> Cost;

    /// Begins to listen to one stream. With `Cost::Blocking` this is called on the session's own thread.
    fn open(&self, options: &RecognitionOptions) -> Box<dyn RecognitionSession>;
}

/// How one stream is to be heard: the `start` message as far as an engine can use it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecognitionOptions {
    /// What the bytes are.
    pub format: AudioFormat,
    /// Silence that ends a phrase (`end_of_phrase_silence_time`, 0.8 s).
    pub end_of_phrase_silence: Duration,
    /// Whether anyone wants interim results: an engine may save the work.
    pub interim_results: bool,
}

/// One stream being heard.
pub trait RecognitionSession: Send {
    /// Takes the next bytes of the stream, any number of them, and tells what was heard.
    fn audio(&mut self, bytes: &[u8]) -> Vec<Heard>;

    /// The stream has ended: what remains.
    fn finish(&mut self) -> Vec<Heard>;
}

/// What a recogniser tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Speech began, so far from the start of the stream.
    Began {
        /// Offset in the stream.
        at: Duration,
    },
    /// A hypothesis of the phrase so far.
    Interim {
        /// Without trailing blank.
        transcript: String,
    },
    /// The phrase has ended. An empty transcript (noise) is not sent on.
    Final {
        /// Without trailing blank.
        transcript: String,
        /// 0 to 1.
        confidence: f64,
        /// When its first sound began, from the start of the stream.
        begin: Duration,
        /// When its last sound ended.
        end: Duration,
    },
}

/// A synthesiser of speech.
pub trait Synthesis: Send + Sync + 'static {
    /// How dear speaking is.
    fn cost(&self) -> Cost;

    /// Speaks, handing out stretches of speech (clauses, say) as they are made; when told to `Break` nobody listens any more
    /// and it returns. With `Cost::Blocking` called on the request's own thread.
    ///
    /// # Errors
    /// When the engine cannot go on, or not at this rate. What was handed out stays valid.
    fn speak(
        &self,
        utterance: &Utterance<'_>,
        hand_out: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
    ) -> Result<(), SynthesisFailure>;
}

/// What is to be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utterance<'a> {
    /// Plain text, never blank. SSML has been read already: a `<` or `&` in it is meant as such.
    pub text: &'a str,
    /// The voice asked for, by its Watson name.
    pub voice: &'a str,
    /// Samples a second that are to be handed out, one channel.
    pub rate: u32,
}

/// An engine that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SynthesisFailure(pub String);
