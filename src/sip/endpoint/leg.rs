//! What the endpoint keeps of one leg: its dialog, how far it has come, and what is unanswered in it.

use super::refer::Subscription;
use super::words::Template;
use crate::sip::agenda::Alarms;
use crate::sip::dialog::Dialog;
use crate::sip::transport::Flow;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

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
    /// Our ACK to the peer's 2xx, sent again whenever that comes again.
    pub(super) ack: Option<(Flow, Bytes)>,
    /// Our re-INVITE that has no final answer.
    pub(super) change: Option<u64>,
    /// The peer's 2xx carried the offer, and our ACK waits for the answer.
    pub(super) owes_answer: bool,
    /// Server transactions within the dialog, oldest first: only the newest few are kept for retransmissions.
    pub(super) recent: VecDeque<u64>,
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
    Offered { server: u64, template: Box<Template>, late_offer: bool },
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
            ack: None,
            change: None,
            owes_answer: false,
            recent: VecDeque::new(),
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
        self.change.is_some() || self.unacked.as_ref().is_some_and(|unacked| unacked.offer)
    }

    /// The ACK has come, or is no longer waited for.
    pub(super) fn settle(&mut self) -> Option<Unacked> {
        self.alarms.stop(LegTimer::Resend);
        self.alarms.stop(LegTimer::AckWait);
        self.unacked.take()
    }
}
