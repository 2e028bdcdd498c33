//! Assistant v2: both path forms, sessions that expire, and every way to go wrong.

use super::peer::Peer;
use super::{keyed, nobody, service, soon, watson};
use serde_json::{Value, json};
use std::time::Duration;
use voice_gateway::base::{FaultKind, TurnId};
use voice_gateway::call::output::{Turn, TurnCause};
use voice_gateway::watson::{Assistant, AssistantSettings, ServiceSettings};

const ANSWER: &str = r#"{"output":{"generic":[{"response_type":"text","text":"Hello"}]},"context":{"global":{"session_id":"s1"},"skills":{}}}"#;

fn settings(service: ServiceSettings) -> AssistantSettings {
    AssistantSettings {
        service,
        environment_id: "env".into(),
        assistant_id: None,
        version: "2024-08-25".into(),
        timeout: Duration::from_secs(60),
    }
}

fn client(url: &str) -> Assistant {
    watson().0.assistant(settings(service(url))).unwrap()
}

fn turn(text: &str) -> Turn {
    Turn {
        id: TurnId(1),
        cause: TurnCause::SpeechToText,
        text: text.into(),
        input_integration: json!({"is_dtmf": false}),
        context: json!({"global":{"session_id":"s1"},"skills":{"main skill":{"user_defined":{"x":1}}}}),
        user_id: "+18595550100".into(),
        selection: None,
    }
}

