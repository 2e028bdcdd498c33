//! How much a flood from one address delays the calls of others (`tests/load/README.md`): the SIP sockets in a process of their
//! own, a caller at 50 calls a second beside it, and a flooder at 50,000 packets a second.
//!
//! `cargo run --release --example flood -- [SECONDS]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for the bench: it ends by panicking, prints, and reads the clock"
)]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice_gateway::net::sip::bind;
use voice_gateway::sip::{LegCommand, Settings};

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n";
/// New calls in a second.
const CALLS: u32 = 50;
/// Hostile packets in a second.
const PACKETS: u32 = 50_000;
/// Where they come from.
const HOSTILE: &str = "127.0.0.66:0";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", allow_from] => serve(allow_from),
        ["flood", target, kind, seconds] => flood(target.parse().unwrap(), kind, seconds.parse().unwrap()),
        [] => measure(10),
        [seconds] => measure(seconds.parse().expect("a number of seconds")),
        _ => panic!("usage: flood [SECONDS]"),
    }
}

/// A row for each kind of flood.
fn measure(seconds: u64) {
    println!("{CALLS} calls/s from 127.0.0.1 for {seconds} s each; hostile packets from {HOSTILE}, INVITE to 200:");
    println!(
        "{:<34}{:>10}{:>9}{:>6}{:>9}{:>9}{:>9}",
        "flood", "packets/s", "answered", "shed", "p50 ms", "p99 ms", "max ms"
    );
    let listed = "127.0.0.0/8";
    let only_caller = "127.0.0.1/32";
    for (title, allow_from, kind) in [
        ("none", listed, "none"),
        ("a stranger's INVITEs", only_caller, "invite"),
        ("INVITEs of an address in the list", listed, "invite"),
        ("garbage of an address in the list", listed, "garbage"),
        ("responses of an address in the list", listed, "response"),
    ] {
        let (mut gateway, target) = child(&["serve", allow_from]);
        let flooder = (kind != "none").then(|| child_with(&["flood", &target, kind, &(seconds + 1).to_string()]));
        let (mut took, shed) = calls(target.parse().unwrap(), Duration::from_secs(seconds));
        let sent = flooder.map_or(0, |mut flooder| {
            let mut text = String::new();
            flooder.stdout.take().unwrap().read_to_string(&mut text).unwrap();
            flooder.wait().unwrap();
            text.trim().parse::<u64>().unwrap() / (seconds + 1)
        });
        drop(gateway.stdin.take());
        gateway.wait().unwrap();
        took.sort();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        let answered = took.len();
        println!("{title:<34}{sent:>10}{answered:>9}{shed:>6}{:>9.2}{:>9.2}{:>9.2}", at(0.5), at(0.99), at(1.0));
    }
}

fn child_with(arguments: &[&str]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A child and the first line that it says.
fn child(arguments: &[&str]) -> (Child, String) {
    let mut child = child_with(arguments);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

/// Answers every call until standard input ends.
fn serve(allow_from: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let bound = bind(&["udp:127.0.0.1:0".parse().unwrap()]).await.unwrap();
        println!("{}", bound.local_addresses()[0].1);
        std::io::stdout().flush().unwrap();
        let settings = Settings { allow_from: vec![allow_from.parse().unwrap()], ..Settings::default() };
        let (handle, mut calls) = bound.start(settings, &tracker, stop.clone());
        let answers = tracker.clone();
        tracker.spawn(async move {
            let _handle = handle;
            while let Some(mut call) = calls.recv().await {
                answers.spawn(async move {
                    call.leg.command(LegCommand::Answer { sdp: SDP.into(), headers: Vec::new() }).await;
                    while call.leg.event().await.is_some() {}
                });
            }
        });
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        ended.await.unwrap().unwrap();
        stop.cancel();
        tracker.close();
        tracker.wait().await;
    });
}

/// Sends so many packets, a batch each millisecond, and says how many there were.
fn flood(target: SocketAddr, kind: &str, seconds: u64) {
    let socket = UdpSocket::bind(HOSTILE).unwrap();
    socket.connect(target).unwrap();
    let start = Instant::now();
    let mut sent = 0_u64;
    while start.elapsed() < Duration::from_secs(seconds) {
        let due = start.elapsed().as_micros() as u64 * u64::from(PACKETS) / 1_000_000;
        while sent < due {
            let packet = match kind {
                "invite" => request("INVITE", &format!("flood{sent}"), 1, "", SDP),
                "garbage" => format!("{}\r\n\r\n", "x".repeat(200)),
                _ => request("INVITE", &format!("flood{sent}"), 1, "", "").replacen(
                    "INVITE sip:100@127.0.0.1 SIP/2.0",
                    "SIP/2.0 200 OK",
                    1,
                ),
            };
            // A full queue of the kernel is part of a flood.
            let _lost = socket.send(packet.as_bytes());
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("{sent}");
}

/// Calls at their rate, each ended as soon as it is answered: how long each answer took, and how many were shed.
fn calls(target: SocketAddr, lasting: Duration) -> (Vec<Duration>, usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(target).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let (start, mut placed) = (Instant::now(), 0_u32);
    let mut open: HashMap<String, (Instant, Instant)> = HashMap::new();
    let (mut took, mut refused) = (Vec::new(), 0);
    let mut buffer = vec![0; 65_536];
    // Behind the end so long for the last answers: 64*T1.
    while start.elapsed() < lasting || (!open.is_empty() && start.elapsed() < lasting + Duration::from_secs(32)) {
        let now = Instant::now();
        if start.elapsed() < lasting && placed < (start.elapsed().as_secs_f64() * f64::from(CALLS)) as u32 {
            let call_id = format!("call{placed}");
            socket.send(request("INVITE", &call_id, 1, "", SDP).as_bytes()).unwrap();
            open.insert(call_id, (now, now));
            placed += 1;
        }
        for (call_id, (_, last)) in &mut open {
            if last.elapsed() > Duration::from_millis(500) {
                *last = now;
                socket.send(request("INVITE", call_id, 1, "", SDP).as_bytes()).unwrap();
            }
        }
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let call_id = header("Call-ID:");
        if text.starts_with("SIP/2.0 200") && header("CSeq:") == "1 INVITE" {
            let tag = header("To:").rsplit_once("tag=").map_or("", |(_, tag)| tag);
            socket.send(request("ACK", call_id, 1, tag, "").as_bytes()).unwrap();
            if let Some((since, _)) = open.remove(call_id) {
                took.push(since.elapsed());
                socket.send(request("BYE", call_id, 2, tag, "").as_bytes()).unwrap();
            }
        } else if text.starts_with("SIP/2.0 503") && header("CSeq:") == "1 INVITE" {
            // The flooder's own calls count too: what the gateway admits in a second is one number for all.
            refused += usize::from(open.remove(call_id).is_some());
        }
    }
    assert!(open.is_empty(), "{} of {placed} calls were never answered", open.len());
    (took, refused)
}

fn request(method: &str, call_id: &str, cseq: u32, tag: &str, body: &str) -> String {
    let tag = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    format!(
        "{method} sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{call_id}{method};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@h>;tag=caller\r\nTo: <sip:100@h>{tag}\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:a@127.0.0.1>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
