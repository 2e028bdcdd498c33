//! What calls order of their legs.

use super::leg::{Cancel, Change, LegTimer, Phase, Unacked};
use super::respond::count_invite;
use super::{Endpoint, Owner, Turn, words};
use crate::sip::leg::{LegCommand, LegId};
use crate::sip::message::{Headers, Method, Response};
use crate::sip::transaction::ClientTransaction;
use crate::sip::transport::Transport;
use bytes::Bytes;

impl Endpoint {
    /// A command; one that does not fit the leg's state any more (the peer was faster) is without effect.
    pub(super) fn command(&mut self, turn: &mut Turn<'_>, id: LegId, command: LegCommand) {
        match command {
            LegCommand::Ring => self.ring(turn, id),
            LegCommand::Answer { sdp, headers } => self.answer(turn, id, sdp, &headers),
            LegCommand::Reject { code, reason, headers } => self.reject(turn, id, code, &reason, &headers),
            LegCommand::AnswerReinvite { sdp } => self.answer_change(turn, id, sdp),
            LegCommand::RejectReinvite { code, headers } => self.reject_change(turn, id, code, &headers),
            LegCommand::Offer { sdp } => self.offer_change(turn, id, sdp),
            LegCommand::Acknowledge { sdp } => self.acknowledge(turn, id, sdp),
            LegCommand::Refer(refer) => self.refer(turn, id, &refer),
            LegCommand::Bye { headers } => self.leave(turn, id, headers),
        }
    }

    fn ring(&mut self, turn: &mut Turn<'_>, id: LegId) {
        let Some(leg) = self.legs.get(&id) else { return };
        let Phase::Offered { server, template, reliable, .. } = &leg.phase else { return };
        if *reliable {
            return self.ring_reliably(turn, id);
        }
        let (server, ringing) = (*server, self.dialog_response(leg, template, 180));
        self.respond(turn, server, ringing);
    }

