//! Calls of a wide band on simulated time: two sessions that speak with each other, what each hears, and what changes in mid-call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use std::f32::consts::TAU;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use voice_gateway::audio::{Form, Law};
use voice_gateway::base::{Now, PlayId, Tone, clock};
use voice_gateway::media::rtcp::ControlPath;
use voice_gateway::media::rtp::{Numbering, Packet};
use voice_gateway::media::{Codec, Event, Input, Negotiated, Output, Session, Settings, Silence, Statistics};

const SLOT: Duration = Duration::from_millis(20);

/// One end of a call.
struct End {
    session: Session,
    address: SocketAddr,
    next: Option<Instant>,
    /// Packets on their way to the other end.
    sent: Vec<Vec<u8>>,
    heard: Vec<u8>,
    recorded: Vec<[i16; 2]>,
    events: Vec<Event>,
}

/// Both ends, and the line between them.
struct Line {
    now: Now,
    ends: [End; 2],
    /// Which packets of both ends are lost, by their number on the line.
    lost: fn(usize) -> bool,
    carried: usize,
    wire: Vec<(u8, u32, Vec<u8>)>,
}

fn agreement(remote: SocketAddr, codec: Codec) -> Negotiated {
    Negotiated { rtcp: ControlPath::Off, ..Negotiated::usual(remote, codec) }
}

impl Line {
    fn speaking(codec: Codec, settings: Settings) -> Self {
        let now = clock::now();
        let ends = ["192.0.2.1:4000", "192.0.2.2:6000"].map(|address| {
            let numbering = Numbering::new(fastrand::u32(..), 65_500, u32::MAX - 4000);
            let session = Session::new(settings, now.at, numbering);
            let (heard, recorded, events) = (Vec::new(), Vec::new(), Vec::new());
            End { session, address: address.parse().unwrap(), next: None, sent: Vec::new(), heard, recorded, events }
        });
        let mut line = Self { now, ends, lost: |_| false, carried: 0, wire: Vec::new() };
        line.agree(codec);
        line
    }

    fn agree(&mut self, codec: Codec) {
        let [first, second] = [self.ends[0].address, self.ends[1].address];
        self.feed(0, Input::Agree(agreement(second, codec)));
        self.feed(1, Input::Agree(agreement(first, codec)));
    }

    fn feed(&mut self, end: usize, input: Input<'_>) {
        let mut out = Vec::new();
        let end = &mut self.ends[end];
        end.next = end.session.step(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Send { datagram, .. } => end.sent.push(datagram.bytes().to_vec()),
                Output::Heard(bytes) => end.heard.extend(bytes),
                Output::RecordedWide { caller, assistant } => {
                    end.recorded.extend(caller.into_iter().zip(assistant).map(|(left, right)| [left, right]));
                }
                Output::Event(event) => end.events.push(event),
                Output::Recorded { .. } | Output::Report { .. } | Output::Closed(_) => {}
            }
        }
    }

    /// Lets slots pass; what is sent in one comes in just before the next.
    fn run(&mut self, slots: usize) {
        for _ in 0..slots {
            for end in 0..2 {
                let (from, to) = (self.ends[end].address, 1 - end);
                for packet in std::mem::take(&mut self.ends[end].sent) {
                    self.carried += 1;
                    if end == 0 {
                        let read = Packet::read(&packet).unwrap();
                        self.wire.push((read.payload_type, read.timestamp, read.payload.to_vec()));
                    }
                    if !(self.lost)(self.carried) {
                        self.feed(to, Input::Datagram { from, bytes: &packet });
                    }
                }
            }
            self.now = self.now.after(SLOT);
            for end in 0..2 {
                if self.ends[end].next.is_some_and(|next| next <= self.now.at) {
                    self.feed(end, Input::Tick);
                }
            }
        }
    }

    fn play(&mut self, end: usize, play: u64, form: Form, samples: &[i16]) {
        self.feed(end, Input::Play { play: PlayId(play), keys_stop: false });
        self.feed(end, Input::Chunk { play: PlayId(play), bytes: Bytes::from(form.encode_all(samples)) });
        self.feed(end, Input::PlayEnd(PlayId(play)));
    }

    fn statistics(&self, end: usize) -> Statistics {
        self.ends[end].session.statistics()
    }
}

