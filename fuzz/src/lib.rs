//! What the fuzz targets do with their bytes; `tests/fuzz_corpus.rs` does the same with the corpora on stable.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a fuzz target ends by panicking"
)]

pub mod media;

use bytes::Bytes;
use std::time::{Duration, Instant};
use voice_gateway::base::Now;
use voice_gateway::media::sdp::{Codec, Exchange, LocalMedia, accept_answer};
use voice_gateway::sip::digest::{Fields, respond};
use voice_gateway::sip::message::{
    Frame, Framer, Framing, Headers, Inbound, MAX_FIELDS, Message, Method, NameAddr, Request, Uri, dtmf_digit, parse,
    session_description, split_list,
};
use voice_gateway::sip::{
    Algorithm, Credentials, Dial, Digest, Endpoint, Flow, Input, LegCommand, LegId, Output, Settings, Transport,
};

/// Any bytes as a datagram and as a piece of a stream: what can be read can be written, and reads the same again.
pub fn sip_message(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    for framing in [Framing::Datagram, Framing::Stream] {
        let Ok(message) = parse(&bytes, framing) else { continue };
        let (headers, body) = match &message {
            Message::Request(request) => (&request.headers, &request.body),
            Message::Response(response) => (&response.headers, &response.body),
        };
        // Content-Length is written always: in a full message that has none of its own it is one field more than is read.
        if headers.len() < MAX_FIELDS || headers.count("Content-Length") > 0 {
            let again = parse(&message.to_bytes(), framing).expect("what is written can be read");
            assert_eq!(fields(&again), fields(&message));
        }
        let _description = session_description(headers, body);
        let _digit = dtmf_digit(headers, body);
        for field in headers.iter() {
            let _views = (NameAddr::parse(&field.value).is_ok(), Uri::parse(&field.value).is_ok());
            let _list = split_list(&field.value);
        }
        if let Message::Request(request) = message {
            let _inbound =
                Inbound::new(request, flow()).map(|inbound| (inbound.transaction_key(), inbound.response_flow()));
        }
    }
}

/// Names of the header fields, and the body.
fn fields(message: &Message) -> (Vec<&str>, &Bytes) {
    let (headers, body) = match message {
        Message::Request(request) => (&request.headers, &request.body),
        Message::Response(response) => (&response.headers, &response.body),
    };
    let names = headers.iter().map(|field| field.name.as_str());
    // Content-Length is written once, and always.
    (names.filter(|name| !["content-length", "l"].contains(&&*name.to_ascii_lowercase())).collect(), body)
}

/// A body as an offer, as the next one, and as an answer; what we answer is an offer that we understand.
pub fn sdp(bytes: &[u8]) {
    const CODECS: [Codec; 3] = [Codec::Pcmu, Codec::Pcma, Codec::G722];
    let address = "192.0.2.10".parse().unwrap();
    let local = LocalMedia { address, port: 20_000, session_id: 4711, session_version: 1 };
    let mut exchange = Exchange::new(local, CODECS.to_vec());
    if let Ok((answer, _)) = exchange.answer(bytes) {
        assert!(!answer.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r'), "lines end by CRLF");
        assert_eq!(answer.split(|b| *b == b'\n').filter(|line| line.starts_with(b"c=")).count(), 1);
        accept_answer(&answer, &local, &CODECS).map(drop).ok();
        let offer = exchange.offer();
        let _agreed = Exchange::new(local, CODECS.to_vec()).answer(&offer);
        let _again = exchange.answer(bytes);
    }
    let mut asking = Exchange::new(local, CODECS.to_vec());
    let _offer = asking.offer();
    let _agreed = asking.accept(bytes);
    let _next = asking.offer();
}

/// A header value as credentials, and as a challenge whose answer is read back.
pub fn digest(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _fields = Fields::parse(&text);
    let _fields = Fields::parse(&format!("Digest {text}"));
    let request =
        Request { method: Method::Invite, uri: "sip:a@h".into(), headers: Headers::default(), body: Bytes::new() };
    let credentials = Credentials { username: "us\"er".into(), password: "pass".into() };
    let challenges: Vec<&str> = text.lines().collect();
    if let Some(answer) = respond(challenges, &credentials, &request, false, "cnonce") {
        let answer = Fields::parse(&answer).expect("a digest").expect("what is written can be read");
        assert_eq!((answer.value("username"), answer.value("uri")), (Some("us\"er"), Some("sip:a@h")));
    }
}

/// A stream gives the same frames however it is cut; each message of it is no longer than the limit.
pub fn stream_framing(bytes: &[u8]) {
    let Some((&step, stream)) = bytes.split_first() else { return };
    let frames = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut framer, mut frames) = (Framer::default(), Vec::new());
        for piece in pieces {
            framer.feed(piece);
            while let Some(frame) = framer.next_frame() {
                frames.push(frame);
            }
        }
        frames
    };
    let whole = frames(&mut std::iter::once(stream));
    let cut = frames(&mut stream.chunks(usize::from(step) + 1));
    assert_eq!(whole, cut);
    for frame in whole {
        if let Frame::Message(message) = frame {
            assert!(message.len() <= voice_gateway::sip::message::MAX_MESSAGE);
            let _read = parse(&message, Framing::Stream);
        }
    }
}

