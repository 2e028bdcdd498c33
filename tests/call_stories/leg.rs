//! INVITE, CANCEL, late offer, re-INVITE, hold, contact id.

use crate::stage::{Stage, invite, key, ms, settings, settings_with, text};
use bytes::Bytes;
use voice_gateway::call::input::EndNow;
use voice_gateway::call::output::{EndReason, LegCommand, TurnCause, Who};
use voice_gateway::call::{Input, Invite, LegEvent, MediaEvent, MissingContact, Output};

const AGREED: fn(&Output) -> bool = |output| matches!(output, Output::MediaAgreed(_));
const LISTEN: fn(&Output) -> bool = |output| matches!(output, Output::Listen);

fn sdp(body: &'static [u8]) -> Option<Bytes> {
    Some(Bytes::from_static(body))
}

/// Whether sending was allowed, by each agreement.
fn sends(stage: &Stage) -> Vec<bool> {
    stage
        .out
        .iter()
        .filter_map(|o| if let Output::MediaAgreed(agreed) = o { Some(agreed.send) } else { None })
        .collect()
}

fn reinvite(stage: &mut Stage, body: Option<&'static [u8]>) {
    stage.feed(Input::Leg(LegEvent::Reinvite { sdp: body.map(Bytes::from_static) }));
}

fn arrived(invite: Invite) -> Stage {
    let mut stage = Stage::arrived(settings(), invite);
    stage.feed(Input::Tick);
    stage
}

#[test]
fn an_invite_is_rung_and_answered_with_the_session_key() {
    let stage = arrived(invite());
    match stage.legs().as_slice() {
        [LegCommand::Ring, LegCommand::Answer { sdp, headers }] => {
            assert_eq!(sdp.as_ref(), b"our answer");
            assert_eq!(headers, &[("X-Session-Key".to_owned(), key().as_str().to_owned())]);
        }
        other => panic!("{other:?}"),
    }
    let mut plain = settings();
    plain.ringing = false;
    plain.session_key_header = String::new();
    let mut stage = Stage::arrived(plain, invite());
    stage.feed(Input::Tick);
    assert!(matches!(stage.legs().as_slice(), [LegCommand::Answer { headers, .. }] if headers.is_empty()));
}

fn rejected(invite: Invite) -> (u16, Vec<(String, String)>) {
    let stage = arrived(invite);
    let end = stage.ended.as_ref().expect("ended");
    assert_eq!((end.end_reason, end.answered, end.turns), (EndReason::Failed, false, 0));
    match stage.legs().as_slice() {
        [LegCommand::Reject { code, headers, .. }] => (*code, headers.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sdp_that_cannot_be_done_is_refused_with_a_safe_warning() {
    let with = |body| rejected(Invite { sdp: sdp(body), ..invite() });
    assert_eq!(with(b"video"), (488, vec![("Warning".into(), "399 voice-gateway \"No common codec\"".into())]));
    assert_eq!(with(b"garbage"), (400, vec![("Warning".into(), "399 voice-gateway \"Not SDPX-Evil: 1\"".into())]));
}

#[test]
fn a_missing_or_hostile_contact_id_is_refused_by_name() {
    let with = |headers: &[(&str, &str)]| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        rejected(Invite { headers, ..invite() })
    };
    let warning = |text: &str| (400, vec![("Warning".to_owned(), format!("399 voice-gateway \"{text}\""))]);
    assert_eq!(with(&[]), warning("Missing contact id: no header X-ContactID or X-Contact-ID"));
    for hostile in ["1/../x", "1?p1=hangup", "1\r\nX-Evil: 2", &"1".repeat(10_000)] {
        assert_eq!(with(&[("x-contact-id", hostile)]), warning("Header X-Contact-ID is not a contact id"));
    }
}

#[test]
fn a_missing_contact_id_may_be_accepted() {
    let anonymous = Invite { headers: vec![("X-ContactID".into(), "1/../x".into())], ..invite() };
    let mut stage = Stage::arrived(settings_with(MissingContact::Accept), anonymous);
    stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: None }));
    assert_eq!(stage.turns().len(), 1);
    stage.bye();
    assert_eq!(
        stage.ended.as_ref().map(|end| (end.contact_id.clone(), end.end_reason)),
        Some((None, EndReason::CallerHangup))
    );
}

