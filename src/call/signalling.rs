//! Transfer and hangup by CXone: signal, then CXone's BYE (CXone facts 1.3 and 2.4).

use super::ending::Cause;
use super::input::SignalOutcome;
use super::machine::{Call, State, Timer};
use super::output::{Output, Purpose, SignalOrder};
use crate::base::{Fault, FaultKind, Now, Service};
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
    /// The assistant ends the call, and its words have been spoken.
    pub(super) fn hang_up(&mut self, now: Now, headers: Vec<(String, String)>, out: &mut Vec<Output>) {
        self.note(now, "assistant ends the call".to_owned(), out);
        self.signal(now, Order::Hangup(headers), out);
    }

    /// Signals the contact; without one the BYE is the signal.
    pub(super) fn signal(&mut self, now: Now, order: Order, out: &mut Vec<Output>) {
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
}

/// Above the client's budget, for its last try to be told.
const SIGNAL_SLACK: Duration = Duration::from_secs(3);
/// CXone's BYE after a transfer signal of unknown fate.
const AMBIGUOUS: Duration = Duration::from_secs(3);
