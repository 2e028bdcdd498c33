//! The words that the conversation shares with the rim: turns, replies, what was heard, transcript lines, stage times.

use crate::base::{Fault, TurnId};
use std::fmt;
use std::time::{Duration, SystemTime};

/// What Speech to Text tells. `Debug` shows no words.
#[derive(Clone)]
pub enum SpeechEvent {
    /// `{"state":"listening"}` after start.
    Listening,
    /// Speech began (`speech_begin_event`).
    Began,
    /// A hypothesis: interim, or final.
    Hypothesis {
        /// Best alternative, trimmed.
        transcript: String,
        /// Whether it is final.
        is_final: bool,
        /// Only finals carry one.
        confidence: Option<f64>,
        /// The whole message, for `speech_to_text_result`. Only with finals.
        raw: Option<serde_json::Value>,
    },
    /// The socket dropped; it is being opened again and the audio since the last final result sent again.
    Reconnecting(Fault),
    /// Recognition is lost for this call.
    Failed(Fault),
}

/// The assistant's answer to one turn. `Debug` shows no words.
#[derive(Clone, Default)]
pub struct Reply {
    /// `output.generic`, as it came.
    pub generic: Vec<serde_json::Value>,
    /// `context`, with `return_context`.
    pub context: Option<serde_json::Value>,
    /// Time the service took, for the turn's stages.
    pub took: Duration,
}

/// One assistant turn: what goes into `input` and `context` (facts 1.8). `Debug` shows no words.
#[derive(Clone)]
pub struct Turn {
    /// Names it in `Reply`.
    pub id: TurnId,
    /// What caused it.
    pub cause: TurnCause,
    /// `input.text`, without CR, LF, TAB.
    pub text: String,
    /// `input.integrations.voice_telephony`.
    pub input_integration: serde_json::Value,
    /// The whole `context` to send: what the last answer returned with our values put in.
    pub context: serde_json::Value,
    /// `user_id`: the caller's number, empty when withheld.
    pub user_id: String,
    /// The chosen `value.input` of an option or a suggestion, whole: its members other than `text` (`intents`, `suggestion_id`) go
    /// into `input` as they are.
    pub selection: Option<serde_json::Value>,
}

/// What caused a turn: the `input` label of `turns_total`, and the CDR's request type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnCause {
    /// The greeting turn, empty text.
    Start,
    /// A final transcript.
    SpeechToText,
    /// A key or collected keys.
    Dtmf,
    /// `vgwPostResponseTimeout`.
    PostResponseTimeout,
    /// `vgwFinalUtteranceTimeout`.
    FinalUtteranceTimeout,
    /// `vgwNoInputTurn`.
    NoInputTurn,
    /// `vgwCallTransferFailed`.
    TransferFailed,
}

impl TurnCause {
    /// Label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::SpeechToText => "speech_to_text",
            Self::Dtmf => "dtmf",
            Self::PostResponseTimeout => "post_response_timeout",
            Self::FinalUtteranceTimeout => "final_utterance_timeout",
            Self::NoInputTurn => "no_input_turn",
            Self::TransferFailed => "transfer_failed",
        }
    }
}

/// One line of the transcript. `Debug` shows no words.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub who: Who,
    /// When, by the wall clock.
    pub at: SystemTime,
    /// What was said, pressed or happened.
    pub text: String,
}

/// Whose line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The caller's words (final transcripts).
    Caller,
    /// The caller's keys.
    CallerKeys,
    /// The assistant's words, when they begin to play.
    Assistant,
    /// What the gateway did (answered, transferred because…, failed because…).
    Gateway,
}

impl Who {
    /// Stored and served form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::CallerKeys => "caller_keys",
            Self::Assistant => "assistant",
            Self::Gateway => "gateway",
        }
    }

    /// Whose line a stored form means.
    #[must_use]
    pub fn parse(stored: &str) -> Option<Self> {
        [Self::Caller, Self::CallerKeys, Self::Assistant, Self::Gateway].into_iter().find(|who| who.as_str() == stored)
    }
}

/// Stages of one turn. Those that it had add up to `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnTimes {
    /// Which turn.
    pub turn: TurnId,
    /// What caused it.
    pub cause: TurnCause,
    /// The silence that the recogniser was told to wait for after the last voiced packet; none for turns without speech.
    pub end_pointing: Option<Duration>,
    /// The rest of the time from the last voiced packet in to the final result, the way there and back included.
    pub speech_to_text: Option<Duration>,
    /// The service's own time.
    pub assistant: Duration,
    /// What the reply waited for an ACK or on hold: nobody's share.
    pub waited: Duration,
    /// Speak ordered to first audio from the service.
    pub text_to_speech: Duration,
    /// The gateway's own share.
    pub gateway: Duration,
    /// Last voiced packet in (or the cause of the turn) to first packet out.
    pub total: Duration,
}

impl TurnTimes {
    /// The stages that the turn had, as labels with what they took; they add up to `total`.
    pub fn stages(&self) -> impl Iterator<Item = (&'static str, Duration)> + use<> {
        [
            ("end_pointing", self.end_pointing),
            ("speech_to_text", self.speech_to_text),
            ("assistant", Some(self.assistant)),
            ("waiting", Some(self.waited).filter(|waited| !waited.is_zero())),
            ("text_to_speech", Some(self.text_to_speech)),
            ("gateway", Some(self.gateway)),
        ]
        .into_iter()
        .filter_map(|(stage, took)| Some((stage, took?)))
    }
}

impl fmt::Debug for SpeechEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening => f.write_str("Listening"),
            Self::Began => f.write_str("Began"),
            Self::Hypothesis { transcript, is_final, confidence, .. } => f
                .debug_struct("Hypothesis")
                .field("bytes", &transcript.len())
                .field("is_final", is_final)
                .field("confidence", confidence)
                .finish_non_exhaustive(),
            Self::Reconnecting(fault) => f.debug_tuple("Reconnecting").field(fault).finish(),
            Self::Failed(fault) => f.debug_tuple("Failed").field(fault).finish(),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("items", &self.generic.len()).field("took", &self.took).finish_non_exhaustive()
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("id", &self.id).field("cause", &self.cause).finish_non_exhaustive()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("who", &self.who).field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}