/// Messages and orders into a live endpoint, which writes only what can be read and forgets everything in the end. Pieces are
/// parted by a byte 0 and begin with the letter of what they are.
pub fn endpoint(bytes: &[u8]) {
    // A minute of nonces and the tags of this seed: what the corpus learned stays true.
    let digest = Digest {
        realm: "r".into(),
        username: "u".into(),
        password: "p".into(),
        algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
    };
    let mut desk = Desk { now: start(), endpoint: Endpoint::new(settings(None), [7; 32]), legs: Vec::new() };
    if bytes.first() == Some(&b'D') {
        desk.endpoint = Endpoint::new(settings(Some(digest)), [7; 32]);
    }
    for piece in bytes.split(|b| *b == 0).take(24) {
        let Some((what, rest)) = piece.split_first() else { continue };
        let last = desk.legs.last().copied().unwrap_or(LegId(1));
        let body = Bytes::copy_from_slice(rest);
        let headers = || vec![(String::from_utf8_lossy(rest).into_owned(), String::from_utf8_lossy(rest).into_owned())];
        let command = |command| Input::Command { leg: last, command };
        match what {
            b'A' => desk.step(command(LegCommand::Answer { sdp: body, headers: headers() })),
            b'R' => desk.step(command(LegCommand::Reject { code: 480, reason: "x".into(), headers: headers() })),
            b'r' => desk.step(command(LegCommand::Ring)),
            b'I' => desk.step(command(LegCommand::AnswerReinvite { sdp: body })),
            b'B' => desk.step(command(LegCommand::Bye { headers: headers() })),
            b'b' => desk
                .step(Input::Broken { flow: Flow { transport: Transport::Tcp, connection: 1, ..flow() }, head: body }),
            b'T' => {
                desk.now = desk.now.after(Duration::from_millis(u64::from(rest.first().copied().unwrap_or(1)) * 100));
                desk.step(Input::Tick);
            }
            b'd' => {
                let leg = desk.endpoint.reserve_leg();
                desk.legs.push(leg);
                let credentials = Some(Credentials { username: "u".into(), password: "p".into() });
                let uri = String::from_utf8_lossy(rest).into_owned();
                let dial = Dial { uri, from: String::new(), headers: Vec::new(), sdp: Bytes::new(), credentials };
                desk.step(Input::Dial { leg, dial, flow: flow() });
            }
            _ => desk.step(Input::Received { flow: flow(), bytes: body }),
        }
    }
    desk.step(Input::Shut);
    // What ends may have to wait for another end.
    for _ in 0..8 {
        desk.now = desk.now.after(Duration::from_secs(600));
        desk.step(Input::Tick);
    }
    assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (0, 0), "all is forgotten");
}

struct Desk {
    now: Now,
    endpoint: Endpoint,
    legs: Vec<LegId>,
}

impl Desk {
    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        let _next: Option<Instant> = self.endpoint.step(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Send { bytes, .. } => {
                    parse(&bytes, Framing::Stream).expect("what is written can be read");
                }
                Output::Incoming { leg, .. } => self.legs.push(leg),
                Output::Leg { .. } | Output::Dial { .. } | Output::Close { .. } => {}
            }
        }
    }
}

fn settings(digest: Option<Digest>) -> Settings {
    Settings { digest, max_calls_per_second: 10_000, ..Settings::default() }
}

fn start() -> Now {
    voice_gateway::base::clock::now()
}

fn flow() -> Flow {
    let [local, remote] = ["127.0.0.2:5060", "127.0.0.1:5070"].map(|address| address.parse().unwrap());
    Flow { transport: Transport::Udp, socket: 0, connection: 0, local, remote }
}
