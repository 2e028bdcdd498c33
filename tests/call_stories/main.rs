//! Stories of whole calls on simulated time: what comes in, what goes out, and that every call ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod any_order;
mod barge_in;
mod deafness;
mod endings;
mod leg;
mod privacy;
mod referral;
mod stage;
mod talking;
mod timeouts;
mod transfer;
