//! Token and discovery: both ways to a token, one flight, renewal ahead, tenants apart, and every way they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod cxone_mock;

use cxone_mock::{Reply, Seen, Server, json_body, jwt, order, page, settings, status};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice_gateway::base::FaultKind;
use voice_gateway::call::input::SignalOutcome;
use voice_gateway::call::output::Purpose::{Hangup, Transfer};
use voice_gateway::cxone::{Auth, Cxone, CxoneError, Settings, Timeouts};

fn is_token(seen: &Seen) -> bool {
    seen.target.starts_with("/token")
}

fn is_discovery(seen: &Seen) -> bool {
    seen.target.starts_with("/discovery")
}

#[tokio::test]
async fn the_password_grant_is_a_form_with_basic_credentials() {
    let server = Server::start(|_, _| None).await;
    let auth = Auth::OauthPassword {
        id: "user id====".into(),
        secret: "pass&word+====".into(),
        client_id: "NICE".into(),
        client_secret: "CXone".into(),
    };
    let cxone = Cxone::new(Settings { auth, ..settings(&server) }).unwrap();
    assert_eq!(cxone.signal(&order(Transfer)).await.outcome, SignalOutcome::Accepted);
    let token = &server.seen("/token")[0];
    // The sample of NICE's guide decodes to something else; this is what NICE:CXone really is.
    assert_eq!(token.header("authorization"), Some("Basic TklDRTpDWG9uZQ=="));
    assert_eq!(token.header("content-type"), Some("application/x-www-form-urlencoded"));
    let body = String::from_utf8(token.body.clone()).unwrap();
    assert_eq!(body, "grant_type=password&username=user%20id%3D%3D%3D%3D&password=pass%26word%2B%3D%3D%3D%3D");
}

#[tokio::test]
async fn a_token_service_that_fails_is_retried_and_one_that_refuses_is_not() {
    // What the token service says, then the kind of fault and how often it is asked within one signal.
    type Answer = fn() -> Reply;
    let rows: [(&str, Answer, FaultKind, usize); 8] = [
        ("refused", || status(401), FaultKind::Auth, 1),
        ("bad request", || json_body(400, &json!({ "error": "invalid_grant" })), FaultKind::Status, 1),
        ("broken", || status(500), FaultKind::Status, 4),
        ("busy", || status(503), FaultKind::Busy, 4),
        ("a page", || page(200), FaultKind::Protocol, 4),
        ("no token", || json_body(200, &json!({ "token_type": "Bearer" })), FaultKind::Protocol, 4),
        ("a token no header can carry", || json_body(200, &json!({ "access_token": "a\nb" })), FaultKind::Protocol, 4),
        ("gone", || Reply::Reset, FaultKind::Closed, 4),
    ];
    for (name, answer, kind, asked) in rows {
        let server = Server::start(move |seen, _| is_token(seen).then(answer)).await;
        let signalled = Cxone::new(settings(&server)).unwrap().signal(&order(Transfer)).await;
        let SignalOutcome::Failed(fault) = &signalled.outcome else { panic!("{name}: {signalled:?}") };
        assert_eq!(fault.kind, kind, "{name}: {fault}");
        assert!(fault.detail.starts_with("token: "), "{name}: {fault}");
        assert_eq!((server.seen("/token").len(), server.seen("/signal").len()), (asked, 0), "{name}");
    }
}

#[tokio::test]
async fn a_token_service_that_comes_back_carries_the_signal() {
    let server = Server::start(|seen, nth| match nth {
        0 if is_token(seen) => Some(page(200)),
        1 if is_token(seen) => Some(status(502)),
        _ => None,
    })
    .await;
    let signalled = Cxone::new(settings(&server)).unwrap().signal(&order(Transfer)).await;
    assert_eq!((signalled.outcome, signalled.attempts), (SignalOutcome::Accepted, 3));
}

#[tokio::test]
async fn discovery_that_fails_names_itself_and_nothing_is_sent() {
    type Answer = fn() -> Reply;
    let elsewhere: Answer =
        || json_body(200, &json!({ "api_endpoint": "https://api-na1.niceincontact.com.evil.example" }));
    let rows: [(&str, Answer, FaultKind, usize); 5] = [
        ("404", || status(404), FaultKind::Status, 1),
        ("a page", || page(200), FaultKind::Protocol, 4),
        ("another host", elsewhere, FaultKind::Protocol, 1),
        (
            "plain http",
            || json_body(200, &json!({ "api_endpoint": "http://api-na1.niceincontact.com" })),
            FaultKind::Protocol,
            1,
        ),
        ("nothing", || json_body(200, &json!({ "area": "na1" })), FaultKind::Protocol, 4),
    ];
    for (name, answer, kind, asked) in rows {
        let server = Server::start(move |seen, _| is_discovery(seen).then(answer)).await;
        let signalled = Cxone::new(settings(&server)).unwrap().signal(&order(Transfer)).await;
        let SignalOutcome::Failed(fault) = &signalled.outcome else { panic!("{name}: {signalled:?}") };
        assert_eq!(fault.kind, kind, "{name}: {fault}");
        assert!(fault.detail.starts_with("discovery: "), "{name}: {fault}");
        assert_eq!((server.seen("/discovery").len(), server.seen("/signal").len()), (asked, 0), "{name}");
        assert_eq!(server.seen("/token").len(), 1, "{name}: a good token is kept while discovery fails");
    }
}

