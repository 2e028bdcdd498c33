//! What the admin endpoints ask of the running gateway.

use super::Pending;
use super::history::rfc3339;
use crate::call::output::EndReason;
use serde_json::{Value, json};
use std::time::SystemTime;

/// The calls of this process.
pub trait Calls: Send + Sync + 'static {
    /// Live calls and recent ones, newest first.
    fn list(&self) -> Vec<CallView>;
    /// One of them by its SIP Call-ID.
    fn find(&self, call_id: &str) -> Option<CallView>;
    /// The figures up to now of a live call.
    fn figures<'a>(&'a self, call_id: &'a str) -> Pending<'a, Option<Value>>;
    /// The SIP messages of a live or recent call, or of an INVITE that was refused and became none.
    fn ladder(&self, call_id: &str) -> Option<LadderView>;
    /// Number of live calls.
    fn active(&self) -> usize;
    /// Whether new calls are refused.
    fn is_draining(&self) -> bool;
    /// Refuse new calls from now on; running ones go on. Asked twice, nothing more happens.
    fn drain(&self);
    /// End one call by the error path.
    fn hangup(&self, call_id: &str) -> HangupOrder;
}

/// What became of an order to hang up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangupOrder {
    /// The call was told.
    Ordered,
    /// The call is over already.
    AlreadyEnded,
    /// No such call.
    Unknown,
}

/// Whether traffic should come here.
pub trait Readiness: Send + Sync + 'static {
    /// Why not ("starting", "draining", "history store: …"); empty when ready.
    fn not_ready(&self) -> Vec<String>;
}

/// One call as the admin endpoints show it.
#[derive(Clone)]
pub struct CallView {
    /// SIP Call-ID.
    pub call_id: String,
    /// First eight characters of the session key.
    pub session_key: String,
    /// Tenant that answered.
    pub tenant: String,
    /// CXone contact id.
    pub contact_id: Option<String>,
    /// The caller's number; `None` when withheld.
    pub caller_number: Option<String>,
    /// The number that was called.
    pub called_number: String,
    /// What it is doing now, in one word: `ringing`, `talking`, `signalling`, `ended`…
    pub state: String,
    /// When the INVITE came.
    pub started: SystemTime,
    /// When it was answered.
    pub answered: Option<SystemTime>,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// How it ended.
    pub end_reason: Option<EndReason>,
    /// What exactly happened, for people.
    pub cause: Option<String>,
    /// Turns with the assistant so far.
    pub turns: u32,
    /// Of its media and its turns, once it has ended: `Calls::figures` asks a live one.
    pub figures: Option<Value>,
}

/// The SIP messages of one Call-ID, without secrets and, by default, without numbers.
#[derive(Clone, Debug)]
pub struct LadderView {
    /// The last final answer to an INVITE.
    pub code: Option<u16>,
    /// The messages, as JSON objects in an array.
    pub messages: Value,
    /// The same as text.
    pub text: String,
}

impl CallView {
    pub(super) fn json(&self) -> Value {
        json!({
            "call_id": self.call_id,
            "session_key": self.session_key.get(..8).unwrap_or(&self.session_key),
            "tenant": self.tenant,
            "contact_id": self.contact_id,
            "caller_number": self.caller_number,
            "called_number": self.called_number,
            "live": self.ended.is_none(),
            "state": self.state,
            "started": rfc3339(self.started),
            "answered": self.answered.map(rfc3339),
            "ended": self.ended.map(rfc3339),
            "end_reason": self.end_reason.map(EndReason::as_str),
            "cause": self.cause,
            "turns": self.turns,
            "figures": self.figures,
        })
    }
}

impl LadderView {
    /// Of an INVITE that is among neither the live nor the recent calls.
    pub(super) fn json(&self, call_id: &str) -> Value {
        let state = if self.code.is_some_and(|code| code < 300) { "ended" } else { "refused" };
        json!({"call_id": call_id, "live": false, "state": state, "code": self.code, "ladder": self.messages})
    }
}