#[test]
fn a_cancel_that_overtakes_the_answer_ends_the_call_unanswered() {
    let mut stage = arrived(invite());
    stage.feed(Input::Leg(LegEvent::Cancelled));
    let end = stage.ended.as_ref().expect("ended");
    assert_eq!((end.end_reason, end.answered), (EndReason::CallerHangup, false));
    assert!(stage.byes().is_empty());
    assert_eq!(stage.count(|output| matches!(output, Output::EndAssistant)), 1);

    let mut stage = Stage::arrived(settings(), invite());
    stage.feed(Input::Leg(LegEvent::Cancelled));
    assert!(stage.ended.is_some() && stage.legs().is_empty(), "nothing was answered at all");

    let mut stage = Stage::greeting(settings());
    stage.feed(Input::Leg(LegEvent::Cancelled));
    assert!(stage.ended.is_none(), "after the ACK there is nothing to cancel");
}

#[test]
fn an_end_ordered_before_the_start_is_a_503() {
    let mut stage = Stage::arrived(settings(), invite());
    stage.feed(Input::EndNow(EndNow::Drain));
    assert!(
        matches!(stage.legs().as_slice(), [LegCommand::Reject { code: 503, headers, .. }] if headers.iter().any(|(name, _)| name == "Retry-After"))
    );
    assert!(stage.ended.is_some());
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut stage = arrived(Invite { sdp: None, ..invite() });
    assert!(
        matches!(stage.legs().as_slice(), [LegCommand::Ring, LegCommand::Answer { sdp, .. }] if sdp.as_ref() == b"our offer")
    );
    assert_eq!((stage.count(AGREED), stage.count(LISTEN), stage.turns().len()), (0, 0, 0));
    stage.feed(Input::Media(MediaEvent::FirstPacket));
    assert!(stage.turns().is_empty(), "nothing is agreed yet");
    stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: sdp(b"media") }));
    assert_eq!((sends(&stage), stage.count(LISTEN), stage.turns().len()), (vec![true], 1, 1));
    stage.reply(vec![text("Hello.")]);
    assert_eq!(stage.said(), ["Hello."]);
    assert!(stage.index(AGREED) < stage.index(|output| matches!(output, Output::Speak { .. })));
}

#[test]
fn nothing_is_sent_or_asked_before_the_peers_ack_or_rtp_shows_that_it_is_there() {
    for sign in [Input::Leg(LegEvent::Acknowledged { sdp: None }), Input::Media(MediaEvent::FirstPacket)] {
        let mut stage = arrived(invite());
        stage.wait(ms(20_000));
        assert_eq!(sends(&stage), [false], "received, not sent");
        assert_eq!((stage.count(LISTEN), stage.turns().len()), (0, 0));
        stage.feed(sign);
        assert_eq!(sends(&stage), [false, true]);
        assert_eq!((stage.count(LISTEN), stage.turns().len()), (1, 1));
        assert_eq!(stage.last_turn().cause, TurnCause::Start);
        stage.feed(Input::Media(MediaEvent::FirstPacket));
        stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: None }));
        assert_eq!((sends(&stage).len(), stage.count(LISTEN), stage.turns().len()), (2, 1, 1), "once");
    }
}

#[test]
fn a_call_that_begins_on_hold_is_not_sent_to_by_its_ack() {
    let mut stage = arrived(Invite { sdp: sdp(b"hold"), ..invite() });
    stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: None }));
    assert_eq!(sends(&stage), [false, false]);
    stage.reply(vec![text("Hello.")]);
    assert!(stage.said().is_empty());
    reinvite(&mut stage, Some(b"media"));
    assert_eq!((sends(&stage), stage.said()), (vec![false, false, true], vec!["Hello."]));
}

