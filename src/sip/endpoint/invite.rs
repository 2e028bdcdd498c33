//! INVITE outside a dialog (RFC 3261 section 13.3): admitted or refused, and what the call is told of it.

use super::leg::{Leg, LegTimer, Phase, Role};
use super::respond::finish_response;
use super::verdict::Refused;
use super::words::Template;
use super::{Endpoint, Output, Turn, verdict};
use crate::sip::admission::{Refusal, carries_secret};
use crate::sip::dialog::Dialog;
use crate::sip::leg::Invite;
use crate::sip::message::{Headers, Inbound, NameAddr, Uri};
use crate::sip::transaction::{Answered, ServerTransaction};
use bytes::Bytes;

impl Endpoint {
    /// An INVITE without To tag that no transaction knows.
    pub(super) fn invited(&mut self, turn: &mut Turn<'_>, inbound: &Inbound) {
        if self.merges.contains_key(&inbound.merge_key()) {
            return self.refuse(turn, inbound, &Refused::new(482, "merged"));
        }
        if let Err(refused) = verdict::check(&inbound.request) {
            return self.refuse(turn, inbound, &refused);
        }
        let transaction = inbound.transaction_key();
        if let Some(refusal) = self.gate.refused_before(turn.at, &transaction) {
            return self.refuse(turn, inbound, &refusal.into());
        }
        if let Some(refusal) = self.closed(inbound) {
            return self.shed(turn, inbound, transaction, refusal);
        }
        match verdict::offer(&inbound.request) {
            Err(refused) => self.refuse(turn, inbound, &refused),
            Ok(sdp) if self.gate.admit(turn.at, self.settings.max_calls_per_second) => self.admit(turn, inbound, sdp),
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

    fn admit(&mut self, turn: &mut Turn<'_>, inbound: &Inbound, sdp: Option<Bytes>) {
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
        let phase = Phase::Offered { server, template: Box::new(template), late_offer: invite.sdp.is_none() };
        let mut leg = Leg::new(Role::Called, dialog, phase, source);
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
        caller_number: caller_number(&inbound.request.headers, &inbound.from),
        called_number: if request_uri.is_empty() { inbound.to.uri.number() } else { request_uri },
        headers: inbound.request.headers.pairs(),
        sdp,
        source: Some(inbound.flow.remote),
    }
}

/// P-Asserted-Identity (RFC 3325), else From; empty when the caller withholds it.
fn caller_number(headers: &Headers, from: &NameAddr) -> String {
    if headers
        .first("Privacy")
        .is_some_and(|privacy| privacy.split(';').any(|one| one.trim().eq_ignore_ascii_case("id")))
    {
        return String::new();
    }
    let asserted = headers
        .list("P-Asserted-Identity")
        .into_iter()
        .filter_map(|identity| NameAddr::parse(identity).ok())
        .map(|identity| identity.uri.number())
        .find(|number| !number.is_empty());
    let number = asserted.unwrap_or_else(|| from.uri.number());
    let withheld = number.eq_ignore_ascii_case("anonymous") || from.uri.host.eq_ignore_ascii_case("anonymous.invalid");
    if withheld { String::new() } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_number_is_the_asserted_one_unless_withheld() {
        for (fields, from, number) in [
            (&[][..], "sip:+1555@h;tag=1", "+1555"),
            (&[("P-Asserted-Identity", "\"A\" <sip:+1777@h>, <tel:+1-777>")], "sip:+1555@h", "+1777"),
            (&[("P-Asserted-Identity", "<sip:trunk.example.com>, <tel:+1-777>")], "sip:+1555@h", "+1777"),
            (&[("P-Asserted-Identity", "\"broken <sip:x>")], "<tel:+1-555>", "+1555"),
            (&[("Privacy", "header; id")], "sip:+1555@h", ""),
            (&[], "\"Anonymous\" <sip:anonymous@anonymous.invalid>", ""),
            (&[], "sip:pbx.example.com", ""),
        ] {
            let mut headers = Headers::default();
            for (name, value) in fields {
                headers.push(name, value);
            }
            assert_eq!(caller_number(&headers, &NameAddr::parse(from).unwrap()), number, "{fields:?} {from}");
        }
    }
}
