//! Transactions (RFC 3261 section 17, RFC 6026): retransmission and its end, below dialogs and calls.

mod client;
mod server;
mod table;

pub(crate) use client::{ClientTransaction, ClientVerdict};
pub(crate) use server::{Answered, ServerTransaction};
pub(crate) use table::Table;

/// What a transaction wants when one of its timers has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// Send its last message again.
    Resend,
    /// Its time is over without what it waited for.
    TimedOut,
    /// It is done and can be forgotten.
    Done,
}
