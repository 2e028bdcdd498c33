//! Transfer and hangup: words, history, signal, CXone's BYE.

use crate::stage::{Stage, fault, invite, key, ms, settings, settings_with, text};
use serde_json::{Value, json};
use voice_gateway::base::Service;
use voice_gateway::call::input::{EndNow, SignalOutcome};
use voice_gateway::call::output::{EndReason, Purpose, TurnCause, Who};
use voice_gateway::call::{CallSettings, Input, LegEvent, MediaEvent, MissingContact, Output};

fn agent() -> Value {
    json!({"response_type": "connect_to_agent", "topic": "billing",
        "transfer_info": {"target": {"nice_cxone": {"custom_data": {"p2": "test", "p3": {"a": 1}, "p1": "hangup", "x": 1}}}},
        "agent_available": {"message": "One moment."}, "agent_unavailable": {"message": "Nobody there."}})
}

fn goodbye() -> Value {
    let headers = json!([{"name": "Customer-Header1", "value": "Info"}]);
    json!({"response_type": "end_session", "channel_options": {"voice_telephony": {"sip": {"headers": headers}}}})
}

/// The caller has asked for an agent, "Sure." and "One moment." have been spoken.
pub(crate) fn asked(settings: CallSettings) -> Stage {
    let mut stage = Stage::listening(settings);
    stage.say("agent");
    stage.reply(vec![text("Sure."), agent()]);
    stage
}

pub(crate) fn signalling(settings: CallSettings) -> Stage {
    let mut stage = asked(settings);
    stage.play_all();
    stage.feed(Input::HistoryCommitted);
    stage
}

pub(crate) fn ended(stage: &Stage) -> (EndReason, usize) {
    (stage.ended.as_ref().expect("ended").end_reason, stage.byes().len())
}

const COMMIT: fn(&Output) -> bool = |output| matches!(output, Output::CommitHistory);
const SIGNAL: fn(&Output) -> bool = |output| matches!(output, Output::Signal(_));

#[test]
fn words_then_history_then_signal_then_silence_then_cxones_bye() {
    let mut stage = asked(settings());
    assert_eq!(stage.said(), ["Sure.", "One moment."]);
    let (sure, moment) = (stage.spoken()[0].0, stage.spoken()[1].0);
    stage.start(sure);
    stage.finish(sure);
    stage.start(moment);
    assert_eq!(stage.count(COMMIT), 0, "not before the message has been heard");
    stage.finish(moment);
    assert_eq!(stage.count(COMMIT), 1);
    assert_eq!(stage.count(SIGNAL), 0, "the page must be there before the agent");
    assert_eq!(stage.records(Who::Gateway), ["assistant asks for an agent: billing"]);
    stage.feed(Input::HistoryCommitted);
    let signals = stage.signals();
    assert_eq!(signals.len(), 1);
    assert_eq!((signals[0].contact_id.as_str(), signals[0].purpose), ("123456789", Purpose::Transfer));
    let expected = [("p1", key().as_str().to_owned()), ("p2", "test".to_owned()), ("p3", "{\"a\":1}".to_owned())];
    assert_eq!(signals[0].parameters, expected.map(|(name, value)| (name.to_owned(), value)));
    stage.wait(ms(400));
    stage.signalled(SignalOutcome::Accepted);
    let before = stage.out.len();
    stage.say("hello?");
    stage.press('1');
    stage.wait(ms(29_000));
    assert_eq!(stage.out.len(), before, "silence until CXone ends the leg");
    stage.bye();
    assert_eq!(ended(&stage), (EndReason::AssistantTransfer, 0));
    assert_eq!(stage.count(|output| matches!(output, Output::EndAssistant)), 1);
    assert_eq!(stage.records(Who::Gateway).last(), Some(&"transferred to an agent"));
}

#[test]
fn a_bye_before_the_outcome_is_a_success() {
    let mut stage = signalling(settings());
    stage.bye();
    assert_eq!(ended(&stage), (EndReason::AssistantTransfer, 0));
}

#[test]
fn a_bye_before_the_signal_is_a_caller_who_left() {
    let mut stage = asked(settings());
    stage.play_all();
    stage.bye();
    assert_eq!(ended(&stage), (EndReason::CallerHangup, 0));
    assert_eq!(stage.count(SIGNAL), 0);
}

#[test]
fn no_bye_after_the_signal_is_our_bye_after_thirty_seconds() {
    let mut stage = signalling(settings());
    stage.signalled(SignalOutcome::Accepted);
    stage.wait(ms(29_999));
    assert!(stage.byes().is_empty());
    stage.wait(ms(1));
    assert_eq!(
        stage.reasons(),
        ["SIP;cause=200;text=\"transfer signalled\"", "Q.850;cause=16;text=\"transfer signalled\""]
    );
    stage.gone();
    assert_eq!(ended(&stage), (EndReason::AssistantTransfer, 1));
}

