//! Barge-in: what stops a prompt, what does not, and what is ignored where nothing may.

use crate::stage::{STOP, Stage, fault, ms, settings, text, voice};
use serde_json::{Value, json};
use voice_gateway::base::Service;
use voice_gateway::call::input::SpeechEvent;
use voice_gateway::call::output::{TurnCause, Who};
use voice_gateway::call::{Input, LegEvent, MediaEvent, Output};

const BARGED: fn(&Output) -> bool = |output| matches!(output, Output::BargedIn);

fn configure(kind: &str) -> Value {
    json!({"response_type": "text_to_speech", "command_info": {"type": kind}})
}

#[test]
fn a_hypothesis_stops_the_prompt_and_the_rest_of_the_reply() {
    let mut stage = Stage::listening(settings());
    stage.say("tell me");
    stage.reply(vec![text("A long story."), text("And its second part."), text("Third.")]);
    let play = stage.spoken()[0].0;
    stage.start(play);
    stage.out.clear();
    stage.interim("  ");
    assert_eq!(stage.count(STOP), 0, "an empty hypothesis is nothing");
    stage.interim("sto");
    assert_eq!((stage.count(STOP), stage.count(BARGED)), (1, 1));
    stage.interim("stop it");
    assert_eq!((stage.count(STOP), stage.count(BARGED)), (1, 1), "once");
    stage.feed(Input::Media(MediaEvent::PlayFinished { play, sent_ms: 1240, complete: false }));
    assert_eq!(stage.records(Who::Gateway), ["interrupted by the caller after 1.2 s"]);
    stage.say("stop it");
    assert_eq!(voice(&stage.last_turn().input_integration, "barge_in_occurred"), true);
    assert!(stage.said().is_empty(), "nothing of the old reply is said any more");
    stage.reply(vec![text("Stopped.")]);
    stage.play_all();
    stage.say("thanks");
    assert_eq!(voice(&stage.last_turn().input_integration, "barge_in_occurred"), false, "told once");
}

#[test]
fn begin_of_speech_and_keys_stop_the_prompt() {
    for by_key in [false, true] {
        let mut stage = Stage::greeting(settings());
        stage.reply(vec![text("Hello.")]);
        stage.start(stage.last_play());
        if by_key {
            stage.press('5');
            let turn = stage.last_turn();
            assert_eq!((turn.cause, turn.text.as_str()), (TurnCause::Dtmf, "5"));
            assert_eq!(voice(&turn.input_integration, "is_dtmf"), true);
            assert_eq!(stage.records(Who::CallerKeys), ["5"]);
        } else {
            stage.feed(Input::Speech(SpeechEvent::Began));
        }
        assert_eq!((stage.count(STOP), stage.count(BARGED)), (1, 1));
    }
}

/// Whether keys stop the prompts that were ordered.
fn keys_stop(stage: &Stage) -> Vec<bool> {
    let speaks = |output: &Output| if let Output::Speak { keys_stop, .. } = output { Some(*keys_stop) } else { None };
    stage.out.iter().filter_map(speaks).collect()
}

#[test]
fn keys_stop_what_the_assistant_says_without_an_order_and_not_what_the_gateway_says() {
    let mut stage = Stage::greeting(settings());
    stage.reply(vec![configure("disable_barge_in"), text("Legal words."), text("More of them.")]);
    assert_eq!(keys_stop(&stage), [true, true], "disable_barge_in is about speech");
    stage.feed(Input::Speech(SpeechEvent::Failed(fault(Service::SpeechToText))));
    assert!(stage.said()[2].starts_with("Call being transferred"), "{:?}", stage.said());
    assert_eq!(keys_stop(&stage), [true, true, false]);
}

#[test]
fn the_copy_of_a_key_does_not_stop_what_answers_it() {
    let mut stage = Stage::greeting(settings());
    stage.reply(vec![text("Hello.")]);
    stage.start(stage.last_play());
    stage.feed(Input::Leg(LegEvent::InfoDigit('5')));
    stage.reply(vec![text("Five."), text("And on.")]);
    assert_eq!(keys_stop(&stage), [true, false, false], "it may come as telephone-event, too");
    stage.start(stage.last_play());
    let before = (stage.count(STOP), stage.turns().len());
    stage.press('5');
    assert_eq!((stage.count(STOP), stage.turns().len()), before);
    // The copy has come: another key is one.
    stage.press('5');
    assert_eq!((stage.count(STOP), stage.turns().len()), (before.0 + 1, before.1 + 1));
    stage.reply(vec![text("Five again.")]);
    assert_eq!(keys_stop(&stage).last(), Some(&true));
    // No copy comes that late.
    let mut stage = Stage::greeting(settings());
    stage.feed(Input::Leg(LegEvent::InfoDigit('5')));
    stage.wait(ms(1000));
    stage.reply(vec![text("Five.")]);
    assert_eq!(keys_stop(&stage), [true]);
}

#[test]
fn a_greeting_not_yet_heard_is_not_dropped_for_a_noise() {
    let mut stage = Stage::greeting(settings());
    stage.reply(vec![text("Hello.")]);
    stage.interim("uh");
    assert_eq!(stage.count(STOP), 0);
    stage.play_all();
    assert_eq!(stage.records(Who::Assistant), ["Hello."]);
}

#[test]
fn without_barge_in_speech_during_the_prompt_is_ignored() {
    let mut stage = Stage::greeting(settings());
    stage.reply(vec![configure("disable_barge_in"), text("Legal words."), configure("enable_barge_in")]);
    let play = stage.last_play();
    stage.start(play);
    stage.interim("skip");
    stage.say("skip it");
    stage.interim("skip it I");
    stage.finish(play);
    stage.out.clear();
    stage.wait(ms(300));
    stage.say("skip it I said");
    assert!(stage.turns().is_empty(), "it began before the prompt ended");
    stage.interim("go on");
    stage.wait(ms(500));
    stage.say("go on");
    assert_eq!(stage.last_turn().text, "go on");
    stage.reply(vec![text("Interruptible again.")]);
    stage.start(stage.last_play());
    stage.interim("yes");
    assert_eq!(stage.count(STOP), 1);
}

#[test]
fn speech_that_ends_within_a_prompt_without_barge_in_is_ignored_too() {
    let mut stage = Stage::listening(settings());
    stage.say("first");
    stage.interim("and");
    stage.reply(vec![configure("disable_barge_in"), text("Legal words.")]);
    stage.start(stage.last_play());
    stage.say("and second");
    assert_eq!((stage.turns().len(), stage.count(STOP)), (1, 0));
}

#[test]
fn an_utterance_that_never_ended_does_not_mute_the_next() {
    let mut stage = Stage::greeting(settings());
    stage.reply(vec![configure("disable_barge_in"), text("Legal words.")]);
    let play = stage.last_play();
    stage.start(play);
    stage.feed(Input::Speech(SpeechEvent::Began));
    stage.finish(play);
    stage.wait(ms(4000));
    stage.interim("now");
    stage.say("now listen");
    assert_eq!(stage.last_turn().text, "now listen");
}
