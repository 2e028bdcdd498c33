//! SRTP against webrtc-rs' own (RFC 3711, 6188, 7714), over rollovers and changes of key, and against whoever has not the key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod call;
mod calls;
mod forgeries;
mod library;
mod packets;
