//! Transfers to an address: by REFER with its reports, or by BYE.

use crate::stage::{Stage, invite, key, ms, settings, settings_with, text};
use crate::transfer::ended;
use serde_json::{Value, json};
use voice_gateway::call::input::EndNow;
use voice_gateway::call::output::{EndReason, TurnCause, Who};
use voice_gateway::call::{CallSettings, Input, LegCommand, LegEvent, MissingContact, Output};
use voice_gateway::sip::{HeaderPlace, Refer, Referral};

const COMMIT: fn(&Output) -> bool = |output| matches!(output, Output::CommitHistory);
const FAILED: &str = "Call transfer to an agent failed. Please try again later. Good bye.";

fn desk(sip: Value) -> Value {
    json!({"response_type": "connect_to_agent", "topic": "billing",
        "transfer_info": {"target": {"service_desk": {"sip": sip}}},
        "agent_available": {"message": "One moment."}, "agent_unavailable": {"message": "Nobody there."}})
}

fn asked(settings: CallSettings, sip: Value) -> Stage {
    let mut stage = Stage::listening(settings);
    stage.say("agent");
    stage.reply(vec![text("Sure."), desk(sip)]);
    stage
}

/// REFER is out.
fn referring_with(settings: CallSettings) -> Stage {
    let mut stage =
        asked(settings, json!({"uri": "sip:agent\\@pbx.example.com", "accept_transfer_reject_codes": ["410"]}));
    stage.play_all();
    stage.feed(Input::HistoryCommitted);
    assert_eq!(refers(&stage).len(), 1);
    stage
}

fn referring() -> Stage {
    referring_with(settings())
}

fn refers(stage: &Stage) -> Vec<&Refer> {
    let of = |command: &&LegCommand| matches!(command, LegCommand::Refer(_));
    let commands = stage.legs().into_iter().filter(of);
    commands.filter_map(|command| if let LegCommand::Refer(refer) = command { Some(refer) } else { None }).collect()
}

fn told(stage: &mut Stage, referral: Referral) {
    stage.feed(Input::Leg(LegEvent::Referral(referral)));
}

