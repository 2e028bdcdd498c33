//! The media session on simulated time: every rule of what is heard and what is sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod agreements;
mod any_stream;
mod hearing;
mod pacing;
mod prompts;
mod recording;
mod sources;
mod stage;
