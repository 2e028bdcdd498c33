//! The media session on simulated time: every rule of what is heard and what is sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use voice_gateway::audio::Law;
use voice_gateway::base::{Now, PlayId, Recording, clock};
use voice_gateway::media::rtp::{Numbering, Packet};
use voice_gateway::media::{Codec, Event, Input, Negotiated, Output, Session, Settings, Silence, Statistics};

const MS: Duration = Duration::from_millis(1);
const SLOT: Duration = Duration::from_millis(20);
const PEER: &str = "198.51.100.7:4000";
const MU_SILENCE: u8 = 0xFF;

fn peer() -> SocketAddr {
    PEER.parse().unwrap()
}

fn agreement() -> Negotiated {
    Negotiated::usual(peer(), Codec::Pcmu)
}

/// A packet of the wire.
fn rtp(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, payload_type];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What was sent: when, where to, the packet's bytes, how late.
#[derive(Clone, Debug)]
struct Sent {
    at: Duration,
    to: SocketAddr,
    bytes: Vec<u8>,
    late: Duration,
}

impl Sent {
    fn packet(&self) -> Packet<'_> {
        Packet::read(&self.bytes).unwrap()
    }
}

/// A session with all that it said.
struct Stage {
    session: Session,
    start: Now,
    now: Now,
    next: Option<Instant>,
    sent: Vec<Sent>,
    heard: Vec<Bytes>,
    events: Vec<(Duration, Event)>,
    recorded: Vec<([u8; 160], [u8; 160])>,
    closed: Option<Statistics>,
}

impl Stage {
    fn waiting(settings: Settings) -> Self {
        let start = clock::now();
        let session = Session::new(settings, start.at, Numbering::new(0xC0FFEE, 65_500, u32::MAX - 1000));
        let (sent, heard, events, recorded) = (vec![], vec![], vec![], vec![]);
        Self { session, start, now: start, next: None, sent, heard, events, recorded, closed: None }
    }

    fn agreed() -> Self {
        Self::agreed_with(Settings::default())
    }

    fn agreed_with(settings: Settings) -> Self {
        let mut stage = Self::waiting(settings);
        stage.feed(Input::Agree(agreement()));
        stage
    }

    fn feed(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        self.next = self.session.step(self.now, input, &mut out);
        let at = self.now.at - self.start.at;
        for output in out {
            match output {
                Output::Send { to, datagram, late } => {
                    self.sent.push(Sent { at, to, bytes: datagram.bytes().to_vec(), late });
                }
                Output::Event(event) => self.events.push((at, event)),
                Output::Heard(bytes) => self.heard.push(bytes),
                Output::Recorded { caller, assistant } => self.recorded.push((caller, assistant)),
                Output::RecordedWide { .. } => panic!("no wide band here"),
                Output::Closed(statistics) => self.closed = Some(statistics),
                Output::Report { .. } => panic!("nobody asked for reports"),
            }
        }
    }

    /// Lets time pass, ticking exactly when asked to.
    fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(next) = self.next.filter(|next| *next <= end.at) {
            self.now = self.now.after(next - self.now.at);
            self.feed(Input::Tick);
        }
        self.now = end;
    }

    /// Lets time pass with nobody driving the session, then ticks once.
    fn sleep_through(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.feed(Input::Tick);
    }

    fn receive_from(&mut self, from: &str, bytes: &[u8]) {
        self.feed(Input::Datagram { from: from.parse().unwrap(), bytes });
    }

    /// The peer's packet `n` of 20 ms, whose bytes tell its number.
    fn receive(&mut self, n: u16) {
        self.receive_from(PEER, &rtp(0, n, u32::from(n) * 160, 1, &[sound(n); 160]));
    }

    fn play(&mut self, play: u64, chunks: &[&[u8]]) {
        let play = PlayId(play);
        self.feed(Input::Play(play));
        for chunk in chunks {
            self.feed(Input::Chunk { play, bytes: Bytes::copy_from_slice(chunk) });
        }
        self.feed(Input::PlayEnd(play));
    }

    fn all_heard(&self) -> Vec<u8> {
        self.heard.concat()
    }

    fn sound_sent(&self) -> Vec<u8> {
        self.sent.iter().flat_map(|sent| sent.packet().payload.to_vec()).collect()
    }

    fn events(&self) -> Vec<Event> {
        self.events.iter().map(|(_, event)| *event).collect()
    }

    fn digits(&self) -> String {
        self.events().iter().filter_map(|event| if let Event::Digit(key) = event { Some(*key) } else { None }).collect()
    }
}

