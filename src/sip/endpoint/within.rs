//! Requests within a dialog (RFC 3261 sections 12.2.2, 14.2, 15.1.2; RFC 3311; RFC 6086), ACK and CANCEL.

use super::leg::{Change, Phase, Reinvite, Role};
use super::respond::count_invite;
use super::verdict::Refused;
use super::words::{self, Template};
use super::{Endpoint, Output, Owner, Turn, verdict};
use crate::sip::dialog::{Order, contact};
use crate::sip::leg::{DialEvent, LegEvent, LegId};
use crate::sip::message::{Inbound, Method, dtmf_digit, session_description};
use crate::sip::session_timer::SessionTimer;
use bytes::Bytes;

impl Endpoint {
    /// ACK: of a refusal it ends the transaction, of a 2xx it belongs to the dialog. Never answered.
    pub(super) fn ack(&mut self, turn: &mut Turn<'_>, inbound: &Inbound) {
        if let Some(id) = self.servers.id(&inbound.transaction_key())
            && let Some(server) = self.servers.entry_mut(id)
            && server.acknowledge(turn.at, &self.settings.timing)
        {
            return server.alarms.schedule(Owner::Server(id), &mut self.agenda);
        }
        let Some(id) = self.dialog_of(inbound) else { return };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.unacked.as_ref().is_none_or(|unacked| unacked.cseq != inbound.cseq.number) {
            return;
        }
        let leaving = match &mut leg.phase {
            Phase::Leaving { headers } => Some(std::mem::take(headers)),
            _ => None,
        };
        let sdp = session_description(&inbound.request.headers, &inbound.request.body).ok().flatten();
        self.acknowledged(turn, id, sdp);
        if let Some(headers) = leaving {
            self.send_bye(turn, id, &headers);
        }
    }

    fn acknowledged(&mut self, turn: &mut Turn<'_>, id: LegId, sdp: Option<Bytes>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.settle();
        if std::mem::take(&mut leg.half_open) {
            self.gate.settled(leg.source);
        }
        self.emit(turn, id, LegEvent::Acknowledged { sdp });
    }

    /// CANCEL (section 9.2): without effect once the final answer is out.
    pub(super) fn cancelled(&mut self, turn: &mut Turn<'_>, inbound: &Inbound, invite: Option<u64>) {
        let Some((id, server)) = invite.and_then(|id| Some((id, self.servers.entry(id)?))) else {
            return self.refuse(turn, inbound, &Refused::new(481, "no_transaction"));
        };
        let leg_id = server.leg;
        let leg = leg_id.and_then(|leg_id| self.legs.get(&leg_id));
        let template = Template::new(inbound);
        let stateless = self.entropy.stateless_tag(&inbound.transaction_key());
        let tag = leg.map_or(stateless.as_str(), |leg| leg.dialog.local_tag()).to_owned();
        let mut ok = template.response(200, "", Some(&tag));
        super::respond::finish_response(&mut ok);
        turn.send(template.flow, ok.to_bytes());
        let Some(leg_id) = leg_id else { return };
        let Some(leg) = self.legs.get_mut(&leg_id) else { return };
        if let Phase::Offered { template, .. } = &leg.phase {
            let terminated = template.response(487, "", Some(&tag));
            self.respond(turn, id, terminated);
            count_invite(487);
            self.emit(turn, leg_id, LegEvent::Cancelled);
            self.finish(turn, leg_id);
        } else if leg.reinvite.as_ref().is_some_and(|reinvite| reinvite.server == id) {
            self.terminate_change(turn, leg_id);
        }
    }

    /// A request that belongs to leg `id`, seen for the first time.
    pub(super) fn within(&mut self, turn: &mut Turn<'_>, id: LegId, inbound: &Inbound) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let method = &inbound.request.method;
        if leg.dialog.order(inbound.cseq.number) == Order::Old {
            return self.refuse(turn, inbound, &Refused::new(500, "cseq"));
        }
        leg.dialog.came_by(inbound.response_flow());
        if *method == Method::Bye {
            return self.bye(turn, id, inbound);
        }
        if matches!(leg.phase, Phase::Left) {
            return self.refuse(turn, inbound, &Refused::new(481, "no_dialog"));
        }
        if let Err(refused) = verdict::check_extensions(&inbound.request, &self.settings) {
            return self.refuse(turn, inbound, &refused);
        }
        match method {
            Method::Invite => self.change(turn, id, inbound, Change::Invite),
            Method::Update => self.change(turn, id, inbound, Change::Update),
            Method::Info => self.info(turn, id, inbound),
            Method::Notify => self.notified(turn, id, inbound),
            Method::Prack => self.prack(turn, id, inbound),
            Method::Options => self.answer_within(turn, id, inbound, 200, &verdict::capabilities(&self.settings)),
            _ => self.refuse(turn, inbound, &Refused::method(405)),
        }
    }

