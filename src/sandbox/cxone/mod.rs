//! CXone: tokens both ways, discovery, and *Signal a Contact* (CXone facts 1.1 to 1.3).

mod contacts;

pub use contacts::{Contact, Contacts, KnownContacts, Signal};

use super::access::{Credentials, Tokens, credentials, shaped_like_jwt};
use super::events::{Events, SandboxEvent};
use super::faults::SandboxService;
use super::plan::Plan;
use super::reply;
use crate::base::clock;
use axum::body::Bytes;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use contacts::Delivery;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// What the server needs.
#[derive(Clone)]
pub(super) struct Cxone {
    /// `http://127.0.0.1:PORT`: issuer and API base in one.
    pub(super) base_url: Arc<str>,
    pub(super) tenant_id: Arc<str>,
    pub(super) access_key_id: Arc<str>,
    pub(super) access_key_secret: SecretString,
    pub(super) client_id: Arc<str>,
    pub(super) client_secret: SecretString,
    pub(super) tokens: Arc<Tokens>,
    pub(super) lifetime: Duration,
    pub(super) contacts: Contacts,
    pub(super) events: Events,
}

/// Routes of the service.
pub(super) fn routes(cxone: Cxone) -> Router {
    Router::new()
        .route("/authentication/v1/token/access-key", post(by_access_key))
        .route("/auth/token", post(by_password))
        .route("/.well-known/openid-configuration", get(issuer))
        .route("/.well-known/cxone-configuration", get(discovery))
        .fallback(signal)
        .with_state(cxone)
}

impl Cxone {
    fn token(&self, plan: &Plan) -> Response {
        let now = clock::now();
        let issued = now.wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let expires = issued + self.lifetime.as_secs();
        // As in the real tokens the issuers of the two differ; both name the tenant.
        let access = json!({"iss": "https://cxone.niceincontact.com", "tenantId": *self.tenant_id, "tenant": "sandbox",
            "icClusterId": "B32", "icBUId": 4_600_000, "role": {"id": "api"}, "iat": issued, "exp": expires});
        let id = json!({"iss": *self.base_url, "sub": "user:sandbox", "userId": "sandbox", "tenantId": *self.tenant_id,
            "tenant": "sandbox", "icClusterId": "B32", "icBUId": 4_600_000, "iat": issued, "exp": expires});
        let lifetime = if plan.expires_tokens() { Duration::ZERO } else { self.lifetime };
        let access_token = self.tokens.issue(&access, lifetime, now.at);
        self.events.tell(SandboxEvent::TokenIssued { service: SandboxService::Cxone });
        let body = json!({"access_token": access_token, "token_type": "Bearer", "expires_in": self.lifetime.as_secs(),
            "refresh_token": shaped_like_jwt(&json!({"typ": "refresh"})), "id_token": shaped_like_jwt(&id),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"});
        (StatusCode::OK, Json(body)).into_response()
    }

    fn keys_match(&self, id: &str, secret: &str) -> bool {
        id == &*self.access_key_id && secret == self.access_key_secret.expose_secret()
    }
}

async fn by_access_key(State(cxone): State<Cxone>, Extension(plan): Extension<Plan>, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "the body is not JSON");
    };
    let field = |name: &str| body.get(name).and_then(Value::as_str);
    match (field("accessKeyId"), field("accessKeySecret")) {
        (Some(id), Some(secret)) if cxone.keys_match(id, secret) => cxone.token(&plan),
        (Some(_), Some(_)) => refused(StatusCode::UNAUTHORIZED, "Invalid access key"),
        (None, _) => refused(StatusCode::BAD_REQUEST, "accessKeyId is required"),
        (_, None) => refused(StatusCode::BAD_REQUEST, "accessKeySecret is required"),
    }
}

