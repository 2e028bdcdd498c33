//! What a trunk expects beyond RFC 3261: reliable provisional responses (RFC 3262), UPDATE (RFC 3311), bounded changes, Reason
//! (RFC 3326, RFC 6432).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use sip_support::{
    Desk, Policy, SDP, SDP_TYPE, Side, Sim, answer, bare, bye, codes, invite, requests, sdp, sdp_text, settings,
    tag_of, within,
};
use std::time::Duration;
use voice_gateway::sip::message::{Message, Method, Response};
use voice_gateway::sip::{DialEvent, Input, LegCommand, LegEvent, Transport};

const RELIABLY: &str = "Require: 100rel\r\n";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn only(messages: &[Message]) -> Response {
    let [Message::Response(response)] = messages else { panic!("{messages:?}") };
    response.clone()
}

/// A desk that rang reliably, the 180's tag and its RSeq.
fn ringing() -> (Desk, String, u32) {
    let mut desk = Desk::new(settings());
    assert_eq!(desk.codes(&invite("c", "z9hG4bK1", 1, RELIABLY)), [100]);
    let rung = only(&desk.order(LegCommand::Ring));
    assert_eq!((rung.code, rung.headers.first("Require")), (180, Some("100rel")));
    let rseq = rung.headers.first("RSeq").unwrap().parse().unwrap();
    (desk, tag_of(&rung), rseq)
}

fn prack(tag: &str, cseq: u32, rack: &str) -> String {
    within("PRACK", "c", &format!("z9hG4bKp{cseq}"), cseq, tag, &format!("RAck: {rack}\r\n"), "")
}

#[test]
fn a_required_180_is_repeated_until_its_prack_and_the_answer_waits_for_it() {
    let (mut desk, tag, rseq) = ringing();
    assert!(desk.order(LegCommand::Ring).is_empty(), "one at a time");
    assert!(desk.order(answer()).is_empty());
    assert_eq!(codes(&desk.wait(Duration::from_millis(3500))), [180, 180, 180], "at 0.5, 1.5 and 3.5 s");
    let strays = [format!("{} 1 INVITE", rseq + 1), format!("{rseq} 2 INVITE"), format!("{rseq} 1 BYE"), String::new()];
    for (cseq, stray) in (2..).zip(strays) {
        assert_eq!(desk.codes(&prack(&tag, cseq, &stray)), [481], "{stray}");
    }
    let right = prack(&tag, 40, &format!("{rseq} 1 INVITE"));
    assert_eq!(desk.codes(&right), [200, 200], "PRACK, then the INVITE that waited");
    assert_eq!(desk.codes(&right), [200], "a repetition of the PRACK");
    assert_eq!(desk.codes(&prack(&tag, 41, &format!("{rseq} 1 INVITE"))), [481], "it is acknowledged already");
    desk.receive(&within("ACK", "c", "z9hG4bKa", 1, &tag, "", ""));
    assert_eq!(desk.events, [LegEvent::Acknowledged { sdp: None }]);
    assert!(desk.wait(seconds(100)).is_empty());
}

#[test]
fn without_prack_the_invite_fails_with_504() {
    for answered in [false, true] {
        let (mut desk, _, _) = ringing();
        if answered {
            desk.order(answer());
        }
        let sent = desk.wait(seconds(32));
        let all = codes(&sent);
        assert_eq!((&all[..all.len() - 1], all.last()), (&[180; 6][..], Some(&504)), "answered {answered}");
        let expected: &[LegEvent] =
            if answered { &[LegEvent::NeverAcknowledged, LegEvent::Ended] } else { &[LegEvent::Ended] };
        assert_eq!(desk.events, expected);
        desk.wait(seconds(100));
        assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (0, 0));
    }
}

#[test]
fn cancel_and_a_refusal_need_no_prack() {
    let (mut desk, tag, rseq) = ringing();
    desk.order(answer());
    assert_eq!(desk.codes(&bare("CANCEL", "c", "z9hG4bK1", 1, "")), [200, 487]);
    assert_eq!(desk.events, [LegEvent::Cancelled, LegEvent::Ended]);
    assert_eq!(desk.codes(&prack(&tag, 2, &format!("{rseq} 1 INVITE"))), [481]);
    assert!(codes(&desk.wait(seconds(100))).iter().all(|code| *code == 487));

    let (mut desk, ..) = ringing();
    let busy = LegCommand::Reject { code: 486, reason: String::new(), headers: Vec::new() };
    assert_eq!(codes(&desk.order(busy)), [486]);
    assert!(codes(&desk.wait(seconds(100))).iter().all(|code| *code == 486));
    assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (0, 0));
}

