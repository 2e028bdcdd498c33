//! Server transactions (RFC 3261 sections 17.2.1 and 17.2.2, RFC 6026 section 7.1).

use super::Fired;
use crate::sip::agenda::Alarms;
use crate::sip::leg::LegId;
use crate::sip::settings::Timing;
use crate::sip::transport::Flow;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Timers of a server transaction, by the RFC's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerTimer {
    /// Final non-2xx again.
    G,
    /// No ACK came for it.
    H,
    /// ACK retransmissions are over.
    I,
    /// Retransmissions of a non-INVITE request are over.
    J,
    /// Retransmissions of an accepted INVITE are over.
    L,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Proceeding,
    /// 2xx to an INVITE: its repetition is the dialog's matter.
    Accepted,
    Completed,
    Confirmed,
}

/// What answer was given, as far as the transaction cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Provisional,
    Success,
    Failure,
}

impl Answered {
    pub(crate) fn with(code: u16) -> Self {
        match code {
            ..200 => Self::Provisional,
            200..300 => Self::Success,
            _ => Self::Failure,
        }
    }
}

/// One server transaction.
#[derive(Debug)]
pub(crate) struct ServerTransaction {
    invite: bool,
    state: State,
    /// Where answers go.
    pub(crate) flow: Flow,
    /// Whose it is; the transaction may outlive it.
    pub(crate) leg: Option<LegId>,
    /// Section 8.2.2.2: found again when the same request comes another way. Only of an INVITE outside a dialog.
    pub(crate) merge_key: Option<String>,
    last: Bytes,
    interval: Duration,
    pub(crate) alarms: Alarms<ServerTimer>,
}

impl ServerTransaction {
    pub(crate) fn invite(flow: Flow, leg: LegId, merge_key: Option<String>) -> Self {
        Self { merge_key, ..Self::new(true, flow, leg) }
    }

    pub(crate) fn non_invite(flow: Flow, leg: LegId) -> Self {
        Self::new(false, flow, leg)
    }

    fn new(invite: bool, flow: Flow, leg: LegId) -> Self {
        Self {
            invite,
            state: State::Proceeding,
            flow,
            leg: Some(leg),
            merge_key: None,
            last: Bytes::new(),
            interval: Duration::ZERO,
            alarms: Alarms::default(),
        }
    }

    /// An answer leaves.
    pub(crate) fn respond(&mut self, now: Instant, answered: Answered, bytes: Bytes, timing: &Timing) {
        if self.state != State::Proceeding {
            return;
        }
        self.last = bytes;
        let reliable = self.flow.transport.reliable();
        match (self.invite, answered) {
            (_, Answered::Provisional) => {}
            (true, Answered::Success) => {
                self.state = State::Accepted;
                self.alarms.set(ServerTimer::L, now + timing.t1x64());
            }
            (true, Answered::Failure) => {
                self.state = State::Completed;
                if !reliable {
                    self.interval = timing.t1;
                    self.alarms.set(ServerTimer::G, now + timing.t1);
                }
                self.alarms.set(ServerTimer::H, now + timing.t1x64());
            }
            (false, _) => {
                self.state = State::Completed;
                self.alarms.set(ServerTimer::J, now + if reliable { Duration::ZERO } else { timing.t1x64() });
            }
        }
    }

    /// The request came again: what to send for it.
    pub(crate) fn again(&self) -> Option<Bytes> {
        let answers = match self.state {
            State::Proceeding | State::Completed => true,
            // After a 2xx the dialog repeats it until ACK.
            State::Accepted | State::Confirmed => false,
        };
        (answers && !self.last.is_empty()).then(|| self.last.clone())
    }

    /// ACK came: whether it was for this transaction's own final answer (not a 2xx).
    pub(crate) fn acknowledge(&mut self, now: Instant, timing: &Timing) -> bool {
        match self.state {
            State::Completed if self.invite => {
                self.state = State::Confirmed;
                self.alarms.clear();
                let wait = if self.flow.transport.reliable() { Duration::ZERO } else { timing.t4 };
                self.alarms.set(ServerTimer::I, now + wait);
                true
            }
            State::Confirmed => true,
            _ => false,
        }
    }

    /// A timer has come.
    pub(crate) fn fire(&mut self, now: Instant, timer: ServerTimer, timing: &Timing) -> Fired {
        match timer {
            ServerTimer::G => {
                self.interval = self.interval.saturating_mul(2).min(timing.t2);
                self.alarms.set(ServerTimer::G, now + self.interval);
                Fired::Resend
            }
            ServerTimer::H => Fired::TimedOut,
            ServerTimer::I | ServerTimer::J | ServerTimer::L => Fired::Done,
        }
    }

    /// The last answer.
    pub(crate) fn last(&self) -> Bytes {
        self.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::transport::Transport;

    fn transaction(transport: Transport) -> ServerTransaction {
        let address = "127.0.0.1:5060".parse().unwrap();
        let flow = Flow { transport, socket: 0, connection: 0, local: address, remote: address };
        ServerTransaction::invite(flow, LegId(1), None)
    }

    fn run(transaction: &mut ServerTransaction, start: Instant, milliseconds: u64) -> Vec<(u64, Fired)> {
        let timing = Timing::default();
        let mut seen = Vec::new();
        for at in 0..=milliseconds {
            let now = start + Duration::from_millis(at);
            while let Some(timer) = transaction.alarms.expired(now) {
                seen.push((at, transaction.fire(now, timer, &timing)));
            }
        }
        seen
    }

    #[test]
    fn a_refusal_is_repeated_with_timer_g_until_timer_h() {
        let start = crate::base::clock::now().at;
        let mut udp = transaction(Transport::Udp);
        udp.respond(start, Answered::Failure, Bytes::from_static(b"486"), &Timing::default());
        let seen = run(&mut udp, start, 32_000);
        let resends: Vec<u64> = seen.iter().filter(|(_, what)| *what == Fired::Resend).map(|(at, _)| *at).collect();
        assert_eq!(resends, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
        assert_eq!(seen.last(), Some(&(32_000, Fired::TimedOut)));
        assert_eq!(udp.again().as_deref(), Some(&b"486"[..]));
    }

    #[test]
    fn ack_ends_the_repetition_and_timer_i_the_transaction() {
        let start = crate::base::clock::now().at;
        let timing = Timing::default();
        for (transport, end) in [(Transport::Udp, 5000), (Transport::Tcp, 0)] {
            let mut one = transaction(transport);
            one.respond(start, Answered::Failure, Bytes::from_static(b"486"), &timing);
            assert!(one.acknowledge(start, &timing) && one.acknowledge(start, &timing));
            assert_eq!(one.again(), None);
            assert_eq!(run(&mut one, start, 6000), [(end, Fired::Done)]);
        }
    }

    #[test]
    fn after_a_2xx_retransmissions_are_absorbed_until_timer_l() {
        let start = crate::base::clock::now().at;
        let timing = Timing::default();
        let mut one = transaction(Transport::Udp);
        one.respond(start, Answered::Provisional, Bytes::from_static(b"180"), &timing);
        assert_eq!(one.again().as_deref(), Some(&b"180"[..]));
        one.respond(start, Answered::Success, Bytes::from_static(b"200"), &timing);
        one.respond(start, Answered::Failure, Bytes::from_static(b"500"), &timing);
        assert_eq!((one.again(), one.acknowledge(start, &timing)), (None, false));
        assert_eq!(run(&mut one, start, 32_000), [(32_000, Fired::Done)]);
    }
}
