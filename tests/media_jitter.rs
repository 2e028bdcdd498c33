//! The jitter buffer on simulated time: order, loss, pauses, stalls, jitter and clocks that drift, and how all of it sounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashSet;
use std::f32::consts::TAU;
use std::ops::Range;
use std::time::Duration;
use voice_gateway::audio::{FRAME, Law};
use voice_gateway::media::extended::ExtendedTimestamp;
use voice_gateway::media::jitter_buffer::{Arrival, Clock, JitterBuffer, Placed, Playout};

const SILENCE: u8 = 0xFF;
const STEP: i64 = 160;
const MS: i64 = 8;

/// A line of packets of 20 ms, read at our pace.
struct Line {
    buffer: JitterBuffer,
    /// Our clock: the next frame is read now.
    slot: i64,
    /// Timestamp of packet 0.
    base: u64,
    highest: Option<u64>,
    heard: Vec<u8>,
}

impl Line {
    fn between(least: u64, longest: u64) -> Self {
        let buffer = JitterBuffer::new(Law::Mu, Duration::from_millis(least), Duration::from_millis(longest));
        let base = ExtendedTimestamp::first(u32::MAX - 300).0;
        Self { buffer, slot: 0, base, highest: None, heard: Vec::new() }
    }

    /// Of a delay that is always 40 ms, but for stalls of up to 200 ms.
    fn held() -> Self {
        Self::between(40, 200)
    }

    /// 160 ms without a packet, then all of them at once.
    fn after_a_stall(sound: impl Fn(u64) -> Vec<u8>) -> Self {
        let mut line = Self::held();
        line.put(0, &sound(0));
        line.take(9);
        (1..9).for_each(|n| assert_eq!(line.put(n, &sound(n)), Placed::Kept));
        line
    }

    /// Packet `n` comes now.
    fn put(&mut self, n: u64, payload: &[u8]) -> Placed {
        self.put_at(self.slot, n, self.base + n * 160, payload)
    }

    fn put_at(&mut self, now: i64, sequence: u64, timestamp: u64, payload: &[u8]) -> Placed {
        let follows = self.highest.is_some_and(|highest| sequence == highest + 1);
        self.highest = self.highest.max(Some(sequence));
        let clock = Clock { now, slot: self.slot };
        self.buffer.put(&Arrival { clock, timestamp: ExtendedTimestamp(timestamp), follows, payload })
    }

    fn take(&mut self, frames: usize) {
        for _ in 0..frames {
            let mut frame = [0; FRAME];
            self.buffer.take(self.slot, &mut frame);
            self.slot += STEP;
            self.heard.extend(frame);
        }
    }

    /// The last byte of each frame: what is mixed at the seam of a loss is before it.
    fn lasts(&self) -> Vec<u8> {
        self.heard.chunks(FRAME).map(|frame| frame[FRAME - 1]).collect()
    }

    fn counts(&self) -> Playout {
        self.buffer.counts()
    }

    fn samples(&self) -> Vec<i16> {
        self.heard.iter().map(|byte| Law::Mu.decode(*byte)).collect()
    }
}

/// A packet whose bytes tell its number, and are loud.
fn packet(n: u64) -> Vec<u8> {
    vec![number(n); FRAME]
}

fn number(n: u64) -> u8 {
    (n % 100) as u8
}

fn heard(numbers: impl IntoIterator<Item = Option<u64>>) -> Vec<u8> {
    numbers.into_iter().map(|n| n.map_or(SILENCE, number)).collect()
}

fn some(numbers: Range<u64>) -> impl Iterator<Item = Option<u64>> {
    numbers.map(Some)
}

/// Somebody who speaks, and whose pitch wanders about 140 Hz.
fn voice(at: u64) -> i16 {
    let t = at as f32 / 8000.0;
    let phase = TAU * (140.0 * t + 4.0 * (TAU * 0.7 * t).sin());
    (7000.0 * phase.sin() + 3000.0 * (2.0 * phase + 0.5).sin() + 1200.0 * (3.0 * phase).sin()) as i16
}

