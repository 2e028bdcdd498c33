//! All that can happen to a call, from any edge. The rim turns what sockets and services do into these.

use crate::base::{Fault, PlayId, TurnId};
pub use crate::sip::leg::{Invite, LegEvent};
pub use crate::talk::words::{Reply, SpeechEvent};
use std::time::Instant;

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

/// What the media session tells.
#[derive(Clone, Debug)]
pub enum MediaEvent {
    /// The first RTP packet of the caller arrived.
    FirstPacket,
    /// A telephone-event key began (RFC 4733), told once.
    Digit(char),
    /// A key was heard as sound.
    InBandDigit(char),
    /// The first packet of `play` left at `at`; `last_voiced` is when the last voiced packet came in before it.
    PlayStarted {
        /// Which prompt.
        play: PlayId,
        /// When its first packet was sent.
        at: Instant,
        /// The last voiced packet received before.
        last_voiced: Option<Instant>,
    },
    /// The first packet of `play` in which somebody speaks left: how much silence a voice begins with is a part of its turn.
    PlayVoiced {
        /// Which prompt.
        play: PlayId,
        /// When.
        at: Instant,
    },
    /// The last sample of `play` was sent, or it was stopped.
    PlayFinished {
        /// Which prompt.
        play: PlayId,
        /// Milliseconds of it that were sent.
        sent_ms: u32,
        /// False when it was stopped before its end.
        complete: bool,
    },
    /// No RTP for `media.rtp_timeout`.
    Timeout,
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
