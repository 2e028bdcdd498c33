//! The end of the leg: our BYE or the peer's, then `Ended`, exactly once.

use super::ending::{Cause, Exit};
use super::machine::{Call, State, Timer};
use super::output::{LegCommand, Output, Summary};
use super::signalling::Order;
use super::transfer::Means;
use crate::base::Now;
use crate::talk::Event;
use std::time::Duration;
use tracing::Level;

impl Call {
    /// Ends the call by BYE, once the ACK is here.
    pub(super) fn bye(&mut self, now: Now, cause: Cause, out: &mut Vec<Output>) {
        let custom = match &self.state {
            State::Committing(Means::Leave(headers))
            | State::Signalling(Order::Hangup(headers))
            | State::Releasing(Order::Hangup(headers), _) => headers.clone(),
            _ => Vec::new(),
        };
        self.timers.clear();
        self.tell(now, &cause, out);
        self.feed(now, Event::Silence, out);
        let headers = cause.ending().exit.reasons().into_iter().chain(custom).collect();
        self.state = State::Closing { cause, bye: Some(headers) };
        self.arm(Timer::Close, now, LONGEST_CLOSE);
        if self.acknowledged {
            self.send_bye(now, out);
        }
    }

    /// Sends the BYE that waits.
    pub(super) fn send_bye(&mut self, now: Now, out: &mut Vec<Output>) {
        if let State::Closing { bye, .. } = &mut self.state {
            if let Some(headers) = bye.take() {
                out.push(Output::Leg(LegCommand::Bye { headers }));
            }
            self.arm(Timer::Close, now, LONGEST_CLOSE);
        }
    }

    /// The peer is gone, by BYE, or as the leg says. What that means depends on what was going on.
    pub(super) fn left(&mut self, now: Now, gone: Cause, out: &mut Vec<Output>) {
        let cause = match &self.state {
            State::Arrived | State::Talking | State::Committing(_) | State::Over => gone,
            State::Signalling(_) | State::Releasing(..) if gone == Cause::NeverAcknowledged => gone,
            State::Referring { .. } => self.left_while_referring(gone),
            State::Signalling(order) => {
                let purpose = order.purpose();
                tracing::info!(
                    event = "signal_sent",
                    purpose = purpose.as_str(),
                    "BYE came before the outcome: the script has acted"
                );
                Cause::released(purpose)
            }
            State::Releasing(order, _) => Cause::released(order.purpose()),
            State::Apologising(cause) | State::Closing { cause, .. } => cause.clone(),
        };
        self.over(now, &cause, out);
    }

    /// Nobody told that our BYE was answered; or no ACK came that would have let it out.
    pub(super) fn closed(&mut self, now: Now, out: &mut Vec<Output>) {
        let State::Closing { cause, .. } = &self.state else { return };
        let cause = cause.clone();
        self.send_bye(now, out);
        self.over(now, &cause, out);
    }

    /// `Ended`.
    pub(super) fn over(&mut self, now: Now, cause: &Cause, out: &mut Vec<Output>) {
        if self.is_over() {
            return;
        }
        self.feed(now, Event::Silence, out);
        self.timers.clear();
        self.state = State::Over;
        self.tell(now, cause, out);
        out.push(Output::EndAssistant);
        let elapsed = now.at.saturating_duration_since(self.began.at);
        self.log(cause, elapsed);
        out.push(Output::Ended(Summary {
            end_reason: cause.ending().end_reason,
            cause: cause.to_string(),
            answered: self.answered.is_some(),
            elapsed,
            setup: self.answered.map(|at| at.saturating_duration_since(self.began.at)),
            turns: self.talk.turns(),
            session_key: self.facts.session_key.clone(),
            contact_id: self.contact_id.clone(),
        }));
    }

    fn log(&self, cause: &Cause, elapsed: Duration) {
        let ending = cause.ending();
        let code = match ending.exit {
            Exit::Reject(code) | Exit::Bye(code, ..) => code,
            Exit::Nothing => 0,
        };
        macro_rules! call_ended {
            ($level:ident) => {
                tracing::$level!(
                    event = "call_ended",
                    end_reason = ending.end_reason.as_str(),
                    cause = ending.label,
                    code,
                    signal = ending.signal.map(super::output::Purpose::as_str),
                    milliseconds_elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                    turns = self.talk.turns(),
                    session_key = self.facts.session_key.short(),
                    hint = cause.hint(),
                    "{cause}"
                )
            };
        }
        match ending.level {
            Level::ERROR => call_ended!(error),
            Level::WARN => call_ended!(warn),
            _ => call_ended!(info),
        }
    }
}

/// Above the leg's own 64*T1 for a BYE.
const LONGEST_CLOSE: Duration = Duration::from_secs(40);
