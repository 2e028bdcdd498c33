//! Pauses of the sender: silence, or the comfort noise that it wants.

use crate::line::{Line, SILENCE, heard, made_up, packet, some};
use std::ops::Range;
use voice_gateway::audio::FRAME;
use voice_gateway::media::extended::ExtendedTimestamp;
use voice_gateway::media::jitter_buffer::Playout;

#[test]
fn a_sender_that_leaves_silence_out_is_heard_at_its_time_and_nothing_is_counted_as_lost() {
    let mut line = Line::held();
    for n in 0..5 {
        line.put(n, &packet(n));
        line.take(1);
    }
    line.take(45);
    // The numbers go on, the timestamps have moved by the pause.
    for n in 50..55 {
        line.put_at(line.slot, n - 45, line.base + n * 160, &packet(n));
        line.take(1);
    }
    assert_eq!(line.counts(), Playout::default());
    let lasts = line.lasts();
    assert_eq!(lasts[2..7], heard(some(0..5)));
    // The last sound fades away within 60 ms.
    assert_eq!(lasts[10..52], [SILENCE; 42]);
    assert_eq!(lasts[52..], heard(some(50..53)));
    assert_eq!(line.heard[52 * FRAME..53 * FRAME], packet(50), "not a byte of the first syllable is touched");
    // The same pause with numbers that do not follow is loss.
    line.take(10);
    for n in 65..70 {
        line.put(n, &packet(n));
        line.take(1);
    }
    assert_eq!(line.counts(), made_up(200));
}

#[test]
fn a_pause_with_comfort_noise_sounds_as_the_peer_wants_it_to_its_end() {
    let mut line = Line::held();
    for n in 0..5 {
        line.put(n, &packet(n));
        line.take(1);
    }
    // Number 5 is comfort noise of -40 dBov, number 6 of -50.
    line.highest = Some(5);
    line.buffer.pause(ExtendedTimestamp(line.base + 5 * 160), &[40]);
    line.take(20);
    line.highest = Some(6);
    line.buffer.pause(ExtendedTimestamp(line.base + 25 * 160), &[50]);
    line.take(20);
    for n in 45..60 {
        line.put_at(line.slot, n - 38, line.base + n * 160, &packet(n));
        line.take(1);
    }
    let level = |frames: Range<usize>| {
        let samples = &line.samples()[frames.start * FRAME..frames.end * FRAME];
        let power = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
        10.0 * (power / 32_767_f64.powi(2)).log10()
    };
    let (early, late) = (level(8..25), level(25..45));
    assert!((-41.0..-39.0).contains(&early) && (-51.5..-49.0).contains(&late), "{early:.1} {late:.1}");
    assert_eq!(line.heard[47 * FRAME..48 * FRAME], packet(45));
    assert_eq!(line.counts(), Playout::default());
}
