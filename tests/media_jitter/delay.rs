//! Stalls: the delay that they leave behind, and how it shrinks again.

use crate::line::{Line, SILENCE, heard, made_up, number, packet, some, spoken, steepest, steepest_of_the_voice};
use std::time::Duration;
use voice_gateway::audio::FRAME;

#[test]
fn the_burst_after_a_stall_is_heard_whole() {
    let mut line = Line::after_a_stall(packet);
    line.take(9);
    let sound: Vec<u8> = line.lasts().into_iter().skip(9).collect();
    assert_eq!(sound[..8], heard(some(1..9)));
    assert_eq!(line.counts(), made_up(120));
}

#[test]
fn the_delay_shrinks_again_where_nobody_speaks() {
    let mut line = Line::after_a_stall(packet);
    for n in 9..400 {
        line.put(n, &[SILENCE; FRAME]);
        line.take(1);
    }
    // From 160 ms down to 40.
    assert_eq!(line.counts().shortened, Duration::from_millis(120));
    assert_eq!(line.counts().concealed, Duration::from_millis(120));
}

#[test]
fn within_speech_it_shrinks_by_whole_pitch_periods_without_a_click() {
    let sound = |n: u64| spoken(n * 160..n * 160 + 160);
    let mut line = Line::after_a_stall(sound);
    for n in 9..600 {
        line.put(n, &sound(n));
        line.take(1);
    }
    let shortened = line.counts().shortened;
    assert!((Duration::from_millis(60)..=Duration::from_millis(120)).contains(&shortened), "{shortened:?}");
    let (samples, voice) = (line.samples(), steepest_of_the_voice());
    assert!(steepest(&samples) <= voice * 13 / 10, "{} against {voice}", steepest(&samples));
    assert_eq!(line.heard.len(), 600 * FRAME);
}

#[test]
fn beyond_the_longest_delay_the_oldest_goes() {
    let mut line = Line::held();
    for n in 0..20 {
        line.put(n, &packet(n));
    }
    line.take(1);
    assert!(line.counts().shortened >= Duration::from_millis(160), "{:?}", line.counts());
    line.take(12);
    assert!(line.lasts().contains(&number(19)), "{:?}", line.lasts());
}
