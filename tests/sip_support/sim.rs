//! Two endpoints on simulated time with a network between them that loses, doubles and reorders from a seed.

use super::{CALLEE, CALLER, flow, sdp, settings, start_of_time};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use voice_gateway::base::Now;
use voice_gateway::sip::{
    Dial, DialEvent, Endpoint, Input, Invite, LegCommand, LegEvent, LegId, Output, Settings, Transport,
};

/// Who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Caller,
    Callee,
}

/// What the callee's application does with an INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    RingAndAnswer,
    RingOnly,
    Nothing,
    Reject(u16),
}

#[derive(Clone, Debug)]
pub struct Wire {
    pub at: Duration,
    pub from: Side,
    pub bytes: Bytes,
    pub lost: bool,
}

impl Wire {
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.bytes).lines().next().unwrap_or_default().to_owned()
    }
}

type Filter = Box<dyn FnMut(&Wire) -> bool>;

pub struct Sim {
    pub now: Now,
    pub start: Instant,
    pub caller: Endpoint,
    pub callee: Endpoint,
    pub caller_events: Vec<(Duration, DialEvent)>,
    pub callee_events: Vec<(Duration, LegEvent)>,
    pub invites: Vec<(LegId, Invite)>,
    pub wire: Vec<Wire>,
    pub policy: Policy,
    pub loss: f64,
    pub duplication: f64,
    pub delay: std::ops::Range<u64>,
    /// True loses the message.
    pub filter: Filter,
    /// What stands between them may write otherwise.
    pub rewrite: fn(String) -> String,
    transport: Transport,
    rng: fastrand::Rng,
    flight: BTreeMap<(Instant, u64), (Side, Bytes)>,
    sent: u64,
    wakes: [Option<Instant>; 2],
}

impl Sim {
    pub fn new(seed: u64) -> Self {
        Self::over(Transport::Udp, seed)
    }

    pub fn over(transport: Transport, seed: u64) -> Self {
        Self::between(settings(), settings(), transport, seed)
    }

