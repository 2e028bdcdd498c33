//! The sandbox's IAM, CXone and control door over HTTP, and the faults that can be ordered for them.

#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sandbox_support;

use base64::Engine as _;
use sandbox_support::{Bench, Session, options};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use voice_gateway::sandbox::events::SandboxEvent;
use voice_gateway::sandbox::faults::{Fault, FaultOrder, Garbage, SandboxService};
use voice_gateway::sandbox::script::{Outcome, Script, ScriptInput, ScriptOutput};
use voice_gateway::sandbox::start;

#[tokio::test]
async fn iam_hands_out_tokens_for_the_key_alone() {
    let bench = Bench::new().await;
    let body: Value = bench.ask_iam(bench.sandbox.credentials.api_key.expose_secret()).await.json().await.unwrap();
    assert_eq!(
        (&body["token_type"], &body["expires_in"], &body["scope"]),
        (&json!("Bearer"), &json!(3600), &json!("ibm openid"))
    );
    assert!(body["expiration"].as_u64().unwrap() > 1_700_000_000);
    assert!(body["access_token"].as_str().unwrap().starts_with("eyJ") && body["refresh_token"].is_string());
    let refused = bench.ask_iam("wrong").await;
    assert_eq!(refused.status(), 401);
    let body: Value = refused.json().await.unwrap();
    assert_eq!((&body["error"], &body["code"]), (&json!("Unauthorized"), &json!(401)));
    let url = &bench.sandbox.urls.iam;
    assert_eq!(bench.http.post(url).form(&[("apikey", "x")]).send().await.unwrap().status(), 400);
    assert_eq!(bench.http.post(url).json(&json!({"apikey": "x"})).send().await.unwrap().status(), 400);
    bench.stop().await;
}

