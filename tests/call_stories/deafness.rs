//! A caller who can no longer be heard while a transfer is under way, in calls that outlive a failed transfer.

use crate::stage::{Stage, fault, ms, settings, text};
use crate::transfer::{asked, ended, signalling};
use bytes::Bytes;
use voice_gateway::base::Service;
use voice_gateway::call::input::{SignalOutcome, SpeechEvent};
use voice_gateway::call::output::{EndReason, TurnCause};
use voice_gateway::call::{CallSettings, Input, LegEvent, MediaEvent};

/// Where the transfer is when the caller can no longer be heard.
type Moment = (&'static str, fn(CallSettings) -> Stage);

fn moments() -> [Moment; 3] {
    [
        ("speaking", asked),
        ("committing", |settings| {
            let mut stage = asked(settings);
            stage.play_all();
            stage
        }),
        ("signalling", signalling),
    ]
}

/// The transfer goes on to its signal, which fails.
fn refuse(stage: &mut Stage) {
    stage.play_all();
    stage.feed(Input::HistoryCommitted);
    assert_eq!(stage.transfers(), 1);
    stage.signalled(SignalOutcome::Failed(fault(Service::Cxone)));
}

#[test]
fn a_call_that_became_deaf_while_it_was_transferred_does_not_resume() {
    let losses: [(Input, &str); 2] = [
        (Input::Speech(SpeechEvent::Failed(fault(Service::SpeechToText))), "speech to text failed"),
        (Input::Media(MediaEvent::Timeout), "no RTP received"),
    ];
    for (moment, at) in moments() {
        for (loss, reason) in &losses {
            let mut stage = at(CallSettings { disconnect_on_transfer_failure: false, ..settings() });
            stage.feed(loss.clone());
            assert!(stage.byes().is_empty(), "{moment}: the transfer comes first");
            let turns = stage.turns().len();
            refuse(&mut stage);
            assert_eq!(stage.turns().len(), turns, "{moment}: {reason}: nobody could answer");
            stage.start(stage.last_play());
            stage.finish(stage.last_play());
            assert_eq!(stage.reasons()[0], format!("SIP;cause=500;text=\"{reason}\""), "{moment}");
            stage.gone();
            assert_eq!(ended(&stage), (EndReason::Failed, 1), "{moment}");
        }
    }
}

#[test]
fn what_was_lost_and_came_back_does_not_keep_a_call_from_resuming() {
    let back: [(Input, Input); 3] = [
        (Input::Media(MediaEvent::Timeout), Input::Leg(LegEvent::Reinvite { sdp: Some(Bytes::from_static(b"media")) })),
        (Input::Media(MediaEvent::Timeout), Input::Media(MediaEvent::Digit('5'))),
        (Input::Speech(SpeechEvent::Failed(fault(Service::SpeechToText))), Input::Speech(SpeechEvent::Listening)),
    ];
    for (loss, back) in back {
        let mut stage = signalling(CallSettings { disconnect_on_transfer_failure: false, ..settings() });
        stage.feed(loss);
        stage.feed(back);
        refuse(&mut stage);
        assert_eq!(stage.last_turn().cause, TurnCause::TransferFailed);
        assert!(stage.byes().is_empty());
    }
}

#[test]
fn a_hold_that_ran_out_during_a_transfer_still_bounds_the_call_that_resumes() {
    let mut stage =
        signalling(CallSettings { disconnect_on_transfer_failure: false, signal_budget: ms(700_000), ..settings() });
    stage.feed(Input::Leg(LegEvent::Reinvite { sdp: Some(Bytes::from_static(b"hold")) }));
    stage.wait(ms(600_000));
    stage.signalled(SignalOutcome::Failed(fault(Service::Cxone)));
    stage.reply(vec![text("Still there?")]);
    assert!(stage.byes().is_empty());
    stage.wait(ms(5000));
    assert_eq!(stage.reasons()[0], "SIP;cause=500;text=\"on hold too long\"");
}
