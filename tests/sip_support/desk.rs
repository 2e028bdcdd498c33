//! One endpoint with a pen-and-paper peer.

use super::{CALLEE, CALLER, codes, flow, invite, sdp, start_of_time, tag_of, within};
use bytes::Bytes;
use std::time::{Duration, Instant};
use voice_gateway::base::Now;
use voice_gateway::sip::message::{Framing, Message, Response, parse};
use voice_gateway::sip::{Endpoint, Flow, Input, Invite, LegCommand, LegEvent, LegId, Output, Settings, Transport};

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
