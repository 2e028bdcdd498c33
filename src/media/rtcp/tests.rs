//! What the machine of RTCP says and learns, on given time.

use super::control::Unused;
use super::packet::read;
use super::*;
use crate::base::{Now, clock};
use std::time::{Duration, Instant};

const OURS: Ours = Ours { ssrc: 7, packets: 100, octets: 16_000, timestamp: 4000 };
const THEIRS: Theirs = Theirs { ssrc: 9, fraction: 51, lost: 30, highest: 65_540, jitter: 12 };
const MS: Duration = Duration::from_millis(1);

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn rtp() -> SocketAddr {
    at("198.51.100.7:4000")
}

fn control(now: Now, path: ControlPath) -> Control {
    let mut control = Control::new(0x0123_4567_89AB_CDEF_0123_4567_89AB_CDEF);
    control.agree(now.at, rtp(), path);
    control
}

fn items(compound: &Compound) -> Vec<Item> {
    let mut items = Vec::new();
    assert!(read(compound.bytes(), |item| items.push(item)));
    items
}

/// The peer's side of a session: the same machine with the streams the other way around.
fn take(control: &mut Control, at: Instant, from: SocketAddr, datagram: &[u8]) -> Result<(), Unused> {
    control.receive(at, from, rtp(), (OURS, Some(THEIRS.ssrc)), datagram)
}

#[test]
fn reports_come_about_every_five_seconds_at_random_and_the_first_in_half_the_time() {
    let start = clock::now();
    let mut waits = Vec::new();
    for seed in 0..200_u128 {
        let mut control = Control::new(seed << 96);
        control.agree(start.at, rtp(), ControlPath::Neighbour);
        let mut now = start;
        let mut times = Vec::new();
        while times.len() < 3 {
            now = now.after(20 * MS);
            if control.is_due(now.at) {
                let _ = control.report(now, OURS, None);
                times.push(now.at - start.at);
            }
        }
        assert!((1020 * MS..=3100 * MS).contains(&times[0]), "{times:?}");
        waits.push(times[2] - times[1]);
    }
    assert!(waits.iter().all(|wait| (2040 * MS..=6180 * MS).contains(wait)), "{waits:?}");
    let mean = waits.iter().sum::<Duration>() / 200;
    assert!((3900 * MS..=4300 * MS).contains(&mean), "5 s by e - 3/2 is 4.1 s: {mean:?}");
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 100, "each another");
}

#[test]
fn a_sender_reports_as_sender_with_name_and_block_and_who_sends_nothing_as_receiver() {
    let now = clock::now();
    let mut control = control(now, ControlPath::Neighbour);
    let report = control.report(now, OURS, Some(THEIRS));
    let [Item::Sender { ssrc: 7, ntp }, Item::Report(block)] = &items(&report)[..] else { panic!("{report:?}") };
    let since_1970 = now.wall.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(ntp >> 32, since_1970.as_secs() + 2_208_988_800);
    assert!((((ntp & 0xFFFF_FFFF) * 1_000_000_000) >> 32).abs_diff(u64::from(since_1970.subsec_nanos())) <= 1);
    assert_eq!((block.ssrc, block.fraction_lost, block.total_lost), (9, 51, 30));
    assert_eq!((block.last_sequence_number, block.jitter), (65_540, 12));
    assert_eq!((block.last_sender_report, block.delay), (0, 0), "no report of theirs has come");
    let bytes = report.bytes();
    assert_eq!(bytes[16..28], [0, 0, 15, 160, 0, 0, 0, 100, 0, 0, 62, 128]);
    // SDES behind a sender report of one block: the name is 12 bytes in base 64.
    assert_eq!(bytes[52..62], [0x81, 202, 0, 6, 0, 0, 0, 7, 1, 16]);
    assert_eq!((&bytes[62..78], &bytes[78..]), (&b"iavN7wEjRWeJq83v"[..], &[0, 0][..]));
    let next = control.report(now, OURS, None);
    assert_eq!((items(&next), next.bytes()[1], next.bytes().len()), (vec![], 201, 8 + 28));
}

#[test]
fn leaving_says_bye_once_something_was_sent() {
    let now = clock::now();
    let mut one = control(now, ControlPath::Neighbour);
    assert_eq!(one.leave(now, Ours { packets: 0, ..OURS }, None), None);
    let mut deaf = control(now, ControlPath::Off);
    assert!(!deaf.is_due(now.at + Duration::from_secs(60)));
    assert_eq!(deaf.leave(now, OURS, None), None, "the peer wants none");
    let last = control(now, ControlPath::Neighbour).leave(now, OURS, None).unwrap();
    assert_eq!(items(&last).last(), Some(&Item::Goodbye(7)));
}