/// A sound that has something in all of the band: a sweep, which also tells where one is.
fn sweep(rate: f32, seconds: f32, from: f32, to: f32) -> Vec<i16> {
    let count = (rate * seconds) as usize;
    (0..count)
        .map(|n| {
            let at = n as f32 / rate;
            (7000.0 * (TAU * (from * at + (to - from) * at * at / (2.0 * seconds))).sin()) as i16
        })
        .collect()
}

fn samples(form: Form, bytes: &[u8]) -> Vec<i16> {
    let mut samples = Vec::new();
    form.decode_into(bytes, &mut samples);
    samples
}

/// How alike `sound` and the likest stretch of `heard` are: 1 when they are the same but for loudness.
fn likeness(sound: &[i16], heard: &[i16]) -> f32 {
    let power = |samples: &[i16]| samples.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>();
    let whole = power(sound);
    (0..heard.len().saturating_sub(sound.len()))
        .map(|at| {
            let there = &heard[at..at + sound.len()];
            let both: f32 = sound.iter().zip(there).map(|(a, b)| f32::from(*a) * f32::from(*b)).sum();
            both / (whole * power(there)).sqrt().max(1.0)
        })
        .fold(0.0, f32::max)
}

/// A stretch in the midst of it: enough to compare, and without its edges.
fn middle(sound: &[i16]) -> &[i16] {
    &sound[sound.len() / 3..][..sound.len() / 30]
}

#[test]
fn g722_is_heard_over_the_whole_wide_band_both_ways() {
    let mut line = Line::speaking(Codec::G722, Settings::default());
    let sound = sweep(16_000.0, 1.0, 300.0, 6500.0);
    line.play(0, 1, Form::Wide, &sound);
    line.play(1, 1, Form::Wide, &sound);
    line.run(80);
    for end in &line.ends {
        let heard = samples(Form::Wide, &end.heard);
        let likeness = likeness(middle(&sound), &heard);
        assert!(likeness > 0.97, "{likeness}");
        assert!(end.events.contains(&Event::PlayFinished { play: PlayId(1), sent_ms: 1000, complete: true }));
    }
    // 64 kbit/s by a clock of 8 kHz, whatever it samples at (RFC 3551 section 4.5.2).
    for pair in line.wire.windows(2) {
        assert_eq!((pair[1].0, pair[1].2.len(), pair[1].1.wrapping_sub(pair[0].1)), (9, 160, 160));
    }
    let statistics = line.statistics(0);
    assert_eq!(
        (statistics.lost, statistics.dropped.payload_type, statistics.playout.concealed),
        (0, 0, Duration::ZERO)
    );
}

#[test]
fn what_is_heard_and_recorded_keeps_its_form_when_the_codec_changes_and_goes_on_sounding() {
    let settings = Settings { record: true, ..Settings::default() };
    for (first, then) in
        [(Codec::G722, [Codec::Pcma, Codec::Pcmu, Codec::G722]), (Codec::Pcmu, [Codec::G722, Codec::Pcma, Codec::G722])]
    {
        let mut line = Line::speaking(first, settings);
        let form = first.form();
        line.run(10);
        for (n, codec) in then.into_iter().enumerate() {
            line.agree(codec);
            line.ends.iter_mut().for_each(|end| end.heard.clear());
            let rate = codec.form().rate() as f32;
            line.play(0, n as u64, codec.form(), &sweep(rate, 1.0, 300.0, 3000.0));
            line.run(75);
            let expected = sweep(form.rate() as f32, 1.0, 300.0, 3000.0);
            let heard = samples(form, &line.ends[1].heard);
            let likeness = likeness(middle(&expected), &heard);
            assert!(likeness > 0.96, "{first:?}, then {codec:?}: {likeness}");
        }
        // Real time, whatever changed: 20 ms a slot, the one of the agreement among them.
        let slots = 1 + 10 + 3 * 75;
        assert_eq!(line.ends[1].recorded.len(), if form == Form::Wide { slots * 320 } else { 0 });
        let left: Vec<i16> = line.ends[1].recorded.iter().map(|pair| pair[0]).collect();
        let expected = sweep(16_000.0, 1.0, 300.0, 3000.0);
        if form == Form::Wide {
            assert!(likeness(middle(&expected), &left[left.len() / 2..]) > 0.96);
            let right: Vec<i16> = line.ends[0].recorded.iter().map(|pair| pair[1]).collect();
            assert!(likeness(middle(&expected), &right[right.len() / 2..]) > 0.96);
        }
        // What was on its way in the codec of before is heard too.
        let statistics = line.statistics(1);
        let (dropped, playout) = (statistics.dropped, statistics.playout);
        assert_eq!((dropped.payload_type, statistics.lost, playout.concealed), (0, 0, Duration::ZERO));
    }
}

