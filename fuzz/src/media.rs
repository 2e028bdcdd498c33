//! The targets of the media: a live session, RTCP, telephone-events, SRTP, answers.

use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;
use voice_gateway::base::{Now, PlayId, Recording, Tone, clock};
use voice_gateway::media::rtcp::{Control, ControlPath, read};
use voice_gateway::media::rtp::{Numbering, Packet};
use voice_gateway::media::sdp::{Encryption, Exchange, LocalMedia, Privacy};
use voice_gateway::media::srtp::{KeySource, MasterKey, Receiver, Refused, Sender, Srtp, Suite};
use voice_gateway::media::telephone_event::Keys;
use voice_gateway::media::{Codec, Input, Negotiated, Output, Session, Settings, Silence, Statistics};

/// Bytes that are used up.
struct Stock<'a>(&'a [u8]);

impl<'a> Stock<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> u32 {
        self.take(4).iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }
}

const PEER: &str = "198.51.100.7:4000";

fn srtp(suite: Suite) -> Srtp {
    let key = |fill| MasterKey::new(suite, vec![fill; suite.key_length() + suite.salt_length()]).unwrap();
    Srtp { suite, ours: key(1), theirs: key(2), mki: 0 }
}

/// A session with all that happens around it.
struct Stage {
    session: Session,
    start: Now,
    now: Now,
    fed: u64,
    secured: bool,
    closed: Option<Statistics>,
}

impl Stage {
    /// The first byte says how it is set up.
    fn new(how: u8) -> Self {
        let start = clock::now();
        let silence = if how & 1 == 0 { Silence::Digital } else { Silence::ComfortNoise };
        let settings = Settings { record: how & 2 != 0, inband_dtmf: how & 4 != 0, silence, ..Settings::default() };
        let numbering = Numbering::new(7, 65_000, u32::MAX - 3000);
        let session = Session::new(settings, start.at, numbering).with(Control::new(u128::from(how)));
        Self { session, start, now: start, fed: 0, secured: false, closed: None }
    }

    /// What an agreement says: codec, directions, keys and the way of RTCP, by the bits of `how`.
    fn agree(&mut self, how: u8) {
        self.secured = how & 2 != 0;
        let codec = match how & 33 {
            0 | 32 => Codec::Pcmu,
            1 => Codec::Pcma,
            #[cfg(feature = "opus")]
            33 if how & 4 != 0 => Codec::Opus,
            _ => Codec::G722,
        };
        self.step(Input::Agree(Negotiated {
            telephone_event: (how & 4 != 0).then_some(101),
            send: how & 8 == 0,
            receive: how & 16 == 0,
            srtp: self.secured.then(|| srtp(Suite::ALL[usize::from(how >> 5) % Suite::ALL.len()].to_owned())),
            rtcp: match how >> 6 {
                0 => ControlPath::Neighbour,
                1 => ControlPath::Multiplexed,
                2 => ControlPath::At("192.0.2.9:9".parse().unwrap()),
                _ => ControlPath::Off,
            },
            ..Negotiated::usual(PEER.parse().unwrap(), codec)
        }));
    }

    fn step(&mut self, input: Input<'_>) {
        let tick = matches!(input, Input::Tick);
        let mut out = Vec::new();
        let next = self.session.step(self.now, input, &mut out);
        assert!(next.is_none_or(|next| !tick || next > self.now.at), "a tick that is answered by a tick is no pace");
        let mut sent = 0;
        for output in out {
            match output {
                Output::Send { datagram, .. } => {
                    sent += 1;
                    assert!(Packet::read(datagram.bytes()).is_some_and(|packet| !packet.payload.is_empty()));
                }
                Output::Report { compound, .. } => {
                    assert!(self.secured || read(compound.bytes(), |_| ()), "what we report can be read");
                }
                Output::Heard(bytes) => assert!(!bytes.is_empty()),
                Output::Closed(statistics) => self.closed = Some(statistics),
                _ => {}
            }
        }
        assert!(sent <= 2, "no burst");
    }