#[test]
fn the_round_trip_is_the_time_away_less_the_time_there_whatever_both_clocks_say() {
    let start = clock::now();
    let mut ours = control(start, ControlPath::Neighbour);
    let mut peer = control(start, ControlPath::Neighbour);
    let from = at("198.51.100.7:4001");
    let sent = ours.report(start, OURS, None);
    let there = start.after(30 * MS);
    let theirs = (Ours { ssrc: 9, ..OURS }, Some(7));
    peer.receive(there.at, from, rtp(), theirs, sent.bytes()).unwrap();
    // It answers 2 s later; our clock on the wall has been set back meanwhile.
    let answered = Now { wall: start.wall - Duration::from_secs(3600), ..there.after(Duration::from_secs(2)) };
    let heard = Theirs { ssrc: 7, fraction: 0, lost: 4, highest: 100, jitter: 24 };
    let answer = peer.report(answered, theirs.0, Some(heard));
    take(&mut ours, answered.at + 50 * MS, from, answer.bytes()).unwrap();
    let reports = ours.reports();
    let round_trip = reports.round_trip.unwrap();
    assert!(round_trip.abs_diff(80 * MS) < Duration::from_micros(40), "{round_trip:?}");
    assert_eq!(reports.heard, Some(Heard { lost: 4, of: 100, jitter: 24 }));
    // And what we tell of their report: its middle bits, and how long ago it came.
    let later = answered.after(50 * MS).after(Duration::from_secs(1));
    let block = items(&ours.report(later, Ours { packets: 200, ..OURS }, Some(THEIRS)));
    let [.., Item::Report(block)] = &block[..] else { panic!() };
    let Some(Item::Sender { ntp, .. }) = items(&answer).first().cloned() else { panic!() };
    assert_eq!(u64::from(block.last_sender_report), ntp >> 16 & 0xFFFF_FFFF);
    assert!(block.delay.abs_diff(65_536) <= 1, "{}", block.delay);
}

#[test]
fn nothing_is_measured_by_a_report_that_we_never_sent_or_that_was_kept_for_longer_than_it_was_away() {
    let start = clock::now();
    let mut ours = control(start, ControlPath::Neighbour);
    let from = at("198.51.100.7:4001");
    let sent = ours.report(start, OURS, None);
    let [Item::Sender { ntp, .. }] = items(&sent)[..] else { panic!() };
    let time = (ntp >> 16) as u32;
    for (last_sender_report, delay) in [(time ^ 1, 0), (0, 0), (time, 65_536), (time, u32::MAX)] {
        let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 9, 0, 0, 0, 7];
        // 24 bits below zero: more came than was sent.
        report.extend([0, 0xFF, 0xFF, 0xFE, 0, 0, 0, 1, 0, 0, 0, 0]);
        report.extend(last_sender_report.to_be_bytes());
        report.extend(delay.to_be_bytes());
        take(&mut ours, start.at + 500 * MS, from, &report).unwrap();
        assert_eq!(ours.reports().round_trip, None, "{last_sender_report} {delay}");
        assert_eq!(ours.reports().heard.unwrap().lost, 0);
    }
}

#[test]
fn losses_of_a_stream_that_began_anew_are_counted_on() {
    let start = clock::now();
    let mut ours = control(start, ControlPath::Neighbour);
    let from = at("198.51.100.7:4001");
    let told = |ssrc: u32, lost: u64| {
        let heard = Theirs { ssrc, lost, ..THEIRS };
        control(start, ControlPath::Neighbour).report(start, Ours { ssrc: 9, packets: 0, ..OURS }, Some(heard))
    };
    for (ssrc, packets, lost, all) in [(7, 100, 5, (5, 100)), (7, 200, 6, (6, 200)), (8, 10, 1, (7, 210))] {
        let streams = (Ours { ssrc, packets, ..OURS }, None);
        ours.receive(start.at, from, rtp(), streams, told(ssrc, lost).bytes()).unwrap();
        let heard = ours.reports().heard.unwrap();
        assert_eq!((heard.lost, heard.of), all);
    }
    let of_nobody = told(1234, 99);
    take(&mut ours, start.at, from, of_nobody.bytes()).unwrap();
    assert_eq!(ours.reports().heard.unwrap().lost, 7);
}

