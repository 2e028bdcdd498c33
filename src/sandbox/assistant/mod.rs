//! Watson Assistant v2 (Watson facts 2.4): sessions and messages in both path forms, driven by a dialog file.

mod conversation;
mod dialog;
mod reader;
mod responses;
mod sessions;
mod template;

pub use dialog::{Dialog, DialogError};
pub use reader::Problem;

use super::access::WatsonAccess;
use super::events::{Events, SandboxEvent};
use super::faults::SandboxService;
use super::plan::Plan;
use super::reply;
use crate::base::clock;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{delete, post};
use conversation::{Failure, answer, merge};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sessions::Sessions;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What the server needs.
#[derive(Clone)]
pub(super) struct Assistant {
    access: WatsonAccess,
    instance: Arc<str>,
    assistant_id: Arc<str>,
    environment_id: Arc<str>,
    dialog: Arc<Dialog>,
    sessions: Arc<Mutex<Sessions>>,
    events: Events,
}

/// Names and limits of the assistant.
pub(super) struct AssistantSettings {
    pub(super) instance: Arc<str>,
    pub(super) assistant_id: Arc<str>,
    pub(super) environment_id: Arc<str>,
    pub(super) inactivity: Duration,
}

impl Assistant {
    /// A server with no sessions yet.
    pub(super) fn new(access: WatsonAccess, settings: AssistantSettings, dialog: Dialog, events: Events) -> Self {
        let AssistantSettings { instance, assistant_id, environment_id, inactivity } = settings;
        let sessions = Arc::new(Mutex::new(Sessions::new(inactivity)));
        Self { access, instance, assistant_id, environment_id, dialog: Arc::new(dialog), sessions, events }
    }

    /// Lets a request in, or says why not.
    fn admit(
        &self,
        path: &HashMap<String, String>,
        query: &HashMap<String, String>,
        headers: &HeaderMap,
        plan: &Plan,
    ) -> Result<(), Box<Response>> {
        self.access.check(SandboxService::Assistant, headers, None, plan, clock::now().at)?;
        let named = |name: &str| path.get(name).map(String::as_str);
        // The older path names the environment where the newer names the assistant.
        let known = match named("environment") {
            Some(environment) => {
                environment == &*self.environment_id && named("assistant") == Some(&*self.assistant_id)
            }
            None => named("assistant") == Some(&*self.environment_id),
        };
        if named("instance") != Some(&*self.instance) || !known {
            return Err(Box::new(refused(StatusCode::NOT_FOUND, "Resource not found")));
        }
        match query.get("version").map(|version| version.parse::<jiff::civil::Date>()) {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) => {
                Err(Box::new(refused(StatusCode::BAD_REQUEST, "Invalid version: it must be a date, YYYY-MM-DD")))
            }
            None => Err(Box::new(refused(StatusCode::BAD_REQUEST, "Missing required query parameter: version"))),
        }
    }

    fn message(&self, session_id: &str, body: &Value) -> Result<Value, (StatusCode, String)> {
        let bad = |what: &str| Err((StatusCode::BAD_REQUEST, what.to_owned()));
        let text = match body.pointer("/input/text") {
            None | Some(Value::Null) => "",
            Some(Value::String(text)) => text,
            Some(_) => return bad("input.text must be a string"),
        };
        if text.contains(['\r', '\n', '\t']) {
            return bad("input.text cannot contain carriage return, newline, or tab characters");
        }
        if body.pointer("/input/message_type").is_some_and(|kind| kind != "text" && kind != "search") {
            return bad("input.message_type must be 'text' or 'search'");
        }
        let given = body.get("context").filter(|context| !context.is_null());
        if given.is_some_and(|context| !context.is_object()) {
            return bad("context must be an object");
        }
        let mut sessions = self.sessions.lock();
        let Some(session) = sessions.touch(session_id, clock::now().at) else {
            return Err((StatusCode::NOT_FOUND, INVALID_SESSION.to_owned()));
        };
        let mut context = session.context.clone();
        if let Some(given) = given {
            merge(&mut context, given);
        }
        let user_id = body.get("user_id").or_else(|| body.pointer("/context/global/system/user_id")).cloned();
        let turns = session.turns + 1;
        merge(&mut context, &json!({"global": {"session_id": session_id, "system": {"turn_count": turns}}}));
        let turn = match answer(&self.dialog, text, &mut context) {
            Ok(turn) => turn,
            Err(Failure(status, message)) => {
                return Err((StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), message));
            }
        };
        if context.to_string().len() > MOST_CONTEXT {
            return bad("context exceeds the limit of 100 KB");
        }
        session.context = context.clone();
        session.turns = turns;
        drop(sessions);
        let mut answered = json!({"output": {"generic": turn.generic, "intents": [], "entities": []}});
        if let Some(fields) = answered.as_object_mut() {
            if body.pointer("/input/options/return_context") == Some(&Value::Bool(true)) {
                fields.insert("context".to_owned(), context);
            }
            fields.insert("user_id".to_owned(), user_id.unwrap_or_else(|| session_id.into()));
        }
        self.events.tell(SandboxEvent::Turn {
            session_id: session_id.to_owned(),
            text: text.to_owned(),
            rule: turn.rule,
            generic: turn.generic,
        });
        Ok(answered)
    }
}

