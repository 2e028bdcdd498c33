//! What Speech to Text hears of the caller: order, loss, pauses, and keys beside the sound.

use crate::stage::{MS, MU_SILENCE, PEER, SLOT, Stage, agreement, rtp, sound};
use bytes::Bytes;
use std::time::Duration;
use voice_gateway::media::{Event, Input, Negotiated};

#[test]
fn the_callers_audio_reaches_speech_to_text_undecoded_in_chunks_of_100_ms() {
    let mut stage = Stage::agreed();
    for n in 0..50 {
        stage.receive(n);
        stage.run(SLOT);
    }
    assert!(stage.heard.iter().all(|chunk| chunk.len() == 800), "{:?}", stage.heard);
    let heard = stage.all_heard();
    let wanted: Vec<u8> = (0..).flat_map(|n| [sound(n); 160]).take(heard.len() - 320).collect();
    assert_eq!(heard[320..], wanted);
    assert_eq!(heard[..320], [MU_SILENCE; 320]);
    assert_eq!(stage.events()[0], Event::FirstPacket);
}

#[test]
fn whoever_speaks_into_a_prompt_is_heard_frame_by_frame_until_it_stops() {
    let mut stage = Stage::agreed();
    let mut number = 0;
    let mut lengths = |stage: &mut Stage, byte: u8| {
        let before = stage.heard.len();
        for _ in 0..50 {
            stage.receive_from(PEER, &rtp(0, number, u32::from(number) * 160, 1, &[byte; 160]));
            number += 1;
            stage.run(SLOT);
        }
        stage.heard[before..].iter().map(Bytes::len).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&mut stage, 0x20), [800; 10], "no prompt");
    stage.play(1, &[&[7; 8000 * 10]]);
    // The pause since the last word ends first.
    lengths(&mut stage, MU_SILENCE);
    assert_eq!(lengths(&mut stage, MU_SILENCE), [800; 10], "nobody speaks");
    let spoken = lengths(&mut stage, 0x20);
    assert!(spoken.ends_with(&[160; 49]), "{spoken:?}");
    stage.feed(Input::Stop);
    assert_eq!(lengths(&mut stage, 0x20).iter().filter(|length| **length != 800).count(), 0, "no prompt any more");
    assert_eq!(stage.all_heard().len(), 160 * stage.sent.len(), "real time all the while");
}

#[test]
fn what_is_heard_never_falls_behind_real_time_whatever_comes_or_not() {
    let mut stage = Stage::agreed();
    stage.run(Duration::from_secs(2));
    (0..20).for_each(|n| stage.receive(n));
    stage.run(Duration::from_secs(1));
    (500..510).for_each(|n| stage.receive(n));
    stage.feed(Input::Agree(Negotiated { send: false, receive: false, ..agreement() }));
    stage.run(Duration::from_secs(2) - MS);
    assert_eq!(stage.all_heard().len(), 5 * 8000);
}

#[test]
fn loss_reordering_duplicates_and_lateness_are_counted_and_put_right() {
    let mut stage = Stage::agreed();
    for batch in [&[0_u16][..], &[2], &[1, 1], &[3], &[], &[5], &[6], &[7], &[4], &[8], &[9]] {
        for &n in batch {
            stage.receive(n);
        }
        stage.run(SLOT);
    }
    stage.run(SLOT * 10);
    let statistics = stage.session.statistics();
    assert_eq!((statistics.dropped.duplicate, statistics.dropped.late, statistics.lost), (1, 1, 0));
    // What was late is made up, and leads into what follows within 10 ms.
    assert_eq!(statistics.playout.concealed, SLOT);
    let mut frames: Vec<u8> = stage.all_heard().chunks(160).map(|frame| frame[159]).collect();
    assert_ne!(frames[6], MU_SILENCE);
    frames[6] = sound(4);
    assert_eq!(frames[2..12], (0..10).map(sound).collect::<Vec<u8>>());
}

#[test]
fn while_a_caller_pauses_or_is_on_hold_real_time_goes_on_and_nothing_counts_as_lost() {
    let mut stage = Stage::agreed();
    (0..10).for_each(|n| {
        stage.receive(n);
        stage.run(SLOT);
    });
    // Comfort noise of -45 dBov by its static number, 2 s of nothing, and the first syllable.
    stage.receive_from(PEER, &rtp(13, 10, 10 * 160, 1, &[45]));
    stage.run(SLOT * 100);
    for n in 0..10 {
        let marker = if n == 0 { 0x80 } else { 0 };
        stage.receive_from(PEER, &rtp(marker, 11 + n, u32::from(110 + n) * 160, 1, &[sound(n); 160]));
        stage.run(SLOT);
    }
    stage.feed(Input::Agree(Negotiated { receive: false, ..agreement() }));
    stage.run(SLOT * 100);
    let statistics = stage.session.statistics();
    assert_eq!((statistics.lost, statistics.dropped, statistics.playout), Default::default());
    assert_eq!(statistics.packets_in, 21);
    let heard = stage.all_heard();
    assert_eq!(heard.len(), 220 * 160);
    let noise = &heard[20 * 160..110 * 160];
    assert!(noise.chunks(160).all(|frame| frame.iter().any(|byte| *byte != MU_SILENCE)));
    let at = heard.windows(160).position(|frame| frame == [sound(0); 160].as_slice()).unwrap();
    assert!(heard[at..].chunks(160).take(10).enumerate().all(|(n, frame)| frame == [sound(n as u16); 160]));
    assert_eq!(heard[210 * 160..], [MU_SILENCE; 1600]);
}

#[test]
fn sequence_and_timestamp_rollover_are_not_noticed() {
    let mut stage = Stage::agreed();
    let packet = |n: u16| {
        let timestamp = (u32::MAX - 799).wrapping_add(u32::from(n) * 160);
        rtp(0, 65_530_u16.wrapping_add(n), timestamp, 1, &[sound(n); 160])
    };
    for n in 0..20 {
        stage.receive_from(PEER, &packet(n));
        stage.run(SLOT);
    }
    let frames: Vec<u8> = stage.all_heard().chunks(160).map(|frame| frame[0]).collect();
    assert_eq!(frames[2..20], (0..18).map(sound).collect::<Vec<u8>>());
    assert_eq!((stage.session.statistics().lost, stage.session.statistics().jitter), (0, Duration::ZERO));
}

#[test]
fn keys_count_once_also_from_a_source_of_their_own_and_leave_the_audio_alone() {
    let mut stage = Stage::agreed();
    let mut key_sequence = 500;
    for n in 0..60_u16 {
        stage.receive(n);
        let key = n / 20;
        // Six packets for each key on another SSRC, the last three being its end, of which some are lost.
        let part = n % 20;
        if part < 6 && !(key == 1 && part >= 3) {
            let end = if part >= 3 { 0x80 } else { 0 };
            let payload = [key as u8 + 1, end | 10, 0, 160];
            stage.receive_from(PEER, &rtp(101, key_sequence, u32::from(key) * 3200, 99, &payload));
            key_sequence += 1;
        }
        stage.run(SLOT);
    }
    assert_eq!(stage.digits(), "123");
    let frames: Vec<u8> = stage.all_heard().chunks(160).map(|frame| frame[0]).collect();
    assert_eq!(frames[2..60], (0..58).map(sound).collect::<Vec<u8>>());
}
