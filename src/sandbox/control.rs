//! The sandbox's own door: faults to order, contacts to register, addresses and the gateway's configuration. No fault befalls it.

use super::Urls;
use super::cxone::Contacts;
use super::faults::{FaultId, FaultOrder, Faults};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

/// What the door opens to.
#[derive(Clone)]
pub(super) struct Control {
    pub(super) faults: Arc<Faults>,
    pub(super) contacts: Contacts,
    pub(super) urls: Arc<Urls>,
    pub(super) gateway_config: Arc<str>,
}

/// Routes of the door.
pub(super) fn routes(control: Control) -> Router {
    Router::new()
        .route("/sandbox", get(addresses))
        .route("/sandbox/gateway.toml", get(gateway_config))
        .route("/sandbox/faults", get(faults).post(order).delete(clear))
        .route("/sandbox/faults/{id}", delete(cancel))
        .route("/sandbox/contacts/{id}", get(signals).put(register).delete(forget))
        .with_state(control)
}

async fn addresses(State(control): State<Control>) -> Json<Value> {
    Json(json!(*control.urls))
}

async fn gateway_config(State(control): State<Control>) -> Response {
    ([(header::CONTENT_TYPE, "application/toml")], control.gateway_config.to_string()).into_response()
}

async fn faults(State(control): State<Control>) -> Json<Value> {
    Json(json!(control.faults.in_force()))
}

async fn order(State(control): State<Control>, body: Bytes) -> Response {
    let wrong = |error: String| (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response();
    let order: FaultOrder = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return wrong(format!("not a fault order: {error}")),
    };
    match control.faults.order(order) {
        Ok(id) => (StatusCode::CREATED, Json(json!({"id": id}))).into_response(),
        Err(error) => wrong(error.to_string()),
    }
}

async fn clear(State(control): State<Control>) -> StatusCode {
    control.faults.clear();
    StatusCode::NO_CONTENT
}

async fn cancel(State(control): State<Control>, Path(id): Path<u64>) -> StatusCode {
    if control.faults.cancel(FaultId(id)) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn register(State(control): State<Control>, Path(id): Path<String>) -> StatusCode {
    control.contacts.register(id);
    StatusCode::CREATED
}

async fn forget(State(control): State<Control>, Path(id): Path<String>) -> StatusCode {
    if control.contacts.forget(&id) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn signals(State(control): State<Control>, Path(id): Path<String>) -> Response {
    let Some(received) = control.contacts.received(&id) else { return StatusCode::NOT_FOUND.into_response() };
    let signal = |signal: &super::cxone::Signal| -> Value {
        signal.given().map(|(name, value)| (name, Value::from(value))).collect::<serde_json::Map<_, _>>().into()
    };
    Json(json!({"signals": received.iter().map(signal).collect::<Vec<_>>()})).into_response()
}