/// Routes of the service.
pub(super) fn routes(assistant: Assistant) -> Router {
    let mut router = Router::new();
    for base in [
        "/instances/{instance}/v2/assistants/{assistant}",
        "/instances/{instance}/v2/assistants/{assistant}/environments/{environment}",
    ] {
        router = router
            .route(&format!("{base}/sessions"), post(create))
            .route(&format!("{base}/sessions/{{session}}"), delete(end))
            .route(&format!("{base}/sessions/{{session}}/message"), post(message));
    }
    router.with_state(assistant)
}

async fn create(
    State(assistant): State<Assistant>,
    Extension(plan): Extension<Plan>,
    Path(path): Path<HashMap<String, String>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = assistant.admit(&path, &query, &headers, &plan) {
        return *refused;
    }
    let id = reply::random_uuid();
    if assistant.sessions.lock().create(&id, clock::now().at) {
        reply::answer(StatusCode::CREATED, &json!({"session_id": id}))
    } else {
        refused(StatusCode::INTERNAL_SERVER_ERROR, "Error occurred while creating session")
    }
}

async fn end(
    State(assistant): State<Assistant>,
    Extension(plan): Extension<Plan>,
    Path(path): Path<HashMap<String, String>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = assistant.admit(&path, &query, &headers, &plan) {
        return *refused;
    }
    let session = path.get("session").map(String::as_str).unwrap_or_default();
    if assistant.sessions.lock().delete(session, clock::now().at) {
        reply::answer(StatusCode::OK, &json!({}))
    } else {
        refused(StatusCode::NOT_FOUND, INVALID_SESSION)
    }
}

async fn message(
    State(assistant): State<Assistant>,
    Extension(plan): Extension<Plan>,
    Path(path): Path<HashMap<String, String>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = assistant.admit(&path, &query, &headers, &plan) {
        return *refused;
    }
    let body: Value = match serde_json::from_slice(if body.is_empty() { b"{}" } else { &body }) {
        Ok(body) => body,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &format!("Invalid JSON: {error}")),
    };
    let session = path.get("session").map(String::as_str).unwrap_or_default();
    match assistant.message(session, &body) {
        Ok(answered) => reply::answer(StatusCode::OK, &answered),
        Err((status, what)) => refused(status, &what),
    }
}

fn refused(status: StatusCode, error: &str) -> Response {
    reply::refusal(SandboxService::Assistant, status, error)
}

const INVALID_SESSION: &str = "Invalid Session";
const MOST_CONTEXT: usize = 100 * 1024;
