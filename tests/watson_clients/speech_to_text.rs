//! Speech to Text: the protocol, tokens, and what is refused.

use crate::peer::Peer;
use crate::speech_stream::{CHUNK, Call, LISTENING, call, client, heard, pace, result, settings, started};
use crate::{keyed, soon, watson};
use axum::body::Bytes;
use axum::extract::ws::Message;
use serde_json::{Value, json};
use std::time::Duration;
use voice_gateway::base::FaultKind;
use voice_gateway::call::SpeechEvent;
use voice_gateway::watson::StreamPace;

#[tokio::test]
async fn a_session_goes_by_the_book() {
    let mut peer = Peer::start().await;
    let mut call = call(&client(&format!("{}/instances/1", peer.url), pace()));
    call.say(0..3).await;
    let mut socket = peer.socket().await;
    assert_eq!(socket.uri.to_string(), "/instances/1/v1/recognize?model=en-US_Telephony");
    assert_eq!(socket.authorization, "Bearer given");
    let start = socket.json().await;
    assert_eq!(start["content-type"], "audio/mulaw;rate=8000");
    assert_eq!((&start["interim_results"], &start["inactivity_timeout"]), (&json!(true), &json!(-1)));
    assert_eq!(heard(&mut socket, 3).await, [0, 1, 2], "audio that came before the socket was open");
    socket.send(LISTENING).await;
    call.listening().await;
    socket.send(r#"{"results":[{"speech_begin_event":{"begin":2.5}}],"result_index":0}"#).await;
    assert!(matches!(call.event().await, SpeechEvent::Began));
    socket.send(&result("name the ", false)).await;
    assert_eq!(call.hypothesis().await, ("name the".into(), false));
    socket.send(&result("name the mayflower ", true)).await;
    match call.event().await {
        SpeechEvent::Hypothesis { transcript, is_final: true, confidence: Some(confidence), raw: Some(raw) } => {
            assert_eq!((transcript.as_str(), confidence), ("name the mayflower", 0.9));
            assert_eq!(raw, serde_json::from_str::<Value>(&result("name the mayflower ", true)).unwrap());
        }
        other => panic!("{other:?}"),
    }
    let Call { audio, mut events, driver, .. } = call;
    drop(audio);
    assert_eq!(socket.json().await, json!({"action":"stop"}));
    socket.send(&result("bye", true)).await;
    socket.send(LISTENING).await;
    let last = soon(events.recv()).await;
    assert!(matches!(last, Some(SpeechEvent::Hypothesis { is_final: true, .. })), "results up to the end: {last:?}");
    assert!(matches!(socket.message().await, Some(Message::Close(Some(frame))) if frame.code == 1000));
    drop(socket);
    soon(driver).await.unwrap();
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_then_believed() {
    let mut iam = Peer::start().await;
    let mut peer = Peer::start().await;
    let (mut watson, ..) = watson();
    let client = watson.speech_to_text(settings(keyed(&peer.url, &iam.url), pace())).unwrap();
    iam.request().await.status(200, r#"{"access_token":"stale","expires_in":3600}"#);
    let mut first = call(&client);
    let handshake = peer.request().await;
    assert_eq!(handshake.header("authorization"), "Bearer stale");
    handshake.status(403, r#"{"error":"Forbidden","code":403}"#);
    iam.request().await.status(200, r#"{"access_token":"fresh","expires_in":3600}"#);
    let mut socket = peer.socket().await;
    assert_eq!(socket.authorization, "Bearer fresh");
    assert_eq!(socket.json().await["action"], "start");
    socket.send(LISTENING).await;
    first.listening().await;

    let mut second = call(&client);
    peer.request().await.status(401, r#"{"error":"Unauthorized","code":401}"#);
    iam.request().await.status(200, r#"{"access_token":"fresher","expires_in":3600}"#);
    peer.request().await.status(401, r#"{"error":"Unauthorized","code":401}"#);
    let fault = second.failed().await;
    assert_eq!(fault.kind, FaultKind::Auth);
    assert!(fault.detail.ends_with("401 Unauthorized"), "{}", fault.detail);
    assert!(peer.idle() && iam.idle());
}

#[tokio::test]
async fn a_little_garbage_is_ignored_and_more_of_it_ends_the_socket() {
    let mut peer = Peer::start().await;
    let mut call = call(&client(&peer.url, pace()));
    let mut socket = started(&mut peer).await;
    call.listening().await;
    socket.send("<html>").await;
    socket.send(r#"{"results":"#).await;
    socket.send(r#"{"warnings":"Unknown arguments: x."}"#).await;
    socket.send(&result("still here", false)).await;
    assert_eq!(call.hypothesis().await, ("still here".into(), false));
    socket.send("1").await;
    socket.send("2").await;
    socket.send_audio(&[1, 2, 3]).await;
    assert_eq!(call.reconnecting().await.kind, FaultKind::Protocol);
    started(&mut peer).await;
}

#[tokio::test]
async fn a_start_that_is_refused_fails_and_says_why() {
    let mut peer = Peer::start().await;
    let mut call = call(&client(&peer.url, pace()));
    let mut socket = peer.socket().await;
    socket.json().await;
    socket.send(r#"{"code":400,"code_description":"Bad Request","error":"low_latency is not a supported feature for model x"}"#).await;
    let fault = call.failed().await;
    assert_eq!(fault.kind, FaultKind::Status);
    assert!(fault.detail.contains("low_latency is not a supported feature"), "{}", fault.detail);
    soon(call.driver).await.unwrap();
}

#[tokio::test]
async fn silence_is_sent_where_audio_is_missing_or_paused() {
    let mut peer = Peer::start().await;
    let quick = StreamPace { hush: Duration::from_millis(20), ..pace() };
    let mut call = call(&client(&peer.url, quick));
    let mut socket = started(&mut peer).await;
    call.listening().await;
    assert!(socket.audio(3 * CHUNK).await.iter().all(|byte| *byte == 0xff));
    call.pause.set(true);
    call.say(7..8).await;
    call.audio.send(Bytes::from(vec![9; 5000])).await.unwrap();
    assert!(socket.audio(CHUNK + 5000).await.iter().all(|byte| *byte == 0xff));
    call.pause.set(false);
    call.say(7..8).await;
    while heard(&mut socket, 1).await != [7] {}
}

#[tokio::test]
async fn a_call_that_is_gone_closes_the_socket_whatever_it_is_doing() {
    let mut peer = Peer::start().await;
    let client = client(&peer.url, pace());
    let mut first = call(&client);
    let mut socket = started(&mut peer).await;
    first.listening().await;
    drop(first.events);
    assert!(matches!(socket.message().await, Some(Message::Close(Some(frame))) if frame.code == 1000));
    drop(socket);
    soon(first.driver).await.unwrap();
    let second = call(&client);
    let unanswered = peer.request().await;
    drop(second.audio);
    soon(second.driver).await.unwrap();
    drop(unanswered);
}

#[tokio::test]
async fn the_probe_says_what_it_saw_or_what_was_wrong() {
    let mut peer = Peer::start().await;
    let client = client(&peer.url, StreamPace::default());
    let serve = async {
        let mut socket = started(&mut peer).await;
        loop {
            match socket.message().await {
                Some(Message::Text(text)) => {
                    assert_eq!(text.as_str(), r#"{"action":"stop"}"#);
                    socket.send(LISTENING).await;
                }
                Some(Message::Binary(_)) => {}
                _ => return,
            }
        }
    };
    let (seen, ()) = tokio::join!(client.probe(), serve);
    assert!(seen.unwrap().ends_with("listens with model en-US_Telephony"));
    let (seen, ()) = tokio::join!(client.probe(), async { peer.request().await.status(404, "{}") });
    assert_eq!(seen.unwrap_err().kind, FaultKind::Status);
}
