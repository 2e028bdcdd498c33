//! Whole calls between two endpoints on simulated time, over a network that loses, doubles and reorders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use sip_support::{Policy, Side, Sim};
use std::time::Duration;
use voice_gateway::sip::message::{Framing, parse};
use voice_gateway::sip::{DialEvent, Input, LegCommand, LegEvent, Transport};

fn bye() -> LegCommand {
    LegCommand::Bye { headers: vec![("Reason".into(), "SIP;cause=200".into())] }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn count<T>(events: &[(Duration, T)], wanted: impl Fn(&T) -> bool) -> usize {
    events.iter().filter(|(_, event)| wanted(event)).count()
}

#[test]
fn a_call_is_set_up_and_ended_whatever_a_fifth_of_loss_does_to_it() {
    for seed in 0..300 {
        let mut sim = Sim::new(seed);
        (sim.loss, sim.duplication, sim.delay) = (0.2, 0.1, 1..300);
        let leg = sim.dial();
        sim.run(seconds(40));
        let answered = count(&sim.caller_events, |e| matches!(e, DialEvent::Answered { .. }));
        assert_eq!(answered, 1, "seed {seed}: {:?}", sim.caller_events);
        assert_eq!(count(&sim.callee_events, |e| matches!(e, LegEvent::Acknowledged { .. })), 1, "seed {seed}");
        assert_eq!(sim.invites.len(), 1, "seed {seed}: a retransmission is no second call");
        if seed % 2 == 0 {
            sim.order(Side::Caller, leg, bye());
        } else {
            let callee = sim.callee_leg();
            sim.order(Side::Callee, callee, bye());
        }
        sim.run(seconds(200));
        assert!(matches!(sim.caller_events.last(), Some((_, DialEvent::Ended))), "seed {seed}");
        assert!(matches!(sim.callee_events.last(), Some((_, LegEvent::Ended))), "seed {seed}");
        let byes = count(&sim.callee_events, |e| matches!(e, LegEvent::Bye { .. }));
        assert_eq!(byes, usize::from(seed % 2 == 0), "seed {seed}");
        assert!(sim.forgotten(), "seed {seed}: something is remembered for ever");
    }
}

#[test]
fn the_same_seed_replays_the_same_run() {
    let run = || {
        let mut sim = Sim::new(11);
        (sim.loss, sim.duplication, sim.delay) = (0.3, 0.2, 1..500);
        sim.dial();
        sim.run(seconds(60));
        sim.wire.into_iter().map(|wire| (wire.at, wire.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn without_ack_the_2xx_is_repeated_with_t1_to_t2_and_the_call_hung_up_after_64_t1() {
    let mut sim = Sim::new(1);
    sim.filter = Box::new(|wire| wire.line().starts_with("ACK"));
    sim.dial();
    sim.run(seconds(31));
    let expected = [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500];
    let sent: Vec<u64> = sim.times(Side::Callee, "SIP/2.0 200 OK").iter().map(|at| at - 1).collect();
    assert_eq!(sent, expected);
    sim.run(seconds(33));
    assert_eq!(sim.times(Side::Callee, "BYE"), [32_001]);
    let events: Vec<&LegEvent> = sim.callee_events.iter().map(|(_, event)| event).collect();
    assert_eq!(events, [&LegEvent::NeverAcknowledged, &LegEvent::Ended]);
    sim.run(seconds(200));
    assert!(sim.forgotten());
}

#[test]
fn a_bye_ordered_before_the_ack_waits_for_it() {
    let mut sim = Sim::new(1);
    sim.filter = Box::new(|wire| wire.line().starts_with("ACK") && wire.at < seconds(3));
    sim.dial();
    sim.run(Duration::from_millis(100));
    let callee = sim.callee_leg();
    sim.order(Side::Callee, callee, bye());
    sim.run(seconds(3));
    assert!(sim.times(Side::Callee, "BYE").is_empty());
    sim.run(seconds(10));
    assert_eq!(sim.times(Side::Callee, "BYE").len(), 1);
    assert!(matches!(sim.callee_events.last(), Some((_, LegEvent::Ended))));
}

#[test]
fn cancel_while_ringing_ends_the_call_with_487() {
    let mut sim = Sim::new(1);
    sim.policy = Policy::RingOnly;
    let leg = sim.dial();
    sim.run(seconds(1));
    sim.step(Side::Caller, Input::Cancel { leg });
    sim.run(seconds(2));
    let events: Vec<&LegEvent> = sim.callee_events.iter().map(|(_, event)| event).collect();
    assert_eq!(events, [&LegEvent::Cancelled, &LegEvent::Ended]);
    assert_eq!(count(&sim.caller_events, |e| matches!(e, DialEvent::Refused { code: 487, .. })), 1);
    sim.run(seconds(200));
    assert!(sim.forgotten());
}

#[test]
fn a_cancel_that_crosses_the_200_has_no_effect_and_the_caller_hangs_up() {
    for seed in 0..100 {
        let mut sim = Sim::new(seed);
        sim.policy = Policy::RingOnly;
        (sim.loss, sim.delay) = (0.1, 1..200);
        let leg = sim.dial();
        sim.run(seconds(5));
        let callee = sim.callee_leg();
        sim.step(Side::Caller, Input::Cancel { leg });
        sim.order(Side::Callee, callee, LegCommand::Answer { sdp: sip_support::sdp(), headers: Vec::new() });
        sim.run(seconds(300));
        assert!(matches!(sim.callee_events.last(), Some((_, LegEvent::Ended))), "seed {seed}");
        assert!(matches!(sim.caller_events.last(), Some((_, DialEvent::Ended))), "seed {seed}");
        assert_eq!(count(&sim.callee_events, |e| matches!(e, LegEvent::Cancelled)), 0, "seed {seed}");
        assert_eq!(count(&sim.callee_events, |e| matches!(e, LegEvent::Bye { .. })), 1, "seed {seed}");
        assert!(sim.forgotten(), "seed {seed}");
    }
}

#[test]
fn byes_that_cross_end_both_sides() {
    for seed in 0..100 {
        let mut sim = Sim::new(seed);
        let leg = sim.dial();
        sim.run(seconds(1));
        (sim.loss, sim.delay) = (0.2, 1..200);
        let callee = sim.callee_leg();
        sim.order(Side::Caller, leg, bye());
        sim.order(Side::Callee, callee, bye());
        sim.run(seconds(300));
        assert!(matches!(sim.callee_events.last(), Some((_, LegEvent::Ended))), "seed {seed}");
        assert!(matches!(sim.caller_events.last(), Some((_, DialEvent::Ended))), "seed {seed}");
        assert!(sim.forgotten(), "seed {seed}");
    }
}

#[test]
fn refusals_reach_the_caller_and_are_forgotten() {
    for (seed, code) in [302u16, 404, 488, 503, 603].into_iter().enumerate() {
        let mut sim = Sim::new(seed as u64);
        sim.policy = Policy::Reject(code);
        sim.loss = 0.2;
        sim.dial();
        sim.run(seconds(300));
        let refused = |event: &DialEvent| matches!(event, DialEvent::Refused { code: c, .. } if *c == code);
        assert_eq!(count(&sim.caller_events, refused), 1, "{:?}", sim.caller_events);
        assert!(matches!(sim.callee_events.as_slice(), [(_, LegEvent::Ended)]));
        assert!(sim.forgotten());
    }
}

#[test]
fn nobody_there_is_a_408_after_64_t1() {
    let mut sim = Sim::new(1);
    sim.filter = Box::new(|_| true);
    sim.dial();
    sim.run(seconds(40));
    assert_eq!(sim.times(Side::Caller, "INVITE"), [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
    assert!(matches!(&sim.caller_events[..], [(at, DialEvent::Refused { code: 408, .. }), (_, DialEvent::Ended)]
        if *at == seconds(32)));
    assert!(sim.forgotten());
}

#[test]
fn a_call_over_a_stream_repeats_nothing_but_leaves_nothing() {
    let mut sim = Sim::over(Transport::Tcp, 1);
    let leg = sim.dial();
    sim.run(seconds(5));
    assert_eq!(count(&sim.callee_events, |e| matches!(e, LegEvent::Acknowledged { .. })), 1);
    sim.order(Side::Caller, leg, bye());
    sim.run(seconds(6));
    assert!(matches!(sim.callee_events.last(), Some((_, LegEvent::Ended))));
    let sent = |line| sim.wire.iter().filter(|wire| wire.line().starts_with(line)).count();
    assert_eq!((sent("INVITE"), sent("SIP/2.0 200"), sent("BYE"), sent("ACK")), (1, 2, 1, 1));
    sim.run(seconds(100));
    assert!(sim.forgotten());
}

/// A second opinion on every message of a whole call.
#[test]
fn another_parser_reads_what_we_write() {
    use rsip::prelude::{HeadersExt as _, ToTypedHeader as _, UntypedHeader as _};
    let mut sim = Sim::new(3);
    sim.dial_with(vec![("X-ContactID".into(), "123456789".into())]);
    sim.run(seconds(1));
    let callee = sim.callee_leg();
    sim.order(Side::Callee, callee, bye());
    sim.run(seconds(2));
    let mut cancelled = Sim::new(4);
    cancelled.policy = Policy::RingOnly;
    let leg = cancelled.dial();
    cancelled.run(seconds(1));
    cancelled.step(Side::Caller, Input::Cancel { leg });
    cancelled.run(seconds(2));
    let mut seen = std::collections::BTreeSet::new();
    for wire in sim.wire.iter().chain(&cancelled.wire) {
        seen.insert(wire.line().split(' ').take(2).collect::<Vec<_>>().join(" "));
        let ours = parse(&wire.bytes, Framing::Stream).unwrap();
        let theirs = rsip::SipMessage::try_from(wire.bytes.to_vec()).unwrap_or_else(|e| panic!("{e}: {}", wire.line()));
        let headers = match &ours {
            voice_gateway::sip::message::Message::Request(request) => &request.headers,
            voice_gateway::sip::message::Message::Response(response) => &response.headers,
        };
        assert_eq!(theirs.call_id_header().unwrap().value(), headers.first("Call-ID").unwrap());
        assert_eq!(theirs.cseq_header().unwrap().value(), headers.first("CSeq").unwrap());
        assert_eq!(theirs.from_header().unwrap().value(), headers.first("From").unwrap());
        assert_eq!(theirs.to_header().unwrap().value(), headers.first("To").unwrap());
        assert_eq!(theirs.via_header().unwrap().value(), headers.first("Via").unwrap());
        theirs.via_header().unwrap().typed().unwrap();
        theirs.from_header().unwrap().typed().unwrap();
        theirs.to_header().unwrap().typed().unwrap();
        let (their_headers, their_body) = match &theirs {
            rsip::SipMessage::Request(request) => (&request.headers, &request.body),
            rsip::SipMessage::Response(response) => (&response.headers, &response.body),
        };
        assert_eq!(their_headers.iter().count(), headers.len(), "{}", wire.line());
        let our_body = match &ours {
            voice_gateway::sip::message::Message::Request(request) => &request.body,
            voice_gateway::sip::message::Message::Response(response) => &response.body,
        };
        assert_eq!(their_body, our_body);
    }
    for line in ["INVITE", "SIP/2.0 100", "SIP/2.0 180", "SIP/2.0 200", "ACK", "BYE", "CANCEL", "SIP/2.0 487"] {
        assert!(seen.iter().any(|one| one.starts_with(line)), "{line} was not among {seen:?}");
    }
}

#[test]
fn a_change_of_our_offering_is_answered_once_whatever_the_network_does() {
    for seed in 0..200 {
        let mut sim = Sim::new(seed);
        (sim.loss, sim.duplication, sim.delay) = (0.2, 0.1, 1..300);
        let leg = sim.dial();
        sim.run(seconds(40));
        sim.order(Side::Caller, leg, LegCommand::Offer { sdp: sip_support::sdp() });
        // Another while it is open is glare, and not sent.
        sim.order(Side::Caller, leg, LegCommand::Offer { sdp: sip_support::sdp() });
        let callee = sim.callee_leg();
        let mut answered = false;
        for second in 41..90 {
            sim.run(seconds(second));
            if !answered && count(&sim.callee_events, |e| matches!(e, LegEvent::Reinvite { sdp: Some(_) })) > 0 {
                answered = true;
                sim.order(Side::Callee, callee, LegCommand::AnswerReinvite { sdp: sip_support::sdp() });
            }
        }
        let changed = |wanted: u16| {
            count(&sim.caller_events, |e| matches!(e, DialEvent::Changed { code, .. } if *code == wanted))
        };
        assert_eq!((changed(491), changed(200)), (1, 1), "seed {seed}: {:?}", sim.caller_events);
        assert_eq!(count(&sim.callee_events, |e| matches!(e, LegEvent::Reinvite { .. })), 1, "seed {seed}");
        assert_eq!(count(&sim.callee_events, |e| matches!(e, LegEvent::NeverAcknowledged)), 0, "seed {seed}");
        sim.order(Side::Caller, leg, bye());
        sim.run(seconds(300));
        assert!(matches!(sim.callee_events.last(), Some((_, LegEvent::Ended))), "seed {seed}");
        assert!(sim.forgotten(), "seed {seed}");
    }
}

#[test]
fn a_change_that_nobody_answers_ends_the_call() {
    let mut sim = Sim::new(1);
    let leg = sim.dial();
    sim.run(seconds(1));
    sim.filter = Box::new(|wire| wire.at >= seconds(1) && wire.line().starts_with("INVITE"));
    sim.order(Side::Caller, leg, LegCommand::Offer { sdp: sip_support::sdp() });
    sim.run(seconds(40));
    assert_eq!(count(&sim.caller_events, |e| matches!(e, DialEvent::Changed { code: 408, .. })), 1);
    assert_eq!(count(&sim.callee_events, |e| matches!(e, LegEvent::Bye { .. })), 1);
    sim.run(seconds(200));
    assert!(sim.forgotten());
}

fn dial_without_offer(sim: &mut Sim) -> voice_gateway::sip::LegId {
    let leg = sim.caller.reserve_leg();
    let (uri, from) = ("sip:+18882346789@127.0.0.2".to_owned(), "sip:+1555@127.0.0.1".to_owned());
    let dial = voice_gateway::sip::Dial { uri, from, ..Default::default() };
    let flow = sip_support::flow(Transport::Udp, "127.0.0.1:5070", "127.0.0.2:5060");
    sim.step(Side::Caller, Input::Dial { leg, dial, flow });
    leg
}

#[test]
fn an_offer_in_the_2xx_is_answered_in_the_ack() {
    for seed in 0..200 {
        let mut sim = Sim::new(seed);
        (sim.loss, sim.duplication, sim.delay) = (0.2, 0.1, 1..300);
        let leg = dial_without_offer(&mut sim);
        let mut acknowledged = false;
        for second in 1..60 {
            sim.run(seconds(second));
            if !acknowledged && count(&sim.caller_events, |e| matches!(e, DialEvent::Answered { sdp: Some(_), .. })) > 0
            {
                acknowledged = true;
                sim.order(Side::Caller, leg, LegCommand::Acknowledge { sdp: sip_support::sdp() });
            }
        }
        assert!(sim.invites[0].1.sdp.is_none());
        let acks = count(&sim.callee_events, |e| matches!(e, LegEvent::Acknowledged { sdp: Some(_) }));
        assert_eq!(acks, 1, "seed {seed}: {:?} {:?}", sim.caller_events, sim.callee_events);
        sim.order(Side::Caller, leg, bye());
        sim.run(seconds(300));
        assert!(matches!(sim.callee_events.last(), Some((_, LegEvent::Ended))), "seed {seed}");
        assert!(sim.forgotten(), "seed {seed}");
    }
}

#[test]
fn whoever_hangs_up_instead_of_answering_an_offer_acknowledges_first() {
    let mut sim = Sim::new(1);
    let leg = dial_without_offer(&mut sim);
    sim.run(seconds(2));
    assert!(
        sim.times(Side::Caller, "ACK").is_empty(),
        "the 2xx came again and was neither acknowledged nor taken for a fork"
    );
    sim.order(Side::Caller, leg, bye());
    sim.run(seconds(10));
    assert_eq!((sim.times(Side::Caller, "ACK").len(), sim.times(Side::Caller, "BYE").len()), (1, 1));
    assert!(matches!(sim.callee_events.last(), Some((_, LegEvent::Ended))), "{:?}", sim.callee_events);
    sim.run(seconds(200));
    assert!(sim.forgotten());
}
