//! One call as a pure machine: SIP leg, media and conversation joined, and how it ends. `input.rs` and `output.rs` are the
//! whole contract with the rim.

mod apology;
mod closing;
pub mod contact;
pub mod ending;
pub mod input;
mod keys;
mod leg;
mod machine;
pub mod negotiation;
pub mod output;
mod referring;
mod settings;
mod signalling;
mod transfer;

pub use contact::{ContactRule, MissingContact, NoContact};
pub use ending::Cause;
pub use input::{Input, Invite, LegEvent, MediaEvent, SpeechEvent};
pub use machine::Call;
pub use negotiation::{Negotiation, Refusal};
pub use output::{LegCommand, Output};
pub use settings::{CallFacts, CallSettings};
pub use transfer::TRANSFER_NOTE;
