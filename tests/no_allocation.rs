//! Packets cost no memory: the session on simulated time and a worker with real sockets, under an allocator that counts. What may allocate is named:
//! a block of audio for Speech to Text each second, the beginning and end of a prompt, a second of a recording.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use dhat::{HeapStats, Profiler};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use voice_gateway::base::{Now, PlayId, Recording, Tone, clock};
use voice_gateway::media::rtp::Numbering;
use voice_gateway::media::srtp::{MasterKey, Sender, Srtp, Suite};
use voice_gateway::media::{Codec, Control, Input, Negotiated, Output, Session, Settings, Silence};
use voice_gateway::net::media::{MediaHandle, MediaOptions, MediaPlane, MediaSettings};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SLOT: Duration = Duration::from_millis(20);
const FRAME: usize = 160;
const TELEPHONE_EVENT: u8 = 101;
const COMFORT_NOISE: u8 = 13;

fn agreement(remote: SocketAddr, codec: Codec, srtp: Option<Srtp>) -> Negotiated {
    let (telephone_event, comfort_noise) = (Some(TELEPHONE_EVENT), Some(COMFORT_NOISE));
    Negotiated { telephone_event, comfort_noise, srtp, ..Negotiated::usual(remote, codec) }
}

/// Allocations since the profiler began.
fn allocations() -> u64 {
    HeapStats::get().total_blocks
}

fn key(suite: Suite, seed: u8) -> MasterKey {
    MasterKey::new(suite, vec![seed; suite.key_length() + suite.salt_length()]).unwrap()
}

/// The peer's stream, written into one place.
struct Peer {
    sequence: u16,
    timestamp: u32,
    room: [u8; 256],
    sender: Option<Sender>,
}

impl Peer {
    fn new(srtp: Option<&Srtp>) -> Self {
        let sender = srtp.map(|srtp| Sender::new(srtp.suite, &srtp.theirs).unwrap());
        Self { sequence: 0, timestamp: 0, room: [0; 256], sender }
    }

    /// The packet of the next 20 ms.
    fn packet(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) -> &[u8] {
        self.room[..2].copy_from_slice(&[0x80, payload_type]);
        self.room[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        self.room[4..8].copy_from_slice(&timestamp.to_be_bytes());
        self.room[8..12].copy_from_slice(&[0, 0, 0, 7]);
        let length = 12 + payload.len();
        self.room[12..length].copy_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        let length = match &mut self.sender {
            Some(sender) => sender.rtp(&mut self.room, length).unwrap(),
            None => length,
        };
        &self.room[..length]
    }

    /// A receiver report with a block about source 1, ours.
    fn report(&mut self) -> &[u8] {
        self.room[..32].fill(0);
        self.room[..4].copy_from_slice(&[0x81, 201, 0, 7]);
        (self.room[7], self.room[11]) = (7, 1);
        let length = match &mut self.sender {
            Some(sender) => sender.rtcp(&mut self.room, 32).unwrap(),
            None => 32,
        };
        &self.room[..length]
    }
}

/// A session that lives through slots of 20 ms, and what of it allocated.
struct Stage {
    codec: Codec,
    session: Session,
    now: Instant,
    out: Vec<Output>,
    sent: u64,
    heard: u64,
    recorded: u64,
    reports: u64,
    /// Allocations of steps that handed nothing to Speech to Text.
    silent: u64,
    /// Allocations of steps that did.
    handing: u64,
}

impl Stage {
    fn new(settings: Settings, codec: Codec, srtp: Option<Srtp>) -> Self {
        let now = clock::now().at;
        let session = Session::new(settings, now, Numbering::new(1, 2, 3)).with(Control::new(4));
        let out = Vec::with_capacity(64);
        let mut stage =
            Self { codec, session, now, out, sent: 0, heard: 0, recorded: 0, reports: 0, silent: 0, handing: 0 };
        stage.step(Input::Agree(agreement((HERE, 4000).into(), codec, srtp)));
        stage
    }

    fn step(&mut self, input: Input<'_>) {
        let now = Now { at: self.now, ..clock::now() };
        let before = allocations();
        let _ = self.session.step(now, input, &mut self.out);
        let after = allocations();
        let mut hands = false;
        for output in self.out.drain(..) {
            match output {
                Output::Send { .. } => self.sent += 1,
                Output::Heard(_) => {
                    self.heard += 1;
                    hands = true;
                }
                Output::Recorded { .. } | Output::RecordedWide { .. } => self.recorded += 1,
                Output::Report { .. } => self.reports += 1,
                Output::Event(_) | Output::Closed(_) => {}
            }
        }
        *(if hands { &mut self.handing } else { &mut self.silent }) += after - before;
    }

