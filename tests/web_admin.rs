//! Admin endpoints: health, token, calls, drain, through the public door.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tower::ServiceExt;
use voice_gateway::call::output::EndReason;
use voice_gateway::web::admin::{Admin, router};
use voice_gateway::web::{CallView, Calls, HangupOrder, LadderView, Pending, Readiness};

#[tokio::test]
async fn health_and_readiness_need_no_token_and_readiness_says_why_not() {
    let gateway = Arc::new(Gateway::default());
    let router = guarded(&gateway);
    assert_eq!(get(&router, "/healthz", &[]).await.0, StatusCode::OK);
    assert_eq!(get(&router, "/readyz", &[]).await, (StatusCode::OK, json!({"ready": true, "reasons": []})));
    *gateway.reasons.lock() = vec!["history store: disk full".to_owned()];
    let (code, body) = get(&router, "/readyz", &[]).await;
    assert_eq!((code, &body["reasons"][0]), (StatusCode::SERVICE_UNAVAILABLE, &json!("history store: disk full")));
}

#[tokio::test]
async fn everything_else_needs_the_token_where_there_is_one() {
    let gateway = Arc::new(Gateway::default());
    let router = guarded(&gateway);
    for path in ["/metrics", "/v1/calls", "/v1/calls/a"] {
        for wrong in [
            None,
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer t0ke"),
            Some("Bearer t0kenn"),
            Some("Basic t0ken"),
            Some("t0ken"),
        ] {
            let headers: Vec<_> = wrong.iter().map(|value| ("authorization", *value)).collect();
            let (code, body) = get(&router, path, &headers).await;
            assert_eq!((code, &body["error"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")), "{path} {wrong:?}");
        }
        assert_ne!(get(&router, path, &[("authorization", "bearer t0ken")]).await.0, StatusCode::UNAUTHORIZED);
    }
    for path in ["/v1/drain", "/v1/calls/a/hangup"] {
        assert_eq!(post(&router, path, &[]).await.0, StatusCode::UNAUTHORIZED);
    }
    assert!(!*gateway.draining.lock());
    let bare = router.clone().oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(bare.headers()["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn without_a_token_foreign_pages_are_kept_out() {
    let gateway = Arc::new(Gateway::default());
    let router = open(&gateway);
    for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "localhost", "10.1.2.3"] {
        assert_eq!(get(&router, "/v1/calls", &[("host", host)]).await.0, StatusCode::OK, "{host}");
    }
    for host in ["rebound.example.com", "rebound.example.com:8080", "localhost.example.com"] {
        assert_eq!(get(&router, "/v1/calls", &[("host", host)]).await.0, StatusCode::FORBIDDEN, "{host}");
    }
    assert_eq!(post(&router, "/v1/drain", &[("origin", "https://example.com")]).await.0, StatusCode::FORBIDDEN);
    assert!(!*gateway.draining.lock());
    assert_eq!(post(&router, "/v1/drain", &[]).await, (StatusCode::ACCEPTED, json!({"draining": true, "active": 1})));
    assert!(*gateway.draining.lock());
}

#[tokio::test]
async fn calls_are_listed_found_and_ended() {
    let gateway = Arc::new(Gateway::default());
    let router = open(&gateway);
    let (_, list) = get(&router, "/v1/calls", &[]).await;
    assert_eq!((&list["active"], &list["draining"]), (&json!(1), &json!(false)));
    assert_eq!(list["calls"][0]["call_id"], "a/b%c@host");
    assert_eq!(list["calls"][0]["live"], true);
    assert_eq!(list["calls"][1]["end_reason"], "caller_hangup");
    assert_eq!(list["calls"][1]["session_key"], "01234567", "never the whole key");

    let path = "/v1/calls/a%2Fb%25c@host";
    let (_, live) = get(&router, path, &[]).await;
    assert_eq!(
        (&live["started"], &live["figures"]["latency"]["turns"]),
        (&json!("1970-01-01T00:00:01.000Z"), &json!(3))
    );
    assert_eq!(post(&router, &format!("{path}/hangup"), &[]).await.0, StatusCode::ACCEPTED);
    assert_eq!(*gateway.hung_up.lock(), ["a/b%c@host"]);
    assert_eq!(post(&router, "/v1/calls/over/hangup", &[]).await.0, StatusCode::CONFLICT);
    let (code, body) = post(&router, "/v1/calls/nobody/hangup", &[]).await;
    assert_eq!((code, &body["error"]), (StatusCode::NOT_FOUND, &json!("no_such_call")));
    assert_eq!(get(&router, "/v1/calls/nobody", &[]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_call_has_its_ladder_and_so_has_one_that_was_refused() {
    let router = open(&Arc::new(Gateway::default()));
    let (_, live) = get(&router, "/v1/calls/a%2Fb%25c@host", &[]).await;
    assert_eq!((&live["live"], &live["ladder"][0]["first_line"]), (&json!(true), &json!("INVITE sip:a@h SIP/2.0")));
    assert_eq!(get(&router, "/v1/calls/over", &[]).await.1["ladder"], json!([]));
    let (code, shed) = get(&router, "/v1/calls/shed?format=json", &[]).await;
    assert_eq!((code, &shed["state"], &shed["code"]), (StatusCode::OK, &json!("refused"), &json!(503)));
    assert_eq!(shed["ladder"].as_array().unwrap().len(), 1);
    assert_eq!(get(&router, "/v1/calls/forgotten", &[]).await.1["state"], "ended");
    for (path, code) in [("over", 404), ("nobody", 404), ("shed", 200)] {
        assert_eq!(get(&router, &format!("/v1/calls/{path}?format=text"), &[]).await.0.as_u16(), code, "{path}");
    }
    let text = Request::get("/v1/calls/shed?format=text").body(Body::empty()).unwrap();
    let text = router.clone().oneshot(text).await.unwrap();
    assert_eq!(text.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(to_bytes(text.into_body(), 1 << 20).await.unwrap(), "INVITE\n");
    assert_eq!(get(&router, "/v1/calls/shed?format=pcap", &[]).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn wrong_paths_and_methods_are_told_in_json() {
    let router = open(&Arc::new(Gateway::default()));
    assert_eq!(get(&router, "/nowhere", &[]).await.1["error"], "not_found");
    for (code, body) in [
        get(&router, "/v1/drain", &[]).await,
        post(&router, "/v1/calls", &[]).await,
        post(&router, "/healthz", &[]).await,
    ] {
        assert_eq!((code, &body["error"]), (StatusCode::METHOD_NOT_ALLOWED, &json!("method_not_allowed")));
    }
}

#[tokio::test]
async fn metrics_come_as_prometheus_text() {
    let router = open(&Arc::new(Gateway::default()));
    let response = router.oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
    assert!(text.contains("\nvoice_gateway_calls_active 0\n"), "{text}");
}

/// A gateway with one live call and one that is over.
#[derive(Default)]
struct Gateway {
    reasons: Mutex<Vec<String>>,
    draining: Mutex<bool>,
    hung_up: Mutex<Vec<String>>,
}

impl Readiness for Gateway {
    fn not_ready(&self) -> Vec<String> {
        self.reasons.lock().clone()
    }
}

impl Calls for Gateway {
    fn list(&self) -> Vec<CallView> {
        vec![call("a/b%c@host", None), call("over", Some(EndReason::CallerHangup))]
    }

    fn find(&self, call_id: &str) -> Option<CallView> {
        self.list().into_iter().find(|call| call.call_id == call_id)
    }

    fn figures<'a>(&'a self, call_id: &'a str) -> Pending<'a, Option<Value>> {
        Box::pin(async move { (call_id == "a/b%c@host").then(|| json!({"latency": {"turns": 3}})) })
    }

    fn ladder(&self, call_id: &str) -> Option<LadderView> {
        let code = match call_id {
            "a/b%c@host" => None,
            "shed" => Some(503),
            "forgotten" => Some(200),
            _ => return None,
        };
        Some(LadderView {
            code,
            messages: json!([{"first_line": "INVITE sip:a@h SIP/2.0"}]),
            text: "INVITE\n".to_owned(),
        })
    }

    fn active(&self) -> usize {
        1
    }

    fn is_draining(&self) -> bool {
        *self.draining.lock()
    }

    fn drain(&self) {
        *self.draining.lock() = true;
    }

    fn hangup(&self, call_id: &str) -> HangupOrder {
        match self.find(call_id) {
            None => HangupOrder::Unknown,
            Some(call) if call.ended.is_some() => HangupOrder::AlreadyEnded,
            Some(_) => {
                self.hung_up.lock().push(call_id.to_owned());
                HangupOrder::Ordered
            }
        }
    }
}

fn call(call_id: &str, end_reason: Option<EndReason>) -> CallView {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    CallView {
        call_id: call_id.to_owned(),
        session_key: "0123456789abcdefghijklmnopq".to_owned(),
        tenant: "default".to_owned(),
        contact_id: Some("1".to_owned()),
        caller_number: None,
        called_number: "+1".to_owned(),
        state: "talking".to_owned(),
        started: at(1),
        answered: Some(at(2)),
        ended: end_reason.map(|_| at(3)),
        end_reason,
        cause: None,
        turns: 3,
        figures: None,
    }
}

fn guarded(gateway: &Arc<Gateway>) -> Router {
    routed(gateway, Some("t0ken"))
}

fn open(gateway: &Arc<Gateway>) -> Router {
    routed(gateway, None)
}

fn routed(gateway: &Arc<Gateway>, token: Option<&str>) -> Router {
    router(Admin {
        token: token.map(Into::into),
        metrics: voice_gateway::web::metrics::recorder().unwrap().handle(),
        readiness: Arc::clone(gateway) as Arc<dyn Readiness>,
        calls: Arc::clone(gateway) as Arc<dyn Calls>,
    })
}

async fn get(router: &Router, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    send(router, Request::get(path), headers).await
}

async fn post(router: &Router, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    send(router, Request::post(path), headers).await
}

async fn send(router: &Router, request: axum::http::request::Builder, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let code = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (code, serde_json::from_slice(&body).unwrap_or(Value::Null))
}
