//! A call's SIP messages, as the admin API shows them.

use super::phone::Phone;
use super::stage::Stage;
use serde_json::Value;

const CONTACT: (&str, &str) = ("X-ContactID", "100000000009");

/// `(direction, first line)` of each message.
fn rungs(call: &Value) -> Vec<(&str, &str)> {
    let messages = call["ladder"].as_array().unwrap();
    messages.iter().map(|one| (one["direction"].as_str().unwrap(), one["first_line"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_shown_message_by_message_while_it_lives_and_after() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let mut phone = Phone::new(&gateway).await;
    phone.caller = "+15557654321".to_owned();
    let secret = [CONTACT, ("X-Customer", "Mildred Pierce"), ("Authorization", "Digest hunter2")];
    let answer = phone.call(&secret).await;
    let key = answer.header("X-Session-Key").unwrap().to_owned();
    let path = format!("/v1/calls/{}", phone.call_id);
    let live: Value = gateway.admin(&path).await.json().await.unwrap();
    assert_eq!(live["live"], true);
    let invite = "INVITE sip:";
    let seen = rungs(&live);
    assert!(seen[0].0 == "in" && seen[0].1.starts_with(invite), "{seen:?}");
    assert_eq!(seen[1..4], [("out", "SIP/2.0 100 Trying"), ("out", "SIP/2.0 180 Ringing"), ("out", "SIP/2.0 200 OK")]);
    let ok = &live["ladder"][3];
    assert!(ok["at_ms"].as_f64().unwrap() > 0.0, "{ok}");
    assert_eq!(ok["transport"], "udp");
    assert_eq!(ok["peer"], live["ladder"][0]["peer"]);
    assert!(ok["sdp"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().starts_with("m=audio")), "{ok}");

    phone.hang_up().await;
    gateway.idle().await;
    let over: Value = gateway.admin(&path).await.json().await.unwrap();
    assert_eq!(over["live"], false);
    let seen = rungs(&over);
    let [.., (from, bye), (to, ok)] = seen[..] else { panic!("{seen:?}") };
    assert!((from, to, ok) == ("in", "out", "SIP/2.0 200 OK") && bye.starts_with("BYE "), "{seen:?}");
    let text = gateway.admin(&format!("{path}?format=text")).await.text().await.unwrap();
    assert!(text.contains("|-- INVITE ") && text.contains("|<-- 200 OK "), "{text}");
    for private in ["5557654321", "Mildred", "hunter2", &key] {
        assert!(!text.contains(private) && !over["ladder"].to_string().contains(private), "{private} in {over}");
    }
    assert!(over["ladder"][0]["headers"].to_string().contains(CONTACT.1), "{over}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_invite_is_found_by_its_call_id() {
    let (_stage, gateway) = Stage::with_gateway(&[], "sip.allow_from = [\"192.0.2.0/24\"]").await;
    let mut phone = Phone::new(&gateway).await;
    phone.invite(&[CONTACT]).await;
    assert_eq!(phone.final_answer().await.code(), Some(403));
    let refused: Value = gateway.admin(&format!("/v1/calls/{}", phone.call_id)).await.json().await.unwrap();
    assert_eq!((&refused["state"], &refused["code"]), (&"refused".into(), &403.into()), "{refused}");
    assert_eq!(rungs(&refused)[1], ("out", "SIP/2.0 403 Forbidden"));
    assert_eq!(gateway.admin("/v1/calls/nobody").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_transcripts_in_the_log_a_ladder_has_numbers_and_still_no_secret() {
    let changes = "log.transcripts = true\nsip.required_header = { name = \"X-Secret\", value = \"open sesame\" }";
    let (_stage, gateway) = Stage::with_gateway(&[], changes).await;
    let mut phone = Phone::new(&gateway).await;
    phone.caller = "+15557654321".to_owned();
    let answer = phone.call(&[CONTACT, ("X-Secret", "open sesame"), ("X-Customer", "Mildred Pierce")]).await;
    phone.hang_up().await;
    gateway.idle().await;
    let text = gateway.admin(&format!("/v1/calls/{}", phone.call_id)).await.text().await.unwrap();
    assert!(text.contains("5557654321") && text.contains("Mildred"), "{text}");
    assert!(!text.contains("sesame") && !text.contains(answer.header("X-Session-Key").unwrap()), "{text}");
}