#[test]
fn an_offer_in_prack_is_refused_and_the_call_goes_on() {
    let (mut desk, tag, rseq) = ringing();
    desk.order(answer());
    let more = format!("RAck: {rseq} 1 INVITE\r\n{SDP_TYPE}");
    assert_eq!(desk.codes(&within("PRACK", "c", "z9hG4bKp", 2, &tag, &more, sdp_text())), [488, 200]);
}

#[test]
fn who_only_supports_it_is_rung_as_ever_and_a_late_offer_gets_no_180() {
    let mut desk = Desk::new(settings());
    desk.codes(&invite("c", "z9hG4bK1", 1, "Supported: 100rel\r\n"));
    let rung = only(&desk.order(LegCommand::Ring));
    assert_eq!((rung.headers.first("RSeq"), rung.headers.first("Require")), (None, None));
    let mut desk = Desk::new(settings());
    desk.codes(&bare("INVITE", "c", "z9hG4bK1", 1, "Require: 100rel\r\nContact: <sip:a@127.0.0.1:5070>\r\n"));
    assert!(desk.order(LegCommand::Ring).is_empty(), "it would have to carry our offer (RFC 3261 section 13.2.1)");
    assert_eq!(codes(&desk.order(answer())), [200]);
}

#[test]
fn an_update_before_the_answer_waits_for_it() {
    let mut desk = Desk::new(settings());
    desk.codes(&invite("c", "z9hG4bK1", 1, ""));
    let tag = tag_of(&only(&desk.order(LegCommand::Ring)));
    let refused = desk.response(&within("UPDATE", "c", "z9hG4bK2", 2, &tag, SDP_TYPE, sdp_text()));
    assert_eq!(refused.code, 500);
    assert!(refused.headers.first("Retry-After").unwrap().parse::<u32>().unwrap() <= 10);
    assert_eq!(desk.codes(&within("UPDATE", "c", "z9hG4bK3", 3, &tag, "", "")), [200], "without an offer it refreshes");
    assert_eq!(codes(&desk.order(answer())), [200]);
    assert!(desk.events.is_empty());
}

#[test]
fn a_storm_of_changes_or_keys_is_bounded_and_the_call_stays() {
    let mut desk = Desk::new(settings());
    let tag = desk.establish("c");
    let mut taken = 0;
    for cseq in 2..502u32 {
        let reinvite = within("INVITE", "c", &format!("z9hG4bKs{cseq}"), cseq, &tag, SDP_TYPE, sdp_text());
        match &desk.receive(&reinvite)[..] {
            [Message::Response(trying)] if trying.code == 100 => {
                taken += 1;
                desk.order(LegCommand::AnswerReinvite { sdp: sdp() });
                desk.receive(&within("ACK", "c", &format!("z9hG4bKa{cseq}"), cseq, &tag, "", ""));
            }
            [Message::Response(refused)] => {
                assert_eq!((refused.code, refused.headers.first("Retry-After")), (500, Some("1")));
                desk.receive(&within("ACK", "c", &format!("z9hG4bKs{cseq}"), cseq, &tag, "", ""));
            }
            other => panic!("{other:?}"),
        }
        desk.wait(Duration::from_millis(10));
    }
    assert!((5..=35).contains(&taken), "{taken} in five seconds");
    let mut keys = 0;
    for cseq in 600..800u32 {
        let info =
            within("INFO", "c", &format!("z9hG4bKi{cseq}"), cseq, &tag, "Content-Type: application/dtmf\r\n", "5");
        keys += usize::from(desk.codes(&info) == [200]);
    }
    assert_eq!(keys, 20);
    assert_eq!(desk.endpoint.active(), 1);
    assert!(desk.endpoint.transactions() <= 17, "{}", desk.endpoint.transactions());
    desk.wait(seconds(2));
    assert_eq!(desk.codes(&within("INVITE", "c", "z9hG4bKz", 900, &tag, SDP_TYPE, sdp_text())), [100]);
}

