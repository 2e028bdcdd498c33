//! Watson Text to Speech: `/instances/{id}/v1/synthesize` over WebSocket and HTTP (Watson facts 2.3).

mod request;
mod speaker;
mod ssml;

use super::access::WatsonAccess;
use super::engine::{Synthesis, SynthesisFailure};
use super::events::{Events, SandboxEvent};
use super::faults::{Faults, SandboxService};
use super::plan::Plan;
use super::reply;
use super::socket::Wire;
use crate::base::clock;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::stream;
use request::{PARAMETERS, Refusal, Request};
use serde_json::{Value, json};
use speaker::{Speech, Spoken};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the server needs.
#[derive(Clone)]
pub(super) struct TextToSpeech {
    pub(super) access: WatsonAccess,
    pub(super) instance: Arc<str>,
    pub(super) synthesis: Arc<dyn Synthesis>,
    pub(super) events: Events,
    pub(super) faults: Arc<Faults>,
    pub(super) tracker: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

/// Routes of the service.
pub(super) fn routes(server: TextToSpeech) -> Router {
    Router::new().route("/instances/{instance}/v1/synthesize", get(by_get).post(by_post)).with_state(server)
}

impl TextToSpeech {
    fn admit(
        &self,
        instance: &str,
        query: &HashMap<String, String>,
        headers: &HeaderMap,
        plan: &Plan,
    ) -> Result<(), Box<Response>> {
        let token = query.get("access_token").map(String::as_str);
        self.access.check(SandboxService::TextToSpeech, headers, token, plan, clock::now().at)?;
        if *instance == *self.instance {
            Ok(())
        } else {
            Err(Box::new(refused(StatusCode::NOT_FOUND, "Not Found: no such service instance")))
        }
    }

    fn begin(&self, request: &Request) -> Speech {
        self.events.tell(SandboxEvent::Synthesizing { text: request.text.clone() });
        Speech::begin(Arc::clone(&self.synthesis), request, &self.tracker)
    }
}

async fn by_get(
    State(server): State<TextToSpeech>,
    Extension(plan): Extension<Plan>,
    Path(instance): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if let Err(refused) = server.admit(&instance, &query, &headers, &plan) {
        return *refused;
    }
    let voice = query.get("voice").cloned();
    let Ok(upgrade) = upgrade else {
        let text = query.get("text").map(String::as_str).unwrap_or_default();
        return over_http(&server, plan, Request::new(text, voice.as_deref(), accept(&query, &headers)), &query).await;
    };
    // The voice is told to be unknown before the socket opens; `Hi` stands for the text to come.
    if let Err(refusal @ Refusal::Voice(_)) = Request::new("Hi", voice.as_deref(), Some("audio/basic")) {
        return refused(refusal.status(), &refusal.to_string());
    }
    let tracker = server.tracker.clone();
    reply::with_transaction(upgrade.on_upgrade(move |socket| {
        let wire = Wire::new(socket, plan, server.shutdown.clone());
        tracker.track_future(over_socket(server, wire, voice))
    }))
}

async fn by_post(
    State(server): State<TextToSpeech>,
    Extension(plan): Extension<Plan>,
    Path(instance): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = server.admit(&instance, &query, &headers, &plan) {
        return *refused;
    }
    let json = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !json.to_ascii_lowercase().starts_with("application/json") {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json");
    }
    let body: Value = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &format!("JSON parse error: {error}")),
    };
    let text = body.get("text").and_then(Value::as_str).unwrap_or_default();
    let request = Request::new(text, query.get("voice").map(String::as_str), accept(&query, &headers));
    over_http(&server, plan, request, &query).await
}

/// One request over HTTP: the answer streams.
async fn over_http(
    server: &TextToSpeech,
    plan: Plan,
    request: Result<Request, Refusal>,
    query: &HashMap<String, String>,
) -> Response {
    let request = match request {
        Ok(request) => request,
        Err(refusal) => return refused(refusal.status(), &refusal.to_string()),
    };
    let mut speech = server.begin(&request);
    let first = match next_audio(&mut speech).await {
        Some(Err(failure)) => return refused(StatusCode::INTERNAL_SERVER_ERROR, &failure.to_string()),
        Some(Ok(first)) => first,
        None => Vec::new(),
    };
    let body = if plan.truncates_audio() {
        Body::from(truncated(first))
    } else {
        let rest = stream::unfold(speech, |mut speech| async move { Some((next_audio(&mut speech).await?, speech)) });
        Body::from_stream(stream::StreamExt::chain(stream::iter([Ok(first)]), rest))
    };
    let mut response = body.into_response();
    if let Ok(content_type) = HeaderValue::from_str(&request.accept) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    let mut unknown: Vec<&str> = query.keys().map(String::as_str).filter(|name| !PARAMETERS.contains(name)).collect();
    unknown.sort_unstable();
    if let (false, Ok(warning)) =
        (unknown.is_empty(), HeaderValue::from_str(&format!("Unknown arguments: {}.", unknown.join(", "))))
    {
        response.headers_mut().insert("warnings", warning);
    }
    reply::with_transaction(response)
}