#[test]
fn reports_go_where_they_were_agreed_to_go_and_then_where_the_peer_sends_from() {
    let now = clock::now();
    let elsewhere = at("192.0.2.5:9000");
    assert_eq!(control(now, ControlPath::Neighbour).target(rtp()), Some(at("198.51.100.7:4001")));
    assert_eq!(control(now, ControlPath::At(elsewhere)).target(rtp()), Some(elsewhere));
    assert_eq!(control(now, ControlPath::Multiplexed).target(rtp()), Some(rtp()));
    assert_eq!(control(now, ControlPath::Off).target(rtp()), None);
    let translated = at("203.0.113.9:33000");
    assert_eq!(control(now, ControlPath::Neighbour).target(translated), Some(at("203.0.113.9:4001")));
    let mut control = control(now, ControlPath::Neighbour);
    take(&mut control, now.at, at("198.51.100.7:50001"), &[0x80, 201, 0, 1, 0, 0, 0, 9]).unwrap();
    assert_eq!(control.target(rtp()), Some(at("198.51.100.7:50001")));
    control.agree(now.at, rtp(), ControlPath::Neighbour);
    assert_eq!(control.target(rtp()), Some(at("198.51.100.7:50001")), "the same again changes nothing");
    control.agree(now.at, at("0.0.0.0:4000"), ControlPath::Neighbour);
    assert_eq!(control.target(rtp()), Some(at("198.51.100.7:50001")), "nor does a hold");
    control.agree(now.at, elsewhere, ControlPath::Neighbour);
    assert_eq!(control.target(elsewhere), Some(at("192.0.2.5:9001")));
    assert_eq!(super::Control::new(1).target(rtp()), None, "nothing is agreed");
}

#[test]
fn strangers_garbage_and_floods_are_told_apart_and_change_nothing() {
    let start = clock::now();
    let mut control = control(start, ControlPath::Neighbour);
    let empty = [0x80, 201, 0, 1, 0, 0, 0, 9];
    let (from, other) = (at("198.51.100.7:4001"), at("198.51.100.7:60000"));
    assert_eq!(take(&mut control, start.at, at("203.0.113.66:4001"), &empty), Err(Unused::Stranger));
    assert_eq!(take(&mut control, start.at, from, b"OPTIONS sip:a SIP/2.0"), Err(Unused::Malformed));
    assert_eq!(control.target(rtp()), Some(from));
    assert_eq!(take(&mut control, start.at, other, &empty), Ok(()));
    assert_eq!(take(&mut control, start.at, from, &empty), Ok(()), "what the body says is always right");
    assert_eq!(
        take(&mut control, start.at + 14_999 * MS, other, &empty),
        Err(Unused::Stranger),
        "not while it reports"
    );
    assert_eq!(take(&mut control, start.at + 15_000 * MS, other, &empty), Ok(()));
    let late = start.at + 20_000 * MS;
    let taken = (0..1000).filter(|_| take(&mut control, late, other, &empty).is_ok()).count();
    assert_eq!(taken, 20);
    assert_eq!(take(&mut control, late + 999 * MS, other, &empty), Err(Unused::Flood));
    assert_eq!(take(&mut control, late + 1000 * MS, other, &empty), Ok(()));
    assert_eq!(control.reports().packets_in, 3 + 20 + 1);
    let next = late + 2000 * MS;
    for _ in 0..1000 {
        assert_eq!(take(&mut control, next, at("203.0.113.66:4001"), &empty), Err(Unused::Stranger));
    }
    assert_eq!(take(&mut control, next, other, &empty), Ok(()), "strangers use up nothing");
}

#[test]
fn on_one_socket_only_the_source_of_rtp_reports() {
    let start = clock::now();
    let mut control = control(start, ControlPath::Multiplexed);
    let empty = [0x80, 201, 0, 1, 0, 0, 0, 9];
    assert_eq!(take(&mut control, start.at, rtp(), &empty), Ok(()));
    assert_eq!(take(&mut control, start.at, at("198.51.100.7:4001"), &empty), Err(Unused::Stranger));
    assert!(
        is_control(&empty) && !is_control(&[0x80, 0x80 | 101, 0, 1]) && !is_control(&[0x80, 13]) && !is_control(&[])
    );
}
