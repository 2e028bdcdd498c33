//! RFC 4475's messages through the real UDP socket, each judged by the verdict written beside it. The messages are read in
//! place: from the directory that `VOICE_GATEWAY_TORTURE` names, else `../shared/torture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use sip_support::{bare, sdp, settings};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice_gateway::net::sip::bind;
use voice_gateway::sip::LegCommand;

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

#[tokio::test]
async fn every_message_gets_its_verdict() {
    let Some(directory) = torture() else { return };
    let expected: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(directory.join("expected.json")).unwrap()).unwrap();
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
        let codes: Vec<u64> =
            verdict["codes"].as_array().unwrap().iter().filter_map(serde_json::Value::as_u64).collect();
        let right = match (verdict["verdict"].as_str().unwrap(), finals.as_slice()) {
            ("ignore", finals) => finals.is_empty() && heard.is_empty(),
            (_, [only]) => codes.contains(only),
            (_, _) => false,
        };
        if !right {
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
