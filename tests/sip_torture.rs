//! RFC 4475's messages through the real sockets, each judged by the verdict written beside it. The messages are read in
//! place: from the directory that `VOICE_GATEWAY_TORTURE` names, else `../shared/torture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use sip_support::station::{Station, read_until};
use sip_support::{bare, sdp, settings};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice_gateway::net::sip::{Limits, SocketOptions, bind};
use voice_gateway::sip::{LegCommand, Transport};

#[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
fn torture() -> Option<PathBuf> {
    let directory = std::env::var_os("VOICE_GATEWAY_TORTURE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/torture"), PathBuf::from);
    if directory.join("expected.json").is_file() {
        return Some(directory);
    }
    eprintln!("SKIPPED: the SIP torture messages were not found in {}", directory.display());
    None
}

/// Answers that belong to the message, up to the answer to an OPTIONS sent behind it.
async fn answers(peer: &UdpSocket, gateway: std::net::SocketAddr, message: &[u8], turn: usize) -> Vec<String> {
    peer.send_to(message, gateway).await.unwrap();
    let sentinel = format!("sentinel-{turn}");
    let mut heard: Vec<String> = Vec::new();
    let mut buffer = vec![0; 65_536];
    // An INVITE is answered by the application, behind its 100: the sentinel goes out once more after each answer.
    let mut asked = 0;
    let ask = |n: i32| bare("OPTIONS", &format!("{sentinel}-{n}"), &format!("z9hG4bKs{turn}-{n}"), 1, "");
    peer.send_to(ask(asked).as_bytes(), gateway).await.unwrap();
    loop {
        let (length, _) = tokio::time::timeout(Duration::from_secs(10), peer.recv_from(&mut buffer))
            .await
            .expect("the gateway is dead")
            .unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.contains(&format!("{sentinel}-{asked}\r\n")) {
            match heard.last() {
                Some(last) if code(last) == 100 => {
                    asked += 1;
                    peer.send_to(ask(asked).as_bytes(), gateway).await.unwrap();
                }
                _ => return heard,
            }
        } else if !text.contains("sentinel-") && heard.last() != Some(&text) {
            // A 2xx that is repeated on a slow machine is one answer.
            heard.push(text);
        }
    }
}

fn code(answer: &str) -> u64 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn expected(directory: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(directory.join("expected.json")).unwrap()).unwrap()
}

/// Whether these final answers are what the verdict allows.
fn agrees(verdict: &serde_json::Value, finals: &[u64]) -> bool {
    let codes = verdict["codes"].as_array().unwrap();
    match (verdict["verdict"].as_str().unwrap(), finals) {
        ("ignore", finals) => finals.is_empty(),
        (_, [only]) => codes.contains(&(*only).into()),
        (_, _) => false,
    }
}

#[tokio::test]
async fn every_message_gets_its_verdict() {
    let Some(directory) = torture() else { return };
    let expected = expected(&directory);
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let bound = bind(&["udp:127.0.0.1:0".parse().unwrap()]).await.unwrap();
    let gateway = bound.local_addresses()[0].1;
    let (handle, mut calls) = bound.start(settings(), &tracker, stop.clone());
    let mut told = Vec::new();
    let mut wrong = Vec::new();
    let verdicts = expected["rfc4475"].as_object().unwrap();
    let (seen, mut seen_calls) = tokio::sync::mpsc::channel(64);
    tracker.spawn(async move {
        // The messages have no ACK, so the calls are held until the end: what follows is for the simulated tests.
        let mut held = Vec::new();
        while let Some(call) = calls.recv().await {
            seen.send(call.invite.call_id.clone()).await.ok();
            call.leg.command(LegCommand::Answer { sdp: sdp(), headers: Vec::new() }).await;
            held.push(call);
        }
    });
    for (turn, (name, verdict)) in verdicts.iter().enumerate() {
        let message = std::fs::read(directory.join("rfc4475").join(format!("{name}.dat"))).unwrap();
        // A socket each: the 2xx of an earlier message, repeated, is no answer to this one.
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let heard = answers(&peer, gateway, &message, turn).await;
        let finals: Vec<u64> = heard.iter().map(|answer| code(answer)).filter(|code| *code >= 200).collect();
        if !agrees(verdict, &finals) || verdict["verdict"] == "ignore" && !heard.is_empty() {
            wrong.push(format!("{name}: {finals:?} where {verdict}"));
        }
        if name == "bext01" {
            assert!(heard[0].contains("Unsupported: nothingSupportsThis, nothingSupportsThisEither\r\n"), "{heard:?}");
        }
        if name == "invut" {
            assert!(heard[0].contains("Accept: application/sdp\r\n"), "{heard:?}");
        }
        if finals == [200] && verdict["m"] == "INVITE" {
            told.push(name.clone());
        }
    }
    assert!(wrong.is_empty(), "{} of {} verdicts wrong:\n{}", wrong.len(), verdicts.len(), wrong.join("\n"));
    assert_eq!(verdicts.len(), 49);
    // Only what was answered 200 became a call: not the INVITE behind the REGISTER in one datagram.
    let mut calls = Vec::new();
    while let Ok(call_id) = seen_calls.try_recv() {
        calls.push(call_id.split('.').next().unwrap().to_owned());
    }
    calls.sort();
    told.sort();
    assert_eq!(calls, told);
    drop(handle);
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}

