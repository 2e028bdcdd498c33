//! Offers of our own in calls that we placed: re-INVITE (RFC 3261 section 14.1), and the answer that our ACK carries where the INVITE
//! had no offer (section 13.2.1).

use super::leg::{Phase, Role};
use super::{Endpoint, Output, Turn, words};
use crate::sip::dialog::contact;
use crate::sip::leg::{DialEvent, LegId};
use crate::sip::message::{Headers, Method, Response, session_description};
use bytes::Bytes;

impl Endpoint {
    /// Offers a change of the media by re-INVITE. While another is unanswered, or an offer of the peer's is, it is glare, and told as 491.
    pub(super) fn offer_change(&mut self, turn: &mut Turn<'_>, id: LegId, sdp: Bytes) {
        let branch = self.branch();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.role != Role::Calling || !matches!(leg.phase, Phase::Established) || leg.ack.is_none() {
            return;
        }
        if leg.change.is_some() || leg.reinvite.is_some() {
            let event = DialEvent::Changed { code: 491, sdp: None };
            return turn.out.push(Output::Dial { leg: id, event });
        }
        let flow = leg.dialog.next_hop();
        let mut invite = leg.dialog.request(Method::Invite);
        invite.headers.push("Contact", &words::contact_of(&self.settings, &flow));
        words::push_capabilities(&mut invite.headers);
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
    pub(super) fn change_answered(&mut self, turn: &mut Turn<'_>, id: LegId, response: &Response) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.change = None;
        if (200..300).contains(&response.code) {
            leg.dialog.refresh_target(contact(&response.headers));
            self.send_ack(turn, id, Bytes::new());
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
        if self.legs.get_mut(&id).is_some_and(|leg| std::mem::take(&mut leg.owes_answer)) {
            self.send_ack(turn, id, sdp);
        }
    }
}

pub(super) fn put_description(headers: &mut Headers, body: &mut Bytes, sdp: Bytes) {
    if !sdp.is_empty() {
        headers.push("Content-Type", "application/sdp");
        *body = sdp;
    }
}
