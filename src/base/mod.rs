//! What every layer may know: time as a value, deadlines, ids, who is to blame, metric names. Imports nothing of the crate.

pub mod clock;
pub mod deadlines;
pub mod fault;
pub mod ids;
pub mod metric;
pub mod recording;
pub mod time;
pub mod tone;

pub use deadlines::Deadlines;
pub use fault::{Fault, FaultKind, Service};
pub use ids::{CallId, ContactId, PlayId, SessionKey, TurnId};
pub use recording::Recording;
pub use time::Now;
pub use tone::Tone;
