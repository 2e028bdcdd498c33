//! REFER within a dialog and the reports on it: what is sent, what is answered, what the call hears, under loss too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use sip_support::{Desk, Side, Sim, requests, settings, within};
use std::collections::BTreeMap;
use std::time::Duration;
use voice_gateway::sip::message::{Message, Method, Request};
use voice_gateway::sip::{HeaderPlace, LegCommand, LegEvent, Refer, Referral};

fn refer_to(target: &str, place: HeaderPlace) -> LegCommand {
    let headers = vec![
        ("User-to-User".to_owned(), "6375;encoding=hex".to_owned()),
        ("X-A".to_owned(), "b c\r\nVia: evil".to_owned()),
        ("Via".to_owned(), "evil".to_owned()),
    ];
    LegCommand::Refer(Refer { target: target.to_owned(), headers, place })
}

/// An established call whose REFER is out; the REFER and our tag.
fn referring() -> (Desk, Request, String) {
    let mut desk = Desk::new(settings());
    let tag = desk.establish("c");
    desk.events.clear();
    let sent = desk.order(refer_to("sip:agent@pbx.example.com", HeaderPlace::Fields));
    let refer = requests(&sent).pop().unwrap();
    assert_eq!(refer.method, Method::Refer);
    (desk, refer, tag)
}

/// An answer to a request of ours.
fn answer(request: &Request, status: &str, more: &str) -> String {
    let field = |name: &str| request.headers.first(name).unwrap().to_owned();
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}Content-Length: 0\r\n\r\n",
        field("Via"),
        field("From"),
        field("To"),
        field("Call-ID"),
        field("CSeq")
    )
}

fn notify(tag: &str, cseq: u32, more: &str, body: &str) -> String {
    within("NOTIFY", "c", &format!("z9hG4bKn{cseq}"), cseq, tag, more, body)
}

const ACTIVE: &str =
    "Event: refer\r\nSubscription-State: active;expires=60\r\nContent-Type: message/sipfrag;version=2.0\r\n";
const OVER: &str =
    "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\nContent-Type: message/sipfrag;version=2.0\r\n";

fn referrals(desk: &Desk) -> Vec<Referral> {
    let of = |event: &LegEvent| if let LegEvent::Referral(referral) = event { Some(*referral) } else { None };
    desk.events.iter().filter_map(of).collect()
}

#[test]
fn the_refer_is_a_request_of_the_dialog_with_its_headers_where_they_were_ordered() {
    for (target, place, refer_to, contact, field) in [
        ("sip:a@h", HeaderPlace::Fields, "<sip:a@h>", "<sip:voice-gateway@127.0.0.2:5060>", Some("6375;encoding=hex")),
        (
            "sip:a@h",
            HeaderPlace::ReferTo,
            "<sip:a@h?User-to-User=6375%3Bencoding%3Dhex&X-A=b%20cVia%3A%20evil&Via=evil>",
            "<sip:voice-gateway@127.0.0.2:5060>",
            None,
        ),
        (
            "sips:a@h;x=y?Subject=z",
            HeaderPlace::ReferTo,
            "<sips:a@h;x=y?Subject=z&User-to-User=6375%3Bencoding%3Dhex&X-A=b%20cVia%3A%20evil&Via=evil>",
            "<sip:voice-gateway@127.0.0.2:5060>",
            None,
        ),
        (
            "tel:+1888",
            HeaderPlace::ReferTo,
            "<tel:+1888;User-to-User=6375%3Bencoding%3Dhex;X-A=b%20cVia%3A%20evil;Via=evil>",
            "<sip:voice-gateway@127.0.0.2:5060>",
            None,
        ),
        (
            "sip:a@h",
            HeaderPlace::Contact,
            "<sip:a@h>",
            "<sip:voice-gateway@127.0.0.2:5060?User-to-User=6375%3Bencoding%3Dhex&X-A=b%20cVia%3A%20evil&Via=evil>",
            None,
        ),
    ] {
        let mut desk = Desk::new(settings());
        let tag = desk.establish("c");
        let refer = requests(&desk.order(self::refer_to(target, place))).pop().unwrap();
        let first = |name| refer.headers.first(name);
        assert_eq!(
            (first("Refer-To"), first("Contact"), first("User-to-User")),
            (Some(refer_to), Some(contact), field)
        );
        assert_eq!((refer.uri.as_str(), first("CSeq")), ("sip:a@127.0.0.1:5070", Some("1 REFER")));
        assert_eq!(first("From"), Some(format!("<sip:+18882346789@h>;tag={tag}").as_str()));
        assert_eq!(first("Referred-By"), Some("<sip:voice-gateway@127.0.0.2>"));
        assert_eq!((refer.headers.count("Via"), refer.body.len()), (1, 0));
        if place == HeaderPlace::Fields {
            assert_eq!(first("X-A"), Some("b cVia: evil"), "one line");
        }
    }
}

