//! The recording, and what is left at the end of a session.

use crate::stage::{MU_SILENCE, SLOT, Stage, sound};
use std::time::Duration;
use voice_gateway::base::{PlayId, Recording};
use voice_gateway::media::{Event, Input, Settings};

#[test]
fn a_recording_that_rests_has_silence_on_both_sides_and_speech_to_text_still_hears() {
    let mut stage = Stage::agreed_with(Settings { record: true, ..Settings::default() });
    stage.play(1, &[&[1; 160 * 30]]);
    for n in 0..30 {
        match n {
            10 => stage.feed(Input::Record(Recording::Paused)),
            20 => stage.feed(Input::Record(Recording::Running)),
            _ => {}
        }
        stage.receive(n);
        stage.run(SLOT);
    }
    let silent = [MU_SILENCE; 160];
    let quiet = stage.recorded.iter().map(|(caller, assistant)| *caller == silent && *assistant == silent);
    let quiet: Vec<bool> = quiet.collect();
    let (first, last) = (quiet.iter().position(|quiet| *quiet), quiet.iter().rposition(|quiet| *quiet));
    // The first slot was at the agreement.
    assert_eq!((first.unwrap(), last.unwrap(), quiet.iter().filter(|quiet| **quiet).count()), (11, 20, 10));
    assert!(stage.all_heard()[160 * 12..160 * 18].iter().all(|byte| *byte != MU_SILENCE), "still heard");
}

#[test]
fn a_recording_has_both_sides_of_every_slot_on_one_time_line() {
    let mut stage = Stage::agreed_with(Settings { record: true, ..Settings::default() });
    for n in 0..10 {
        stage.receive(n);
        if n == 5 {
            stage.play(1, &[&[77; 160]]);
        }
        stage.run(SLOT);
    }
    stage.sleep_through(Duration::from_millis(200));
    let caller: Vec<u8> = stage.recorded.iter().map(|(caller, _)| caller[0]).collect();
    assert_eq!(caller[2..12], (0..10).map(sound).collect::<Vec<u8>>());
    let at: Vec<usize> = (0..stage.recorded.len()).filter(|n| stage.recorded[*n].1 == [77; 160]).collect();
    assert_eq!(at, [6]);
    assert_eq!(stage.recorded.len(), 21);
}

#[test]
fn closing_flushes_what_was_heard_tells_of_prompts_and_gives_the_figures() {
    let mut stage = Stage::agreed();
    stage.play(1, &[&[1; 8000]]);
    (0..3).for_each(|n| stage.receive(n));
    stage.run(Duration::from_millis(50));
    stage.feed(Input::Close);
    assert_eq!(stage.all_heard().len(), 480);
    assert_eq!(stage.events().last(), Some(&Event::PlayFinished { play: PlayId(1), sent_ms: 60, complete: false }));
    let statistics = stage.closed.unwrap();
    assert_eq!((statistics.packets_in, statistics.packets_out, statistics.lost), (3, 3, 0));
    assert_eq!(stage.next, None);
    stage.feed(Input::Tick);
    assert_eq!(stage.sent.len(), 3);
}
