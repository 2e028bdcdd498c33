//! IBM Cloud IAM: `POST /identity/token` (Watson facts 2.1).

use super::access::{Tokens, shaped_like_jwt};
use super::events::{Events, SandboxEvent};
use super::faults::SandboxService;
use super::plan::Plan;
use super::reply;
use crate::base::clock;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::{Router, routing::post};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// What the token endpoint needs.
#[derive(Clone, Debug)]
pub(super) struct Iam {
    pub(super) api_key: SecretString,
    pub(super) tokens: Arc<Tokens>,
    pub(super) lifetime: Duration,
    pub(super) events: Events,
}

/// Routes of the service.
pub(super) fn routes(iam: Iam) -> Router {
    Router::new().route("/identity/token", post(token)).with_state(iam)
}

async fn token(State(iam): State<Iam>, Extension(plan): Extension<Plan>, headers: HeaderMap, body: Bytes) -> Response {
    let form = match form(&headers, &body) {
        Ok(form) => form,
        Err(why) => return reply::refusal(SandboxService::Iam, StatusCode::BAD_REQUEST, &why),
    };
    if form.get("apikey").map(String::as_str) != Some(iam.api_key.expose_secret()) {
        return reply::unauthorized(SandboxService::Iam);
    }
    let now = clock::now();
    let expiration = now.wall.duration_since(UNIX_EPOCH).unwrap_or_default() + iam.lifetime;
    let claims = json!({"iam_id": "iam-ServiceId-sandbox", "exp": expiration.as_secs(), "iss": "https://iam.cloud.ibm.com/identity"});
    let lifetime = if plan.expires_tokens() { Duration::ZERO } else { iam.lifetime };
    let access_token = iam.tokens.issue(&claims, lifetime, now.at);
    iam.events.tell(SandboxEvent::TokenIssued { service: SandboxService::Iam });
    let body = json!({
        "access_token": access_token,
        "refresh_token": shaped_like_jwt(&json!({"typ": "refresh"})),
        "token_type": "Bearer",
        "expires_in": iam.lifetime.as_secs(),
        "expiration": expiration.as_secs(),
        "scope": "ibm openid",
    });
    reply::answer(StatusCode::OK, &body)
}

/// The form fields, or which one is wrong.
fn form(headers: &HeaderMap, body: &[u8]) -> Result<HashMap<String, String>, String> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        return Err("Content-Type must be application/x-www-form-urlencoded".to_owned());
    }
    let form: HashMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
    match form.get("grant_type").map(String::as_str) {
        Some(GRANT_TYPE) => {}
        Some(other) => return Err(format!("grant_type: '{other}' is not supported")),
        None => return Err("Property missing or empty: grant_type".to_owned()),
    }
    if form.get("apikey").is_none_or(String::is_empty) {
        return Err("Property missing or empty: apikey".to_owned());
    }
    Ok(form)
}

const GRANT_TYPE: &str = "urn:ibm:params:oauth:grant-type:apikey";