    /// Every datagram was taken or is counted, once.
    fn check(&mut self) {
        let statistics = self.closed.unwrap_or_else(|| self.session.statistics());
        let dropped: u64 = statistics.dropped.by_reason().iter().map(|(_, count)| count).sum();
        let taken = statistics.packets_in + statistics.reports.packets_in;
        // What is late or came twice was a packet taken before it was that.
        assert!(taken + dropped >= self.fed && taken <= self.fed, "{} fed, {statistics:?}", self.fed);
        let life = self.now.at - self.start.at;
        assert!(statistics.reports.round_trip.is_none_or(|round_trip| round_trip <= life));
        let quality = voice_gateway::media::quality::Quality::of(Codec::Pcmu, &statistics);
        for score in [quality.incoming, quality.outgoing].into_iter().flatten() {
            assert!((1.0..=4.5).contains(&score), "{score}");
        }
    }
}

/// A session's life: a byte for what it is like, then orders of a letter each with what they need.
pub fn session(bytes: &[u8]) {
    let mut stock = Stock(bytes);
    let Some(how) = stock.byte() else { return };
    let mut stage = Stage::new(how);
    let (peer, mut play) = (PEER.parse::<SocketAddr>().unwrap(), 0);
    for _ in 0..2000 {
        let Some(what) = stock.byte() else { break };
        match what {
            b'a' => {
                let how = stock.byte().unwrap_or_default();
                stage.agree(how);
            }
            // Any datagram, from the peer or from elsewhere.
            b'd' | b'x' => {
                let length = usize::from(stock.byte().unwrap_or_default()) * if what == b'x' { 16 } else { 1 };
                let bytes = stock.take(length);
                let from = if what == b'd' { peer } else { SocketAddr::new([203, 0, 113, length as u8].into(), 4000) };
                stage.fed += u64::from(stage.closed.is_none());
                stage.step(Input::Datagram { from, bytes });
            }
            // A packet with these numbers.
            b'p' => {
                let mut packet = vec![0x80, stock.byte().unwrap_or_default()];
                packet.extend(stock.take(2));
                packet.extend(stock.take(4));
                packet.extend([0, 0, 0, stock.byte().unwrap_or_default()]);
                packet.resize(12, 0);
                let length = usize::from(stock.byte().unwrap_or_default());
                packet.extend(stock.take(length));
                stage.fed += u64::from(stage.closed.is_none());
                stage.step(Input::Datagram { from: peer, bytes: &packet });
            }
            b'c' => {
                let length = usize::from(stock.byte().unwrap_or_default());
                let (at, from) = (stage.now.at, SocketAddr::new(peer.ip(), 4001));
                let bytes = stock.take(length);
                stage.fed += u64::from(stage.closed.is_none() && agreed(&stage));
                stage.step(Input::Control { at, from, bytes });
            }
            b'P' => {
                play += 1;
                stage.step(Input::Play { play: PlayId(play), keys_stop: play % 2 == 0 });
            }
            b'C' => {
                let length = usize::from(stock.byte().unwrap_or_default());
                let bytes = Bytes::copy_from_slice(stock.take(length));
                stage.step(Input::Chunk { play: PlayId(play), bytes });
            }
            b'E' => stage.step(Input::PlayEnd(PlayId(play))),
            b'S' => stage.step(Input::Stop),
            b'R' => stage.step(Input::Record(Recording::Paused)),
            b'K' => {
                if let Some(tone) = stock.byte().and_then(|key| Tone::pressed(key.into())) {
                    stage.step(Input::Press(tone));
                }
            }
            b'Q' => stage.step(Input::Close),
            // Time, in steps of 5 ms, or of seconds.
            b'T' => {
                let steps = u64::from(stock.byte().unwrap_or(1));
                stage.now = stage.now.after(Duration::from_secs(steps));
                stage.step(Input::Tick);
            }
            steps => {
                stage.now = stage.now.after(Duration::from_millis(u64::from(steps) * 5));
                stage.step(Input::Tick);
            }
        }
    }
    stage.check();
}

