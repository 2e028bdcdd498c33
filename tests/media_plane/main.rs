//! The media plane with real sockets on loopback: what one side plays is what the other hears. No wall-clock time is asserted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod floods;
mod plane;
mod ports;
mod reports;
mod sound;
mod workers;
