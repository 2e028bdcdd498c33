//! The sandbox's Speech to Text and Text to Speech, driven over their sockets as a client of the real services would.

#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sandbox_support;

use futures_util::SinkExt as _;
use sandbox_support::{Bench, next_json, options, send, until_closed};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use voice_gateway::sandbox::engine::{
    Cost, Heard, Recognition, RecognitionOptions, RecognitionSession, Synthesis, SynthesisFailure, Utterance,
};
use voice_gateway::sandbox::events::SandboxEvent;
use voice_gateway::sandbox::faults::{Fault, Garbage, SandboxService};

const MULAW: &str = "audio/mulaw;rate=8000";

fn start_message() -> Value {
    json!({"action":"start","content-type":MULAW,"interim_results":true,"inactivity_timeout":-1,"speech_begin_event":true})
}

async fn speak(bench: &Bench, text: &str) -> Vec<u8> {
    let mut socket = bench.voice().await;
    send(&mut socket, &json!({"text": text, "accept": MULAW})).await;
    until_closed(&mut socket).await.audio
}

#[tokio::test]
async fn what_is_spoken_is_heard_with_interim_and_final_results() {
    let bench = Bench::new().await;
    let mut events = bench.sandbox.events.subscribe();
    let mut audio = speak(&bench, "hello there").await;
    audio.extend(std::iter::repeat_n(0xff, 8_000));
    let mut socket = bench.listen().await;
    send(&mut socket, &start_message()).await;
    assert_eq!(next_json(&mut socket).await, json!({"state":"listening"}));
    for frame in audio.chunks(160) {
        socket.send(Message::binary(frame.to_vec())).await.unwrap();
    }
    let begin = next_json(&mut socket).await;
    assert_eq!(begin["result_index"], 0);
    assert!(begin["results"][0]["speech_begin_event"]["begin"].is_number(), "{begin}");
    assert_eq!(
        next_json(&mut socket).await,
        json!({"result_index":0,"results":[{"final":false,"alternatives":[{"transcript":"speak "}]}]})
    );
    assert_eq!(
        next_json(&mut socket).await,
        json!({"result_index":0,"results":[{"final":true,
            "alternatives":[{"transcript":"speak to an agent ","confidence":0.9}]}]})
    );
    socket.send(Message::binary(Vec::new())).await.unwrap();
    assert_eq!(next_json(&mut socket).await, json!({"state":"listening"}));
    send(&mut socket, &start_message()).await;
    assert_eq!(next_json(&mut socket).await, json!({"state":"listening"}), "a second start on the same socket");
    let mut heard = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let SandboxEvent::Transcribed { transcript } = event {
            heard.push(transcript);
        }
    }
    assert_eq!(heard, ["speak to an agent"]);
    bench.stop().await;
}

#[tokio::test]
async fn the_door_of_speech_to_text_opens_to_those_who_may_come_in() {
    let bench = Bench::new().await;
    let token = bench.iam_token().await;
    let url = bench.sandbox.urls.speech_to_text.clone();
    let path = "/v1/recognize?model=en-US_Telephony";
    assert!(bench.socket(&url, &format!("{path}&access_token={token}"), None).await.is_ok());
    assert!(bench.socket(&url, "/v1/recognize", Some(&token)).await.is_ok());
    assert_eq!(bench.socket(&url, path, None).await.err(), Some(401));
    assert_eq!(bench.socket(&url, path, Some("stranger")).await.err(), Some(401));
    assert_eq!(bench.socket(&url, "/v1/recognize?model=en-US_NarrowbandModel", Some(&token)).await.err(), Some(404));
    assert_eq!(bench.socket(&format!("{url}x"), path, Some(&token)).await.err(), Some(404));
    bench.sandbox.revoke_tokens();
    assert_eq!(bench.socket(&url, path, Some(&token)).await.err(), Some(401));
    let key = bench.sandbox.credentials.api_key.expose_secret();
    let plain = bench.http.get(format!("{url}{path}")).basic_auth("apikey", Some(key)).send().await.unwrap();
    assert!(plain.status().is_client_error(), "not a WebSocket: {}", plain.status());
    let refused = bench.http.get(format!("{url}{path}")).send().await.unwrap();
    let body: Value = refused.json().await.unwrap();
    assert_eq!((&body["error"], &body["code"]), (&json!("Unauthorized"), &json!(401)));
    assert!(body["trace"].is_string());
    bench.stop().await;
}

