//! All that a call can ask of the rim. Nothing else leaves the machine but tracing events.

use crate::base::{ContactId, PlayId, Recording, SessionKey, Tone};
pub use crate::sip::leg::LegCommand;
pub use crate::talk::words::{Entry, Turn, TurnCause, TurnTimes, Who};
use std::time::Duration;

/// One thing to do. In order. `Debug` shows no words.
#[derive(Clone)]
pub enum Output {
    /// To the SIP leg.
    Leg(LegCommand),
    /// Media is agreed: send and receive by `media::sdp::Negotiated` from now on (again after a re-INVITE). At the answer `send` is
    /// false; it comes again with what was agreed when the peer's ACK or RTP is here.
    MediaAgreed(crate::media::sdp::Negotiated),
    /// Open the Speech to Text stream (once, with the peer's ACK or RTP).
    Listen,
    /// Open a Text to Speech request for `play` and queue its audio for playback, after whatever is queued before it.
    Speak {
        /// Names it in `SpeakStarted`, `PlayStarted`, `PlayFinished`.
        play: PlayId,
        /// Plain text or SSML.
        text: String,
        /// Whether media stops it at a key by itself; the `StopSpeaking` that the key leads to comes later.
        keys_stop: bool,
    },
    /// Stop every prompt that plays or is queued, cancel their Text to Speech requests.
    StopSpeaking,
    /// Send these keys, one after the other.
    Press(Vec<Tone>),
    /// Keep what is said in the recording, or not.
    Keep(Recording),
    /// Send a turn to the assistant. An older turn in flight is superseded: its answer is stale.
    Ask(Turn),
    /// Delete the assistant session.
    EndAssistant,
    /// Append to the history.
    Record(Entry),
    /// Make the history durable, then say `HistoryCommitted` or `HistoryFailed`.
    CommitHistory,
    /// Signal the contact, with the retry rules of its purpose, then say `Signalled`.
    Signal(SignalOrder),
    /// A turn's stages, once its first packet left.
    Timed(TurnTimes),
    /// Playback stopped because the caller spoke or pressed a key; from hypothesis to stop order is zero here, the rim measures the rest.
    BargedIn,
    /// The call is over; nothing more comes. Last output.
    Ended(Summary),
}

/// Why CXone is signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To an agent: p1 = session key. Not safe to repeat.
    Transfer,
    /// End the contact: p1 = hangup. Harmless to repeat.
    Hangup,
}

impl Purpose {
    /// Label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Hangup => "hangup",
        }
    }
}

/// *Signal a contact* (CXone facts 1.3).
#[derive(Clone)]
pub struct SignalOrder {
    /// Whom.
    pub contact_id: ContactId,
    /// Why: decides the retry rules.
    pub purpose: Purpose,
    /// `("p1", …)` to `("p9", …)`, unencoded, in order. Secret in logs.
    pub parameters: Vec<(String, String)>,
}

impl std::fmt::Debug for SignalOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.parameters.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("SignalOrder")
            .field("contact_id", &self.contact_id)
            .field("purpose", &self.purpose)
            .field("parameters", &names)
            .finish()
    }
}

/// How the call ended, for the CDR, metrics and the log.
#[derive(Clone, Debug)]
pub struct Summary {
    /// IBM's reason.
    pub end_reason: EndReason,
    /// What exactly happened, for people: "assistant did not answer turn 3: assistant timeout: …".
    pub cause: String,
    /// Whether the 200 was ever sent.
    pub answered: bool,
    /// INVITE to end.
    pub elapsed: Duration,
    /// INVITE to 200.
    pub setup: Option<Duration>,
    /// Number of assistant turns.
    pub turns: u32,
    /// The key of its history, where it was answered.
    pub session_key: SessionKey,
    /// The contact.
    pub contact_id: Option<ContactId>,
}

/// IBM's `end_reason` (Watson facts 1.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Signalled to an agent; by BYE in a call that is let talk without a contact id.
    AssistantTransfer,
    /// Signalled hangup; by BYE in a call that is let talk without a contact id.
    AssistantHangup,
    /// BYE or CANCEL from the peer while talking.
    CallerHangup,
    /// Anything that failed, on our side or a service's.
    Failed,
}

impl EndReason {
    /// Label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AssistantTransfer => "assistant_transfer",
            Self::AssistantHangup => "assistant_hangup",
            Self::CallerHangup => "caller_hangup",
            Self::Failed => "failed",
        }
    }

    /// The reason with this label.
    #[must_use]
    pub fn parse(label: &str) -> Option<Self> {
        [Self::AssistantTransfer, Self::AssistantHangup, Self::CallerHangup, Self::Failed]
            .into_iter()
            .find(|reason| reason.as_str() == label)
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Leg(command) => f.debug_tuple("Leg").field(command).finish(),
            Self::MediaAgreed(agreed) => f.debug_tuple("MediaAgreed").field(agreed).finish(),
            Self::Listen => f.write_str("Listen"),
            Self::Speak { play, text, .. } => {
                f.debug_struct("Speak").field("play", play).field("bytes", &text.len()).finish_non_exhaustive()
            }
            Self::StopSpeaking => f.write_str("StopSpeaking"),
            Self::Keep(recording) => f.debug_tuple("Keep").field(recording).finish(),
            Self::Press(tones) => write!(f, "Press {}", tones.len()),
            Self::Ask(turn) => f.debug_tuple("Ask").field(turn).finish(),
            Self::EndAssistant => f.write_str("EndAssistant"),
            Self::Record(entry) => f.debug_tuple("Record").field(entry).finish(),
            Self::CommitHistory => f.write_str("CommitHistory"),
            Self::Signal(order) => f.debug_tuple("Signal").field(order).finish(),
            Self::Timed(times) => f.debug_tuple("Timed").field(times).finish(),
            Self::BargedIn => f.write_str("BargedIn"),
            Self::Ended(summary) => f.debug_tuple("Ended").field(summary).finish(),
        }
    }
}