#[test]
fn progress_is_told_once_and_the_end_of_it_ends_the_subscription() {
    let (mut desk, refer, tag) = referring();
    assert!(desk.receive(&answer(&refer, "202 Accepted", "")).is_empty());
    assert_eq!(referrals(&desk), [Referral::Accepted]);
    assert_eq!(desk.codes(&notify(&tag, 2, ACTIVE, "SIP/2.0 100 Trying\r\n")), [200]);
    assert_eq!(desk.codes(&notify(&tag, 2, ACTIVE, "SIP/2.0 100 Trying\r\n")), [200], "a retransmission");
    assert_eq!(desk.codes(&notify(&tag, 3, ACTIVE, "SIP/2.0 180 Ringing")), [200]);
    assert_eq!(referrals(&desk), [Referral::Accepted]);
    assert_eq!(desk.codes(&notify(&tag, 5, OVER, "SIP/2.0 200 OK\r\n")), [200]);
    assert_eq!(referrals(&desk), [Referral::Accepted, Referral::Tried(200)]);
    assert_eq!(desk.codes(&notify(&tag, 4, ACTIVE, "SIP/2.0 183 Late")), [500], "out of order");
    assert_eq!(desk.codes(&notify(&tag, 5, OVER, "SIP/2.0 200 OK\r\n")), [200], "a retransmission of the last");
    assert_eq!(desk.codes(&notify(&tag, 6, OVER, "SIP/2.0 200 OK\r\n")), [481], "the subscription is over");
    assert_eq!(referrals(&desk).len(), 2);
}

#[test]
fn a_notify_may_overtake_the_2xx_or_be_all_that_comes() {
    let (mut desk, refer, tag) = referring();
    assert_eq!(desk.codes(&notify(&tag, 2, ACTIVE, "SIP/2.0 100 Trying")), [200]);
    desk.receive(&answer(&refer, "202 Accepted", ""));
    assert_eq!(referrals(&desk), [Referral::Accepted]);

    let (mut desk, refer, tag) = referring();
    assert_eq!(desk.codes(&notify(&tag, 2, OVER, "SIP/2.0 200 OK")), [200]);
    desk.receive(&answer(&refer, "202 Accepted", ""));
    assert_eq!(referrals(&desk), [Referral::Tried(200)], "the 202 is no news then");

    // The answer to the REFER is lost for ever: the reports count.
    let (mut desk, _, tag) = referring();
    desk.codes(&notify(&tag, 2, ACTIVE, "SIP/2.0 100 Trying"));
    desk.wait(Duration::from_secs(40));
    assert_eq!(referrals(&desk), [Referral::Accepted]);
    desk.codes(&notify(&tag, 3, OVER, "SIP/2.0 486 Busy Here"));
    assert_eq!(referrals(&desk), [Referral::Accepted, Referral::Tried(486)]);
}

#[test]
fn answers_to_the_refer_itself_are_told() {
    for (status, more, told) in [
        ("202 Accepted", "", Referral::Accepted),
        ("200 OK", "", Referral::Accepted),
        ("200 OK", "Refer-Sub: true\r\n", Referral::Accepted),
        ("202 Accepted", "Refer-Sub: False ;x\r\n", Referral::Unreported),
        ("302 Moved", "", Referral::Refused(302)),
        ("405 Method Not Allowed", "", Referral::Refused(405)),
        ("481 Gone", "", Referral::Refused(481)),
        ("501 Not Implemented", "", Referral::Refused(501)),
        ("603 Decline", "", Referral::Refused(603)),
    ] {
        let (mut desk, refer, tag) = referring();
        desk.receive(&answer(&refer, "100 Trying", ""));
        assert!(referrals(&desk).is_empty());
        desk.receive(&answer(&refer, status, more));
        desk.receive(&answer(&refer, status, more));
        assert_eq!(referrals(&desk), [told], "{status}");
        let open = if told == Referral::Accepted { 200 } else { 481 };
        assert_eq!(desk.codes(&notify(&tag, 2, ACTIVE, "SIP/2.0 180 Ringing")), [open], "{status}");
    }
    let (mut desk, ..) = referring();
    desk.wait(Duration::from_secs(33));
    assert_eq!(referrals(&desk), [Referral::Refused(408)], "nobody answers");
}

