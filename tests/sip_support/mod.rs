//! What tests of SIP share: endpoints on simulated time, stations on real sockets, and the messages that peers write.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its own part of this")]

mod desk;
mod sim;
pub mod station;

use bytes::Bytes;
pub use desk::Desk;
pub use sim::{Policy, Side, Sim, Wire};
use voice_gateway::base::Now;
use voice_gateway::sip::message::{Message, Request, Response};
use voice_gateway::sip::{Flow, LegCommand, Settings, Transport};

pub const SDP: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n";

pub fn sdp() -> Bytes {
    Bytes::from_static(SDP)
}

pub fn sdp_text() -> &'static str {
    std::str::from_utf8(SDP).unwrap()
}

pub const SDP_TYPE: &str = "Content-Type: application/sdp\r\n";

pub fn answer() -> LegCommand {
    LegCommand::Answer { sdp: sdp(), headers: Vec::new() }
}

pub fn bye() -> LegCommand {
    LegCommand::Bye { headers: Vec::new() }
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

const CALLER: &str = "127.0.0.1:5070";
const CALLEE: &str = "127.0.0.2:5060";

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
