//! Prompts: byte for byte, in order, stopped at once, and what is told of them.

use crate::stage::{MS, MU_SILENCE, PEER, SLOT, Sent, Stage, rtp};
use bytes::Bytes;
use std::time::Duration;
use voice_gateway::audio::Law;
use voice_gateway::base::PlayId;
use voice_gateway::media::{Event, Input, Settings, Silence};

#[test]
fn a_prompt_is_sent_byte_for_byte_and_its_beginning_and_end_are_told() {
    let mut stage = Stage::agreed();
    stage.run(Duration::from_millis(110));
    let words: Vec<u8> = (0..1000_u32).map(|n| (n % 90) as u8).collect();
    stage.play(7, &[&words[..3], &words[3..500], &words[500..]]);
    stage.run(Duration::from_millis(500));
    let sent = stage.sound_sent();
    assert_eq!(sent[6 * 160..6 * 160 + 1000], words);
    assert!(sent[6 * 160 + 1000..].iter().chain(&sent[..6 * 160]).all(|b| *b == MU_SILENCE));
    let began = Duration::from_millis(120);
    let started = Event::PlayStarted { play: PlayId(7), at: stage.start.at + began, last_voiced: None };
    let finished = Event::PlayFinished { play: PlayId(7), sent_ms: 125, complete: true };
    let voiced = Event::PlayVoiced { play: PlayId(7), at: stage.start.at + began };
    assert_eq!(stage.events, [(began, started), (began, voiced), (began + SLOT * 6, finished)]);
}

#[test]
fn prompts_queue_and_stop_silences_all_of_them_with_the_next_frame() {
    let mut stage = Stage::agreed();
    stage.play(1, &[&[1; 800]]);
    stage.play(2, &[&[2; 8000]]);
    stage.play(3, &[&[3; 8000]]);
    stage.run(Duration::from_millis(150));
    assert_eq!(stage.sound_sent(), [[1; 800], [2; 800]].concat()[..8 * 160]);
    stage.feed(Input::Stop);
    stage.run(SLOT);
    assert_eq!(stage.sent.last().unwrap().packet().payload, [MU_SILENCE; 160]);
    let finished = |play, sent_ms, complete| Event::PlayFinished { play: PlayId(play), sent_ms, complete };
    let ends: Vec<Event> =
        stage.events().into_iter().filter(|event| matches!(event, Event::PlayFinished { .. })).collect();
    assert_eq!(ends, [finished(1, 100, true), finished(2, 60, false), finished(3, 0, false)]);
    // What still comes for a stopped prompt is not played.
    stage.feed(Input::Chunk { play: PlayId(2), bytes: Bytes::from(vec![2; 800]) });
    stage.run(SLOT);
    assert_eq!(stage.sent.last().unwrap().packet().payload, [MU_SILENCE; 160]);
}

#[test]
fn noise_is_sent_where_nothing_plays_and_not_a_byte_of_a_prompt_is_touched() {
    let mut stage = Stage::agreed_with(Settings { silence: Silence::ComfortNoise, ..Settings::default() });
    stage.run(SLOT * 10 - MS);
    stage.play(1, &[&[7; 1000]]);
    stage.run(SLOT * 100);
    let sent = stage.sound_sent();
    let at = sent.windows(1000).position(|part| part == [7; 1000].as_slice()).unwrap();
    assert_eq!(at, 10 * 160);
    let noise: Vec<f64> =
        [&sent[..at], &sent[at + 1000..]].concat().into_iter().map(|byte| f64::from(Law::Mu.decode(byte))).collect();
    let level = 10.0 * (noise.iter().map(|s| s * s).sum::<f64>() / noise.len() as f64 / 32_767_f64.powi(2)).log10();
    assert!((-63.5..-60.5).contains(&level), "{level:.1} dBov");
    // The packets go on without a gap: nothing is the first after a pause but the first of all.
    assert_eq!(stage.sent.iter().filter(|sent| sent.packet().marker).count(), 1);
}

#[test]
fn barge_in_silences_the_line_within_two_frames_wherever_in_a_slot_it_comes() {
    for ms in 0..20 {
        let mut stage = Stage::agreed();
        stage.play(1, &[&[7; 16_000]]);
        stage.run(Duration::from_millis(200 + ms));
        stage.feed(Input::Stop);
        let decided = stage.now.at - stage.start.at;
        stage.run(SLOT * 10);
        let sounds = |sent: &&Sent| sent.packet().payload != [MU_SILENCE; 160];
        let last = stage.sent.iter().rfind(sounds).unwrap().at;
        assert!(last <= decided, "a packet of the prompt left {:?} after the decision", last.saturating_sub(decided));
    }
}

