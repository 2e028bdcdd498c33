//! INVITE outside a dialog (RFC 3261 section 13.3): admitted or refused, and what the call is told of it.

use super::leg::{Leg, LegTimer, Phase, Role};
use super::respond::finish_response;
use super::verdict::Refused;
use super::words::{self, Template};
use super::{Endpoint, Output, Turn, parties, verdict};
use crate::sip::admission::{Refusal, carries_secret};
use crate::sip::dialog::Dialog;
use crate::sip::leg::Invite;
use crate::sip::message::{Inbound, Uri};
use crate::sip::session_timer::SessionTimer;
use crate::sip::transaction::{Answered, ServerTransaction};
use bytes::Bytes;

impl Endpoint {
    /// An INVITE without To tag that no transaction knows.
    pub(super) fn invited(&mut self, turn: &mut Turn<'_>, inbound: &Inbound) {
        if self.merges.contains_key(&inbound.merge_key()) {
            return self.refuse(turn, inbound, &Refused::new(482, "merged"));
        }
        let transaction = inbound.transaction_key();
        if let Some(refusal) = self.gate.refused_before(turn.at, &transaction) {
            return self.refuse(turn, inbound, &refusal.into());
        }
        if let Some(refusal) = self.closed(inbound) {
            return self.shed(turn, inbound, transaction, refusal);
        }
        // Who it is comes first (section 8.2): nothing else is told to who may not call.
        let refused = self.authenticate(turn.at, inbound);
        if let Err(refused) = refused.and_then(|()| verdict::check(&inbound.request, &self.settings)) {
            return self.refuse(turn, inbound, &refused);
        }
        let session = verdict::session_timer(&inbound.request, &self.settings);
        match session.and_then(|session| Ok((session, verdict::offer(&inbound.request)?))) {
            Err(refused) => self.refuse(turn, inbound, &refused),
            Ok((session, sdp)) if self.gate.admit(turn.at, inbound.flow.remote.ip(), &self.settings) => {
                self.admit(turn, inbound, sdp, session);
            }
            Ok(_) => self.shed(turn, inbound, transaction, Refusal::Rate),
        }
    }

    /// Why no INVITE at all is let in now.
    pub(super) fn shut(&self) -> Option<Refusal> {
        if self.draining {
            Some(Refusal::Draining)
        } else {
            (self.calls() >= self.settings.max_calls).then_some(Refusal::Full)
        }
    }

    /// Why this INVITE is not.
    fn closed(&self, inbound: &Inbound) -> Option<Refusal> {
        if !carries_secret(&self.settings, &inbound.request.headers) {
            return Some(Refusal::RequiredHeader);
        }
        let fits = || self.gate.half_open_fits(inbound.flow.remote.ip(), &self.settings);
        self.shut().or_else(|| (!fits()).then_some(Refusal::HalfOpen))
    }

    /// Refuses, and will refuse the retransmissions of the same INVITE too.
    fn shed(&mut self, turn: &mut Turn<'_>, inbound: &Inbound, transaction: String, refusal: Refusal) {
        self.gate.remember_refused(turn.at + self.settings.timing.t1x64(), transaction, refusal);
        self.refuse(turn, inbound, &refusal.into());
    }

    fn admit(&mut self, turn: &mut Turn<'_>, inbound: &Inbound, sdp: Option<Bytes>, session: Option<SessionTimer>) {
        let id = self.reserve_leg();
        let local_tag = self.entropy.token();
        let template = Template::new(inbound);
        let merge_key = inbound.merge_key();
        let mut transaction = ServerTransaction::invite(template.flow, id, Some(merge_key.clone()));
        let mut trying = template.response(100, "", None);
        finish_response(&mut trying);
        let trying = trying.to_bytes();
        turn.send(template.flow, trying.clone());
        transaction.respond(turn.at, Answered::Provisional, trying, &self.settings.timing);
        let server = self.servers.insert(inbound.transaction_key(), transaction);
        self.merges.insert(merge_key, server);

        let dialog = Dialog::called(inbound, &local_tag);
        let source = inbound.flow.remote.ip();
        let invite = Box::new(invite_of(inbound, sdp));
        let headers = &inbound.request.headers;
        let reliable = headers.list("Require").iter().any(|tag| tag.eq_ignore_ascii_case(words::RELIABLE));
        let late_offer = invite.sdp.is_none();
        let phase = Phase::Offered { server, template: Box::new(template), late_offer, reliable };
        let mut leg = Leg::new(Role::Called, dialog, phase, source);
        leg.session = session;
        leg.updates = verdict::allows_update(headers).unwrap_or(false);
        leg.alarms.set(LegTimer::Ringing, turn.at + self.settings.timing.ringing);
        self.gate.opened(source);
        self.dialogs.insert(leg.dialog_key(), id);
        self.legs.insert(id, leg);
        self.schedule_leg(id);
        turn.out.push(Output::Incoming { leg: id, invite, flow: inbound.flow });
    }
}

fn invite_of(inbound: &Inbound, sdp: Option<Bytes>) -> Invite {
    let request_uri = Uri::parse(&inbound.request.uri).map(|uri| uri.number()).unwrap_or_default();
    Invite {
        call_id: inbound.call_id.clone(),
        request_uri: inbound.request.uri.clone(),
        from_uri: inbound.from.uri.as_str().to_owned(),
        to_uri: inbound.to.uri.as_str().to_owned(),
        caller_number: parties::caller_number(&inbound.request.headers, &inbound.from),
        called_number: if request_uri.is_empty() { inbound.to.uri.number() } else { request_uri },
        original_called_number: parties::original_called_number(&inbound.request.headers),
        headers: inbound.request.headers.pairs(),
        sdp,
        source: Some(inbound.flow.remote),
    }
}
