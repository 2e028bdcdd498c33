//! The jitter buffer on simulated time: order, loss, pauses, stalls, jitter and clocks that drift, and how all of it sounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod delay;
mod line;
mod network;
mod order;
mod pauses;