/// Loud, and never silence.
fn sound(n: u16) -> u8 {
    (n % 100) as u8
}

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

#[test]
fn a_prompt_is_sent_byte_for_byte_and_its_beginning_and_end_are_told() {
    let mut stage = Stage::agreed();
    stage.run(Duration::from_millis(110));
    let words: Vec<u8> = (0..1000_u32).map(|n| (n % 90) as u8).collect();
    stage.play(7, &[&words[..3], &words[3..500], &words[500..]]);
    stage.run(Duration::from_millis(500));
    let sent = stage.sound_sent();
    assert_eq!(sent[6 * 160..6 * 160 + 1000], words);
    assert!(sent[6 * 160 + 1000..].iter().chain(&sent[..6 * 160]).all(|b| *b == MU_SILENCE));
    let began = Duration::from_millis(120);
    let started = Event::PlayStarted { play: PlayId(7), at: stage.start.at + began, last_voiced: None };
    let finished = Event::PlayFinished { play: PlayId(7), sent_ms: 125, complete: true };
    let voiced = Event::PlayVoiced { play: PlayId(7), at: stage.start.at + began };
    assert_eq!(stage.events, [(began, started), (began, voiced), (began + SLOT * 6, finished)]);
}

#[test]
fn prompts_queue_and_stop_silences_all_of_them_with_the_next_frame() {
    let mut stage = Stage::agreed();
    stage.play(1, &[&[1; 800]]);
    stage.play(2, &[&[2; 8000]]);
    stage.play(3, &[&[3; 8000]]);
    stage.run(Duration::from_millis(150));
    assert_eq!(stage.sound_sent(), [[1; 800], [2; 800]].concat()[..8 * 160]);
    stage.feed(Input::Stop);
    stage.run(SLOT);
    assert_eq!(stage.sent.last().unwrap().packet().payload, [MU_SILENCE; 160]);
    let finished = |play, sent_ms, complete| Event::PlayFinished { play: PlayId(play), sent_ms, complete };
    let ends: Vec<Event> =
        stage.events().into_iter().filter(|event| matches!(event, Event::PlayFinished { .. })).collect();
    assert_eq!(ends, [finished(1, 100, true), finished(2, 60, false), finished(3, 0, false)]);
    // What still comes for a stopped prompt is not played.
    stage.feed(Input::Chunk { play: PlayId(2), bytes: Bytes::from(vec![2; 800]) });
    stage.run(SLOT);
    assert_eq!(stage.sent.last().unwrap().packet().payload, [MU_SILENCE; 160]);
}

#[test]
fn noise_is_sent_where_nothing_plays_and_not_a_byte_of_a_prompt_is_touched() {
    let mut stage = Stage::agreed_with(Settings { silence: Silence::ComfortNoise, ..Settings::default() });
    stage.run(SLOT * 10 - MS);
    stage.play(1, &[&[7; 1000]]);
    stage.run(SLOT * 100);
    let sent = stage.sound_sent();
    let at = sent.windows(1000).position(|part| part == [7; 1000].as_slice()).unwrap();
    assert_eq!(at, 10 * 160);
    let noise: Vec<f64> =
        [&sent[..at], &sent[at + 1000..]].concat().into_iter().map(|byte| f64::from(Law::Mu.decode(byte))).collect();
    let level = 10.0 * (noise.iter().map(|s| s * s).sum::<f64>() / noise.len() as f64 / 32_767_f64.powi(2)).log10();
    assert!((-63.5..-60.5).contains(&level), "{level:.1} dBov");
    // The packets go on without a gap: nothing is the first after a pause but the first of all.
    assert_eq!(stage.sent.iter().filter(|sent| sent.packet().marker).count(), 1);
}

#[test]
fn barge_in_silences_the_line_within_two_frames_wherever_in_a_slot_it_comes() {
    for ms in 0..20 {
        let mut stage = Stage::agreed();
        stage.play(1, &[&[7; 16_000]]);
        stage.run(Duration::from_millis(200 + ms));
        stage.feed(Input::Stop);
        let decided = stage.now.at - stage.start.at;
        stage.run(SLOT * 10);
        let sounds = |sent: &&Sent| sent.packet().payload != [MU_SILENCE; 160];
        let last = stage.sent.iter().rfind(sounds).unwrap().at;
        assert!(last <= decided, "a packet of the prompt left {:?} after the decision", last.saturating_sub(decided));
    }
}