#[tokio::test]
async fn a_conversation_goes_by_the_book() {
    let mut peer = Peer::start().await;
    let assistant = client(&format!("{}/instances/1", peer.url));
    let conversation = assistant.conversation();
    let serve = async {
        let create = peer.request().await;
        assert_eq!(create.method, "POST");
        assert_eq!(create.uri.to_string(), "/instances/1/v2/assistants/env/sessions?version=2024-08-25");
        assert_eq!(create.header("authorization"), "Bearer given");
        create.status(201, r#"{"session_id":"s1"}"#);
        let message = peer.request().await;
        assert_eq!(message.uri.path(), "/instances/1/v2/assistants/env/sessions/s1/message");
        assert_eq!(message.header("content-type"), "application/json");
        let body = message.json();
        assert_eq!(body["input"]["text"], "an agent");
        assert_eq!(body["input"]["options"], json!({"return_context": true}));
        assert_eq!(body["input"]["integrations"]["voice_telephony"], json!({"is_dtmf": false}));
        assert_eq!(body["context"]["skills"]["main skill"]["user_defined"]["x"], 1);
        assert_eq!(body["user_id"], "+18595550100");
        message.status(200, ANSWER);
        let delete = peer.request().await;
        assert_eq!(
            (delete.method.as_str(), delete.uri.path()),
            ("DELETE", "/instances/1/v2/assistants/env/sessions/s1")
        );
        delete.status(200, "{}");
    };
    let talk = async {
        let reply = conversation.ask(&turn("an\nagent")).await.unwrap();
        assert_eq!(reply.generic, [json!({"response_type":"text","text":"Hello"})]);
        assert_eq!(reply.context.unwrap()["global"]["session_id"], "s1");
        assert!(reply.took > Duration::ZERO);
        conversation.end().await.unwrap();
        conversation.end().await.unwrap();
    };
    soon(async { tokio::join!(serve, talk) }).await;
    assert!(peer.idle(), "deleted once");
}

#[tokio::test]
async fn with_an_assistant_id_the_newer_paths_are_used() {
    let mut peer = Peer::start().await;
    let newer = AssistantSettings { assistant_id: Some("a/1".into()), ..settings(service(&peer.url)) };
    let assistant = watson().0.assistant(newer).unwrap();
    let serve = async {
        let create = peer.request().await;
        assert_eq!(create.uri.path(), "/v2/assistants/a%2F1/environments/env/sessions");
        create.status(201, r#"{"session_id":"s1"}"#);
        let delete = peer.request().await;
        assert_eq!(delete.uri.path(), "/v2/assistants/a%2F1/environments/env/sessions/s1");
        delete.status(404, "{}");
    };
    let (seen, ()) = soon(async { tokio::join!(assistant.probe(), serve) }).await;
    assert!(seen.unwrap().ends_with("made and deleted a session"));
}

#[tokio::test]
async fn an_early_open_and_the_first_turn_make_one_session() {
    let mut peer = Peer::start().await;
    let assistant = client(&peer.url);
    let conversation = assistant.conversation();
    let serve = async {
        peer.request().await.status(201, r#"{"session_id":"s1"}"#);
        let message = peer.request().await;
        assert!(message.uri.path().ends_with("/s1/message"));
        message.status(200, ANSWER);
    };
    let hello = turn("");
    let (opened, reply, ()) = soon(async { tokio::join!(conversation.open(), conversation.ask(&hello), serve) }).await;
    opened.unwrap();
    reply.unwrap();
    assert_eq!(conversation.session_id().await.unwrap().as_str(), "s1");
}

#[tokio::test]
async fn an_expired_session_is_made_anew_with_its_context() {
    let mut peer = Peer::start().await;
    let assistant = client(&peer.url);
    let conversation = assistant.conversation();
    let serve = async {
        peer.request().await.status(201, r#"{"session_id":"s1"}"#);
        peer.request().await.status(404, r#"{"error":"Invalid Session","code":404}"#);
        peer.request().await.status(201, r#"{"session_id":"s2"}"#);
        let message = peer.request().await;
        assert!(message.uri.path().ends_with("/sessions/s2/message"));
        let context = &message.json()["context"];
        assert_eq!(context["skills"]["main skill"]["user_defined"]["x"], 1);
        assert_eq!(context["global"], json!({}), "the old session's id does not come along");
        message.status(200, ANSWER);
        // Once only: a service that knows no session at all is not asked for ever.
        peer.request().await.status(404, r#"{"error":"Invalid Session","code":404}"#);
        peer.request().await.status(201, r#"{"session_id":"s3"}"#);
        peer.request().await.status(404, r#"{"error":"Invalid Session","code":404}"#);
    };
    let talk = async {
        conversation.ask(&turn("hi")).await.unwrap();
        let fault = conversation.ask(&turn("hi again")).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Status);
        assert!(fault.detail.ends_with("404 Invalid Session"), "{}", fault.detail);
    };
    soon(async { tokio::join!(serve, talk) }).await;
    assert!(peer.idle());
}

/// What `create_session` and one turn lead to when the turn is answered by `answers`.
async fn turn_answered_by(
    answers: Vec<(u16, &'static str, &'static str)>,
) -> Result<voice_gateway::call::input::Reply, voice_gateway::base::Fault> {
    let mut peer = Peer::start().await;
    let assistant = client(&peer.url);
    let conversation = assistant.conversation();
    let serve = async {
        peer.request().await.status(201, r#"{"session_id":"s1"}"#);
        for (status, content_type, body) in answers {
            peer.request().await.typed(status, content_type, body);
        }
    };
    let hello = turn("my secret is 1234");
    let (reply, ()) = soon(async { tokio::join!(conversation.ask(&hello), serve) }).await;
    assert!(peer.idle(), "no request but the expected ones");
    reply
}

const JSON: &str = "application/json";

#[tokio::test]
async fn a_failure_of_the_service_is_tried_once_more() {
    for status in [500, 503, 429, 408] {
        let reply = turn_answered_by(vec![(status, JSON, r#"{"error":"x"}"#), (200, JSON, ANSWER)]).await;
        assert_eq!(reply.unwrap().generic.len(), 1, "{status}");
    }
    let fault = turn_answered_by(vec![(503, JSON, "{}"), (500, JSON, r#"{"error":"oops","code":500}"#)]).await;
    let fault = fault.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Status);
    assert!(fault.detail.ends_with("500 oops"), "{}", fault.detail);
    assert_eq!(turn_answered_by(vec![(400, JSON, "{}")]).await.unwrap_err().kind, FaultKind::Status);
}

#[tokio::test]
async fn an_error_that_repeats_the_caller_is_not_repeated() {
    let echo = r#"{"error":"cannot understand: my secret is 1234"}"#;
    let fault = turn_answered_by(vec![(400, JSON, echo)]).await.unwrap_err();
    assert!(fault.detail.ends_with(": 400"), "{}", fault.detail);
}

#[tokio::test]
async fn garbage_is_a_protocol_fault_that_names_host_and_content_type_only() {
    let fault = turn_answered_by(vec![(200, "text/html", "<html>my secret is 1234</html>")]).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Protocol);
    assert!(fault.detail.starts_with("127.0.0.1:") && fault.detail.ends_with("(text/html)"), "{}", fault.detail);
    assert!(!fault.detail.contains("secret"));
    let fault = turn_answered_by(vec![(200, JSON, r#"{"output":{"generic":["#)]).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Protocol);
    let huge: &'static str = Box::leak("x".repeat(1024 * 1024 + 1).into_boxed_str());
    let fault = turn_answered_by(vec![(200, JSON, huge)]).await.unwrap_err();
    assert!(fault.detail.contains("longer than"), "{}", fault.detail);
}

#[tokio::test]
async fn a_late_answer_is_asked_for_once_more_and_then_given_up() {
    let mut peer = Peer::start().await;
    let assistant = client(&peer.url);
    let serve = async { peer.request().await.status(201, r#"{"session_id":"s1"}"#) };
    let (session, ()) = soon(async { tokio::join!(assistant.create_session(), serve) }).await;
    let session = session.unwrap();
    let hasty = AssistantSettings { timeout: Duration::from_millis(100), ..settings(service(&peer.url)) };
    let assistant = watson().0.assistant(hasty).unwrap();
    let hello = turn("hi");
    let serve = async { (peer.request().await, peer.request().await) };
    let (reply, _unanswered) = soon(async { tokio::join!(assistant.message(&session, &hello), serve) }).await;
    let fault = reply.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Timeout);
    assert!(fault.detail.contains("no answer within 100ms"), "{}", fault.detail);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let mut iam = Peer::start().await;
    let mut peer = Peer::start().await;
    let assistant = watson().0.assistant(settings(keyed(&peer.url, &iam.url))).unwrap();
    let serve = async {
        iam.request().await.status(200, r#"{"access_token":"stale","expires_in":3600}"#);
        peer.request().await.status(401, "{}");
        iam.request().await.status(200, r#"{"access_token":"fresh","expires_in":3600}"#);
        let again = peer.request().await;
        assert_eq!(again.header("authorization"), "Bearer fresh");
        again.status(403, r#"{"error":"Forbidden"}"#);
    };
    let (created, ()) = soon(async { tokio::join!(assistant.create_session(), serve) }).await;
    assert_eq!(created.unwrap_err().kind, FaultKind::Auth);
    assert!(peer.idle() && iam.idle());
}

#[tokio::test]
async fn nobody_there_is_a_connect_fault_and_a_session_without_id_a_protocol_fault() {
    let fault = client(&nobody().await).create_session().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Connect);
    let mut peer = Peer::start().await;
    let assistant = client(&peer.url);
    let serve = async { peer.request().await.status(201, &Value::Null.to_string()) };
    let (created, ()) = soon(async { tokio::join!(assistant.create_session(), serve) }).await;
    assert_eq!(created.unwrap_err().kind, FaultKind::Protocol);
}
