//! Text to Speech over both transports: streaming, cancelling, and every way to go wrong.

use super::peer::{Peer, Socket};
use super::{keyed, nobody, service, soon, watson};
use axum::body::Bytes;
use serde_json::{Map, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use voice_gateway::base::{Fault, FaultKind};
use voice_gateway::watson::text_to_speech::Transport;
use voice_gateway::watson::{Coding, ServiceSettings, SpeakPace, Spoken, TextToSpeech, TextToSpeechSettings};

const ANNOUNCED: &str = r#"{"binary_streams":[{"content_type":"audio/mulaw;rate=8000"}]}"#;
const MULAW: &str = "audio/mulaw;rate=8000";

fn settings(service: ServiceSettings, transport: Transport) -> TextToSpeechSettings {
    let pace = SpeakPace { open: LONG, first_audio: LONG, between: LONG };
    TextToSpeechSettings { service, voice: "en-US_AllisonV3Voice".into(), synthesize: Map::new(), transport, pace }
}

const LONG: Duration = Duration::from_secs(60);

fn client(url: &str, transport: Transport) -> TextToSpeech {
    watson().0.text_to_speech(settings(service(url), transport)).unwrap()
}

/// One prompt being made.
struct Prompt {
    audio: mpsc::Receiver<Bytes>,
    starts: Arc<AtomicU32>,
    outcome: tokio::task::JoinHandle<Result<Spoken, Fault>>,
}

fn speak(client: &TextToSpeech, text: &str) -> Prompt {
    let (chunks, audio) = mpsc::channel(2);
    let starts = Arc::new(AtomicU32::new(0));
    let (client, text, counter) = (client.clone(), text.to_owned(), Arc::clone(&starts));
    let outcome = TaskTracker::new().spawn(async move {
        let started = move || {
            counter.fetch_add(1, Ordering::SeqCst);
        };
        client.speak(&text, Coding::Mulaw, chunks, started).await
    });
    Prompt { audio, starts, outcome }
}

impl Prompt {
    async fn next(&mut self) -> Bytes {
        soon(self.audio.recv()).await.expect("audio")
    }

    /// All that is still to come, and how it ended.
    async fn rest(mut self) -> (Vec<u8>, Result<Spoken, Fault>) {
        let mut rest = Vec::new();
        while let Some(part) = soon(self.audio.recv()).await {
            rest.extend_from_slice(&part);
        }
        (rest, soon(self.outcome).await.unwrap())
    }

    async fn fault(self) -> Fault {
        self.rest().await.1.unwrap_err()
    }
}

async fn requested(peer: &mut Peer) -> (Socket, String) {
    let mut socket = peer.socket().await;
    let request = socket.json().await;
    assert_eq!(request["accept"], MULAW);
    (socket, request["text"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_first_audio_is_there_before_the_rest_is_made() {
    let mut peer = Peer::start().await;
    let mut prompt = speak(&client(&format!("{}/instances/1", peer.url), Transport::Websocket), "Tom & Jerry");
    let (mut socket, text) = requested(&mut peer).await;
    assert_eq!(text, "Tom &amp; Jerry");
    assert_eq!(socket.uri.to_string(), "/instances/1/v1/synthesize?voice=en-US_AllisonV3Voice");
    assert_eq!(socket.authorization, "Bearer given");
    socket.send(ANNOUNCED).await;
    assert_eq!(prompt.starts.load(Ordering::SeqCst), 0);
    socket.send_audio(&[1; 100]).await;
    assert_eq!(prompt.next().await, vec![1; 100]);
    assert_eq!(prompt.starts.load(Ordering::SeqCst), 1);
    socket.send(r#"{"marks":[["here",0.501]]}"#).await;
    socket.send(r#"{"warnings":"odd"}"#).await;
    // A long frame comes in parts of half a second, so that a full queue stays small.
    socket.send_audio(&[2; 9000]).await;
    socket.close(1000).await;
    assert_eq!(prompt.next().await.len(), 4000);
    let starts = Arc::clone(&prompt.starts);
    let (rest, outcome) = prompt.rest().await;
    assert_eq!((rest.len(), outcome), (5000, Ok(Spoken::Complete(9100))));
    assert_eq!(starts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn barge_in_closes_the_socket_at_once() {
    let mut peer = Peer::start().await;
    let client = client(&peer.url, Transport::Websocket);
    let mut prompt = speak(&client, "a long story");
    let (mut socket, _) = requested(&mut peer).await;
    socket.send(ANNOUNCED).await;
    socket.send_audio(&[1; 100]).await;
    prompt.next().await;
    let Prompt { audio, outcome, .. } = prompt;
    drop(audio);
    assert!(socket.message().await.is_none(), "gone without a word");
    assert_eq!(soon(outcome).await.unwrap(), Ok(Spoken::Cancelled));
    // Also before there is a socket.
    let Prompt { audio, outcome, .. } = speak(&client, "more");
    let _unanswered = peer.request().await;
    drop(audio);
    assert_eq!(soon(outcome).await.unwrap(), Ok(Spoken::Cancelled));
}

#[tokio::test]
async fn an_error_before_any_audio_is_tried_once_more() {
    let mut peer = Peer::start().await;
    let client = client(&peer.url, Transport::Websocket);
    let prompt = speak(&client, "hello");
    let (mut socket, _) = requested(&mut peer).await;
    socket.send(r#"{"error":"no capacity"}"#).await;
    socket.close(1011).await;
    let (mut socket, _) = requested(&mut peer).await;
    socket.send(ANNOUNCED).await;
    socket.send_audio(&[3; 10]).await;
    socket.close(1000).await;
    assert_eq!(prompt.rest().await, (vec![3; 10], Ok(Spoken::Complete(10))));
    let prompt = speak(&client, "hello");
    for _ in 0..2 {
        let (mut socket, _) = requested(&mut peer).await;
        socket.send(r#"{"error":"Invalid SSML"}"#).await;
        socket.close(1011).await;
    }
    let fault = prompt.fault().await;
    assert_eq!(fault.kind, FaultKind::Status);
    assert!(fault.detail.ends_with("Invalid SSML"), "{}", fault.detail);
    assert!(peer.idle());
}

#[tokio::test]
async fn truncated_audio_is_a_fault_and_is_not_said_twice() {
    let mut peer = Peer::start().await;
    let client = client(&peer.url, Transport::Websocket);
    let prompt = speak(&client, "hello");
    let (mut socket, _) = requested(&mut peer).await;
    socket.send_audio(&[4; 50]).await;
    drop(socket);
    let (delivered, outcome) = prompt.rest().await;
    assert_eq!(delivered, vec![4; 50]);
    let fault = outcome.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Closed);
    assert!(fault.detail.contains("after 50 bytes"), "{}", fault.detail);
    let prompt = speak(&client, "hello");
    let (mut socket, _) = requested(&mut peer).await;
    socket.send_audio(&[4; 50]).await;
    socket.close(1011).await;
    assert!(prompt.fault().await.detail.contains("closed with 1011 after 50 bytes"));
    assert!(peer.idle());
}

#[tokio::test]
async fn what_is_no_audio_is_a_protocol_fault() {
    let mut peer = Peer::start().await;
    let client = client(&peer.url, Transport::Websocket);
    let prompt = speak(&client, "hello");
    let (mut socket, _) = requested(&mut peer).await;
    socket.send(r#"{"binary_streams":[{"content_type":"audio/ogg;codecs=opus"}]}"#).await;
    let fault = prompt.fault().await;
    assert_eq!(fault.kind, FaultKind::Protocol);
    assert!(fault.detail.contains("audio/ogg;codecs=opus instead of audio/mulaw"), "{}", fault.detail);
    let prompt = speak(&client, "hello");
    let (mut socket, _) = requested(&mut peer).await;
    socket.send("<html>").await;
    assert_eq!(prompt.fault().await.kind, FaultKind::Protocol);
    let prompt = speak(&client, "hello");
    requested(&mut peer).await.0.close(1000).await;
    assert!(prompt.fault().await.detail.ends_with("closed without audio"));
}

#[tokio::test]
async fn a_service_that_says_nothing_is_left_in_time() {
    let mut peer = Peer::start().await;
    let short = Duration::from_millis(100);
    let pace = SpeakPace { open: LONG, first_audio: short, between: short };
    let patient = settings(service(&peer.url), Transport::Websocket);
    let client = watson().0.text_to_speech(TextToSpeechSettings { pace, ..patient }).unwrap();
    let prompt = speak(&client, "hello");
    let _first = requested(&mut peer).await;
    let _second = requested(&mut peer).await;
    let fault = prompt.fault().await;
    assert_eq!(fault.kind, FaultKind::Timeout);
    assert!(fault.detail.contains("no audio within"), "{}", fault.detail);
    let pace = SpeakPace { open: LONG, first_audio: LONG, between: short };
    let patient = settings(service(&peer.url), Transport::Websocket);
    let client = watson().0.text_to_speech(TextToSpeechSettings { pace, ..patient }).unwrap();
    let prompt = speak(&client, "hello");
    let (mut socket, _) = requested(&mut peer).await;
    socket.send_audio(&[5; 20]).await;
    assert!(prompt.fault().await.detail.contains("no more audio within"));
}

#[tokio::test]
async fn where_websockets_are_refused_http_is_used_and_remembered() {
    let mut peer = Peer::start().await;
    let client = client(&peer.url, Transport::Websocket);
    let mut prompt = speak(&client, "say \"hi\"");
    let handshake = peer.request().await;
    assert_eq!((handshake.method.as_str(), handshake.header("upgrade")), ("GET", "websocket"));
    handshake.typed(400, "text/html", "<html>upgrade not allowed</html>");
    let request = peer.request().await;
    assert_eq!(request.method, "POST");
    assert_eq!(request.uri.to_string(), "/v1/synthesize?voice=en-US_AllisonV3Voice");
    assert_eq!((request.header("accept"), request.header("authorization")), (MULAW, "Bearer given"));
    assert_eq!(request.json(), json!({"text": "say &quot;hi&quot;"}));
    let body = request.stream(MULAW);
    body.send(Ok(Bytes::from_static(&[6; 30]))).await.unwrap();
    assert_eq!(prompt.next().await, vec![6; 30], "before the body has ended");
    body.send(Ok(Bytes::from_static(&[7; 30]))).await.unwrap();
    drop(body);
    assert_eq!(prompt.rest().await, (vec![7; 30], Ok(Spoken::Complete(60))));
    let prompt = speak(&client, "again");
    let request = peer.request().await;
    assert_eq!(request.method, "POST", "no second handshake in vain");
    request.typed(200, MULAW, "x");
    assert_eq!(prompt.rest().await.1, Ok(Spoken::Complete(1)));
}

#[tokio::test]
async fn http_goes_wrong_in_as_many_ways() {
    let mut peer = Peer::start().await;
    let client = client(&peer.url, Transport::Http);
    let prompt = speak(&client, "hello");
    peer.request().await.status(500, r#"{"error":"oops","code":500}"#);
    peer.request().await.typed(200, MULAW, "x");
    assert_eq!(prompt.rest().await.1, Ok(Spoken::Complete(1)), "one retry");

    let prompt = speak(&client, "hello");
    peer.request().await.typed(200, "text/html", "<html>hello</html>");
    let fault = prompt.fault().await;
    assert_eq!(fault.kind, FaultKind::Protocol);
    assert!(fault.detail.contains("text/html instead of"), "{}", fault.detail);

    let mut prompt = speak(&client, "hello");
    let body = peer.request().await.stream(MULAW);
    body.send(Ok(Bytes::from_static(&[8; 40]))).await.unwrap();
    assert_eq!(prompt.next().await, vec![8; 40]);
    body.send(Err(std::io::Error::other("cut"))).await.unwrap();
    let (delivered, outcome) = prompt.rest().await;
    assert!(delivered.is_empty());
    let fault = outcome.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Closed);
    assert!(fault.detail.ends_with("after 40 bytes of audio"), "{}", fault.detail);

    let Prompt { mut audio, outcome, .. } = speak(&client, "hello");
    let body = peer.request().await.stream(MULAW);
    body.send(Ok(Bytes::from_static(&[9; 40]))).await.unwrap();
    soon(audio.recv()).await.unwrap();
    drop(audio);
    assert_eq!(soon(outcome).await.unwrap(), Ok(Spoken::Cancelled));
    soon(body.closed()).await;
    assert!(peer.idle());
}

#[tokio::test]
async fn a_refused_token_is_renewed_on_both_transports() {
    for transport in [Transport::Websocket, Transport::Http] {
        let mut iam = Peer::start().await;
        let mut peer = Peer::start().await;
        let client = watson().0.text_to_speech(settings(keyed(&peer.url, &iam.url), transport)).unwrap();
        iam.request().await.status(200, r#"{"access_token":"stale","expires_in":3600}"#);
        let prompt = speak(&client, "hello");
        peer.request().await.status(401, "{}");
        iam.request().await.status(200, r#"{"access_token":"fresh","expires_in":3600}"#);
        let again = peer.request().await;
        assert_eq!(again.header("authorization"), "Bearer fresh");
        again.status(403, r#"{"error":"Forbidden"}"#);
        let fault = prompt.fault().await;
        assert_eq!(fault.kind, FaultKind::Auth);
        assert!(fault.detail.ends_with("403 Forbidden"), "{}", fault.detail);
    }
}

#[tokio::test]
async fn an_error_that_repeats_the_prompt_is_told_without_it() {
    let mut peer = Peer::start().await;
    let prompt = "Your secret number is four two";
    let socket = client(&peer.url, Transport::Websocket);
    let spoken = speak(&socket, prompt);
    for _ in 0..2 {
        let (mut socket, _) = requested(&mut peer).await;
        socket.send(r#"{"error":"cannot speak 'your secret number is'"}"#).await;
        socket.close(1011).await;
    }
    let detail = spoken.fault().await.detail;
    assert!(!detail.contains("secret") && detail.contains("repeats the prompt"), "{detail}");
    let http = client(&peer.url, Transport::Http);
    let spoken = speak(&http, prompt);
    for _ in 0..2 {
        peer.request().await.status(400, r#"{"error":"secret number is four: not spoken","code":400}"#);
    }
    let detail = spoken.fault().await.detail;
    assert!(!detail.contains("secret") && detail.ends_with("400"), "{detail}");
}

#[tokio::test]
async fn long_text_is_spoken_in_several_requests_as_one_prompt() {
    let mut peer = Peer::start().await;
    let text = "This sentence is said again and again. ".repeat(300);
    let mut prompt = speak(&client(&peer.url, Transport::Websocket), &text);
    let mut said = Vec::new();
    for number in 1..=3 {
        let (mut socket, piece) = requested(&mut peer).await;
        assert!(piece.len() <= 5000 && piece.ends_with('.'));
        said.push(piece);
        socket.send_audio(&[number; 10]).await;
        assert_eq!(prompt.next().await, vec![number; 10]);
        socket.close(1000).await;
    }
    assert_eq!(said.join(" "), text.trim());
    let starts = Arc::clone(&prompt.starts);
    assert_eq!(prompt.rest().await, (vec![], Ok(Spoken::Complete(30))));
    assert_eq!(starts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_prepared_socket_saves_the_handshake_unless_it_has_died() {
    let mut peer = Peer::start().await;
    let client = client(&peer.url, Transport::Websocket);
    let ((), mut socket) = soon(async { tokio::join!(client.prepare(), peer.socket()) }).await;
    let prompt = speak(&client, "hello");
    assert_eq!(socket.json().await["text"], "hello");
    socket.send_audio(&[1; 10]).await;
    socket.close(1000).await;
    assert_eq!(prompt.rest().await.1, Ok(Spoken::Complete(10)));
    assert!(peer.idle(), "one handshake");
    let ((), dead) = soon(async { tokio::join!(client.prepare(), peer.socket()) }).await;
    drop(dead);
    let prompt = speak(&client, "hello");
    let (mut socket, _) = requested(&mut peer).await;
    socket.send_audio(&[2; 10]).await;
    socket.close(1000).await;
    assert_eq!(prompt.rest().await.1, Ok(Spoken::Complete(10)));
}

#[tokio::test]
async fn nothing_to_say_asks_nobody_and_nobody_there_is_a_connect_fault() {
    let client = client(&nobody().await, Transport::Websocket);
    assert_eq!(speak(&client, " ").rest().await, (vec![], Ok(Spoken::Complete(0))));
    assert_eq!(speak(&client, "hello").fault().await.kind, FaultKind::Connect);
}

#[tokio::test]
async fn the_probe_says_how_much_it_heard() {
    let mut peer = Peer::start().await;
    let client = client(&peer.url, Transport::Websocket);
    let serve = async {
        let (mut socket, text) = requested(&mut peer).await;
        assert_eq!(text, "test");
        socket.send_audio(&[1; 4000]).await;
        socket.close(1000).await;
    };
    let (seen, ()) = tokio::join!(client.probe(), serve);
    assert!(seen.unwrap().ends_with("speaks with voice en-US_AllisonV3Voice: 500 ms of audio"));
}