#[test]
fn a_late_offer_without_a_usable_answer_is_a_bye() {
    for (body, reason) in [(None, 400), (sdp(b"video"), 488), (sdp(b"garbage"), 400)] {
        let mut stage = arrived(Invite { sdp: None, ..invite() });
        stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: body }));
        assert_eq!(stage.reasons()[0], format!("SIP;cause={reason};text=\"no usable SDP answer\""));
        stage.gone();
        assert_eq!(stage.ended.as_ref().map(|end| end.end_reason), Some(EndReason::Failed));
    }
}

#[test]
fn a_reinvite_holds_and_resumes() {
    let mut stage = Stage::listening(settings());
    stage.say("hello");
    stage.reply(vec![text("One."), text("Two.")]);
    stage.start(stage.spoken()[0].0);
    stage.out.clear();
    reinvite(&mut stage, Some(b"hold"));
    assert!(matches!(stage.legs().as_slice(), [LegCommand::AnswerReinvite { .. }]));
    assert_eq!((stage.count(AGREED), stage.count(LISTEN)), (1, 0));
    assert_eq!(stage.count(|output| matches!(output, Output::StopSpeaking)), 1);
    stage.wait(ms(60_000));
    assert!(
        stage.turns().is_empty() && stage.said().is_empty(),
        "on hold nothing is said and nobody is asked to speak"
    );
    reinvite(&mut stage, Some(b"media"));
    assert_eq!(stage.said(), ["One.", "Two."], "what was cut is said again");
    stage.play_all();
    stage.wait(ms(7000));
    assert_eq!(stage.last_turn().cause, TurnCause::PostResponseTimeout);
}

#[test]
fn a_transfer_that_waits_for_its_words_does_not_wait_for_the_end_of_a_hold() {
    let mut stage = Stage::listening(settings());
    stage.say("agent");
    reinvite(&mut stage, Some(b"hold"));
    let target = serde_json::json!({"target": {"nice_cxone": {}}});
    stage.reply(vec![text("Sure."), serde_json::json!({"response_type": "connect_to_agent", "transfer_info": target})]);
    stage.feed(Input::HistoryCommitted);
    assert_eq!((stage.transfers(), stage.said().len()), (1, 0));
}

#[test]
fn a_peer_that_agreed_to_send_nothing_may_be_silent() {
    let mut stage = Stage::listening(settings());
    reinvite(&mut stage, Some(b"mute"));
    stage.feed(Input::Media(MediaEvent::Timeout));
    assert!(stage.said().is_empty() && stage.byes().is_empty());
    reinvite(&mut stage, Some(b"media"));
    stage.feed(Input::Media(MediaEvent::Timeout));
    assert_eq!(stage.said().len(), 1, "the failure message");
}

#[test]
fn a_call_never_acknowledged_was_not_transferred_either() {
    let mut stage = arrived(invite());
    stage.feed(Input::Media(MediaEvent::FirstPacket));
    stage.reply(vec![serde_json::json!({"response_type": "end_session"})]);
    assert_eq!(stage.signals().len(), 1);
    stage.feed(Input::Leg(LegEvent::NeverAcknowledged));
    assert_eq!(stage.ended.as_ref().map(|end| end.end_reason), Some(EndReason::Failed));
}

#[test]
fn a_hold_does_not_last_for_ever() {
    let mut stage = Stage::listening(settings());
    reinvite(&mut stage, Some(b"hold"));
    stage.wait(ms(600_000));
    assert_eq!(stage.reasons()[0], "SIP;cause=500;text=\"on hold too long\"");
}

#[test]
fn a_reinvite_that_cannot_be_done_leaves_the_call_as_it_was() {
    let mut stage = Stage::listening(settings());
    reinvite(&mut stage, Some(b"video"));
    assert!(matches!(stage.legs().as_slice(), [LegCommand::RejectReinvite { code: 488, .. }]));
    assert_eq!(stage.count(AGREED), 0);
    stage.say("hello");
    assert_eq!(stage.turns().len(), 1);
}

