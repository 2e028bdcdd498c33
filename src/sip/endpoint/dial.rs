//! Calls of our own (RFC 3261 sections 9.1, 13.2, 17.1): the test phone, and responses to whatever we sent.

use super::command::push_extra;
use super::leg::{Cancel, Leg, Phase, Role};
use super::{Endpoint, Output, Owner, Turn, words};
use crate::base::metric;
use crate::sip::dialog::Dialog;
use crate::sip::leg::{Dial, DialEvent, LegId};
use crate::sip::message::{CSeq, Headers, Method, NameAddr, Request, Response, Uri, Via, session_description};
use crate::sip::session_timer::SessionTimer;
use crate::sip::transaction::{ClientTransaction, ClientVerdict};
use crate::sip::transport::Flow;
use bytes::Bytes;

impl Endpoint {
    pub(super) fn dial(&mut self, turn: &mut Turn<'_>, id: LegId, dial: Dial, flow: Flow) {
        let from = if dial.from.is_empty() { words::own_uri(&self.settings, &flow) } else { dial.from };
        if Uri::parse_request(&dial.uri).is_err() || Uri::parse(&from).is_err() {
            let refused = DialEvent::Refused { code: 416, reason: "not a URI".to_owned(), headers: Vec::new() };
            turn.out.push(Output::Dial { leg: id, event: refused });
            turn.out.push(Output::Dial { leg: id, event: DialEvent::Ended });
            return;
        }
        let (call_id, tag, branch) = (self.entropy.token(), self.entropy.token(), self.branch());
        let mut dialog = Dialog::calling(call_id, &from, &dial.uri, tag, flow);
        let mut invite = dialog.request(Method::Invite);
        invite.headers.push("Contact", &words::contact_of(&self.settings, &flow, words::is_secure(&invite)));
        words::push_capabilities(&self.settings, &mut invite.headers);
        push_extra(&mut invite.headers, &dial.headers);
        let description = dial.sdp.clone();
        super::offer::put_description(&mut invite.headers, &mut invite.body, dial.sdp);
        let client = self.send_request(turn, Some(id), invite, flow, &branch);
        let phase = Phase::Calling { client, cancel: Cancel::No };
        let mut leg = Leg::new(Role::Calling, dialog, phase, flow.remote.ip());
        leg.described = description;
        leg.credentials = dial.credentials.map(Box::new);
        self.dialogs.insert(leg.dialog_key(), id);
        self.legs.insert(id, leg);
        self.dialled += 1;
    }

    /// A response: to the transaction it belongs to, else nowhere.
    pub(super) fn response(&mut self, turn: &mut Turn<'_>, response: Response) {
        let headers = &response.headers;
        let branch = headers.list("Via").first().and_then(|via| Via::parse(via).ok());
        let cseq = headers.first("CSeq").map(CSeq::parse);
        let (Some(branch), Some(Ok(cseq))) = (branch.as_ref().and_then(Via::branch), cseq) else {
            metrics::counter!(metric::SIP_PARSE_ERRORS_TOTAL).increment(1);
            return;
        };
        let Some(client_id) = self.clients.id(&ClientTransaction::key(branch, &cseq.method)) else { return };
        let Some(client) = self.clients.entry_mut(client_id) else { return };
        let verdict = client.receive(turn.at, response.code, &self.settings.timing);
        client.alarms.schedule(Owner::Client(client_id), &mut self.agenda);
        let leg = client.leg;
        if matches!(verdict, ClientVerdict::PassAndAck | ClientVerdict::AckAgain) {
            let ack = follow_up(&client.request, Method::Ack, headers.first("To"));
            turn.send(client.flow, ack.to_bytes());
        }
        if !matches!(verdict, ClientVerdict::Pass | ClientVerdict::PassAndAck) {
            return;
        }
        let Some(leg) = leg else { return };
        if response.code >= 200 && self.is_refresh(leg, client_id) {
            return self.refresh_answered(turn, leg, cseq.number, &response);
        }
        if response.code >= 200 && self.is_change(leg, client_id) {
            return self.change_answered(turn, leg, cseq.number, &response);
        }
        match (cseq.method, response.code) {
            (Method::Invite, ..200) => self.progress(turn, leg, client_id, &response),
            (Method::Invite, 200..300) => self.accepted(turn, leg, cseq.number, &response),
            (Method::Invite | Method::Bye, 401 | 407) if self.answer_challenge(turn, leg, client_id, &response) => {}
            (Method::Invite, code) => self.refused(turn, leg, code, &response.reason, headers),
            (Method::Bye, 200..) => self.finish(turn, leg),
            (Method::Refer, 200..) => self.refer_answered(turn, leg, cseq.number, &response),
            _ => {}
        }
    }