#[tokio::test]
async fn errors_of_a_session_are_told_and_then_it_closes_with_1011() {
    let bench = Bench::new().await;
    for (message, error) in
        [(json!({"action":"start","content-type":"audio/mulaw"}), "sampling rate"), (json!({"action":"sing"}), "sing")]
    {
        let mut socket = bench.listen().await;
        send(&mut socket, &message).await;
        let received = until_closed(&mut socket).await;
        assert!(received.json[0]["error"].as_str().unwrap().contains(error), "{received:?}");
        assert_eq!((received.code, received.json.len()), (1011, 1));
        assert_eq!(received.reason, "see the previous message for the error details.");
    }
    let mut socket = bench.listen().await;
    send(&mut socket, &start_message()).await;
    let _ = socket.send(Message::binary(vec![0xff; 4 * 1024 * 1024 + 1])).await;
    let received = until_closed(&mut socket).await;
    assert_eq!(received.code, 1009, "{received:?}");
    assert_eq!(received.json, [json!({"state":"listening"})]);
    bench.stop().await;
}

#[tokio::test]
async fn a_session_without_audio_times_out() {
    let mut options = options();
    options.limits.session_window = Duration::from_millis(300);
    let bench = Bench::with(options).await;
    let mut socket = bench.listen().await;
    send(&mut socket, &start_message()).await;
    let received = until_closed(&mut socket).await;
    assert_eq!(received.json[0], json!({"state":"listening"}));
    assert!(received.json[1]["error"].as_str().unwrap().starts_with("Session timed out"), "{received:?}");
    assert_eq!(received.code, 1011);
    bench.stop().await;
}

#[tokio::test]
async fn speech_streams_after_binary_streams_and_is_the_same_over_http() {
    let bench = Bench::new().await;
    let text = "Thank you &amp; goodbye <mark name=\"end\"/> now";
    let mut socket = bench.voice().await;
    send(&mut socket, &json!({"text": text, "accept": MULAW, "hurry": true})).await;
    let received = until_closed(&mut socket).await;
    assert!(received.json_first);
    assert_eq!(received.json[0], json!({"warnings":"Unknown arguments: hurry."}));
    assert_eq!(received.json[1], json!({"binary_streams":[{"content_type":MULAW}]}));
    assert_eq!(received.json[2]["marks"][0][0], "end");
    assert_eq!(received.code, 1000);
    // 60 ms a character and a pause as long after each word: "Thank you & goodbye" and "now".
    assert_eq!(received.audio.len(), (5 + 3 + 1 + 7 + 4 + 3 + 1) * 480);

    let url = format!("{}/v1/synthesize?voice=en-US_AllisonV3Voice&hurry=1", bench.sandbox.urls.text_to_speech);
    let token = bench.iam_token().await;
    let request = bench.http.post(&url).bearer_auth(&token).header("accept", MULAW).json(&json!({"text": text}));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], MULAW);
    assert_eq!(answer.headers()["warnings"], "Unknown arguments: hurry.");
    assert_eq!(answer.bytes().await.unwrap(), received.audio);

    let query = [("text", text), ("accept", "audio/l16;rate=8000")];
    let answer = bench.http.get(&url).query(&query).bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap().len(), 2 * received.audio.len());
    bench.stop().await;
}

