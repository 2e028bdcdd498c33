//! Whole stories: transfer and hangup as the assistant decides them, with CXone's BYE and without.

use super::gateway::said;
use super::phone::Phone;
use super::sipp::Sipp;
use super::stage::Stage;

const CONTACT: &str = "100000000002";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_asks_for_an_agent_is_transferred_with_key_and_data() {
    let (stage, gateway) = Stage::with_gateway(&["speak to an agent please"], "").await;
    let mut contact = stage.sandbox.contacts.place_contact(CONTACT);
    let mut phone = Phone::new(&gateway).await;
    let key = phone.call_as(CONTACT).await;
    phone.hears(10).await;
    stage.told("").await;
    phone.say();
    let signal = contact.signalled().await;
    let given: Vec<_> = signal.given().map(|(name, value)| (name, value.to_owned())).collect();
    let expected = [("p1", key.as_str()), ("p2", "billing & more"), ("p3", "50% größer"), ("p4", "a/b?c=1+1")];
    assert_eq!(given, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    // By the signal, the agent's page can be read: the agent answers while the leg is still up.
    let history = gateway.history(&key).await.expect("the history is there when the signal is");
    assert_eq!(history["state"], "leaving");
    assert!(said(&history).contains(&("assistant", "One moment.")), "{history}");
    phone.hang_up().await;
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    assert_eq!(history["end_reason"], "assistant_transfer");
    assert_eq!(history["why"], "One moment.");
    assert_eq!(history["custom_data"][1], serde_json::json!({"key": "p3", "value": "50% größer"}));
    assert_eq!(stage.turns(), ["", "speak to an agent please"]);
    assert_eq!(stage.signalled(), [CONTACT], "once");
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"assistant_transfer\""]).await, 1.0);
    assert_eq!(gateway.metric("signals_total", &["purpose=\"transfer\"", "outcome=\"accepted\""]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assistant_that_ends_the_session_signals_hangup_and_nothing_else() {
    let (stage, gateway) = Stage::with_gateway(&["goodbye"], "").await;
    let mut contact = stage.sandbox.contacts.place_contact(CONTACT);
    let mut phone = Phone::new(&gateway).await;
    let key = phone.call_as(CONTACT).await;
    phone.hears(10).await;
    phone.say();
    let signal = contact.signalled().await;
    assert_eq!(signal.given().collect::<Vec<_>>(), [("p1".to_owned(), "hangup")]);
    phone.hang_up().await;
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    assert_eq!(history["end_reason"], "assistant_hangup");
    assert!(said(&history).contains(&("assistant", "Bye.")), "{history}");
    assert_eq!(stage.signalled(), [CONTACT]);
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"assistant_hangup\""]).await, 1.0);
}

async fn the_gateway_says_bye(words: &str, tcp: bool, reason: &str, end_reason: &str) {
    let (stage, gateway) =
        Stage::with_gateway(&[words], "cxone.after_transfer = \"1s\"\ncxone.after_hangup = \"1s\"").await;
    stage.sandbox.contacts.register(CONTACT);
    let call = Sipp::new("until_bye.xml", CONTACT);
    let trace = if tcp { call.tcp() } else { call }.run(&gateway).await;
    let byes = trace.requests("BYE");
    assert_eq!(byes.first().expect("a BYE").reason(), reason);
    assert_eq!(stage.signalled(), [CONTACT]);
    let history = gateway.history_where(&trace.session_key(), |history| history["state"] == "ended").await;
    assert_eq!(history["end_reason"], end_reason);
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_transfer_that_cxone_does_not_release_the_gateway_says_bye() {
    the_gateway_says_bye("an agent", false, "SIP;cause=200;text=\"transfer signalled\"", "assistant_transfer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_hangup_that_cxone_does_not_release_the_gateway_says_bye() {
    the_gateway_says_bye("goodbye", true, "SIP;cause=200;text=\"hangup signalled\"", "assistant_hangup").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_speaks_into_a_prompt_stops_it() {
    let (stage, gateway) = Stage::with_gateway(&["the tariffs", "stop please"], "").await;
    let mut phone = Phone::new(&gateway).await;
    let key = phone.call_as(CONTACT).await;
    phone.hears(10).await;
    phone.say();
    stage.told("the tariffs").await;
    phone.hears(25).await;
    let before = phone.voiced();
    phone.say();
    stage.told("stop please").await;
    gateway.history_where(&key, |history| said(history).contains(&("assistant", "I see."))).await;
    // The prompt lasts for eight seconds and more; what was spoken up to here is what came before the word, and the answer.
    assert!(phone.voiced() - before < 200, "{} packets after the caller spoke", phone.voiced() - before);
    gateway.counted("barge_in_seconds_count", &[], 1.0).await;
    phone.hang_up().await;
    gateway.idle().await;
    assert_eq!(stage.turns(), ["", "the tariffs", "stop please"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_contract_is_there_after_a_call() {
    let (stage, gateway) = Stage::with_gateway(&["an agent"], "text_to_speech.transport = \"http\"").await;
    let mut contact = stage.sandbox.contacts.place_contact(CONTACT);
    let mut phone = Phone::new(&gateway).await;
    phone.call_as(CONTACT).await;
    phone.hears(10).await;
    phone.say();
    contact.signalled().await;
    phone.hang_up().await;
    gateway.idle().await;
    let text = gateway.admin("/metrics").await.text().await.unwrap();
    let missing: Vec<_> = METRICS.iter().filter(|name| !text.contains(&format!("\nvoice_gateway_{name}"))).collect();
    assert!(missing.is_empty(), "{missing:?} in\n{text}");
    assert_eq!(gateway.metric("signals_pending", &[]).await, 0.0);
    assert!(gateway.metric("rtp_packets_total", &[]).await > 50.0);
}

const METRICS: &[&str] = &[
    "calls_active",
    "calls_total{",
    "invites_total{",
    "setup_seconds",
    "turns_total{",
    "turn_stage_seconds",
    "rtp_packets_total{",
    "rtp_lost_total",
    "rtp_late_seconds",
    "rtp_jitter_seconds",
    "signals_total{",
    "signal_seconds",
    "signals_pending",
];