#[test]
fn a_reinvite_without_offer_gets_ours_and_its_ack_the_answer() {
    let mut stage = Stage::listening(settings());
    reinvite(&mut stage, None);
    assert!(matches!(stage.legs().as_slice(), [LegCommand::AnswerReinvite { sdp }] if sdp.as_ref() == b"our offer"));
    stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: sdp(b"garbage") }));
    assert!(stage.ended.is_none() && stage.count(AGREED) == 0, "media stays as it was");
    reinvite(&mut stage, None);
    stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: sdp(b"media") }));
    assert_eq!(stage.count(AGREED), 1);
}

#[test]
fn the_answer_to_a_refresh_may_move_the_media_and_nonsense_moves_nothing() {
    let mut stage = Stage::greeting(settings());
    let before = stage.count(AGREED);
    stage.feed(Input::Leg(LegEvent::Refreshed { sdp: Bytes::from_static(b"garbage") }));
    assert_eq!((stage.count(AGREED), stage.ended.is_some()), (before, false));
    stage.feed(Input::Leg(LegEvent::Refreshed { sdp: Bytes::from_static(b"media") }));
    assert_eq!(stage.count(AGREED), before + 1);
}

#[test]
fn a_session_that_expires_ends_the_call_without_a_bye_of_its_own() {
    let mut stage = Stage::greeting(settings());
    stage.feed(Input::Leg(LegEvent::Expired));
    let end = stage.ended.as_ref().expect("ended");
    assert_eq!((end.end_reason, end.answered), (EndReason::Failed, true));
    assert!(end.cause.contains("session timer"), "{}", end.cause);
    assert!(stage.byes().is_empty(), "the leg has sent it");
}

#[test]
fn no_ack_ends_the_call() {
    let mut stage = arrived(invite());
    stage.wait(ms(20_000));
    stage.feed(Input::Media(MediaEvent::FirstPacket));
    stage.reply(vec![]);
    stage.wait(ms(12_000));
    stage.feed(Input::Leg(LegEvent::NeverAcknowledged));
    assert_eq!(stage.ended.as_ref().map(|end| end.end_reason), Some(EndReason::Failed));
    assert!(stage.byes().is_empty(), "the leg has sent it");

    let mut stage = arrived(invite());
    let end = stage.wait_for_end(ms(200_000));
    assert_eq!((end.end_reason, stage.byes().len()), (EndReason::Failed, 1));
}

#[test]
fn a_bye_of_ours_waits_for_the_ack() {
    let mut stage = arrived(invite());
    stage.feed(Input::EndNow(EndNow::Operator));
    assert!(stage.byes().is_empty() && stage.said().is_empty());
    stage.wait(ms(500));
    stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: None }));
    assert_eq!(stage.byes().len(), 1);
    stage.gone();
    assert!(stage.ended.is_some());
}

#[test]
fn keys_by_info_count_like_keys_by_rtp() {
    let mut stage = Stage::listening(settings());
    stage.feed(Input::Leg(LegEvent::InfoDigit('#')));
    assert_eq!((stage.last_turn().cause, stage.last_turn().text.as_str()), (TurnCause::Dtmf, "#"));
    stage.feed(Input::Leg(LegEvent::InfoDigit('x')));
    assert_eq!(stage.turns().len(), 1, "not a key");
}

#[test]
fn a_key_that_comes_by_rtp_and_by_info_is_one_key() {
    let keys = |stage: &Stage| stage.records(Who::CallerKeys).concat();
    let mut stage = Stage::listening(settings());
    stage.feed(Input::Leg(LegEvent::InfoDigit('1')));
    stage.wait(ms(200));
    stage.press('1');
    stage.wait(ms(200));
    stage.press('2');
    stage.wait(ms(50));
    stage.feed(Input::Leg(LegEvent::InfoDigit('2')));
    stage.wait(ms(200));
    stage.press('2');
    assert_eq!(keys(&stage), "122");
}
