//! The SIP leg: INVITE to answer, late offer, re-INVITE, hold, and the peer's end (RFC 3261 sections 13.3 and 14, RFC 3264).

use super::contact::MissingContact;
use super::ending::{Cause, warning};
use super::input::{Input, LegEvent};
use super::keys::Way;
use super::machine::{Call, State, Timer};
use super::negotiation::Refusal;
use super::output::{LegCommand, Output};
use crate::base::Now;
use crate::media::sdp::Negotiated;
use crate::talk::Event;
use bytes::Bytes;
use std::time::Duration;

impl Call {
    /// The first step: answered at once, spoken to when heard from. A caller never waits ringing for a cold service.
    pub(super) fn begin(&mut self, now: Now, input: &Input, out: &mut Vec<Output>) {
        let key = self.facts.session_key.short();
        tracing::info!(event = "call_started", session_key = key, "INVITE");
        if matches!(input, Input::Leg(LegEvent::Cancelled | LegEvent::Ended | LegEvent::Bye { .. })) {
            return self.over(now, &Cause::Cancelled, out);
        }
        if let Input::EndNow(why) = input {
            return self.reject(now, Cause::NotBegun(*why), "Not taking calls", out);
        }
        match self.settings.contact.find(&self.facts.invite.headers) {
            Ok(contact_id) => self.contact_id = Some(contact_id),
            Err(why) => {
                let rejected = self.settings.contact.missing() == MissingContact::Reject;
                tracing::warn!(event = "contact_id_missing", %why, rejected, "INVITE without contact id");
                if rejected {
                    let text = why.to_string();
                    return self.reject(now, Cause::NoContact(why), &text, out);
                }
            }
        }
        let agreed = match self.facts.invite.sdp.clone() {
            Some(offer) => match self.negotiation.answer(&offer) {
                Ok((sdp, negotiated)) => (sdp, Some(negotiated)),
                Err(refusal) => {
                    let text = refusal.warning.clone();
                    return self.reject(now, Cause::OfferRefused(refusal), &text, out);
                }
            },
            None => (self.negotiation.offer(), None),
        };
        self.answer(now, agreed.0, agreed.1, out);
    }

    fn answer(&mut self, now: Now, sdp: Bytes, agreed: Option<Negotiated>, out: &mut Vec<Output>) {
        if self.settings.ringing {
            out.push(Output::Leg(LegCommand::Ring));
        }
        let mut headers = self.settings.answer_headers.clone();
        if !self.settings.session_key_header.is_empty() {
            headers.push((self.settings.session_key_header.clone(), self.facts.session_key.as_str().to_owned()));
        }
        out.push(Output::Leg(LegCommand::Answer { sdp, headers }));
        tracing::info!(event = "call_answered", late_offer = agreed.is_none(), "answered");
        self.state = State::Talking;
        self.answered = Some(now.at);
        self.offered = agreed.is_none();
        self.arm(Timer::Acknowledge, now, NO_ACK);
        self.note(now, "call answered".to_owned(), out);
        if let Some(agreed) = agreed {
            self.agree(now, agreed, out);
        }
    }

    /// The peer has shown that it is where it says, by its ACK or its RTP: only now is anything sent there, and are services asked.
    /// An INVITE with the address of another as its own moves nothing.
    pub(super) fn open(&mut self, now: Now, out: &mut Vec<Output>) {
        if std::mem::replace(&mut self.open, true) {
            return;
        }
        if let Some(agreed) = self.withheld.take() {
            self.carry(agreed, out);
        }
        self.feed(now, Event::Start, out);
        self.feed(now, Event::Open, out);
    }

    fn reject(&mut self, now: Now, cause: Cause, text: &str, out: &mut Vec<Output>) {
        let mut headers = vec![warning(text)];
        if let super::ending::Exit::Reject(code) = cause.ending().exit {
            if code == 503 {
                headers.push(("Retry-After".to_owned(), "30".to_owned()));
            }
            out.push(Output::Leg(LegCommand::Reject { code, reason: String::new(), headers }));
        }
        self.over(now, &cause, out);
    }

