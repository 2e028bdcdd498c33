//! Transfer by REFER (RFC 3515, 5589 section 6.1): the peer's answer, its reports, its BYE or ours.

use super::ending::Cause;
use super::machine::{Call, State, Timer};
use super::output::{LegCommand, Output};
use crate::base::{Now, metric};
use crate::sip::leg::{Refer, Referral};
use std::time::Duration;

impl Call {
    /// The history is there: asks the peer to call somebody else.
    pub(super) fn refer(&mut self, now: Now, refer: Refer, accepted_codes: Vec<u16>, out: &mut Vec<Output>) {
        tracing::info!(event = "refer_sent", place = ?refer.place, "REFER");
        out.push(Output::Leg(LegCommand::Refer(refer)));
        self.state = State::Referring { accepted_codes, cause: Cause::ReferFailed(NO_ANSWER) };
        self.arm(Timer::Refer, now, LONGEST_ANSWER);
    }

    /// The leg tells how the REFER fares.
    pub(super) fn referral(&mut self, now: Now, referral: Referral, out: &mut Vec<Output>) {
        let State::Referring { accepted_codes, cause } = &mut self.state else {
            // Given up too early: the peer was slow, and has called all the same.
            let late = matches!(self.state, State::Talking | State::Apologising(_));
            if late && matches!(referral, Referral::Tried(200..300)) {
                tracing::warn!("a transfer taken as failed has come to a good end");
                self.bye(now, Cause::Referred, out);
            }
            return;
        };
        let (then, wait) = match referral {
            Referral::Accepted => (Cause::ReferUnknown, self.settings.refer_timeout),
            Referral::Unreported => (Cause::Referred, RELEASE),
            Referral::Unfinished => (Cause::ReferUnknown, RELEASE),
            Referral::Tried(code @ 200..300) => return self.referred(now, code, out),
            Referral::Refused(code) | Referral::Tried(code) if accepted_codes.contains(&code) => {
                return self.referred(now, code, out);
            }
            Referral::Refused(code) => return self.refer_failed(now, code, "refused", out),
            Referral::Tried(code) => return self.refer_failed(now, code, "failed", out),
        };
        *cause = then;
        self.arm(Timer::Refer, now, wait);
        if self.hurried {
            self.not_referred(now, out);
        }
    }

    fn referred(&mut self, now: Now, code: u16, out: &mut Vec<Output>) {
        settled("transferred", Some(code));
        self.bye(now, Cause::Referred, out);
    }

    fn refer_failed(&mut self, now: Now, code: u16, outcome: &'static str, out: &mut Vec<Output>) {
        count(outcome);
        tracing::warn!(event = "refer_failed", code, outcome, "the transfer by REFER failed");
        self.timers.stop(Timer::Refer);
        if code == NO_DIALOG && outcome == "refused" {
            // The peer does not know the call any more: nobody is there to be told (RFC 3261 section 12.2.1.2).
            return self.bye(now, Cause::ReferFailed(code), out);
        }
        self.transfer_failed(now, Cause::ReferFailed(code), out);
    }

    /// Nothing more is waited for.
    pub(super) fn not_referred(&mut self, now: Now, out: &mut Vec<Output>) {
        let State::Referring { cause, .. } = &self.state else { return };
        match cause.clone() {
            Cause::ReferFailed(code) => self.refer_failed(now, code, "unanswered", out),
            cause => {
                settled(if cause == Cause::Referred { "unreported" } else { "unknown" }, None);
                self.bye(now, cause, out);
            }
        }
    }

    /// The end was ordered: a REFER that has no answer is let have it, reports are not waited for.
    pub(super) fn hasten_referral(&mut self, now: Now, out: &mut Vec<Output>) {
        if let State::Referring { cause: Cause::Referred | Cause::ReferUnknown, .. } = &self.state {
            self.not_referred(now, out);
        }
    }

    /// The peer is gone while it was to call somebody else: by BYE, it has done so.
    pub(super) fn left_while_referring(&self, gone: Cause) -> Cause {
        if gone == Cause::CallerBye {
            settled("released", None);
            return Cause::ReferReleased;
        }
        settled("unknown", None);
        gone
    }
}

fn settled(outcome: &'static str, code: Option<u16>) {
    count(outcome);
    tracing::info!(event = "refer_settled", outcome, code, "the REFER is settled");
}

fn count(outcome: &'static str) {
    metrics::counter!(metric::REFERS_TOTAL, "outcome" => outcome).increment(1);
}

/// For a final answer to the REFER or a first report: five tries over UDP.
const LONGEST_ANSWER: Duration = Duration::from_secs(8);
/// For the peer's BYE, where no report will tell.
const RELEASE: Duration = Duration::from_secs(5);
const NO_ANSWER: u16 = 408;
const NO_DIALOG: u16 = 481;
