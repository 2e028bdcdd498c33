//! Digest authentication (RFC 3261 section 22): of INVITEs that come in, and of requests of ours that are challenged.

use super::leg::{Cancel, Phase};
use super::verdict::Refused;
use super::{Endpoint, Turn};
use crate::sip::digest::{Objection, respond};
use crate::sip::leg::LegId;
use crate::sip::message::{Inbound, Method, Request, Response};
use std::time::Instant;

impl Endpoint {
    /// What is wrong with the credentials of an INVITE, where they are demanded.
    pub(super) fn authenticate(&mut self, now: Instant, inbound: &Inbound) -> Result<(), Refused> {
        let Self { settings, guard, entropy, .. } = self;
        let Some(digest) = &settings.digest else { return Ok(()) };
        let source = inbound.flow.remote.ip();
        let Err(objection) = guard.judge(now, digest, source, &inbound.request) else { return Ok(()) };
        let reason = objection.reason();
        Err(match objection {
            Objection::Malformed(what) => {
                let phrase = format!("Bad Request: Authorization: {what}");
                Refused { phrase, ..Refused::new(400, reason) }
            }
            Objection::Uri => {
                let phrase = "Bad Request: Authorization: uri is not that of the request".to_owned();
                Refused { phrase, ..Refused::new(400, reason) }
            }
            Objection::Limited => Refused::new(403, reason),
            Objection::Missing | Objection::Stale | Objection::Replayed | Objection::Wrong => {
                let challenges = guard.challenges(now, digest, objection, || entropy.word());
                challenges
                    .into_iter()
                    .fold(Refused::new(401, reason), |refused, challenge| refused.with("WWW-Authenticate", challenge))
            }
        })
    }

    /// Sends a request of ours again with credentials; false where it has none, or they will not help.
    pub(super) fn answer_challenge(
        &mut self,
        turn: &mut Turn<'_>,
        id: LegId,
        client: u64,
        response: &Response,
    ) -> bool {
        let (asked, answered) = match response.code {
            401 => ("WWW-Authenticate", "Authorization"),
            _ => ("Proxy-Authenticate", "Proxy-Authorization"),
        };
        let (branch, cnonce) = (self.branch(), self.entropy.token());
        let Some(leg) = self.legs.get_mut(&id) else { return false };
        let Some(transaction) = self.clients.entry(client) else { return false };
        let (request, flow) = (&transaction.request, transaction.flow);
        let Some(credentials) = leg.credentials.as_ref().filter(|_| leg.challenges < MAX_CHALLENGES) else {
            return false;
        };
        // Nobody wants the call any more, or it was settled by another answer.
        let calling = matches!(leg.phase, Phase::Calling { client: open, cancel: Cancel::No } if open == client);
        if request.method == Method::Invite && !calling {
            return false;
        }
        let challenges = response.headers.fields_of(asked).map(|field| field.value.as_str());
        let again = request.headers.count(answered) > 0;
        let Some(value) = respond(challenges, credentials, request, again, &cnonce) else { return false };
        leg.challenges += 1;
        let numbered = leg.dialog.request(request.method.clone());
        let mut again = Request { headers: Default::default(), ..request.clone() };
        for field in request.headers.iter() {
            match field.name.as_str() {
                // The new transaction writes its own.
                "Via" | "User-Agent" => {}
                "CSeq" => {
                    again.headers.push("CSeq", numbered.headers.first("CSeq").unwrap_or_default());
                }
                name if name == answered => {}
                _ => again.headers.push_field(field),
            }
        }
        again.headers.push(answered, &value);
        let is_invite = again.method == Method::Invite;
        let next = self.send_request(turn, Some(id), again, flow, &branch);
        if let Some(leg) = self.legs.get_mut(&id).filter(|_| is_invite) {
            leg.phase = Phase::Calling { client: next, cancel: Cancel::No };
        }
        true
    }
}

/// Of one call: proxies on the way, the callee, a stale nonce or two.
const MAX_CHALLENGES: u8 = 6;
