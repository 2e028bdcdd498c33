//! Timers that have come.

use super::leg::{LegTimer, Phase};
use super::{Endpoint, Owner, Turn};
use crate::sip::leg::{LegEvent, LegId};
use crate::sip::transaction::Fired;

impl Endpoint {
    pub(super) fn run_timers(&mut self, turn: &mut Turn<'_>) {
        while let Some(owner) = self.agenda.due(turn.at) {
            match owner {
                Owner::Server(id) => self.server_timers(turn, id),
                Owner::Client(id) => self.client_timers(turn, id),
                Owner::Leg(id) => self.leg_timers(turn, id),
            }
        }
    }

    fn server_timers(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(server) = self.servers.entry_mut(id) else { return };
        while let Some(timer) = server.alarms.expired(turn.at) {
            match server.fire(turn.at, timer, &self.settings.timing) {
                Fired::Resend => {
                    let bytes = server.last();
                    turn.send(server.flow, bytes);
                }
                // A refusal whose ACK never came is over all the same.
                Fired::TimedOut | Fired::Done => return self.forget_server(id),
            }
        }
        server.alarms.schedule(Owner::Server(id), &mut self.agenda);
    }

    fn forget_server(&mut self, id: u64) {
        self.unmerge(id);
        self.servers.remove(id);
    }

    fn client_timers(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(client) = self.clients.entry_mut(id) else { return };
        while let Some(timer) = client.alarms.expired(turn.at) {
            match client.fire(turn.at, timer, &self.settings.timing) {
                Fired::Resend => {
                    let bytes = client.bytes();
                    turn.send(client.flow, bytes);
                }
                Fired::TimedOut => return self.unanswered(turn, id, 408, "no answer"),
                Fired::Done => {
                    self.clients.remove(id);
                    return;
                }
            }
        }
        client.alarms.schedule(Owner::Client(id), &mut self.agenda);
    }

    fn leg_timers(&mut self, turn: &mut Turn<'_>, id: LegId) {
        let timing = self.settings.timing;
        while let Some(leg) = self.legs.get_mut(&id) {
            let Some(timer) = leg.alarms.expired(turn.at) else { break };
            match timer {
                LegTimer::Resend => {
                    if let Some(unacked) = &mut leg.unacked {
                        turn.send(unacked.flow, unacked.bytes.clone());
                        unacked.interval = unacked.interval.saturating_mul(2).min(timing.t2);
                        leg.alarms.set(LegTimer::Resend, turn.at + unacked.interval);
                    }
                }
                LegTimer::AckWait => self.never_acknowledged(turn, id),
                LegTimer::Ringing => self.reject(turn, id, 480, "", &[]),
                LegTimer::ResendProvisional => {
                    if let Some(provisional) = &mut leg.provisional {
                        turn.send(provisional.flow, provisional.bytes.clone());
                        provisional.interval = provisional.interval.saturating_mul(2);
                        leg.alarms.set(LegTimer::ResendProvisional, turn.at + provisional.interval);
                    }
                }
                LegTimer::PrackWait => self.never_pracked(turn, id),
                LegTimer::Refresh => self.send_refresh(turn, id),
                LegTimer::Expire => self.session_lost(turn, id, 408, "session timer expired"),
            }
        }
        self.schedule_leg(id);
    }

    /// RFC 3261 section 13.3.1.4: the dialog is confirmed, and ended by BYE.
    fn never_acknowledged(&mut self, turn: &mut Turn<'_>, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.settle();
        if std::mem::take(&mut leg.half_open) {
            self.gate.settled(leg.source);
        }
        let headers = match &mut leg.phase {
            Phase::Leaving { headers } => std::mem::take(headers),
            Phase::Established => {
                self.emit(turn, id, LegEvent::NeverAcknowledged);
                vec![("Reason".to_owned(), "SIP;cause=408;text=\"no ACK\"".to_owned())]
            }
            Phase::Offered { .. } | Phase::Calling { .. } | Phase::Left => return,
        };
        self.send_bye(turn, id, &headers);
    }
}