#[test]
fn every_final_error_and_every_bye_says_why() {
    let mut desk = Desk::new(settings());
    for (text, code, cause) in [
        (bare("BYE", "a", "z9hG4bK1", 1, ""), 481, "Q.850;cause=41"),
        (bare("REGISTER", "a", "z9hG4bK2", 1, ""), 405, "Q.850;cause=79"),
        (bare("FOO", "a", "z9hG4bK3", 1, ""), 501, "Q.850;cause=79"),
        (invite("b", "z9hG4bK4", 1, "Require: x\r\n"), 420, "Q.850;cause=127"),
        (invite("b", "z9hG4bK5", 1, "CSeq: 2 INVITE\r\n"), 400, "Q.850;cause=41"),
        (invite("b", "z9hG4bK6", 1, "").replace("INVITE sip:", "INVITE http:"), 416, "Q.850;cause=127"),
        (invite("b", "z9hG4bK7", 1, "Content-Encoding: gzip\r\n"), 415, "Q.850;cause=79"),
        (long_body(), 413, "Q.850;cause=127"),
    ] {
        let response = desk.response(&text);
        assert_eq!((response.code, response.headers.first("Reason")), (code, Some(cause)));
    }
    desk.codes(&invite("d", "z9hG4bK8", 1, ""));
    let own = vec![("Reason".to_owned(), "Q.850;cause=34".to_owned())];
    let refused = only(&desk.order(LegCommand::Reject { code: 503, reason: String::new(), headers: own }));
    assert_eq!(refused.headers.list("Reason"), ["Q.850;cause=34"], "the call's own word stands");
    desk.establish("e");
    let sent = requests(&desk.order(bye()));
    assert_eq!(sent[0].headers.first("Reason"), Some("Q.850;cause=16;text=\"normal call clearing\""));
}

