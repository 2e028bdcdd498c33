//! Session timers (RFC 4028) on simulated time: what is agreed, who refreshes, and what becomes of a peer that is gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use sip_support::{Desk, SDP, SDP_TYPE, Side, Sim, invite, requests, sdp, sdp_text, settings, tag_of, within};
use std::time::Duration;
use voice_gateway::sip::message::{Message, Method, Request, Response};
use voice_gateway::sip::{DialEvent, LegCommand, LegEvent, Settings, Transport};

const HOUR: u64 = 3600;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn timed(interval: u64) -> Settings {
    Settings { session_expires: seconds(interval), ..settings() }
}

fn answered(desk: &mut Desk, more: &str) -> Response {
    assert_eq!(desk.codes(&invite("c", "z9hG4bKinv", 1, more)), [100]);
    let messages = desk.order(LegCommand::Answer { sdp: sdp(), headers: Vec::new() });
    let [Message::Response(ok)] = &messages[..] else { panic!("{messages:?}") };
    assert!(desk.receive(&within("ACK", "c", "z9hG4bKack", 1, &tag_of(ok), "", "")).is_empty());
    ok.clone()
}

fn one(messages: &[Message]) -> Request {
    let mut requests = requests(messages);
    requests.dedup();
    let [request] = requests.try_into().unwrap_or_else(|all| panic!("{all:?}"));
    request
}

fn reply(request: &Request, code: u16, more: &str, body: &str) -> String {
    let first = |name| request.headers.first(name).unwrap();
    format!(
        "SIP/2.0 {code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}Content-Length: {}\r\n\r\n{body}",
        first("Via"),
        first("From"),
        first("To"),
        first("Call-ID"),
        first("CSeq"),
        body.len()
    )
}

#[test]
fn what_is_agreed_stands_in_the_2xx() {
    for (more, expires, require) in [
        ("Supported: timer\r\nSession-Expires: 600\r\n", Some("600;refresher=uac"), Some("timer")),
        ("k: timer\r\nx: 7200;refresher=uas\r\n", Some("1800;refresher=uas"), Some("timer")),
        ("Session-Expires: 600\r\n", Some("600;refresher=uas"), None),
        ("Require: timer\r\n", Some("1800;refresher=uac"), Some("timer")),
        ("", None, None),
    ] {
        let ok = answered(&mut Desk::new(settings()), more);
        assert_eq!((ok.headers.first("Session-Expires"), ok.headers.first("Require")), (expires, require), "{more}");
        assert_eq!(ok.headers.first("Supported"), Some("100rel, timer"));
    }
    let mut desk = Desk::new(settings());
    let small = desk.response(&invite("c", "z9hG4bK1", 1, "Supported: timer\r\nSession-Expires: 30\r\n"));
    assert_eq!((small.code, small.headers.first("Min-SE")), (422, Some("90")));
    let mut off = Desk::new(timed(0));
    assert_eq!(off.codes(&invite("d", "z9hG4bK2", 1, "Require: timer\r\n")), [420]);
    let ok = answered(&mut off, "Supported: timer\r\nSession-Expires: 600\r\n");
    assert_eq!((ok.headers.first("Session-Expires"), ok.headers.first("Supported")), (None, Some("100rel")));
    assert!(off.wait(seconds(HOUR)).is_empty());
}

#[test]
fn a_caller_that_refreshes_is_kept_and_one_that_does_not_is_hung_up_in_time() {
    let mut desk = Desk::new(settings());
    let ok = answered(&mut desk, "Supported: timer\r\nSession-Expires: 600\r\n");
    let tag = tag_of(&ok);
    for round in 0..100u32 {
        assert!(desk.wait(seconds(500)).is_empty(), "round {round}");
        let cseq = 2 + round;
        let more = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n";
        let branch = format!("z9hG4bKr{round}");
        if round % 2 == 0 {
            let refreshed = desk.response(&within("UPDATE", "c", &branch, cseq, &tag, more, ""));
            assert_eq!(refreshed.headers.first("Session-Expires"), Some("600;refresher=uac"));
        } else {
            let reinvite = within("INVITE", "c", &branch, cseq, &tag, &format!("{SDP_TYPE}{more}"), sdp_text());
            assert_eq!(desk.codes(&reinvite), [100]);
            let sent = desk.order(LegCommand::AnswerReinvite { sdp: sdp() });
            let [Message::Response(refreshed)] = &sent[..] else { panic!("{sent:?}") };
            assert_eq!(refreshed.headers.first("Session-Expires"), Some("600;refresher=uac"));
            desk.receive(&within("ACK", "c", &branch, cseq, &tag, "", ""));
        }
    }
    assert!(desk.wait(seconds(567)).is_empty());
    let bye = one(&desk.wait(seconds(1)));
    assert_eq!(bye.method, Method::Bye);
    assert_eq!(bye.headers.first("Reason"), Some("SIP;cause=408;text=\"session timer expired\""));
    assert_eq!(desk.events.last(), Some(&LegEvent::Expired));
}