/// One request over a WebSocket: one message, audio, close 1000. The client cancels by closing.
async fn over_socket(server: TextToSpeech, mut wire: Wire, voice: Option<String>) {
    let message = loop {
        tokio::select! {
            () = server.shutdown.cancelled() => return wire.leave().await,
            () = tokio::time::sleep(FIRST_MESSAGE) => return fail(wire, "Session timed out.").await,
            message = wire.recv() => match message {
                Some(Ok(Message::Text(text))) => break text,
                Some(Ok(Message::Binary(_))) => return fail(wire, "expected a text message").await,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        }
    };
    // A connection from before the fault was ordered dies with its request, which then meets the fault on a new one.
    if wire.plan().is_clear() && server.faults.awaits(SandboxService::TextToSpeech, PATH) {
        return;
    }
    let (request, unknown) = match Request::from_message(message.as_str(), voice.as_deref()) {
        Ok(read) => read,
        Err(refusal) => return fail(wire, &refusal.to_string()).await,
    };
    if !unknown.is_empty() {
        let warning = json!({"warnings": format!("Unknown arguments: {}.", unknown.join(", "))});
        if wire.send_json(&warning).await.is_err() {
            return;
        }
    }
    let streams = json!({"binary_streams": [{"content_type": request.accept}]});
    if wire.send_json(&streams).await.is_err() {
        return;
    }
    if let Some(error) = wire.plan().error_message().map(str::to_owned) {
        return fail(wire, &error).await;
    }
    let mut speech = server.begin(&request);
    loop {
        let spoken = tokio::select! {
            () = server.shutdown.cancelled() => return wire.leave().await,
            spoken = speech.next() => spoken,
            message = wire.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        };
        let sent = match spoken {
            None => return wire.close(1000, "").await,
            Some(Err(failure)) => return fail(wire, &failure.to_string()).await,
            Some(Ok(Spoken::Mark(name, at))) => {
                wire.send_json(&json!({"marks": [[name, (at.as_secs_f64() * 1_000.0).round() / 1_000.0]]})).await
            }
            Some(Ok(Spoken::Audio(bytes))) if wire.plan().truncates_audio() => {
                let _ = wire.send_bytes(truncated(bytes)).await;
                return wire.close(1000, "").await;
            }
            Some(Ok(Spoken::Audio(bytes))) => wire.send_bytes(bytes).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn fail(mut wire: Wire, error: &str) {
    let _ = wire.send_json(&json!({"error": error})).await;
    wire.close(1011, "see the previous message for the error details.").await;
}

async fn next_audio(speech: &mut Speech) -> Option<Result<Vec<u8>, SynthesisFailure>> {
    loop {
        match speech.next().await? {
            Ok(Spoken::Audio(bytes)) => return Some(Ok(bytes)),
            // Marks travel over WebSocket only.
            Ok(Spoken::Mark(..)) => {}
            Err(failure) => return Some(Err(failure)),
        }
    }
}

fn accept<'a>(query: &'a HashMap<String, String>, headers: &'a HeaderMap) -> Option<&'a str> {
    let by_header = || headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    query.get("accept").map(String::as_str).or_else(by_header)
}

/// The first half, made odd.
fn truncated(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate((bytes.len() / 2) | 1);
    bytes
}

fn refused(status: StatusCode, error: &str) -> Response {
    reply::refusal(SandboxService::TextToSpeech, status, error)
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Voice(_) => StatusCode::NOT_FOUND,
            Self::Format(_) => StatusCode::NOT_ACCEPTABLE,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
        }
    }
}

const PATH: &str = "/v1/synthesize";
const FIRST_MESSAGE: Duration = Duration::from_secs(30);
