//! One call's stream to Speech to Text. Chunks are 100 ms long and carry their number.

use crate::peer::{Peer, Socket};
use crate::{service, soon, watson};
use axum::body::Bytes;
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use voice_gateway::base::Fault;
use voice_gateway::call::SpeechEvent;
use voice_gateway::watson::{
    Coding, Pause, ServiceSettings, SpeechStream, SpeechToText, SpeechToTextSettings, StreamOptions, StreamPace,
};

pub(crate) const LISTENING: &str = r#"{"state":"listening"}"#;
pub(crate) const CHUNK: usize = 800;

/// A pace that never fills gaps by itself, so that tests see only the audio they sent.
pub(crate) fn pace() -> StreamPace {
    let long = Duration::from_secs(60);
    StreamPace { hush: long, ping: long, listening: long, open: long, ..StreamPace::default() }
}

pub(crate) fn settings(service: ServiceSettings, pace: StreamPace) -> SpeechToTextSettings {
    SpeechToTextSettings { service, model: "en-US_Telephony".into(), recognize: serde_json::Map::new(), pace }
}

pub(crate) fn client(url: &str, pace: StreamPace) -> SpeechToText {
    watson().0.speech_to_text(settings(service(url), pace)).unwrap()
}

/// One call's end of a stream.
pub(crate) struct Call {
    pub(crate) audio: mpsc::Sender<Bytes>,
    pub(crate) events: mpsc::Receiver<SpeechEvent>,
    pub(crate) pause: Pause,
    pub(crate) driver: tokio::task::JoinHandle<()>,
}

pub(crate) fn call(client: &SpeechToText) -> Call {
    let (audio, feed) = mpsc::channel(64);
    let options = StreamOptions { coding: Coding::Mulaw, recognize: serde_json::Map::new() };
    let SpeechStream { driver, events, pause } = client.stream(options, feed);
    Call { audio, events, pause, driver: TaskTracker::new().spawn(driver) }
}

impl Call {
    pub(crate) async fn say(&self, chunks: std::ops::Range<u8>) {
        for number in chunks {
            self.audio.send(Bytes::from(vec![number; CHUNK])).await.unwrap();
        }
    }

    pub(crate) async fn event(&mut self) -> SpeechEvent {
        soon(self.events.recv()).await.expect("an event")
    }

    pub(crate) async fn listening(&mut self) {
        let event = self.event().await;
        assert!(matches!(event, SpeechEvent::Listening), "{event:?}");
    }

    pub(crate) async fn hypothesis(&mut self) -> (String, bool) {
        match self.event().await {
            SpeechEvent::Hypothesis { transcript, is_final, .. } => (transcript, is_final),
            other => panic!("a hypothesis expected, got {other:?}"),
        }
    }

    pub(crate) async fn reconnecting(&mut self) -> Fault {
        match self.event().await {
            SpeechEvent::Reconnecting(fault) => fault,
            other => panic!("reconnecting expected, got {other:?}"),
        }
    }

    pub(crate) async fn failed(&mut self) -> Fault {
        loop {
            match self.event().await {
                SpeechEvent::Failed(fault) => return fault,
                SpeechEvent::Reconnecting(_) => {}
                other => panic!("failure expected, got {other:?}"),
            }
        }
    }
}

pub(crate) async fn started(peer: &mut Peer) -> Socket {
    let mut socket = peer.socket().await;
    assert_eq!(socket.json().await["action"], "start");
    socket.send(LISTENING).await;
    socket
}

/// The numbers of the next chunks.
pub(crate) async fn heard(socket: &mut Socket, chunks: usize) -> Vec<u8> {
    socket.audio(chunks * CHUNK).await.chunks(CHUNK).map(|chunk| chunk[0]).collect()
}

pub(crate) fn result(transcript: &str, is_final: bool) -> String {
    json!({"result_index":0,"results":[{"final":is_final,"alternatives":[{"transcript":transcript,"confidence":0.9}]}]})
        .to_string()
}
