//! Speech to Text: every way to lose a socket, and what of the audio comes again.

use crate::peer::Peer;
use crate::soon;
use crate::speech_stream::{Call, call, client, heard, pace, result, started};
use std::time::Duration;
use voice_gateway::base::FaultKind;
use voice_gateway::call::SpeechEvent;
use voice_gateway::watson::StreamPace;

#[tokio::test]
async fn a_socket_lost_mid_word_costs_no_audio_and_doubles_no_words() {
    let mut peer = Peer::start().await;
    let mut call = call(&client(&peer.url, pace()));
    let mut first = started(&mut peer).await;
    call.listening().await;
    call.say(0..20).await;
    assert_eq!(heard(&mut first, 20).await, (0..20).collect::<Vec<_>>());
    first.send(&result("one", true)).await;
    assert_eq!(call.hypothesis().await, ("one".into(), true));
    call.say(20..25).await;
    assert_eq!(heard(&mut first, 5).await, (20..25).collect::<Vec<_>>());
    first.send(&result("tw", false)).await;
    assert_eq!(call.hypothesis().await, ("tw".into(), false));
    drop(first);
    assert_eq!(call.reconnecting().await.kind, FaultKind::Closed);
    call.say(25..30).await;
    let mut second = started(&mut peer).await;
    call.listening().await;
    // Of the audio before the final result only the silence that ended it (0.6 s) comes again; all behind it does.
    assert_eq!(heard(&mut second, 16).await, (14..30).collect::<Vec<_>>());
    call.say(30..31).await;
    assert_eq!(heard(&mut second, 1).await, [30]);
    second.send(&result("two", true)).await;
    assert_eq!(call.hypothesis().await, ("two".into(), true));
    assert!(call.events.try_recv().is_err());
}

#[tokio::test]
async fn a_session_that_times_out_is_opened_again() {
    let mut peer = Peer::start().await;
    let mut call = call(&client(&peer.url, pace()));
    let mut socket = started(&mut peer).await;
    call.listening().await;
    call.say(0..2).await;
    heard(&mut socket, 2).await;
    socket.send(r#"{"error":"Session timed out."}"#).await;
    socket.close(1011).await;
    let fault = call.reconnecting().await;
    assert_eq!(fault.kind, FaultKind::Status);
    assert!(fault.detail.ends_with("Session timed out."), "{}", fault.detail);
    let mut socket = started(&mut peer).await;
    assert_eq!(heard(&mut socket, 2).await, [0, 1]);
    call.listening().await;
    socket.close(1011).await;
    assert!(call.reconnecting().await.detail.ends_with("closed with 1011"));
    started(&mut peer).await;
}

#[tokio::test]
async fn an_error_before_listening_is_tried_twice() {
    let mut peer = Peer::start().await;
    let mut call = call(&client(&peer.url, pace()));
    for _ in 0..2 {
        let mut socket = peer.socket().await;
        socket.json().await;
        socket.send(r#"{"error":"unable to open the model"}"#).await;
        socket.message().await;
    }
    assert!(call.failed().await.detail.ends_with("unable to open the model"));
    assert!(peer.idle());
}

#[tokio::test]
async fn an_unknown_instance_fails_at_once_and_a_busy_one_is_tried_again() {
    let mut peer = Peer::start().await;
    let client = client(&peer.url, pace());
    let mut first = call(&client);
    peer.request().await.status(404, r#"{"error":"Model x not found","code":404}"#);
    let fault = first.failed().await;
    assert!(fault.detail.ends_with("404 Model x not found"), "{}", fault.detail);
    let mut second = call(&client);
    peer.request().await.status(503, "{}");
    assert_eq!(second.reconnecting().await.kind, FaultKind::Busy);
    peer.request().await.typed(200, "text/html", "<html>proxy</html>");
    started(&mut peer).await;
    second.listening().await;
}

#[tokio::test]
async fn an_outage_beyond_its_budget_fails_the_stream() {
    let mut peer = Peer::start().await;
    let mut call = call(&client(&peer.url, StreamPace { outage: Duration::from_millis(500), ..pace() }));
    let socket = started(&mut peer).await;
    call.listening().await;
    peer.stop_listening().await;
    drop(socket);
    assert_eq!(call.reconnecting().await.kind, FaultKind::Closed);
    assert_eq!(call.failed().await.kind, FaultKind::Connect);
    soon(call.driver).await.unwrap();
}

/// A service that says this to every socket, and then cuts it, ten times at most; the events that came of it.
async fn cut_again_and_again(result: String) -> Vec<SpeechEvent> {
    let mut peer = Peer::start().await;
    let call = call(&client(&peer.url, StreamPace { outage: Duration::from_millis(300), ..pace() }));
    call.say(0..2).await;
    let Call { audio: _audio, events: mut stream, .. } = call;
    let serve = async {
        for _ in 0..10 {
            let mut socket = started(&mut peer).await;
            heard(&mut socket, 1).await;
            socket.send(&result).await;
            socket.close(1011).await;
        }
    };
    let mut events = Vec::new();
    let listen = async {
        while let Some(event) = stream.recv().await {
            let failed = matches!(event, SpeechEvent::Failed(_));
            events.push(event);
            if failed {
                return;
            }
        }
    };
    soon(async {
        tokio::select! {
            () = serve => {}
            () = listen => {}
        }
    })
    .await;
    events
}

#[tokio::test]
async fn a_service_that_dies_of_the_same_audio_each_time_is_an_outage_and_bounded() {
    let events = cut_again_and_again(result("tw", false)).await;
    let interim = |event: &&SpeechEvent| matches!(event, SpeechEvent::Hypothesis { is_final: false, .. });
    assert!(events.iter().filter(interim).count() > 1, "{events:?}");
    assert!(matches!(events.last(), Some(SpeechEvent::Failed(_))), "{events:?}");
    // A final result is progress: no socket dies of the same audio again.
    let events = cut_again_and_again(result("two", true)).await;
    assert!(!events.iter().any(|event| matches!(event, SpeechEvent::Failed(_))), "{events:?}");
}

#[tokio::test]
async fn a_peer_without_a_sign_of_life_is_left() {
    let mut peer = Peer::start().await;
    let mut call = call(&client(&peer.url, StreamPace { ping: Duration::from_millis(300), ..pace() }));
    let deaf = started(&mut peer).await;
    call.listening().await;
    let fault = call.reconnecting().await;
    assert_eq!(fault.kind, FaultKind::Timeout);
    assert!(fault.detail.contains("no sign of life"), "{}", fault.detail);
    started(&mut peer).await;
    drop(deaf);
}

#[tokio::test]
async fn a_service_that_never_listens_is_left() {
    let mut peer = Peer::start().await;
    let mut call = call(&client(&peer.url, StreamPace { listening: Duration::from_millis(500), ..pace() }));
    let _mute = peer.socket().await;
    let fault = call.reconnecting().await;
    assert!(fault.detail.contains("not listening"), "{}", fault.detail);
    started(&mut peer).await;
}
