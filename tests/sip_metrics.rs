//! What dashboards see of abuse: each kind of refusal under its own reason, once for each message, and nothing else with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use metrics_exporter_prometheus::PrometheusBuilder;
use sip_support::{Desk, SDP, bare, flow, invite, sdp, settings, within};
use std::time::Duration;
use voice_gateway::sip::{Algorithm, Digest, Input, LegCommand, RequiredHeader, Settings, Transport};

/// Series and values of these counters after `story`, without their prefix and in order.
fn counted(names: &[&str], story: impl FnOnce()) -> Vec<String> {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, story);
    let text = recorder.handle().render();
    let lines = text.lines().filter_map(|line| line.strip_prefix("voice_gateway_"));
    let mut lines: Vec<_> =
        lines.filter(|line| names.iter().any(|name| line.starts_with(name))).map(str::to_owned).collect();
    lines.sort();
    lines
}

fn refusals(story: impl FnOnce()) -> Vec<String> {
    counted(&["sip_refused_total"], story)
}

fn series(reason: &str, times: u32) -> String {
    format!("sip_refused_total{{reason=\"{reason}\"}} {times}")
}

#[test]
fn each_refusal_outside_a_call_has_its_reason() {
    let digest =
        Digest { realm: "r".into(), username: "u".into(), password: "p".into(), algorithms: vec![Algorithm::Sha256] };
    let secret = RequiredHeader { name: "X-Secret".into(), value: "s".to_owned().into() };
    let plain = settings;
    let call = |more: &str| invite("c", "z9hG4bK1", 1, more);
    let changed = |from: &str, to: &str| call("").replace(from, to);
    let large = format!("{}\r\n\r\n{}", call("").split("\r\n\r\n").next().unwrap(), "v".repeat(20_000));
    let large = large.replace(&format!("Content-Length: {}", SDP.len()), "Content-Length: 20000");
    for (reason, settings, text) in [
        ("max_calls", Settings { max_calls: 0, ..plain() }, call("")),
        ("max_calls_per_second", Settings { max_calls_per_second: 0, ..plain() }, call("")),
        ("required_header", Settings { required_header: Some(secret), ..plain() }, call("")),
        ("digest_challenged", Settings { digest: Some(digest), ..plain() }, call("")),
        ("method", plain(), bare("REGISTER", "c", "z9hG4bK1", 1, "")),
        ("method", plain(), bare("UNHEARD", "c", "z9hG4bK1", 1, "")),
        ("no_dialog", plain(), bare("BYE", "c", "z9hG4bK1", 1, "")),
        ("no_transaction", plain(), bare("CANCEL", "c", "z9hG4bK1", 1, "")),
        ("extension", plain(), call("Require: sec-agree\r\n")),
        ("uri_scheme", plain(), changed("INVITE sip:", "INVITE http:")),
        ("request_uri", plain(), changed("INVITE sip:+18882346789@", "INVITE sip:@")),
        ("accept", plain(), call("Accept: text/plain\r\n")),
        ("content_type", plain(), changed("application/sdp", "text/plain")),
        ("content_encoding", plain(), call("Content-Encoding: gzip\r\n")),
        ("session_timer", plain(), call("Supported: timer\r\nSession-Expires: 10\r\n")),
        ("body", plain(), large),
        ("too_large", plain(), call(&"X: y\r\n".repeat(1_000))),
        ("too_large", plain(), changed("INVITE sip:", &format!("INVITE sip:{}", "1".repeat(20_000)))),
        ("too_large", plain(), call(&format!("X: {}\r\n", "y".repeat(20_000)))),
    ] {
        let seen = refusals(|| {
            let mut desk = Desk::new(settings);
            assert!(desk.response(&text).code >= 400, "{reason}");
            desk.response(&text);
        });
        assert_eq!(seen, [series(reason, 2)], "a retransmission is refused, and counted, again");
    }
    let drained = refusals(|| {
        let mut desk = Desk::new(settings());
        desk.step(Input::Drain(true));
        desk.response(&call(""));
        desk.response(&bare("OPTIONS", "o", "z9hG4bKo", 1, ""));
    });
    assert_eq!(drained, [series("draining", 2)]);
}

