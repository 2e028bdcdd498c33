//! A ladder for people and for JSON: read and redacted when somebody asks, and not before.

use super::{Direction, Disclosure, Ladder, Rung};
use crate::sip::message::{Framing, Headers, Message, parse, session_description};
use crate::sip::transport::Transport;
use bytes::Bytes;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// A ladder that may be shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// When its first message came or went.
    pub started: SystemTime,
    /// The messages in order.
    pub messages: Vec<ShownMessage>,
    /// How many were left out.
    pub left_out: u64,
    /// Before which of `messages`.
    pub left_out_before: usize,
    /// Our last final answer, or the peer's, to an INVITE.
    pub code: Option<u16>,
}

/// One message.
#[derive(Clone, Debug)]
pub struct ShownMessage {
    /// Since the first of the ladder.
    pub at: Duration,
    /// Which way.
    pub direction: Direction,
    /// By which transport.
    pub transport: Transport,
    /// Our side.
    pub local: SocketAddr,
    /// The other.
    pub peer: SocketAddr,
    /// Request-Line or Status-Line.
    pub first_line: String,
    /// CSeq as sent; empty where it could not be read.
    pub cseq: String,
    /// Size on the wire.
    pub size: usize,
    /// Whether the very same message went the same way before.
    pub again: bool,
    /// Header fields in order, names as sent.
    pub headers: Vec<(String, String)>,
    /// Lines of the session description.
    pub description: Vec<String>,
}

impl Ladder {
    /// The ladder as far as `disclosure` allows.
    #[must_use]
    pub fn show(&self, disclosure: &Disclosure) -> Shown {
        let mut seen: HashSet<(bool, &Bytes)> = HashSet::new();
        let mut code = None;
        let messages = self.rungs().map(|rung| {
            let again = !seen.insert((rung.direction == Direction::In, &rung.bytes));
            let read = Read::of(rung);
            if let Some(answered) = read.final_to_invite() {
                code = Some(answered);
            }
            read.shown(rung, rung.at.saturating_duration_since(self.started.at), again, disclosure)
        });
        let messages = messages.collect();
        Shown { started: self.started.wall, messages, left_out: self.left_out, left_out_before: self.first.len(), code }
    }
}

/// As much of a kept message as can be read: it may be cut, or malformed.
struct Read {
    start: String,
    code: Option<u16>,
    headers: Headers,
    body: Bytes,
}

impl Read {
    fn of(rung: &Rung) -> Self {
        let head = rung.bytes.trim_ascii_start();
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let start = String::from_utf8_lossy(line).trim_end().to_owned();
        let (code, headers, body) = match parse(&rung.bytes, Framing::Datagram) {
            Ok(Message::Request(request)) => (None, request.headers, request.body),
            Ok(Message::Response(response)) => (Some(response.code), response.headers, response.body),
            Err(malformed) => {
                (None, malformed.request.map(|request| request.headers).unwrap_or_default(), Bytes::new())
            }
        };
        Self { start, code, headers, body }
    }

    fn final_to_invite(&self) -> Option<u16> {
        self.code.filter(|code| *code >= 200 && self.cseq().ends_with(" INVITE"))
    }

    fn cseq(&self) -> &str {
        self.headers.first("CSeq").unwrap_or_default()
    }

    fn shown(&self, rung: &Rung, at: Duration, again: bool, disclosure: &Disclosure) -> ShownMessage {
        let fields = self.headers.iter();
        let headers = fields.map(|field| (field.name.clone(), disclosure.value(&field.name, &field.value))).collect();
        let sdp = session_description(&self.headers, &self.body).ok().flatten();
        let sdp = sdp.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        ShownMessage {
            at,
            direction: rung.direction,
            transport: rung.flow.transport,
            local: rung.flow.local,
            peer: rung.flow.remote,
            first_line: disclosure.start_line(&self.start),
            cseq: self.cseq().to_owned(),
            size: rung.size,
            again,
            headers,
            description: sdp.lines().map(|line| disclosure.description_line(line.trim_end())).collect(),
        }
    }
}

impl Shown {
    /// The ladder in plain text: a line a message, the peer at the left, us at the right.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut peer = None;
        for (index, message) in self.messages.iter().enumerate() {
            if self.left_out > 0 && index == self.left_out_before {
                line(&mut text, format_args!("{:>12}  … {} messages left out …", "", self.left_out));
            }
            let path = (message.transport, message.peer, message.local);
            if peer.replace(path) != Some(path) {
                let (transport, far, near) = path;
                line(&mut text, format_args!("{:>12}  {far} | {transport} | {near} (this side)", ""));
            }
            line(&mut text, format_args!("{:>9.1} ms  {}", message.at.as_secs_f64() * 1_000.0, message.arrow()));
        }
        if self.left_out > 0 && self.left_out_before == self.messages.len() {
            line(&mut text, format_args!("{:>12}  … {} messages left out …", "", self.left_out));
        }
        text
    }
}

