//! IAM over HTTP: the request, and every way to be refused.

use super::peer::Peer;
use super::{keyed, nobody, soon, watson, watson_with_patience};
use std::time::Duration;
use voice_gateway::base::{Fault, FaultKind, Service};

const TOKEN: &str = r#"{"access_token":"one","token_type":"Bearer","expires_in":3600}"#;

/// The fault that callers get when IAM always answers so.
async fn refused_with(status: u16, content_type: &'static str, body: &'static str) -> Fault {
    let mut iam = Peer::start().await;
    let (mut watson, tracker, stop) = watson_with_patience(IMPATIENT);
    let tokens = watson.tokens(&keyed("http://127.0.0.1:9", &iam.url));
    let answers = tracker.spawn(async move {
        loop {
            iam.request().await.typed(status, content_type, body);
        }
    });
    let fault = soon(tokens.token()).await.unwrap_err();
    answers.abort();
    stop.cancel();
    fault
}

/// Faults other than a refused key are waited out so long.
const IMPATIENT: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn the_token_is_asked_for_before_anybody_needs_it_and_fifty_callers_share_it() {
    let mut iam = Peer::start().await;
    let (mut watson, tracker, _stop) = watson();
    let tokens = watson.tokens(&keyed("http://127.0.0.1:9", &format!("{}/identity/token", iam.url)));
    let request = iam.request().await;
    assert_eq!((request.method.as_str(), request.uri.path()), ("POST", "/identity/token"));
    assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(request.header("accept"), "application/json");
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    assert!(form.contains(&("grant_type".into(), "urn:ibm:params:oauth:grant-type:apikey".into())), "{form:?}");
    assert!(form.contains(&("apikey".into(), "the-key".into())));
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let tokens = tokens.clone();
            tracker.spawn(async move { tokens.token().await.unwrap() })
        })
        .collect();
    request.status(200, TOKEN);
    for caller in callers {
        assert_eq!(soon(caller).await.unwrap().bearer(), "Bearer one");
    }
    assert!(iam.idle(), "one mint for all");
}

#[tokio::test]
async fn services_with_the_same_key_share_a_token() {
    let mut iam = Peer::start().await;
    let (mut watson, ..) = watson();
    let first = watson.tokens(&keyed("http://127.0.0.1:1", &iam.url));
    let second = watson.tokens(&keyed("http://127.0.0.1:2", &iam.url));
    iam.request().await.status(200, TOKEN);
    assert_eq!(soon(first.token()).await.unwrap().bearer(), "Bearer one");
    assert_eq!(soon(second.token()).await.unwrap().bearer(), "Bearer one");
    assert!(iam.idle());
}

#[tokio::test]
async fn a_short_lived_token_is_renewed_without_being_asked() {
    let mut iam = Peer::start().await;
    let (mut watson, ..) = watson();
    let tokens = watson.tokens(&keyed("http://127.0.0.1:9", &iam.url));
    iam.request().await.status(200, r#"{"access_token":"short","expires_in":1}"#);
    iam.request().await.status(200, r#"{"access_token":"long","expires_in":3600}"#);
    soon(async {
        while tokens.token().await.unwrap().bearer() != "Bearer long" {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_key_is_an_auth_fault_that_says_what_iam_said() {
    let unknown = r#"{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}"#;
    let fault = refused_with(400, "application/json", unknown).await;
    assert_eq!((fault.service, fault.kind), (Service::Iam, FaultKind::Auth));
    assert!(fault.detail.contains("400 Provided API key could not be found."), "{}", fault.detail);
    let fault = refused_with(401, "application/json", r#"{"error":"Unauthorized","code":401}"#).await;
    assert_eq!(fault.kind, FaultKind::Auth);
    assert!(!format!("{fault}").contains("the-key"));
}

#[tokio::test]
async fn html_broken_json_and_a_missing_token_are_protocol_faults_with_the_content_type() {
    let (fault, broken, tokenless) = tokio::join!(
        refused_with(200, "text/html", "<html>login</html>"),
        refused_with(200, "application/json", r#"{"access_tok"#),
        refused_with(200, "application/json", r#"{"expires_in":3600}"#),
    );
    assert_eq!((fault.service, fault.kind), (Service::Iam, FaultKind::Protocol));
    assert!(fault.detail.starts_with("127.0.0.1:") && fault.detail.contains("text/html"), "{}", fault.detail);
    assert!(!fault.detail.contains("login"));
    assert_eq!(broken.kind, FaultKind::Protocol);
    assert!(tokenless.detail.contains("no access_token"), "{}", tokenless.detail);
}

#[tokio::test]
async fn an_iam_that_is_down_or_busy_is_told_apart() {
    let (mut watson, _tracker, stop) = watson_with_patience(IMPATIENT);
    let tokens = watson.tokens(&keyed("http://127.0.0.1:9", &nobody().await));
    assert_eq!(soon(tokens.token()).await.unwrap_err().kind, FaultKind::Connect);
    stop.cancel();
    assert_eq!(refused_with(503, "text/plain", "busy").await.kind, FaultKind::Busy);
}
