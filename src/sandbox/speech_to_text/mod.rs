//! Watson Speech to Text over WebSocket: `/instances/{id}/v1/recognize` (Watson facts 2.2).

mod limit;
mod recogniser;
mod results;
mod session;
mod start;

use super::access::WatsonAccess;
use super::engine::Recognition;
use super::events::{Events, SandboxEvent};
use super::faults::SandboxService;
use super::plan::Plan;
use super::reply;
use super::socket::Wire;
use crate::base::clock;
use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use recogniser::{Progress, Recogniser, Told};
use serde_json::json;
use session::{Input, Output, SEE_ABOVE, Session};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the server needs.
#[derive(Clone)]
pub(super) struct SpeechToText {
    pub(super) access: WatsonAccess,
    pub(super) instance: Arc<str>,
    pub(super) recognition: Arc<dyn Recognition>,
    /// 30 s in the real service.
    pub(super) window: Duration,
    pub(super) events: Events,
    pub(super) tracker: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

/// Routes of the service.
pub(super) fn routes(server: SpeechToText) -> Router {
    Router::new().route("/instances/{instance}/v1/recognize", get(recognize)).with_state(server)
}

async fn recognize(
    State(server): State<SpeechToText>,
    Extension(plan): Extension<Plan>,
    Path(instance): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let refuse = |status, error: &str| reply::refusal(SandboxService::SpeechToText, status, error);
    let token = query.get("access_token").map(String::as_str);
    let now = clock::now().at;
    if let Err(refused) = server.access.check(SandboxService::SpeechToText, &headers, token, &plan, now) {
        return *refused;
    }
    if *instance != *server.instance {
        return refuse(StatusCode::NOT_FOUND, "Not Found: no such service instance");
    }
    let model = query.get("model").map_or(DEFAULT_MODEL, String::as_str).to_owned();
    if !MODELS.contains(&model.as_str()) {
        return refuse(StatusCode::NOT_FOUND, &format!("Model {model} not found"));
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return refuse(rejection.status(), "expected a WebSocket handshake"),
    };
    let tracker = server.tracker.clone();
    reply::with_transaction(upgrade.max_message_size(MOST_FRAME).max_frame_size(MOST_FRAME).on_upgrade(move |socket| {
        let wire = Wire::new(socket, plan, server.shutdown.clone());
        tracker.track_future(serve(server, wire, model))
    }))
}

/// Drives one session until it closes.
async fn serve(server: SpeechToText, mut wire: Wire, model: String) {
    let mut session = Session::new(model.clone(), server.window, clock::now().at);
    let mut recogniser = Recogniser::None;
    let mut inbox = VecDeque::from([Input::Tick]);
    let mut out = Vec::new();
    let mut wake = None;
    loop {
        while let Some(input) = inbox.pop_front() {
            wake = session.step(clock::now().at, input, &mut out);
            for output in out.drain(..) {
                let sent = match output {
                    Output::Send(message) => wire.send_json(&message).await,
                    Output::Close(code, reason) => return wire.close(code, reason).await,
                    Output::Audio(_) if wire.plan().error_message().is_some() => {
                        let error = json!({"error": wire.plan().error_message()});
                        let _ = wire.send_json(&error).await;
                        return wire.close(1011, SEE_ABOVE).await;
                    }
                    Output::Open(options) => {
                        recogniser = Recogniser::open(&server.recognition, options, &server.tracker);
                        server.events.tell(SandboxEvent::Listening { model: model.clone() });
                        Ok(())
                    }
                    Output::Audio(bytes) => {
                        inbox.extend(recogniser.audio(bytes).into_iter().map(input_of));
                        Ok(())
                    }
                    Output::Finish => {
                        inbox.extend(recogniser.finish().into_iter().map(input_of));
                        Ok(())
                    }
                    Output::Transcribed(transcript) => {
                        server.events.tell(SandboxEvent::Transcribed { transcript });
                        Ok(())
                    }
                };
                if sent.is_err() {
                    return;
                }
            }
        }
        let Some(deadline) = wake else { return };
        tokio::select! {
            () = server.shutdown.cancelled() => return wire.leave().await,
            () = tokio::time::sleep_until(deadline.into()) => inbox.push_back(Input::Tick),
            progress = recogniser.progress() => match progress {
                Progress::Told(Told::Finished) => {
                    recogniser = Recogniser::None;
                    inbox.push_back(Input::Finished);
                }
                Progress::Told(told) => inbox.push_back(input_of(told)),
                Progress::Taken => {}
            },
            message = wire.recv(), if recogniser.has_room() && session.reads() => match message {
                Some(Ok(Message::Text(text))) => inbox.push_back(Input::Text(text.as_str().to_owned())),
                Some(Ok(Message::Binary(bytes))) => inbox.push_back(Input::Audio(bytes)),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => return,
                Some(Err(error)) if error.to_string().contains("too long") => {
                    return wire.close(1009, "frame larger than 4 MB").await;
                }
                Some(Err(_)) => return,
            },
        }
    }
}

fn input_of(told: Told) -> Input {
    match told {
        Told::Heard(heard) => Input::Heard(heard),
        Told::Finished => Input::Finished,
    }
}

const MOST_FRAME: usize = 4 * 1024 * 1024;
/// What the service takes without `model` has been discontinued; the sandbox is kinder than to refuse its own default.
const DEFAULT_MODEL: &str = "en-US_Telephony";
/// The English models of today. `*_NarrowbandModel` and `*_BroadbandModel` were discontinued in 2023 and are not found.
const MODELS: &[&str] = &[
    "en-US_Telephony",
    "en-US_Multimedia",
    "en-GB_Telephony",
    "en-GB_Multimedia",
    "en-AU_Telephony",
    "en-AU_Multimedia",
    "en-IN_Telephony",
    "en-WW_Medical_Telephony",
    "en-US",
    "en-GB",
    "en-AU",
    "en-IN",
];