impl ShownMessage {
    fn arrow(&self) -> String {
        let what = self.first_line.strip_suffix(" SIP/2.0").or_else(|| self.first_line.strip_prefix("SIP/2.0 "));
        let what: String = what.unwrap_or(&self.first_line).chars().take(WIDTH).collect();
        let shaft = "-".repeat(WIDTH.saturating_sub(what.chars().count()));
        let arrow = match self.direction {
            Direction::In => format!("|-- {what} {shaft}-->|"),
            Direction::Out => format!("|<-- {what} {shaft}--|"),
        };
        let again = if self.again { ", again" } else { "" };
        format!("{arrow}  {} ({} bytes{again})", self.cseq, self.size)
    }
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{words}");
}

/// Characters of a start line in the text.
const WIDTH: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Now, clock};
    use crate::sip::Flow;

    const INVITE: &str = "INVITE sip:+18882346789@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9\r\nFrom: \"Ann\" <sip:+15551234567@192.0.2.9>;tag=1\r\n\
        To: <sip:+18882346789@192.0.2.1>\r\nCall-ID: a\r\nCSeq: 7 INVITE\r\nX-Account: 4711\r\nContent-Type: application/sdp\r\n\r\n\
        v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret\r\n";

    fn ladder() -> Ladder {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.9:5060"].map(|address| address.parse().unwrap());
        let flow = Flow { transport: Transport::Udp, socket: 0, connection: 0, local, remote };
        let start = clock::now();
        let mut ladder = Ladder::new(start);
        let mut push = |milliseconds, direction, text: &str| {
            let now = Now { at: start.at + Duration::from_millis(milliseconds), wall: start.wall };
            ladder.push(now, direction, flow, text.as_bytes());
        };
        push(0, Direction::In, INVITE);
        push(1, Direction::Out, "SIP/2.0 100 Trying\r\nCSeq: 7 INVITE\r\nCall-ID: a\r\n\r\n");
        push(500, Direction::In, INVITE);
        push(
            502,
            Direction::Out,
            "SIP/2.0 488 Not Acceptable Here\r\nCSeq: 7 INVITE\r\nCall-ID: a\r\nWarning: 399 x \"no\"\r\n\r\n",
        );
        ladder
    }

    #[test]
    fn a_ladder_shows_its_messages_and_no_number_key_or_unknown_value() {
        let shown = ladder().show(&Disclosure::default());
        assert_eq!(shown.code, Some(488));
        let [invite, trying, again, refused] = &shown.messages[..] else { panic!("{shown:?}") };
        assert_eq!((invite.cseq.as_str(), invite.size, invite.again), ("7 INVITE", INVITE.len(), false));
        assert_eq!(trying.first_line, "SIP/2.0 100 Trying");
        assert!(again.again && again.at == Duration::from_millis(500));
        assert_eq!(refused.headers.last().unwrap(), &("Warning".to_owned(), "399 x \"no\"".to_owned()));
        assert_eq!(invite.description, ["v=0", "c=IN IP4 192.0.2.9", "m=audio 4000 RTP/SAVP 0", "a=crypto:…"]);
        let all = format!("{shown:?} {}", shown.text());
        for secret in ["8882346789", "5551234567", "Ann", "4711", "inline"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
        let everything = ladder().show(&Disclosure { everything: true, ..Disclosure::default() });
        let all = format!("{everything:?}");
        assert!(all.contains("5551234567") && all.contains("4711") && !all.contains("inline"), "{all}");
    }

    #[test]
    fn the_text_has_a_line_a_message() {
        let mut ladder = ladder();
        ladder.left_out = 3;
        let text = ladder.show(&Disclosure::default()).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert_eq!(lines[0].trim(), "192.0.2.9:5060 | udp | 192.0.2.1:5060 (this side)");
        assert!(lines[1].starts_with("      0.0 ms  |-- INVITE sip:+*********89@192.0.2.1 -"), "{text}");
        assert!(lines[2].starts_with("      1.0 ms  |<-- 100 Trying -"), "{text}");
        assert!(lines[3].ends_with("bytes, again)"), "{text}");
        assert!(lines[5].contains("3 messages left out"), "{text}");
    }

    #[test]
    fn what_is_cut_or_malformed_is_shown_as_far_as_it_goes() {
        let mut ladder = ladder();
        let rung = ladder.first.first_mut().unwrap();
        rung.bytes = Bytes::from_static(b"INVITE sip:a@h SIP/2.0\r\nCSeq: 1 INVITE\r\nX: cu");
        let shown = ladder.show(&Disclosure::default());
        assert_eq!(shown.messages[0].cseq, "1 INVITE");
        ladder.first.first_mut().unwrap().bytes = Bytes::from_static(b"\xff\xfe");
        assert_eq!(ladder.show(&Disclosure::default()).messages[0].first_line, "…");
    }
}
