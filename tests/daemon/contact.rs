//! The contact id: where it may stand, and what a hostile one reaches (nothing).

use super::phone::Phone;
use super::stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_id_is_found_under_its_aliases_and_trimmed() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    for (header, value) in [
        ("X-ContactID", "  123456789012  "),
        ("x-contact-id", "123456789012"),
        ("X-InContact-ContactId", "123456789012"),
    ] {
        let mut phone = Phone::new(&gateway).await;
        phone.call(&[(header, value)]).await;
        let calls = gateway.calls().await;
        assert_eq!(calls["calls"][0]["contact_id"], "123456789012", "{header}");
        phone.hang_up().await;
        gateway.idle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_hostile_contact_id_is_400_and_reaches_nobody() {
    let (stage, mut gateway) = Stage::with_gateway(&["an agent"], "").await;
    let long = "1".repeat(10_000);
    let hostile = [
        "",
        "1/../x",
        "1?p1=hangup",
        "1%2e%2e",
        "12 34",
        "1#x",
        "1;p1=hangup",
        "-1",
        "١٢٣",
        "1\u{1}2",
        "1\u{7f}",
        "1\t2",
        "12345678901234567890",
        &long,
    ];
    for value in hostile {
        let mut phone = Phone::new(&gateway).await;
        phone.invite(&[("X-ContactID", value)]).await;
        let answer = phone.final_answer().await;
        assert_eq!(answer.code(), Some(400), "{value:?}: {answer:?}");
        let shown = &value[..value.len().min(30)];
        match answer.header("Warning") {
            Some(warning) => {
                assert!(warning.starts_with("399 ") && warning.contains("ontact"), "{warning}");
                assert!(value.len() < 3 || !warning.contains(shown), "the value is not echoed: {warning}");
            }
            // Control characters make it no SIP message at all: the parser's 400.
            None => assert!(value.chars().any(char::is_control), "no Warning for {value:?}: {answer:?}"),
        }
    }
    // A line break splits the value off: what follows is another header, or none.
    let mut phone = Phone::new(&gateway).await;
    phone.invite(&[("X-ContactID", "abc\r\nX-Evil: 1")]).await;
    assert_eq!(phone.final_answer().await.code(), Some(400));
    let mut phone = Phone::new(&gateway).await;
    phone.invite(&[]).await;
    let answer = phone.final_answer().await;
    assert_eq!(answer.code(), Some(400), "{answer:?}");
    assert!(answer.header("Warning").unwrap().contains("X-ContactID"), "{answer:?}");
    gateway.logged("contact_id_missing").await;
    gateway.idle().await;
    assert!(stage.signalled().is_empty());
    assert!(stage.turns().is_empty());
    assert_eq!(gateway.metric("signals_total", &[]).await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_may_be_missing_the_call_talks_and_ends_by_bye() {
    let (stage, gateway) = Stage::with_gateway(&["an agent"], "sip.missing_contact_id = \"accept\"").await;
    let mut phone = Phone::new(&gateway).await;
    let answer = phone.call(&[]).await;
    let key = answer.header("X-Session-Key").unwrap().to_owned();
    phone.hears(10).await;
    phone.say();
    let bye = phone.bye().await;
    assert_eq!(bye.reason(), "SIP;cause=200;text=\"transfer without contact id\"");
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    assert_eq!(history["end_reason"], "assistant_transfer");
    assert_eq!(history["contact_id"], serde_json::Value::Null);
    assert!(stage.signalled().is_empty());
    gateway.idle().await;
}
