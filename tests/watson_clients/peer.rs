//! Servers whose every answer the test gives itself.

use super::soon;
use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, body};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// A server on a port of its own.
pub(crate) struct Peer {
    pub(crate) url: String,
    arrivals: mpsc::Receiver<Arrival>,
    server: TaskTracker,
    task: tokio::task::AbortHandle,
}

/// A request that waits for its answer.
pub(crate) struct Arrival {
    pub(crate) method: String,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    upgrade: Option<WebSocketUpgrade>,
    answer: oneshot::Sender<Response>,
}

impl Peer {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, arrivals) = mpsc::channel(64);
        let router = Router::new().fallback(arrive).with_state(sender);
        let server = TaskTracker::new();
        let task = server.spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
        Self { url, arrivals, server, task }
    }

    /// The next request, whatever it is.
    pub(crate) async fn request(&mut self) -> Arrival {
        soon(self.arrivals.recv()).await.unwrap()
    }

    /// The next request, accepted as a WebSocket.
    pub(crate) async fn socket(&mut self) -> Socket {
        self.request().await.accept().await
    }

    /// Whether no request waits.
    pub(crate) fn idle(&mut self) -> bool {
        self.arrivals.try_recv().is_err()
    }

    /// Nobody listens any more; connections that are open stay.
    pub(crate) async fn stop_listening(&self) {
        self.task.abort();
        self.server.close();
        soon(self.server.wait()).await;
    }
}

impl Arrival {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn answer(self, response: Response) {
        // A client that has gone away is part of some tests.
        let _ = self.answer.send(response);
    }

    pub(crate) fn status(self, status: u16, body: &str) {
        self.typed(status, "application/json", body);
    }

    pub(crate) fn typed(self, status: u16, content_type: &'static str, body: &str) {
        let head = (StatusCode::from_u16(status).unwrap(), [("content-type", content_type)]);
        self.answer((head.0, head.1, body.to_owned()).into_response());
    }

    /// Answers 200 with a body that the test feeds; an error cuts it short.
    pub(crate) fn stream(self, content_type: &'static str) -> mpsc::Sender<Result<Bytes, std::io::Error>> {
        let (sender, mut parts) = mpsc::channel(64);
        let parts = futures_util::stream::poll_fn(move |cx| parts.poll_recv(cx));
        self.answer(([("content-type", content_type)], Body::from_stream(parts)).into_response());
        sender
    }

    pub(crate) async fn accept(self) -> Socket {
        let (sender, socket) = oneshot::channel();
        let uri = self.uri;
        let authorization = self.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let upgrade = self.upgrade.expect("a WebSocket handshake");
        let answer = upgrade.on_upgrade(|socket| async move {
            let _ = sender.send(socket);
        });
        let _ = self.answer.send(answer);
        Socket { uri, authorization: authorization.unwrap_or_default(), socket: soon(socket).await.unwrap() }
    }
}

async fn arrive(State(sender): State<mpsc::Sender<Arrival>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.ok();
    let body = body::to_bytes(body, usize::MAX).await.unwrap();
    let (answer, answered) = oneshot::channel();
    let (method, uri, headers) = (parts.method.to_string(), parts.uri, parts.headers);
    let _ = sender.send(Arrival { method, uri, headers, body, upgrade, answer }).await;
    // A test that drops the arrival never answers.
    match answered.await {
        Ok(response) => response,
        Err(_) => std::future::pending().await,
    }
}

/// The service's end of a WebSocket. Dropping it cuts the connection without a close frame.
pub(crate) struct Socket {
    pub(crate) uri: Uri,
    pub(crate) authorization: String,
    socket: WebSocket,
}

impl Socket {
    pub(crate) async fn send(&mut self, text: &str) {
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    pub(crate) async fn send_audio(&mut self, audio: &[u8]) {
        self.socket.send(Message::Binary(Bytes::copy_from_slice(audio))).await.unwrap();
    }

    pub(crate) async fn close(mut self, code: u16) {
        self.socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await.unwrap();
    }

    /// The next message that is no ping; `None` when the client has gone.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        loop {
            match soon(self.socket.recv()).await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next message as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        match self.message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("JSON expected, got {other:?}"),
        }
    }

    /// The next `length` bytes of audio.
    pub(crate) async fn audio(&mut self, length: usize) -> Vec<u8> {
        let mut audio = Vec::new();
        while audio.len() < length {
            match self.message().await {
                Some(Message::Binary(part)) => audio.extend_from_slice(&part),
                other => panic!("audio expected, got {other:?}"),
            }
        }
        audio
    }
}