#[test]
fn a_prompt_goes_on_over_a_change_of_the_codec() {
    let mut line = Line::speaking(Codec::G722, Settings::default());
    let sound = sweep(16_000.0, 2.0, 300.0, 3000.0);
    line.play(0, 1, Form::Wide, &sound);
    line.run(50);
    line.agree(Codec::Pcmu);
    line.run(80);
    let heard = samples(Form::Wide, &line.ends[1].heard);
    for stretch in [&sound[8000..8500], &sound[24_000..24_500]] {
        let likeness = likeness(stretch, &heard);
        assert!(likeness > 0.95, "{likeness}");
    }
    assert!(line.ends[0].events.contains(&Event::PlayFinished { play: PlayId(1), sent_ms: 2000, complete: true }));
}

#[test]
fn lost_packets_of_g722_are_concealed_without_a_click() {
    let mut line = Line::speaking(Codec::G722, Settings::default());
    line.lost = |n| n % 23 == 0;
    let tone: Vec<i16> = (0..48_000).map(|n| (6000.0 * (TAU * 200.0 * n as f32 / 16_000.0).sin()) as i16).collect();
    line.play(0, 1, Form::Wide, &tone);
    line.run(170);
    let heard = samples(Form::Wide, &line.ends[1].heard);
    let statistics = line.statistics(1);
    assert!(statistics.lost >= 5 && statistics.playout.concealed >= Duration::from_millis(100), "{statistics:?}");
    let inside = &heard[16_000..44_000];
    let steepest = inside.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap();
    assert!(steepest < 1300, "a click of {steepest}, where the tone itself has steps of 471");
    let quietest = inside.chunks(320).map(|frame| frame.iter().map(|s| s.unsigned_abs()).max().unwrap()).min();
    assert!(quietest > Some(3000), "{quietest:?}");
}

#[test]
fn keys_go_by_the_clock_of_the_codec_and_as_tones_where_the_peer_has_no_events() {
    for events in [true, false] {
        let settings = Settings { inband_dtmf: !events, ..Settings::default() };
        let mut line = Line::speaking(Codec::G722, settings);
        if !events {
            let other = line.ends[1].address;
            let agreed = Negotiated { telephone_event: None, ..agreement(other, Codec::G722) };
            line.feed(0, Input::Agree(agreed));
        }
        for key in "159D#".chars() {
            line.feed(0, Input::Press(Tone::pressed(key).unwrap()));
        }
        line.run(120);
        let told: String = line.ends[1]
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Digit(key) if events => Some(*key),
                Event::InBandDigit(key) if !events => Some(*key),
                _ => None,
            })
            .collect();
        assert_eq!(told, "159D#", "events: {events}");
    }
}

#[test]
fn noise_fills_the_silence_of_a_wide_band_too() {
    let mut line = Line::speaking(Codec::G722, Settings { silence: Silence::ComfortNoise, ..Settings::default() });
    line.run(60);
    let heard = samples(Form::Wide, &line.ends[0].heard);
    let inside = &heard[8000..];
    let power = inside.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>() / inside.len() as f32;
    let level = 10.0 * (power / 32_767_f32.powi(2)).log10();
    assert!((-66.0..-58.0).contains(&level), "{level} dB");
}