    fn progress(&mut self, turn: &mut Turn<'_>, id: LegId, client: u64, response: &Response) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if !matches!(leg.phase, Phase::Calling { .. }) || !self.takes_provisional(turn, id, response) {
            return;
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Phase::Calling { cancel, .. } = &mut leg.phase else { return };
        let wanted = *cancel == Cancel::Wanted;
        if wanted {
            *cancel = Cancel::Sent;
        }
        let sdp = session_description(&response.headers, &response.body).ok().flatten();
        let event = DialEvent::Provisional { code: response.code, reason: response.reason.clone(), sdp };
        turn.out.push(Output::Dial { leg: id, event });
        if wanted {
            self.send_cancel(turn, client);
        }
    }

    /// Every 2xx gets its ACK; one of another fork, or one that crossed our CANCEL, also a BYE.
    fn accepted(&mut self, turn: &mut Turn<'_>, id: LegId, cseq: u32, response: &Response) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let to_tag = response.headers.first("To").and_then(|to| NameAddr::parse(to).ok());
        let to_tag = to_tag.as_ref().and_then(NameAddr::tag).unwrap_or_default();
        let Phase::Calling { cancel, .. } = leg.phase else {
            match leg.ack.clone() {
                _ if leg.dialog.remote_tag() != to_tag => self.drop_fork(turn, id, cseq, response),
                Some((number, flow, ack)) if number == cseq => turn.send(flow, ack),
                _ if leg.owes_answer == Some(cseq) => {}
                _ => self.send_ack(turn, id, cseq, Bytes::new()),
            }
            return;
        };
        leg.dialog.answered(response);
        leg.phase = Phase::Established;
        leg.updates = super::verdict::allows_update(&response.headers).unwrap_or(false);
        leg.refreshed(turn.at, SessionTimer::told(&response.headers));
        let late_offer = leg.described.is_empty();
        leg.owes_answer = late_offer.then_some(cseq);
        self.schedule_leg(id);
        if !late_offer {
            self.send_ack(turn, id, cseq, Bytes::new());
        }
        let sdp = session_description(&response.headers, &response.body).ok().flatten();
        let answered = DialEvent::Answered { sdp, headers: response.headers.pairs() };
        turn.out.push(Output::Dial { leg: id, event: answered });
        if cancel != Cancel::No {
            self.send_bye(turn, id, &[]);
        }
    }

    pub(super) fn send_ack(&mut self, turn: &mut Turn<'_>, id: LegId, cseq: u32, sdp: Bytes) {
        let branch = self.branch();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let flow = leg.dialog.next_hop();
        let mut ack = leg.dialog.ack(cseq);
        ack.headers.push_front("Via", &words::via_of(&self.settings, &flow, &branch));
        super::offer::put_description(&mut ack.headers, &mut ack.body, sdp);
        let bytes = ack.to_bytes();
        turn.send(flow, bytes.clone());
        leg.ack = Some((cseq, flow, bytes));
    }

    /// A second callee answered too (section 13.2.2.4): thanked and hung up on.
    fn drop_fork(&mut self, turn: &mut Turn<'_>, id: LegId, cseq: u32, response: &Response) {
        let (ack_branch, bye_branch) = (self.branch(), self.branch());
        let Some(leg) = self.legs.get(&id) else { return };
        let mut fork = leg.dialog.fork();
        fork.answered(response);
        let flow = fork.next_hop();
        let mut ack = fork.ack(cseq);
        ack.headers.push_front("Via", &words::via_of(&self.settings, &flow, &ack_branch));
        turn.send(flow, ack.to_bytes());
        let mut bye = fork.request(Method::Bye);
        words::push_reason(&mut bye.headers, "SIP;cause=200;text=\"Call completed elsewhere\"");
        self.send_request(turn, None, bye, flow, &bye_branch);
    }

