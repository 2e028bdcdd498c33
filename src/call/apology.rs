//! The error path: the last message where speech still works, then BYE, so that the script's Onrelease acts (CXone facts 2.4).

use super::ending::{Cause, Message};
use super::machine::{Call, State, Timer};
use super::output::Output;
use crate::base::Now;
use crate::talk::{Entry, Event, Who};
use std::time::Duration;

impl Call {
    /// The conversation cannot go on, or must not. An ending that the assistant has already ordered is hastened instead: a transfer
    /// serves the caller better than an error.
    pub(super) fn fail(&mut self, now: Now, cause: Cause, out: &mut Vec<Output>) {
        if !matches!(self.state, State::Talking) {
            tracing::debug!(%cause, "failure while ending, ignored");
            return;
        }
        if self.talk.is_ending() {
            tracing::warn!(%cause, "failure before an ending, which is hastened");
            return self.feed(now, Event::Hasten, out);
        }
        self.apologise(now, cause, out);
    }

    /// Speaks what the cause has to be spoken, then BYE.
    pub(super) fn apologise(&mut self, now: Now, cause: Cause, out: &mut Vec<Output>) {
        self.tell(now, &cause, out);
        // The agent whom Onrelease finds has the key from the 200: let the page be there. Nothing waits for it.
        out.push(Output::CommitHistory);
        let text = match cause.ending().message {
            Message::None => String::new(),
            Message::Failure => self.settings.failure_message.clone(),
            Message::TransferFailure if self.settings.transfer_failure_message.trim().is_empty() => {
                self.unavailable.clone().unwrap_or_default()
            }
            Message::TransferFailure => self.settings.transfer_failure_message.clone(),
        };
        if text.trim().is_empty() || !self.talk.can_speak() {
            return self.bye(now, cause, out);
        }
        let text = text.trim().to_owned();
        // The agent reads what the caller was told.
        out.push(Output::Record(Entry { who: Who::Assistant, at: now.wall, text: text.clone() }));
        self.state = State::Apologising(cause);
        self.arm(Timer::Apology, now, LONGEST_APOLOGY);
        self.feed(now, Event::Announce(text), out);
    }

    /// The message is over, could not be spoken, or has taken long enough.
    pub(super) fn apologised(&mut self, now: Now, out: &mut Vec<Output>) {
        if let State::Apologising(cause) = &self.state {
            let cause = cause.clone();
            self.bye(now, cause, out);
        }
    }
}

/// From the error to the BYE.
const LONGEST_APOLOGY: Duration = Duration::from_secs(10);