#[test]
fn comfort_noise_of_the_peer_is_heard_in_its_pauses() {
    let mut line = Line::speaking(Codec::G722, Settings::default());
    line.run(20);
    let (from, last) = (line.ends[0].address, line.ends[0].sent.last().unwrap().clone());
    let read = Packet::read(&last).unwrap();
    let mut noise = last[..12].to_vec();
    noise[1] = 13;
    noise[2..4].copy_from_slice(&read.sequence.wrapping_add(1).to_be_bytes());
    noise[4..8].copy_from_slice(&read.timestamp.wrapping_add(160).to_be_bytes());
    noise.push(30);
    line.feed(1, Input::Datagram { from, bytes: &last });
    line.feed(1, Input::Datagram { from, bytes: &noise });
    line.lost = |_| true;
    line.ends[1].heard.clear();
    line.run(30);
    let heard = samples(Form::Wide, &line.ends[1].heard);
    let inside = &heard[2400..];
    let power = inside.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>() / inside.len() as f32;
    let level = 10.0 * (power / 32_767_f32.powi(2)).log10();
    assert!((-33.0..-27.0).contains(&level), "{level} dB");
}

#[test]
fn packets_of_any_usual_length_are_taken_and_nonsense_does_no_harm() {
    let mut line = Line::speaking(Codec::G722, Settings::default());
    let from = line.ends[0].address;
    let mut at = 0_u32;
    for (sequence, length) in (0_u16..).zip([80_usize, 160, 240, 320, 480, 1, 7, 0, 2000, 800, 801].repeat(20)) {
        let mut packet = vec![0x80, 9];
        packet.extend(sequence.to_be_bytes());
        packet.extend(at.to_be_bytes());
        packet.extend(7_u32.to_be_bytes());
        packet.extend(vec![sequence as u8; length]);
        line.feed(1, Input::Datagram { from, bytes: &packet });
        at = at.wrapping_add(u32::try_from(length).unwrap());
        line.run(length.div_ceil(160).clamp(1, 6));
    }
    let dropped = line.statistics(1).dropped;
    assert_eq!(dropped.payload_type, 3 * 20, "{dropped:?}");
    // 4 to and 6 back: what was heard is real time all the same.
    assert_eq!(line.ends[1].heard.len() % (5 * 640), 0);
}

#[test]
fn a_narrow_call_keeps_the_bytes_of_the_wire() {
    let mut line = Line::speaking(Codec::Pcmu, Settings::default());
    let sound: Vec<i16> = sweep(8000.0, 1.0, 300.0, 3000.0);
    line.play(0, 1, Form::Narrow(Law::Mu), &sound);
    line.run(70);
    let coded = Law::Mu.encode_all(&sound);
    let heard = &line.ends[1].heard;
    assert!(heard.windows(coded.len()).any(|window| window == coded), "byte for byte");
}

#[cfg(feature = "opus")]
mod opus {
    use super::*;

    #[test]
    fn opus_is_heard_both_ways_by_its_clock_of_48_khz_and_keys_with_it() {
        let mut line = Line::speaking(Codec::Opus, Settings::default());
        let sound = sweep(16_000.0, 1.0, 300.0, 6000.0);
        line.play(0, 1, Form::Wide, &sound);
        line.play(1, 1, Form::Wide, &sound);
        line.run(80);
        for end in &line.ends {
            let likeness = likeness(middle(&sound), &samples(Form::Wide, &end.heard));
            assert!(likeness > 0.9, "{likeness}");
        }
        for pair in line.wire.windows(2) {
            assert_eq!((pair[1].0, pair[1].1.wrapping_sub(pair[0].1)), (111, 960));
        }
        "42".chars().for_each(|key| line.feed(0, Input::Press(Tone::pressed(key).unwrap())));
        line.run(60);
        let told = line.ends[1].events.iter().filter(|event| matches!(event, Event::Digit('4' | '2'))).count();
        assert_eq!(told, 2);
        assert!(line.wire.iter().any(|(payload_type, _, payload)| *payload_type == 110 && payload[2..] == [3, 192]));
    }

    #[test]
    fn another_clock_is_another_source() {
        let mut line = Line::speaking(Codec::Pcmu, Settings::default());
        line.run(10);
        let ssrc = |line: &Line| Packet::read(line.ends[0].sent.last().unwrap()).unwrap().ssrc;
        let before = ssrc(&line);
        line.agree(Codec::G722);
        line.run(10);
        assert_eq!(ssrc(&line), before, "one clock");
        line.agree(Codec::Opus);
        line.run(10);
        assert_ne!(ssrc(&line), before, "RFC 7160 section 4.1");
    }
}
