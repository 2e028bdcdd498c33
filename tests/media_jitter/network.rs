//! Minutes over a network of which everything is known: drift, jitter, loss.

use crate::line::{Line, MS, SILENCE, STEP, spoken, steepest, steepest_of_the_voice};
use std::collections::HashSet;
use std::time::Duration;
use voice_gateway::audio::FRAME;
use voice_gateway::media::jitter_buffer::Placed;

/// Four minutes of a voice whose sender's clock is off by so many millionths, its packets looked at every 20 ms as they are in life.
fn drifting(millionths: i64) -> Line {
    let mut line = Line::between(20, 200);
    let mut sent = 0_u64;
    while line.slot < 240 * 8000 {
        let due = |n: u64| n as i64 * STEP * 1_000_000 / (1_000_000 + millionths);
        while due(sent) <= line.slot {
            line.put(sent, &spoken(sent * 160..sent * 160 + 160));
            sent += 1;
        }
        line.take(1);
    }
    line
}

#[test]
fn clocks_that_drift_are_followed_without_a_click_and_without_a_loss() {
    let voice = steepest_of_the_voice();
    for millionths in [-1000, -200, 200, 1000] {
        let line = drifting(millionths);
        let counts = line.counts();
        assert_eq!(counts.concealed, Duration::ZERO, "{millionths}");
        let samples = line.samples();
        assert!(steepest(&samples) <= voice * 13 / 10, "{millionths}: {} against {voice}", steepest(&samples));
        let drift = 240.0 * millionths as f64 / 1e6;
        let moved = counts.shortened.as_secs_f64() - counts.lengthened.as_secs_f64();
        assert!((moved - drift).abs() < 0.045, "{millionths}: {counts:?}");
    }
}

/// A network of which everything is known: loss in permille, lateness of up to so many ms, and some packets that come twice.
struct Network {
    random: u64,
    loss: u64,
    jitter: u64,
}

impl Network {
    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// When, in our clock, each packet of a line of so many comes.
    fn arrivals(&mut self, packets: u64) -> Vec<(i64, u64)> {
        let mut arrivals = Vec::new();
        for n in 0..packets {
            if self.random(1000) < self.loss {
                continue;
            }
            // Mostly little, sometimes much.
            let jitter = self.random(self.jitter + 1) * self.random(100) / 100;
            let at = n as i64 * STEP + jitter as i64 * MS;
            arrivals.push((at, n));
            if self.random(50) == 0 {
                arrivals.push((at + 10 * MS, n));
            }
        }
        arrivals.sort_unstable();
        arrivals
    }
}

/// What two minutes over the network are like: the line, how many packets were lost, and how many came too late.
fn over(mut network: Network, least: u64, longest: u64) -> (Line, u64, u64) {
    let packets = 6000;
    let arrivals = network.arrivals(packets);
    let mut line = Line::between(least, longest);
    let (mut late, mut seen) = (0, HashSet::new());
    let mut next = 0;
    while line.slot < packets as i64 * STEP {
        while arrivals.get(next).is_some_and(|(at, _)| *at <= line.slot) {
            let (at, n) = arrivals[next];
            // The session keeps double ones away.
            if seen.insert(n) {
                late +=
                    u64::from(line.put_at(at, n, line.base + n * 160, &spoken(n * 160..n * 160 + 160)) == Placed::Late);
            }
            next += 1;
        }
        line.take(1);
    }
    let lost = packets - arrivals.iter().map(|(_, n)| n).collect::<HashSet<_>>().len() as u64;
    (line, lost, late)
}

#[test]
fn the_delay_follows_the_jitter_so_that_few_packets_come_too_late_and_no_more_is_waited_than_needed() {
    let voice = steepest_of_the_voice();
    for (jitter, least_depth, most_depth) in [(0, 20, 20), (15, 20, 20), (60, 30, 60), (120, 60, 110)] {
        let (line, _, late) = over(Network { random: 7, loss: 0, jitter }, 20, 200);
        assert!(late <= 6000 / 25, "{jitter} ms: {late} of 6000 too late");
        let depth = line.buffer.depth().as_millis();
        assert!((least_depth..=most_depth).contains(&depth), "{jitter} ms: {depth} ms deep");
        let steps = steepest(&line.samples());
        assert!(steps <= voice * 14 / 10, "{jitter} ms: {steps} against {voice}, {:?}", line.counts());
        println!("jitter of up to {jitter} ms: depth {depth} ms, {late} of 6000 late, {:?}", line.counts());
    }
}

#[test]
fn every_lost_packet_is_made_up_and_nothing_else_is() {
    let voice = steepest_of_the_voice();
    for loss in [10, 50, 200] {
        let (line, lost, late) = over(Network { random: 11, loss, jitter: 15 }, 40, 200);
        let counts = line.counts();
        let frames = counts.concealed.as_millis() as u64 / 20;
        assert!((lost - 8..=lost + late + 8).contains(&frames), "{loss}: {lost} lost, {counts:?}");
        let silent = line.heard[5 * FRAME..].chunks(FRAME).filter(|frame| frame.iter().all(|b| *b == SILENCE)).count();
        assert!(silent as u64 <= lost / 20, "{loss}: {silent} silent frames for {lost} lost");
        let steps = steepest(&line.samples());
        assert!(steps <= voice * 16 / 10, "{loss}: {steps} against {voice}");
        assert_eq!(line.heard.len(), 6000 * FRAME);
        println!("loss of {loss} permille: {lost} lost, {late} late, {silent} silent frames, {counts:?}");
    }
}
