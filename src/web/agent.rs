//! The agent's side: the transcript page that PopURL opens, the same as JSON, and its live feed.
//!
//! The session history key is the only credential. Unknown, expired and malformed keys get the same 404.

use super::feed::feed;
use super::history::{Conversation, Histories};
use super::page::{AgentPage, MissingPage};
use super::serve::Stopping;
use crate::base::{SessionKey, clock};
use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use base64::Engine as _;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What the agent's page is made of.
#[derive(Clone)]
pub struct Agent {
    /// Where conversations are found.
    pub histories: Arc<dyn Histories>,
    /// `agent.frame_ancestors`: who may show the page in a frame.
    pub frame_ancestors: Arc<[String]>,
}

/// `/loadAgentAppFrame.html`, `/v1/history/{key}`, `/v1/history/{key}/events`.
pub fn router(agent: Agent) -> Router {
    Router::new()
        .route("/loadAgentAppFrame.html", get(page))
        .route("/v1/history/{key}", get(history))
        .route("/v1/history/{key}/events", get(events))
        .method_not_allowed_fallback(|| async {
            let body = Json(json!({"error": "method_not_allowed", "message": "only GET is answered here"}));
            (StatusCode::METHOD_NOT_ALLOWED, hardened(), body)
        })
        .fallback(|State(agent): State<Agent>, uri: Uri| async move {
            if uri.path().starts_with("/v1/") { Lacking::NotFound.json() } else { agent.missing_page() }
        })
        .with_state(agent)
}

/// Why there is no conversation to show.
enum Lacking {
    NotFound,
    Unavailable,
}

impl Agent {
    /// Looks a key up. Only well-formed keys reach the store.
    async fn find(&self, key: &str) -> Result<Conversation, Lacking> {
        if !SessionKey::well_formed(key) {
            return Err(Lacking::NotFound);
        }
        match tokio::time::timeout(PATIENCE, self.histories.load(key)).await {
            Ok(Ok(Some(conversation))) => Ok(conversation),
            Ok(Ok(None)) => Err(Lacking::NotFound),
            Ok(Err(_)) | Err(_) => Err(Lacking::Unavailable),
        }
    }

    fn missing_page(&self) -> Response {
        let nonce = nonce();
        self.html(StatusCode::NOT_FOUND, &nonce, MissingPage::not_found(&nonce).render())
    }

    /// An HTML answer under a policy that lets nothing run or load but what carries the nonce.
    fn html(&self, code: StatusCode, nonce: &str, body: askama::Result<String>) -> Response {
        let Ok(body) = body else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        let ancestors = match self.frame_ancestors.as_ref() {
            [] => "'none'".to_owned(),
            sources => sources.join(" "),
        };
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
        );
        let Ok(policy) = HeaderValue::from_str(&policy) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let mut headers = hardened();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        (code, headers, Html(body)).into_response()
    }
}

async fn page(State(agent): State<Agent>, RawQuery(query): RawQuery) -> Response {
    let key = parameter(query.as_deref(), "session_history_key").unwrap_or_default();
    let nonce = nonce();
    match agent.find(&key).await {
        Ok(conversation) => {
            let page = AgentPage::new(&conversation, &key, &nonce, clock::now().wall);
            agent.html(StatusCode::OK, &nonce, page.render())
        }
        Err(Lacking::NotFound) => agent.missing_page(),
        Err(Lacking::Unavailable) => {
            agent.html(StatusCode::SERVICE_UNAVAILABLE, &nonce, MissingPage::unavailable(&nonce).render())
        }
    }
}

async fn history(State(agent): State<Agent>, key: Result<Path<String>, PathRejection>) -> Response {
    match agent.find(&text(key)).await {
        Ok(conversation) => (hardened(), Json(conversation.json())).into_response(),
        Err(lacking) => lacking.json(),
    }
}

async fn events(
    State(agent): State<Agent>,
    key: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    stopping: Option<Extension<Stopping>>,
) -> Response {
    let key = text(key);
    let first = match agent.find(&key).await {
        Ok(first) => first,
        Err(lacking) => return lacking.json(),
    };
    // A browser that comes back says where it was; the page says what it was rendered with.
    let last_seen = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let after = last_seen.map(str::to_owned).or_else(|| parameter(query.as_deref(), "after"));
    let after = after.and_then(|seq| seq.parse().ok());
    let stop = stopping.map_or_else(CancellationToken::new, |Extension(Stopping(stop))| stop);
    let events = feed(agent.histories, key, first, after, stop);
    (hardened(), Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))).into_response()
}

impl Lacking {
    fn json(&self) -> Response {
        let (code, error, message) = match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "there is no conversation with this key"),
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the history does not answer; try again")
            }
        };
        (code, hardened(), Json(json!({"error": error, "message": message}))).into_response()
    }
}

/// What every answer carries: the key is in the URL and a conversation in the body, neither may linger or leak.
fn hardened() -> HeaderMap {
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ];
    headers.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

/// The key in a path; one that is not even text is as wrong as any other.
fn text(key: Result<Path<String>, PathRejection>) -> String {
    key.map(|Path(key)| key).unwrap_or_default()
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn nonce() -> String {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        // Without a nonce nothing matches the policy: the page comes bare, but safe.
        return String::new();
    }
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(random)
}

/// The store answers within this, or the page says that it does not.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keeps proxies from cutting a quiet feed.
const HEARTBEAT: Duration = Duration::from_secs(15);
