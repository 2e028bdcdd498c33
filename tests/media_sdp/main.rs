//! SDP offers and answers as peers really write them, and as nobody should (RFC 3264, RFC 8866).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod any_body;
mod bodies;
mod codecs;
mod exchanges;
mod offers;
mod refusals;
