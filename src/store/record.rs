//! What is written and what is read back. `Debug` shows neither numbers nor words.

use crate::base::{CallId, ContactId, SessionKey};
use crate::call::output::SignalOrder;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

/// A call as its history begins.
#[derive(Clone)]
pub struct CallRecord {
    /// Key of the history.
    pub session_key: SessionKey,
    /// Call-ID.
    pub call_id: CallId,
    /// The contact.
    pub contact_id: Option<ContactId>,
    /// The caller's number, empty when withheld.
    pub caller_number: String,
    /// The dialled number.
    pub called_number: String,
    /// Tenant, where there are several.
    pub tenant: Option<String>,
    /// When the INVITE came.
    pub started_at: SystemTime,
}

/// A call and what was said in it: the JSON of `GET /v1/history/{KEY}`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Conversation {
    /// Call-ID.
    pub call_id: String,
    /// The contact.
    pub contact_id: Option<String>,
    /// The caller's number, empty when withheld.
    pub caller_number: String,
    /// The dialled number.
    pub called_number: String,
    /// Tenant, where there are several.
    pub tenant: Option<String>,
    /// When the INVITE came.
    pub started_at: Timestamp,
    /// When the 200 was sent; known at the end of the call.
    pub answered_at: Option<Timestamp>,
    /// When it was over; `None` while it goes on.
    pub ended_at: Option<Timestamp>,
    /// IBM's reason.
    pub end_reason: Option<String>,
    /// What exactly happened, for people.
    pub cause: Option<String>,
    /// Assistant turns.
    pub turns: Option<u32>,
    /// Of its media and its turns; known at the end of the call.
    pub figures: Option<serde_json::Value>,
    /// Signals to CXone, in order.
    pub signals: Vec<SignalSeen>,
    /// The transcript, in order.
    pub entries: Vec<Line>,
}

/// A signal of a conversation, without its `p1`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct SignalSeen {
    /// `transfer` or `hangup`.
    pub purpose: String,
    /// `ordered`, `accepted`, `ambiguous` or `failed`.
    pub state: String,
    /// When it was ordered.
    pub ordered_at: Timestamp,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
    /// `p2` to `p9`.
    pub custom_data: BTreeMap<String, String>,
    /// What went wrong, where it did.
    pub detail: Option<String>,
}

/// A line of the transcript.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Counts from 1 within the call.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// `caller`, `caller_keys`, `assistant` or `gateway`.
    pub who: String,
    /// What was said, pressed or happened.
    pub text: String,
}

/// A signal that was ordered and never settled.
#[derive(Clone, Debug)]
pub struct Unsettled {
    /// Its row.
    pub id: SignalId,
    /// The call it belongs to.
    pub call_id: CallId,
    /// The order as it was.
    pub order: SignalOrder,
    /// When it was ordered.
    pub ordered_at: Timestamp,
}

/// Names a signal in the ledger: a UUID v7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalId(uuid::Uuid);

impl SignalId {
    /// A new one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another, so there is no default")]
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for SignalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallRecord").field("session_key", &self.session_key).field("call_id", &self.call_id).finish()
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("call_id", &self.call_id)
            .field("end_reason", &self.end_reason)
            .field("entries", &self.entries.len())
            .finish()
    }
}

impl fmt::Debug for SignalSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalSeen").field("purpose", &self.purpose).field("state", &self.state).finish()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("seq", &self.seq).field("who", &self.who).finish()
    }
}

/// What stands for a session key in the store: who reads the file, or a backup of it, cannot open a page with it, and
/// looking it up takes the same time for near misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyHash([u8; 32]);

impl KeyHash {
    pub(super) fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Microseconds since 1970; times outside of jiff's ten thousand years are that.
pub(super) fn micros(at: SystemTime) -> i64 {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH).as_microsecond()
}

/// Back again.
pub(super) fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}