    pub(super) fn leg(&mut self, now: Now, event: LegEvent, out: &mut Vec<Output>) {
        match event {
            LegEvent::Acknowledged { sdp } => self.acknowledge(now, sdp, out),
            LegEvent::Cancelled => {
                // The CANCEL overtook our 200 in the leg, which has sent 487: nothing was answered.
                if !self.acknowledged {
                    self.answered = None;
                    self.over(now, &Cause::Cancelled, out);
                }
            }
            LegEvent::Bye { reason } => {
                tracing::debug!(?reason, "BYE of the peer");
                self.left(now, Cause::CallerBye, out);
            }
            LegEvent::Reinvite { sdp } => self.reinvite(now, sdp, out),
            LegEvent::InfoDigit(key) => {
                if self.keys.counts(now.at, key, Way::Info) {
                    self.feed(now, Event::Digit(key), out);
                }
            }
            LegEvent::Referral(referral) => self.referral(now, referral, out),
            LegEvent::Refreshed { sdp } => {
                // What the peer says of its side may have moved all the same; what cannot be used changes nothing.
                if !matches!(self.state, State::Closing { .. })
                    && let Ok(agreed) = self.negotiation.accept(&sdp)
                {
                    self.agree(now, agreed, out);
                }
            }
            LegEvent::Expired => self.left(now, Cause::SessionExpired, out),
            LegEvent::NeverAcknowledged => {
                if !self.acknowledged {
                    self.left(now, Cause::NeverAcknowledged, out);
                }
            }
            LegEvent::Ended => self.left(now, Cause::LegLost, out),
        }
    }

    fn acknowledge(&mut self, now: Now, sdp: Option<Bytes>, out: &mut Vec<Output>) {
        let first = !std::mem::replace(&mut self.acknowledged, true);
        self.timers.stop(Timer::Acknowledge);
        if matches!(self.state, State::Closing { .. }) {
            return self.send_bye(now, out);
        }
        if std::mem::take(&mut self.offered) {
            let answer = sdp.ok_or_else(|| Refusal { code: 400, warning: "No SDP answer in ACK".to_owned() });
            match answer.and_then(|answer| self.negotiation.accept(&answer)) {
                Ok(agreed) => self.agree(now, agreed, out),
                Err(refusal) if first => return self.bye(now, Cause::AnswerRefused(refusal), out),
                Err(refusal) => {
                    tracing::warn!(why = %refusal.warning, "answer to our re-INVITE offer refused, media stays as it was")
                }
            }
        }
        self.open(now, out);
    }

    fn reinvite(&mut self, now: Now, sdp: Option<Bytes>, out: &mut Vec<Output>) {
        if matches!(self.state, State::Closing { .. }) {
            return out.push(Output::Leg(LegCommand::RejectReinvite { code: 481, headers: Vec::new() }));
        }
        let Some(offer) = sdp else {
            self.offered = true;
            let sdp = self.negotiation.offer();
            return out.push(Output::Leg(LegCommand::AnswerReinvite { sdp }));
        };
        match self.negotiation.answer(&offer) {
            Ok((sdp, agreed)) => {
                out.push(Output::Leg(LegCommand::AnswerReinvite { sdp }));
                self.agree(now, agreed, out);
            }
            Err(Refusal { code, warning: text }) => {
                out.push(Output::Leg(LegCommand::RejectReinvite { code, headers: vec![warning(&text)] }));
            }
        }
    }

    /// Media is agreed, for the first time or again.
    fn agree(&mut self, now: Now, agreed: Negotiated, out: &mut Vec<Output>) {
        let held = !agreed.send;
        self.receiving = agreed.receive;
        self.keys.agree(agreed.telephone_event.is_some());
        if self.open {
            self.carry(agreed, out);
        } else {
            if !self.acknowledged {
                out.push(Output::MediaAgreed(Negotiated { send: false, ..agreed.clone() }));
            }
            self.withheld = Some(agreed);
        }
        if !held {
            self.timers.stop(Timer::Hold);
        } else if self.timers.armed(Timer::Hold).is_none() {
            self.arm(Timer::Hold, now, LONGEST_HOLD);
        }
        self.feed(now, Event::Hold(held), out);
    }

    fn carry(&mut self, agreed: Negotiated, out: &mut Vec<Output>) {
        out.push(Output::MediaAgreed(agreed));
        if !std::mem::replace(&mut self.listening, true) {
            out.push(Output::Listen);
        }
    }
}

/// Above the leg's own 64*T1.
const NO_ACK: Duration = Duration::from_secs(40);
/// The peer may hold us so long.
const LONGEST_HOLD: Duration = Duration::from_secs(600);
