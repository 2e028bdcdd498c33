//! The stage: a session on simulated time, its peer, and all that it said.

use bytes::Bytes;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use voice_gateway::base::{Now, PlayId, clock};
use voice_gateway::media::rtp::{Numbering, Packet};
use voice_gateway::media::{Codec, Event, Input, Negotiated, Output, Session, Settings, Statistics};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SLOT: Duration = Duration::from_millis(20);
pub(crate) const PEER: &str = "198.51.100.7:4000";
pub(crate) const MU_SILENCE: u8 = 0xFF;

pub(crate) fn peer() -> SocketAddr {
    PEER.parse().unwrap()
}

pub(crate) fn agreement() -> Negotiated {
    Negotiated::usual(peer(), Codec::Pcmu)
}

/// A packet of the wire.
pub(crate) fn rtp(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, payload_type];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What was sent: when, where to, the packet's bytes, how late.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Duration,
    pub(crate) to: SocketAddr,
    bytes: Vec<u8>,
    pub(crate) late: Duration,
}

impl Sent {
    pub(crate) fn packet(&self) -> Packet<'_> {
        Packet::read(&self.bytes).unwrap()
    }
}

/// A session with all that it said.
pub(crate) struct Stage {
    pub(crate) session: Session,
    pub(crate) start: Now,
    pub(crate) now: Now,
    pub(crate) next: Option<Instant>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) heard: Vec<Bytes>,
    pub(crate) events: Vec<(Duration, Event)>,
    pub(crate) recorded: Vec<([u8; 160], [u8; 160])>,
    pub(crate) closed: Option<Statistics>,
}

impl Stage {
    pub(crate) fn waiting(settings: Settings) -> Self {
        let start = clock::now();
        let session = Session::new(settings, start.at, Numbering::new(0xC0FFEE, 65_500, u32::MAX - 1000));
        let (sent, heard, events, recorded) = (vec![], vec![], vec![], vec![]);
        Self { session, start, now: start, next: None, sent, heard, events, recorded, closed: None }
    }

    pub(crate) fn agreed() -> Self {
        Self::agreed_with(Settings::default())
    }

    pub(crate) fn agreed_with(settings: Settings) -> Self {
        let mut stage = Self::waiting(settings);
        stage.feed(Input::Agree(agreement()));
        stage
    }

    pub(crate) fn feed(&mut self, input: Input<'_>) {
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
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(next) = self.next.filter(|next| *next <= end.at) {
            self.now = self.now.after(next - self.now.at);
            self.feed(Input::Tick);
        }
        self.now = end;
    }

    /// Lets time pass with nobody driving the session, then ticks once.
    pub(crate) fn sleep_through(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.feed(Input::Tick);
    }

    pub(crate) fn receive_from(&mut self, from: &str, bytes: &[u8]) {
        self.feed(Input::Datagram { from: from.parse().unwrap(), bytes });
    }

    /// The peer's packet `n` of 20 ms, whose bytes tell its number.
    pub(crate) fn receive(&mut self, n: u16) {
        self.receive_from(PEER, &rtp(0, n, u32::from(n) * 160, 1, &[sound(n); 160]));
    }

    pub(crate) fn play(&mut self, play: u64, chunks: &[&[u8]]) {
        self.play_until(play, chunks, false);
    }

    /// With `keys_stop` a key stops it.
    pub(crate) fn play_until(&mut self, play: u64, chunks: &[&[u8]], keys_stop: bool) {
        let play = PlayId(play);
        self.feed(Input::Play { play, keys_stop });
        for chunk in chunks {
            self.feed(Input::Chunk { play, bytes: Bytes::copy_from_slice(chunk) });
        }
        self.feed(Input::PlayEnd(play));
    }

    pub(crate) fn all_heard(&self) -> Vec<u8> {
        self.heard.concat()
    }

    pub(crate) fn sound_sent(&self) -> Vec<u8> {
        self.sent.iter().flat_map(|sent| sent.packet().payload.to_vec()).collect()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.iter().map(|(_, event)| *event).collect()
    }

    pub(crate) fn digits(&self) -> String {
        self.events().iter().filter_map(|event| if let Event::Digit(key) = event { Some(*key) } else { None }).collect()
    }
}

/// Loud, and never silence.
pub(crate) fn sound(n: u16) -> u8 {
    (n % 100) as u8
}