#[test]
fn what_strangers_send_is_counted_whether_answered_or_not() {
    let strange = |settings: Settings| {
        let mut desk = Desk::new(settings);
        desk.flow = flow(Transport::Udp, "192.0.2.1:5060", "198.51.100.7:5060");
        for n in 0..30 {
            desk.receive(&invite("s", &format!("z9hG4bK{n}"), 1, ""));
        }
    };
    let answered = refusals(|| strange(settings()));
    assert_eq!(answered, [series("stranger", 20), series("stranger_flood", 10)]);
    let silent = refusals(|| strange(Settings { drop_unknown: true, ..settings() }));
    assert_eq!(silent, [series("stranger_dropped", 30)]);
}

#[test]
fn a_merged_invite_and_one_too_many_without_ack_are_counted_by_reason_and_code() {
    let merged = counted(&["sip_refused_total", "invites_total"], || {
        let mut desk = Desk::new(settings());
        desk.codes(&invite("c", "z9hG4bK1", 1, ""));
        assert_eq!(desk.codes(&invite("c", "z9hG4bK2", 1, "")), [482]);
    });
    assert_eq!(merged, ["invites_total{code=\"482\"} 1".to_owned(), series("merged", 1)]);
    let half_open = refusals(|| {
        let mut desk = Desk::new(Settings { max_calls_per_second: 1, ..settings() });
        for n in 0..65 {
            desk.codes(&invite(&format!("c{n}"), &format!("z9hG4bK{n}"), 1, ""));
            desk.order(LegCommand::Ring);
            desk.wait(Duration::from_secs(1));
        }
    });
    assert_eq!(half_open, [series("half_open", 1)]);
}

#[test]
fn storms_within_a_call_are_counted_by_what_they_are() {
    let within_call = |more: &'static str, requests: &'static [(&'static str, u32)]| {
        refusals(move || {
            let mut desk = Desk::new(settings());
            let tag = desk.establish("c");
            for (method, cseq) in requests.iter().flat_map(|(method, times)| (0..*times).map(move |n| (*method, n))) {
                let (cseq, body) = (cseq + 2, if more.is_empty() { "" } else { std::str::from_utf8(SDP).unwrap() });
                let text = within(method, "c", &format!("z9hG4bK{method}{cseq}"), cseq, &tag, more, body);
                if desk.codes(&text) == [100] {
                    desk.order(LegCommand::AnswerReinvite { sdp: sdp() });
                    desk.receive(&within("ACK", "c", &format!("z9hG4bKa{cseq}"), cseq, &tag, "", ""));
                }
            }
        })
    };
    let described = "Content-Type: application/sdp\r\n";
    assert_eq!(within_call(described, &[("INVITE", 100)]), [series("change_flood", 95)]);
    assert_eq!(within_call("", &[("UPDATE", 100)]), [series("change_flood", 95)]);
    assert_eq!(within_call("", &[("INFO", 100)]), [series("info_flood", 80)]);
    assert_eq!(within_call("", &[("INFO", 2), ("OPTIONS", 1)]), [series("cseq", 1)]);
    assert_eq!(within_call("", &[("REFER", 3)]), [series("method", 3)]);
}

#[test]
fn what_cannot_be_read_is_counted_as_such() {
    let garbage = counted(&["sip_parse_errors_total"], || {
        let mut desk = Desk::new(settings());
        for text in ["\0\0\0\0\0\0\0\0\0", "GET / HTTP/1.1\r\n\r\n", "SIP/2.0 999\r\n\r\n"] {
            assert!(desk.receive(text).is_empty());
        }
        assert_eq!(desk.codes(&invite("c", "z9hG4bK1", 1, "CSeq: 2 INVITE\r\n")), [400]);
    });
    assert_eq!(garbage, ["sip_parse_errors_total 4"]);
}
