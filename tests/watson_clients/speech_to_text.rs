//! Speech to Text: the protocol, and every way to lose a socket. Chunks are 100 ms long and carry their number.

use super::peer::{Peer, Socket};
use super::{keyed, service, soon, watson};
use axum::body::Bytes;
use axum::extract::ws::Message;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use voice_gateway::base::{Fault, FaultKind};
use voice_gateway::call::SpeechEvent;
use voice_gateway::watson::{
    Coding, Pause, ServiceSettings, SpeechStream, SpeechToText, SpeechToTextSettings, StreamOptions, StreamPace,
};

const LISTENING: &str = r#"{"state":"listening"}"#;
const CHUNK: usize = 800;

/// A pace that never fills gaps by itself, so that tests see only the audio they sent.
fn pace() -> StreamPace {
    let long = Duration::from_secs(60);
    StreamPace { hush: long, ping: long, listening: long, open: long, ..StreamPace::default() }
}

fn settings(service: ServiceSettings, pace: StreamPace) -> SpeechToTextSettings {
    SpeechToTextSettings { service, model: "en-US_Telephony".into(), recognize: serde_json::Map::new(), pace }
}

fn client(url: &str, pace: StreamPace) -> SpeechToText {
    watson().0.speech_to_text(settings(service(url), pace)).unwrap()
}

/// One call's end of a stream.
struct Call {
    audio: mpsc::Sender<Bytes>,
    events: mpsc::Receiver<SpeechEvent>,
    pause: Pause,
    driver: tokio::task::JoinHandle<()>,
}

fn call(client: &SpeechToText) -> Call {
    let (audio, feed) = mpsc::channel(64);
    let options = StreamOptions { coding: Coding::Mulaw, recognize: serde_json::Map::new() };
    let SpeechStream { driver, events, pause } = client.stream(options, feed);
    Call { audio, events, pause, driver: TaskTracker::new().spawn(driver) }
}

impl Call {
    async fn say(&self, chunks: std::ops::Range<u8>) {
        for number in chunks {
            self.audio.send(Bytes::from(vec![number; CHUNK])).await.unwrap();
        }
    }

    async fn event(&mut self) -> SpeechEvent {
        soon(self.events.recv()).await.expect("an event")
    }

    async fn listening(&mut self) {
        let event = self.event().await;
        assert!(matches!(event, SpeechEvent::Listening), "{event:?}");
    }

    async fn hypothesis(&mut self) -> (String, bool) {
        match self.event().await {
            SpeechEvent::Hypothesis { transcript, is_final, .. } => (transcript, is_final),
            other => panic!("a hypothesis expected, got {other:?}"),
        }
    }

    async fn reconnecting(&mut self) -> Fault {
        match self.event().await {
            SpeechEvent::Reconnecting(fault) => fault,
            other => panic!("reconnecting expected, got {other:?}"),
        }
    }

    async fn failed(&mut self) -> Fault {
        loop {
            match self.event().await {
                SpeechEvent::Failed(fault) => return fault,
                SpeechEvent::Reconnecting(_) => {}
                other => panic!("failure expected, got {other:?}"),
            }
        }
    }
}

async fn started(peer: &mut Peer) -> Socket {
    let mut socket = peer.socket().await;
    assert_eq!(socket.json().await["action"], "start");
    socket.send(LISTENING).await;
    socket
}

/// The numbers of the next chunks.
async fn heard(socket: &mut Socket, chunks: usize) -> Vec<u8> {
    socket.audio(chunks * CHUNK).await.chunks(CHUNK).map(|chunk| chunk[0]).collect()
}

fn result(transcript: &str, is_final: bool) -> String {
    json!({"result_index":0,"results":[{"final":is_final,"alternatives":[{"transcript":transcript,"confidence":0.9}]}]})
        .to_string()
}

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
