//! Whatever comes, in whatever order: no panic, one Ended, nothing after it, no second transfer, and an end once it is ordered.

use crate::stage::{Stage, fault, invite, ms, settings_with, text};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use voice_gateway::base::{PlayId, Service, TurnId};
use voice_gateway::call::input::{EndNow, Reply, SignalOutcome, SpeechEvent};
use voice_gateway::call::output::Purpose;
use voice_gateway::call::{Input, LegEvent, MediaEvent, MissingContact, Output};
use voice_gateway::sip::Referral;

#[derive(Clone, Debug)]
enum Move {
    Wait(u64),
    Feed(Box<Input>),
    /// Plays what is ordered to its end.
    Play,
    /// Answers the newest turn.
    Answer(Vec<Value>),
}

fn item() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => "[a-z<>& .]{0,30}".prop_map(|words| text(&words)),
        1 => Just(json!({"response_type": "connect_to_agent", "transfer_info": {"target": {"nice_cxone": {}}}, "agent_available": {"message": "wait"}})),
        1 => Just(json!({"response_type": "connect_to_agent", "transfer_info": {"target": {"flex": {}}}})),
        1 => Just(json!({"response_type": "connect_to_agent", "transfer_info": {"target": {"service_desk": {"sip": {"uri": "sip:a@h"}}}}})),
        1 => Just(json!({"response_type": "connect_to_agent", "transfer_info": {"target": {"service_desk": {"sip": {"uri": "sip:a@"}}}}})),
        1 => Just(json!({"response_type": "connect_to_agent", "transfer_info": {"target": {"service_desk": {"sip": {"transfer_method": "hangup"}}}}})),
        1 => Just(json!({"response_type": "end_session"})),
        1 => Just(json!({"response_type": "option", "title": "t", "options": [{"label": "a"}, {"label": "b"}]})),
        1 => Just(json!({"response_type": "text_to_speech", "command_info": {"type": "disable_barge_in"}})),
        1 => Just(json!([1, {"x": null}])),
    ]
}

fn context() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(json!({"integrations": 5}))),
        1 => (-10i64..5000).prop_map(|millis| Some(json!({"integrations": {"voice_telephony": {
            "post_response_timeout_count": millis, "final_utterance_timeout_count": millis.to_string()}}}))),
    ]
}

fn outcome() -> impl Strategy<Value = SignalOutcome> {
    prop_oneof![
        Just(SignalOutcome::Accepted),
        Just(SignalOutcome::Ambiguous(fault(Service::Cxone))),
        Just(SignalOutcome::ContactGone(fault(Service::Cxone))),
        Just(SignalOutcome::Failed(fault(Service::Cxone))),
    ]
}

fn speech() -> impl Strategy<Value = SpeechEvent> {
    let heard = ("[a-z ]{0,12}", any::<bool>(), proptest::option::of(0.0..1.0)).prop_map(
        |(transcript, is_final, confidence)| SpeechEvent::Hypothesis { transcript, is_final, confidence, raw: None },
    );
    prop_oneof![8 => heard, 2 => Just(SpeechEvent::Began), 1 => Just(SpeechEvent::Failed(fault(Service::SpeechToText)))]
}

fn leg() -> impl Strategy<Value = LegEvent> {
    let body = prop_oneof![Just(None), Just(Some("media")), Just(Some("hold")), Just(Some("video"))];
    prop_oneof![
        4 => body.clone().prop_map(|sdp| LegEvent::Acknowledged { sdp: sdp.map(Bytes::from) }),
        4 => body.prop_map(|sdp| LegEvent::Reinvite { sdp: sdp.map(Bytes::from) }),
        3 => referral().prop_map(LegEvent::Referral),
        1 => Just(LegEvent::Cancelled),
        1 => Just(LegEvent::Bye { reason: None }),
        1 => Just(LegEvent::NeverAcknowledged),
        1 => Just(LegEvent::Ended),
    ]
}

fn referral() -> impl Strategy<Value = Referral> {
    prop_oneof![
        3 => Just(Referral::Accepted),
        1 => Just(Referral::Unreported),
        1 => Just(Referral::Unfinished),
        1 => (300u16..700).prop_map(Referral::Refused),
        1 => (200u16..700).prop_map(Referral::Tried),
    ]
}

