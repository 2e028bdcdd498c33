//! The session timer at work (RFC 4028 sections 7, 9 and 10): refreshing, and hanging up where nobody does.

use super::leg::{Change, LegTimer, Phase, Refresh, Role};
use super::{Endpoint, Turn, words};
use crate::sip::dialog::contact;
use crate::sip::leg::{LegEvent, LegId};
use crate::sip::message::{Headers, Method, Response, session_description};
use crate::sip::session_timer::{SessionTimer, min_se};
use bytes::Bytes;
use std::time::Duration;

impl Endpoint {
    /// Our turn: UPDATE, or a re-INVITE with the description that holds where the peer does not take UPDATE.
    pub(super) fn send_refresh(&mut self, turn: &mut Turn<'_>, id: LegId) {
        let branch = self.branch();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(timer) = leg.session.filter(|_| matches!(leg.phase, Phase::Established)) else { return };
        if leg.refresh.is_some() || leg.change.is_some() || leg.reinvite.is_some() || leg.unacked.is_some() {
            return leg.alarms.set(LegTimer::Refresh, turn.at + BUSY);
        }
        let (kind, method) = if leg.updates || leg.described.is_empty() {
            (Change::Update, Method::Update)
        } else {
            (Change::Invite, Method::Invite)
        };
        let flow = leg.dialog.next_hop();
        let mut request = leg.dialog.request(method);
        request.headers.push("Contact", &words::contact_of(&self.settings, &flow, words::is_secure(&request)));
        words::push_capabilities(&self.settings, &mut request.headers);
        timer.push_refresh(&mut request.headers);
        if kind == Change::Invite {
            request.headers.push("Content-Type", words::ACCEPT);
            request.body = leg.described.clone();
        }
        let client = self.send_request(turn, Some(id), request, flow, &branch);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.refresh = Some(Refresh { client, kind });
        }
    }

    /// Whether a client transaction is the refresh that is under way.
    pub(super) fn is_refresh(&self, id: LegId, client: u64) -> bool {
        self.legs.get(&id).and_then(|leg| leg.refresh).is_some_and(|refresh| refresh.client == client)
    }

    /// The final answer to our refresh.
    pub(super) fn refresh_answered(&mut self, turn: &mut Turn<'_>, id: LegId, cseq: u32, response: &Response) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(Refresh { kind, .. }) = leg.refresh.take() else { return };
        let headers = &response.headers;
        match response.code {
            200..300 => {
                leg.dialog.refresh_target(contact(headers));
                if let Some(updates) = super::verdict::allows_update(headers) {
                    leg.updates = updates;
                }
                if matches!(leg.phase, Phase::Established) {
                    // A peer without the extension says nothing of it: then nothing ends, and we go on refreshing.
                    let silent = leg.session;
                    leg.refreshed(turn.at, SessionTimer::told(headers).or(silent));
                }
                if kind == Change::Invite {
                    let sdp = session_description(headers, &response.body).ok().flatten();
                    self.send_ack(turn, id, cseq, Bytes::new());
                    if let Some(sdp) = sdp {
                        self.emit(turn, id, LegEvent::Refreshed { sdp });
                    }
                }
            }
            408 | 481 => self.session_lost(turn, id, response.code, "session refresh refused"),
            422 => match (&mut leg.session, min_se(headers)) {
                (Some(timer), Some(least)) if least > timer.interval => {
                    timer.interval = least;
                    self.send_refresh(turn, id);
                }
                _ => self.refresh_refused(turn, id, headers),
            },
            405 | 501 if kind == Change::Update && !leg.described.is_empty() => {
                leg.updates = false;
                self.send_refresh(turn, id);
            }
            491 => {
                // RFC 3261 section 14.1: whose Call-ID it is waits longer.
                let tens = match leg.role {
                    Role::Calling => 210 + self.entropy.below(191),
                    Role::Called => self.entropy.below(201),
                };
                self.refresh_again(turn, id, Duration::from_millis(tens * 10));
            }
            _ => self.refresh_refused(turn, id, headers),
        }
        self.schedule_leg(id);
    }

    /// No answer to our refresh: 408 ends the dialog (RFC 3261 section 12.2.1.2), a broken transport is tried again.
    pub(super) fn refresh_unanswered(&mut self, turn: &mut Turn<'_>, id: LegId, code: u16) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.refresh = None;
        }
        if code == 408 {
            self.session_lost(turn, id, code, "no answer to the session refresh");
        } else {
            self.refresh_again(turn, id, BROKEN);
        }
        self.schedule_leg(id);
    }

    /// A peer that refuses is there all the same: no call is ended for that. It is asked again.
    fn refresh_refused(&mut self, turn: &mut Turn<'_>, id: LegId, headers: &Headers) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let session = leg.session;
        leg.refreshed(turn.at, session);
        let half = session.map_or(REFUSED, SessionTimer::refresh_after);
        let asked = headers.first("Retry-After").and_then(|value| {
            let digits = value.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok().map(Duration::from_secs)
        });
        tracing::debug!("session refresh refused, the call goes on");
        self.refresh_again(turn, id, asked.unwrap_or(REFUSED).clamp(REFUSED, half));
    }

    fn refresh_again(&mut self, turn: &mut Turn<'_>, id: LegId, after: Duration) {
        if let Some(leg) = self.legs.get_mut(&id).filter(|leg| matches!(leg.phase, Phase::Established)) {
            leg.alarms.set(LegTimer::Refresh, turn.at + after);
        }
    }

    /// Nobody is there any more: BYE.
    pub(super) fn session_lost(&mut self, turn: &mut Turn<'_>, id: LegId, code: u16, text: &str) {
        if self.legs.get(&id).is_some_and(|leg| matches!(leg.phase, Phase::Established)) {
            self.emit(turn, id, LegEvent::Expired);
            let reason = format!("SIP;cause={code};text=\"{text}\"");
            self.leave(turn, id, vec![("Reason".to_owned(), reason)]);
        }
    }
}

/// Another change is under way: the refresh waits.
const BUSY: Duration = Duration::from_secs(1);
/// The connection to the peer broke.
const BROKEN: Duration = Duration::from_secs(5);
/// The peer refused, and may not do so the next time.
const REFUSED: Duration = Duration::from_secs(30);
