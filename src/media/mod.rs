//! One RTP session as a pure machine: SDP answer, RTP, telephone-event, jitter buffer, paced sender (RFC 3264, 3550, 4733).

mod arrival;
mod comfort_noise;
mod concealment;
pub mod contract;
mod delay;
pub mod dual_tone;
pub mod extended;
pub mod grid;
pub mod jitter_buffer;
pub mod keypad;
pub mod latch;
mod outbound;
pub mod prompts;
pub mod quality;
pub mod reception;
mod ring;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod session;
mod source;
mod splice;
pub mod srtp;
pub mod telephone_event;
mod wideband;

pub use contract::{Event, Input, Output, Settings, Silence, Socket};
pub use reception::{Dropped, Statistics};
pub use rtcp::{Control, ControlPath};
pub use sdp::{Codec, Negotiated};
pub use session::Session;
