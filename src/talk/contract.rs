//! The whole contract of a conversation with the call that drives it: what happens to it, what it wants done, why it cannot go on.

use super::playback::Ending;
use super::words::{Entry, Reply, SpeechEvent, Turn, TurnTimes};
use crate::base::{Fault, PlayId, Recording, Tone, TurnId};
use std::time::Instant;

/// What can happen to a conversation.
#[derive(Clone, Debug)]
pub enum Event {
    /// The instant that the last step asked for has come.
    Tick,
    /// The call is answered: greet.
    Start,
    /// What is sent will be heard: the ACK or the first packet of the caller is here.
    Open,
    /// We may not send (true), or may again (false).
    Hold(bool),
    /// Speech to Text spoke.
    Speech(SpeechEvent),
    /// The caller pressed a key.
    Digit(char),
    /// Text to Speech delivered the first audio.
    SpeakStarted(PlayId),
    /// Text to Speech failed.
    SpeakFailed(PlayId, Fault),
    /// A prompt's first packet left.
    PlayStarted {
        /// Which prompt.
        play: PlayId,
        /// When.
        at: Instant,
        /// When the caller was last heard before.
        last_voiced: Option<Instant>,
    },
    /// The first packet of a prompt in which somebody speaks left: how much silence a voice begins with is a part of its turn.
    PlayVoiced {
        /// Which prompt.
        play: PlayId,
        /// When.
        at: Instant,
    },
    /// A prompt is over.
    PlayFinished {
        /// Which prompt.
        play: PlayId,
        /// Milliseconds sent.
        sent_ms: u32,
        /// False when stopped before its end.
        complete: bool,
    },
    /// The assistant answered.
    Reply(TurnId, Reply),
    /// The assistant did not answer.
    ReplyFailed(TurnId, Fault),
    /// The transfer that ended the conversation failed: go on, and tell the assistant. Fails where recognition was lost meanwhile.
    TransferFailed,
    /// Say no more of what is left before the ending that waits.
    Hasten,
    /// Say this in the gateway's own name, then `Act::Announced`; the conversation is over.
    Announce(String),
    /// Say and hear nothing more.
    Silence,
}

/// What a conversation wants done, in order.
#[derive(Clone, Debug)]
pub enum Act {
    /// Speak a prompt behind those ordered before.
    Speak {
        /// Names it.
        play: PlayId,
        /// Plain text or SSML.
        text: String,
        /// Whether any key stops it, as it does while the conversation goes on.
        keys_stop: bool,
    },
    /// Stop all that is spoken.
    StopSpeaking,
    /// Send keys; nothing is spoken until they are sent.
    Press(Vec<Tone>),
    /// Keep what is said in the recording, or not.
    Keep(Recording),
    /// Ask the assistant.
    Ask(Turn),
    /// A line of the transcript.
    Record(Entry),
    /// A turn's stages.
    Timed(TurnTimes),
    /// The caller interrupted.
    BargedIn,
    /// The assistant ends the conversation; all before it has been spoken. The conversation is silent from here on.
    End(Ending),
    /// The announcement is over, heard or not.
    Announced,
    /// The conversation cannot go on. It is silent from here on, but may announce.
    Failed(Failure),
}

/// Why a conversation cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The assistant did not answer this turn.
    Assistant(TurnId, Fault),
    /// Nothing can be said any more.
    TextToSpeech(Fault),
    /// Nothing can be heard any more.
    SpeechToText(Fault),
}