fn made_up(ms: u64) -> Playout {
    Playout { concealed: Duration::from_millis(ms), ..Playout::default() }
}

fn spoken(times: Range<u64>) -> Vec<u8> {
    times.map(|at| Law::Mu.encode(voice(at))).collect()
}

fn steepest(samples: &[i16]) -> i32 {
    samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap()
}

/// What the coded voice itself has for its largest step.
fn steepest_of_the_voice() -> i32 {
    let samples: Vec<i16> = (0..80_000).map(|at| Law::Mu.decode(Law::Mu.encode(voice(at)))).collect();
    steepest(&samples)
}

#[test]
fn packets_in_order_come_out_byte_for_byte_after_the_delay() {
    let mut line = Line::held();
    for n in 0..200 {
        assert_eq!(line.put(n, &packet(n)), Placed::Kept);
        line.take(1);
    }
    let wanted: Vec<u8> = (0..198).flat_map(packet).collect();
    assert_eq!(line.heard[..320], [SILENCE; 320]);
    assert!(line.heard[320..] == wanted);
    assert_eq!(line.counts(), Playout::default());
}

#[test]
fn reordered_and_double_packets_are_put_right_and_lost_ones_are_made_up() {
    let mut line = Line::held();
    let sound = |n: u64| spoken(n * 160..n * 160 + 160);
    for put in [&[0][..], &[1], &[2], &[4], &[3, 3], &[5], &[], &[7], &[8], &[9], &[10], &[11]] {
        for &n in put {
            line.put(n, &sound(n));
        }
        line.take(1);
    }
    line.take(1);
    let frame = |n: usize| &line.heard[n * FRAME..(n + 1) * FRAME];
    for n in [0, 1, 2, 3, 4, 5, 8, 9] {
        assert_eq!(frame(n as usize + 2), sound(n), "{n}");
    }
    // Packet 6: the voice goes on, not the same but as loud.
    let energy = |bytes: &[u8]| bytes.iter().map(|byte| f64::from(Law::Mu.decode(*byte)).powi(2)).sum::<f64>();
    let share = energy(frame(8)) / energy(&sound(6));
    assert!((0.5..1.2).contains(&share), "{share:.2}");
    assert_eq!(frame(9)[80..], sound(7)[80..], "10 ms at the most are faded in");
    assert!(steepest(&line.samples()) <= steepest_of_the_voice() * 13 / 10);
    assert_eq!(line.counts(), made_up(20));
    // A straggler does not come after what followed it.
    assert_eq!(line.put(6, &sound(6)), Placed::Late);
}

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

#[test]
fn timestamps_that_jump_by_hours_either_way_cost_a_moment_only() {
    for jump in [1_u64 << 30, 0_u64.wrapping_sub(1 << 30)] {
        let mut line = Line::held();
        for n in 0..10 {
            line.put(n, &packet(n));
            line.take(1);
        }
        line.base = line.base.wrapping_add(jump);
        for n in 10..60 {
            line.put(n, &packet(n));
            line.take(1);
        }
        let lasts = line.lasts();
        assert_eq!(lasts[20..], heard(some(18..58)), "{jump:#x}");
    }
}

#[test]
fn packets_of_any_size_are_one_stream() {
    for size in [80_u64, 160, 240, 320, 480] {
        let mut line = Line::between(60, 200);
        let mut put = 0;
        for tick in 0..100_u64 {
            while put < (tick + 1) * 160 {
                let payload: Vec<u8> = (put..put + size).map(|n| number(n / 7)).collect();
                assert_eq!(line.put_at(line.slot, put / size, line.base + put, &payload), Placed::Kept);
                put += size;
            }
            line.take(1);
        }
        let wanted: Vec<u8> = (0..97 * 160_u64).map(|n| number(n / 7)).collect();
        assert!(line.heard[480..] == wanted, "{size}");
    }
}

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