async fn by_password(
    State(cxone): State<Cxone>,
    Extension(plan): Extension<Plan>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let known_client = match credentials(&headers, None) {
        Some(Credentials::Basic(id, secret)) => id == *cxone.client_id && secret == cxone.client_secret.expose_secret(),
        _ => false,
    };
    if !known_client {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    match field("grant_type") {
        "password" if cxone.keys_match(field("username"), field("password")) => cxone.token(&plan),
        "password" => refused(StatusCode::UNAUTHORIZED, "invalid_grant"),
        _ => refused(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
    }
}

async fn issuer(State(cxone): State<Cxone>) -> Json<Value> {
    let base = &cxone.base_url;
    Json(json!({"issuer": **base, "token_endpoint": format!("{base}/auth/token"),
        "grant_types_supported": ["password"], "token_endpoint_auth_methods_supported": ["client_secret_basic"]}))
}

async fn discovery(State(cxone): State<Cxone>, Query(query): Query<HashMap<String, String>>) -> Response {
    match query.get("tenantId") {
        None => refused(StatusCode::BAD_REQUEST, "tenantId is required"),
        Some(tenant) if **tenant != *cxone.tenant_id => refused(StatusCode::NOT_FOUND, "no such tenant"),
        Some(tenant) => {
            let base = &*cxone.base_url;
            Json(json!({"private": false, "area": "na1", "cluster": "B32", "domain": "niceincontact.com",
                "acdDomain": "nice-incontact.com", "uhDomain": "nice-incontact.com", "ui_endpoint": base,
                "auth_endpoint": base, "api_endpoint": base, "tenantId": tenant}))
            .into_response()
        }
    }
}

/// *Signal a Contact*, under whatever case the path is written in.
async fn signal(
    State(cxone): State<Cxone>,
    Extension(plan): Extension<Plan>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(contact_id) = contact_of(uri.path()) else {
        return refused(StatusCode::NOT_FOUND, "no such resource");
    };
    if method != Method::POST {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "only POST");
    }
    let allowed = match credentials(&headers, None) {
        Some(Credentials::Bearer(token)) => cxone.tokens.valid(token, clock::now().at),
        _ => false,
    };
    if !allowed || plan.expires_tokens() {
        return refused(StatusCode::UNAUTHORIZED, "The access token is missing, unknown or expired");
    }
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.to_ascii_lowercase().contains("application/json") {
        return refused(StatusCode::BAD_REQUEST, "No known way to render data");
    }
    let signal = match parameters(uri.query().unwrap_or_default(), &body) {
        Ok(parameters) => Signal::new(parameters),
        Err(why) => return refused(StatusCode::BAD_REQUEST, why),
    };
    match cxone.contacts.deliver(&contact_id, &signal) {
        Delivery::Taken => {
            cxone.events.tell(SandboxEvent::Signalled { contact_id, signal });
            StatusCode::NO_CONTENT.into_response()
        }
        Delivery::Unknown => refused(StatusCode::NOT_FOUND, "The contact is not active"),
        Delivery::Overrun => refused(StatusCode::SERVICE_UNAVAILABLE, "The script does not take its signals"),
    }
}

/// The contact id of `/inContactAPI/services/{version}/interactions/{contactId}/signal`.
fn contact_of(path: &str) -> Option<String> {
    let mut segments = path.strip_prefix('/')?.split('/');
    let mut word = |expected: &str| segments.next().filter(|segment| segment.eq_ignore_ascii_case(expected));
    word("inContactAPI")?;
    word("services")?;
    let version = segments.next()?.to_ascii_lowercase();
    let number = version.strip_prefix('v')?;
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    segments.next().filter(|segment| segment.eq_ignore_ascii_case("interactions"))?;
    let contact = segments.next()?;
    segments.next().filter(|segment| segment.eq_ignore_ascii_case("signal"))?;
    if segments.next().is_some() || contact.is_empty() {
        return None;
    }
    Some(percent_decode_str(contact).decode_utf8_lossy().into_owned())
}

/// p1 to p9 of the query (percent-encoded; `+` is a plus, not a blank) and of a JSON body, as CXone takes both.
fn parameters(query: &str, body: &[u8]) -> Result<Vec<(usize, String)>, &'static str> {
    let number = |name: &str| name.strip_prefix(['p', 'P'])?.parse::<usize>().ok();
    let mut found = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let Some(number) = number(name) {
            let value = percent_decode_str(value).decode_utf8().map_err(|_| "a parameter is not UTF-8")?;
            found.push((number, value.into_owned()));
        }
    }
    if !body.is_empty() {
        let body: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON")?;
        for (name, value) in body.as_object().ok_or("the body is not an object")? {
            match (number(name), value) {
                (Some(number), Value::String(text)) => found.push((number, text.clone())),
                // What a careless client sends is what the script gets.
                (Some(number), Value::Object(_)) => found.push((number, "[object Object]".to_owned())),
                (Some(number), other) => found.push((number, other.to_string())),
                (None, _) => {}
            }
        }
    }
    Ok(found)
}

fn refused(status: StatusCode, error: &str) -> Response {
    reply::refusal(SandboxService::Cxone, status, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_read_in_any_case_and_only_whole() {
        let contact = |path: &str| contact_of(path);
        let id = Some("100000000000".to_owned());
        assert_eq!(contact("/inContactAPI/services/v30.0/interactions/100000000000/signal"), id);
        assert_eq!(contact("/incontactapi/Services/V23.0/Interactions/100000000000/SIGNAL"), id);
        for wrong in [
            "/inContactAPI/services/v30.0/interactions/1/../x/signal",
            "/inContactAPI/services/v30.0/interactions//signal",
            "/inContactAPI/services/latest/interactions/1/signal",
            "/inContactAPI/services/v30.0/interactions/1/signal/",
            "/services/v30.0/interactions/1/signal",
            "/",
        ] {
            assert_eq!(contact(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parameters_come_from_query_and_body() {
        let found =
            parameters("p1=KEY&p2=a%20b%26c+d%C3%A9&x=1&p10=z", br#"{"p3":"three","p4":{"a":1},"p5":7}"#).unwrap();
        let signal = Signal::new(found);
        assert_eq!(
            signal.given().collect::<Vec<_>>(),
            [
                ("p1".to_owned(), "KEY"),
                ("p2".to_owned(), "a b&c+dé"),
                ("p3".to_owned(), "three"),
                ("p4".to_owned(), "[object Object]"),
                ("p5".to_owned(), "7")
            ]
        );
        assert!(parameters("p1=%ff", b"").is_err());
        assert!(parameters("", b"[]").is_err());
    }
}