#[test]
fn what_is_no_report_on_our_refer_is_refused_and_tells_the_call_nothing() {
    let sipfrag = "Content-Type: message/sipfrag\r\n";
    let active = format!("Subscription-State: active\r\n{sipfrag}");
    let noise = "\u{1}\u{2}".repeat(500);
    for (more, body, code) in [
        (active.clone(), "SIP/2.0 200 OK", 489),
        (format!("Event: presence\r\n{active}"), "SIP/2.0 200 OK", 489),
        (format!("Event: referral\r\n{active}"), "SIP/2.0 200 OK", 489),
        (format!("Event: refer;id=99\r\n{active}"), "SIP/2.0 200 OK", 481),
        (format!("Event: refer\r\n{active}"), "hello", 400),
        (format!("Event: refer\r\n{active}"), "SIP/2.0 9999999999999999999 OK", 400),
        (format!("Event: refer\r\n{active}"), noise.as_str(), 400),
        (format!("Event: refer\r\n{active}Content-Encoding: gzip\r\n"), "SIP/2.0 200 OK", 415),
        ("Event: refer\r\nContent-Type: text/html\r\n".to_owned(), "SIP/2.0 200 OK", 415),
    ] {
        let (mut desk, _, tag) = referring();
        let text = notify(&tag, 2, &more, body);
        let response = desk.response(&text);
        assert_eq!(response.code, code, "{more} {body}");
        assert_eq!(desk.response(&text).code, code, "a retransmission");
        assert!(referrals(&desk).is_empty(), "{more} {body}");
        match code {
            489 => assert_eq!(response.headers.first("Allow-Events"), Some("refer")),
            415 => assert_eq!(response.headers.first("Accept"), Some("message/sipfrag")),
            400 => assert!(response.reason.contains("NOTIFY"), "{}", response.reason),
            _ => {}
        }
    }
    let mut desk = Desk::new(settings());
    let tag = desk.establish("c");
    assert_eq!(desk.codes(&notify(&tag, 2, OVER, "SIP/2.0 200 OK")), [481], "no REFER was sent");
    assert_eq!(desk.codes(&sip_support::bare("NOTIFY", "d", "z9hG4bKx", 1, ACTIVE)), [481], "no dialog");
}

#[test]
fn reports_of_careless_peers_are_understood() {
    for (more, body, told) in [
        ("o: REFER;id=1\r\n", "SIP/2.0 200 OK", Some(Referral::Tried(200))),
        ("Event: refer\r\nSubscription-State: active\r\n", "SIP/2.0 503 No", Some(Referral::Tried(503))),
        ("Event: refer\r\nSubscription-State: Terminated ; reason=timeout\r\n", "", Some(Referral::Unfinished)),
        (OVER, "SIP/2.0 100 Trying", Some(Referral::Unfinished)),
        ("Event: refer;;\r\nSubscription-State: pending\r\n", "", Some(Referral::Accepted)),
    ] {
        let (mut desk, _, tag) = referring();
        assert_eq!(desk.codes(&notify(&tag, 2, more, body)), [200], "{more} {body}");
        assert_eq!(referrals(&desk), Vec::from_iter(told), "{more} {body}");
    }
}

#[test]
fn a_flood_of_reports_tells_the_call_no_more_than_two_things() {
    let (mut desk, _, tag) = referring();
    for cseq in 2..2_000 {
        let body = format!("SIP/2.0 {} Again", 100 + cseq % 100);
        assert_eq!(desk.codes(&notify(&tag, cseq, ACTIVE, &body)), [200]);
    }
    assert_eq!(referrals(&desk), [Referral::Accepted]);
    assert!(desk.endpoint.transactions() < 32, "{}", desk.endpoint.transactions());
}

#[test]
fn a_second_refer_has_reports_of_its_own() {
    let (mut desk, refer, tag) = referring();
    desk.receive(&answer(&refer, "202 Accepted", ""));
    let second = requests(&desk.order(refer_to("sip:b@h", HeaderPlace::Fields))).pop().unwrap();
    assert_eq!(second.headers.first("CSeq"), Some("2 REFER"));
    let of_first = ACTIVE.replace("Event: refer", "Event: refer;id=1");
    assert_eq!(desk.codes(&notify(&tag, 2, &of_first, "SIP/2.0 200 OK")), [481]);
    let of_second = ACTIVE.replace("Event: refer", "Event: refer;id=2");
    assert_eq!(desk.codes(&notify(&tag, 3, &of_second, "SIP/2.0 200 OK")), [200]);
    assert_eq!(referrals(&desk), [Referral::Accepted, Referral::Tried(200)]);
}

#[test]
fn a_leg_that_leaves_refers_nobody_and_is_reported_nothing() {
    let (mut desk, _, tag) = referring();
    desk.order(LegCommand::Bye { headers: Vec::new() });
    assert!(desk.order(refer_to("sip:b@h", HeaderPlace::Fields)).is_empty());
    assert_eq!(desk.codes(&notify(&tag, 2, OVER, "SIP/2.0 200 OK")), [481]);
    assert!(referrals(&desk).is_empty());
    desk.wait(Duration::from_secs(40));
    assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (0, 0), "nothing is remembered");
}

