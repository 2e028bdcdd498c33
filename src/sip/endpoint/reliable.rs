//! Reliable provisional responses (RFC 3262): ours where the INVITE requires them, and the peer's to calls of our own.

use super::leg::{LegTimer, Phase, Provisional};
use super::verdict::Refused;
use super::{Endpoint, Turn, words};
use crate::sip::leg::{LegEvent, LegId};
use crate::sip::message::{Headers, Inbound, Method, NameAddr, Response, session_description};

impl Endpoint {
    /// 180 with RSeq, once (section 3). Without an offer in the INVITE it would have to carry ours: then there is none, and the
    /// 2xx is the first reliable answer.
    pub(super) fn ring_reliably(&mut self, turn: &mut Turn<'_>, id: LegId) {
        let rseq = self.entropy.below(1 << 31).max(1);
        let Some(leg) = self.legs.get(&id).filter(|leg| leg.provisional.is_none()) else { return };
        let Phase::Offered { server, template, late_offer: false, .. } = &leg.phase else { return };
        let (server, flow) = (*server, template.flow);
        let mut ringing = self.dialog_response(leg, template, 180);
        ringing.headers.push("Require", words::RELIABLE);
        ringing.headers.push("RSeq", &rseq.to_string());
        let cseq = super::command::cseq_of(&ringing.headers);
        let bytes = self.respond(turn, server, ringing);
        let timing = self.settings.timing;
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let rseq = u32::try_from(rseq).unwrap_or(1);
        leg.provisional = Some(Provisional { rseq, cseq, flow, bytes, interval: timing.t1, answer: None });
        leg.alarms.set(LegTimer::ResendProvisional, turn.at + timing.t1);
        leg.alarms.set(LegTimer::PrackWait, turn.at + timing.t1x64());
        self.schedule_leg(id);
    }

    /// PRACK: of the 180 that waits for it, else 481. Then the 2xx may leave that the call has ordered.
    pub(super) fn prack(&mut self, turn: &mut Turn<'_>, id: LegId, inbound: &Inbound) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let named = rack(&inbound.request.headers);
        let Some(provisional) = leg.provisional.take_if(|one| named == Some((one.rseq, one.cseq))) else {
            return self.refuse_within(turn, id, inbound, &Refused::new(481, "no_provisional"));
        };
        leg.alarms.stop(LegTimer::ResendProvisional);
        leg.alarms.stop(LegTimer::PrackWait);
        // The INVITE's own offer has no answer yet: there can be no second one (RFC 3264 section 4).
        if session_description(&inbound.request.headers, &inbound.request.body) == Ok(None) {
            self.answer_within(turn, id, inbound, 200, &[]);
        } else {
            self.refuse_within(turn, id, inbound, &Refused::new(488, "offer_in_prack"));
        }
        if let Some((sdp, headers)) = provisional.answer {
            self.answer(turn, id, sdp, &headers);
        }
    }

    /// Section 3: the INVITE is refused with a 5xx.
    pub(super) fn never_pracked(&mut self, turn: &mut Turn<'_>, id: LegId) {
        if self.legs.get(&id).and_then(|leg| leg.provisional.as_ref()).is_some_and(|one| one.answer.is_some()) {
            self.emit(turn, id, LegEvent::NeverAcknowledged);
        }
        self.reject(turn, id, 504, "", &[("Warning".to_owned(), "399 voice-gateway \"No PRACK\"".to_owned())]);
    }

    /// A provisional response to our INVITE: where it is reliable, and the next of its callee, it gets its PRACK (section 4). False
    /// where it is a repetition, or came too early.
    pub(super) fn takes_provisional(&mut self, turn: &mut Turn<'_>, id: LegId, response: &Response) -> bool {
        let headers = &response.headers;
        let reliable = headers.list("Require").iter().any(|tag| tag.eq_ignore_ascii_case(words::RELIABLE));
        let Some(rseq) = headers.first("RSeq").filter(|_| reliable && response.code > 100) else { return true };
        let tag = headers.first("To").and_then(|to| NameAddr::parse(to).ok());
        let (Ok(rseq), Some(tag)) = (rseq.trim().parse::<u32>(), tag.as_ref().and_then(NameAddr::tag)) else {
            return true;
        };
        let branch = self.branch();
        let Some(leg) = self.legs.get_mut(&id) else { return false };
        let others = leg.heard.len();
        match leg.heard.iter_mut().find(|(heard, _)| heard == tag) {
            Some((_, last)) if Some(rseq) != last.checked_add(1) => return false,
            Some((_, last)) => *last = rseq,
            None if others < MAX_CALLEES => leg.heard.push((tag.to_owned(), rseq)),
            None => return false,
        }
        let cseq = super::command::cseq_of(headers);
        let (mut prack, flow) = leg.dialog.early_request(Method::Prack, response);
        prack.headers.push("RAck", &format!("{rseq} {cseq} INVITE"));
        self.send_request(turn, Some(id), prack, flow, &branch);
        true
    }
}

/// RSeq and CSeq number that a RAck names, where it is one of INVITE.
fn rack(headers: &Headers) -> Option<(u32, u32)> {
    let mut words = headers.first("RAck")?.split_ascii_whitespace();
    let (rseq, cseq, method) = (words.next()?, words.next()?, words.next()?);
    if method != Method::Invite.as_str() || words.next().is_some() {
        return None;
    }
    Some((rseq.parse().ok()?, cseq.parse().ok()?))
}

/// A call that forks to more is no call of ours.
const MAX_CALLEES: usize = 16;