#[tokio::test]
async fn a_token_without_a_tenant_needs_the_api_url() {
    let opaque = |seen: &Seen, _| is_token(seen).then(|| json_body(200, &json!({ "access_token": "opaque" })));
    let server = Server::start(opaque).await;
    let signalled = Cxone::new(settings(&server)).unwrap().signal(&order(Transfer)).await;
    let SignalOutcome::Failed(fault) = &signalled.outcome else { panic!("{signalled:?}") };
    assert!(fault.detail.contains("cxone.api_url"), "{fault}");
    let given = Settings { api_url: Some(server.url("/given/")), ..settings(&server) };
    assert_eq!(Cxone::new(given).unwrap().signal(&order(Transfer)).await.outcome, SignalOutcome::Accepted);
    assert!(server.seen("/signal")[0].target.starts_with("/given/inContactAPI/services/"));
}

#[tokio::test]
async fn fifty_at_once_mint_one_token() {
    let server = Server::start(|_, _| None).await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    let order = order(Hangup);
    let all = join_all((0..50).map(|_| cxone.signal(&order))).await;
    assert!(all.iter().all(|signalled| signalled.outcome == SignalOutcome::Accepted), "{all:?}");
    let seen = |part| server.seen(part).len();
    assert_eq!((seen("/token"), seen("/discovery"), seen("/signal")), (1, 1, 50));
}

#[tokio::test]
async fn fifty_refused_at_once_mint_one_more() {
    let server = Server::start(|seen, _| {
        let first = seen.header("authorization") == Some(&format!("Bearer {}", jwt("tenant-a", 0)));
        seen.is_signal().then(|| status(if first { 401 } else { 200 }))
    })
    .await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    let order = order(Transfer);
    let all = join_all((0..50).map(|_| cxone.signal(&order))).await;
    assert!(all.iter().all(|signalled| signalled.outcome == SignalOutcome::Accepted), "{all:?}");
    assert_eq!(server.seen("/token").len(), 2);
}

#[tokio::test]
async fn a_late_refusal_of_the_old_token_spares_the_new_one() {
    let late = Arc::new(Notify::new());
    let told = Arc::clone(&late);
    let server = Server::start(move |seen, nth| match nth {
        0 if seen.is_signal() => Some(Reply::When(Arc::clone(&told), 401)),
        1 if seen.is_signal() => Some(status(401)),
        _ => None,
    })
    .await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    let order = order(Transfer);
    let mut slow = Box::pin(cxone.signal(&order));
    tokio::select! {
        _ = &mut slow => panic!("it cannot have ended"),
        () = server.until("/signal", 1) => {}
    }
    assert_eq!(cxone.signal(&order).await.outcome, SignalOutcome::Accepted);
    late.notify_one();
    assert_eq!(slow.await.outcome, SignalOutcome::Accepted);
    assert_eq!(server.seen("/token").len(), 2, "the second token serves both");
}

#[tokio::test]
async fn fifty_share_one_failure_too() {
    let server = Server::start(|seen, _| is_token(seen).then(|| status(401))).await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    let order = order(Transfer);
    join_all((0..50).map(|_| cxone.signal(&order))).await;
    assert_eq!(server.seen("/token").len(), 1);
}

#[tokio::test]
async fn a_mint_survives_the_call_that_asked_first() {
    let server = Server::start(|_, _| None).await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    let order = order(Transfer);
    let mut first = Box::pin(cxone.signal(&order));
    let mut second = Box::pin(cxone.signal(&order));
    // Both wait for the same flight before anything has been sent.
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    drop(first);
    assert_eq!(second.await.outcome, SignalOutcome::Accepted);
    assert_eq!(server.seen("/token").len(), 1);
}

#[tokio::test]
async fn a_mint_that_nobody_waits_for_ends_and_the_next_call_mints_anew() {
    let server = Server::start(|seen, nth| (is_token(seen) && nth == 0).then_some(Reply::Hang)).await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    let order = order(Transfer);
    tokio::select! {
        _ = cxone.signal(&order) => panic!("it cannot have ended"),
        () = server.until("/token", 1) => {}
    }
    assert_eq!(cxone.signal(&order).await.outcome, SignalOutcome::Accepted);
    assert_eq!(server.seen("/token").len(), 2);
}

