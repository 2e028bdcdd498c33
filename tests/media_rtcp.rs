//! Two media sessions that report to each other on simulated time: what each learns of the line, in plain, with SRTP, by one socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;
use std::time::Duration;
use voice_gateway::base::{Now, clock};
use voice_gateway::media::rtcp::{Item, read};
use voice_gateway::media::rtp::Numbering;
use voice_gateway::media::srtp::{MasterKey, Srtp, Suite};
use voice_gateway::media::{
    Codec, Control, ControlPath, Input, Negotiated, Output, Session, Settings, Socket, Statistics,
};

const HOSTS: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
const MS: Duration = Duration::from_millis(1);

fn address(side: usize, socket: Socket) -> SocketAddr {
    let port = if socket == Socket::Rtp { 4000 } else { 4001 };
    SocketAddr::new(HOSTS[side].parse().unwrap(), port)
}

fn key(suite: Suite, fill: u8) -> MasterKey {
    MasterKey::new(suite, vec![fill; suite.key_length() + suite.salt_length()]).unwrap()
}

/// On its way.
struct Datagram {
    due: Duration,
    to: usize,
    socket: Socket,
    bytes: Vec<u8>,
}

/// Both sides of a line that takes its time and loses packets of one side.
struct Line {
    start: Now,
    now: Now,
    sessions: Vec<Session>,
    flight: Vec<Datagram>,
    way: [Duration; 2],
    /// One packet of RTP in so many of side 0 is lost.
    lose_one_in: Option<u32>,
    sent: u32,
    /// All reports in plain sight: when, of which side, by which socket.
    reports: Vec<(Duration, usize, Socket, Vec<u8>)>,
    closed: [Option<Statistics>; 2],
}

impl Line {
    fn new(path: ControlPath, secured: bool) -> Self {
        let start = clock::now();
        let sessions = (0..2_u32)
            .map(|side| {
                let numbering = Numbering::new(100 + side, 65_530, u32::MAX - 400);
                Session::new(Settings::default(), start.at, numbering).with(Control::new(u128::from(side) << 96))
            })
            .collect();
        let mut line = Self {
            start,
            now: start,
            sessions,
            flight: Vec::new(),
            way: [30 * MS, 50 * MS],
            lose_one_in: None,
            sent: 0,
            reports: Vec::new(),
            closed: [None, None],
        };
        for side in 0..2 {
            let suite = Suite::AesCm128HmacSha1_80;
            let (ours, theirs) = (key(suite, side as u8 + 1), key(suite, 2 - side as u8));
            let srtp = secured.then_some(Srtp { suite, ours, theirs, mki: 0 });
            let usual = Negotiated::usual(address(1 - side, Socket::Rtp), Codec::Pcmu);
            line.feed(side, Input::Agree(Negotiated { srtp, rtcp: path, ..usual }));
        }
        line
    }

