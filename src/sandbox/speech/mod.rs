//! The sandbox's ears and voice: real speech recognition and synthesis in pure Rust, for the wire servers that stand in
//! for Watson.
//!
//! - [`Recogniser`] (Moonshine tiny-en) turns an utterance into words; [`Listener`] finds the utterances in a stream of
//!   telephone audio and says what is to be decoded when.
//! - [`Synthesiser`] (Kokoro-82M with misaki phonemes) speaks a text clause by clause.
//!
//! Both compute in the calling thread's time (100 ms to seconds): call them where blocking does no harm.

pub mod ears;
mod engine;
mod letters;
pub mod listener;
pub mod mouth;

pub mod numbers;
mod phrase;
mod reading;
pub mod recogniser;
mod resample;
mod shelf;
mod slots;
pub mod synthesiser;
pub mod transcript;

pub use ears::Ears;
pub use listener::{Heard, Listener, ListenerSettings, Take};
pub use mouth::Mouth;
pub use recogniser::{Recogniser, Recognition};
pub use synthesiser::{Clause, Synthesiser, Voice};

use std::path::PathBuf;

/// Why an engine could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// A model's file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A model's file is not what the engine expects.
    #[error("cannot use {path}: {detail}")]
    Load {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The network failed on an input.
    #[error("{engine} failed: {detail}")]
    Run {
        /// Which engine.
        engine: &'static str,
        /// What the runtime said.
        detail: String,
    },
    /// A sample rate that the engine does not take or make.
    #[error("a sample rate of {0} Hz is not supported")]
    Rate(u32),
}