#[test]
fn a_refused_signal_is_told_and_ended_by_bye() {
    let mut stage = signalling(settings());
    stage.out.clear();
    stage.signalled(SignalOutcome::Failed(fault(Service::Cxone)));
    assert_eq!(stage.said(), ["Call transfer to an agent failed. Please try again later. Good bye."]);
    assert!(stage.byes().is_empty());
    stage.play_all();
    assert_eq!(stage.reasons(), ["SIP;cause=500;text=\"signal failed\"", "Q.850;cause=41;text=\"signal failed\""]);
    stage.gone();
    assert_eq!(ended(&stage), (EndReason::Failed, 1));
    assert_eq!(stage.transfers(), 0, "the one before is all");
}

#[test]
fn a_refused_signal_may_be_told_to_the_assistant_instead() {
    let mut lenient = settings();
    lenient.disconnect_on_transfer_failure = false;
    let mut stage = signalling(lenient);
    for attempt in 1..=3 {
        assert_eq!(stage.transfers(), attempt);
        stage.signalled(SignalOutcome::Failed(fault(Service::Cxone)));
        if attempt < 3 {
            let turn = stage.last_turn();
            assert_eq!((turn.cause, turn.text.as_str()), (TurnCause::TransferFailed, "vgwCallTransferFailed"));
            stage.reply(vec![agent()]);
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
fn an_ambiguous_signal_waits_three_seconds_for_the_bye() {
    let mut stage = signalling(settings());
    stage.signalled(SignalOutcome::Ambiguous(fault(Service::Cxone)));
    stage.wait(ms(2999));
    assert!(stage.byes().is_empty());
    stage.wait(ms(1));
    assert_eq!(stage.reasons()[0], "SIP;cause=500;text=\"signal outcome unknown\"");
    stage.gone();
    assert_eq!(ended(&stage), (EndReason::Failed, 1));

    let mut stage = signalling(settings());
    stage.signalled(SignalOutcome::Ambiguous(fault(Service::Cxone)));
    stage.wait(ms(1000));
    stage.bye();
    assert_eq!(ended(&stage), (EndReason::AssistantTransfer, 0));
    assert_eq!(stage.transfers(), 1);
}

#[test]
fn a_signal_without_an_outcome_counts_as_ambiguous() {
    let mut stage = signalling(settings());
    let end = stage.wait_for_end(ms(8000 + 3000 + 40_000));
    assert_eq!(end.end_reason, EndReason::Failed);
    assert_eq!((stage.transfers(), stage.byes().len()), (1, 1));
}

#[test]
fn a_contact_that_is_gone_ends_by_bye() {
    let mut stage = signalling(settings());
    stage.signalled(SignalOutcome::ContactGone(fault(Service::Cxone)));
    assert_eq!(stage.reasons()[0], "SIP;cause=500;text=\"contact gone\"");
    stage.gone();
    assert_eq!(ended(&stage), (EndReason::Failed, 1));
}

#[test]
fn the_history_holds_nobody_up() {
    for how in ["late", "refused"] {
        let mut stage = asked(settings());
        stage.play_all();
        match how {
            "late" => stage.wait(ms(2000)),
            _ => stage.feed(Input::HistoryFailed(fault(Service::Store))),
        }
        assert_eq!(stage.transfers(), 1, "{how}");
        stage.feed(Input::HistoryCommitted);
        assert_eq!(stage.transfers(), 1, "{how}");
    }
}

#[test]
fn a_caller_who_interrupts_the_message_is_transferred_all_the_same() {
    let mut stage = asked(settings());
    stage.start(stage.spoken()[0].0);
    let turns = stage.turns().len();
    stage.interim("yes");
    assert_eq!(stage.count(COMMIT), 1);
    stage.say("yes please");
    assert_eq!(stage.turns().len(), turns, "no new turn");
    stage.feed(Input::HistoryCommitted);
    assert_eq!(stage.transfers(), 1);
}

#[test]
fn a_message_that_never_ends_is_cut_after_twenty_seconds() {
    let mut stage = Stage::listening(settings());
    stage.say("agent");
    let mut long = agent();
    long["agent_available"]["message"] = json!("Please wait. ".repeat(100));
    stage.reply(vec![long]);
    stage.start(stage.last_play());
    stage.wait(ms(19_999));
    assert_eq!(stage.count(COMMIT), 0);
    stage.wait(ms(1));
    assert_eq!((stage.count(COMMIT), stage.count(|output| matches!(output, Output::StopSpeaking))), (1, 1));
}

#[test]
fn services_that_fail_before_a_transfer_do_not_stop_it() {
    let failures: [fn(&mut Stage); 4] = [
        |stage| stage.feed(Input::SpeakFailed(stage.last_play(), fault(Service::TextToSpeech))),
        |stage| stage.wait(ms(8000)),
        |stage| stage.feed(Input::Media(MediaEvent::Timeout)),
        |stage| stage.feed(Input::EndNow(EndNow::Drain)),
    ];
    for failure in failures {
        let mut stage = asked(settings());
        failure(&mut stage);
        assert_eq!(stage.count(COMMIT), 1);
        stage.feed(Input::HistoryCommitted);
        assert_eq!(stage.transfers(), 1);
        assert!(stage.byes().is_empty());
    }
}

#[test]
fn a_target_that_is_not_cxone_is_a_failed_transfer() {
    let mut stage = Stage::listening(settings());
    stage.say("agent");
    stage.reply(vec![json!({"response_type": "connect_to_agent", "transfer_info": {"target": {"zendesk": {}}},
        "agent_available": {"message": "One moment."}})]);
    assert_eq!(stage.said(), ["Call transfer to an agent failed. Please try again later. Good bye."], "no promise");
    stage.play_all();
    assert_eq!(stage.reasons()[0], "SIP;cause=500;text=\"no transfer target\"");
    stage.gone();
    assert_eq!(ended(&stage), (EndReason::Failed, 1));
    assert!(stage.ended.as_ref().is_some_and(|end| end.cause.contains("zendesk")));
}

#[test]
fn without_a_message_of_ours_the_assistants_is_said() {
    let mut quiet = settings();
    quiet.transfer_failure_message = String::new();
    let mut stage = signalling(quiet);
    stage.out.clear();
    stage.signalled(SignalOutcome::Failed(fault(Service::Cxone)));
    assert_eq!(stage.said(), ["Nobody there."]);
}

#[test]
fn without_a_contact_id_the_bye_is_the_transfer_and_the_hangup() {
    for (item, text_of_bye, reason) in [
        (agent(), "transfer without contact id", EndReason::AssistantTransfer),
        (goodbye(), "hangup without contact id", EndReason::AssistantHangup),
    ] {
        let mut anonymous = invite();
        anonymous.headers.clear();
        let mut stage = Stage::arrived(settings_with(MissingContact::Accept), anonymous);
        stage.feed(Input::Tick);
        stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: None }));
        stage.reply(vec![text("Good bye."), item]);
        stage.play_all();
        stage.feed(Input::HistoryCommitted);
        assert_eq!(stage.reasons()[0], format!("SIP;cause=200;text=\"{text_of_bye}\""));
        stage.gone();
        assert_eq!(ended(&stage), (reason, 1));
        assert!(stage.signals().is_empty());
    }
}