#[tokio::test]
async fn text_to_speech_refuses_as_documented() {
    let bench = Bench::new().await;
    let token = bench.iam_token().await;
    let url = bench.sandbox.urls.text_to_speech.clone();
    for (text, accept, error) in [
        ("a".repeat(5_121), MULAW, "5 KB"),
        ("AT&T".to_owned(), MULAW, "Invalid SSML"),
        (String::new(), MULAW, "text"),
        ("Hi".to_owned(), "audio/ogg", "audio/ogg"),
    ] {
        let mut socket = bench.voice().await;
        send(&mut socket, &json!({"text": text, "accept": accept})).await;
        let received = until_closed(&mut socket).await;
        assert_eq!((received.code, received.json.len()), (1011, 1), "{received:?}");
        assert!(received.json[0]["error"].as_str().unwrap().contains(error), "{received:?}");
    }
    assert_eq!(bench.socket(&url, "/v1/synthesize?voice=xx-XX_Nobody", Some(&token)).await.err(), Some(404));
    assert_eq!(bench.socket(&url, "/v1/synthesize", None).await.err(), Some(401));
    let post = |body: Value, accept: &'static str| {
        bench.http.post(format!("{url}/v1/synthesize")).bearer_auth(&token).header("accept", accept).json(&body).send()
    };
    assert_eq!(post(json!({"text": "Hi"}), "audio/mp3").await.unwrap().status(), 406);
    assert_eq!(post(json!({"text": "a".repeat(5_121)}), MULAW).await.unwrap().status(), 413);
    assert_eq!(post(json!({"text": "1 < 2"}), MULAW).await.unwrap().status(), 400);
    let body: Value = post(json!({}), MULAW).await.unwrap().json().await.unwrap();
    assert_eq!((&body["code"], &body["code_description"]), (&json!(400), &json!("Bad Request")));
    bench.stop().await;
}

/// Engines on threads of their own: the recogniser counts bytes, the synthesiser never stops by itself.
struct Slow;

struct Counter(usize);

impl Recognition for Slow {
    fn cost(&self) -> Cost {
        Cost::Blocking
    }

    fn open(&self, _options: &RecognitionOptions) -> Box<dyn RecognitionSession> {
        Box::new(Counter(0))
    }
}

impl RecognitionSession for Counter {
    fn audio(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.0 += bytes.len();
        assert!(bytes.first() != Some(&b'X'), "the engine dies");
        Vec::new()
    }

    fn finish(&mut self) -> Vec<Heard> {
        let (begin, end) = (Duration::ZERO, Duration::from_secs(1));
        vec![Heard::Final { transcript: format!("{} bytes", self.0), confidence: 2.0, begin, end }]
    }
}

impl Synthesis for Slow {
    fn cost(&self) -> Cost {
        Cost::Blocking
    }

    fn speak(
        &self,
        utterance: &Utterance<'_>,
        hand_out: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
    ) -> Result<(), SynthesisFailure> {
        if utterance.text == "fail" {
            return Err(SynthesisFailure("the voice broke".to_owned()));
        }
        while hand_out(&[0; 8_000]).is_continue() {}
        Ok(())
    }
}

async fn slow_bench() -> Bench {
    let mut options = options();
    options.recognition = Arc::new(Slow);
    options.synthesis = Arc::new(Slow);
    Bench::with(options).await
}

#[tokio::test]
async fn a_decoding_engine_gets_every_byte_however_fast_they_come() {
    let bench = slow_bench().await;
    let mut socket = bench.listen().await;
    send(&mut socket, &start_message()).await;
    for _ in 0..2_000 {
        socket.send(Message::binary(vec![0xff; 160])).await.unwrap();
    }
    send(&mut socket, &json!({"action":"stop"})).await;
    assert_eq!(next_json(&mut socket).await, json!({"state":"listening"}));
    let result = next_json(&mut socket).await;
    assert_eq!(result["results"][0]["alternatives"][0], json!({"transcript":"320000 bytes ","confidence":1.0}));
    assert_eq!(next_json(&mut socket).await, json!({"state":"listening"}));
    send(&mut socket, &start_message()).await;
    assert_eq!(next_json(&mut socket).await, json!({"state":"listening"}));
    socket.send(Message::binary(b"X".to_vec())).await.unwrap();
    let received = until_closed(&mut socket).await;
    assert_eq!(received.json, [json!({"error":"The recognition engine failed."})]);
    assert_eq!(received.code, 1011);
    bench.stop().await;
}

