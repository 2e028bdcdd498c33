//! Answers as the services word them: Watson's error shapes (Watson facts 2.1, 2.2, 2.4) and CXone's (CXone facts 1.1).

use super::faults::SandboxService;
use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// An error answer in the shape of `service`.
pub(super) fn refusal(service: SandboxService, status: StatusCode, error: &str) -> Response {
    let code = status.as_u16();
    let body = match service {
        SandboxService::Iam => watson_gateway_error(code, error),
        SandboxService::SpeechToText | SandboxService::TextToSpeech if matches!(code, 401 | 403) => {
            watson_gateway_error(code, error)
        }
        SandboxService::SpeechToText | SandboxService::TextToSpeech => {
            json!({"code": code, "code_description": status.canonical_reason().unwrap_or("Error"), "error": error})
        }
        SandboxService::Assistant => json!({"error": error, "code": code}),
        SandboxService::Cxone => {
            json!({"error": status.canonical_reason().unwrap_or("Error"), "errorDescription": error})
        }
    };
    with_transaction((status, Json(body)).into_response())
}

/// 401 in the shape of `service`.
pub(super) fn unauthorized(service: SandboxService) -> Response {
    refusal(service, StatusCode::UNAUTHORIZED, "Unauthorized")
}

/// JSON with `x-global-transaction-id`, which Watson puts on every answer.
pub(super) fn answer(status: StatusCode, body: &Value) -> Response {
    with_transaction((status, Json(body)).into_response())
}

/// Puts `x-global-transaction-id` on an answer.
pub(super) fn with_transaction(mut response: Response) -> Response {
    if let Ok(id) = HeaderValue::from_str(&random_uuid()) {
        response.headers_mut().insert(TRANSACTION_ID, id);
    }
    response
}

/// A random UUID as text.
pub(super) fn random_uuid() -> String {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid().to_string()
}

fn watson_gateway_error(code: u16, error: &str) -> Value {
    let more_info = "https://cloud.ibm.com/docs/watson?topic=watson-iam";
    json!({"trace": random_uuid(), "error": error, "more_info": more_info, "code": code})
}

const TRANSACTION_ID: HeaderName = HeaderName::from_static("x-global-transaction-id");
