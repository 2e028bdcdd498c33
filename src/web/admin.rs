//! Admin endpoints: health, readiness, metrics, calls. JSON but for the metrics.

use super::calls::{CallView, Calls, HangupOrder, Readiness};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What the admin endpoints are made of.
#[derive(Clone)]
pub struct Admin {
    /// `admin.token`.
    pub token: Option<SecretString>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// Tells `/readyz`.
    pub readiness: Arc<dyn Readiness>,
    /// Tells and ends calls.
    pub calls: Arc<dyn Calls>,
}

/// `/healthz`, `/readyz`, `/metrics`, `/v1/calls`, `/v1/calls/{call_id}`, `/v1/calls/{call_id}/hangup`, `/v1/drain`.
pub fn router(admin: Admin) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/v1/calls", get(list))
        .route("/v1/calls/{call_id}", get(call))
        .route("/v1/calls/{call_id}/hangup", post(hangup))
        .route("/v1/drain", post(drain))
        .route_layer(from_fn_with_state(admin.clone(), guard));
    Router::new()
        .route("/healthz", get(|| async { Json(json!({"healthy": true})) }))
        .route("/readyz", get(ready))
        .merge(guarded)
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
        })
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path") })
        .with_state(admin)
}

async fn ready(State(admin): State<Admin>) -> Response {
    let reasons = admin.readiness.not_ready();
    let code = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({"ready": reasons.is_empty(), "reasons": reasons}))).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.metrics.render()).into_response()
}

async fn list(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({
        "draining": admin.calls.is_draining(),
        "active": admin.calls.active(),
        "calls": admin.calls.list().iter().map(CallView::json).collect::<Value>(),
    }))
}

async fn call(
    State(admin): State<Admin>,
    Path(call_id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let (mut call, ladder) = (admin.calls.find(&call_id), admin.calls.ladder(&call_id));
    if let Some(live) = call.as_mut().filter(|call| call.ended.is_none()) {
        live.figures = admin.calls.figures(&call_id).await;
    }
    match (query.get("format").map(String::as_str), call, ladder) {
        (None | Some("json"), Some(call), ladder) => {
            let mut call = call.json();
            if let Some(fields) = call.as_object_mut() {
                fields.insert("ladder".to_owned(), ladder.map_or_else(|| json!([]), |ladder| ladder.messages));
            }
            Json(call).into_response()
        }
        (None | Some("json"), None, Some(ladder)) => Json(ladder.json(&call_id)).into_response(),
        (Some("text"), _, Some(ladder)) => ladder.text.into_response(),
        (Some("text"), Some(_), None) => {
            problem(StatusCode::NOT_FOUND, "no_ladder", "its messages are not kept any more")
        }
        (None | Some("json" | "text"), None, None) => no_such_call(),
        (Some(_), ..) => problem(StatusCode::BAD_REQUEST, "format", "format is json or text"),
    }
}

async fn hangup(State(admin): State<Admin>, Path(call_id): Path<String>) -> Response {
    match admin.calls.hangup(&call_id) {
        HangupOrder::Ordered => {
            tracing::info!(call_id, "hangup ordered by the admin endpoint");
            (StatusCode::ACCEPTED, Json(json!({"call_id": call_id, "ordered": true}))).into_response()
        }
        HangupOrder::AlreadyEnded => problem(StatusCode::CONFLICT, "ended", "this call is over already"),
        HangupOrder::Unknown => no_such_call(),
    }
}

async fn drain(State(admin): State<Admin>) -> Response {
    tracing::info!("drain ordered by the admin endpoint");
    admin.calls.drain();
    (StatusCode::ACCEPTED, Json(json!({"draining": true, "active": admin.calls.active()}))).into_response()
}

/// With a token: the token. Without one the listener is on loopback, and what must be kept out is the operator's own
/// browser led here by a foreign page: no host names but localhost (DNS rebinding), no orders from an `Origin`.
async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    match &admin.token {
        Some(token) => {
            if !bears(request.headers(), token) {
                let body = problem(StatusCode::UNAUTHORIZED, "unauthorized", "give the token: Authorization: Bearer …");
                return ([(header::WWW_AUTHENTICATE, "Bearer")], body).into_response();
            }
        }
        None => {
            let foreign = request.method() == Method::POST && request.headers().contains_key(header::ORIGIN);
            if foreign || !is_local_name(request.headers()) {
                return problem(
                    StatusCode::FORBIDDEN,
                    "forbidden",
                    "without admin.token only local tools are answered",
                );
            }
        }
    }
    next.run(request).await
}

fn bears(headers: &HeaderMap, token: &SecretString) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked(BEARER.len()));
    given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case(BEARER) && bool::from(given.ct_eq(token.expose_secret().as_bytes()))
    })
}

fn is_local_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, _)) => ip,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn no_such_call() -> Response {
    problem(StatusCode::NOT_FOUND, "no_such_call", "no live or recent call, nor a refused one, has this Call-ID")
}

fn problem(code: StatusCode, error: &str, message: &str) -> Response {
    (code, Json(json!({"error": error, "message": message}))).into_response()
}

const BEARER: &[u8] = b"Bearer ";