/// Whether something was agreed: before that, RTCP is nobody's.
fn agreed(stage: &Stage) -> bool {
    stage.session.statistics().codec.is_some()
}

/// Datagrams of RTCP, each behind its length, to a session that sends and hears; a second between them.
pub fn rtcp(bytes: &[u8]) {
    let mut stage = Stage::new(0);
    stage.agree(4);
    let mut stock = Stock(bytes);
    while let Some(length) = stock.byte() {
        let bytes = stock.take(usize::from(length));
        let mut items = 0;
        let whole = read(bytes, |_| items += 1);
        assert!(whole || items == 0, "nothing is told of what cannot be read");
        assert!(items * 4 <= bytes.len(), "no more than there is room for");
        for _ in 0..5 {
            stage.now = stage.now.after(Duration::from_millis(200));
            stage.step(Input::Tick);
        }
        let (at, from) = (stage.now.at, SocketAddr::new([198, 51, 100, 7].into(), 4001));
        stage.fed += 1;
        stage.step(Input::Control { at, from, bytes });
    }
    stage.step(Input::Close);
    stage.check();
}

/// Packets of telephone-event: the source, the timestamp, a length, the payload. A key is told no oftener than its packets come.
pub fn telephone_event(bytes: &[u8]) {
    let (mut stock, mut keys) = (Stock(bytes), Keys::default());
    while let Some(ssrc) = stock.byte() {
        let timestamp = stock.number();
        let length = usize::from(stock.byte().unwrap_or_default());
        let payload = stock.take(length);
        let mut told = 0;
        keys.packet(u32::from(ssrc), timestamp, payload, |key| {
            told += 1;
            assert!(matches!(key, '0'..='9' | '*' | '#' | 'A'..='D'), "{key:?}");
        });
        assert!(told * 4 <= payload.len());
        // The same packet again says nothing new, unless it holds more keys than are remembered.
        if payload.len() <= 4 {
            keys.packet(u32::from(ssrc), timestamp, payload, |key| panic!("{key} again"));
        }
    }
}

/// Any bytes, and genuine packets with some bytes changed: only what was sealed opens, as what it was, and once.
pub fn srtp_open(bytes: &[u8]) {
    let mut stock = Stock(bytes);
    let Some(which) = stock.byte() else { return };
    let suite = Suite::ALL[usize::from(which) % Suite::ALL.len()];
    let agreed = srtp(suite);
    let mut sender = Sender::new(suite, &agreed.theirs).unwrap();
    let mut receiver = Receiver::new(suite, &agreed.theirs, which >> 6).unwrap();
    let mut sequence = 65_530_u16;
    if which >> 6 == 0 {
        // One that comes through: a receiver that missed all before the rollover cannot know of it (RFC 3711 section 3.3.1).
        let (mut first, mut room) = (vec![0x80, 0, 0xFF, 0xF9, 0, 0, 0, 0, 0, 0, 0, 9], [0; 64]);
        first.resize(12 + 32, 0);
        let length = sender.rtp(&mut first, 12).expect("the first packet");
        assert_eq!(receiver.rtp(&first[..length], &mut room), Ok(12));
    }
    while let Some(what) = stock.byte() {
        let mut room = [0; 2048];
        if what & 1 == 0 {
            let length = usize::from(stock.byte().unwrap_or_default());
            let bytes = stock.take(length);
            assert!(receiver.rtp(bytes, &mut room).is_err());
            assert!(receiver.rtcp(bytes, &mut room).is_err());
            continue;
        }
        let control = what & 2 != 0;
        let length = usize::from(stock.byte().unwrap_or_default());
        let payload = stock.take(length);
        let mut packet = if control { vec![0x80, 201, 0, 1] } else { vec![0x80, 0] };
        if !control {
            packet.extend(sequence.to_be_bytes());
            packet.extend([0; 4]);
            sequence = sequence.wrapping_add(1);
        }
        packet.extend([0, 0, 0, 9]);
        packet.extend(payload);
        let plain = packet.clone();
        packet.resize(plain.len() + 32, 0);
        let sealed = if control { sender.rtcp(&mut packet, plain.len()) } else { sender.rtp(&mut packet, plain.len()) };
        packet.truncate(sealed.expect("few packets"));
        let genuine = packet.clone();
        let (at, change) = (usize::from(stock.byte().unwrap_or_default()), stock.byte().unwrap_or_default());
        if let Some(byte) = packet.get_mut(at) {
            *byte ^= change;
        }
        let opened = if control { receiver.rtcp(&packet, &mut room) } else { receiver.rtp(&packet, &mut room) };
        if let Ok(length) = opened {
            assert!(which >> 6 == 0 && packet == genuine && room[..length] == plain, "only what was sealed");
            let again = if control { receiver.rtcp(&packet, &mut room) } else { receiver.rtp(&packet, &mut room) };
            assert_eq!(again, Err(Refused::Replayed));
        } else {
            assert!(which >> 6 != 0 || packet != genuine, "what was sealed opens: {opened:?}");
        }
    }
}