#[tokio::test]
async fn two_tenants_never_share_a_token_or_a_base() {
    let one = Server::start(|_, _| None).await;
    let two = Server::start(|seen, nth| {
        is_token(seen).then(|| json_body(200, &json!({ "access_token": jwt("tenant-b", nth), "expires_in": 3600 })))
    })
    .await;
    let (cxone_one, cxone_two) = (Cxone::new(settings(&one)).unwrap(), Cxone::new(settings(&two)).unwrap());
    let order = order(Transfer);
    let orders = (0..40).map(|n| if n % 2 == 0 { cxone_one.signal(&order) } else { cxone_two.signal(&order) });
    assert!(join_all(orders).await.iter().all(|signalled| signalled.outcome == SignalOutcome::Accepted));
    for (server, tenant) in [(&one, "tenant-a"), (&two, "tenant-b")] {
        let signals = server.seen("/signal");
        assert_eq!(signals.len(), 20);
        let bearer = format!("Bearer {}", jwt(tenant, 0));
        assert!(signals.iter().all(|signal| signal.header("authorization") == Some(&bearer)));
        assert_eq!(server.seen("/discovery")[0].target, format!("/discovery?tenantId={tenant}"));
    }
}

#[tokio::test]
async fn started_it_mints_before_any_call_and_renews_ahead() {
    let server = Server::start(|seen, nth| {
        // The first lives so shortly that it must be renewed while the test looks; the next for an hour.
        let life = if nth == 0 { 1 } else { 3600 };
        is_token(seen).then(|| json_body(200, &json!({ "access_token": jwt("tenant-a", nth), "expires_in": life })))
    })
    .await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    cxone.start(&tasks, stop.clone());
    server.until("/discovery", 2).await;
    // The second discovery is on its way; a call now waits for nothing but that.
    assert_eq!(cxone.signal(&order(Transfer)).await.outcome, SignalOutcome::Accepted);
    assert_eq!(server.seen("/token").len(), 2);
    assert_eq!(server.seen("/signal")[0].header("authorization").unwrap(), format!("Bearer {}", jwt("tenant-a", 1)));
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again() {
    let server = Server::start(|seen, nth| (is_token(seen) && nth == 0).then(|| page(502))).await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    cxone.start(&tasks, stop.clone());
    server.until("/discovery", 1).await;
    assert_eq!(server.seen("/token").len(), 2);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn an_expired_token_is_not_sent() {
    let server = Server::start(|seen, nth| {
        is_token(seen)
            .then(|| json_body(200, &json!({ "access_token": jwt("tenant-a", nth), "expires_in": 0.000_001 })))
    })
    .await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    for _ in 0..2 {
        assert_eq!(cxone.signal(&order(Hangup)).await.outcome, SignalOutcome::Accepted);
    }
    assert_eq!(server.seen("/token").len(), 2);
}

#[tokio::test]
async fn the_base_survives_a_discovery_that_fails_later() {
    let server = Server::start(|seen, nth| match () {
        () if is_discovery(seen) && nth > 0 => Some(status(500)),
        () if seen.is_signal() && nth == 0 => Some(status(401)),
        () => None,
    })
    .await;
    let signalled = Cxone::new(settings(&server)).unwrap().signal(&order(Transfer)).await;
    assert_eq!((signalled.outcome, signalled.attempts), (SignalOutcome::Accepted, 2));
}

#[tokio::test]
async fn a_probe_says_what_each_step_saw() {
    let server = Server::start(|_, _| None).await;
    let probe = Cxone::new(settings(&server)).unwrap().probe().await;
    assert_eq!(probe.token.unwrap(), Duration::from_secs(3600));
    assert_eq!(probe.api.unwrap().unwrap(), server.url("/api"));
    assert_eq!(server.seen("/signal").len(), 0);

    let server = Server::start(|seen, _| is_discovery(seen).then(|| page(200))).await;
    let probe = Cxone::new(settings(&server)).unwrap().probe().await;
    assert!(probe.token.is_ok());
    assert_eq!(probe.api.unwrap().unwrap_err().to_string(), "cxone protocol: discovery: the answer is HTML, not JSON");

    let server = Server::start(|seen, _| {
        is_token(seen)
            .then(|| json_body(401, &json!({ "error": "denied", "errorDescription": "key-secret==== is wrong" })))
    })
    .await;
    let probe = Cxone::new(settings(&server)).unwrap().probe().await;
    assert_eq!(probe.token.unwrap_err().to_string(), "cxone auth: token: status 401: denied: […] is wrong");
    assert!(probe.api.is_none());

    let server = Server::start(|seen, _| is_token(seen).then_some(Reply::Hang)).await;
    let settings = settings(&server);
    let timeouts = Timeouts { access: Duration::from_millis(100), ..settings.timeouts };
    let probe = Cxone::new(Settings { timeouts, ..settings }).unwrap().probe().await;
    assert_eq!(
        probe.token.unwrap_err().to_string(),
        "cxone timeout: token: no answer in time from 127.0.0.1: operation timed out"
    );
}

#[test]
fn wrong_settings_are_reported_all_together() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let auth = Auth::AccessKey { id: String::new(), secret: "".into() };
    let wrong = Settings { token_url: "ftp://x/".into(), api_version: String::new(), ..Settings::new(auth) };
    let Err(CxoneError::Settings(problems)) = Cxone::new(wrong) else { panic!("it must be refused") };
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["token_url", "api_version", "access_key_id", "access_key_secret"]);
}
