//! Client transactions (RFC 3261 sections 17.1.1 and 17.1.2, RFC 6026 section 7.2).

use super::Fired;
use crate::sip::agenda::Alarms;
use crate::sip::leg::LegId;
use crate::sip::message::{Method, Request};
use crate::sip::settings::Timing;
use crate::sip::transport::{Flow, Transport};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Timers of a client transaction, by the RFC's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientTimer {
    /// INVITE again.
    A,
    /// No answer to INVITE.
    B,
    /// A provisional answer and then nothing (as a proxy's Timer C).
    C,
    /// Retransmitted refusals are over.
    D,
    /// Another request again.
    E,
    /// No final answer to another request.
    F,
    /// Retransmitted answers are over.
    K,
    /// Retransmitted 2xx to INVITE are over.
    M,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calling or Trying.
    Sent,
    Proceeding,
    Accepted,
    Completed,
}

/// What to do with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientVerdict {
    /// The user of the transaction is to see it.
    Pass,
    /// The same, and a refusal of INVITE wants its ACK.
    PassAndAck,
    /// A refusal that was seen before: only ACK again.
    AckAgain,
    /// Seen before.
    Absorb,
}

/// One client transaction.
#[derive(Debug)]
pub(crate) struct ClientTransaction {
    state: State,
    /// The request, from which ACK and CANCEL are made.
    pub(crate) request: Request,
    bytes: Bytes,
    /// Where it goes.
    pub(crate) flow: Flow,
    /// Where it goes when nobody is there: a request too large for a datagram tries a stream first (section 18.1.1).
    fallback: Option<Flow>,
    /// Whose it is; the transaction may outlive it.
    pub(crate) leg: Option<LegId>,
    interval: Duration,
    pub(crate) alarms: Alarms<ClientTimer>,
}

impl ClientTransaction {
    /// What responses are matched with (section 17.1.3).
    pub(crate) fn key(branch: &str, method: &Method) -> String {
        format!("{branch} {method}")
    }

    /// A request leaves now.
    pub(crate) fn new(now: Instant, request: Request, flow: Flow, leg: Option<LegId>, timing: &Timing) -> Self {
        let bytes = request.to_bytes();
        let mut alarms = Alarms::default();
        let (again, over) = if request.method == Method::Invite {
            (ClientTimer::A, ClientTimer::B)
        } else {
            (ClientTimer::E, ClientTimer::F)
        };
        if !flow.transport.reliable() {
            alarms.set(again, now + timing.t1);
        }
        alarms.set(over, now + timing.t1x64());
        Self { state: State::Sent, request, bytes, flow, fallback: None, leg, interval: timing.t1, alarms }
    }

    /// The same for a request that is too large for a datagram to `datagrams`: by TCP, and by datagrams after all where the peer
    /// takes no connection.
    pub(crate) fn large(
        now: Instant,
        mut request: Request,
        datagrams: Flow,
        leg: Option<LegId>,
        timing: &Timing,
    ) -> Self {
        via_of(&mut request, Transport::Udp, Transport::Tcp);
        let flow = Flow { transport: Transport::Tcp, connection: 0, ..datagrams };
        Self { fallback: Some(datagrams), ..Self::new(now, request, flow, leg, timing) }
    }

    /// The connection failed before anything was heard: whether the request goes by datagrams now.
    pub(crate) fn fall_back(&mut self, now: Instant, timing: &Timing) -> bool {
        let Some(flow) = self.fallback.take().filter(|_| self.state == State::Sent) else { return false };
        let mut request = self.request.clone();
        via_of(&mut request, Transport::Tcp, Transport::Udp);
        *self = Self::new(now, request, flow, self.leg, timing);
        true
    }

    fn is_invite(&self) -> bool {
        self.request.method == Method::Invite
    }

    /// Whether no final answer came yet.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Sent | State::Proceeding)
    }

    /// Whether a provisional answer came: only then may it be cancelled (section 9.1).
    pub(crate) fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
    }

    /// The request for the wire.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// CANCEL was sent: a peer that never answers the INVITE now is given up after 64*T1 (section 9.1).
    pub(crate) fn cancelled(&mut self, now: Instant, timing: &Timing) {
        if self.is_open() {
            self.alarms.set(ClientTimer::C, now + timing.t1x64());
        }
    }

    /// A response with `code` came.
    pub(crate) fn receive(&mut self, now: Instant, code: u16, timing: &Timing) -> ClientVerdict {
        let reliable = self.flow.transport.reliable();
        match (self.state, code) {
            (State::Sent | State::Proceeding, ..200) => {
                if self.state == State::Sent && self.is_invite() {
                    self.alarms.clear();
                    self.alarms.set(ClientTimer::C, now + timing.ringing);
                } else if !self.is_invite() {
                    self.interval = timing.t2;
                }
                self.state = State::Proceeding;
                ClientVerdict::Pass
            }
            (State::Sent | State::Proceeding, 200..) => {
                self.alarms.clear();
                if self.is_invite() && code < 300 {
                    self.state = State::Accepted;
                    self.alarms.set(ClientTimer::M, now + timing.t1x64());
                    return ClientVerdict::Pass;
                }
                self.state = State::Completed;
                let (timer, wait) =
                    if self.is_invite() { (ClientTimer::D, timing.t1x64()) } else { (ClientTimer::K, timing.t4) };
                self.alarms.set(timer, now + if reliable { Duration::ZERO } else { wait });
                if self.is_invite() { ClientVerdict::PassAndAck } else { ClientVerdict::Pass }
            }
            // Every 2xx goes up: each wants its ACK, and a fork's its own BYE (RFC 6026 section 7.2).
            (State::Accepted, 200..300) => ClientVerdict::Pass,
            (State::Completed, 300..) if self.is_invite() => ClientVerdict::AckAgain,
            _ => ClientVerdict::Absorb,
        }
    }

    /// A timer has come.
    pub(crate) fn fire(&mut self, now: Instant, timer: ClientTimer, timing: &Timing) -> Fired {
        match timer {
            ClientTimer::A | ClientTimer::E => {
                let doubled = self.interval.saturating_mul(2);
                self.interval = if timer == ClientTimer::A { doubled } else { doubled.min(timing.t2) };
                self.alarms.set(timer, now + self.interval);
                Fired::Resend
            }
            ClientTimer::B | ClientTimer::C | ClientTimer::F => Fired::TimedOut,
            ClientTimer::D | ClientTimer::K | ClientTimer::M => Fired::Done,
        }
    }
}

