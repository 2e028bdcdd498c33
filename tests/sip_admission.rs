//! Who is let in, who is shed, and what a flood leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use parking_lot::Mutex;
use sip_support::{Desk, answer, bare, codes, flow, invite, requests, settings, tag_of, within};
use std::sync::Arc;
use std::time::Duration;
use voice_gateway::sip::message::{Message, Method};
use voice_gateway::sip::{Input, LegCommand, LegEvent, RequiredHeader, Settings, Transport};

fn reject(code: u16) -> LegCommand {
    LegCommand::Reject { code, reason: String::new(), headers: Vec::new() }
}

#[test]
fn strangers_are_refused_or_met_with_silence() {
    let far = flow(Transport::Udp, "192.0.2.1:5060", "198.51.100.7:5060");
    let mut desk = Desk::new(settings());
    desk.flow = far;
    assert_eq!(desk.codes(&invite("c", "z9hG4bK1", 1, "")), [403]);
    assert!(desk.receive(&invite("c", "z9hG4bK1", 1, "Call-ID: d\r\n")).is_empty(), "no help for scanners");
    assert!(desk.receive(&bare("ACK", "c", "z9hG4bK1", 1, "")).is_empty());

    let mut silent = Desk::new(Settings { drop_unknown: true, ..settings() });
    silent.flow = far;
    assert!(silent.receive(&invite("c", "z9hG4bK1", 1, "")).is_empty());
    silent.flow = flow(Transport::Tcp, "192.0.2.1:5060", "198.51.100.7:5060");
    assert_eq!(silent.codes(&invite("c", "z9hG4bK1", 1, "")), [403]);

    let mut listed = Desk::new(Settings { allow_from: vec!["198.51.100.0/24".parse().unwrap()], ..settings() });
    listed.flow = far;
    assert_eq!(listed.codes(&invite("c", "z9hG4bK1", 1, "")), [100]);
}

#[test]
fn a_flood_of_strangers_is_not_answered_with_a_flood() {
    let mut desk = Desk::new(settings());
    desk.flow = flow(Transport::Udp, "192.0.2.1:5060", "198.51.100.7:5060");
    let burst = |desk: &mut Desk, from: u32| {
        (from..from + 100)
            .flat_map(|i| desk.codes(&bare("OPTIONS", &format!("o{i}"), &format!("z9hG4bK{i}"), 1, "")))
            .count()
    };
    assert_eq!(burst(&mut desk, 0), 20);
    desk.wait(Duration::from_millis(500));
    assert_eq!(burst(&mut desk, 100), 10);
    desk.flow = flow(Transport::Udp, "127.0.0.2:5060", "127.0.0.1:5070");
    assert_eq!(burst(&mut desk, 200), 100, "those who may call are answered all the same");
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn operators_read_why_invites_are_refused_once_a_second_and_no_numbers() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let mut desk = Desk::new(Settings { max_calls: 0, ..settings() });
        for i in 0..5 {
            desk.receive(&invite(&format!("c{i}"), &format!("z9hG4bK{i}"), 1, ""));
        }
        desk.wait(Duration::from_secs(1));
        desk.receive(&invite("later", "z9hG4bKl", 1, ""));
        desk.receive(&bare("OPTIONS", "o", "z9hG4bKo", 1, ""));
        desk.flow = flow(Transport::Udp, "192.0.2.1:5060", "198.51.100.7:5060");
        desk.receive(&invite("s", "z9hG4bKs", 1, ""));
    });
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    let told: Vec<_> = text
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["event"], &line["level"]), (&"invite_refused".into(), &"WARN".into()));
            (line["reason"].to_string(), line["code"].clone(), line["left_out"].clone(), line["source"].clone())
        })
        .collect();
    let full = |left_out: u64| ("\"max_calls\"".to_owned(), 503.into(), left_out.into(), serde_json::Value::Null);
    let stranger = ("\"stranger\"".to_owned(), 403.into(), 0.into(), "198.51.100.7".into());
    assert_eq!(told, [full(0), full(4), stranger]);
    assert!(!text.contains("1555") && !text.contains("8882346789"), "{text}");
}

/// Our BYE may go to a Contact that is not in the list: its answer is heard even where strangers are met with silence.
#[test]
fn an_answer_to_a_request_of_ours_is_heard_from_anywhere() {
    let mut desk = Desk::new(Settings { drop_unknown: true, ..settings() });
    desk.establish("c");
    let bye = requests(&desk.order(LegCommand::Bye { headers: Vec::new() })).remove(0);
    let first = |name: &str| bye.headers.first(name).unwrap();
    let (via, from, to) = (first("Via"), first("From"), first("To"));
    let ok = format!(
        "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: c\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
    );
    desk.flow = flow(Transport::Udp, "192.0.2.1:5060", "198.51.100.7:5060");
    assert!(desk.receive(&ok).is_empty());
    assert_eq!(desk.events.last(), Some(&LegEvent::Ended));
}