fn media() -> impl Strategy<Value = MediaEvent> {
    prop_oneof![
        2 => Just(MediaEvent::FirstPacket),
        4 => any::<char>().prop_map(MediaEvent::Digit),
        4 => "[0-9]".prop_map(|key| MediaEvent::Digit(key.chars().next().unwrap_or('0'))),
        4 => (0u64..12, any::<bool>()).prop_map(|(play, complete)| MediaEvent::PlayFinished { play: PlayId(play), sent_ms: 9, complete }),
        1 => Just(MediaEvent::Timeout),
    ]
}

fn end_now() -> impl Strategy<Value = EndNow> {
    prop_oneof![Just(EndNow::Operator), Just(EndNow::Drain), Just(EndNow::Overload)]
}

fn input() -> impl Strategy<Value = Input> {
    let reply = (0u64..12, proptest::collection::vec(item(), 0..4), context())
        .prop_map(|(turn, generic, context)| Input::Reply(TurnId(turn), Reply { generic, context, took: ms(5) }));
    prop_oneof![
        1 => Just(Input::Tick),
        4 => leg().prop_map(Input::Leg),
        6 => media().prop_map(Input::Media),
        8 => speech().prop_map(Input::Speech),
        4 => (0u64..12).prop_map(|play| Input::SpeakStarted(PlayId(play))),
        1 => (0u64..12).prop_map(|play| Input::SpeakFailed(PlayId(play), fault(Service::TextToSpeech))),
        4 => reply,
        1 => (0u64..12).prop_map(|turn| Input::ReplyFailed(TurnId(turn), fault(Service::Assistant))),
        2 => Just(Input::HistoryCommitted),
        1 => Just(Input::HistoryFailed(fault(Service::Store))),
        3 => outcome().prop_map(Input::Signalled),
        1 => end_now().prop_map(Input::EndNow),
    ]
}

fn step() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (0u64..20_000).prop_map(Move::Wait),
        8 => input().prop_map(|input| Move::Feed(Box::new(input))),
        3 => Just(Move::Play),
        4 => proptest::collection::vec(item(), 0..4).prop_map(Move::Answer),
    ]
}

/// Transfers are signalled again only after CXone has surely not got the one before; a hangup is signalled once.
fn check_signals(stage: &Stage, failed: usize) {
    let transfers = stage.transfers();
    assert!(transfers <= 1 + failed, "a second transfer signal");
    let hangups = stage.signals().iter().filter(|order| order.purpose == Purpose::Hangup).count();
    assert!(hangups <= 1);
    assert!(stage.byes().len() <= 1);
    if let Some(at) =
        stage.out.iter().position(|output| matches!(output, Output::Leg(voice_gateway::call::LegCommand::Bye { .. })))
    {
        let after = stage.out.iter().skip(at);
        assert!(
            !after.clone().any(|output| matches!(output, Output::Signal(_) | Output::Speak { .. } | Output::Ask(_)))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_anything_ends_well(
        moves in proptest::collection::vec(step(), 0..60),
        late_offer in any::<bool>(),
        contact in any::<bool>(),
        disconnect in any::<bool>(),
        acknowledged in any::<bool>(),
        last in end_now(),
    ) {
        let mut invite = invite();
        if late_offer {
            invite.sdp = None;
        }
        if !contact {
            invite.headers.clear();
        }
        let mut settings = settings_with(MissingContact::Accept);
        settings.disconnect_on_transfer_failure = disconnect;
        let mut stage = Stage::arrived(settings, invite);
        stage.feed(Input::Tick);
        if acknowledged {
            stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: late_offer.then(|| Bytes::from_static(b"media")) }));
        }
        let mut failed = 0;
        for one in moves {
            match one {
                Move::Wait(millis) => stage.wait(ms(millis)),
                Move::Feed(input) => {
                    failed += usize::from(matches!(*input, Input::Signalled(SignalOutcome::Failed(_))));
                    stage.feed(*input);
                }
                Move::Play => {
                    if let Some((play, _)) = stage.spoken().last().copied() {
                        stage.start(play);
                        stage.finish(play);
                    }
                }
                Move::Answer(generic) => {
                    if !stage.turns().is_empty() {
                        stage.reply(generic);
                    }
                }
            }
            check_signals(&stage, failed);
        }
        if stage.ended.is_none() {
            stage.feed(Input::EndNow(last));
        }
        if stage.ended.is_none() {
            // Signal outcome or REFER's answer 8 s, apology 10 s, BYE 40 s, each at most once.
            stage.wait_for_end(ms(2_000 + 8_000 + 10_000 + 40_000));
        }
        check_signals(&stage, failed);
        prop_assert_eq!(stage.count(|output| matches!(output, Output::EndAssistant)), 1);
    }
}
