//! The front door: bytes to a verdict (RFC 3261 sections 8.2 and 18.2, RFC 4475).

use super::leg::Role;
use super::respond::{count_refused, finish_response};
use super::verdict::Refused;
use super::words::Template;
use super::{Endpoint, Turn, verdict};
use crate::base::metric;
use crate::sip::dialog::Dialog;
use crate::sip::leg::LegId;
use crate::sip::message::{Framing, Inbound, Malformed, Message, Method, parse};
use crate::sip::stun;
use crate::sip::transport::{Flow, Transport};
use bytes::Bytes;

impl Endpoint {
    pub(super) fn received(&mut self, turn: &mut Turn<'_>, flow: Flow, bytes: &Bytes) {
        if is_blank(bytes) {
            return;
        }
        let known = self.settings.allows(flow.remote.ip());
        if stun::is_stun(bytes) {
            return self.keep_alive(turn, flow, bytes, known);
        }
        let may_be_answer = self.has_asked() && bytes.starts_with(b"SIP/");
        // Before anything is read: a flood of strangers costs an address comparison each.
        if !known
            && self.settings.drop_unknown
            && flow.transport == Transport::Udp
            && !self.has_dialled()
            && !may_be_answer
        {
            count_refused("stranger_dropped");
            return;
        }
        let framing = if flow.transport.reliable() { Framing::Stream } else { Framing::Datagram };
        let inbound = match parse(bytes, framing) {
            Ok(Message::Response(response)) => return self.response(turn, response),
            Ok(Message::Request(request)) => Inbound::new(request, flow),
            Err(malformed) => Err(malformed),
        };
        match inbound {
            Ok(inbound) if known || self.is_called_peer(&inbound) => self.request(turn, &inbound),
            Ok(inbound) => self.stranger(turn, &inbound),
            Err(malformed) => self.malformed(turn, malformed, flow, known),
        }
    }

    /// STUN on UDP (RFC 5626 section 4.4.2): those who may call are told that we are there, others nothing.
    fn keep_alive(&self, turn: &mut Turn<'_>, flow: Flow, bytes: &[u8], known: bool) {
        if known
            && flow.transport == Transport::Udp
            && let Some(answer) = stun::answer(bytes, flow.remote)
        {
            metrics::counter!(metric::SIP_KEEP_ALIVES_TOTAL, "kind" => "stun").increment(1);
            turn.send(flow, answer);
        }
    }

    /// Whether the request belongs to a call that we placed: its peer need not be in the list of those who may call.
    fn is_called_peer(&self, inbound: &Inbound) -> bool {
        self.dialled > 0
            && self.dialog_of(inbound).and_then(|id| self.legs.get(&id)).is_some_and(|leg| leg.role == Role::Calling)
    }

    fn stranger(&mut self, turn: &mut Turn<'_>, inbound: &Inbound) {
        if self.settings.drop_unknown && inbound.flow.transport == Transport::Udp {
            count_refused("stranger_dropped");
        } else if inbound.request.method == Method::Ack {
            count_refused("stranger");
        } else if !self.gate.answers_stranger(turn.at) {
            count_refused("stranger_flood");
        } else {
            self.refuse(turn, inbound, &Refused::new(403, "stranger"));
        }
    }

    /// 400 (or 505, 513) that names what was wrong, where there is a way back; strangers get nothing.
    fn malformed(&mut self, turn: &mut Turn<'_>, malformed: Malformed, flow: Flow, known: bool) {
        metrics::counter!(metric::SIP_PARSE_ERRORS_TOTAL).increment(1);
        tracing::debug!(what = malformed.what, "malformed SIP message");
        if matches!(malformed.code, 413 | 414 | 513) {
            count_refused("too_large");
        }
        let Some(request) = malformed.request.filter(|request| known && request.method != Method::Ack) else { return };
        if request.method == Method::Invite {
            self.remarks.write(turn.at, flow.remote.ip(), malformed.code, "malformed");
        }
        let template = Template::salvage(&request, flow);
        if !template.is_answerable() {
            return;
        }
        let tag = self.entropy.stateless_tag(request.headers.first("Via").unwrap_or_default());
        let reason = if malformed.code == 400 { format!("Bad Request: {}", malformed.what) } else { String::new() };
        let mut response = template.response(malformed.code, &reason, Some(&tag));
        finish_response(&mut response);
        turn.send(template.flow, response.to_bytes());
    }

    fn request(&mut self, turn: &mut Turn<'_>, inbound: &Inbound) {
        let method = &inbound.request.method;
        if *method == Method::Ack {
            return self.ack(turn, inbound);
        }
        let transaction = self.servers.id(&inbound.transaction_key());
        match (method, transaction) {
            (Method::Cancel, transaction) => self.cancelled(turn, inbound, transaction),
            (_, Some(id)) => self.retransmitted(turn, id),
            (Method::Other(_), None) => self.refuse(turn, inbound, &Refused::method(501)),
            (
                Method::Invite
                | Method::Bye
                | Method::Info
                | Method::Update
                | Method::Options
                | Method::Prack
                | Method::Notify,
                None,
            ) => self.first_seen(turn, inbound),
            (_, None) => self.refuse(turn, inbound, &Refused::method(405)),
        }
    }

    fn first_seen(&mut self, turn: &mut Turn<'_>, inbound: &Inbound) {
        if inbound.to.tag().is_some() {
            return match self.dialog_of(inbound) {
                Some(leg) => self.within(turn, leg, inbound),
                None => self.refuse(turn, inbound, &Refused::new(481, "no_dialog")),
            };
        }
        match inbound.request.method {
            Method::Invite => self.invited(turn, inbound),
            Method::Options => self.asked(turn, inbound),
            _ => self.refuse(turn, inbound, &Refused::new(481, "no_dialog")),
        }
    }

    /// The request came again: the last answer goes again, a 2xx to INVITE too while its ACK is missing.
    fn retransmitted(&self, turn: &mut Turn<'_>, id: u64) {
        let Some(server) = self.servers.entry(id) else { return };
        let unacked = || {
            let leg = self.legs.get(&server.leg?)?;
            let unacked = leg.unacked.as_ref()?;
            (unacked.bytes == server.last()).then(|| unacked.bytes.clone())
        };
        if let Some(bytes) = server.again().or_else(unacked) {
            turn.send(server.flow, bytes);
        }
    }

    /// The leg whose dialog a request belongs to.
    pub(super) fn dialog_of(&self, inbound: &Inbound) -> Option<LegId> {
        let id = *self.dialogs.get(&Dialog::key(&inbound.call_id, inbound.to.tag()?))?;
        self.legs.get(&id)?.dialog.matches(inbound.from_tag()).then_some(id)
    }

    /// OPTIONS outside a dialog (section 11): how an INVITE would fare.
    fn asked(&mut self, turn: &mut Turn<'_>, inbound: &Inbound) {
        let verdict = verdict::check(&inbound.request, &self.settings).and_then(|()| match self.shut() {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        });
        match verdict {
            Ok(()) => self.answer_stateless(turn, inbound, 200, "", &verdict::capabilities(&self.settings)),
            Err(refused) => self.refuse(turn, inbound, &refused),
        }
    }
}

/// Keep-alives of a line end or so, which open a NAT's way and want no answer, are neither messages nor mistakes.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.len() <= 8 && bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | b' ' | 0))
}
