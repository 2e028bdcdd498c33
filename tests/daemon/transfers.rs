//! Transfers to an address, by REFER and by BYE, and the assistant's own headers on every BYE that ends a session.

use super::gateway::{Gateway, said};
use super::phone::Phone;
use super::sipp::Sipp;
use super::stage::Stage;

const CONTACT: &str = "100000000007";

fn in_hex(key: &str) -> String {
    let hex: Vec<String> = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{};encoding=hex", hex.concat())
}

/// A phone in a call that has said its word.
async fn asking(stage: &Stage, gateway: &Gateway, word: &str) -> (Phone, String) {
    let mut phone = Phone::new(gateway).await;
    let key = phone.call_as(CONTACT).await;
    phone.hears(10).await;
    phone.say();
    stage.told(word).await;
    (phone, key)
}

async fn sipp_is_referred(tcp: bool) {
    let (stage, gateway) = Stage::with_gateway(&["the desk"], "").await;
    let call = Sipp::new("refer.xml", CONTACT);
    let trace = if tcp { call.tcp() } else { call }.run(&gateway).await;
    let refer = *trace.requests("REFER").first().expect("a REFER");
    let key = trace.session_key();
    assert_eq!(refer.header("Refer-To"), Some("<sip:desk@pbx.example.com>"));
    assert_eq!(refer.header("X-Skill"), Some("sales"));
    assert_eq!(refer.header("User-to-User"), Some(in_hex(&key).as_str()));
    assert_eq!(trace.codes("NOTIFY"), [200, 200, 200]);
    assert_eq!(trace.requests("BYE").first().expect("a BYE").reason(), "SIP;cause=200;text=\"transferred\"");
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    assert_eq!(history["end_reason"], "assistant_transfer");
    assert!(said(&history).contains(&("assistant", "One moment.")), "{history}");
    assert!(stage.signalled().is_empty());
    gateway.idle().await;
    assert_eq!(gateway.metric("refers_total", &["outcome=\"transferred\""]).await, 1.0);
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"assistant_transfer\""]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_takes_the_refer_by_udp_and_reports() {
    sipp_is_referred(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_takes_the_refer_by_tcp_and_reports() {
    sipp_is_referred(true).await;
}

const ACTIVE: [(&str, &str); 3] =
    [("Event", "refer"), ("Subscription-State", "active"), ("Content-Type", "message/sipfrag")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_reports_move_nothing_and_a_busy_far_end_is_a_failed_transfer() {
    let (stage, mut gateway) = Stage::with_gateway(&["the desk"], "").await;
    let (mut phone, key) = asking(&stage, &gateway, "the desk").await;
    phone.requested("REFER", "202 Accepted").await;
    let huge = "SIP/2.0 200 OK".repeat(2_000).replacen("SIP/2.0 200", "SIP/2.0 2000", 1);
    for (extra, body, code) in [
        (&ACTIVE[1..], "SIP/2.0 200 OK", 489),
        (&[("Event", "refer;id=4711"), ACTIVE[1], ACTIVE[2]][..], "SIP/2.0 200 OK", 481),
        (&ACTIVE[..], "\u{1}\u{2}\u{3}", 400),
        (&ACTIVE[..], huge.as_str(), 400),
        (&[ACTIVE[0], ACTIVE[1], ("Content-Type", "text/plain")], "SIP/2.0 200 OK", 415),
        (&ACTIVE[..], "", 200),
        (&ACTIVE[..], "SIP/2.0 183 Session Progress", 200),
    ] {
        let answer = phone.ask("NOTIFY", extra, body).await;
        assert_eq!(answer.code(), Some(code), "{extra:?} {}", &body[..body.len().min(30)]);
    }
    assert_eq!(gateway.calls().await["active"], 1, "the transfer is still under way");
    assert_eq!(phone.ask("NOTIFY", &ACTIVE, "SIP/2.0 486 Busy Here").await.code(), Some(200));
    let bye = phone.bye().await;
    assert_eq!(bye.reason(), "SIP;cause=500;text=\"REFER failed\"");
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    assert_eq!(history["end_reason"], "failed");
    assert!(said(&history).contains(&("assistant", "No agent.")), "{history}");
    let failed = gateway.logged("refer_failed").await;
    assert_eq!(failed["code"], 486);
    gateway.idle().await;
    assert_eq!(gateway.metric("refers_total", &["outcome=\"failed\""]).await, 1.0);
    assert!(!gateway.text().contains("desk@pbx"), "addresses stay out of the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_refer_goes_back_to_the_assistant_and_a_peer_that_leaves_was_transferred() {
    let (stage, gateway) =
        Stage::with_gateway(&["the desk", "the desk"], "dialog.disconnect_on_transfer_failure = false").await;
    let (mut phone, key) = asking(&stage, &gateway, "the desk").await;
    phone.requested("REFER", "603 Decline").await;
    stage.told("vgwCallTransferFailed").await;
    gateway.history_where(&key, |history| said(history).contains(&("assistant", "Hm."))).await;
    phone.say();
    phone.requested("REFER", "202 Accepted").await;
    phone.hang_up().await;
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    assert_eq!(history["end_reason"], "assistant_transfer");
    gateway.idle().await;
    assert_eq!(gateway.metric("refers_total", &["outcome=\"refused\""]).await, 1.0);
    assert_eq!(gateway.metric("refers_total", &["outcome=\"released\""]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_transfer_is_a_bye_that_names_the_target() {
    let (stage, gateway) = Stage::with_gateway(&["the other line"], "").await;
    let (mut phone, key) = asking(&stage, &gateway, "the other line").await;
    let bye = phone.bye().await;
    assert_eq!(bye.reason(), "SIP;cause=200;text=\"transfer by hangup\"");
    assert_eq!(bye.header("Transfer-Target"), Some("sip:line@pbx.example.com"));
    assert_eq!((bye.header("X-Skill"), bye.header("User-to-User")), (Some("sales"), Some(in_hex(&key).as_str())));
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    assert_eq!(history["end_reason"], "assistant_transfer");
    assert!(said(&history).contains(&("assistant", "One moment.")), "{history}");
    assert!(stage.signalled().is_empty());
    gateway.idle().await;
}

/// A session that the assistant ends, whose signal ends in this way: its headers are on our BYE.
async fn farewell(changes: &str, contact: Option<&str>, known: bool, reason: &str) {
    let (stage, gateway) = Stage::with_gateway(&["farewell"], changes).await;
    if known {
        stage.sandbox.contacts.register(CONTACT);
    }
    let mut phone = Phone::new(&gateway).await;
    let extra: Vec<_> = contact.iter().map(|contact| ("X-ContactID", *contact)).collect();
    phone.call(&extra).await;
    phone.hears(10).await;
    phone.say();
    let bye = phone.bye().await;
    assert_eq!(bye.reason(), reason);
    assert_eq!(bye.header("Customer-Header1"), Some("Some-Custom-Info"), "{bye:?}");
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_headers_of_a_session_that_ends_are_on_every_bye_of_ours() {
    let released = "SIP;cause=200;text=\"hangup signalled\"";
    farewell("cxone.after_hangup = \"1s\"", Some(CONTACT), true, released).await;
    farewell("", Some(CONTACT), false, "SIP;cause=200;text=\"contact gone\"").await;
    let anonymous = "SIP;cause=200;text=\"hangup without contact id\"";
    farewell("sip.missing_contact_id = \"accept\"", None, false, anonymous).await;
    let failed = "SIP;cause=500;text=\"signal failed\"";
    farewell("cxone.api_url = \"http://127.0.0.1:9\"\ncxone.signal_budget = \"1s\"", Some(CONTACT), true, failed).await;
}
