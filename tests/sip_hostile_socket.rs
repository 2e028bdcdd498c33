//! Messages that nobody sends by mistake, through the real sockets: each gets its answer or none, and the next call is served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use sip_support::{SDP, bare, settings};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice_gateway::net::sip::bind;
use voice_gateway::sip::{LegCommand, Transport};

/// An INVITE with a line or more in front of its body, and with other words in place of some.
fn invite(more: &str, changes: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "INVITE sip:100@127.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKBRANCH;rport\r\nMax-Forwards: 70\r\n\
         From: <sip:a@h>;tag=caller\r\nTo: <sip:100@h>\r\nCall-ID: CALL\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:a@127.0.0.1>\r\n{more}Content-Type: application/sdp\r\nContent-Length: LENGTH\r\n\r\n"
    );
    for (from, to) in changes {
        assert!(head.contains(from), "{from}");
        head = head.replace(from, to);
    }
    [head.replace("LENGTH", &body.len().to_string()).as_bytes(), body].concat()
}

/// Name, message, and the final answer; 0 is none.
fn cases() -> Vec<(&'static str, Vec<u8>, u16)> {
    let many = |line: &str, times: usize| line.repeat(times);
    let plain = |more: &str| invite(more, &[], SDP);
    let with = |from: &str, to: &str| invite("", &[(from, to)], SDP);
    let long = "x".repeat(30_000);
    vec![
        ("a thousand header fields", plain(&many("X: y\r\n", 1000)), 513),
        ("two thousand Via", plain(&many("Via: SIP/2.0/UDP h\r\n", 2000)), 513),
        ("two thousand Via in one field", plain(&format!("Via: {}h\r\n", many("SIP/2.0/UDP h,", 2000))), 513),
        ("a field of 30 KB", plain(&format!("X: {long}\r\n")), 513),
        ("a folded field of 60 KB", plain(&format!("X: a{}\r\n", many("\r\n b", 15_000))), 513),
        ("a name of 30 KB", plain(&format!("{long}: x\r\n")), 513),
        ("a Request-URI of 30 KB", with("INVITE sip:100@", &format!("INVITE sip:{long}@")), 414),
        ("a body of 40 KB", invite("", &[], &vec![b'v'; 40_000]), 413),
        ("Content-Length negative", with("LENGTH", "-1"), 400),
        ("Content-Length huge", with("LENGTH", "99999999999999999999"), 400),
        ("Content-Length of a gigabyte", with("LENGTH", "1073741824"), 413),
        ("CSeq huge", with("CSeq: 1 ", "CSeq: 4294967296 "), 400),
        ("CSeq negative", with("CSeq: 1 ", "CSeq: -1 "), 400),
        ("CSeq at its limit", with("CSeq: 1 ", "CSeq: 4294967295 "), 200),
        ("Max-Forwards huge", with("Max-Forwards: 70", "Max-Forwards: 99999999999"), 200),
        ("nested quotes", with("<sip:a@h>;tag=caller", "\"a \\\"b\\\\\\\" <x\" <sip:a@h>;tag=caller"), 200),
        ("an open quote", with("<sip:a@h>;tag=caller", "\"a \\\" <sip:a@h>;tag=caller"), 400),
        ("NULs in a value", plain("X-A: a\0b\r\nSubject: \0\r\n"), 200),
        ("a NUL in the Request-URI", with("INVITE sip:100@", "INVITE sip:1\u{0}00@"), 400),
        ("a NUL in the Call-ID", with("Call-ID: CALL", "Call-ID: CALL\0x"), 200),
        (
            "overlong UTF-8",
            {
                let message = plain("X-A: OVERLONG\r\n");
                let at = message.windows(8).position(|window| window == b"OVERLONG").unwrap();
                [&message[..at], b"\xc0\xaf\xf8\x88\x80\x80\x80", &message[at + 8..]].concat()
            },
            200,
        ),
        ("a port of 65536 in Via", with("127.0.0.1;branch", "127.0.0.1:65536;branch"), 400),
        ("a port of 0 in Via", with("127.0.0.1;branch", "127.0.0.1:0;branch"), 200),
        ("CR alone ends no line", plain("X-A: b\rCall-ID: evil\r\n"), 200),
        ("header injection by a folded value", plain("X-A: b\r\n Call-ID: evil\r\n"), 200),
        ("256 empty parameters", with(";rport", &many(";", 256)), 400),
        ("ten thousand parameters", plain(&format!("X-A: b{}\r\n", many(";a", 5000))), 200),
        (
            "a multipart of nothing but delimiters",
            {
                let body = many("--x\r\n", 2000);
                invite("", &[("application/sdp", "multipart/mixed;boundary=x")], body.as_bytes())
            },
            415,
        ),
        (
            "a multipart with an empty boundary",
            { invite("", &[("application/sdp", "multipart/mixed;boundary=\"\"")], "----".repeat(2000).as_bytes()) },
            415,
        ),
    ]
}

