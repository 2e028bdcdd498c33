//! The error path: every cause ends in one Ended, and in a BYE where one is due.

use crate::stage::{Stage, fault, ms, settings, text};
use voice_gateway::base::Service;
use voice_gateway::call::input::{EndNow, SpeechEvent};
use voice_gateway::call::output::{EndReason, Who};
use voice_gateway::call::{Input, MediaEvent, Output};

const FAILURE: &str = "Call being transferred to an agent due to a technical problem. Good bye.";

/// What goes wrong, the text of the BYE, and whether the message is spoken.
type Failure = (&'static str, fn(&mut Stage), bool);

/// Failures of a call that listens.
fn failures() -> Vec<Failure> {
    vec![
        (
            "assistant failed",
            |stage| {
                stage.say("hello");
                stage.feed(Input::ReplyFailed(stage.last_id(), fault(Service::Assistant)));
            },
            true,
        ),
        (
            "assistant failed",
            |stage| {
                stage.say("hello");
                stage.wait(ms(30_000));
            },
            true,
        ),
        (
            "speech to text failed",
            |stage| stage.feed(Input::Speech(SpeechEvent::Failed(fault(Service::SpeechToText)))),
            true,
        ),
        ("no RTP received", |stage| stage.feed(Input::Media(MediaEvent::Timeout)), true),
        ("ended by the operator", |stage| stage.feed(Input::EndNow(EndNow::Operator)), true),
        ("gateway is draining", |stage| stage.feed(Input::EndNow(EndNow::Drain)), true),
        ("gateway is overloaded", |stage| stage.feed(Input::EndNow(EndNow::Overload)), true),
        (
            "text to speech failed",
            |stage| {
                stage.say("hello");
                stage.reply(vec![text("Well.")]);
                stage.feed(Input::SpeakFailed(stage.last_play(), fault(Service::TextToSpeech)));
            },
            false,
        ),
        (
            "text to speech failed",
            |stage| {
                stage.say("hello");
                stage.reply(vec![text("Well.")]);
                stage.wait(ms(8000));
            },
            false,
        ),
        (
            "text to speech failed",
            |stage| {
                stage.say("hello");
                stage.reply(vec![text("Well.")]);
                stage.feed(Input::SpeakStarted(stage.last_play()));
                stage.wait(ms(5000));
            },
            false,
        ),
    ]
}

#[test]
fn every_failure_is_told_where_speech_works_and_ended_by_bye() {
    for (reason, failure, spoken) in failures() {
        let mut stage = Stage::listening(settings());
        failure(&mut stage);
        assert_eq!(stage.said().contains(&FAILURE), spoken, "{reason}");
        if spoken {
            assert!(stage.byes().is_empty(), "{reason}: the message first");
            stage.play_all();
            assert_eq!(stage.records(Who::Gateway).last(), Some(&FAILURE));
        }
        assert_eq!(
            stage.reasons(),
            [format!("SIP;cause=500;text=\"{reason}\""), format!("Q.850;cause=41;text=\"{reason}\"")]
        );
        assert!(stage.ended.is_none(), "the BYE is not answered yet");
        stage.gone();
        let end = stage.ended.as_ref().expect("ended");
        assert_eq!((end.end_reason, end.answered), (EndReason::Failed, true), "{reason}");
        assert!(stage.signals().is_empty());
        assert_eq!(stage.count(|output| matches!(output, Output::EndAssistant)), 1);
    }
}

#[test]
fn the_message_is_bounded_whatever_speech_does() {
    let hindrances: [fn(&mut Stage); 4] = [
        |_| {},
        |stage| stage.feed(Input::SpeakStarted(stage.last_play())),
        |stage| stage.start(stage.last_play()),
        |stage| stage.feed(Input::SpeakFailed(stage.last_play(), fault(Service::TextToSpeech))),
    ];
    for hindrance in hindrances {
        let mut stage = Stage::listening(settings());
        stage.feed(Input::Media(MediaEvent::Timeout));
        hindrance(&mut stage);
        stage.wait(ms(10_000));
        assert_eq!(stage.byes().len(), 1);
        let end = stage.wait_for_end(ms(40_000));
        assert_eq!(end.end_reason, EndReason::Failed);
    }
}

#[test]
fn an_ordered_end_during_the_message_is_a_bye_at_once() {
    let mut stage = Stage::listening(settings());
    stage.feed(Input::Media(MediaEvent::Timeout));
    assert!(stage.byes().is_empty());
    stage.feed(Input::EndNow(EndNow::Drain));
    assert_eq!(stage.reasons()[0], "SIP;cause=500;text=\"no RTP received\"");
}

#[test]
fn what_plays_when_a_failure_comes_is_stopped() {
    let mut stage = Stage::listening(settings());
    stage.say("hello");
    stage.reply(vec![text("A long story.")]);
    stage.start(stage.last_play());
    stage.feed(Input::Speech(SpeechEvent::Failed(fault(Service::SpeechToText))));
    let stop = stage.index(|output| matches!(output, Output::StopSpeaking));
    assert!(stop < stage.index(|output| matches!(output, Output::Speak { text, .. } if text == FAILURE)));
}

#[test]
fn a_prompt_that_failed_in_its_middle_plays_what_came_of_it() {
    let mut stage = Stage::listening(settings());
    stage.say("hello");
    stage.reply(vec![text("Well."), text("Then.")]);
    let play = stage.spoken()[0].0;
    stage.start(play);
    stage.feed(Input::SpeakFailed(play, fault(Service::TextToSpeech)));
    assert!(stage.byes().is_empty() && stage.ended.is_none());
    stage.finish(play);
    assert_eq!(stage.said(), ["Well.", "Then."]);
}

#[test]
fn a_reconnecting_recogniser_is_no_failure() {
    let mut stage = Stage::listening(settings());
    stage.feed(Input::Speech(SpeechEvent::Reconnecting(fault(Service::SpeechToText))));
    stage.feed(Input::Speech(SpeechEvent::Listening));
    stage.say("still here");
    assert_eq!(stage.turns().len(), 1);
}

#[test]
fn the_caller_who_hangs_up_ends_the_call_without_a_signal() {
    let mut stage = Stage::listening(settings());
    stage.say("hello");
    stage.bye();
    let end = stage.ended.as_ref().expect("ended");
    assert_eq!((end.end_reason, end.turns), (EndReason::CallerHangup, 2));
    assert_eq!(end.contact_id.as_ref().map(|id| id.as_str()), Some("123456789"));
    assert!(stage.signals().is_empty() && stage.byes().is_empty());
    assert_eq!(end.setup, Some(ms(5)));
    stage.feed(Input::ReplyFailed(stage.last_id(), fault(Service::Assistant)));
    stage.bye();
}

#[test]
fn a_caller_who_leaves_during_the_message_does_not_change_the_cause() {
    let mut stage = Stage::listening(settings());
    stage.feed(Input::Speech(SpeechEvent::Failed(fault(Service::SpeechToText))));
    stage.bye();
    assert_eq!(stage.ended.as_ref().map(|end| end.end_reason), Some(EndReason::Failed));
    assert!(stage.byes().is_empty());
}

#[test]
fn a_lost_dialog_ends_the_call() {
    let mut stage = Stage::listening(settings());
    stage.gone();
    assert_eq!(stage.ended.as_ref().map(|end| end.end_reason), Some(EndReason::Failed));
}

#[test]
fn a_bye_that_nobody_answers_ends_the_call_all_the_same() {
    let mut quiet = settings();
    quiet.failure_message = String::new();
    let mut stage = Stage::listening(quiet);
    stage.feed(Input::EndNow(EndNow::Operator));
    assert_eq!(stage.byes().len(), 1);
    stage.wait(ms(39_999));
    assert!(stage.ended.is_none());
    stage.wait(ms(1));
    assert!(stage.ended.is_some());
}
