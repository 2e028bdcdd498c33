//! Turns, prompts, options, keys, and the stages of a turn.

use crate::stage::{STOP, Stage, fault, ms, settings, text, voice};
use serde_json::{Value, json};
use voice_gateway::base::{Recording, Service, TurnId};
use voice_gateway::call::input::Reply;
use voice_gateway::call::output::{TurnCause, Who};
use voice_gateway::call::{Input, LegEvent, MediaEvent, Output};

#[test]
fn the_greeting_is_asked_and_spoken_after_the_ack() {
    let mut stage = Stage::arrived(settings(), crate::stage::invite());
    stage.feed(Input::Tick);
    stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: None }));
    let greeting = stage.last_turn();
    assert_eq!(
        (greeting.cause, greeting.text.as_str(), greeting.user_id.as_str()),
        (TurnCause::Start, "", "+18595553456")
    );
    let phone = &greeting.context["integrations"]["voice_telephony"];
    assert_eq!(phone["sip_custom_invite_headers"], json!({"X-ContactID": "123456789"}));
    assert_eq!(phone["private"]["user_phone_number"], "+18595553456");
    assert_eq!(phone["private"]["original_called_number"], "+18885550000");
    assert_eq!(stage.count(|output| matches!(output, Output::Listen)), 1);

    assert!(stage.said().is_empty());
    stage.reply(vec![text("Hello.")]);
    assert_eq!(stage.said(), ["Hello."]);
    stage.play_all();
    assert_eq!(stage.records(Who::Assistant), ["Hello."]);
    assert_eq!(stage.count(STOP), 0);
}

#[test]
fn the_first_packet_of_the_caller_opens_as_well_as_the_ack() {
    let mut stage = Stage::arrived(settings(), crate::stage::invite());
    stage.feed(Input::Tick);
    stage.feed(Input::Media(MediaEvent::FirstPacket));
    stage.reply(vec![text("Hello.")]);
    assert_eq!(stage.said(), ["Hello."]);
}

#[test]
fn a_turn_carries_what_was_heard_and_returns_the_context() {
    let mut stage = Stage::greeting(settings());
    stage.reply_with(
        vec![text("Hello.")],
        Some(json!({"skills": {"n": 1}, "integrations": {"voice_telephony": {"own": 2}}})),
    );
    stage.play_all();
    stage.interim("what is");
    stage.wait(ms(800));
    stage.say("what is my\tbalance");
    let turn = stage.last_turn();
    assert_eq!((turn.cause, turn.text.as_str()), (TurnCause::SpeechToText, "what is my balance"));
    assert_eq!(turn.input_integration["speech_to_text_result"]["results"][0]["final"], true);
    assert_eq!(voice(&turn.input_integration, "barge_in_occurred"), false);
    assert_eq!(voice(&turn.input_integration, "is_dtmf"), false);
    assert_eq!(turn.context["skills"]["n"], 1);
    assert_eq!(turn.context["integrations"]["voice_telephony"]["own"], 2);
    assert_eq!(stage.records(Who::Caller), ["what is my\tbalance"]);
}

#[test]
fn prompts_are_ordered_ahead_by_one_and_recorded_when_they_play() {
    let mut stage = Stage::greeting(settings());
    stage.reply(vec![text("<speak>One &amp; a half.</speak>"), text("Two."), text("Three.")]);
    assert_eq!(stage.said().len(), 2, "the second is made while the first plays");
    let (first, second) = (stage.spoken()[0].0, stage.spoken()[1].0);
    stage.start(first);
    assert_eq!(stage.records(Who::Assistant), ["One & a half."]);
    stage.feed(Input::SpeakStarted(second));
    stage.finish(first);
    assert_eq!(stage.said()[1..], ["Two.", "Three."]);
    stage.play_all();
    assert_eq!(stage.records(Who::Assistant), ["One & a half.", "Two.", "Three."]);
}

