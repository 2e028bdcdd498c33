//! The grid of 20 ms: what is sent when nobody speaks, and what becomes of wake-ups that are late.

use crate::stage::{MU_SILENCE, SLOT, Stage, peer};
use std::time::Duration;
use voice_gateway::media::{Input, Settings};

#[test]
fn nothing_is_sent_heard_or_taken_before_media_is_agreed() {
    let mut stage = Stage::waiting(Settings::default());
    stage.receive(1);
    stage.feed(Input::Tick);
    stage.run(Duration::from_secs(1));
    assert!(stage.sent.is_empty() && stage.heard.is_empty() && stage.events.is_empty());
    assert_eq!(stage.session.statistics().dropped.stranger, 1);
}

#[test]
fn silence_is_sent_without_a_gap_from_the_agreement_on() {
    let mut stage = Stage::agreed();
    stage.run(Duration::from_millis(1990));
    assert_eq!(stage.sent.len(), 100);
    for (n, sent) in stage.sent.iter().enumerate() {
        let packet = sent.packet();
        assert_eq!((sent.at, sent.to, sent.late), (SLOT * n as u32, peer(), Duration::ZERO));
        assert_eq!(packet.sequence, 65_500_u16.wrapping_add(n as u16));
        assert_eq!(packet.timestamp, (u32::MAX - 1000).wrapping_add(n as u32 * 160));
        assert_eq!((packet.marker, packet.payload_type, packet.ssrc), (n == 0, 0, 0xC0FFEE));
        assert_eq!(packet.payload, [MU_SILENCE; 160]);
    }
}

#[test]
fn an_hour_of_late_wake_ups_does_not_drift() {
    let mut stage = Stage::agreed();
    for n in 0..180_000_u64 {
        // Up to 19 ms late, every time.
        let due = stage.next.unwrap() - stage.start.at;
        let wake = due + Duration::from_micros(n * 7919 % 19_000);
        stage.now = stage.start.after(wake);
        stage.feed(Input::Tick);
        let sent = stage.sent.pop().unwrap();
        assert_eq!(sent.late, wake - due);
        assert!(stage.sent.is_empty());
        assert_eq!(due, SLOT * n as u32);
        stage.heard.clear();
    }
    assert_eq!(stage.session.statistics().skipped, 0);
}

#[test]
fn a_late_wake_up_sends_two_packets_at_most_and_leaves_the_rest_of_the_time_out() {
    let mut stage = Stage::agreed();
    let words: Vec<u8> = (0..=99).flat_map(|n| [n; 160]).collect();
    stage.play(1, &[&words]);
    stage.run(Duration::from_millis(10));
    stage.sleep_through(Duration::from_millis(40));
    assert_eq!(stage.sent.len(), 3, "two slots were due");
    stage.sleep_through(Duration::from_millis(195));
    assert_eq!(stage.sent.len(), 5, "ten slots were due");
    assert_eq!(stage.session.statistics().skipped, 8);
    let timestamps: Vec<u32> =
        stage.sent.iter().map(|sent| sent.packet().timestamp.wrapping_sub(u32::MAX - 1000) / 160).collect();
    assert_eq!(timestamps, [0, 1, 2, 11, 12]);
    let marks: Vec<bool> = stage.sent.iter().map(|sent| sent.packet().marker).collect();
    assert_eq!(marks, [true, false, false, true, false]);
    // The words wait: none is lost.
    assert_eq!(stage.sound_sent(), words[..5 * 160]);
    assert_eq!(stage.sent.last().unwrap().late, Duration::from_millis(5));
    // And the caller's side has not fallen behind.
    stage.run(Duration::from_millis(55));
    assert_eq!(stage.all_heard().len(), 1600 + 800);
}

#[test]
fn after_a_night_asleep_the_grid_goes_on_from_now() {
    let mut stage = Stage::agreed();
    stage.sleep_through(Duration::from_secs(8 * 3600));
    assert_eq!(stage.sent.len(), 2);
    assert!(stage.all_heard().len() <= 8000);
    stage.run(Duration::from_secs(1));
    assert_eq!(stage.sent.len(), 52);
}
