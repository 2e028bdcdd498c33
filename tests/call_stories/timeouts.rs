//! Silence after a prompt, words without an end, and words that nobody is sure of.

use crate::stage::{Stage, ms, settings, text, voice};
use serde_json::json;
use voice_gateway::call::output::{TurnCause, Who};

#[test]
fn silence_after_a_prompt_is_a_turn_with_flags_in_input_and_context() {
    let mut stage = Stage::listening(settings());
    stage.wait(ms(6999));
    assert!(stage.turns().is_empty());
    stage.wait(ms(1));
    let turn = stage.last_turn();
    assert_eq!((turn.cause, turn.text.as_str()), (TurnCause::PostResponseTimeout, "vgwPostResponseTimeout"));
    assert_eq!(voice(&turn.input_integration, "post_response_timeout_occurred"), true);
    assert_eq!(turn.context["integrations"]["voice_telephony"]["post_response_timeout_occurred"], true);
    let context = json!({"integrations": {"voice_telephony": {"post_response_timeout_count": "1500", "post_response_timeout_occurred": true}}});
    stage.reply_with(vec![], Some(context));
    stage.out.clear();
    stage.wait(ms(1499));
    assert!(stage.turns().is_empty(), "an empty reply starts the wait by itself");
    stage.wait(ms(1));
    assert_eq!(stage.last_turn().cause, TurnCause::PostResponseTimeout, "the assistant sets the time");
    stage.reply(vec![]);
    stage.say("hello");
    let turn = stage.last_turn();
    assert_eq!(voice(&turn.input_integration, "post_response_timeout_occurred"), false);
    assert_eq!(turn.context["integrations"]["voice_telephony"].get("post_response_timeout_occurred"), None);
}

#[test]
fn speech_puts_the_post_response_timeout_off() {
    let mut stage = Stage::listening(settings());
    for _ in 0..4 {
        stage.wait(ms(5000));
        stage.interim("well");
    }
    assert!(stage.turns().is_empty());
    stage.wait(ms(7000));
    assert_eq!(stage.last_turn().cause, TurnCause::PostResponseTimeout);
}

#[test]
fn a_hypothesis_without_a_final_becomes_a_turn_where_asked_for() {
    let mut stage = Stage::greeting(settings());
    let context = json!({"integrations": {"voice_telephony": {"final_utterance_timeout_count": 3000}}});
    stage.reply_with(vec![text("Hello.")], Some(context));
    stage.play_all();
    stage.out.clear();
    for words in ["a", "a b", "a b c"] {
        stage.interim(words);
        stage.wait(ms(900));
    }
    assert!(stage.turns().is_empty());
    stage.wait(ms(300));
    let turn = stage.last_turn();
    assert_eq!((turn.cause, turn.text.as_str()), (TurnCause::FinalUtteranceTimeout, "vgwFinalUtteranceTimeout"));
    assert_eq!(turn.context["integrations"]["voice_telephony"]["final_utterance_timeout_occurred"], true);
}

#[test]
fn an_unsure_final_is_dropped_and_the_wait_starts_again() {
    let mut unsure = settings();
    unsure.talk.confidence_threshold = 0.5;
    let mut stage = Stage::listening(unsure);
    stage.wait(ms(5000));
    stage.say_surely("mumble", 0.3);
    assert!(stage.turns().is_empty() && stage.records(Who::Caller).is_empty());
    stage.wait(ms(6999));
    assert!(stage.turns().is_empty());
    stage.wait(ms(1));
    assert_eq!(stage.last_turn().cause, TurnCause::PostResponseTimeout);
}
