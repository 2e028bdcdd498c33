//! What a log at `debug` tells of a whole call, and what it must not.

use super::phone::Phone;
use super::stage::Stage;
use secrecy::ExposeSecret as _;

const CONTACT: &str = "100000000008";
const WORDS: &str = "xylophone agent zanzibar";

async fn a_transfer_at(changes: &str) -> (Stage, super::gateway::Gateway, String, String) {
    let (stage, mut gateway) = Stage::with_gateway(&[WORDS], changes).await;
    let mut contact = stage.sandbox.contacts.place_contact(CONTACT);
    let mut phone = Phone::new(&gateway).await;
    phone.caller = "+15557654321".to_owned();
    let headers =
        [("X-ContactID", CONTACT), ("X-Customer", "Mildred Pierce"), ("P-Asserted-Identity", "<sip:+15557654321@pbx>")];
    let answer = phone.call(&headers).await;
    let key = answer.header("X-Session-Key").unwrap().to_owned();
    phone.hears(10).await;
    phone.press(9);
    stage.told("9").await;
    phone.hears(5).await;
    phone.say();
    contact.signalled().await;
    phone.hang_up().await;
    gateway.idle().await;
    gateway.logged("call_ended").await;
    (stage, gateway, key, phone.call_id.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_at_debug_has_no_number_no_word_no_secret() {
    let (stage, mut gateway, key, call_id) = a_transfer_at("log.level = \"debug\"").await;
    gateway.terminate().await;
    assert_eq!(gateway.ended().await.code(), Some(0));
    let text = gateway.text();
    let keys = &stage.sandbox.credentials;
    for private in [
        "5557654321",
        "xylophone",
        "zanzibar",
        "Mildred",
        "billing",
        "Hi there",
        "One moment",
        &key,
        keys.api_key.expose_secret(),
        keys.access_key_secret.expose_secret(),
        &keys.access_key_id,
        "eyJ",
    ] {
        let leak = text.lines().find(|line| line.contains(private));
        assert_eq!(leak, None, "{private:?} in the log");
    }
    let lines = gateway.lines();
    for event in ["call_started", "call_answered", "turn", "signal_sent", "call_ended"] {
        let line = lines.iter().find(|line| line["event"] == event).unwrap_or_else(|| panic!("no {event} in the log"));
        assert_eq!(line["call_id"], call_id.as_str(), "{line}");
        assert_eq!(line["contact_id"], CONTACT, "{line}");
        assert_eq!(line["session_key"], &key[..8], "{line}");
    }
    // Whatever belongs to the call says so: all but the process's own beginning, end and background work.
    let ended = lines.iter().find(|line| line["event"] == "call_ended").unwrap();
    assert_eq!(ended["end_reason"], "assistant_transfer");
    assert!(ended["milliseconds_elapsed"].as_u64().is_some(), "{ended}");
    let of_calls = ["voice_gateway::call", "voice_gateway::talk", "voice_gateway::app::call_task"];
    for line in &lines {
        let target = line["target"].as_str().unwrap();
        if of_calls.iter().any(|module| target.starts_with(module)) {
            assert_eq!(line["call_id"], call_id.as_str(), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_come_into_the_log_only_when_asked_for() {
    let (_stage, gateway, key, _) = a_transfer_at("log.transcripts = true").await;
    let text = gateway.text();
    assert!(text.contains("xylophone"), "log.transcripts lets the words in");
    assert!(!text.contains(&key));
}