fn hanging_up() -> Stage {
    let mut stage = Stage::listening(settings());
    stage.say("bye");
    stage.reply(vec![text("Good bye."), goodbye()]);
    assert!(stage.signals().is_empty(), "good bye first");
    stage.play_all();
    stage
}

#[test]
fn a_hangup_is_signalled_after_the_words_with_p1_alone() {
    let mut stage = hanging_up();
    let signals = stage.signals();
    assert_eq!((signals.len(), signals[0].purpose), (1, Purpose::Hangup));
    assert_eq!(signals[0].parameters, [("p1".to_owned(), "hangup".to_owned())]);
    stage.signalled(SignalOutcome::Accepted);
    stage.wait(ms(4999));
    assert!(stage.byes().is_empty());
    stage.bye();
    assert_eq!(ended(&stage), (EndReason::AssistantHangup, 0));
}

#[test]
fn a_hangup_that_cxone_does_not_act_on_is_our_bye_with_the_assistants_headers() {
    let mut stage = hanging_up();
    stage.signalled(SignalOutcome::Accepted);
    stage.wait(ms(5000));
    assert!(stage.byes()[0].contains(&("Customer-Header1".to_owned(), "Info".to_owned())));
    stage.gone();
    assert_eq!(ended(&stage), (EndReason::AssistantHangup, 1));
}

#[test]
fn a_hangup_whose_signal_fails_is_a_bye_at_once() {
    let mut stage = hanging_up();
    stage.signalled(SignalOutcome::Failed(fault(Service::Cxone)));
    assert_eq!(stage.reasons()[0], "SIP;cause=500;text=\"signal failed\"");
    assert!(stage.byes()[0].iter().any(|(name, _)| name == "Customer-Header1"));
    stage.gone();
    assert_eq!(ended(&stage), (EndReason::Failed, 1));
}

#[test]
fn an_ordered_end_lets_the_signal_come_to_its_end_and_waits_for_nothing_more() {
    let mut stage = signalling(settings());
    stage.feed(Input::EndNow(EndNow::Drain));
    assert!(stage.byes().is_empty());
    stage.signalled(SignalOutcome::Accepted);
    assert_eq!(stage.reasons()[0], "SIP;cause=200;text=\"transfer signalled\"");

    let mut stage = signalling(settings());
    stage.signalled(SignalOutcome::Accepted);
    stage.feed(Input::EndNow(EndNow::Operator));
    assert_eq!(stage.byes().len(), 1);
    stage.gone();
    assert_eq!(ended(&stage), (EndReason::AssistantTransfer, 1));
}

#[test]
fn what_stands_behind_an_ending_is_not_reached() {
    let mut stage = Stage::listening(settings());
    stage.say("agent");
    stage.reply(vec![agent(), text("Never said."), goodbye()]);
    stage.play_all();
    stage.feed(Input::HistoryCommitted);
    assert_eq!(stage.said(), ["One moment."]);
    assert_eq!(stage.signals().len(), 1);
}
