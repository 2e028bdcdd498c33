//! Turns of the assistant: asked, answered, superseded, unanswered (house section 5: one in flight, newer input supersedes).

use super::contract::{Act, Failure};
use super::conversation::{InFlight, Mode, Talk, Timer};
use super::playback::{Ending, Words};
use super::response::{BargeIn, Command, Target, Transfer, parse};
use super::timing::Timing;
use super::words::{Reply, Turn, TurnCause, Who};
use crate::base::{Fault, Now, TurnId, metric};
use serde_json::{Value, json};
use std::time::Duration;

impl Talk {
    /// Sends a turn; one in flight is superseded.
    pub(super) fn ask(
        &mut self,
        now: Now,
        cause: TurnCause,
        text: &str,
        speech: Option<Value>,
        selection: Option<Value>,
        out: &mut Vec<Act>,
    ) {
        if let Some(older) = self.in_flight.take() {
            tracing::debug!(turn = older.id.0, "turn superseded");
        }
        self.turns += 1;
        let id = TurnId(self.turns);
        tracing::info!(event = "turn", turn = id.0, input = cause.as_str(), "asking the assistant");
        let input_integration = self.input(cause, speech);
        self.barged_in = false;
        self.timers.stop(Timer::PostResponse);
        self.timers.stop(Timer::FinalUtterance);
        self.timers.set(Timer::Turn, now.at + self.context.turn_limit(&self.settings));
        self.in_flight = Some(InFlight { id, cause, caused: now.at });
        out.push(Act::Ask(Turn {
            id,
            cause,
            text: one_line(text),
            input_integration,
            context: self.context.for_turn(cause),
            user_id: self.context.user_id().to_owned(),
            selection,
        }));
    }

    /// An answer: its context is kept, its commands are planned.
    pub(super) fn replied(&mut self, now: Now, id: TurnId, reply: Reply, out: &mut Vec<Act>) {
        let Some(turn) = self.in_flight.take_if(|turn| turn.id == id) else {
            tracing::debug!(turn = id.0, "stale answer of the assistant ignored");
            metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "assistant").increment(1);
            return;
        };
        self.timers.stop(Timer::Turn);
        if let Some(context) = reply.context {
            self.context.keep(context);
        }
        self.timing = Some(Timing::new(id, turn.cause, turn.caused, now.at, reply.took));
        self.greeting = turn.cause == TurnCause::Start;
        self.choices.clear();
        // Only an announcement or an ending can be under way here, and both have ended the turn in flight.
        self.playback.cut(out);
        self.plan(parse(&reply.generic), out);
    }

    pub(super) fn unanswered(&mut self, id: TurnId, fault: Fault, out: &mut Vec<Act>) {
        if self.in_flight.is_some_and(|turn| turn.id == id) && self.mode == Mode::Conversing {
            self.fail(Failure::Assistant(id, fault), out);
        } else {
            tracing::debug!(turn = id.0, %fault, "stale failure of the assistant ignored");
        }
    }

    /// Puts commands into the queue. What follows an ending is not reached.
    fn plan(&mut self, commands: Vec<Command>, out: &mut Vec<Act>) {
        for command in commands {
            if self.playback.ending() {
                tracing::warn!("assistant's commands behind a transfer or an end of session are skipped");
                break;
            }
            match command {
                Command::Say(text) => self.playback.say(Words::new(text, Who::Assistant, self.barge_in)),
                Command::Offer(text, choices) => {
                    self.playback.say(Words::new(text, Who::Assistant, self.barge_in));
                    self.choices = choices;
                }
                Command::BargeIn(switch) => self.barge_in = switch == BargeIn::On,
                // At once, whatever is to be spoken before: a caller who interrupts must not find it undone.
                Command::Record(recording) => {
                    self.recording = recording;
                    out.push(Act::Keep(recording));
                }
                Command::Press(tones) => self.playback.press(tones),
                Command::Transfer(transfer) => self.plan_transfer(transfer),
                Command::EndSession(headers) => self.playback.end(Ending::EndSession { headers }),
            }
        }
    }

    /// The promise of an agent is spoken only where the transfer can be tried.
    fn plan_transfer(&mut self, transfer: Transfer) {
        if let (Target::Cxone(_) | Target::Sip(_), Some(message)) = (&transfer.target, &transfer.message) {
            let words = Words::new(message.clone(), Who::Assistant, self.barge_in);
            self.playback.say(Words { longest: words.longest.min(TRANSFER_MESSAGE), ..words });
        }
        self.playback.end(Ending::Transfer(transfer));
    }

    /// `input.integrations.voice_telephony` of this turn only.
    fn input(&self, cause: TurnCause, speech: Option<Value>) -> Value {
        if cause == TurnCause::Start {
            return json!({});
        }
        let mut input = json!({
            "barge_in_occurred": self.barged_in,
            "is_dtmf": cause == TurnCause::Dtmf,
            "post_response_timeout_occurred": cause == TurnCause::PostResponseTimeout,
            "final_utterance_timeout_occurred": cause == TurnCause::FinalUtteranceTimeout,
        });
        if let (Some(members), Some(speech)) = (input.as_object_mut(), speech) {
            members.insert("speech_to_text_result".into(), speech);
        }
        input
    }
}

/// `input.text` may not contain CR, LF or TAB (Watson facts 2.4), and is at most 2048 characters.
fn one_line(text: &str) -> String {
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(blank).take(LONGEST_TEXT).collect()
}

/// How long the words before a transfer may play.
const TRANSFER_MESSAGE: Duration = Duration::from_secs(20);
/// Characters of `input.text`.
const LONGEST_TEXT: usize = 2048;
