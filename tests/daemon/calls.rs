//! Calls as CXone places them, by sipp over UDP and TCP, and what SIP makes of lost, repeated and crossing messages.

use super::gateway::{Gateway, said};
use super::phone::Phone;
use super::sipp::{Sipp, shipped};
use super::stage::{Stage, eventually};

const CONTACT: &str = "100000000001";

async fn a_call(tcp: bool) {
    let (stage, gateway) = Stage::with_gateway(&["what is my balance"], "").await;
    let call = Sipp::new("call.xml", CONTACT);
    let trace = if tcp { call.tcp() } else { call }.run(&gateway).await;
    // 180 and 200 are the scenario's demand; 100 may be overtaken on UDP, not lost.
    assert!(trace.codes("INVITE").contains(&100), "{:?}", trace.codes("INVITE"));
    assert_eq!(trace.codes("BYE"), [200]);
    let key = trace.session_key();
    assert!(key.len() >= 22 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{key}");
    let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
    let said = said(&history);
    for line in [("assistant", "Hi there."), ("caller", "what is my balance"), ("assistant", "I see.")] {
        assert!(said.contains(&line), "{line:?} in {said:?}");
    }
    assert_eq!(history["end_reason"], "caller_hangup");
    assert_eq!(history["contact_id"], CONTACT);
    assert_eq!(history["caller_number"], "+15550100");
    assert_eq!(stage.turns(), ["", "what is my balance"]);
    assert!(stage.signalled().is_empty(), "a caller who hung up is not signalled");
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"caller_hangup\""]).await, 1.0);
    assert_eq!(gateway.metric("calls_total", &[]).await, 1.0);
    assert_eq!(gateway.metric("invites_total", &["code=\"200\""]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_calls_by_udp_and_the_transcript_is_kept() {
    a_call(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_calls_by_tcp_and_the_transcript_is_kept() {
    a_call(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_calls_at_once_are_answered_and_leave_nothing() {
    shipped("dtmf_2833_1.pcap");
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let running = Sipp::new("many.xml", CONTACT).calls(50).start(&gateway);
    eventually("fifty calls are up", async || (gateway.calls().await["active"] == 50).then_some(())).await;
    let trace = running.finish().await;
    let answered = trace.codes("INVITE").iter().filter(|code| **code == 200).count();
    assert!(answered >= 50, "{answered} answers");
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"caller_hangup\""]).await, 50.0);
    assert_eq!(gateway.metric("calls_total", &[]).await, 50.0);
    let mut keys: Vec<_> = trace.received.iter().filter_map(|message| message.header("X-Session-Key")).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 50, "each call has a key of its own");
    for key in keys {
        // A key pressed before the greeting was there takes its place.
        gateway.history_where(key, |history| said(history).iter().any(|(who, _)| *who == "assistant")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_right_after_the_invite_leaves_no_call() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    for _ in 0..5 {
        let mut phone = Phone::new(&gateway).await;
        phone.invite(&[("X-ContactID", CONTACT)]).await;
        phone.cancel().await;
        let answer = phone.final_answer().await;
        match answer.code() {
            Some(487) => {}
            Some(200) => {
                phone.established(&answer);
                phone.acknowledge("").await;
                phone.hang_up().await;
            }
            _ => panic!("{answer:?}"),
        }
    }
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"caller_hangup\""]).await, 5.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_sent_again_is_the_same_call() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let mut phone = Phone::new(&gateway).await;
    let invite = phone.invite(&[("X-ContactID", CONTACT)]).await;
    phone.send(&invite).await;
    phone.send(&invite).await;
    let answer = phone.final_answer().await;
    phone.established(&answer);
    phone.send(&invite).await;
    phone.acknowledge("").await;
    phone.talk(&answer.body);
    phone.hears(5).await;
    assert_eq!(gateway.calls().await["active"], 1);
    phone.hang_up().await;
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &[]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_ack_is_sent_again() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let mut phone = Phone::new(&gateway).await;
    phone.keep_silent();
    phone.invite(&[("X-ContactID", CONTACT)]).await;
    let first = phone.final_answer().await;
    phone.established(&first);
    for _ in 0..3 {
        let again = loop {
            let message = phone.next().await;
            if message.code() == Some(200) {
                break message;
            }
        };
        assert_eq!(again.header("CSeq"), first.header("CSeq"));
        assert_eq!(again.header("To"), first.header("To"));
        assert_eq!(again.header("X-Session-Key"), first.header("X-Session-Key"));
        assert_eq!(again.body, first.body);
    }
    phone.acknowledge("").await;
    phone.hang_up().await;
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_offer_is_answered_in_the_ack() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let mut phone = Phone::new(&gateway).await;
    phone.invite_with(&[("X-ContactID", CONTACT)], "").await;
    let answer = phone.final_answer().await;
    assert_eq!(answer.code(), Some(200), "{answer:?}");
    assert!(answer.body.contains("m=audio ") && answer.body.contains(" RTP/AVP "), "{}", answer.body);
    phone.established(&answer);
    let ours = phone.offer();
    let ack = phone.request("ACK", &super::phone::new_branch(), &[], &ours);
    phone.send(&ack).await;
    phone.talk(&answer.body);
    phone.hears(10).await;
    phone.hang_up().await;
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"caller_hangup\""]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pcma_alone_is_spoken_too() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let mut phone = Phone::new(&gateway).await;
    let offer = phone.description("8", "a=rtpmap:8 PCMA/8000\r\n");
    phone.invite_with(&[("X-ContactID", CONTACT)], &offer).await;
    let answer = phone.final_answer().await;
    assert_eq!(answer.code(), Some(200), "{answer:?}");
    let formats = answer.body.lines().find(|line| line.starts_with("m=audio")).unwrap();
    assert!(formats.ends_with("RTP/AVP 8"), "{formats}");
    phone.established(&answer);
    phone.acknowledge("").await;
    phone.talk(&answer.body);
    eventually("RTP comes", async || (phone.packets() >= 10).then_some(())).await;
    phone.hang_up().await;
    quiet(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_on_hold_and_back_goes_on() {
    let (stage, gateway) = Stage::with_gateway(&[], "").await;
    let mut phone = Phone::new(&gateway).await;
    phone.call_as(CONTACT).await;
    phone.hears(10).await;
    for (ours, theirs) in [("a=sendonly", "a=recvonly"), ("a=sendrecv", "a=sendrecv")] {
        let offer = phone.offer().replace("a=sendrecv", ours).replace("o=- 1 1", "o=- 1 2");
        let answer = phone.ask("INVITE", &[], &offer).await;
        assert_eq!(answer.code(), Some(200), "{answer:?}");
        assert!(answer.body.contains(theirs), "{ours}: {}", answer.body);
        phone.acknowledge("").await;
    }
    phone.press(6);
    stage.told("6").await;
    phone.hears(5).await;
    phone.hang_up().await;
    quiet(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bye_for_no_call_is_481_and_an_unknown_method_405() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let mut phone = Phone::new(&gateway).await;
    phone.call_as(CONTACT).await;
    phone.hang_up().await;
    assert_eq!(phone.ask("BYE", &[], "").await.code(), Some(481));
    let publish = Phone::new(&gateway).await.ask("PUBLISH", &[], "").await;
    assert_eq!(publish.code(), Some(405), "{publish:?}");
    assert!(publish.header("Allow").unwrap().contains("BYE"));
    quiet(&gateway).await;
}

async fn quiet(gateway: &Gateway) {
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"failed\""]).await, 0.0);
}