    fn feed(&mut self, side: usize, input: Input<'_>) {
        let mut out = Vec::new();
        let _ = self.sessions[side].step(self.now, input, &mut out);
        let (at, other) = (self.now.at - self.start.at, 1 - side);
        for output in out {
            let (to, socket, bytes) = match output {
                Output::Send { to, datagram, .. } => {
                    self.sent += u32::from(side == 0);
                    if side == 0 && self.lose_one_in.is_some_and(|n| self.sent.is_multiple_of(n)) {
                        continue;
                    }
                    (to, Socket::Rtp, datagram.bytes().to_vec())
                }
                Output::Report { to, compound, by } => {
                    self.reports.push((at, side, by, compound.bytes().to_vec()));
                    (to, by, compound.bytes().to_vec())
                }
                Output::Closed(statistics) => {
                    self.closed[side] = Some(statistics);
                    continue;
                }
                _ => continue,
            };
            assert_eq!(to, address(other, socket));
            self.flight.push(Datagram { due: at + self.way[side], to: other, socket, bytes });
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.at + time;
        while self.now.at < end {
            self.now = self.now.after(10 * MS);
            let at = self.now.at - self.start.at;
            let (due, later) = std::mem::take(&mut self.flight).into_iter().partition(|datagram| datagram.due <= at);
            self.flight = later;
            let due: Vec<Datagram> = due;
            for Datagram { to, socket, bytes, .. } in due {
                let from = address(1 - to, socket);
                match socket {
                    Socket::Rtp => self.feed(to, Input::Datagram { from, bytes: &bytes }),
                    Socket::Rtcp => self.feed(to, Input::Control { at: self.now.at, from, bytes: &bytes }),
                }
            }
            for side in 0..2 {
                self.feed(side, Input::Tick);
            }
        }
    }
}

#[test]
fn both_sides_learn_round_trip_and_what_the_other_hears() {
    for (path, secured, socket) in [
        (ControlPath::Neighbour, false, Socket::Rtcp),
        (ControlPath::Neighbour, true, Socket::Rtcp),
        (ControlPath::Multiplexed, false, Socket::Rtp),
        (ControlPath::Multiplexed, true, Socket::Rtp),
    ] {
        let mut line = Line::new(path, secured);
        line.lose_one_in = Some(10);
        line.run(Duration::from_secs(60));
        assert!(line.reports.iter().all(|(_, _, by, _)| *by == socket));
        assert!((20..=40).contains(&line.reports.len()), "{}", line.reports.len());
        assert!(line.reports[0].0 <= 3100 * MS, "{:?}", line.reports[0].0);
        let [zero, one] = [0, 1].map(|side| line.sessions[side].statistics());
        for statistics in [zero, one] {
            let round_trip = statistics.reports.round_trip.unwrap();
            assert!((79 * MS..=101 * MS).contains(&round_trip), "80 ms, seen every 10: {round_trip:?}");
            let dropped = statistics.dropped;
            assert_eq!(
                (dropped.not_rtcp, dropped.not_rtp, dropped.stranger, dropped.flood, dropped.forged),
                (0, 0, 0, 0, 0)
            );
        }
        // What side 0 is told of its loss is what side 1 counts, up to the last report.
        let heard = zero.reports.heard.unwrap();
        assert!(one.lost >= 290 && heard.lost <= one.lost && one.lost - heard.lost <= 31, "{heard:?} {}", one.lost);
        let percent = heard.lost * 1000 / heard.of;
        assert!((95..=101).contains(&percent), "{heard:?}");
        assert_eq!(one.reports.heard.unwrap().lost, 0);
        // Each leaves with a BYE, which the other takes.
        line.feed(0, Input::Close);
        line.feed(1, Input::Close);
        assert!(line.closed.iter().all(Option::is_some));
        for (_, side, _, bytes) in &line.reports[line.reports.len() - 2..] {
            let mut last = None;
            let readable = read(bytes, |item| last = Some(item));
            if secured {
                let described = bytes.windows(4).any(|words| words == [0x81, 202, 0, 6]);
                assert!(!readable && !described, "nothing behind the first source is in plain sight");
            } else {
                assert_eq!(last, Some(Item::Goodbye(100 + u32::try_from(*side).unwrap())));
            }
        }
    }
}

#[test]
fn a_fraction_of_256_tells_of_the_loss_since_the_last_report() {
    let mut line = Line::new(ControlPath::Neighbour, false);
    line.lose_one_in = Some(4);
    line.run(Duration::from_secs(20));
    line.lose_one_in = None;
    line.run(Duration::from_secs(20));
    let blocks: Vec<_> = line
        .reports
        .iter()
        .filter(|(_, side, ..)| *side == 1)
        .flat_map(|(at, _, _, bytes)| {
            let mut blocks = Vec::new();
            assert!(read(bytes, |item| if let Item::Report(block) = item {
                blocks.push((*at, block));
            }));
            blocks
        })
        .collect();
    let early = blocks.iter().find(|(at, _)| *at > Duration::from_secs(8)).unwrap();
    assert!((60..=68).contains(&early.1.fraction_lost), "a quarter: {early:?}");
    let late = blocks.last().unwrap();
    assert_eq!(late.1.fraction_lost, 0, "{late:?}");
    assert!((240..=250).contains(&late.1.total_lost), "{late:?}");
    assert!(blocks.iter().is_sorted_by_key(|(_, block)| block.last_sequence_number));
    assert!(late.1.last_sequence_number > 65_536, "over the rollover");
}

#[test]
fn a_peer_that_wants_no_reports_gets_none_and_a_session_without_control_sends_none() {
    let mut line = Line::new(ControlPath::Off, false);
    line.run(Duration::from_secs(20));
    assert!(line.reports.is_empty());
    let now = clock::now();
    let mut session = Session::new(Settings::default(), now.at, Numbering::new(1, 2, 3));
    let mut out = Vec::new();
    let _ =
        session.step(now, Input::Control { at: now.at, from: address(1, Socket::Rtcp), bytes: &[0x80; 12] }, &mut out);
    let _ = session.step(now, Input::Close, &mut out);
    assert!(!out.iter().any(|output| matches!(output, Output::Report { .. })));
}

#[test]
fn garbage_forged_and_repeated_reports_are_counted_and_change_nothing() {
    let mut plain = Line::new(ControlPath::Neighbour, false);
    plain.run(Duration::from_secs(4));
    let before = plain.sessions[0].statistics();
    let from = address(1, Socket::Rtcp);
    for length in 0..20_usize {
        let junk = vec![0x81; length];
        plain.now = plain.now.after(100 * MS);
        plain.feed(0, Input::Control { at: plain.now.at, from, bytes: &junk });
    }
    let after = plain.sessions[0].statistics();
    assert_eq!(after.dropped.not_rtcp - before.dropped.not_rtcp, 20);
    assert_eq!(after.reports, before.reports);

    let mut secured = Line::new(ControlPath::Neighbour, true);
    secured.run(Duration::from_secs(8));
    let before = secured.sessions[0].statistics();
    let (.., last) = secured.reports.iter().rev().find(|(_, side, ..)| *side == 1).unwrap().clone();
    let plain = [0x80, 201, 0, 1, 0, 0, 0, 101, 0, 0, 0, 0, 0x80, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    let at = secured.now.at;
    for bytes in [&last[..], &plain, &last[..8]] {
        secured.feed(0, Input::Control { at, from, bytes });
    }
    let dropped = secured.sessions[0].statistics().dropped;
    let new = |count: fn(&voice_gateway::media::Dropped) -> u64| count(&dropped) - count(&before.dropped);
    assert_eq!((new(|d| d.replayed), new(|d| d.forged), new(|d| d.not_rtcp)), (1, 1, 1));
    assert_eq!(secured.sessions[0].statistics().reports, before.reports);
}