/// A body as the answer to our first offer and, behind a byte 0, as the answer to the next one: nothing is agreed that was not offered.
pub fn sdp_answer(bytes: &[u8]) {
    const CODECS: [Codec; 3] = [Codec::Pcmu, Codec::Pcma, Codec::G722];
    let local =
        LocalMedia { address: "192.0.2.10".parse().unwrap(), port: 20_000, session_id: 4711, session_version: 1 };
    for encryption in [Encryption::Off, Encryption::Optional, Encryption::Required] {
        let privacy = Privacy { encryption, exposed: false, keys: KeySource::new([3; 32]) };
        let mut asking = Exchange::new(local, CODECS.to_vec()).with(privacy.clone());
        for (answer, hold) in bytes.split(|byte| *byte == 0).take(3).zip([false, true, false]) {
            let offer = if hold { asking.hold() } else { asking.offer() };
            let text = std::str::from_utf8(&offer).expect("our offers are text");
            let ours = text.lines().find(|line| line.starts_with("m=audio")).expect("with audio");
            if let Ok(agreed) = asking.accept(answer) {
                let mut offered = ours.split(' ').skip(3).map(|number| number.parse::<u8>().expect("a number"));
                assert!(offered.any(|number| number == agreed.payload_type), "{ours}: {agreed:?}");
                assert_eq!(agreed.srtp.is_some(), agreed.srtp.is_some() && text.contains("a=crypto:"));
                assert!(encryption != Encryption::Required || agreed.srtp.is_some(), "encryption was demanded");
                assert!(agreed.rtcp != ControlPath::Multiplexed || text.contains("a=rtcp-mux"));
            }
            // Whatever came of it, the next offer is one.
            let next = asking.offer();
            Exchange::new(local, CODECS.to_vec()).with(privacy.clone()).answer(&next).expect("our offer is one");
        }
    }
}

/// Packets of Opus, each behind two bytes: its length, and how many samples in steps of 16 are to be made up before it.
#[cfg(feature = "opus")]
pub fn opus(bytes: &[u8]) {
    use voice_gateway::audio::wideband::{Decoder, LONGEST_HEARD, WideCodec};
    let (mut decoder, mut room) = (Decoder::new(WideCodec::Opus), [0; LONGEST_HEARD]);
    let mut stock = Stock(bytes);
    while let (Some(length), Some(missing)) = (stock.byte(), stock.byte()) {
        let payload = stock.take(length.into());
        if missing > 0 {
            let samples = usize::from(missing) * 16;
            let made_up = decoder.mend(samples, payload, &mut room).map_or(0, <[i16]>::len);
            assert!(made_up <= samples, "{made_up} of {samples} samples");
        }
        let heard = decoder.decode(payload, &mut room).map_or(0, <[i16]>::len);
        // A packet lasts 2.5 to 120 ms, in such steps (RFC 6716 section 3.1).
        assert!(heard % 40 == 0, "{heard} samples");
    }
}