fn key_in_hex() -> String {
    let hex: Vec<String> = key().as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{};encoding=hex", hex.concat())
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn words_then_history_then_refer_then_silence_then_our_bye() {
    let mut stage = asked(
        settings(),
        json!({"uri": "sip:agent\\@pbx.example.com", "transfer_headers": [{"name": "X-Skill", "value": 7}]}),
    );
    assert_eq!(stage.said(), ["Sure.", "One moment."]);
    let (sure, moment) = (stage.spoken()[0].0, stage.spoken()[1].0);
    stage.start(sure);
    stage.finish(sure);
    stage.start(moment);
    assert_eq!((stage.count(COMMIT), refers(&stage).len()), (0, 0), "not before the message has been heard");
    stage.finish(moment);
    assert_eq!((stage.count(COMMIT), refers(&stage).len()), (1, 0), "the page must be there before the agent");
    stage.feed(Input::HistoryCommitted);
    let expected = Refer {
        target: "sip:agent@pbx.example.com".into(),
        headers: vec![pair("X-Skill", "7"), pair("User-to-User", &key_in_hex())],
        place: HeaderPlace::Fields,
    };
    assert_eq!(refers(&stage), [&expected]);
    assert_eq!(stage.records(Who::Gateway), ["assistant asks for an agent: billing"]);
    told(&mut stage, Referral::Accepted);
    let before = stage.out.len();
    stage.say("hello?");
    stage.wait(ms(30_000));
    assert_eq!(stage.out.len(), before, "silence until it is told what came of it");
    told(&mut stage, Referral::Tried(200));
    assert_eq!(stage.reasons(), ["SIP;cause=200;text=\"transferred\"", "Q.850;cause=16;text=\"transferred\""]);
    stage.gone();
    assert_eq!(ended(&stage), (EndReason::AssistantTransfer, 1));
    assert_eq!(stage.records(Who::Gateway).last(), Some(&"transferred by REFER"));
    assert!(stage.signals().is_empty(), "a contact id changes nothing: it is done as asked");
}

#[test]
fn the_key_goes_beside_user_to_user_where_that_is_the_authors() {
    let sip = json!({"uri": "tel:+18883334444", "transfer_headers_send_method": "refer_to_header",
        "transfer_headers": [{"name": "user-to-user", "value": "6375;encoding=hex"}]});
    let mut stage = asked(settings(), sip);
    stage.play_all();
    stage.feed(Input::HistoryCommitted);
    let refer = refers(&stage)[0];
    assert_eq!((refer.target.as_str(), refer.place), ("tel:+18883334444", HeaderPlace::ReferTo));
    let expected =
        [pair("user-to-user", "6375;encoding=hex"), pair("X-Watson-Assistant-Session-History-Key", key().as_str())];
    assert_eq!(refer.headers, expected);
    let shown = format!("{:?}", stage.out);
    assert!(!shown.contains("8883334444") && !shown.contains("6375") && !shown.contains(key().as_str()), "{shown}");
}

#[test]
fn the_peers_bye_means_that_the_far_end_has_the_call() {
    for reports in [&[][..], &[Referral::Accepted]] {
        let mut stage = referring();
        reports.iter().for_each(|report| told(&mut stage, *report));
        stage.bye();
        assert_eq!(ended(&stage), (EndReason::AssistantTransfer, 0));
    }
    let mut lost = referring();
    lost.gone();
    assert_eq!(ended(&lost), (EndReason::Failed, 0), "a lost dialog tells nothing");
    let mut early = asked(settings(), json!({"uri": "sip:a@h"}));
    early.play_all();
    early.bye();
    assert_eq!(ended(&early), (EndReason::CallerHangup, 0), "before the REFER it is a caller who left");
}

#[test]
fn what_fails_is_told_to_the_caller_and_ended_by_bye() {
    let failures: [(&[Referral], u16); 5] = [
        (&[Referral::Refused(405)], 405),
        (&[Referral::Refused(603)], 603),
        (&[Referral::Refused(408)], 408),
        (&[Referral::Accepted, Referral::Tried(486)], 486),
        (&[Referral::Tried(302)], 302),
    ];
    for (reports, code) in failures {
        let mut stage = referring();
        stage.out.clear();
        reports.iter().for_each(|report| told(&mut stage, *report));
        assert_eq!(stage.said(), [FAILED], "{code}");
        assert!(stage.byes().is_empty(), "{code}: the message first");
        stage.play_all();
        assert_eq!(stage.reasons()[0], "SIP;cause=500;text=\"REFER failed\"");
        stage.gone();
        assert_eq!(ended(&stage), (EndReason::Failed, 1));
        assert!(stage.ended.as_ref().is_some_and(|end| end.cause.contains(&code.to_string())));
    }
}

#[test]
fn a_peer_that_does_not_know_the_call_is_not_spoken_to() {
    let mut stage = referring();
    stage.out.clear();
    told(&mut stage, Referral::Refused(481));
    assert_eq!((stage.said().len(), stage.byes().len()), (0, 1));
}

#[test]
fn codes_that_the_author_accepts_are_a_success() {
    for report in [Referral::Refused(410), Referral::Tried(410)] {
        let mut stage = referring();
        told(&mut stage, report);
        assert_eq!(stage.reasons()[0], "SIP;cause=200;text=\"transferred\"");
    }
}

#[test]
fn every_wait_has_its_end() {
    // Reports, how long is waited then, what the BYE says (none: the failure is spoken first), and how it ends.
    let waits: [(&[Referral], u64, Option<&str>, EndReason); 4] = [
        (&[], 8_000, None, EndReason::Failed),
        (&[Referral::Accepted], 60_000, Some("REFER outcome unknown"), EndReason::Failed),
        (&[Referral::Unreported], 5_000, Some("transferred"), EndReason::AssistantTransfer),
        (&[Referral::Accepted, Referral::Unfinished], 5_000, Some("REFER outcome unknown"), EndReason::Failed),
    ];
    for (reports, wait, text, end_reason) in waits {
        let mut stage = referring();
        stage.out.clear();
        reports.iter().for_each(|report| told(&mut stage, *report));
        stage.wait(ms(wait - 1));
        assert!(stage.byes().is_empty() && stage.said().is_empty(), "{reports:?}");
        stage.wait(ms(1));
        if text.is_none() {
            assert_eq!(stage.said(), [FAILED], "{reports:?}");
            stage.play_all();
        }
        let text = text.unwrap_or("REFER failed");
        assert!(stage.reasons()[0].ends_with(&format!("text=\"{text}\"")), "{reports:?}");
        stage.gone();
        assert_eq!(ended(&stage), (end_reason, 1), "{reports:?}");
    }
    let mut patient = referring_with(CallSettings { refer_timeout: ms(90_000), ..settings() });
    told(&mut patient, Referral::Accepted);
    patient.wait(ms(89_999));
    assert!(patient.byes().is_empty());
    patient.wait(ms(1));
    assert_eq!(patient.byes().len(), 1);
}

#[test]
fn a_failed_refer_may_be_told_to_the_assistant_instead() {
    let mut stage = referring_with(CallSettings { disconnect_on_transfer_failure: false, ..settings() });
    for attempt in 1..=3 {
        assert_eq!(refers(&stage).len(), attempt);
        told(&mut stage, Referral::Accepted);
        told(&mut stage, Referral::Tried(486));
        if attempt < 3 {
            let turn = stage.last_turn();
            assert_eq!((turn.cause, turn.text.as_str()), (TurnCause::TransferFailed, "vgwCallTransferFailed"));
            stage.wait(ms(7_000));
            stage.reply(vec![desk(json!({"uri": "sip:other@h"}))]);
            stage.start(stage.last_play());
            stage.finish(stage.last_play());
            stage.feed(Input::HistoryCommitted);
        }
    }
    stage.start(stage.last_play());
    stage.finish(stage.last_play());
    stage.gone();
    assert_eq!(ended(&stage), (EndReason::Failed, 1));
}

#[test]
fn a_success_that_is_told_late_still_ends_the_call_as_one() {
    for disconnect in [true, false] {
        let mut stage = referring_with(CallSettings { disconnect_on_transfer_failure: disconnect, ..settings() });
        stage.wait(ms(8_000));
        told(&mut stage, Referral::Accepted);
        assert!(stage.byes().is_empty());
        told(&mut stage, Referral::Tried(200));
        assert_eq!(stage.reasons()[0], "SIP;cause=200;text=\"transferred\"");
        stage.gone();
        assert_eq!(ended(&stage), (EndReason::AssistantTransfer, 1));
    }
}

#[test]
fn an_ordered_end_lets_the_refer_have_its_answer_and_waits_for_no_report() {
    let mut stage = referring();
    stage.feed(Input::EndNow(EndNow::Drain));
    assert!(stage.byes().is_empty());
    told(&mut stage, Referral::Accepted);
    assert_eq!(stage.reasons()[0], "SIP;cause=500;text=\"REFER outcome unknown\"");

    let mut stage = referring();
    told(&mut stage, Referral::Accepted);
    stage.feed(Input::EndNow(EndNow::Operator));
    assert_eq!(stage.byes().len(), 1);
}

#[test]
fn a_hangup_transfer_is_a_bye_with_the_target_and_the_headers() {
    let sip = json!({"uri": "sip:agent\\@h", "transfer_method": "hangup", "transfer_target_header": "X-Target",
        "transfer_headers": [{"name": "X-Skill", "value": "sales"}]});
    for contact in [true, false] {
        let mut invite = invite();
        if !contact {
            invite.headers.clear();
        }
        let mut stage = Stage::arrived(settings_with(MissingContact::Accept), invite);
        stage.feed(Input::Tick);
        stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: None }));
        stage.reply(vec![desk(sip.clone())]);
        assert_eq!((stage.said(), stage.count(COMMIT)), (vec!["One moment."], 0), "the text first");
        stage.play_all();
        assert!(stage.byes().is_empty());
        stage.feed(Input::HistoryCommitted);
        let expected = [
            pair("Reason", "SIP;cause=200;text=\"transfer by hangup\""),
            pair("Reason", "Q.850;cause=16;text=\"transfer by hangup\""),
            pair("X-Target", "sip:agent@h"),
            pair("X-Skill", "sales"),
            pair("User-to-User", &key_in_hex()),
        ];
        assert_eq!(stage.byes(), [&expected[..]]);
        stage.gone();
        assert_eq!(ended(&stage), (EndReason::AssistantTransfer, 1));
        assert!(stage.signals().is_empty());
    }
}

#[test]
fn an_address_that_cannot_be_used_is_a_failed_transfer() {
    for (uri, promised) in [("http://h", false), ("sip:a@h\r\nVia: x", false), ("sip:a@h:99999", true)] {
        let mut stage = Stage::listening(settings());
        stage.say("agent");
        stage.reply(vec![desk(json!({"uri": uri}))]);
        stage.play_all();
        assert_eq!(stage.said().contains(&"One moment."), promised, "{uri:?}");
        assert_eq!(stage.said().last(), Some(&FAILED));
        assert_eq!(stage.reasons()[0], "SIP;cause=500;text=\"unusable transfer target\"");
        assert!(refers(&stage).is_empty());
    }
}