#[test]
fn newer_input_supersedes_and_the_stale_reply_is_ignored() {
    let mut stage = Stage::listening(settings());
    stage.say("first");
    let first = stage.last_id();
    stage.say("second");
    let second = stage.last_id();
    assert_ne!(first, second);
    stage.feed(Input::Reply(first, Reply { generic: vec![text("stale")], ..Reply::default() }));
    stage.feed(Input::ReplyFailed(first, fault(Service::Assistant)));
    stage.feed(Input::Reply(TurnId(99), Reply { generic: vec![text("never asked")], ..Reply::default() }));
    assert!(stage.said().is_empty());
    stage.reply(vec![text("fresh")]);
    stage.feed(Input::Reply(second, Reply { generic: vec![text("twice")], ..Reply::default() }));
    stage.play_all();
    assert_eq!(stage.said(), ["fresh"]);
}

fn options() -> Value {
    let option = |label: &str, n: u32| json!({"label": label, "value": {"input": {"text": format!("I want {label}"), "suggestion_id": n}}});
    json!({"response_type": "option", "title": "What is it about?", "options": [option("Billing", 1), option("Sales", 2)]})
}

#[test]
fn an_option_is_chosen_by_key_number_or_label() {
    for (choose, text, cause) in [
        ("2", "I want Sales", TurnCause::Dtmf),
        ("option one", "I want Billing", TurnCause::SpeechToText),
        ("Sales.", "I want Sales", TurnCause::SpeechToText),
        ("neither of them", "neither of them", TurnCause::SpeechToText),
        ("9", "9", TurnCause::Dtmf),
    ] {
        let mut stage = Stage::greeting(settings());
        stage.reply(vec![options()]);
        assert_eq!(stage.said(), ["What is it about? 1. Billing. 2. Sales."]);
        stage.start(stage.last_play());
        match choose.chars().next() {
            Some(key) if choose.len() == 1 => stage.press(key),
            _ => stage.say(choose),
        }
        let turn = stage.last_turn();
        assert_eq!((turn.text.as_str(), turn.cause), (text, cause), "{choose}");
        assert_eq!(turn.selection.is_some(), text.starts_with("I want"));
        assert_eq!(
            turn.selection.as_ref().map_or(json!(null), |chosen| chosen["text"].clone()),
            if text.starts_with("I want") { json!(text) } else { json!(null) }
        );
        stage.reply(vec![text_only()]);
        stage.press('1');
        assert_eq!(stage.last_turn().text, "1", "the next reply has no options");
    }
}

fn text_only() -> Value {
    text("Fine.")
}

#[test]
fn the_stages_of_a_turn_are_measured() {
    let mut stage = Stage::listening(settings());
    let voiced = stage.now.at;
    stage.wait(ms(900));
    stage.say("hello");
    stage.wait(ms(310));
    stage.reply(vec![text("One."), text("Two.")]);
    let play = stage.spoken()[0].0;
    stage.wait(ms(150));
    stage.feed(Input::SpeakStarted(play));
    stage.wait(ms(20));
    let at = stage.now.at;
    stage.feed(Input::Media(MediaEvent::PlayStarted { play, at, last_voiced: Some(voiced) }));
    assert_eq!(stage.timed(), [], "nobody hears it yet");
    stage.wait(ms(70));
    let at = stage.now.at;
    stage.feed(Input::Media(MediaEvent::PlayVoiced { play, at }));
    let times = stage.timed();
    assert_eq!(times.len(), 1);
    assert_eq!(times[0].cause, TurnCause::SpeechToText);
    assert_eq!((times[0].end_pointing, times[0].speech_to_text), (Some(ms(800)), Some(ms(100))));
    assert_eq!((times[0].assistant, times[0].text_to_speech), (ms(300), ms(150 + 70)));
    assert_eq!((times[0].gateway, times[0].total), (ms(30), ms(1450)));
    assert_eq!(times[0].stages().map(|(_, took)| took).sum::<std::time::Duration>(), times[0].total);
    stage.finish(play);
    stage.play_all();
    assert_eq!(stage.timed().len(), 1, "once a turn");
}

