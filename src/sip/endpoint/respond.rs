//! Answers: those that need no memory, and those of a transaction.

use super::leg::Leg;
use super::verdict::Refused;
use super::words::{self, Template};
use super::{Endpoint, Owner, Turn};
use crate::base::metric;
use crate::sip::leg::LegId;
use crate::sip::message::{Inbound, Method, Response};
use crate::sip::transaction::{Answered, ServerTransaction};

impl Endpoint {
    /// Answers without keeping anything: a retransmission gets the same answer, To tag included (RFC 3261 section 8.2.7).
    pub(super) fn answer_stateless(
        &self,
        turn: &mut Turn<'_>,
        inbound: &Inbound,
        code: u16,
        phrase: &str,
        extra: &[(&'static str, String)],
    ) {
        let template = Template::new(inbound);
        let tag = self.entropy.stateless_tag(&inbound.transaction_key());
        let mut response = template.response(code, phrase, Some(&tag));
        for (name, value) in extra {
            response.headers.push(name, value);
        }
        if inbound.request.method == Method::Invite && inbound.to.tag().is_none() {
            count_invite(code);
        }
        // What we are is not told to strangers.
        if self.settings.allows(inbound.flow.remote.ip()) {
            finish_response(&mut response);
        }
        turn.send(template.flow, response.to_bytes());
    }

    /// The same, as a refusal that is counted by its reason.
    pub(super) fn refuse(&mut self, turn: &mut Turn<'_>, inbound: &Inbound, refused: &Refused) {
        let Refused { code, phrase, reason, headers } = refused;
        count_refused(reason);
        tracing::debug!(call_id = inbound.call_id, code, reason, "SIP request refused");
        self.remarks.refused(turn.at, inbound, *code, reason);
        self.answer_stateless(turn, inbound, *code, phrase, headers);
    }

    /// Sends a response of server transaction `id` and moves the transaction on.
    pub(super) fn respond(&mut self, turn: &mut Turn<'_>, id: u64, mut response: Response) -> bytes::Bytes {
        finish_response(&mut response);
        let bytes = response.to_bytes();
        if let Some(server) = self.servers.entry_mut(id) {
            turn.send(server.flow, bytes.clone());
            server.respond(turn.at, Answered::with(response.code), bytes.clone(), &self.settings.timing);
            server.alarms.schedule(Owner::Server(id), &mut self.agenda);
            if response.code >= 300 {
                self.unmerge(id);
            }
        }
        bytes
    }

    /// Nothing is merged with this INVITE any more: it was refused, and a proxy may try again by another way (RFC 3261 section
    /// 16.7 step 6), or it is forgotten.
    pub(super) fn unmerge(&mut self, id: u64) {
        let merge_key = self.servers.entry_mut(id).and_then(|server| server.merge_key.take());
        if let Some(key) = merge_key.filter(|key| self.merges.get(key) == Some(&id)) {
            self.merges.remove(&key);
        }
    }

    /// Keeps a request within a dialog for its retransmissions; only the newest few of each leg.
    pub(super) fn open_within(&mut self, leg_id: LegId, inbound: &Inbound) -> u64 {
        let flow = inbound.response_flow();
        let transaction = match inbound.request.method {
            Method::Invite => ServerTransaction::invite(flow, leg_id, None),
            _ => ServerTransaction::non_invite(flow, leg_id),
        };
        let id = self.servers.insert(inbound.transaction_key(), transaction);
        if let Some(leg) = self.legs.get_mut(&leg_id) {
            leg.recent.push_back(id);
            if leg.recent.len() > RECENT {
                // The one that the call has yet to answer stays.
                let open = leg.reinvite.as_ref().map(|reinvite| reinvite.server);
                let oldest = leg.recent.iter().position(|server| Some(*server) != open).unwrap_or(0);
                if let Some(server) = leg.recent.remove(oldest) {
                    self.servers.remove(server);
                }
            }
        }
        id
    }

    /// A final answer at once to a request within a dialog, kept for retransmissions.
    pub(super) fn answer_within(
        &mut self,
        turn: &mut Turn<'_>,
        leg_id: LegId,
        inbound: &Inbound,
        code: u16,
        extra: &[(&'static str, String)],
    ) {
        let id = self.open_within(leg_id, inbound);
        let mut response = Template::new(inbound).response(code, "", None);
        for (name, value) in extra {
            response.headers.push(name, value);
        }
        self.respond(turn, id, response);
    }

    /// The same for a refusal that hangs on the state of the call: its retransmission must not find another state.
    pub(super) fn refuse_within(&mut self, turn: &mut Turn<'_>, leg_id: LegId, inbound: &Inbound, refused: &Refused) {
        count_refused(refused.reason);
        tracing::debug!(call_id = inbound.call_id, refused.code, refused.reason, "SIP request refused");
        self.answer_within(turn, leg_id, inbound, refused.code, &refused.headers);
    }

    /// A 2xx or 18x that makes or changes the dialog.
    pub(super) fn dialog_response(&self, leg: &Leg, template: &Template, code: u16) -> Response {
        let mut response = template.dialog_response(code, leg.dialog.local_tag());
        response.headers.push("Contact", &words::contact_of(&self.settings, &template.flow, template.secure));
        words::push_capabilities(&self.settings, &mut response.headers);
        response
    }
}

/// What every answer of ours carries.
pub(super) fn finish_response(response: &mut Response) {
    if response.code > 100 {
        response.headers.push("Server", words::SERVER);
    }
    if response.code >= 300 {
        words::push_reason(&mut response.headers, &format!("Q.850;cause={}", q850_cause(response.code)));
    }
}

/// The cause of a final error in the telephone network's words, for the Reason of RFC 6432 (RFC 3398 section 8.2.6.1).
fn q850_cause(code: u16) -> u8 {
    match code {
        401 | 402 | 403 | 407 | 603 => 21,
        404 | 604 => 1,
        410 => 22,
        408 | 504 => 102,
        413 | 414 | 416 | 420 | 421 | 423 | 505 | 513 => 127,
        480 => 18,
        482 | 483 => 25,
        484 => 28,
        486 | 600 => 17,
        487 => 16,
        400 | 481 | 500 | 503 => 41,
        405 | 406 | 415 | 422 | 488 | 501 | 606 => 79,
        502 => 38,
        _ => 31,
    }
}

/// A final answer to an INVITE outside a dialog.
pub(super) fn count_invite(code: u16) {
    metrics::counter!(metric::INVITES_TOTAL, "code" => code.to_string()).increment(1);
}

pub(super) fn count_refused(reason: &'static str) {
    metrics::counter!(metric::SIP_REFUSED_TOTAL, "reason" => reason).increment(1);
}

/// Transactions kept of one dialog: an INFO flood costs the flooder's own retransmissions and nothing else.
const RECENT: usize = 16;
