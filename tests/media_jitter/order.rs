//! Packets in order and out of it, lost, of any size, and timestamps that jump.

use crate::line::{Line, SILENCE, heard, made_up, number, packet, some, spoken, steepest, steepest_of_the_voice};
use voice_gateway::audio::{FRAME, Law};
use voice_gateway::media::jitter_buffer::{Placed, Playout};

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