#[test]
fn a_refresh_too_short_is_refused_and_the_call_goes_on() {
    let mut desk = Desk::new(settings());
    let ok = answered(&mut desk, "Supported: timer\r\nSession-Expires: 600\r\n");
    let more = "Supported: timer\r\nSession-Expires: 60\r\n";
    let refused = desk.response(&within("UPDATE", "c", "z9hG4bK2", 2, &tag_of(&ok), more, ""));
    assert_eq!((refused.code, refused.headers.first("Min-SE")), (422, Some("90")));
    assert_eq!(desk.endpoint.active(), 1);
}

#[test]
fn our_refresh_is_an_update_at_half_time_where_the_peer_takes_it() {
    let mut desk = Desk::new(settings());
    answered(&mut desk, "Allow: INVITE, UPDATE\r\nSupported: timer\r\nSession-Expires: 600;refresher=uas\r\n");
    for _ in 0..50 {
        assert!(desk.wait(seconds(299)).is_empty());
        let update = one(&desk.wait(seconds(1)));
        assert_eq!((update.method.clone(), update.body.len()), (Method::Update, 0));
        assert_eq!(update.headers.first("Session-Expires"), Some("600;refresher=uac"));
        assert_eq!(update.headers.first("Supported"), Some("100rel, timer"));
        desk.receive(&reply(&update, 200, "Session-Expires: 600;refresher=uac\r\n", ""));
    }
    // The peer takes the part over, and then forgets it.
    let update = one(&desk.wait(seconds(300)));
    desk.receive(&reply(&update, 200, "Session-Expires: 300;refresher=uas\r\n", ""));
    let bye = one(&desk.wait(seconds(268)));
    assert_eq!(bye.method, Method::Bye);
}

#[test]
fn without_update_our_refresh_is_a_reinvite_with_the_same_description() {
    let mut desk = Desk::new(settings());
    answered(&mut desk, "Session-Expires: 600\r\n");
    let first = desk.wait(seconds(300));
    let reinvite = one(&first);
    assert_eq!((reinvite.method.clone(), &reinvite.body[..]), (Method::Invite, SDP));
    let more = format!("{SDP_TYPE}Contact: <sip:b@127.0.0.1:5070>\r\n");
    let ok = reply(&reinvite, 200, &more, sdp_text());
    let ack = one(&desk.receive(&ok));
    assert_eq!(ack.headers.first("CSeq").unwrap(), &reinvite.headers.first("CSeq").unwrap().replace("INVITE", "ACK"));
    assert_eq!(ack.uri, "sip:b@127.0.0.1:5070", "the peer's Contact has moved");
    assert_eq!(desk.events.last(), Some(&LegEvent::Refreshed { sdp: sdp() }));
    assert_eq!(one(&desk.receive(&ok)), ack, "its repetition gets the same ACK");
    // Without Session-Expires in it nothing ends, and refreshing goes on.
    let again = one(&desk.wait(seconds(300)));
    assert_eq!(again.method, Method::Invite);
    assert_eq!(desk.codes(&within("INVITE", "c", "z9hG4bKg", 2, &tag(&again), SDP_TYPE, sdp_text())), [491]);
}

#[test]
fn what_a_refresh_is_answered_decides() {
    let started = || {
        let mut desk = Desk::new(settings());
        answered(&mut desk, "Allow: UPDATE\r\nSupported: timer\r\nSession-Expires: 600;refresher=uas\r\n");
        let update = one(&desk.wait(seconds(300)));
        (desk, update)
    };
    for code in [408, 481] {
        let (mut desk, update) = started();
        let bye = one(&desk.receive(&reply(&update, code, "", "")));
        assert_eq!((bye.method, desk.events.last()), (Method::Bye, Some(&LegEvent::Expired)), "{code}");
    }
    let (mut desk, _) = started();
    let sent = desk.wait(seconds(33));
    assert_eq!(requests(&sent).last().unwrap().method, Method::Bye, "nobody answers");
    for code in [405, 501] {
        let (mut desk, update) = started();
        assert_eq!(one(&desk.receive(&reply(&update, code, "", ""))).method, Method::Invite, "{code}");
    }
    let (mut desk, update) = started();
    let longer = one(&desk.receive(&reply(&update, 422, "Min-SE: 900\r\n", "")));
    assert_eq!(longer.headers.first("Session-Expires"), Some("900;refresher=uac"));
    for (code, more, least, most) in [
        (491, "", 0, 2000),
        (500, "Retry-After: 60 (busy)\r\n", 59_000, 60_000),
        (500, "", 29_000, 30_000),
        (503, "Retry-After: 86400\r\n", 299_000, 300_000),
        (422, "Min-SE: 90\r\n", 29_000, 30_000),
        (401, "", 29_000, 30_000),
    ] {
        let (mut desk, update) = started();
        assert!(desk.receive(&reply(&update, code, more, "")).is_empty());
        assert!(desk.wait(Duration::from_millis(least)).is_empty(), "{code}");
        let again = one(&desk.wait(Duration::from_millis(most - least)));
        assert_eq!(again.method, Method::Update, "{code}");
    }
    // Whoever refuses for ever is there for ever.
    let (mut desk, mut update) = started();
    for _ in 0..1000 {
        desk.receive(&reply(&update, 500, "", ""));
        update = one(&desk.wait(seconds(30)));
    }
    assert_eq!(desk.endpoint.active(), 1);
}

