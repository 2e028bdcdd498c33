//! What the sandbox's tests share: a sandbox on free ports, an HTTP client, WebSockets.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use futures_util::{SinkExt as _, StreamExt as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice_gateway::sandbox::assistant::Dialog;
use voice_gateway::sandbox::faults::{Fault, FaultOrder, SandboxService};
use voice_gateway::sandbox::load_test::{LoadTestRecognition, LoadTestSynthesis};
use voice_gateway::sandbox::{Sandbox, SandboxOptions, start};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A running sandbox and its client.
pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    pub(crate) http: reqwest::Client,
    pub(crate) tracker: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// Options with the load-test engines: one utterance, "speak to an agent".
pub(crate) fn options() -> SandboxOptions {
    let recognition = LoadTestRecognition::new(["speak to an agent".to_owned()]);
    SandboxOptions::new(Arc::new(recognition), Arc::new(LoadTestSynthesis), Dialog::acme_energy().unwrap())
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(options()).await
    }

    pub(crate) async fn with(options: SandboxOptions) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let tracker = TaskTracker::new();
        let shutdown = CancellationToken::new();
        let sandbox = start(options, &tracker, shutdown.clone()).await.unwrap();
        // A connection per request: a cut or refused one must not be hidden by a pool.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { sandbox, http, tracker, shutdown }
    }

    pub(crate) fn order(&self, service: SandboxService, fault: Fault) {
        self.sandbox.faults.order(FaultOrder::new(service, fault)).unwrap();
    }

    /// Cancels, and waits until every task of the sandbox has ended.
    pub(crate) async fn stop(self) {
        drop(self.http);
        self.shutdown.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    pub(crate) async fn iam_token(&self) -> String {
        let answer = self.ask_iam(self.sandbox.credentials.api_key.expose_secret()).await;
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn ask_iam(&self, api_key: &str) -> reqwest::Response {
        let form = [("grant_type", "urn:ibm:params:oauth:grant-type:apikey"), ("apikey", api_key)];
        self.http.post(&self.sandbox.urls.iam).form(&form).send().await.unwrap()
    }

    pub(crate) async fn cxone_token(&self) -> String {
        let credentials = &self.sandbox.credentials;
        let keys = json!({"accessKeyId": credentials.access_key_id,
            "accessKeySecret": credentials.access_key_secret.expose_secret()});
        let answer = self.http.post(&self.sandbox.urls.cxone_token).json(&keys).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
    }

    /// A WebSocket to an instance, or the HTTP status that refused it.
    pub(crate) async fn socket(&self, instance: &str, path: &str, token: Option<&str>) -> Result<Socket, u16> {
        let url = format!("{}{path}", instance.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, answer)) => {
                assert!(answer.headers().contains_key("x-global-transaction-id"));
                Ok(socket)
            }
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    pub(crate) async fn listen(&self) -> Socket {
        let token = self.iam_token().await;
        let path = "/v1/recognize?model=en-US_Telephony";
        self.socket(&self.sandbox.urls.speech_to_text, path, Some(&token)).await.unwrap()
    }

    pub(crate) async fn voice(&self) -> Socket {
        let token = self.iam_token().await;
        let path = "/v1/synthesize?voice=en-US_AllisonV3Voice";
        self.socket(&self.sandbox.urls.text_to_speech, path, Some(&token)).await.unwrap()
    }
}

pub(crate) async fn send(socket: &mut Socket, message: &Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// What comes until the other side closes: JSON, audio bytes, close code and reason (0 when cut off).
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) json: Vec<Value>,
    pub(crate) audio: Vec<u8>,
    pub(crate) code: u16,
    pub(crate) reason: String,
    /// The first message was JSON.
    pub(crate) json_first: bool,
}

pub(crate) async fn until_closed(socket: &mut Socket) -> Received {
    let mut received = Received::default();
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                received.json_first |= received.audio.is_empty();
                received.json.push(serde_json::from_str(&text).unwrap_or(Value::Null));
            }
            Some(Ok(Message::Binary(bytes))) => received.audio.extend(bytes),
            Some(Ok(Message::Close(frame))) => {
                let frame = frame.unwrap();
                received.code = frame.code.into();
                received.reason = frame.reason.to_string();
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return received,
        }
    }
}

/// The next text message.
pub(crate) async fn next_json(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// An assistant session over the wire.
pub(crate) struct Session<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) base: String,
    pub(crate) token: String,
    pub(crate) id: String,
}

impl<'a> Session<'a> {
    pub(crate) async fn open(bench: &'a Bench) -> Self {
        let urls = &bench.sandbox.urls;
        let base = format!("{}/v2/assistants/{}/sessions", urls.assistant, bench.sandbox.environment_id);
        Self::open_at(bench, base).await
    }

    pub(crate) async fn open_at(bench: &'a Bench, base: String) -> Self {
        let token = bench.iam_token().await;
        let created = bench.http.post(format!("{base}?version=2024-08-25")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(created.status(), 201);
        let id = created.json::<Value>().await.unwrap()["session_id"].as_str().unwrap().to_owned();
        Self { bench, base, token, id }
    }

    pub(crate) async fn send(&self, body: &Value) -> (u16, Value) {
        let url = format!("{}/{}/message?version=2024-08-25", self.base, self.id);
        let answer = self.bench.http.post(url).bearer_auth(&self.token).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn say(&self, text: &str) -> Value {
        let options = json!({"return_context": true});
        let (status, body) =
            self.send(&json!({"input": {"message_type": "text", "text": text, "options": options}})).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    pub(crate) async fn delete(&self) -> (u16, Value) {
        let url = format!("{}/{}?version=2024-08-25", self.base, self.id);
        let answer = self.bench.http.delete(url).bearer_auth(&self.token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

pub(crate) fn generic(answer: &Value) -> &Vec<Value> {
    answer["output"]["generic"].as_array().unwrap()
}

pub(crate) fn types(answer: &Value) -> Vec<&str> {
    generic(answer).iter().map(|response| response["response_type"].as_str().unwrap()).collect()
}
