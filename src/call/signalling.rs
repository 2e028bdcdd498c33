//! Transfer and hangup: history, signal, CXone's BYE (CXone facts 1.3 and 2.4).
//!
//! The caller comes first: a history that is not durable delays nothing beyond two seconds, and words that cannot be spoken
//! do not keep a transfer from being signalled.

use super::ending::Cause;
use super::input::SignalOutcome;
use super::machine::{Call, State, Timer};
use super::output::{Output, Purpose, SignalOrder};
use crate::base::{Fault, FaultKind, Now, Service};
use crate::talk::Event;
use crate::talk::response::{Target, Transfer};
use std::time::Duration;

/// What is being signalled.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// p2 to p9.
    Transfer(Vec<(String, String)>),
    /// Headers for a BYE of ours.
    Hangup(Vec<(String, String)>),
}

impl Order {
    pub(super) fn purpose(&self) -> Purpose {
        match self {
            Self::Transfer(_) => Purpose::Transfer,
            Self::Hangup(_) => Purpose::Hangup,
        }
    }
}

impl Call {
    /// The assistant wants an agent, and its words have been spoken.
    pub(super) fn transfer(&mut self, now: Now, transfer: Transfer, out: &mut Vec<Output>) {
        self.unavailable = transfer.unavailable;
        let parameters = match transfer.target {
            Target::Cxone(parameters) => parameters,
            Target::Unknown(others) => return self.transfer_failed(now, Cause::NoTransferTarget(others), out),
        };
        let reason = transfer.reason.map_or_else(String::new, |reason| format!(": {reason}"));
        self.note(now, format!("{TRANSFER_NOTE}{reason}"), out);
        out.push(Output::CommitHistory);
        self.state = State::Committing(Order::Transfer(parameters));
        self.arm(Timer::Commit, now, LONGEST_COMMIT);
    }

    /// The assistant ends the call, and its words have been spoken.
    pub(super) fn hang_up(&mut self, now: Now, headers: Vec<(String, String)>, out: &mut Vec<Output>) {
        self.note(now, "assistant ends the call".to_owned(), out);
        self.signal(now, Order::Hangup(headers), out);
    }

    /// The history is durable, or will not be.
    pub(super) fn committed(&mut self, now: Now, out: &mut Vec<Output>) {
        if let State::Committing(order) = &self.state {
            let order = order.clone();
            self.timers.stop(Timer::Commit);
            self.signal(now, order, out);
        }
    }

    fn signal(&mut self, now: Now, order: Order, out: &mut Vec<Output>) {
        let purpose = order.purpose();
        let Some(contact_id) = self.contact_id.clone() else {
            self.state = State::Signalling(order);
            let cause = match purpose {
                Purpose::Transfer => Cause::TransferWithoutContact,
                Purpose::Hangup => Cause::HangupWithoutContact,
            };
            return self.bye(now, cause, out);
        };
        let parameters = match &order {
            Order::Transfer(data) => {
                let p1 = ("p1".to_owned(), self.facts.session_key.as_str().to_owned());
                std::iter::once(p1).chain(data.iter().cloned()).collect()
            }
            Order::Hangup(_) => vec![("p1".to_owned(), "hangup".to_owned())],
        };
        tracing::debug!(purpose = purpose.as_str(), "signal ordered");
        out.push(Output::Signal(SignalOrder { contact_id, purpose, parameters }));
        self.state = State::Signalling(order);
        self.arm(Timer::Signal, now, self.settings.signal_budget + SIGNAL_SLACK);
    }

    /// The signal has come to its end.
    pub(super) fn signalled(&mut self, now: Now, outcome: SignalOutcome, out: &mut Vec<Output>) {
        let State::Signalling(order) = &self.state else {
            tracing::debug!("signal outcome without a signal under way, ignored");
            return;
        };
        let order = order.clone();
        let purpose = order.purpose();
        self.timers.stop(Timer::Signal);
        let word = purpose.as_str();
        match outcome {
            SignalOutcome::Accepted => {
                tracing::debug!(purpose = word, "signal accepted");
                let (cause, wait) = match purpose {
                    Purpose::Transfer => (Cause::TransferNotReleased, self.settings.after_transfer),
                    Purpose::Hangup => (Cause::HangupNotReleased, self.settings.after_hangup),
                };
                self.release(now, order, cause, wait, out);
            }
            SignalOutcome::Ambiguous(fault) => {
                tracing::debug!(purpose = word, %fault, "signal may not have arrived");
                let (cause, wait) = match purpose {
                    Purpose::Transfer => (Cause::TransferUnknown(fault), AMBIGUOUS),
                    Purpose::Hangup => (Cause::HangupUnknown(fault), self.settings.after_hangup),
                };
                self.release(now, order, cause, wait, out);
            }
            SignalOutcome::ContactGone(fault) => {
                tracing::debug!(purpose = word, %fault, "contact gone");
                self.bye(now, Cause::ContactGone(purpose, fault), out);
            }
            SignalOutcome::Failed(fault) => {
                tracing::debug!(purpose = word, %fault, "signal failed");
                match purpose {
                    Purpose::Transfer => self.transfer_failed(now, Cause::TransferFailed(fault), out),
                    Purpose::Hangup => self.bye(now, Cause::HangupFailed(fault), out),
                }
            }
        }
    }

    fn release(&mut self, now: Now, order: Order, cause: Cause, wait: Duration, out: &mut Vec<Output>) {
        self.state = State::Releasing(order, cause);
        if self.hurried || wait.is_zero() {
            return self.not_released(now, out);
        }
        self.arm(Timer::Release, now, wait);
    }

    /// The rim has not told how the signal ended.
    pub(super) fn unsettled(&mut self, now: Now, out: &mut Vec<Output>) {
        let fault = Fault::new(Service::Cxone, FaultKind::Timeout, "no outcome within the signal budget");
        self.signalled(now, SignalOutcome::Ambiguous(fault), out);
    }

    /// CXone's BYE is no longer waited for.
    pub(super) fn not_released(&mut self, now: Now, out: &mut Vec<Output>) {
        if let State::Releasing(_, cause) = &self.state {
            let cause = cause.clone();
            self.bye(now, cause, out);
        }
    }

    /// No agent could be had: the last message and BYE, or the assistant is told and the conversation goes on, where the caller
    /// can still be heard.
    fn transfer_failed(&mut self, now: Now, cause: Cause, out: &mut Vec<Output>) {
        self.transfers_failed += 1;
        if self.settings.disconnect_on_transfer_failure || self.hurried || self.transfers_failed >= MOST_TRANSFERS {
            return self.apologise(now, cause, out);
        }
        self.note(now, cause.to_string(), out);
        if self.unheard && self.receiving {
            return self.apologise(now, Cause::RtpTimeout, out);
        }
        tracing::warn!(%cause, "transfer failed, the assistant is told");
        self.state = State::Talking;
        self.feed(now, Event::TransferFailed, out);
    }
}

const LONGEST_COMMIT: Duration = Duration::from_secs(2);
/// Above the client's budget, for its last try to be told.
const SIGNAL_SLACK: Duration = Duration::from_secs(3);
/// CXone's BYE after a transfer signal of unknown fate.
const AMBIGUOUS: Duration = Duration::from_secs(3);
/// Transfers that may fail before the call ends, where the assistant may try again.
const MOST_TRANSFERS: u32 = 3;

/// How the transcript's line of a transfer begins; the assistant's own reason, where it gives one, follows after a colon.
pub const TRANSFER_NOTE: &str = "assistant asks for an agent";