#[test]
fn the_required_secret_must_be_there() {
    let required = RequiredHeader { name: "X-Trunk-Secret".into(), value: "s3cret".to_owned().into() };
    let mut desk = Desk::new(Settings { required_header: Some(required), ..settings() });
    assert_eq!(desk.codes(&invite("a", "z9hG4bK1", 1, "")), [403]);
    assert_eq!(desk.codes(&invite("b", "z9hG4bK2", 1, "X-Trunk-Secret: s3cre\r\n")), [403]);
    assert_eq!(desk.codes(&invite("c", "z9hG4bK3", 1, "x-trunk-secret:   s3cret  \r\n")), [100]);
}

#[test]
fn a_full_or_draining_endpoint_says_503_and_keeps_the_calls_it_has() {
    let mut desk = Desk::new(Settings { max_calls: 1, ..settings() });
    let tag = desk.establish("a");
    let full = desk.response(&invite("b", "z9hG4bK2", 1, ""));
    assert_eq!((full.code, full.headers.first("Retry-After")), (503, Some("5")));
    assert_eq!(desk.response(&bare("OPTIONS", "o", "z9hG4bKo", 1, "")).code, 503);
    assert_eq!(desk.codes(&within("INFO", "a", "z9hG4bKi", 2, &tag, "", "")), [200]);
    assert_eq!(desk.codes(&within("BYE", "a", "z9hG4bKb", 3, &tag, "", "")), [200]);
    assert_eq!(desk.codes(&invite("b", "z9hG4bK2", 1, "")), [503], "what was refused stays refused");
    assert_eq!(desk.codes(&invite("c", "z9hG4bK3", 1, "")), [100]);
    desk.order(reject(486));
    desk.step(Input::Drain(true));
    assert_eq!(desk.codes(&invite("d", "z9hG4bK4", 1, "")), [503]);
    assert_eq!(desk.response(&bare("OPTIONS", "p", "z9hG4bKp", 1, "")).code, 503);
    desk.step(Input::Drain(false));
    assert_eq!(desk.codes(&invite("e", "z9hG4bK5", 1, "")), [100]);
}