#[tokio::test]
async fn cxone_hands_out_tokens_by_access_key_and_by_password_and_tells_its_api() {
    let bench = Bench::new().await;
    let (http, urls, credentials) = (&bench.http, &bench.sandbox.urls, &bench.sandbox.credentials);
    let secret = credentials.access_key_secret.expose_secret();
    let wrong = json!({"accessKeyId": credentials.access_key_id, "accessKeySecret": "wrong"});
    let refused = http.post(&urls.cxone_token).json(&wrong).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(refused.json::<Value>().await.unwrap()["errorDescription"].is_string());
    assert_eq!(http.post(&urls.cxone_token).json(&json!({})).send().await.unwrap().status(), 400);

    let issuer: Value = http
        .get(format!("{}/.well-known/openid-configuration", urls.cxone))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let form = [("grant_type", "password"), ("username", credentials.access_key_id.as_str()), ("password", secret)];
    let endpoint = issuer["token_endpoint"].as_str().unwrap();
    assert_eq!(http.post(endpoint).form(&form).send().await.unwrap().status(), 401, "without the client");
    let client = Some(credentials.client_secret.expose_secret());
    let answer = http.post(endpoint).basic_auth(&credentials.client_id, client).form(&form).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    let claims = |token: &Value| -> Value {
        let part = token.as_str().unwrap().split('.').nth(1).unwrap().to_owned();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let (access, id) = (claims(&body["access_token"]), claims(&body["id_token"]));
    assert_eq!(
        (&access["tenantId"], &id["tenantId"]),
        (&json!(bench.sandbox.tenant_id), &json!(bench.sandbox.tenant_id))
    );
    assert_ne!(access["iss"], id["iss"], "as in real tokens");

    let discover = |tenant: &str| http.get(&urls.cxone_discovery).query(&[("tenantId", tenant)]).send();
    let found: Value = discover(bench.sandbox.tenant_id).await.unwrap().json().await.unwrap();
    assert_eq!(found["api_endpoint"], urls.cxone);
    assert_eq!(discover("nobody").await.unwrap().status(), 404);
    assert_eq!(http.get(&urls.cxone_discovery).send().await.unwrap().status(), 400);
    bench.stop().await;
}

#[tokio::test]
async fn a_signal_reaches_the_script_of_its_contact() {
    let bench = Bench::new().await;
    let sandbox = &bench.sandbox;
    let mut events = sandbox.events.subscribe();
    let mut contact = sandbox.contacts.place_contact("100000000000");
    let mut script = Script::new(sandbox.script_settings("100000000000"));
    let mut out = Vec::new();
    script.step(ScriptInput::Begin, &mut out);
    script.step(ScriptInput::Answered { session_key: None }, &mut out);
    let token = bench.cxone_token().await;
    let signal = |contact: &str, query: &str| {
        let url = format!("{}/incontactapi/services/v30.0/interactions/{contact}/signal?{query}", sandbox.urls.cxone);
        bench.http.post(url).bearer_auth(&token)
    };
    let json = "application/json";
    assert_eq!(signal("7", "p1=x").header("accept", json).send().await.unwrap().status(), 404);
    let unrendered = signal("100000000000", "p1=x").send().await.unwrap();
    assert_eq!(unrendered.json::<Value>().await.unwrap()["errorDescription"], "No known way to render data");
    let stranger =
        bench.http.post(format!("{}/inContactAPI/services/v30.0/interactions/100000000000/signal", sandbox.urls.cxone));
    assert_eq!(stranger.header("accept", json).send().await.unwrap().status(), 401);

    let taken = signal("100000000000", "p1=KEY&p2=a%20b")
        .header("accept", json)
        .json(&json!({"p3": "29340"}))
        .send()
        .await
        .unwrap();
    assert_eq!(taken.status(), 204);
    let received = contact.signalled().await;
    let given: Vec<_> = received.given().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(given, ["p1=KEY", "p2=a b", "p3=29340"]);
    out.clear();
    script.step(ScriptInput::Signalled(received), &mut out);
    script.step(ScriptInput::Released, &mut out);
    script.step(ScriptInput::AgentAnswered, &mut out);
    let url = "http://127.0.0.1:8081/loadAgentAppFrame.html?session_history_key=KEY".to_owned();
    assert!(out.contains(&ScriptOutput::SendBye) && out.contains(&ScriptOutput::PopUrl(url)), "{out:?}");
    assert_eq!(out.last(), Some(&ScriptOutput::Ended(Outcome::WithAgent)));
    let told =
        std::iter::from_fn(|| events.try_recv().ok()).find(|event| matches!(event, SandboxEvent::Signalled { .. }));
    assert!(matches!(told, Some(SandboxEvent::Signalled { contact_id, .. }) if contact_id == "100000000000"));
    drop(contact);
    assert_eq!(signal("100000000000", "p1=x").header("accept", json).send().await.unwrap().status(), 404, "gone");
    bench.stop().await;
}

#[tokio::test]
async fn faults_befall_http_services() {
    let bench = Bench::new().await;
    let faults = &bench.sandbox.faults;
    let session = Session::open(&bench).await;
    let say = || async {
        let url = format!("{}/{}/message?version=2024-08-25", session.base, session.id);
        bench.http.post(url).bearer_auth(&session.token).json(&json!({"input": {"text": "hours"}})).send().await
    };
    let assistant = SandboxService::Assistant;

    bench.order(assistant, Fault::Garbage { what: Garbage::Html });
    let page = say().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    faults.clear();

    bench.order(assistant, Fault::Garbage { what: Garbage::BrokenJson });
    let broken = say().await.unwrap().text().await.unwrap();
    assert!(broken.starts_with('{') && serde_json::from_str::<Value>(&broken).is_err(), "{broken}");
    faults.clear();

    bench.order(assistant, Fault::Disconnect { after_bytes: 0 });
    assert!(say().await.is_err());
    faults.clear();
    bench.order(assistant, Fault::Disconnect { after_bytes: 400 });
    assert!(say().await.unwrap().bytes().await.is_err(), "cut within the body");
    faults.clear();

    bench.order(assistant, Fault::ExpiredTokens);
    assert_eq!(say().await.unwrap().status(), 401);
    faults.clear();

    let order = FaultOrder::new(assistant, Fault::Status { code: 503 }).times(1).on_path("/message");
    faults.order(order).unwrap();
    let refused = say().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.json::<Value>().await.unwrap(), json!({"error": "Service Unavailable", "code": 503}));
    assert_eq!(say().await.unwrap().status(), 200, "once only");

    bench.order(assistant, Fault::RefuseConnections);
    let down = loop {
        // The connection that was waiting when the port closed may still be taken, and is cut.
        match say().await {
            Err(error) if error.is_connect() => break error,
            Err(_) => {}
            Ok(answer) => panic!("{}", answer.status()),
        }
    };
    assert!(down.is_connect());
    faults.clear();
    while say().await.is_err() {}

    bench.order(assistant, Fault::Hang);
    let (hung, ()) = tokio::join!(say(), async {
        assert_eq!(bench.ask_iam("wrong").await.status(), 401, "others go on");
        bench.shutdown.cancel();
    });
    assert!(hung.is_err() || hung.unwrap().status() == 503, "never answered while the sandbox lived");
    bench.stop().await;
}