#[test]
fn a_key_stops_the_prompts_that_it_may_stop_in_its_own_slot_and_is_told_before_their_end() {
    let press = |stage: &mut Stage, sequence: u16, began: u32, end: u8, duration: u8| {
        stage.receive_from(PEER, &rtp(101, sequence, began, 1, &[5, end | 10, 0, duration]));
    };
    let mut stage = Stage::agreed();
    stage.receive(0);
    stage.play_until(1, &[&[7; 16_000]], true);
    stage.play_until(2, &[&[8; 16_000]], true);
    stage.run(Duration::from_millis(205));
    stage.events.clear();
    press(&mut stage, 1, 160, 0, 160);
    stage.run(SLOT);
    assert_eq!(stage.sent.last().unwrap().packet().payload, [MU_SILENCE; 160], "the packet of its slot is silent");
    let finished = |play, sent_ms, complete| Event::PlayFinished { play: PlayId(play), sent_ms, complete };
    assert_eq!(stage.events(), [Event::Digit('5'), finished(1, 220, false), finished(2, 0, false)]);
    // The order that the key leads to comes later, and its other packets come after what answers it.
    stage.feed(Input::Stop);
    stage.play_until(3, &[&[9; 1600]], true);
    stage.run(SLOT);
    press(&mut stage, 2, 160, 0x80, 240);
    press(&mut stage, 3, 160, 0x80, 240);
    stage.run(SLOT * 12);
    assert_eq!(stage.events().last(), Some(&finished(3, 200, true)));
    // A prompt that keys do not stop, though one that waits behind it could be.
    stage.play_until(4, &[&[7; 1600]], false);
    stage.play_until(5, &[&[8; 1600]], true);
    stage.run(SLOT * 2);
    press(&mut stage, 4, 8000, 0, 160);
    stage.run(SLOT * 20);
    let ends: Vec<Event> =
        stage.events().into_iter().filter(|event| matches!(event, Event::PlayFinished { .. })).skip(3).collect();
    assert_eq!((stage.digits().as_str(), ends), ("55", vec![finished(4, 200, true), finished(5, 200, true)]));
}

#[test]
fn more_prompts_than_anybody_needs_are_refused_aloud() {
    let mut stage = Stage::agreed();
    for play in 0..65 {
        stage.feed(Input::Play { play: PlayId(play), keys_stop: false });
    }
    assert_eq!(stage.events(), [Event::PlayFinished { play: PlayId(64), sent_ms: 0, complete: false }]);
}

#[test]
fn the_last_voiced_packet_is_known_when_a_prompt_starts() {
    let mut stage = Stage::agreed();
    for n in 0..50_u16 {
        let loud = if n < 20 { [10; 160] } else { [MU_SILENCE; 160] };
        stage.receive_from(PEER, &rtp(0, n, u32::from(n) * 160, 1, &loud));
        stage.run(SLOT);
    }
    stage.play(1, &[&[1; 160]]);
    stage.run(SLOT);
    let last_voiced = stage.events().into_iter().find_map(|event| match event {
        Event::PlayStarted { last_voiced, .. } => last_voiced,
        _ => None,
    });
    assert_eq!(last_voiced, Some(stage.start.at + SLOT * 19));
}

#[test]
fn the_first_packet_in_which_a_prompt_speaks_is_told_once_and_a_silent_prompt_has_none() {
    let mut stage = Stage::agreed();
    let voiced = |stage: &Stage| {
        let events = stage.events.iter();
        events
            .filter(|(_, event)| matches!(event, Event::PlayVoiced { .. }))
            .map(|(at, event)| (*at, *event))
            .collect::<Vec<_>>()
    };
    stage.play(1, &[&[MU_SILENCE; 800]]);
    stage.run(Duration::from_secs(1));
    assert_eq!(voiced(&stage), []);
    // 100 ms of nothing, and then a voice.
    stage.play(2, &[&[MU_SILENCE; 800], &[0x10; 1600], &[MU_SILENCE; 800], &[0x10; 1600]]);
    stage.run(Duration::from_secs(2));
    let began =
        stage.events.iter().find(|(_, event)| matches!(event, Event::PlayStarted { play: PlayId(2), .. })).unwrap().0;
    let at = began + 5 * SLOT;
    assert_eq!(voiced(&stage), [(at, Event::PlayVoiced { play: PlayId(2), at: stage.start.at + at })]);
    stage.play(3, &[&[0x10; 160]]);
    stage.run(Duration::from_secs(1));
    assert_eq!(voiced(&stage).len(), 2);
}
