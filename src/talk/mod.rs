//! The conversation as a pure machine: assistant responses, turns, barge-in, timers, transcript.
//!
//! `Talk::step` is driven by `call`, which carries out its `Act`s or hands them to the rim.

mod choice;
mod context;
mod contract;
mod conversation;
pub mod custom_data;
mod headers;
mod hearing;
mod json;
mod playback;
pub mod response;
pub mod script;
mod send_keys;
pub mod service_desk;
mod settings;
mod timing;
mod turns;
pub mod words;

pub use choice::{Choice, choose};
pub use context::extract_headers;
pub use contract::{Act, Event, Failure};
pub use conversation::Talk;
pub use playback::Ending;
pub use settings::{PhoneFacts, TalkSettings};
pub use words::{Entry, Reply, SpeechEvent, Turn, TurnCause, TurnTimes, Who};