    /// BYE ends the leg whatever its state: before our ACK, before our answer, across our own BYE.
    fn bye(&mut self, turn: &mut Turn<'_>, id: LegId, inbound: &Inbound) {
        self.answer_within(turn, id, inbound, 200, &[]);
        let Some(leg) = self.legs.get(&id) else { return };
        let headers = &inbound.request.headers;
        match (&leg.phase, leg.role) {
            (Phase::Offered { server, template, .. }, _) => {
                let (server, terminated) = (*server, template.response(487, "", Some(leg.dialog.local_tag())));
                self.respond(turn, server, terminated);
                count_invite(487);
                self.emit(turn, id, LegEvent::Cancelled);
            }
            (_, Role::Calling) => {
                turn.out.push(Output::Dial { leg: id, event: DialEvent::Bye { headers: headers.pairs() } });
            }
            (Phase::Left | Phase::Leaving { .. }, Role::Called) => {}
            (_, Role::Called) => {
                self.emit(turn, id, LegEvent::Bye { reason: headers.first("Reason").map(str::to_owned) });
            }
        }
        self.finish(turn, id);
    }

    /// A change that the call will not answer any more.
    pub(super) fn terminate_change(&mut self, turn: &mut Turn<'_>, id: LegId) {
        if let Some(reinvite) = self.legs.get_mut(&id).and_then(|leg| leg.reinvite.take()) {
            self.respond(turn, reinvite.server, reinvite.template.response(487, "", None));
        }
    }

    /// re-INVITE and UPDATE: one at a time (sections 14.2 and RFC 3311 section 5.2).
    fn change(&mut self, turn: &mut Turn<'_>, id: LegId, inbound: &Inbound, kind: Change) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if !leg.changes.take(turn.at) {
            return self.refuse_within(turn, id, inbound, &Refused::new(500, "change_flood").with("Retry-After", "1"));
        }
        let session = verdict::session_timer(&inbound.request, &self.settings);
        let (session, sdp) = match session.and_then(|session| Ok((session, verdict::offer(&inbound.request)?))) {
            Ok(asked) => asked,
            Err(refused) => return self.refuse(turn, inbound, &refused),
        };
        let target = contact(&inbound.request.headers);
        if let Some(updates) = verdict::allows_update(&inbound.request.headers) {
            leg.updates = updates;
        }
        if kind == Change::Update && sdp.is_none() {
            leg.dialog.refresh_target(target);
            return self.updated(turn, id, inbound, session);
        }
        if leg.offer_is_out() {
            return self.refuse_within(turn, id, inbound, &Refused::new(491, "pending"));
        }
        if leg.reinvite.is_some() || !matches!(leg.phase, Phase::Established) {
            let seconds = self.entropy.below(11).to_string();
            let refused = Refused::new(500, "pending").with("Retry-After", seconds);
            return self.refuse_within(turn, id, inbound, &refused);
        }
        let template = Template::new(inbound);
        let server = self.open_within(id, inbound);
        if kind == Change::Invite {
            if self.legs.get(&id).is_some_and(|leg| !leg.may_leave()) {
                // Who sends the next INVITE has had our 2xx: its ACK was lost, or is still on its way.
                self.acknowledged(turn, id, None);
            }
            self.respond(turn, server, template.response(100, "", None));
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let late_offer = sdp.is_none();
        let cseq = inbound.cseq.number;
        leg.reinvite = Some(Reinvite { server, template, cseq, kind, target, late_offer, session });
        self.emit(turn, id, LegEvent::Reinvite { sdp });
    }

    /// UPDATE without an offer: it refreshes the target and, once the call is up, the session.
    fn updated(&mut self, turn: &mut Turn<'_>, id: LegId, inbound: &Inbound, session: Option<SessionTimer>) {
        let server = self.open_within(id, inbound);
        let Some(leg) = self.legs.get(&id) else { return };
        let mut ok = self.dialog_response(leg, &Template::new(inbound), 200);
        if let Some(leg) = self.legs.get_mut(&id).filter(|leg| matches!(leg.phase, Phase::Established)) {
            if let Some(session) = session {
                session.push_answer(&mut ok.headers);
            }
            leg.refreshed(turn.at, session);
        }
        self.respond(turn, server, ok);
        self.schedule_leg(id);
    }

    /// INFO: a key, or nothing we know.
    fn info(&mut self, turn: &mut Turn<'_>, id: LegId, inbound: &Inbound) {
        if self.legs.get_mut(&id).is_some_and(|leg| !leg.infos.take(turn.at)) {
            return self.refuse_within(turn, id, inbound, &Refused::new(500, "info_flood").with("Retry-After", "1"));
        }
        let request = &inbound.request;
        match dtmf_digit(&request.headers, &request.body) {
            Some(digit) => {
                self.answer_within(turn, id, inbound, 200, &[]);
                self.emit(turn, id, LegEvent::InfoDigit(digit));
            }
            None if request.body.is_empty() => self.answer_within(turn, id, inbound, 200, &[]),
            None => self.answer_within(turn, id, inbound, 415, &[("Accept", words::ACCEPT_INFO.to_owned())]),
        }
    }
}