fn long_body() -> String {
    let body = format!("{}a=x:{}\r\n", sdp_text(), "y".repeat(20_000));
    let short = format!("Content-Length: {}\r\n\r\n{}", SDP.len(), sdp_text());
    invite("l", "z9hG4bKl", 1, "").replace(&short, &format!("Content-Length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn options_within_a_call_is_answered_by_the_call_even_while_draining() {
    let mut desk = Desk::new(settings());
    let tag = desk.establish("c");
    desk.step(Input::Drain(true));
    let outside = desk.response(&bare("OPTIONS", "o", "z9hG4bK1", 1, ""));
    assert_eq!((outside.code, outside.headers.first("Retry-After")), (503, Some("30")));
    let inside = desk.response(&within("OPTIONS", "c", "z9hG4bK2", 2, &tag, "", ""));
    assert_eq!((inside.code, inside.headers.first("Supported")), (200, Some("100rel, timer")));
}

#[test]
fn a_forked_call_of_ours_keeps_the_first_callee_and_hangs_up_on_the_others() {
    let mut desk = Desk::new(settings());
    let leg = desk.endpoint.reserve_leg();
    let dial = voice_gateway::sip::Dial { uri: "sip:b@127.0.0.1:5070".into(), sdp: sdp(), ..Default::default() };
    let flow = desk.flow;
    let invite = requests(&desk.step(Input::Dial { leg, dial, flow })).remove(0);
    let first = |name: &str| invite.headers.first(name).unwrap().to_owned();
    let reply = |code: u16, tag: &str, more: &str| {
        format!(
            "SIP/2.0 {code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag={tag}\r\nCall-ID: {}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:{tag}@127.0.0.1:5070>\r\n{more}Content-Length: 0\r\n\r\n",
            first("Via"),
            first("From"),
            first("To"),
            first("Call-ID")
        )
    };
    // Each callee rings reliably, in its own early dialog.
    for (tag, rseq, pracked) in [("a", 7, true), ("a", 7, false), ("b", 1, true), ("a", 9, false), ("a", 8, true)] {
        let sent = requests(&desk.receive(&reply(180, tag, &format!("Require: 100rel\r\nRSeq: {rseq}\r\n"))));
        assert_eq!(sent.len(), usize::from(pracked), "{tag} {rseq}");
        if pracked {
            assert_eq!(
                (sent[0].method.clone(), sent[0].uri.clone()),
                (Method::Prack, format!("sip:{tag}@127.0.0.1:5070"))
            );
            assert_eq!(sent[0].headers.first("RAck"), Some(format!("{rseq} 1 INVITE").as_str()));
        }
    }
    let methods = |desk: &mut Desk, text: &str| -> Vec<String> {
        let sent = requests(&desk.receive(text));
        sent.iter().map(|one| format!("{} {}", one.headers.first("CSeq").unwrap(), one.uri)).collect()
    };
    assert_eq!(methods(&mut desk, &reply(200, "b", "")), ["1 ACK sip:b@127.0.0.1:5070"]);
    assert_eq!(methods(&mut desk, &reply(200, "a", "")), ["1 ACK sip:a@127.0.0.1:5070", "5 BYE sip:a@127.0.0.1:5070"]);
    assert_eq!(methods(&mut desk, &reply(200, "b", "")), ["1 ACK sip:b@127.0.0.1:5070"]);
    assert_eq!(desk.endpoint.active(), 1);
}

/// Whatever the network does: both sides agree on the end, nothing is left behind, one INVITE is one session.
#[test]
fn thousands_of_unlucky_calls_end_the_same_on_both_sides() {
    for seed in 0..3000u64 {
        let mut sim = Sim::over(if seed % 7 == 0 { Transport::Tcp } else { Transport::Udp }, seed);
        (sim.loss, sim.duplication, sim.delay) = (0.25, 0.15, 1..400);
        let mut dice = fastrand::Rng::with_seed(seed);
        sim.policy = [Policy::RingAndAnswer, Policy::RingOnly, Policy::Reject(486)][dice.usize(..3)];
        let mut headers = Vec::new();
        if dice.bool() {
            headers.push(("Require".to_owned(), "100rel".to_owned()));
        }
        if dice.bool() {
            headers.push(("Session-Expires".to_owned(), format!("{};refresher=uas", dice.u64(90..400))));
        }
        if dice.bool() {
            sim.rewrite = |text| text.replace("INFO, UPDATE", "INFO");
        }
        let leg = sim.dial_with(headers);
        // Each side does something, at an instant of its own.
        let mut acts = [(Side::Caller, dice.u64(1..600_000)), (Side::Callee, dice.u64(1..600_000))];
        if dice.bool() {
            acts = acts.map(|(side, at)| (side, at / 100));
        }
        acts.sort_by_key(|(_, at)| *at);
        for (side, at) in acts {
            sim.run(Duration::from_millis(at));
            match (side, sim.invites.last().map(|(leg, _)| *leg), dice.u8(..3)) {
                (Side::Caller, ..) => sim.step(Side::Caller, Input::Cancel { leg }),
                (Side::Callee, None, _) => {}
                (Side::Callee, Some(callee), 0) => sim.order(Side::Callee, callee, answer()),
                (Side::Callee, Some(leg), 1) => sim.step(Side::Callee, Input::Abandoned { leg }),
                (Side::Callee, Some(callee), _) => sim.order(Side::Callee, callee, bye()),
            }
        }
        sim.run(seconds(1400));
        let context = || format!("seed {seed}: {:?} {:?}", sim.caller_events, sim.callee_events);
        assert!(sim.forgotten(), "something is remembered for ever: {}", context());
        assert!(sim.invites.len() <= 1, "two sessions for one INVITE: {}", context());
        assert!(matches!(sim.caller_events.last(), Some((_, DialEvent::Ended))), "{}", context());
        let ends = |count: usize| assert_eq!(count, 1, "{}", context());
        ends(sim.caller_events.iter().filter(|(_, e)| *e == DialEvent::Ended).count());
        if !sim.invites.is_empty() {
            assert!(matches!(sim.callee_events.last(), Some((_, LegEvent::Ended))), "{}", context());
            ends(sim.callee_events.iter().filter(|(_, e)| *e == LegEvent::Ended).count());
        }
        let up = sim.caller_events.iter().any(|(_, e)| matches!(e, DialEvent::Answered { .. }));
        let refused = sim.caller_events.iter().any(|(_, e)| matches!(e, DialEvent::Refused { .. }));
        assert!(up != refused, "it was answered or refused, not both: {}", context());
        let acknowledged = sim.callee_events.iter().any(|(_, e)| matches!(e, LegEvent::Acknowledged { .. }));
        assert!(up || !acknowledged, "acknowledged, but not answered: {}", context());
    }
}