#[tokio::test]
async fn closing_the_socket_cancels_the_synthesis() {
    let bench = slow_bench().await;
    let mut socket = bench.voice().await;
    send(&mut socket, &json!({"text": "for ever", "accept": MULAW})).await;
    assert_eq!(next_json(&mut socket).await, json!({"binary_streams":[{"content_type":MULAW}]}));
    drop(socket);
    let mut failing = bench.voice().await;
    send(&mut failing, &json!({"text": "fail", "accept": MULAW})).await;
    let received = until_closed(&mut failing).await;
    assert_eq!(received.json[1], json!({"error":"the voice broke"}));
    assert_eq!(received.code, 1011);
    // Ends only when the endless synthesis has ended too.
    bench.stop().await;
}

#[tokio::test]
async fn faults_befall_the_sockets() {
    let bench = Bench::new().await;
    let faults = &bench.sandbox.faults;
    let (stt, tts) = (SandboxService::SpeechToText, SandboxService::TextToSpeech);
    let token = bench.iam_token().await;
    let try_listen = || bench.socket(&bench.sandbox.urls.speech_to_text, "/v1/recognize", Some(&token));

    for (fault, status) in
        [(Fault::Status { code: 503 }, 503), (Fault::ExpiredTokens, 401), (Fault::Garbage { what: Garbage::Html }, 200)]
    {
        bench.order(stt, fault);
        assert_eq!(try_listen().await.err(), Some(status));
        faults.clear();
    }

    bench.order(stt, Fault::ErrorMessage { text: "Session timed out.".to_owned() });
    let mut socket = bench.listen().await;
    send(&mut socket, &start_message()).await;
    assert_eq!(next_json(&mut socket).await, json!({"state":"listening"}));
    socket.send(Message::binary(vec![0xff; 160])).await.unwrap();
    let received = until_closed(&mut socket).await;
    assert_eq!((received.code, &received.json[0]), (1011, &json!({"error":"Session timed out."})));
    faults.clear();

    bench.order(stt, Fault::Garbage { what: Garbage::BrokenJson });
    let mut socket = bench.listen().await;
    send(&mut socket, &json!({"action":"sing"})).await;
    let received = until_closed(&mut socket).await;
    assert_eq!((received.code, received.json), (1011, vec![Value::Null]));
    faults.clear();

    bench.order(tts, Fault::Disconnect { after_bytes: 5_000 });
    let mut socket = bench.voice().await;
    send(&mut socket, &json!({"text": "a long enough sentence", "accept": MULAW})).await;
    let received = until_closed(&mut socket).await;
    assert_eq!(received.code, 0, "cut off, not closed");
    assert!(received.audio.len() < 5_000, "{}", received.audio.len());
    faults.clear();

    bench.order(tts, Fault::Garbage { what: Garbage::TruncatedAudio });
    let mut socket = bench.voice().await;
    send(&mut socket, &json!({"text": "hello there", "accept": "audio/l16;rate=8000"})).await;
    let received = until_closed(&mut socket).await;
    assert_eq!((received.code, received.audio.len() % 2), (1000, 1));
    faults.clear();

    bench.order(stt, Fault::Hang);
    let mut silent = bench.listen().await;
    send(&mut silent, &start_message()).await;
    faults.clear();
    let mut socket = bench.listen().await;
    send(&mut socket, &start_message()).await;
    assert_eq!(next_json(&mut socket).await, json!({"state":"listening"}));
    bench.shutdown.cancel();
    assert_eq!(until_closed(&mut socket).await.code, 1001);
    assert!(until_closed(&mut silent).await.json.is_empty());
    bench.stop().await;
}
