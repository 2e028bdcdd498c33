//! Changes of a call by its peer (RFC 3261 section 14.2): one at a time, the call's to answer, and never in the way of its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use sip_support::{Desk, SDP_TYPE, answer, bare, codes, invite, requests, sdp, sdp_text, settings, tag_of, within};
use std::time::Duration;
use voice_gateway::sip::message::{Message, Method};
use voice_gateway::sip::{LegCommand, LegEvent};

#[test]
fn a_reinvite_is_the_calls_to_answer_and_one_at_a_time() {
    let mut desk = Desk::new(settings());
    let tag = desk.establish("c");
    let reinvite = |cseq: u32| within("INVITE", "c", &format!("z9hG4bK{cseq}"), cseq, &tag, SDP_TYPE, sdp_text());
    assert_eq!(desk.codes(&reinvite(2)), [100]);
    assert_eq!(desk.events.last(), Some(&LegEvent::Reinvite { sdp: Some(sdp()) }));
    let busy = desk.response(&reinvite(3));
    assert_eq!(busy.code, 500);
    assert!(busy.headers.first("Retry-After").unwrap().parse::<u32>().unwrap() <= 10);
    assert_eq!(desk.response(&reinvite(3)), busy);
    assert_eq!(codes(&desk.wait(Duration::from_millis(600))), [500], "repeated until its ACK");
    assert!(desk.receive(&within("ACK", "c", "z9hG4bK3", 3, &tag, "", "")).is_empty());
    assert!(desk.wait(Duration::from_secs(4)).is_empty());
    let update = within("UPDATE", "c", "z9hG4bKu", 4, &tag, SDP_TYPE, sdp_text());
    assert_eq!(desk.response(&update).code, 500);
    assert_eq!(codes(&desk.order(LegCommand::AnswerReinvite { sdp: sdp() })), [200]);
    assert_eq!(codes(&desk.wait(Duration::from_millis(600))), [200], "repeated until its ACK");
    let before = desk.events.len();
    desk.receive(&within("ACK", "c", "z9hG4bKa", 2, &tag, "", ""));
    assert_eq!(desk.events[before..], [LegEvent::Acknowledged { sdp: None }]);
    assert!(desk.wait(Duration::from_secs(40)).is_empty());
    assert_eq!(desk.codes(&reinvite(5)), [100]);
    assert_eq!(codes(&desk.order(LegCommand::RejectReinvite { code: 488, headers: Vec::new() })), [488]);
    assert_eq!(desk.endpoint.active(), 1);
}

#[test]
fn a_reinvite_that_is_never_acknowledged_ends_the_call_and_a_cancelled_one_does_not() {
    let mut desk = Desk::new(settings());
    let tag = desk.establish("c");
    desk.codes(&within("INVITE", "c", "z9hG4bK2", 2, &tag, SDP_TYPE, sdp_text()));
    assert_eq!(desk.codes(&within("CANCEL", "c", "z9hG4bK2", 2, &tag, "", "")), [200, 487]);
    assert!(desk.order(LegCommand::AnswerReinvite { sdp: sdp() }).is_empty());
    desk.receive(&within("ACK", "c", "z9hG4bK2", 2, &tag, "", ""));
    desk.codes(&within("INVITE", "c", "z9hG4bK3", 3, &tag, SDP_TYPE, sdp_text()));
    desk.order(LegCommand::AnswerReinvite { sdp: sdp() });
    let sent = desk.wait(Duration::from_secs(32));
    assert_eq!(requests(&sent)[0].method, Method::Bye);
    assert_eq!(desk.events.last(), Some(&LegEvent::NeverAcknowledged));
}

#[test]
fn a_reinvite_that_the_end_overtakes_gets_487() {
    let reinvite = |tag: &str| within("INVITE", "c", "z9hG4bK2", 2, tag, SDP_TYPE, sdp_text());
    let mut desk = Desk::new(settings());
    let tag = desk.establish("c");
    desk.codes(&reinvite(&tag));
    assert_eq!(desk.codes(&within("BYE", "c", "z9hG4bK3", 3, &tag, "", "")), [200, 487]);

    let mut desk = Desk::new(settings());
    let tag = desk.establish("c");
    desk.codes(&reinvite(&tag));
    let sent = desk.order(LegCommand::Bye { headers: Vec::new() });
    assert_eq!((codes(&sent), requests(&sent)[0].method.clone()), (vec![487, 0], Method::Bye));
    assert_eq!(desk.codes(&within("INFO", "c", "z9hG4bK4", 4, &tag, "", "")), [481], "the dialog is over for us");
    assert_eq!(desk.codes(&within("BYE", "c", "z9hG4bK5", 5, &tag, "", "")), [200], "but theirs may cross ours");
    assert_eq!(desk.events.last(), Some(&LegEvent::Ended));
}

#[test]
fn a_late_offer_is_ours_to_make_and_blocks_other_offers() {
    let mut desk = Desk::new(settings());
    assert_eq!(desk.codes(&bare("INVITE", "c", "z9hG4bK1", 1, "Contact: <sip:a@127.0.0.1:5070>\r\n")), [100]);
    assert_eq!(desk.invites[0].1.sdp, None);
    let [Message::Response(ok)] = &desk.order(answer())[..] else { panic!() };
    let tag = tag_of(ok);
    let update = within("UPDATE", "c", "z9hG4bKu", 2, &tag, SDP_TYPE, sdp_text());
    assert_eq!(desk.response(&update).code, 491);
    let glare = within("INVITE", "c", "z9hG4bKg", 2, &tag, SDP_TYPE, sdp_text()).replace("CSeq: 2", "CSeq: 3");
    assert_eq!(desk.codes(&glare), [491]);
    desk.receive(&within("ACK", "c", "z9hG4bKa", 1, &tag, SDP_TYPE, sdp_text()));
    assert_eq!(desk.events, [LegEvent::Acknowledged { sdp: Some(sdp()) }]);
    assert_eq!(desk.codes(&glare), [491], "the offer has its answer now, the retransmission its old one");
    desk.receive(&within("ACK", "c", "z9hG4bKg", 3, &tag, "", ""));
    assert!(desk.wait(Duration::from_secs(4)).is_empty(), "the refusal is acknowledged");
    let update = within("UPDATE", "c", "z9hG4bKv", 3, &tag, SDP_TYPE, sdp_text());
    assert!(desk.receive(&update).is_empty());
    assert_eq!(codes(&desk.order(LegCommand::AnswerReinvite { sdp: sdp() })), [200]);
    let refresh = within("UPDATE", "c", "z9hG4bKw", 4, &tag, "", "");
    assert_eq!(desk.codes(&refresh), [200], "without an offer it only refreshes");
}

#[test]
fn an_invite_behind_an_answered_one_counts_as_its_ack() {
    let mut desk = Desk::new(settings());
    desk.codes(&invite("c", "z9hG4bK1", 1, ""));
    let [Message::Response(ok)] = &desk.order(answer())[..] else { panic!() };
    let reinvite = within("INVITE", "c", "z9hG4bK2", 2, &tag_of(ok), SDP_TYPE, sdp_text());
    assert_eq!(desk.codes(&reinvite), [100]);
    assert!(matches!(desk.events[..], [LegEvent::Acknowledged { sdp: None }, LegEvent::Reinvite { .. }]));
}