#[test]
fn a_peer_that_takes_no_refer_says_so_whatever_a_fifth_of_loss_does() {
    for seed in 0..100 {
        let mut sim = Sim::new(seed);
        sim.dial();
        sim.run(Duration::from_secs(5));
        (sim.loss, sim.duplication, sim.delay) = (0.2, 0.1, 1..300);
        let leg = sim.callee_leg();
        sim.order(Side::Callee, leg, refer_to("sip:a@h", HeaderPlace::Fields));
        sim.run(Duration::from_secs(60));
        let told: Vec<_> =
            sim.callee_events.iter().filter(|(_, event)| matches!(event, LegEvent::Referral(_))).collect();
        assert!(matches!(told[..], [(_, LegEvent::Referral(Referral::Refused(405)))]), "seed {seed}: {told:?}");
    }
}

/// A peer that takes the REFER and reports 100, 180 and 200, each NOTIFY repeated by timer E until its answer, over a network
/// that loses, doubles and delays.
struct Transferee {
    desk: Desk,
    rng: fastrand::Rng,
    tag: String,
    /// What arrives when: at the gateway (true) or at the peer.
    flight: BTreeMap<(u64, u64), (bool, String)>,
    sent: u64,
    clock: u64,
    /// The next report, and when it is sent (again).
    report: u32,
    due: Option<(u64, u64)>,
}

impl Transferee {
    const REPORTS: [&'static str; 3] = ["SIP/2.0 100 Trying\r\n", "SIP/2.0 180 Ringing\r\n", "SIP/2.0 200 OK\r\n"];

    fn new(seed: u64) -> Self {
        let mut desk = Desk::new(settings());
        let tag = desk.establish("c");
        desk.events.clear();
        let rng = fastrand::Rng::with_seed(seed);
        Self { desk, rng, tag, flight: BTreeMap::new(), sent: 0, clock: 0, report: 0, due: None }
    }

    fn transmit(&mut self, to_gateway: bool, text: String) {
        let copies = if self.rng.f64() < 0.25 { 0 } else { 1 + usize::from(self.rng.f64() < 0.15) };
        for _ in 0..copies {
            self.sent += 1;
            self.flight.insert((self.clock + self.rng.u64(1..400), self.sent), (to_gateway, text.clone()));
        }
    }

    fn carry(&mut self, messages: Vec<Message>) {
        for message in messages {
            let text = String::from_utf8(message.to_bytes().to_vec()).unwrap();
            self.transmit(false, text);
        }
    }

    /// The peer gets a message of the gateway.
    fn peer(&mut self, text: &str) {
        if text.starts_with("REFER") {
            let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
            let parsed = voice_gateway::sip::message::parse(&bytes, voice_gateway::sip::message::Framing::Stream);
            let Ok(Message::Request(refer)) = parsed else { panic!("{text}") };
            self.transmit(true, answer(&refer, "202 Accepted", ""));
            if self.report == 0 {
                self.report = 1;
                self.due = Some((self.clock, 500));
            }
        } else if text.starts_with("SIP/2.0 200") && text.contains(&format!("CSeq: {} NOTIFY", self.report + 1)) {
            self.report += 1;
            self.due = (self.report <= 3).then_some((self.clock + 1_000, 500));
        }
    }

    fn run(mut self) -> (Vec<Referral>, bool) {
        let sent = self.desk.order(refer_to("sip:a@h", HeaderPlace::Fields));
        self.carry(sent);
        while self.clock < 60_000 {
            self.clock += 1;
            let due: Vec<_> = self.flight.range(..(self.clock + 1, 0)).map(|(at, _)| *at).collect();
            for at in due {
                let (to_gateway, text) = self.flight.remove(&at).unwrap();
                if to_gateway {
                    let out = self.desk.receive(&text);
                    self.carry(out);
                } else {
                    self.peer(&text);
                }
            }
            if let Some((at, interval)) = self.due.filter(|(at, _)| *at <= self.clock) {
                let index = usize::try_from(self.report - 1).unwrap();
                let text =
                    notify(&self.tag, self.report + 1, if index == 2 { OVER } else { ACTIVE }, Self::REPORTS[index]);
                self.transmit(true, text);
                self.due = Some((at + interval, (interval * 2).min(4_000)));
            }
            let out = self.desk.wait(Duration::from_millis(1));
            self.carry(out);
        }
        (referrals(&self.desk), self.report > 3)
    }
}

#[test]
fn reports_reach_the_call_in_order_and_once_whatever_a_quarter_of_loss_does() {
    for seed in 0..60 {
        let (told, answered) = Transferee::new(seed).run();
        assert_eq!(told, [Referral::Accepted, Referral::Tried(200)], "seed {seed}");
        assert!(answered, "seed {seed}: the last report was never answered");
    }
}