    fn refused(&mut self, turn: &mut Turn<'_>, id: LegId, code: u16, reason: &str, headers: &Headers) {
        if self.legs.get(&id).is_some_and(|leg| matches!(leg.phase, Phase::Calling { .. })) {
            let event = DialEvent::Refused { code, reason: reason.to_owned(), headers: headers.pairs() };
            turn.out.push(Output::Dial { leg: id, event });
            self.finish(turn, id);
        }
    }

    pub(super) fn send_cancel(&mut self, turn: &mut Turn<'_>, client: u64) {
        let Some(invite) = self.clients.entry_mut(client) else { return };
        invite.cancelled(turn.at, &self.settings.timing);
        invite.alarms.schedule(Owner::Client(client), &mut self.agenda);
        let (cancel, flow) = (follow_up(&invite.request, Method::Cancel, None), invite.flow);
        let via = cancel.headers.first("Via").and_then(|via| Via::parse(via).ok());
        let key = ClientTransaction::key(via.as_ref().and_then(Via::branch).unwrap_or_default(), &Method::Cancel);
        let cancel = ClientTransaction::new(turn.at, cancel, flow, None, &self.settings.timing);
        turn.send(flow, cancel.bytes());
        let id = self.clients.insert(key, cancel);
        if let Some(cancel) = self.clients.entry_mut(id) {
            cancel.alarms.schedule(Owner::Client(id), &mut self.agenda);
        }
    }

    /// No answer came to a request: 408 (section 8.1.3.1).
    pub(super) fn unanswered(&mut self, turn: &mut Turn<'_>, client: u64, code: u16, reason: &str) {
        let id = client;
        let Some(client) = self.clients.remove(client) else { return };
        let refresh = client.leg.is_some_and(|leg| self.is_refresh(leg, id));
        let Some(leg) = client.leg else { return };
        if refresh {
            return self.refresh_unanswered(turn, leg, code);
        }
        match client.request.method {
            Method::Invite if self.legs.get(&leg).is_some_and(|leg| matches!(leg.phase, Phase::Established)) => {
                self.change_told(turn, leg, code, None);
            }
            Method::Invite => self.refused(turn, leg, code, reason, &Headers::default()),
            Method::Bye => self.finish(turn, leg),
            Method::Refer => self.refer_unanswered(turn, leg, &client.request, code),
            _ => {}
        }
    }

    /// The transport failed: 503 for all that waits on it (section 8.1.3.1).
    pub(super) fn unreachable(&mut self, turn: &mut Turn<'_>, flow: Flow) {
        let failed = self.clients.picked(|client| {
            let same_connection = flow.connection != 0 && client.flow.connection == flow.connection;
            let same_way = client.flow.transport == flow.transport && client.flow.remote == flow.remote;
            client.is_open() && (same_connection || same_way)
        });
        for id in failed {
            if let Some(client) = self.clients.entry_mut(id)
                && client.fall_back(turn.at, &self.settings.timing)
            {
                turn.send(client.flow, client.bytes());
                client.alarms.schedule(Owner::Client(id), &mut self.agenda);
                continue;
            }
            self.unanswered(turn, id, 503, "the peer cannot be reached");
        }
    }
}

/// ACK of a refusal, or CANCEL: the INVITE's own Via, route and names (sections 9.1 and 17.1.1.3).
fn follow_up(invite: &Request, method: Method, to: Option<&str>) -> Request {
    let mut headers = Headers::default();
    for field in invite.headers.iter() {
        match field.name.as_str() {
            "To" => {
                headers.push("To", to.unwrap_or(&field.value));
            }
            "CSeq" => {
                let number = field.value.split(' ').next().unwrap_or_default();
                headers.push("CSeq", &format!("{number} {method}"));
            }
            "Via" | "Route" | "Max-Forwards" | "From" | "Call-ID" => headers.push_field(field),
            _ => {}
        }
    }
    Request { method, uri: invite.uri.clone(), headers, body: bytes::Bytes::new() }
}
