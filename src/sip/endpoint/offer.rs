//! Offers of our own in calls that we placed: re-INVITE (RFC 3261 section 14.1), and the answer that our ACK carries where the INVITE
//! had no offer (section 13.2.1).

use super::leg::{Phase, Role};
use super::{Endpoint, Output, Turn, words};
use crate::sip::dialog::contact;
use crate::sip::leg::{DialEvent, LegId};
use crate::sip::message::{Headers, Method, Response, session_description};
use crate::sip::session_timer::SessionTimer;
use bytes::Bytes;

impl Endpoint {
    /// Offers a change of the media by re-INVITE. While another is unanswered, or an offer of the peer's is, it is glare, and told as 491.
    pub(super) fn offer_change(&mut self, turn: &mut Turn<'_>, id: LegId, sdp: Bytes) {
        let branch = self.branch();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.role != Role::Calling || !matches!(leg.phase, Phase::Established) || leg.ack.is_none() {
            return;
        }
        if leg.change.is_some() || leg.reinvite.is_some() || leg.refresh.is_some() {
            let event = DialEvent::Changed { code: 491, sdp: None };
            return turn.out.push(Output::Dial { leg: id, event });
        }
        let flow = leg.dialog.next_hop();
        let mut invite = leg.dialog.request(Method::Invite);
        invite.headers.push("Contact", &words::contact_of(&self.settings, &flow, words::is_secure(&invite)));
        words::push_capabilities(&self.settings, &mut invite.headers);
        if let Some(session) = leg.session {
            session.push_refresh(&mut invite.headers);
        }
        put_description(&mut invite.headers, &mut invite.body, sdp);
        let client = self.send_request(turn, Some(id), invite, flow, &branch);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.change = Some(client);
        }
    }

    /// Whether this client transaction is the leg's re-INVITE.
    pub(super) fn is_change(&self, id: LegId, client: u64) -> bool {
        self.legs.get(&id).is_some_and(|leg| leg.change == Some(client))
    }

    /// A final answer to it. A dialog that the peer does not know any more, or that does not answer, is over (section 12.2.1.2).
    pub(super) fn change_answered(&mut self, turn: &mut Turn<'_>, id: LegId, cseq: u32, response: &Response) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let change = leg.change.take();
        if (200..300).contains(&response.code) {
            leg.dialog.refresh_target(contact(&response.headers));
            if let Some(client) = change.and_then(|change| self.clients.entry(change)) {
                leg.described = client.request.body.clone();
            }
            if matches!(leg.phase, Phase::Established) {
                leg.refreshed(turn.at, SessionTimer::told(&response.headers));
            }
            self.schedule_leg(id);
            self.send_ack(turn, id, cseq, Bytes::new());
        }
        let sdp = session_description(&response.headers, &response.body).ok().flatten();
        self.change_told(turn, id, response.code, sdp);
    }

    /// What came of it.
    pub(super) fn change_told(&mut self, turn: &mut Turn<'_>, id: LegId, code: u16, sdp: Option<Bytes>) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.change = None;
        }
        turn.out.push(Output::Dial { leg: id, event: DialEvent::Changed { code, sdp } });
        if matches!(code, 408 | 481) {
            self.leave(turn, id, Vec::new());
        }
    }

    /// The answer to the offer in the peer's 2xx.
    pub(super) fn acknowledge(&mut self, turn: &mut Turn<'_>, id: LegId, sdp: Bytes) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Some(cseq) = leg.owes_answer.take() {
            leg.described = sdp.clone();
            self.send_ack(turn, id, cseq, sdp);
        }
    }
}

pub(super) fn put_description(headers: &mut Headers, body: &mut Bytes, sdp: Bytes) {
    if !sdp.is_empty() {
        headers.push("Content-Type", "application/sdp");
        *body = sdp;
    }
}