#[test]
fn a_refresh_and_a_bye_that_cross_end_the_call() {
    let mut desk = Desk::new(settings());
    let ok = answered(&mut desk, "Session-Expires: 600\r\n");
    let reinvite = one(&desk.wait(seconds(300)));
    assert_eq!(desk.codes(&within("BYE", "c", "z9hG4bKb", 2, &tag_of(&ok), "", "")), [200]);
    let ack = one(&desk.receive(&reply(&reinvite, 487, "", "")));
    assert_eq!(ack.method, Method::Ack);
    assert!(requests(&desk.wait(seconds(100))).is_empty());
    assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (0, 0));

    let mut desk = Desk::new(settings());
    answered(&mut desk, "Session-Expires: 600\r\n");
    let reinvite = one(&desk.wait(seconds(300)));
    let bye = one(&desk.order(LegCommand::Bye { headers: Vec::new() }));
    let sent = desk.receive(&reply(&reinvite, 200, SDP_TYPE, sdp_text()));
    assert_eq!(one(&sent).method, Method::Ack, "a 2xx behind our BYE has its ACK");
    desk.receive(&reply(&bye, 200, "", ""));
    assert_eq!(desk.events.last(), Some(&LegEvent::Ended));
    desk.wait(seconds(200));
    assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (0, 0));
}

/// "A call is never dropped at 15 or 30 minutes because of us."
#[test]
fn eight_hours_with_loss_are_one_call() {
    for seed in 0..60u64 {
        let refresher = if seed % 2 == 0 { "uac" } else { "uas" };
        let mut sim = Sim::between(timed(1800), timed(1800), Transport::Udp, seed);
        (sim.loss, sim.duplication, sim.delay) = (0.1, 0.1, 1..300);
        if seed % 4 < 2 {
            sim.rewrite = |text| text.replace("INFO, UPDATE", "INFO");
        }
        let headers = vec![("Session-Expires".to_owned(), format!("{};refresher={refresher}", 180 + seed * 27))];
        sim.dial_with(headers);
        sim.run(seconds(8 * HOUR));
        let ended = |events: usize| assert_eq!(events, 0, "seed {seed}");
        ended(sim.caller_events.iter().filter(|(_, e)| matches!(e, DialEvent::Bye { .. } | DialEvent::Ended)).count());
        ended(sim.callee_events.iter().filter(|(_, e)| matches!(e, LegEvent::Expired | LegEvent::Ended)).count());
        let refreshes = if seed % 4 < 2 { "INVITE" } else { "UPDATE" };
        let refresher = if seed % 2 == 0 { Side::Caller } else { Side::Callee };
        assert!(sim.times(refresher, refreshes).len() >= 30, "seed {seed}: {refreshes}");
        let callee = sim.callee_leg();
        sim.order(Side::Callee, callee, LegCommand::Bye { headers: Vec::new() });
        sim.run(seconds(8 * HOUR + 200));
        assert!(sim.forgotten(), "seed {seed}");
    }
}

#[test]
fn a_peer_that_is_gone_is_noticed_by_both_whoever_refreshes() {
    for (seed, refresher) in [(1, "uac"), (2, "uas")] {
        let mut sim = Sim::new(seed);
        sim.filter = Box::new(|wire| wire.at > seconds(1000));
        sim.dial_with(vec![("Session-Expires".to_owned(), format!("600;refresher={refresher}"))]);
        sim.run(seconds(1000 + 600 + 64));
        assert!(matches!(sim.callee_events.last(), Some((_, LegEvent::Ended))), "{:?}", sim.callee_events);
        assert!(matches!(sim.caller_events.last(), Some((_, DialEvent::Ended))), "{:?}", sim.caller_events);
        sim.run(seconds(2000));
        assert!(sim.forgotten());
    }
}

/// Our tag, in a request of ours.
fn tag(request: &Request) -> String {
    request.headers.first("From").unwrap().rsplit_once("tag=").unwrap().1.to_owned()
}
