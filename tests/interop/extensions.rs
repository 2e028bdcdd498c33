//! What a trunk may ask for beyond a plain call, a scenario of tests/sipp each: by UDP and by TCP.

use super::gateway::{Gateway, said};
use super::message::Message;
use super::sipp::{Sipp, Trace};
use super::stage::Stage;

const CONTACT: &str = "100000000024";

/// Runs the scenario by both transports; the call must end well, as many times as `ends` says.
async fn by_both(scenario: &'static str, changes: &str, check: impl Fn(&Trace)) -> Gateway {
    let (_stage, gateway) = Stage::with_gateway(&["an agent"], changes).await;
    for tcp in [false, true] {
        let sipp = Sipp::new(scenario, CONTACT);
        let trace = if tcp { sipp.tcp() } else { sipp }.run(&gateway).await;
        check(&trace);
        gateway.idle().await;
    }
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"failed\""]).await, 0.0);
    gateway
}

/// The finally answered bodies for this method, in order, each once.
fn answers<'a>(trace: &'a Trace, method: &str) -> Vec<&'a Message> {
    let mut found: Vec<&Message> = Vec::new();
    for message in &trace.received {
        let cseq = message.header("CSeq").unwrap_or_default();
        if message.code() == Some(200)
            && cseq.ends_with(method)
            && !found.iter().any(|m| m.header("CSeq") == Some(cseq))
        {
            found.push(message);
        }
    }
    found
}

/// The direction that a description says.
fn direction(message: &Message) -> &str {
    let named = |line: &&str| ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"].contains(line);
    message.body.lines().map(str::trim_end).find(named).unwrap_or("a=sendrecv")
}

fn audio(message: &Message) -> Vec<&str> {
    let line = message.body.lines().find(|line| line.starts_with("m=audio ")).expect("an audio line");
    line.split(' ').skip(1).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_by_sendonly_inactive_and_no_address_is_answered_in_kind() {
    by_both("hold.xml", "", |trace| {
        let answers = answers(trace, "INVITE");
        let directions: Vec<_> = answers.iter().map(|answer| direction(answer)).collect();
        let [sendrecv, recvonly, inactive] = ["a=sendrecv", "a=recvonly", "a=inactive"];
        assert_eq!(directions, [sendrecv, recvonly, sendrecv, inactive, sendrecv, recvonly, sendrecv]);
        let origins = answers.iter().map(|answer| answer.body.lines().find(|line| line.starts_with("o=")).unwrap());
        let versions: Vec<u64> = origins.map(|line| line.split(' ').nth(2).unwrap().parse().unwrap()).collect();
        assert!(
            versions.is_sorted() && versions[0] < versions[6],
            "a changed description has a new version: {versions:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_codec_changes_in_mid_call_and_the_port_stays_ours() {
    by_both("codec_change.xml", "", |trace| {
        let answers = answers(trace, "INVITE");
        let lines: Vec<_> = answers.iter().map(|answer| audio(answer)).collect();
        let codecs: Vec<_> = lines.iter().map(|line| line[2]).collect();
        assert_eq!(codecs, ["0", "8", "0"]);
        assert!(lines.iter().all(|line| line[0] == lines[0][0]), "{lines:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_offer_ours_comes_in_the_answer() {
    by_both("late_offer.xml", "", |trace| {
        for answer in answers(trace, "INVITE") {
            assert!(audio(answer).contains(&"0") && audio(answer).contains(&"8"), "{answer:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_says_what_is_supported() {
    by_both("options.xml", "", |trace| {
        let answer = answers(trace, "OPTIONS")[0];
        let allow = answer.header("Allow").unwrap();
        for method in ["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE"] {
            assert!(allow.contains(method), "{method} in {allow}");
        }
        assert!(answer.header("Accept").unwrap().contains("application/sdp"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_holds_resumes_and_refreshes() {
    by_both("update.xml", "", |trace| {
        assert_eq!(trace.codes("UPDATE"), [200, 200, 200]);
        let answers = answers(trace, "UPDATE");
        assert_eq!([direction(answers[0]), direction(answers[1])], ["a=recvonly", "a=sendrecv"]);
        assert!(answers[2].body.is_empty(), "no offer, no answer");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_own_bye_takes_the_proxies_in_their_order() {
    let (stage, gateway) = Stage::with_gateway(&["goodbye"], "cxone.after_hangup = \"0s\"").await;
    stage.sandbox.contacts.register(CONTACT);
    for tcp in [false, true] {
        let sipp = Sipp::new("record_route.xml", CONTACT);
        let trace = if tcp { sipp.tcp() } else { sipp }.run(&gateway).await;
        let bye = trace.requests("BYE")[0];
        let routes = bye.all("Route").collect::<Vec<_>>().join(",");
        let (near, far) = (routes.find("trunk=a").unwrap(), routes.find("trunk=b").unwrap());
        assert!(near < far, "{routes}");
        assert!(bye.start.starts_with("BYE sip:sipp@"), "the URI stays the Contact's: {}", bye.start);
        let key = trace.session_key();
        let history = gateway.history_where(&key, |history| history["state"] == "ended").await;
        assert!(said(&history).contains(&("assistant", "Bye.")), "{history:#}");
        gateway.idle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reliable_180_waits_for_its_prack() {
    by_both("reliable.xml", "", |trace| {
        assert_eq!(trace.codes("PRACK"), [200]);
        let ringing = trace.received.iter().find(|message| message.code() == Some(180)).unwrap();
        assert!(ringing.header("Require").unwrap().contains("100rel"), "{ringing:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_too_short_is_422_and_then_as_long_as_it_must() {
    by_both("session_too_short.xml", "", |trace| {
        let refused = trace.received.iter().find(|message| message.code() == Some(422)).unwrap();
        assert_eq!(refused.header("Min-SE"), Some("90"));
        assert!(trace.answer().header("Session-Expires").unwrap().starts_with("90"), "{:?}", trace.answer());
    })
    .await;
}

/// In real time: half a session of the shortest kind there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_refreshes_the_session_at_half_of_it() {
    let (_stage, gateway) = Stage::with_gateway(&[], "media.rtp_timeout = \"1h\"").await;
    let trace = Sipp::new("session_timer.xml", CONTACT).run(&gateway).await;
    let answer = trace.answer().header("Session-Expires").unwrap();
    assert_eq!(answer.replace(' ', ""), "90;refresher=uas");
    let update = trace.requests("UPDATE")[0];
    assert!(update.header("Session-Expires").unwrap().contains("refresher=uac"), "{update:?}");
    assert!(update.body.is_empty(), "a refresh offers nothing: {update:?}");
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"caller_hangup\""]).await, 1.0);
}