#[tokio::test]
async fn a_signal_may_be_delivered_and_yet_not_answered() {
    let bench = Bench::new().await;
    let token = bench.cxone_token().await;
    let mut contact = bench.sandbox.contacts.place_contact("1");
    let order = FaultOrder::new(SandboxService::Cxone, Fault::Disconnect { after_bytes: 0 }).on_path("/signal");
    bench.sandbox.faults.order(order).unwrap();
    let url = format!("{}/inContactAPI/services/v30.0/interactions/1/signal?p1=KEY", bench.sandbox.urls.cxone);
    let request = || bench.http.post(&url).bearer_auth(&token).header("accept", "application/json").send();
    assert!(request().await.is_err());
    assert_eq!(contact.signalled().await.parameter(1), Some("KEY"));
    bench.sandbox.faults.clear();
    bench.order(SandboxService::Cxone, Fault::Latency { milliseconds: 600_000 });
    let impatient = bench.http.post(&url).bearer_auth(&token).header("accept", "application/json");
    let (given_up, delivered) =
        tokio::join!(impatient.timeout(std::time::Duration::from_millis(300)).send(), contact.signalled());
    assert!(given_up.unwrap_err().is_timeout());
    assert_eq!(delivered.parameter(1), Some("KEY"), "delivered before the latency");
    bench.sandbox.faults.clear();
    bench.order(SandboxService::Cxone, Fault::Status { code: 202 });
    assert_eq!(request().await.unwrap().status(), 202, "a 2xx is carried out");
    assert_eq!(contact.signalled().await.parameter(1), Some("KEY"));
    bench.sandbox.faults.clear();
    bench.order(SandboxService::Cxone, Fault::ExpiredTokens);
    let expired = bench.cxone_token().await;
    bench.sandbox.faults.clear();
    let refused =
        bench.http.post(&url).bearer_auth(&expired).header("accept", "application/json").send().await.unwrap();
    assert_eq!(refused.status(), 401, "handed out expired");
    bench.stop().await;
}

#[tokio::test]
async fn the_control_door_orders_faults_and_registers_contacts() {
    let bench = Bench::new().await;
    let control = &bench.sandbox.urls.control;
    let order = json!({"service": "iam", "fault": {"kind": "status", "code": 500}, "times": 5});
    let ordered = bench.http.post(format!("{control}/sandbox/faults")).json(&order).send().await.unwrap();
    assert_eq!(ordered.status(), 201);
    let id = ordered.json::<Value>().await.unwrap()["id"].clone();
    assert_eq!(bench.ask_iam("x").await.status(), 500);
    let listed: Value = bench.http.get(format!("{control}/sandbox/faults")).send().await.unwrap().json().await.unwrap();
    assert_eq!(listed[0]["order"]["times"], 4);
    assert_eq!(bench.http.delete(format!("{control}/sandbox/faults/{id}")).send().await.unwrap().status(), 204);
    assert_eq!(bench.ask_iam("x").await.status(), 401);
    for wrong in [json!({"service": "iam"}), json!({"service": "iam", "fault": {"kind": "no_bye"}})] {
        let refused = bench.http.post(format!("{control}/sandbox/faults")).json(&wrong).send().await.unwrap();
        assert_eq!(refused.status(), 400);
    }

    let contact = format!("{control}/sandbox/contacts/42");
    assert_eq!(bench.http.put(&contact).send().await.unwrap().status(), 201);
    let token = bench.cxone_token().await;
    let url = format!("{}/inContactAPI/services/v30.0/interactions/42/signal?p1=hangup", bench.sandbox.urls.cxone);
    let signal = bench.http.post(url).bearer_auth(token).header("accept", "application/json").send().await.unwrap();
    assert_eq!(signal.status(), 204);
    let kept: Value = bench.http.get(&contact).send().await.unwrap().json().await.unwrap();
    assert_eq!(kept, json!({"signals": [{"p1": "hangup"}]}));
    assert_eq!(bench.http.delete(&contact).send().await.unwrap().status(), 204);
    assert_eq!(bench.http.get(&contact).send().await.unwrap().status(), 404);

    let config = bench.http.get(format!("{control}/sandbox/gateway.toml")).send().await.unwrap().text().await.unwrap();
    assert_eq!(config, bench.sandbox.gateway_config());
    let config: toml::Table = config.parse().unwrap();
    assert_eq!(config["speech_to_text"]["url"].as_str(), Some(bench.sandbox.urls.speech_to_text.as_str()));
    assert_eq!(config["cxone"]["discovery_url"].as_str(), Some(bench.sandbox.urls.cxone_discovery.as_str()));
    assert_eq!(config["assistant"]["environment_id"].as_str(), Some(bench.sandbox.environment_id));
    bench.stop().await;
}

#[tokio::test]
async fn a_base_port_that_is_taken_or_too_high_is_named() {
    let bench = Bench::new().await;
    let taken: u16 = bench.sandbox.urls.control.rsplit(':').next().unwrap().parse().unwrap();
    for (port, named) in [(taken, format!("127.0.0.1:{taken}")), (u16::MAX, u16::MAX.to_string())] {
        let mut options = options();
        options.base_port = Some(port);
        let error = start(options, &bench.tracker, bench.shutdown.clone()).await.err().unwrap().to_string();
        assert!(error.contains(&named), "{error}");
    }
    bench.stop().await;
}