/// Writes another transport into our Via, which is the first field.
fn via_of(request: &mut Request, old: Transport, new: Transport) {
    let via = request.headers.first("Via").unwrap_or_default();
    let other = via.replacen(&format!("SIP/2.0/{}", old.as_via()), &format!("SIP/2.0/{}", new.as_via()), 1);
    request.headers.replace_front(other);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Headers;
    use crate::sip::transport::Transport;

    fn transaction(start: Instant, method: Method, transport: Transport) -> ClientTransaction {
        let address = "127.0.0.1:5060".parse().unwrap();
        let flow = Flow { transport, socket: 0, connection: 0, local: address, remote: address };
        let request = Request { method, uri: "sip:a@h".into(), headers: Headers::default(), body: Bytes::new() };
        ClientTransaction::new(start, request, flow, None, &Timing::default())
    }

    fn run(transaction: &mut ClientTransaction, start: Instant, milliseconds: u64) -> Vec<(u64, Fired)> {
        let mut seen = Vec::new();
        for at in 0..=milliseconds {
            let now = start + Duration::from_millis(at);
            while let Some(timer) = transaction.alarms.expired(now) {
                let fired = transaction.fire(now, timer, &Timing::default());
                seen.push((at, fired));
                if fired != Fired::Resend {
                    return seen;
                }
            }
        }
        seen
    }

    #[test]
    fn invite_doubles_without_bound_other_requests_up_to_t2_and_streams_not_at_all() {
        let start = crate::base::clock::now().at;
        let resends = |method, transport| {
            let seen = run(&mut transaction(start, method, transport), start, 40_000);
            assert_eq!(seen.last(), Some(&(32_000, Fired::TimedOut)));
            seen.iter().map(|(at, _)| *at).take(seen.len() - 1).collect::<Vec<_>>()
        };
        assert_eq!(resends(Method::Invite, Transport::Udp), [500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(
            resends(Method::Bye, Transport::Udp),
            [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
        );
        assert_eq!(resends(Method::Invite, Transport::Tcp), Vec::<u64>::new());
    }

    #[test]
    fn a_refusal_is_acknowledged_each_time_and_seen_once() {
        let start = crate::base::clock::now().at;
        let timing = Timing::default();
        let mut one = transaction(start, Method::Invite, Transport::Udp);
        assert_eq!(one.receive(start, 180, &timing), ClientVerdict::Pass);
        assert_eq!(one.receive(start, 486, &timing), ClientVerdict::PassAndAck);
        assert_eq!(one.receive(start, 486, &timing), ClientVerdict::AckAgain);
        assert_eq!(one.receive(start, 200, &timing), ClientVerdict::Absorb);
        assert_eq!(run(&mut one, start, 40_000), [(32_000, Fired::Done)]);
    }

    #[test]
    fn every_2xx_to_invite_goes_up_and_a_provisional_stops_the_repetition() {
        let start = crate::base::clock::now().at;
        let timing = Timing::default();
        let mut one = transaction(start, Method::Invite, Transport::Udp);
        one.receive(start, 100, &timing);
        assert_eq!(run(&mut one, start, 200_000), [(180_000, Fired::TimedOut)]);
        assert_eq!(one.receive(start, 200, &timing), ClientVerdict::Pass);
        assert_eq!(one.receive(start, 200, &timing), ClientVerdict::Pass);
        assert_eq!(one.receive(start, 486, &timing), ClientVerdict::Absorb);
        let mut bye = transaction(start, Method::Bye, Transport::Udp);
        assert_eq!(bye.receive(start, 200, &timing), ClientVerdict::Pass);
        assert_eq!(bye.receive(start, 200, &timing), ClientVerdict::Absorb);
        assert_eq!(run(&mut bye, start, 40_000), [(5000, Fired::Done)]);
    }
}
