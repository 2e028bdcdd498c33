//! Keys from one media session to another on simulated time: as telephone-events, and as sound where the peer has none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use std::time::Duration;
use voice_gateway::base::{Now, PlayId, Tone, clock};
use voice_gateway::media::rtp::{Numbering, Packet};
use voice_gateway::media::{Codec, Event, Input, Negotiated, Output, Session, Settings};

const SENDER: &str = "192.0.2.1:4000";
const RECEIVER: &str = "192.0.2.2:4000";

fn agreement(remote: &str, codec: Codec, telephone_event: Option<u8>) -> Input<'static> {
    Input::Agree(Negotiated { telephone_event, ..Negotiated::usual(remote.parse().unwrap(), codec) })
}

/// Two sessions and all that went from the first to the second.
struct Line {
    now: Now,
    sender: Session,
    receiver: Session,
    sent: Vec<Vec<u8>>,
    told: Vec<Event>,
    finished: bool,
}

impl Line {
    fn new(codec: Codec, telephone_event: Option<u8>) -> Self {
        let now = clock::now();
        let session = |settings| Session::new(settings, now.at, Numbering::new(7, 65_530, u32::MAX - 400));
        let ears = Settings { inband_dtmf: true, ..Settings::default() };
        let (sender, receiver) = (session(Settings::default()), session(ears));
        let mut line = Self { now, sender, receiver, sent: Vec::new(), told: Vec::new(), finished: false };
        line.feed(agreement(RECEIVER, codec, telephone_event));
        let _ = line.receiver.step(now, agreement(SENDER, codec, telephone_event), &mut Vec::new());
        line
    }

    fn feed(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        let _ = self.sender.step(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Send { datagram, .. } => self.sent.push(datagram.bytes().to_vec()),
                Output::Event(Event::PlayFinished { complete, .. }) => self.finished = complete,
                _ => {}
            }
        }
    }

    /// 20 ms, in which `lost` takes packets away.
    fn slot(&mut self, lost: impl Fn(usize) -> bool) {
        let before = self.sent.len();
        self.now = self.now.after(Duration::from_millis(20));
        self.feed(Input::Tick);
        let mut out = Vec::new();
        for (_, bytes) in self.sent.iter().enumerate().skip(before).filter(|(index, _)| !lost(*index)) {
            let from = SENDER.parse().unwrap();
            let _ = self.receiver.step(self.now, Input::Datagram { from, bytes }, &mut out);
        }
        let _ = self.receiver.step(self.now, Input::Tick, &mut out);
        self.told.extend(out.into_iter().filter_map(|output| match output {
            Output::Event(event @ (Event::Digit(_) | Event::InBandDigit(_))) => Some(event),
            _ => None,
        }));
    }

    fn press(&mut self, keys: &str) {
        for tone in keys.chars().filter_map(Tone::pressed) {
            self.feed(Input::Press(tone));
        }
    }

    fn events(&self) -> String {
        self.told.iter().filter_map(|event| if let Event::Digit(key) = event { Some(*key) } else { None }).collect()
    }

    fn sounds(&self) -> String {
        self.told.iter().filter_map(|e| if let Event::InBandDigit(key) = e { Some(*key) } else { None }).collect()
    }
}

const ALL: &str = "0123456789*#ABCD";

#[test]
fn keys_arrive_as_events_and_each_is_told_with_its_first_packet() {
    let mut line = Line::new(Codec::Pcmu, Some(96));
    line.press(ALL);
    line.slot(|_| false);
    line.slot(|_| false);
    assert_eq!(line.events(), "0", "at once");
    (0..400).for_each(|_| line.slot(|_| false));
    assert_eq!((line.events(), line.sounds()), (ALL.to_owned(), String::new()));
    let markers = line.sent.iter().filter_map(|bytes| Packet::read(bytes)).filter(|p| p.payload_type == 96 && p.marker);
    assert_eq!(markers.count(), 16, "the first packet of each key is marked");
}

#[test]
fn keys_survive_the_loss_of_two_packets_in_three() {
    let mut line = Line::new(Codec::Pcma, Some(101));
    line.press(ALL);
    (0..400).for_each(|_| line.slot(|index| index % 3 != 1));
    assert_eq!(line.events(), ALL);
}

#[test]
fn a_peer_without_telephone_event_gets_the_tones() {
    for codec in [Codec::Pcmu, Codec::Pcma] {
        let mut line = Line::new(codec, None);
        line.press(ALL);
        (0..400).for_each(|_| line.slot(|_| false));
        assert_eq!((line.events(), line.sounds()), (String::new(), ALL.to_owned()), "{codec:?}");
    }
}

#[test]
fn a_prompt_waits_for_the_keys_and_loses_nothing() {
    for telephone_event in [Some(101), None] {
        let mut line = Line::new(Codec::Pcmu, telephone_event);
        line.press("12");
        let play = PlayId(1);
        let prompt: Vec<u8> = (0..1600).map(|n| (n % 100) as u8).collect();
        line.feed(Input::Play { play, keys_stop: false });
        line.feed(Input::Chunk { play, bytes: Bytes::from(prompt.clone()) });
        line.feed(Input::PlayEnd(play));
        while !line.finished {
            line.slot(|_| false);
        }
        let heard: Vec<u8> = line.sent[line.sent.len() - 10..].iter().flat_map(|bytes| bytes[12..].to_vec()).collect();
        assert!(heard == prompt, "in one piece behind the keys");
        let keys = if telephone_event.is_some() { line.events() } else { line.sounds() };
        assert_eq!(keys, "12");
    }
}