    pub fn between(caller: Settings, callee: Settings, transport: Transport, seed: u64) -> Self {
        let now = start_of_time();
        let key = |n: u8| {
            let mut key = [n; 32];
            key[..8].copy_from_slice(&seed.to_be_bytes());
            key
        };
        Self {
            now,
            start: now.at,
            caller: Endpoint::new(caller, key(1)),
            callee: Endpoint::new(callee, key(2)),
            caller_events: Vec::new(),
            callee_events: Vec::new(),
            invites: Vec::new(),
            wire: Vec::new(),
            policy: Policy::RingAndAnswer,
            loss: 0.0,
            duplication: 0.0,
            delay: 1..2,
            filter: Box::new(|_| false),
            rewrite: |text| text,
            transport,
            rng: fastrand::Rng::with_seed(seed),
            flight: BTreeMap::new(),
            sent: 0,
            wakes: [None; 2],
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.now.at - self.start
    }

    pub fn dial(&mut self) -> LegId {
        self.dial_with(Vec::new())
    }

    pub fn dial_with(&mut self, headers: Vec<(String, String)>) -> LegId {
        let leg = self.caller.reserve_leg();
        let dial = Dial {
            uri: "sip:+18882346789@127.0.0.2".into(),
            from: "sip:+1555@127.0.0.1".into(),
            headers,
            sdp: sdp(),
            credentials: None,
        };
        let flow = flow(self.transport, CALLER, CALLEE);
        self.step(Side::Caller, Input::Dial { leg, dial, flow });
        leg
    }

    pub fn callee_leg(&self) -> LegId {
        self.invites.last().expect("an INVITE has come").0
    }

    pub fn order(&mut self, side: Side, leg: LegId, command: LegCommand) {
        self.step(side, Input::Command { leg, command });
    }

    pub fn step(&mut self, side: Side, input: Input) {
        let mut out = Vec::new();
        let (endpoint, wake) = match side {
            Side::Caller => (&mut self.caller, &mut self.wakes[0]),
            Side::Callee => (&mut self.callee, &mut self.wakes[1]),
        };
        *wake = endpoint.step(self.now, input, &mut out);
        let at = self.elapsed();
        for output in out {
            match output {
                Output::Send { bytes, .. } => self.transmit(side, bytes),
                Output::Close { .. } => {}
                Output::Incoming { leg, invite, .. } => {
                    self.invites.push((leg, *invite));
                    self.answer(leg);
                }
                Output::Leg { leg, event } => {
                    let change = matches!(event, LegEvent::Reinvite { .. });
                    self.callee_events.push((at, event));
                    if change {
                        self.order(Side::Callee, leg, LegCommand::AnswerReinvite { sdp: sdp() });
                    }
                }
                Output::Dial { leg, event } => {
                    let change = matches!(event, DialEvent::Reinvite { .. });
                    self.caller_events.push((at, event));
                    if change {
                        self.order(Side::Caller, leg, LegCommand::AnswerReinvite { sdp: sdp() });
                    }
                }
            }
        }
    }

    fn answer(&mut self, leg: LegId) {
        let answer = LegCommand::Answer { sdp: sdp(), headers: vec![("X-Session-Key".into(), "k".repeat(27))] };
        match self.policy {
            Policy::RingAndAnswer => {
                self.order(Side::Callee, leg, LegCommand::Ring);
                self.order(Side::Callee, leg, answer);
            }
            Policy::RingOnly => self.order(Side::Callee, leg, LegCommand::Ring),
            Policy::Nothing => {}
            Policy::Reject(code) => {
                self.order(Side::Callee, leg, LegCommand::Reject { code, reason: String::new(), headers: Vec::new() });
            }
        }
    }

    fn transmit(&mut self, from: Side, bytes: Bytes) {
        let bytes = Bytes::from((self.rewrite)(String::from_utf8(bytes.to_vec()).expect("all we write is text")));
        let mut wire = Wire { at: self.elapsed(), from, bytes: bytes.clone(), lost: false };
        wire.lost = (self.filter)(&wire) || (!self.transport.reliable() && self.rng.f64() < self.loss);
        let copies = if wire.lost { 0 } else { 1 + usize::from(self.rng.f64() < self.duplication) };
        for _ in 0..copies {
            self.sent += 1;
            let delay = Duration::from_millis(self.rng.u64(self.delay.clone()));
            self.flight.insert((self.now.at + delay, self.sent), (from, bytes.clone()));
        }
        self.wire.push(wire);
    }

    /// Runs until nothing happens any more, or `limit` after the start.
    pub fn run(&mut self, limit: Duration) {
        let end = self.start + limit;
        loop {
            let arrival = self.flight.keys().next().map(|(at, _)| *at);
            let next = self.wakes.iter().flatten().copied().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.after(next.saturating_duration_since(self.now.at));
            if arrival == Some(next) {
                let (_, (from, bytes)) = self.flight.pop_first().expect("just seen");
                match from {
                    Side::Caller => {
                        let flow = flow(self.transport, CALLEE, CALLER);
                        self.step(Side::Callee, Input::Received { flow, bytes });
                    }
                    Side::Callee => {
                        let flow = flow(self.transport, CALLER, CALLEE);
                        self.step(Side::Caller, Input::Received { flow, bytes });
                    }
                }
            } else if self.wakes[0] == Some(next) {
                self.step(Side::Caller, Input::Tick);
            } else {
                self.step(Side::Callee, Input::Tick);
            }
        }
        self.now = self.now.after(end.saturating_duration_since(self.now.at));
    }

    pub fn times(&self, from: Side, line: &str) -> Vec<u64> {
        self.wire
            .iter()
            .filter(|wire| wire.from == from && wire.line().starts_with(line))
            .map(|wire| u64::try_from(wire.at.as_millis()).unwrap())
            .collect()
    }

    pub fn forgotten(&self) -> bool {
        [&self.caller, &self.callee].iter().all(|one| one.active() == 0 && one.transactions() == 0)
    }
}