    fn datagram(&mut self, bytes: &[u8]) {
        self.step(Input::Datagram { from: (HERE, 4000).into(), bytes });
    }

    fn tick(&mut self) {
        self.now += SLOT;
        self.step(Input::Tick);
    }
}

/// A minute of all that a call has: speech, loss, disorder, pauses with comfort noise, keys both ways, reports both ways, garbage and strangers, a prompt that is interrupted.
fn live(stage: &mut Stage, peer: &mut Peer) {
    let frame: [u8; FRAME] = std::array::from_fn(|n| (n * 7 % 120) as u8);
    let sound = stage.codec.payload_type();
    for slot in 0..3000_u32 {
        let timestamp = slot * 160;
        match slot % 100 {
            // Lost.
            17 | 43 | 44 => peer.sequence = peer.sequence.wrapping_add(1),
            // A pause, and how it sounds.
            60 => stage.datagram(peer.packet(COMFORT_NOISE, timestamp, &[60])),
            61..70 => {}
            // A key, with its end three times.
            at @ 80..88 => {
                let began = timestamp - (at - 80) * 160;
                let flags = if at >= 85 { 0x8A } else { 0x0A };
                stage.datagram(peer.packet(TELEPHONE_EVENT, began, &[5, flags, (at - 79) as u8, 0]));
            }
            // Two at once, and one of them again.
            90 => {
                stage.datagram(peer.packet(sound, timestamp, &frame));
                stage.datagram(peer.packet(sound, timestamp, &frame));
            }
            _ => stage.datagram(peer.packet(sound, timestamp, &frame)),
        }
        if slot % 10 == 0 {
            stage.datagram(b"OPTIONS sip:nobody SIP/2.0");
            let at = stage.now;
            stage.step(Input::Control { at, from: (HERE, 4001).into(), bytes: peer.report() });
            stage.step(Input::Datagram { from: (HERE, 666).into(), bytes: &[0x80; 172] });
        }
        stage.tick();
    }
}

/// One prompt of two seconds, given in chunks as Text to Speech gives them, interrupted or not.
fn speak(stage: &mut Stage, chunk: &Bytes, play: u64, interrupted: bool) {
    stage.step(Input::Play { play: PlayId(play), keys_stop: false });
    for slot in 0..110 {
        if stage.session.hungry() == Some(PlayId(play)) && slot < 100 {
            stage.step(Input::Chunk { play: PlayId(play), bytes: chunk.clone() });
        }
        if slot == 50 && interrupted {
            stage.step(Input::Stop);
        }
        if slot == 100 {
            stage.step(Input::PlayEnd(PlayId(play)));
        }
        stage.tick();
    }
}

fn a_session(settings: Settings, codec: Codec, srtp: Option<Srtp>) {
    let name = format!("{codec:?} {settings:?} {:?}", srtp.as_ref().map(|srtp| srtp.suite));
    let mut peer = Peer::new(srtp.as_ref());
    let mut stage = Stage::new(settings, codec, srtp);
    live(&mut stage, &mut peer);
    let chunk = Bytes::from(vec![0x31; 200 * codec.form().bytes_per_ms()]);
    (1..5).for_each(|play| speak(&mut stage, &chunk, play, play % 2 == 0));

    // What grows with first use has grown: from here on nothing does.
    (stage.sent, stage.heard, stage.reports, stage.silent, stage.handing) = (0, 0, 0, 0, 0);
    peer.timestamp = 0;
    live(&mut stage, &mut peer);
    assert_eq!(stage.sent, 3000, "{name}");
    assert!(stage.reports > 8, "{name}: {} reports", stage.reports);
    let taken = stage.session.statistics().reports;
    assert!(taken.packets_in >= 500 && taken.heard.is_some(), "{name}: {taken:?}");
    assert_eq!(stage.silent, 0, "{name}: a packet, a report, a tick or a key allocated");
    assert_eq!(stage.heard, 60_000 / u64::try_from(settings.chunk.as_millis()).unwrap(), "{name}");
    // A block of memory and its count of users, a second.
    assert!(stage.handing <= 2 * 61, "{name}: {} allocations in 60 s of audio", stage.handing);

    // A prompt costs what holds its chunks, once.
    for (play, interrupted) in [(10, false), (11, true)] {
        let before = stage.silent;
        speak(&mut stage, &chunk, play, interrupted);
        assert!(stage.silent - before <= 1, "{name}: {} for a prompt", stage.silent - before);
    }
    // Keys that we send.
    let before = stage.silent;
    stage.step(Input::Press(Tone::pressed('5').unwrap()));
    (0..100).for_each(|_| stage.tick());
    assert!(stage.silent - before <= 1, "{name}: {} for a key", stage.silent - before);
    stage.step(Input::Record(Recording::Paused));
}

/// One test, for what it counts is of the whole process.
#[test]
fn a_packet_allocates_nothing() {
    let profiler = Profiler::builder().testing().build();
    let plain = Settings::default();
    let srtp = |suite| Some(Srtp { suite, ours: key(suite, 1), theirs: key(suite, 2), mki: 0 });
    a_session(plain, Codec::Pcmu, None);
    a_session(Settings { chunk: SLOT, ..plain }, Codec::Pcmu, None);
    let all = Settings { record: true, inband_dtmf: true, silence: Silence::ComfortNoise, ..plain };
    a_session(all, Codec::Pcmu, None);
    a_session(plain, Codec::G722, None);
    a_session(all, Codec::G722, None);
    Suite::ALL.into_iter().for_each(|suite| a_session(plain, Codec::Pcmu, srtp(suite)));
    a_worker(None);
    a_worker(srtp(Suite::AesCm128HmacSha1_80));
    drop(profiler);
}

/// Calls on one worker over real sockets, each answered with a prompt; what the process allocates meanwhile is the worker's.
fn a_worker(srtp: Option<Srtp>) {
    const CALLS: usize = 20;
    const SECONDS: u64 = 4;
    let first = UdpSocket::bind((HERE, 0)).unwrap().local_addr().unwrap().port().min(60_000) & !1;
    let plane = MediaPlane::start(MediaSettings {
        bind_address: HERE,
        port_range: first..=first + 99,
        workers: NonZeroUsize::new(1),
        ..MediaSettings::default()
    })
    .unwrap();
    let long = Bytes::from(vec![0x31; 8000 * 60]);
    let mut calls: Vec<(MediaHandle, UdpSocket, Peer)> = (0..CALLS)
        .map(|_| {
            let (port, socket) = (plane.reserve().unwrap(), UdpSocket::bind((HERE, 0)).unwrap());
            socket.connect((HERE, port.port())).unwrap();
            socket.set_nonblocking(true).unwrap();
            let agreed = agreement(socket.local_addr().unwrap(), Codec::Pcmu, srtp.clone());
            let handle = plane.open(port, MediaOptions::default(), Some(agreed)).unwrap();
            handle.control.play(PlayId(1), false).try_send(long.clone()).unwrap();
            (handle, socket, Peer::new(srtp.as_ref()))
        })
        .collect();
    let mut run = |seconds: u64| {
        let (mut heard, mut came) = (0_u64, 0_u64);
        while heard < 50 * seconds * CALLS as u64 {
            for (handle, socket, peer) in &mut calls {
                // So much of real time; frame by frame, for each speaks into a prompt.
                let frames = handle.audio.blocking_recv().unwrap().len() / FRAME;
                heard += frames as u64;
                for _ in 0..frames {
                    let timestamp = peer.timestamp;
                    socket.send(peer.packet(0, timestamp, &[0x31; FRAME])).unwrap();
                    peer.timestamp += 160;
                }
                while socket.recv(&mut [0; 256]).is_ok() {
                    came += 1;
                }
                while handle.events.try_recv().is_ok() {}
            }
        }
        came
    };
    run(3);
    let before = allocations();
    let came = run(SECONDS);
    let spent = allocations() - before;
    let sent = 50 * SECONDS * CALLS as u64;
    assert!(came * 10 > sent * 9, "{came} packets of {sent}");
    // Two for each second of a call's audio and a little for metrics that are flushed once a second; packets are a hundred a second and call.
    let allowed = 2 * (SECONDS + 1) * CALLS as u64 + 20 * (SECONDS + 1);
    assert!(spent <= allowed, "{spent} allocations for {came} packets out and as many in, {allowed} allowed");
    plane.stop();
}
