//! Two endpoints on simulated time with a network between them that loses, doubles and reorders from a seed.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]

pub mod station;

use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use voice_gateway::base::Now;
use voice_gateway::sip::message::{Framing, Message, Request, Response, parse};
use voice_gateway::sip::{
    Dial, DialEvent, Endpoint, Flow, Input, Invite, LegCommand, LegEvent, LegId, Output, Settings, Transport,
};

pub const SDP: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n";

pub fn sdp() -> Bytes {
    Bytes::from_static(SDP)
}

pub fn settings() -> Settings {
    Settings { max_calls_per_second: 10_000, ..Settings::default() }
}

pub fn flow(transport: Transport, local: &str, remote: &str) -> Flow {
    let connection = u64::from(transport.reliable());
    Flow { transport, socket: 0, connection, local: local.parse().unwrap(), remote: remote.parse().unwrap() }
}

pub fn start_of_time() -> Now {
    voice_gateway::base::clock::now()
}

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

const CALLER: &str = "127.0.0.1:5070";
const CALLEE: &str = "127.0.0.2:5060";

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

/// One endpoint with a pen-and-paper peer.
pub struct Desk {
    pub endpoint: Endpoint,
    pub now: Now,
    pub flow: Flow,
    pub next: Option<Instant>,
    pub events: Vec<LegEvent>,
    pub invites: Vec<(LegId, Invite)>,
    /// What was sent last, with where to.
    pub sent: Vec<(Flow, Message)>,
}

impl Desk {
    pub fn new(settings: Settings) -> Self {
        Self {
            endpoint: Endpoint::new(settings, [7; 32]),
            now: start_of_time(),
            flow: flow(Transport::Udp, CALLEE, CALLER),
            next: None,
            events: Vec::new(),
            invites: Vec::new(),
            sent: Vec::new(),
        }
    }

    pub fn step(&mut self, input: Input) -> Vec<Message> {
        let mut out = Vec::new();
        self.next = self.endpoint.step(self.now, input, &mut out);
        self.sent.clear();
        for output in out {
            match output {
                Output::Send { flow, bytes } => {
                    let message = parse(&bytes, Framing::Stream).expect("what we write can be read");
                    self.sent.push((flow, message));
                }
                Output::Incoming { leg, invite, .. } => self.invites.push((leg, *invite)),
                Output::Leg { event, .. } => self.events.push(event),
                Output::Dial { .. } | Output::Close { .. } => {}
            }
        }
        self.sent.iter().map(|(_, message)| message.clone()).collect()
    }

    pub fn receive(&mut self, text: &str) -> Vec<Message> {
        let (flow, bytes) = (self.flow, Bytes::copy_from_slice(text.as_bytes()));
        self.step(Input::Received { flow, bytes })
    }

    /// Codes of the responses to a request.
    pub fn codes(&mut self, text: &str) -> Vec<u16> {
        codes(&self.receive(text))
    }

    /// The one response to a request.
    pub fn response(&mut self, text: &str) -> Response {
        match self.receive(text).as_slice() {
            [Message::Response(response)] => response.clone(),
            other => panic!("not one response: {other:?}"),
        }
    }

    pub fn order(&mut self, command: LegCommand) -> Vec<Message> {
        let leg = self.invites.last().expect("an INVITE has come").0;
        self.step(Input::Command { leg, command })
    }

    pub fn wait(&mut self, by: Duration) -> Vec<Message> {
        let end = self.now.after(by);
        let mut sent = Vec::new();
        while let Some(next) = self.next.filter(|next| *next <= end.at) {
            self.now = self.now.after(next.saturating_duration_since(self.now.at));
            sent.extend(self.step(Input::Tick));
        }
        self.now = end;
        sent
    }

    /// Answers the last INVITE and acknowledges; gives the To tag.
    pub fn establish(&mut self, call_id: &str) -> String {
        self.codes(&invite(call_id, "z9hG4bKinv", 1, ""));
        let answer = LegCommand::Answer { sdp: sdp(), headers: Vec::new() };
        let messages = self.order(answer);
        let Some(Message::Response(ok)) = messages.first() else { panic!("{messages:?}") };
        let tag = tag_of(ok);
        assert!(self.receive(&within("ACK", call_id, "z9hG4bKack", 1, &tag, "", "")).is_empty());
        tag
    }
}

pub fn codes(messages: &[Message]) -> Vec<u16> {
    messages
        .iter()
        .map(|message| match message {
            Message::Response(response) => response.code,
            Message::Request(_) => 0,
        })
        .collect()
}

pub fn requests(messages: &[Message]) -> Vec<Request> {
    messages
        .iter()
        .filter_map(|message| match message {
            Message::Request(request) => Some(request.clone()),
            Message::Response(_) => None,
        })
        .collect()
}

pub fn tag_of(response: &Response) -> String {
    let to = response.headers.first("To").unwrap();
    to.rsplit_once("tag=").unwrap_or_else(|| panic!("no tag: {to}")).1.to_owned()
}

pub fn invite(call_id: &str, branch: &str, cseq: u32, more: &str) -> String {
    let body = std::str::from_utf8(SDP).unwrap();
    format!(
        "INVITE sip:+18882346789@127.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch={branch};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:+1555@h>;tag=caller\r\nTo: <sip:+18882346789@h>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} INVITE\r\nContact: <sip:a@{CALLER}>\r\n{more}Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn within(method: &str, call_id: &str, branch: &str, cseq: u32, tag: &str, more: &str, body: &str) -> String {
    format!(
        "{method} sip:gw@{CALLEE} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch={branch};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:+1555@h>;tag=caller\r\nTo: <sip:+18882346789@h>;tag={tag}\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} {method}\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn bare(method: &str, call_id: &str, branch: &str, cseq: u32, more: &str) -> String {
    format!(
        "{method} sip:+18882346789@127.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch={branch};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:+1555@h>;tag=caller\r\nTo: <sip:+18882346789@h>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} {method}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}