#[test]
fn calls_per_second_are_shed_exactly() {
    let mut desk = Desk::new(Settings { max_calls_per_second: 10, ..settings() });
    let mut admitted = 0;
    for i in 0..50 {
        match desk.codes(&invite(&format!("c{i}"), &format!("z9hG4bK{i}"), 1, "")).as_slice() {
            [100] => admitted += 1,
            [503] => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(admitted, 10);
    desk.wait(Duration::from_secs(1));
    assert_eq!(desk.codes(&invite("later", "z9hG4bKl", 1, "")), [100]);
}

/// Ten times what is allowed, for ten seconds, from three peers of one trunk: who is let in is served to the end.
#[test]
fn a_storm_is_shed_exactly_and_the_admitted_do_not_notice() {
    let list = ["10.1.0.0/24", "10.2.0.5/32", "2001:db8::/48"].map(|net| net.parse().unwrap());
    let mut desk =
        Desk::new(Settings { allow_from: list.into(), max_calls_per_second: 20, max_calls: 30, ..settings() });
    let peers = ["10.1.0.7:5060", "[::ffff:10.2.0.5]:5060", "[2001:db8::9]:5060"]
        .map(|peer| flow(Transport::Udp, "192.0.2.1:5060", peer));
    let (mut admitted, mut live): (Vec<u64>, Vec<(u64, String, String)>) = (Vec::new(), Vec::new());
    let mut ended = 0;
    for turn in 0..2000_u64 {
        let (ms, call_id) = (turn * 5, format!("c{turn}"));
        desk.flow = peers[turn as usize % 3];
        let heard = desk.receive(&invite(&call_id, &format!("z9hG4bK{turn}"), 1, ""));
        match codes(&heard)[..] {
            [100] => {
                admitted.push(ms);
                let answered = desk.order(answer());
                let [Message::Response(ok)] = &answered[..] else { panic!("{answered:?}") };
                live.push((ms, call_id, tag_of(ok)));
            }
            [503] => {
                let [Message::Response(refused)] = &heard[..] else { panic!() };
                assert!(matches!(refused.headers.first("Retry-After"), Some("1" | "5")), "{refused:?}");
            }
            ref other => panic!("{other:?}"),
        }
        // Each call goes on from another peer of the trunk than it came from, and lasts 1.2 s.
        desk.flow = peers[(turn as usize + 1) % 3];
        if let Some((since, call_id, tag)) = live.last()
            && *since == ms
        {
            assert!(desk.receive(&within("ACK", call_id, "z9hG4bKa", 1, tag, "", "")).is_empty());
        }
        while live.first().is_some_and(|(since, _, _)| since + 1200 <= ms) {
            let (_, call_id, tag) = live.remove(0);
            assert_eq!(desk.codes(&within("BYE", &call_id, &format!("z9hG4bKb{turn}"), 2, &tag, "", "")), [200]);
            ended += 1;
        }
        assert!(desk.endpoint.active() <= 30);
        assert!(desk.wait(Duration::from_millis(5)).is_empty(), "nothing has to be sent again");
    }
    for at in &admitted {
        assert!(admitted.iter().filter(|other| (*at..at + 1000).contains(other)).count() <= 20);
    }
    // 20 in the first second, then as many as end: 30 are up from 1.05 s on, and each place is taken again at once.
    assert!(admitted.len() >= 180, "{}", admitted.len());
    assert_eq!(desk.events.iter().filter(|event| matches!(event, LegEvent::Bye { .. })).count(), ended);
    assert!(!desk.events.contains(&LegEvent::NeverAcknowledged));
}

#[test]
fn strangers_learn_nothing_whatever_they_dial() {
    let tried = |uri: &str| {
        let mut desk = Desk::new(settings());
        desk.flow = flow(Transport::Udp, "192.0.2.1:5060", "198.51.100.7:5060");
        let text =
            invite("c", "z9hG4bK1", 1, "").replace("INVITE sip:+18882346789@127.0.0.2", &format!("INVITE {uri}"));
        desk.response(&text)
    };
    let plain = tried("sip:100@127.0.0.2");
    assert_eq!((plain.code, plain.headers.count("Server"), plain.headers.count("Allow")), (403, 0, 0));
    for uri in
        ["sip:101@127.0.0.2", "sip:admin@example.com", "tel:+1555", "nobodyKnows:x", "sip:+18882346789@127.0.0.2"]
    {
        assert_eq!(tried(uri), plain, "{uri}");
    }
    let mut desk = Desk::new(settings());
    assert_eq!(desk.response(&bare("OPTIONS", "o", "z9hG4bKo", 1, "")).headers.count("Server"), 1);
}

#[test]
fn an_abandoned_or_unanswered_leg_strands_nobody() {
    let mut desk = Desk::new(settings());
    desk.codes(&invite("a", "z9hG4bK1", 1, ""));
    let leg = desk.invites[0].0;
    assert_eq!(codes(&desk.step(Input::Abandoned { leg })), [500]);

    let mut desk = Desk::new(settings());
    desk.establish("b");
    let leg = desk.invites[0].0;
    let bye = requests(&desk.step(Input::Abandoned { leg }));
    assert_eq!(bye[0].method, Method::Bye);
    assert!(bye[0].headers.first("Reason").is_some());

    let mut desk = Desk::new(settings());
    desk.codes(&invite("c", "z9hG4bK1", 1, ""));
    assert_eq!(codes(&desk.wait(Duration::from_secs(180))), [480]);
    assert_eq!(desk.events, [LegEvent::Ended]);

    let mut desk = Desk::new(settings());
    desk.establish("d");
    desk.codes(&invite("e", "z9hG4bKe", 1, ""));
    let sent = desk.step(Input::Shut);
    assert_eq!((requests(&sent).len(), codes(&sent).len()), (1, 2));
    assert!(codes(&sent).contains(&503));
}

#[test]
fn a_flood_leaves_nothing_behind() {
    let mut desk = Desk::new(Settings { max_calls: 50, ..settings() });
    for i in 0..5000 {
        desk.receive(&invite(&format!("c{i}"), &format!("z9hG4bK{i}"), 1, ""));
        desk.receive(&bare("OPTIONS", &format!("o{i}"), &format!("z9hG4bKo{i}"), 1, ""));
        desk.receive(&bare("BYE", &format!("b{i}"), &format!("z9hG4bKb{i}"), 1, ""));
    }
    assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (50, 50));
    let tag = {
        let [Message::Response(ok)] = &desk.order(answer())[..] else { panic!() };
        tag_of(ok)
    };
    let call_id = desk.invites.last().unwrap().1.call_id.clone();
    for i in 2..2000 {
        desk.receive(&within("INFO", &call_id, &format!("z9hG4bKi{i}"), i, &tag, "", ""));
    }
    assert!(desk.endpoint.transactions() < 80, "{}", desk.endpoint.transactions());
    desk.wait(Duration::from_secs(400));
    assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (0, 0));
}
