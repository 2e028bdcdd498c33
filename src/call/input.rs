//! All that can happen to a call, from any edge. The rim turns what sockets and services do into these.

use crate::base::{Fault, PlayId, TurnId};
pub use crate::media::Event as MediaEvent;
pub use crate::sip::leg::{Invite, LegEvent};
pub use crate::talk::words::{Reply, SpeechEvent};

/// One thing that happened. Fed to `Call::step` with the time it happened at.
#[derive(Clone, Debug)]
pub enum Input {
    /// The instant that the last step asked for has come.
    Tick,
    /// The SIP leg spoke.
    Leg(LegEvent),
    /// The media session spoke.
    Media(MediaEvent),
    /// Speech to Text spoke.
    Speech(SpeechEvent),
    /// Text to Speech delivered the first audio of `play`.
    SpeakStarted(PlayId),
    /// Text to Speech failed for `play`; what it had delivered still plays.
    SpeakFailed(PlayId, Fault),
    /// The assistant answered turn `TurnId`.
    Reply(TurnId, Reply),
    /// The assistant did not answer turn `TurnId` (after its one retry).
    ReplyFailed(TurnId, Fault),
    /// The history up to now is durable: the agent's page can be opened.
    HistoryCommitted,
    /// The history store refused.
    HistoryFailed(Fault),
    /// The ordered signal has come to its end.
    Signalled(SignalOutcome),
    /// The operator ends this call (admin endpoint, or the drain deadline): the error path.
    EndNow(EndNow),
}

/// Why the rim orders an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndNow {
    /// `POST /v1/calls/{call_id}/hangup`.
    Operator,
    /// The process drains and its deadline has come.
    Drain,
    /// A queue of the call that may not lose anything was full.
    Overload,
}

/// How a signal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalOutcome {
    /// A 2xx: CXone has it.
    Accepted,
    /// It may or may not have reached CXone (read timeout or reset after sending) and is not repeated.
    Ambiguous(Fault),
    /// 404 or 410: the contact is gone.
    ContactGone(Fault),
    /// Refused, or unreachable within the budget: CXone does not have it.
    Failed(Fault),
}