struct Daemon {
    addresses: Vec<(Transport, SocketAddr)>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Daemon {
    /// An endpoint that answers every call.
    async fn start() -> Self {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"].map(|listen| listen.parse().unwrap());
        let bound = bind(&listen).await.unwrap();
        let addresses = bound.local_addresses();
        let (handle, mut calls) = bound.start(settings(), &tracker, stop.clone());
        tracker.spawn(async move {
            let _handle = handle;
            let mut held = Vec::new();
            while let Some(call) = calls.recv().await {
                let answer = LegCommand::Answer { sdp: sip_support::sdp(), headers: Vec::new() };
                call.leg.command(answer).await;
                held.push(call);
            }
        });
        Self { addresses, tracker, stop }
    }

    fn address(&self, transport: Transport) -> SocketAddr {
        self.addresses.iter().find(|(one, _)| *one == transport).unwrap().1
    }

    async fn end(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// The first final answer that is in `text`, or 0.
fn final_code(text: &str) -> u16 {
    let codes = text.split("SIP/2.0 ").filter_map(|rest| rest.get(..3)?.parse::<u16>().ok());
    codes.filter(|code| *code >= 200).last().unwrap_or(0)
}

fn numbered(message: &[u8], turn: usize) -> Vec<u8> {
    let replaced =
        |bytes: Vec<u8>, from: &[u8], to: String| match bytes.windows(from.len()).position(|window| window == from) {
            Some(at) => [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat(),
            None => bytes,
        };
    replaced(replaced(message.to_vec(), b"BRANCH", format!("b{turn}")), b"CALL", format!("call{turn}"))
}

async fn hear(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 65_536];
    let heard = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut buffer)).await;
    let length = heard.expect("the gateway is dead").unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[tokio::test]
async fn by_udp_each_gets_its_answer() {
    let daemon = Daemon::start().await;
    let mut wrong = Vec::new();
    for (turn, (name, message, expected)) in cases().into_iter().enumerate() {
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        peer.connect(daemon.address(Transport::Udp)).await.unwrap();
        peer.send(&numbered(&message, turn)).await.unwrap();
        let mut code = 0;
        while code == 0 {
            code = final_code(&hear(&peer).await);
        }
        if code != expected {
            wrong.push(format!("{name}: {code} and not {expected}"));
        }
        // It goes on as if nothing had been.
        peer.send(bare("OPTIONS", &format!("o{turn}"), &format!("z9hG4bKo{turn}"), 1, "").as_bytes()).await.unwrap();
        while !hear(&peer).await.contains(&format!("Call-ID: o{turn}\r\n")) {}
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    daemon.end().await;
}

#[tokio::test]
async fn by_tcp_what_cannot_be_cut_is_answered_and_closed() {
    let daemon = Daemon::start().await;
    let endless = [&invite("", &[], SDP)[..200], "X: y\r\n".repeat(20_000).as_bytes()].concat();
    for (turn, (message, expected)) in [
        (invite(&"Via: SIP/2.0/TCP h\r\n".repeat(10_000), &[], SDP), 513),
        (endless, 513),
        (invite("", &[("LENGTH", "1073741824")], SDP), 413),
        (invite("", &[("LENGTH", "-5")], SDP), 400),
        (invite("", &[("Content-Length: LENGTH\r\n", "")], SDP), 400),
    ]
    .into_iter()
    .enumerate()
    {
        let mut peer = TcpStream::connect(daemon.address(Transport::Tcp)).await.unwrap();
        // The gateway may close before it has read everything.
        let _cut_off = peer.write_all(&numbered(&message, turn)).await;
        let mut heard = Vec::new();
        let _reset = tokio::time::timeout(Duration::from_secs(20), peer.read_to_end(&mut heard)).await.expect("closed");
        let text = String::from_utf8_lossy(&heard);
        // What was reset while the answer was under way cannot be read any more: then it was closed, and that is all.
        assert!(heard.is_empty() || final_code(&text) == expected, "{turn}: {text}");
    }
    let mut peer = TcpStream::connect(daemon.address(Transport::Tcp)).await.unwrap();
    peer.write_all(bare("OPTIONS", "o", "z9hG4bKo", 1, "").as_bytes()).await.unwrap();
    let mut buffer = vec![0; 4096];
    let length = tokio::time::timeout(Duration::from_secs(20), peer.read(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(final_code(&String::from_utf8_lossy(&buffer[..length])), 200);
    daemon.end().await;
}