#[test]
fn a_source_that_changes_with_each_packet_and_one_that_bears_the_peers_name_change_nothing() {
    let mut stage = Stage::agreed();
    for n in 0..100_u16 {
        stage.receive(n);
        // From the peer's host any port may be the peer's until it is known; from elsewhere nothing is taken, whatever it says.
        let packet = rtp(0, n, u32::from(n) * 160, 1, &[99; 160]);
        stage.receive_from(&format!("198.51.100.7:{}", 20_000 + n), &packet);
        stage.receive_from(&format!("203.0.113.{}:{}", n % 250 + 1, 1024 + n), &packet);
        stage.run(SLOT);
    }
    assert!(!stage.all_heard().contains(&99));
    assert!(stage.sent.iter().all(|sent| sent.to == peer()));
    let statistics = stage.session.statistics();
    assert_eq!((statistics.packets_in, statistics.dropped.stranger, statistics.lost), (100, 200, 0));
}

#[test]
fn more_prompts_than_anybody_needs_are_refused_aloud() {
    let mut stage = Stage::agreed();
    for play in 0..65 {
        stage.feed(Input::Play(PlayId(play)));
    }
    assert_eq!(stage.events(), [Event::PlayFinished { play: PlayId(64), sent_ms: 0, complete: false }]);
}

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
fn another_source_of_the_same_peer_is_followed() {
    let mut stage = Stage::agreed();
    (0..10).for_each(|n| {
        stage.receive(n);
        stage.run(SLOT);
    });
    stage.heard.clear();
    for n in 0..20_u16 {
        stage.receive_from(PEER, &rtp(0, 9000 + n, 77 + u32::from(n) * 160, 2, &[sound(50 + n); 160]));
        stage.run(SLOT);
    }
    let frames: Vec<u8> = stage.all_heard().chunks(160).map(|frame| frame[0]).collect();
    assert_eq!(frames[4..20], (52..68).map(sound).collect::<Vec<u8>>());
    assert_eq!(stage.session.statistics().lost, 0);
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

#[test]
fn a_stranger_neither_is_heard_nor_gets_what_is_sent() {
    let mut stage = Stage::agreed();
    stage.receive_from("198.51.100.7:5000", &rtp(0, 0, 0, 1, &[sound(0); 160]));
    for n in 1..50 {
        stage.receive_from("198.51.100.7:5000", &rtp(0, n, u32::from(n) * 160, 1, &[sound(n); 160]));
        stage.receive_from("203.0.113.66:4000", &rtp(0, n, u32::from(n) * 160, 1, &[99; 160]));
        stage.receive_from("203.0.113.66:4000", &rtp(101, n, 0, 1, &[1, 0x8A, 0, 160]));
        stage.run(SLOT);
    }
    assert!(!stage.all_heard().contains(&99));
    assert_eq!(stage.digits(), "");
    assert_eq!(stage.session.statistics().dropped.stranger, 98);
    let there: SocketAddr = "198.51.100.7:5000".parse().unwrap();
    assert!(stage.sent.iter().skip(1).all(|sent| sent.to == there));
}

#[test]
fn a_peer_behind_nat_is_followed_to_where_it_signals_from_and_a_guesser_is_not() {
    let private = Negotiated { remote: "192.168.1.20:4000".parse().unwrap(), ..agreement() };
    let signalling = Some("203.0.113.9".parse().unwrap());
    let mut stage = Stage::waiting(Settings { signalling, ..Settings::default() });
    stage.feed(Input::Agree(private));
    for n in 0..2 {
        stage.receive_from("203.0.113.66:4000", &rtp(0, n, u32::from(n) * 160, 1, &[99; 160]));
    }
    stage.run(SLOT);
    assert_eq!(stage.sent.last().unwrap().to, "192.168.1.20:4000".parse().unwrap());
    stage.receive_from("203.0.113.9:33000", &rtp(0, 0, 0, 2, &[1; 160]));
    for n in 2..9 {
        stage.receive_from("203.0.113.66:4000", &rtp(0, n, u32::from(n) * 160, 1, &[99; 160]));
    }
    stage.run(SLOT);
    assert_eq!(stage.sent.last().unwrap().to, "203.0.113.9:33000".parse().unwrap());
    assert_eq!((stage.session.statistics().packets_in, stage.session.statistics().dropped.stranger), (1, 9));
}

#[test]
fn media_that_moves_by_a_new_agreement_is_followed_and_the_old_place_is_a_stranger_from_then_on() {
    let mut stage = Stage::agreed();
    stage.receive(0);
    stage.run(SLOT);
    let moved: SocketAddr = "198.51.100.200:7000".parse().unwrap();
    stage.feed(Input::Agree(Negotiated { remote: moved, ..agreement() }));
    stage.run(SLOT);
    assert_eq!(stage.sent.last().unwrap().to, moved);
    stage.receive(1);
    assert_eq!(stage.session.statistics().dropped.stranger, 1);
    stage.receive_from("198.51.100.200:7000", &rtp(0, 2, 320, 1, &[sound(2); 160]));
    assert_eq!(stage.session.statistics().packets_in, 2);
}

#[test]
fn a_flood_is_counted_and_the_audio_of_a_stall_is_not_taken_for_one() {
    let mut stage = Stage::agreed();
    stage.run(Duration::from_secs(2));
    (0..50).for_each(|n| stage.receive(n));
    assert_eq!(stage.session.statistics().dropped.flood, 0);
    stage.run(Duration::from_secs(1));
    for n in 0..10_000_u32 {
        stage.receive_from(PEER, &rtp(0, 50_u16.wrapping_add(n as u16), n * 160, 1, &[1; 160]));
        if n % 100 == 0 {
            stage.run(SLOT);
        }
    }
    let taken = stage.session.statistics().packets_in;
    assert!(taken <= 50 + 64 + 100 * 8, "{taken}");
    assert!(stage.session.statistics().dropped.flood > 9000);
}

#[test]
fn a_peer_that_holds_us_is_sent_nothing_and_the_prompt_waits_for_it() {
    let mut stage = Stage::agreed();
    stage.play(1, &[&[1; 1600]]);
    stage.run(Duration::from_millis(50));
    let held = Negotiated { remote: "0.0.0.0:4000".parse().unwrap(), send: false, ..agreement() };
    stage.feed(Input::Agree(held));
    stage.run(Duration::from_secs(1));
    assert_eq!(stage.sent.len(), 3);
    stage.feed(Input::Agree(agreement()));
    stage.run(Duration::from_secs(1));
    let resumed = stage.sent[3].packet();
    assert!(resumed.marker);
    assert_eq!(resumed.sequence, stage.sent[2].packet().sequence.wrapping_add(1));
    assert_eq!(resumed.timestamp, stage.sent[2].packet().timestamp.wrapping_add(51 * 160));
    let sent: Vec<u8> = stage.sound_sent().into_iter().filter(|b| *b != MU_SILENCE).collect();
    assert_eq!(sent.len(), 1600);
    assert_eq!(stage.sent[3].to, peer());
}

#[test]
fn no_rtp_at_all_is_told_once_and_hold_is_not_taken_for_it() {
    let settings = Settings { rtp_timeout: Duration::from_secs(5), ..Settings::default() };
    let mut stage = Stage::agreed_with(settings);
    stage.run(Duration::from_secs(3));
    stage.receive(0);
    stage.run(Duration::from_millis(4990));
    assert_eq!(stage.events(), [Event::FirstPacket]);
    stage.run(Duration::from_secs(20));
    assert_eq!(stage.events(), [Event::FirstPacket, Event::Timeout]);

    let mut held = Stage::agreed_with(settings);
    held.feed(Input::Agree(Negotiated { receive: false, ..agreement() }));
    held.run(Duration::from_secs(60));
    held.feed(Input::Agree(agreement()));
    held.run(Duration::from_millis(4900));
    assert_eq!(held.events(), []);
    held.run(Duration::from_millis(200));
    assert_eq!(held.events(), [Event::Timeout]);
}

#[test]
fn a_codec_agreed_anew_is_spoken_on_the_wire_and_speech_to_text_hears_the_first_one_on() {
    let mut stage = Stage::agreed();
    let law = Law::A;
    stage.play(1, &[&vec![Law::Mu.encode(8000); 16_000]]);
    stage.run(Duration::from_millis(100));
    stage.feed(Input::Agree(Negotiated { codec: Codec::Pcma, payload_type: 8, ..agreement() }));
    for n in 0..20_u16 {
        stage.receive_from(PEER, &rtp(8, n, u32::from(n) * 160, 1, &[law.encode(-4000); 160]));
        stage.run(SLOT);
    }
    let last = stage.sent.last().unwrap().packet();
    assert_eq!(last.payload_type, 8);
    assert!((7600..8400).contains(&law.decode(last.payload[0])));
    let heard = Law::Mu.decode(*stage.heard.last().unwrap().last().unwrap());
    assert!((-4200..-3800).contains(&heard), "{heard}");
}

#[test]
fn the_last_voiced_packet_is_known_when_a_prompt_starts() {
    let mut stage = Stage::agreed();
    for n in 0..50_u16 {
        let loud = if n < 20 { [10; 160] } else { [MU_SILENCE; 160] };
        stage.receive_from(PEER, &rtp(0, n, u32::from(n) * 160, 1, &loud));
        stage.run(SLOT);
    }
    stage.play(1, &[&[1; 160]]);
    stage.run(SLOT);
    let last_voiced = stage.events().into_iter().find_map(|event| match event {
        Event::PlayStarted { last_voiced, .. } => last_voiced,
        _ => None,
    });
    assert_eq!(last_voiced, Some(stage.start.at + SLOT * 19));
}

#[test]
fn the_first_packet_in_which_a_prompt_speaks_is_told_once_and_a_silent_prompt_has_none() {
    let mut stage = Stage::agreed();
    let voiced = |stage: &Stage| {
        let events = stage.events.iter();
        events
            .filter(|(_, event)| matches!(event, Event::PlayVoiced { .. }))
            .map(|(at, event)| (*at, *event))
            .collect::<Vec<_>>()
    };
    stage.play(1, &[&[MU_SILENCE; 800]]);
    stage.run(Duration::from_secs(1));
    assert_eq!(voiced(&stage), []);
    // 100 ms of nothing, and then a voice.
    stage.play(2, &[&[MU_SILENCE; 800], &[0x10; 1600], &[MU_SILENCE; 800], &[0x10; 1600]]);
    stage.run(Duration::from_secs(2));
    let began =
        stage.events.iter().find(|(_, event)| matches!(event, Event::PlayStarted { play: PlayId(2), .. })).unwrap().0;
    let at = began + 5 * SLOT;
    assert_eq!(voiced(&stage), [(at, Event::PlayVoiced { play: PlayId(2), at: stage.start.at + at })]);
    stage.play(3, &[&[0x10; 160]]);
    stage.run(Duration::from_secs(1));
    assert_eq!(voiced(&stage).len(), 2);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_datagrams_from_anybody_are_borne_and_the_stream_goes_on(
        datagrams in proptest::collection::vec((any::<u8>(), 0_u8..3, proptest::collection::vec(any::<u8>(), 0..600)), 0..200),
    ) {
        let mut stage = Stage::agreed_with(Settings { record: true, ..Settings::default() });
        for (n, (kind, from, mut bytes)) in datagrams.into_iter().enumerate() {
            // Most of them look like RTP of the agreed types, with any numbers.
            if kind < 220 && bytes.len() >= 2 {
                bytes[0] = 0x80 | (kind & 0x3F & if kind < 160 { 0 } else { 0x3F });
                bytes[1] = [0, 101, 8, 13][usize::from(kind % 4)] | (bytes[1] & 0x80);
            }
            stage.receive_from([PEER, "198.51.100.7:9", "203.0.113.1:5"][usize::from(from)], &bytes);
            if n % 3 == 0 {
                stage.run(SLOT);
            }
        }
        let before = stage.sent.len();
        stage.run(Duration::from_secs(1));
        prop_assert!(stage.sent.len() >= before + 50);
        prop_assert_eq!(stage.recorded.len(), stage.sent.len());
    }

    #[test]
    fn what_is_heard_is_as_long_as_the_time_that_passed(
        arrivals in proptest::collection::vec((0_u16..400, 0_u64..60), 1..300),
    ) {
        let mut stage = Stage::agreed();
        let mut passed = 0;
        for (n, wait) in arrivals {
            stage.receive(n);
            stage.run(MS * wait as u32);
            passed += wait;
        }
        let frames = passed / 20 + 1;
        prop_assert_eq!(stage.all_heard().len() as u64, frames / 5 * 800);
    }
}