    pub(super) fn answer(&mut self, turn: &mut Turn<'_>, id: LegId, sdp: Bytes, headers: &[(String, String)]) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Some(provisional) = &mut leg.provisional {
            provisional.answer.get_or_insert((sdp, headers.to_vec()));
            return;
        }
        let Some(leg) = self.legs.get(&id) else { return };
        let Phase::Offered { server, template, late_offer, .. } = &leg.phase else { return };
        let (server, offer, flow) = (*server, *late_offer, template.flow);
        let mut ok = self.dialog_response(leg, template, 200);
        if let Some(session) = leg.session {
            session.push_answer(&mut ok.headers);
        }
        push_extra(&mut ok.headers, headers);
        put_sdp(&mut ok, sdp.clone());
        let cseq = cseq_of(&ok.headers);
        let bytes = self.respond(turn, server, ok);
        count_invite(200);
        let timing = self.settings.timing;
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.phase = Phase::Established;
        leg.described = sdp;
        leg.refreshed(turn.at, leg.session);
        leg.alarms.stop(LegTimer::Ringing);
        leg.unacked = Some(Unacked { cseq, flow, bytes, interval: timing.t1, offer, initial: true });
        leg.alarms.set(LegTimer::Resend, turn.at + timing.t1);
        leg.alarms.set(LegTimer::AckWait, turn.at + timing.t1x64());
        self.schedule_leg(id);
    }

    pub(super) fn reject(
        &mut self,
        turn: &mut Turn<'_>,
        id: LegId,
        code: u16,
        reason: &str,
        headers: &[(String, String)],
    ) {
        let Some(leg) = self.legs.get(&id) else { return };
        let Phase::Offered { server, template, .. } = &leg.phase else { return };
        let code = if (300..700).contains(&code) { code } else { 500 };
        let mut refusal = template.response(code, reason, Some(leg.dialog.local_tag()));
        push_extra(&mut refusal.headers, headers);
        let server = *server;
        self.respond(turn, server, refusal);
        count_invite(code);
        self.finish(turn, id);
    }

    fn answer_change(&mut self, turn: &mut Turn<'_>, id: LegId, sdp: Bytes) {
        let Some(reinvite) = self.legs.get_mut(&id).and_then(|leg| leg.reinvite.take()) else { return };
        let Some(leg) = self.legs.get(&id) else { return };
        let mut ok = self.dialog_response(leg, &reinvite.template, 200);
        if let Some(session) = reinvite.session {
            session.push_answer(&mut ok.headers);
        }
        put_sdp(&mut ok, sdp.clone());
        let bytes = self.respond(turn, reinvite.server, ok);
        let timing = self.settings.timing;
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.dialog.refresh_target(reinvite.target);
        leg.described = sdp;
        leg.refreshed(turn.at, reinvite.session);
        if reinvite.kind == Change::Invite {
            // A peer that sends the next INVITE has had the 2xx to the last: an older one is no longer waited for.
            leg.unacked = Some(Unacked {
                cseq: reinvite.cseq,
                flow: reinvite.template.flow,
                bytes,
                interval: timing.t1,
                offer: reinvite.late_offer,
                initial: false,
            });
            leg.alarms.set(LegTimer::Resend, turn.at + timing.t1);
            leg.alarms.set(LegTimer::AckWait, turn.at + timing.t1x64());
        }
        self.schedule_leg(id);
    }

    fn reject_change(&mut self, turn: &mut Turn<'_>, id: LegId, code: u16, headers: &[(String, String)]) {
        let Some(reinvite) = self.legs.get_mut(&id).and_then(|leg| leg.reinvite.take()) else { return };
        let code = if (300..700).contains(&code) { code } else { 500 };
        let mut refusal = reinvite.template.response(code, "", None);
        push_extra(&mut refusal.headers, headers);
        self.respond(turn, reinvite.server, refusal);
    }

    /// BYE, or what ends a leg that is not so far yet.
    pub(super) fn leave(&mut self, turn: &mut Turn<'_>, id: LegId, headers: Vec<(String, String)>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        match leg.phase {
            Phase::Offered { .. } => self.reject(turn, id, 480, "", &headers),
            Phase::Calling { .. } => self.cancel(turn, id),
            Phase::Established if leg.may_leave() => self.send_bye(turn, id, &headers),
            Phase::Established => leg.phase = Phase::Leaving { headers },
            Phase::Leaving { .. } | Phase::Left => {}
        }
    }

    /// The leg has no owner any more: nobody may be left in a call that nobody hears.
    pub(super) fn abandoned(&mut self, turn: &mut Turn<'_>, id: LegId) {
        let reason = vec![("Reason".to_owned(), "SIP;cause=500;text=\"call ended by the gateway\"".to_owned())];
        match self.legs.get(&id).map(|leg| &leg.phase) {
            Some(Phase::Offered { .. }) if self.draining => {
                self.reject(turn, id, 503, "", &[("Retry-After".to_owned(), "30".to_owned())]);
            }
            Some(Phase::Offered { .. }) => self.reject(turn, id, 500, "", &reason),
            Some(_) => self.leave(turn, id, reason),
            None => {}
        }
    }

    pub(super) fn send_bye(&mut self, turn: &mut Turn<'_>, id: LegId, headers: &[(String, String)]) {
        // Without its ACK the peer would never take our BYE.
        self.acknowledge(turn, id, Bytes::new());
        let branch = self.branch();
        self.terminate_change(turn, id);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.settle();
        leg.refreshed(turn.at, None);
        let flow = leg.dialog.next_hop();
        let mut bye = leg.dialog.request(Method::Bye);
        push_extra(&mut bye.headers, headers);
        words::push_reason(&mut bye.headers, words::NORMAL_CLEARING);
        leg.phase = Phase::Left;
        self.send_request(turn, Some(id), bye, flow, &branch);
    }

    /// Puts Via in front, opens the client transaction and sends.
    pub(super) fn send_request(
        &mut self,
        turn: &mut Turn<'_>,
        leg: Option<LegId>,
        mut request: crate::sip::message::Request,
        flow: crate::sip::transport::Flow,
        branch: &str,
    ) -> u64 {
        request.headers.push_front("Via", &words::via_of(&self.settings, &flow, branch));
        request.headers.push("User-Agent", words::SERVER);
        let key = ClientTransaction::key(branch, &request.method);
        let large = flow.transport == Transport::Udp && request.to_bytes().len() > LARGEST_DATAGRAM;
        let open = if large { ClientTransaction::large } else { ClientTransaction::new };
        let client = open(turn.at, request, flow, leg, &self.settings.timing);
        turn.send(client.flow, client.bytes());
        let id = self.clients.insert(key, client);
        if let Some(client) = self.clients.entry_mut(id) {
            client.alarms.schedule(Owner::Client(id), &mut self.agenda);
        }
        id
    }

    pub(super) fn branch(&mut self) -> String {
        format!("{}{}", crate::sip::message::COOKIE, self.entropy.token())
    }

    /// Takes a placed call back.
    pub(super) fn cancel(&mut self, turn: &mut Turn<'_>, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Phase::Calling { client, cancel } = &mut leg.phase else {
            return self.leave(turn, id, Vec::new());
        };
        let client = *client;
        let proceeding = self.clients.entry(client).is_some_and(ClientTransaction::is_proceeding);
        match cancel {
            Cancel::Sent => {}
            _ if !proceeding => *cancel = Cancel::Wanted,
            _ => {
                *cancel = Cancel::Sent;
                self.send_cancel(turn, client);
            }
        }
    }
}

/// A request larger than this goes by a stream where the peer takes one (RFC 3261 section 18.1.1): above it datagrams come in
/// fragments, which many a network loses.
const LARGEST_DATAGRAM: usize = 1300;

/// The call's own headers; those that are not its to write are left out.
pub(super) fn push_extra(headers: &mut Headers, extra: &[(String, String)]) {
    for (name, value) in extra {
        if !headers.push_extra(name, value) {
            tracing::warn!(header = name, "a header that cannot be sent was left out");
        }
    }
}

fn put_sdp(response: &mut Response, sdp: Bytes) {
    if !sdp.is_empty() {
        response.headers.push("Content-Type", "application/sdp");
        response.body = sdp;
    }
}

pub(super) fn cseq_of(headers: &Headers) -> u32 {
    headers.first("CSeq").and_then(|cseq| crate::sip::message::CSeq::parse(cseq).ok()).map_or(0, |cseq| cseq.number)
}
