//! What the endpoint keeps of one leg: its dialog, how far it has come, and what is unanswered in it.

use super::refer::Subscription;
use super::words::Template;
use crate::sip::agenda::Alarms;
use crate::sip::dialog::Dialog;
use crate::sip::digest::Credentials;
use crate::sip::session_timer::SessionTimer;
use crate::sip::sources::Bucket;
use crate::sip::transport::Flow;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// One leg.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) role: Role,
    pub(super) dialog: Dialog,
    pub(super) phase: Phase,
    pub(super) alarms: Alarms<LegTimer>,
    /// Our 2xx to INVITE or re-INVITE, repeated until its ACK.
    pub(super) unacked: Option<Unacked>,
    /// re-INVITE or UPDATE that the call has not answered.
    pub(super) reinvite: Option<Reinvite>,
    /// Our newest REFER, while more may be told of it.
    pub(super) subscription: Option<Subscription>,
    /// Our 180 that waits for its PRACK.
    pub(super) provisional: Option<Provisional>,
    /// The last reliable provisional response of each callee, by To tag: only the next one is taken (RFC 3262 section 4).
    pub(super) heard: Vec<(String, u32)>,
    /// Our ACK to the peer's 2xx with its CSeq, sent again whenever that comes again.
    pub(super) ack: Option<(u32, Flow, Bytes)>,
    /// Our re-INVITE that has no final answer.
    pub(super) change: Option<u64>,
    /// The peer's 2xx, to the INVITE with this CSeq, carried the offer, and our ACK waits for the answer.
    pub(super) owes_answer: Option<u32>,
    /// What was agreed, or is to be with our 2xx (RFC 4028).
    pub(super) session: Option<SessionTimer>,
    /// Our refresh that has no final answer.
    pub(super) refresh: Option<Refresh>,
    /// Whether the peer takes UPDATE.
    pub(super) updates: bool,
    /// Our last session description: what a re-INVITE that only refreshes offers again (RFC 4028 section 7.4).
    pub(super) described: Bytes,
    /// re-INVITE and UPDATE, bounded.
    pub(super) changes: Bucket,
    /// INFO, bounded.
    pub(super) infos: Bucket,
    /// Server transactions within the dialog, oldest first: only the newest few are kept for retransmissions.
    pub(super) recent: VecDeque<u64>,
    /// What challenges are answered with, in a call of our own.
    pub(super) credentials: Option<Box<Credentials>>,
    /// Challenges that were answered.
    pub(super) challenges: u8,
    /// Where the INVITE came from.
    pub(super) source: IpAddr,
    /// Whether it still counts among its source's INVITEs without ACK.
    pub(super) half_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The peer called us.
    Called,
    /// We called.
    Calling,
}

/// How far the leg has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// The peer's INVITE has no final answer.
    Offered {
        server: u64,
        template: Box<Template>,
        late_offer: bool,
        /// It requires 100rel (RFC 3262 section 3).
        reliable: bool,
    },
    /// Our INVITE has no final answer.
    Calling { client: u64, cancel: Cancel },
    /// Answered 2xx.
    Established,
    /// The call ordered BYE, but our 2xx has no ACK: BYE must wait for it, or for 64*T1 (RFC 3261 section 15).
    Leaving { headers: Vec<(String, String)> },
    /// Our BYE is under way.
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    No,
    /// As soon as a provisional answer came (section 9.1).
    Wanted,
    Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegTimer {
    /// The 2xx again.
    Resend,
    /// No ACK in 64*T1.
    AckWait,
    /// The call never answered the INVITE.
    Ringing,
    /// The reliable 180 again.
    ResendProvisional,
    /// No PRACK in 64*T1.
    PrackWait,
    /// The session is to be refreshed by us.
    Refresh,
    /// Nobody refreshed the session.
    Expire,
}

/// A reliable 180.
#[derive(Debug)]
pub(super) struct Provisional {
    pub(super) rseq: u32,
    pub(super) cseq: u32,
    pub(super) flow: Flow,
    pub(super) bytes: Bytes,
    pub(super) interval: Duration,
    /// The 2xx that the call ordered meanwhile: description and extra headers.
    pub(super) answer: Option<(Bytes, Vec<(String, String)>)>,
}

/// A refresh of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refresh {
    pub(super) client: u64,
    pub(super) kind: Change,
}

#[derive(Debug)]
pub(super) struct Unacked {
    pub(super) cseq: u32,
    pub(super) flow: Flow,
    pub(super) bytes: Bytes,
    pub(super) interval: Duration,
    /// Whether the 2xx carried an offer, so that the ACK must carry the answer.
    pub(super) offer: bool,
    /// Whether it answers the INVITE that made the dialog.
    pub(super) initial: bool,
}

#[derive(Debug)]
pub(super) struct Reinvite {
    pub(super) server: u64,
    pub(super) template: Template,
    pub(super) cseq: u32,
    pub(super) kind: Change,
    /// The peer's new Contact, taken when the change is accepted.
    pub(super) target: Option<String>,
    /// Whether it brought no offer, so that our 2xx makes one.
    pub(super) late_offer: bool,
    /// The session timer that our 2xx will agree to.
    pub(super) session: Option<SessionTimer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Invite,
    Update,
}

impl Leg {
    pub(super) fn new(role: Role, dialog: Dialog, phase: Phase, source: IpAddr) -> Self {
        Self {
            role,
            dialog,
            phase,
            alarms: Alarms::default(),
            unacked: None,
            reinvite: None,
            subscription: None,
            provisional: None,
            heard: Vec::new(),
            ack: None,
            change: None,
            owes_answer: None,
            session: None,
            refresh: None,
            updates: false,
            described: Bytes::new(),
            changes: Bucket::new(CHANGES_PER_SECOND),
            infos: Bucket::new(INFOS_PER_SECOND),
            recent: VecDeque::new(),
            credentials: None,
            challenges: 0,
            source,
            half_open: role == Role::Called,
        }
    }

    pub(super) fn dialog_key(&self) -> String {
        Dialog::key(&self.dialog.call_id, self.dialog.local_tag())
    }

    /// Whether a BYE of ours may leave now.
    pub(super) fn may_leave(&self) -> bool {
        !self.unacked.as_ref().is_some_and(|unacked| unacked.initial)
    }

    /// Whether an offer of ours waits for its answer.
    pub(super) fn offer_is_out(&self) -> bool {
        matches!(self.phase, Phase::Calling { .. })
            || self.refresh.is_some_and(|refresh| refresh.kind == Change::Invite)
            || self.change.is_some()
            || self.unacked.as_ref().is_some_and(|unacked| unacked.offer)
    }

    /// The session begins, or begins again (RFC 4028 section 7.2 and 10).
    pub(super) fn refreshed(&mut self, now: Instant, session: Option<SessionTimer>) {
        self.session = session;
        self.alarms.stop(LegTimer::Refresh);
        self.alarms.stop(LegTimer::Expire);
        if let Some(timer) = session {
            if timer.ours {
                self.alarms.set(LegTimer::Refresh, now + timer.refresh_after());
            }
            self.alarms.set(LegTimer::Expire, now + timer.over_after());
        }
    }

    /// The ACK has come, or is no longer waited for.
    pub(super) fn settle(&mut self) -> Option<Unacked> {
        self.alarms.stop(LegTimer::Resend);
        self.alarms.stop(LegTimer::AckWait);
        self.unacked.take()
    }
}

/// A phone that is put on hold and off again makes a few changes in a minute.
const CHANGES_PER_SECOND: u32 = 5;
/// Nobody presses keys faster.
const INFOS_PER_SECOND: u32 = 20;
