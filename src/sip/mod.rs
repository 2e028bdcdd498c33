//! SIP as a pure machine: messages, transactions, dialogs, admission (RFC 3261).
//!
//! [`Endpoint`] is the whole of it: bytes with the flow they came on go in, bytes with the flow they leave on come out, and
//! between them INVITEs and leg events for the calls. It never touches a socket or a clock (`net::sip` does), needs no DNS to
//! answer a call, and nothing a peer sends is an error of ours: it is an answer, a counter or nothing.
//!
//! Left out on purpose, for whoever needs it: proxying, registration, forking and DNS (RFC 3263).

mod admission;
mod agenda;
mod dialog;
pub mod digest;
pub mod endpoint;
mod entropy;
pub mod ladder;
pub mod leg;
pub mod message;
mod rate;
mod recent;
mod session_timer;
pub mod settings;
mod sources;
mod stun;
mod transaction;
pub mod transport;

pub(crate) use admission::STRANGERS;
pub use digest::{Algorithm, Credentials};
pub use endpoint::{Endpoint, Input, Output};
pub use leg::{Dial, DialEvent, HeaderPlace, Invite, LegCommand, LegEvent, LegId, Refer, Referral};
pub use settings::{Digest, RequiredHeader, Settings, Timing};
pub(crate) use sources::{Bucket, Grant, Sources, source_of};
pub use transport::{Flow, Transport};