#[test]
fn a_prompt_whose_end_is_never_told_does_not_mute_the_call() {
    let mut stage = Stage::listening(settings());
    stage.say("hello");
    stage.reply(vec![text("One."), text("Two.")]);
    stage.start(stage.spoken()[0].0);
    stage.wait(ms(11_000));
    assert_eq!(stage.count(STOP), 1);
    assert_eq!(stage.said(), ["One.", "Two.", "Two."], "what was queued behind it is ordered again");
    assert!(stage.ended.is_none());
}

#[test]
fn keys_are_sent_in_their_place_and_what_comes_after_waits_for_them() {
    let press = |output: &Output| matches!(output, Output::Press(_));
    let mut stage = Stage::greeting(settings());
    let digits = json!([{"code": 4, "duration": 100}, {"code": "11", "duration": 100}]);
    let send = json!({"response_type": "dtmf", "command_info": {"type": "send", "parameters": {"digits": digits, "send_interval": 150}}});
    stage.reply(vec![text("First."), send, text("Then."), json!({"response_type": "end_session"})]);
    assert_eq!((stage.said(), stage.count(press)), (vec!["First."], 0));
    let first = stage.last_play();
    stage.start(first);
    stage.finish(first);
    let keys = stage.out.iter().find_map(|output| match output {
        Output::Press(tones) => Some(tones.iter().map(|tone| tone.code).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(keys, Some(vec![4, 11]));
    stage.wait(ms(499));
    assert_eq!(stage.said(), ["First."], "two keys of 100 ms with 150 ms behind each");
    stage.wait(ms(1));
    assert_eq!(stage.said(), ["First.", "Then."]);
    stage.play_all();
    assert_eq!((stage.count(press), stage.signals().len()), (1, 1));
}

#[test]
fn a_key_heard_as_sound_counts_beside_its_event_once() {
    let mut stage = Stage::listening(settings());
    let before = stage.turns().len();
    stage.feed(Input::Media(MediaEvent::InBandDigit('4')));
    stage.feed(Input::Media(MediaEvent::Digit('4')));
    assert_eq!((stage.turns().len(), stage.last_turn().text.as_str()), (before + 1, "4"));
}

#[test]
fn what_is_said_while_the_recording_rests_is_not_kept_anywhere() {
    let activities = |kind: &str| json!({"response_type": kind, "activities": [{"type": "recording"}]});
    let kept = |stage: &Stage| {
        let keep = |output: &Output| if let Output::Keep(recording) = output { Some(*recording) } else { None };
        stage.out.iter().filter_map(keep).collect::<Vec<_>>()
    };
    let mut stage = Stage::listening(settings());
    stage.say("i want to pay");
    stage.reply(vec![text("Please say your card number."), activities("stop_activities")]);
    assert_eq!(kept(&stage), [Recording::Paused], "before anything is said");
    stage.play_all();
    stage.say("four one one one");
    stage.press('7');
    stage.reply(vec![activities("start_activities"), text("Thank you.")]);
    assert_eq!(kept(&stage), [Recording::Paused, Recording::Running]);
    stage.play_all();
    stage.say("goodbye");
    assert_eq!(stage.records(Who::Caller), ["i want to pay", "(not kept)", "goodbye"]);
    assert_eq!(stage.records(Who::CallerKeys), ["(not kept)"]);
    assert_eq!(stage.records(Who::Assistant), ["(not kept)", "Thank you."]);
    let asked: Vec<_> = stage.turns().iter().map(|turn| turn.text.clone()).collect();
    assert_eq!(asked, ["i want to pay", "four one one one", "7", "goodbye"], "the assistant is told all the same");
}
