//! A conversation in words: what happened in it moment by moment, and what is known of it afterwards.

use crate::call::output::TurnTimes;
use crate::media::Statistics;
use crate::sandbox::cxone::Signal;
use crate::sandbox::script::{Action, Cause, Outcome};
use std::time::Duration;

/// Something that happened, so long after the INVITE.
#[derive(Clone, Debug)]
pub enum Moment {
    /// The script ran an action of Studio.
    Studio(Duration, Action),
    /// The gateway rings.
    Ringing(Duration),
    /// The gateway answered, with the session key in its 200.
    Answered(Duration, Option<String>),
    /// The gateway refused the call.
    Refused(Duration, u16, String),
    /// The assistant has something said.
    Assistant(Duration, String),
    /// The caller begins to say this.
    Caller(Duration, String),
    /// What the recogniser made of the caller's voice.
    Recognised(Duration, String),
    /// The stages of a turn.
    Turn(Duration, TurnTimes),
    /// CXone was signalled.
    Signalled(Duration, Signal),
    /// The caller waits for an agent.
    Queued(Duration, Cause),
    /// The agent's screen opens a page.
    PopUrl(Duration, String),
    /// The gateway hung up.
    ByeReceived(Duration),
    /// We hung up.
    ByeSent(Duration),
    /// Nothing happened for too long: the caller gives up.
    GaveUp(Duration, String),
    /// The script ended.
    Ended(Duration, Outcome),
    /// How loud the two sides have been for a tenth of a second.
    Loudness {
        /// When.
        at: Duration,
        /// The caller's side, as the mean square of its loudest 20 ms.
        caller: u32,
        /// The assistant's.
        assistant: u32,
    },
}

/// What is known of a conversation that was held.
#[derive(Clone, Debug, Default)]
pub struct Performance {
    /// The contact that was placed.
    pub contact_id: String,
    /// From the 200 OK.
    pub session_key: Option<String>,
    /// What the recogniser made of each utterance, in order.
    pub recognised: Vec<String>,
    /// What the assistant was given to answer, in order.
    pub understood: Vec<String>,
    /// What the assistant had said, in order.
    pub assistant: Vec<String>,
    /// What the caller heard before, between and after its own lines, as µ-law of 8 kHz.
    pub heard: Vec<Vec<u8>>,
    /// Lines that the caller has said.
    pub said: usize,
    /// Every signal.
    pub signals: Vec<Signal>,
    /// The page that the agent's screen opened.
    pub pop_url: Option<String>,
    /// How the script ended.
    pub outcome: Option<Outcome>,
    /// Whether the gateway hung up, and not the script.
    pub bye_received: bool,
    /// The stages of each turn.
    pub turns: Vec<TurnTimes>,
    /// Why the caller gave up, where it did.
    pub gave_up: Option<String>,
    /// What Studio's script did.
    pub actions: Vec<Action>,
    /// Figures of the phone's media.
    pub statistics: Option<Statistics>,
    /// From the INVITE to the end.
    pub elapsed: Duration,
}
