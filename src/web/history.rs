//! A conversation as the agent's page and its JSON show it, and where it is asked for.

use super::Pending;
use crate::call::output::{EndReason, Who};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Where conversations are found by their session history key.
pub trait Histories: Send + Sync + 'static {
    /// The conversation of `key`; `None` when there is none or it has expired. The key is well formed.
    fn load<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Option<Conversation>, HistoryUnavailable>>;

    /// Changes whenever the conversation of `key` does, while its call lives in this process. The number means nothing:
    /// after every change the page's feed loads the conversation again and sends what is new.
    fn watch(&self, key: &str) -> Option<watch::Receiver<u64>>;
}

/// The history cannot be asked now; the details are the log's matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history store does not answer")]
pub struct HistoryUnavailable;

/// One call with its transcript.
#[derive(Clone)]
pub struct Conversation {
    /// SIP Call-ID.
    pub call_id: String,
    /// CXone contact id, where the call had one.
    pub contact_id: Option<String>,
    /// The caller's number; `None` when withheld.
    pub caller_number: Option<String>,
    /// The number that was called.
    pub called_number: String,
    /// When the INVITE came.
    pub started: SystemTime,
    /// When it was answered.
    pub answered: Option<SystemTime>,
    /// When it ended; `None` while it goes on.
    pub ended: Option<SystemTime>,
    /// How it ends; known before `ended` once a signal is on its way.
    pub end_reason: Option<EndReason>,
    /// Why the call came to an agent: the transfer's message, or what failed.
    pub why: Option<String>,
    /// What the assistant sent along: `("p2", …)` to `("p9", …)`, in order.
    pub custom_data: Vec<(String, String)>,
    /// What was said, pressed and done, in order of `seq`.
    pub lines: Vec<Line>,
}

/// One line of the transcript.
#[derive(Clone)]
pub struct Line {
    /// Its number within the call, rising.
    pub seq: u64,
    /// When.
    pub at: SystemTime,
    /// Whose.
    pub who: Who,
    /// What.
    pub text: String,
}

/// What the call is doing, in one word for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Live,
    Leaving,
    Ended,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Leaving => "leaving",
            Self::Ended => "ended",
        }
    }
}

impl Conversation {
    pub(super) fn state(&self) -> State {
        match (self.ended, self.end_reason) {
            (Some(_), _) => State::Ended,
            (None, Some(_)) => State::Leaving,
            (None, None) => State::Live,
        }
    }

    /// What the call is doing, for people.
    pub(super) fn state_label(&self) -> &'static str {
        match (self.state(), self.end_reason) {
            (State::Live, _) => "Call in progress",
            (State::Leaving, Some(EndReason::AssistantTransfer)) => "Transferring to an agent",
            (State::Leaving, _) => "Ending",
            (State::Ended, Some(EndReason::AssistantTransfer)) => "Transferred to an agent",
            (State::Ended, Some(EndReason::AssistantHangup)) => "Ended by the assistant",
            (State::Ended, Some(EndReason::CallerHangup)) => "Caller hung up",
            (State::Ended, Some(EndReason::Failed)) => "Ended by a problem",
            (State::Ended, None) => "Call ended",
        }
    }

    /// The title of `why`.
    pub(super) fn why_label(&self) -> &'static str {
        match self.end_reason {
            Some(EndReason::Failed) => "The assistant could not go on",
            Some(EndReason::AssistantTransfer) | None => "The assistant transferred this call",
            Some(EndReason::AssistantHangup | EndReason::CallerHangup) => "How this call ended",
        }
    }

    /// Where offsets count from: the answer, or the INVITE.
    pub(super) fn zero(&self) -> SystemTime {
        self.answered.unwrap_or(self.started)
    }

    /// From the answer to the end.
    pub(super) fn length(&self) -> Option<Duration> {
        self.ended.map(|ended| ended.duration_since(self.zero()).unwrap_or_default())
    }

    /// All but the lines.
    pub(super) fn head_json(&self) -> Value {
        let time = |at: SystemTime| rfc3339(at);
        json!({
            "call_id": self.call_id,
            "contact_id": self.contact_id,
            "caller_number": self.caller_number,
            "called_number": self.called_number,
            "state": self.state().as_str(),
            "state_label": self.state_label(),
            "started": time(self.started),
            "answered": self.answered.map(time),
            "ended": self.ended.map(time),
            "milliseconds_elapsed": self.length().map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
            "end_reason": self.end_reason.map(EndReason::as_str),
            "why": self.why,
            "why_label": self.why_label(),
            "custom_data": self.custom_data.iter().map(|(key, value)| json!({"key": key, "value": value})).collect::<Value>(),
        })
    }

    /// One line.
    pub(super) fn line_json(&self, line: &Line) -> Value {
        json!({
            "seq": line.seq,
            "at": rfc3339(line.at),
            "offset": clock(self.offset(line)),
            "who": line.who.as_str(),
            "text": line.text,
        })
    }

    /// Everything.
    pub(super) fn json(&self) -> Value {
        let mut whole = self.head_json();
        if let Some(object) = whole.as_object_mut() {
            object.insert("entries".to_owned(), self.lines.iter().map(|line| self.line_json(line)).collect());
        }
        whole
    }

    /// How far into the call a line was said.
    pub(super) fn offset(&self, line: &Line) -> Duration {
        line.at.duration_since(self.zero()).unwrap_or_default()
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn rfc3339(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map(|timestamp| format!("{timestamp:.3}")).unwrap_or_default()
}

/// `m:ss`, or `h:mm:ss` from an hour on.
pub(super) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_and_machines_want_them() {
        assert_eq!(clock(Duration::from_millis(7_999)), "0:07");
        assert_eq!(clock(Duration::from_secs(3_725)), "1:02:05");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(1_234)), "1970-01-01T00:00:01.234Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}