/// By TCP, a connection each. What cannot be cut out of a stream ends it.
#[tokio::test]
async fn by_tcp_every_message_gets_its_verdict_or_ends_its_stream() {
    let Some(directory) = torture() else { return };
    let limits = Limits { first: Duration::from_secs(2), partial: Duration::from_secs(2), ..Limits::default() };
    let options = SocketOptions { limits, ..SocketOptions::default() };
    let mut gateway = Station::start(&["tcp:127.0.0.1:0"], options).await;
    let mut calls = std::mem::replace(&mut gateway.calls, tokio::sync::mpsc::channel(1).1);
    let app = TaskTracker::new();
    app.spawn(async move {
        while let Some(call) = calls.recv().await {
            call.leg.command(LegCommand::Reject { code: 480, reason: String::new(), headers: Vec::new() }).await;
        }
    });
    let mut wrong = Vec::new();
    let expected = expected(&directory);
    // What lies behind dblreq's INVITE ends its stream: the answer would go to whoever listens on port 5060 here.
    let verdicts = expected["rfc4475"].as_object().unwrap().iter().filter(|(name, _)| *name != "dblreq");
    for (turn, (name, verdict)) in verdicts.enumerate() {
        let message = std::fs::read(directory.join("rfc4475").join(format!("{name}.dat"))).unwrap();
        let mut peer = TcpStream::connect(gateway.at(Transport::Tcp)).await.unwrap();
        // A mark behind it, whose answer shows that the stream goes on.
        let mark = bare("OPTIONS", &format!("mark-{turn}"), &format!("z9hG4bKm{turn}"), 1, "").replace("UDP", "TCP");
        peer.write_all(&[&message[..], mark.as_bytes()].concat()).await.unwrap();
        let mut heard = read_until(&mut peer, &format!("Call-ID: mark-{turn}\r\n")).await;
        let goes_on = heard.contains("Call-ID: mark-");
        if heard.contains("SIP/2.0 100 ") && !heard.contains("SIP/2.0 480 ") {
            heard += &read_until(&mut peer, "SIP/2.0 480 ").await;
        }
        let mut finals: Vec<u64> = heard.lines().filter(|line| line.starts_with("SIP/2.0 ")).map(code).collect();
        finals.retain(|code| *code >= 200);
        if goes_on {
            let own = finals.iter().position(|code| *code == 200).expect("the mark is answered");
            finals.remove(own);
        }
        let right = match name.as_str() {
            // Its body never comes.
            "clerr" => heard.is_empty(),
            "inv2543" | "mcl01" | "ncl" => finals == [400] && !goes_on,
            _ => agrees(verdict, &finals) && goes_on,
        };
        if !right {
            wrong.push(format!("{name}: {finals:?} where {verdict}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    gateway.stop().await;
    app.close();
    app.wait().await;
}
