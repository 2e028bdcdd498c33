//! One RTP session: latch, reception, keys, jitter buffer and paced sender joined on one 20 ms grid (RFC 3550, 3551, 4733).
//!
//! Driving contract: feed what came in, then `Tick` at the returned instant or later; everything there is to do stands in `out`.
//! From the first agreement on, each slot of the grid makes 20 ms of the caller's audio (silence where nothing came) and, unless
//! the peer holds us, sends 20 ms (silence where nothing plays).

mod reporting;

use super::comfort_noise::ComfortNoise;
use super::contract::{Event, Input, Output, Settings, Silence};
use super::dual_tone::DualTone;
use super::grid::{Grid, SLOT};
use super::jitter_buffer::{Clock, JitterBuffer, LONGEST_PACKET, Placed};
use super::keypad::{Key, Keypad, Way};
use super::latch::Latch;
use super::prompts::{Progress, Prompts};
use super::reception::{Order, Statistics};
use super::rtcp::{Control, is_control};
use super::rtp::{Datagram, Numbering, Packet, SAMPLES};
use super::sdp::Negotiated;
use super::source::Source;
use super::srtp::{Refused, Rekeyed, Secured, Srtp};
use super::telephone_event::Keys;
use crate::audio::{FRAME, Law, Voice};
use crate::base::{Now, PlayId, Recording};
use bytes::BytesMut;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The session.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    /// The grid goes through here.
    origin: Instant,
    agreed: Option<Agreed>,
    numbering: Numbering,
    prompts: Prompts,
    /// What is sent where nothing plays, if not silence.
    noise: Option<ComfortNoise>,
    source: Source,
    keys: Keys,
    keypad: Keypad,
    recording: Recording,
    /// Where keys are listened for in the sound.
    dual_tone: Option<DualTone>,
    voice: Voice,
    last_voiced: Option<Instant>,
    /// Packets that the peer may still send before the next slot.
    allowance: u64,
    chunk: BytesMut,
    counts: Statistics,
    /// Where SRTP was agreed.
    secured: Option<Box<Secured>>,
    /// Where RTCP is spoken.
    control: Option<Box<Control>>,
    closed: bool,
}

/// What exists from the first agreement on.
#[derive(Debug)]
struct Agreed {
    media: Negotiated,
    /// Of the first agreement: what Speech to Text and the recording were told to expect.
    heard_in: Law,
    grid: Grid,
    latch: Latch,
    last_packet: Instant,
    timeout_told: bool,
}

/// What a packet carries.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Audio,
    ComfortNoise,
    TelephoneEvent,
}

impl Agreed {
    fn kind(&self, payload_type: u8) -> Option<Kind> {
        if payload_type == self.media.payload_type {
            Some(Kind::Audio)
        } else if Some(payload_type) == self.media.telephone_event {
            Some(Kind::TelephoneEvent)
        } else if payload_type == self.media.comfort_noise.unwrap_or(COMFORT_NOISE) {
            Some(Kind::ComfortNoise)
        } else {
            None
        }
    }
}

impl Session {
    /// A session that waits for its agreement. Its grid goes through `origin`; `numbering` is random.
    #[must_use]
    pub fn new(settings: Settings, origin: Instant, numbering: Numbering) -> Self {
        let buffer = JitterBuffer::new(Law::Mu, settings.least, settings.longest);
        Self {
            settings,
            origin,
            agreed: None,
            numbering,
            prompts: Prompts::default(),
            noise: (settings.silence == Silence::ComfortNoise).then(|| ComfortNoise::white(NOISE)),
            source: Source::new(buffer),
            keys: Keys::default(),
            keypad: Keypad::default(),
            recording: Recording::Running,
            dual_tone: settings.inband_dtmf.then(DualTone::default),
            voice: Voice::default(),
            last_voiced: None,
            allowance: BURST,
            chunk: BytesMut::new(),
            counts: Statistics::default(),
            secured: None,
            control: None,
            closed: false,
        }
    }

    /// The same that reports what it sends and hears.
    #[must_use]
    pub fn with(self, control: Control) -> Self {
        Self { control: Some(Box::new(control)), ..self }
    }

    /// Takes one thing that happened; returns when `Tick` is due.
    #[must_use]
    pub fn step(&mut self, now: Now, input: Input<'_>, out: &mut Vec<Output>) -> Option<Instant> {
        if self.closed {
            return None;
        }
        match input {
            Input::Tick => {
                self.tick(now.at, out);
                self.report_out(now, out);
            }
            Input::Datagram { from, bytes } => self.datagram(now.at, from, bytes, out),
            Input::Control { at, from, bytes } => self.report_in(at, from, bytes),
            Input::Agree(media) => self.agree(now.at, media),
            Input::Play(play) => {
                let law = self.agreed.as_ref().map_or(Law::Mu, |agreed| agreed.media.codec.law());
                if !self.prompts.queue(play, law) {
                    out.push(Output::Event(Event::PlayFinished { play, sent_ms: 0, complete: false }));
                }
            }
            Input::Chunk { play, bytes } => self.prompts.push(play, bytes),
            Input::PlayEnd(play) => self.prompts.end(play),
            Input::Stop => self.stop(now.at, out),
            Input::Record(recording) => self.recording = recording,
            Input::Press(tone) => {
                let _ = self.keypad.press(tone);
            }
            Input::Close => self.close(now, out),
        }
        self.agreed.as_ref().filter(|_| !self.closed).map(|agreed| agreed.grid.next())
    }

    /// The prompt that bytes are wanted for now.
    #[must_use]
    pub fn hungry(&self) -> Option<PlayId> {
        self.prompts.hungry()
    }

    /// Figures up to now.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let (reception, playout) = (&self.source.reception, self.source.buffer.counts());
        let reports = self.control.as_ref().map(|control| control.reports()).unwrap_or_default();
        let (codec, depth) = (self.agreed.as_ref().map(|agreed| agreed.media.codec), self.source.buffer.depth());
        Statistics { codec, lost: reception.lost(), jitter: reception.jitter(), playout, depth, reports, ..self.counts }
    }

    fn agree(&mut self, now: Instant, media: Negotiated) {
        self.secure(media.srtp.as_ref());
        if let Some(control) = &mut self.control {
            control.agree(now, media.remote, media.rtcp);
        }
        let law = media.codec.law();
        match &mut self.agreed {
            None => {
                self.source.buffer.reset(law);
                self.chunk.reserve(self.chunk_bytes().max(BLOCK));
                self.agreed = Some(Agreed {
                    latch: Latch::new(media.remote, self.settings.signalling),
                    grid: Grid::new(self.origin, now),
                    heard_in: law,
                    media,
                    last_packet: now,
                    timeout_told: false,
                });
            }
            Some(agreed) => {
                if agreed.media.codec.law() != law {
                    self.source.buffer.reset(law);
                }
                if !agreed.media.receive {
                    // Nothing was expected while the peer was silent by agreement.
                    agreed.last_packet = now;
                }
                agreed.latch.signal(media.remote);
                agreed.media = media;
            }
        }
    }

    fn secure(&mut self, agreed: Option<&Srtp>) {
        let Some(agreed) = agreed else {
            self.secured = None;
            return;
        };
        let rekeyed = match &mut self.secured {
            Some(secured) => secured.rekey(agreed),
            None => {
                self.secured = Some(Box::new(Secured::new(agreed.clone())));
                if self.counts.packets_out > 0 { Rekeyed::Changed } else { Rekeyed::Kept }
            }
        };
        if rekeyed == Rekeyed::Changed {
            self.numbering.renew();
        }
    }

    fn stop(&mut self, now: Instant, out: &mut Vec<Output>) {
        let last_voiced = self.last_voiced;
        self.prompts.stop(|progress| out.push(Output::Event(event(progress, now, last_voiced))));
    }

    fn close(&mut self, now: Now, out: &mut Vec<Output>) {
        self.stop(now.at, out);
        if !self.chunk.is_empty() {
            out.push(Output::Heard(self.chunk.split().freeze()));
        }
        self.leave(now, out);
        out.push(Output::Closed(self.statistics()));
        self.closed = true;
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Output>) {
        if is_control(bytes) && self.control.as_ref().is_some_and(|control| control.multiplexed()) {
            return self.report_in(now, from, bytes);
        }
        let Some(secured) = &mut self.secured else { return self.packet(now, from, bytes, out) };
        // Nothing is believed, not even where it comes from, before it is authentic.
        let mut room = [0; LONGEST_SECURED];
        let refused = match secured.open(bytes, &mut room) {
            Ok(packet) => return self.packet(now, from, packet, out),
            Err(refused) => refused,
        };
        let dropped = &mut self.counts.dropped;
        *match refused {
            Refused::Malformed => &mut dropped.not_rtp,
            Refused::Forged => &mut dropped.forged,
            Refused::Replayed => &mut dropped.replayed,
        } += 1;
    }

    fn packet(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Output>) {
        let dropped = &mut self.counts.dropped;
        let Some(agreed) = &mut self.agreed else {
            dropped.stranger += 1;
            return;
        };
        let held = agreed.latch.holds(from);
        let Some(packet) = Packet::read(bytes) else {
            *(if held { &mut dropped.not_rtp } else { &mut dropped.stranger }) += 1;
            return;
        };
        let kind = agreed.kind(packet.payload_type);
        let known = kind.is_some();
        if !(held || known) || !agreed.latch.admit(now, from, packet.ssrc, packet.sequence) {
            dropped.stranger += 1;
            return;
        }
        if self.allowance == 0 {
            dropped.flood += 1;
            return;
        }
        self.allowance -= 1;
        agreed.last_packet = now;
        agreed.timeout_told = false;
        let sized = (1..=LONGEST_PACKET).contains(&u64::try_from(packet.payload.len()).unwrap_or(u64::MAX));
        let Some(kind) = kind.filter(|_| sized) else {
            dropped.payload_type += 1;
            return;
        };
        if self.counts.packets_in == 0 {
            out.push(Output::Event(Event::FirstPacket));
        }
        self.counts.packets_in += 1;
        match kind {
            Kind::Audio => self.audio(now, &packet),
            Kind::ComfortNoise => self.pause(&packet),
            Kind::TelephoneEvent => {
                self.source.note_event(&packet);
                let told = |key| out.push(Output::Event(Event::Digit(key)));
                self.keys.packet(packet.ssrc, packet.timestamp, packet.payload, told);
            }
        }
    }

    /// The peer pauses and says how its silence sounds.
    fn pause(&mut self, packet: &Packet<'_>) {
        let Some(law) = self.agreed.as_ref().map(|agreed| agreed.media.codec.law()) else { return };
        match self.source.admit(packet.ssrc, packet.sequence, law) {
            Order::Duplicate => self.counts.dropped.duplicate += 1,
            Order::Jump => self.counts.dropped.late += 1,
            Order::Next | Order::New | Order::Restart => self.source.pause(packet),
        }
    }

    fn audio(&mut self, now: Instant, packet: &Packet<'_>) {
        let Some(agreed) = &self.agreed else { return };
        let (law, next) = (agreed.media.codec.law(), agreed.grid.next());
        let order = self.source.admit(packet.ssrc, packet.sequence, law);
        if order == Order::Duplicate {
            self.counts.dropped.duplicate += 1;
            return;
        }
        if order == Order::Jump {
            self.counts.dropped.late += 1;
            return;
        }
        // The reader stands still until its slot: woken too late, what waited in the socket has lost nothing by it.
        let clock = Clock { now: samples(self.origin, now.min(next)), slot: samples(self.origin, next) };
        if self.source.place(clock, order, packet) == Placed::Late {
            self.counts.dropped.late += 1;
        }
        if self.voice.voiced(law, packet.payload) {
            self.last_voiced = Some(now);
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some(due) = self.agreed.as_ref().map(|agreed| agreed.grid.due(now)) else { return };
        if due == 0 {
            return;
        }
        self.allowance = self.allowance.saturating_add(u64::try_from(due).unwrap_or(BURST) * PER_SLOT).min(BURST);
        // A machine that slept does not make up for the night.
        self.leave_out(due.saturating_sub(MOST_SLOTS));
        let due = due.min(MOST_SLOTS);
        for slot in 0..due {
            self.slot(now, slot + CATCH_UP >= due, out);
        }
        if let Some(agreed) = &mut self.agreed
            && agreed.media.receive
            && !agreed.timeout_told
            && now.saturating_duration_since(agreed.last_packet) >= self.settings.rtp_timeout
        {
            agreed.timeout_told = true;
            out.push(Output::Event(Event::Timeout));
        }
    }

    fn leave_out(&mut self, slots: u128) {
        if slots > 0
            && let Some(agreed) = &mut self.agreed
        {
            agreed.grid.skip(slots);
            let slots = u64::try_from(slots).unwrap_or(u64::MAX);
            self.counts.skipped = self.counts.skipped.saturating_add(slots);
            #[expect(clippy::cast_possible_truncation, reason = "a timestamp wraps")]
            self.numbering.pause((slots as u32).wrapping_mul(SAMPLES));
        }
    }

    /// One slot of the grid: 20 ms in, and 20 ms out where `send` says that it is not too late for them.
    fn slot(&mut self, now: Instant, send: bool, out: &mut Vec<Output>) {
        let Some(agreed) = &mut self.agreed else { return };
        let slot = agreed.grid.take();
        let late = now.saturating_duration_since(slot);
        let (law, heard_in) = (agreed.media.codec.law(), agreed.heard_in);

        let mut caller = [0; FRAME];
        self.source.buffer.take(samples(self.origin, slot), &mut caller);
        if let Some(ear) = &mut self.dual_tone {
            ear.frame(law, &caller, |key| out.push(Output::Event(Event::InBandDigit(key))));
        }
        law.translate(heard_in, &mut caller);

        let mut assistant = [law.silence(); FRAME];
        if let Some(noise) = &mut self.noise {
            noise.fill(law, &mut assistant);
        }
        // A key takes the place of the sound, whose prompt waits.
        let way = agreed.media.telephone_event.map_or(Way::Tones(law), |_| Way::Events);
        let key = if send && agreed.media.send { self.keypad.slot(self.numbering.timestamp(), way) } else { None };
        if let Some(key) = key {
            let datagram = match (key, agreed.media.telephone_event) {
                (Key::Event(pressed), Some(payload_type)) => self.numbering.event(payload_type, pressed),
                (Key::Sound(tones), _) => {
                    assistant = tones;
                    self.numbering.packet(agreed.media.payload_type, &assistant)
                }
                _ => self.numbering.packet(agreed.media.payload_type, &assistant),
            };
            let to = agreed.latch.target();
            out.extend(self.send(to, datagram, late));
        } else if send && agreed.media.send {
            let (to, payload_type, last_voiced) = (agreed.latch.target(), agreed.media.payload_type, self.last_voiced);
            let at = out.len();
            self.prompts
                .fill(law, &mut assistant, |progress| out.push(Output::Event(event(progress, now, last_voiced))));
            let datagram = self.numbering.packet(payload_type, &assistant);
            // The packet goes before what is told of it.
            if let Some(send) = self.send(to, datagram, late) {
                out.insert(at, send);
            }
        } else {
            self.counts.skipped += u64::from(!send);
            self.numbering.pause(SAMPLES);
        }
        self.hear(now, &caller, out);
        if self.settings.record {
            law.translate(heard_in, &mut assistant);
            if self.recording == Recording::Paused {
                (caller, assistant) = ([heard_in.silence(); FRAME], [heard_in.silence(); FRAME]);
            }
            out.push(Output::Recorded { caller, assistant });
        }
    }

    /// A packet as it goes out; none where it was to be encrypted and could not be.
    fn send(&mut self, to: SocketAddr, mut datagram: Datagram, late: Duration) -> Option<Output> {
        if let Some(secured) = &mut self.secured
            && !secured.seal(&mut datagram)
        {
            return None;
        }
        self.counts.packets_out += 1;
        Some(Output::Send { to, datagram, late })
    }

    fn hear(&mut self, now: Instant, caller: &[u8; FRAME], out: &mut Vec<Output>) {
        self.chunk.extend_from_slice(caller);
        // Whoever speaks into a prompt waits for it to stop: no frame of that waits for others.
        let speaks = self.last_voiced.is_some_and(|at| now.saturating_duration_since(at) < INTERRUPTION);
        let wanted = if speaks && self.prompts.sound() { FRAME } else { self.chunk_bytes() };
        if self.chunk.len() >= wanted {
            out.push(Output::Heard(self.chunk.split().freeze()));
            if self.chunk.capacity() < self.chunk_bytes() {
                self.chunk.reserve(self.chunk_bytes().max(BLOCK));
            }
        }
    }

    /// Bytes of a chunk: whole frames.
    fn chunk_bytes(&self) -> usize {
        let frames = self.settings.chunk.as_millis().div_ceil(SLOT.as_millis()).clamp(1, MOST_FRAMES);
        usize::try_from(frames).unwrap_or(1) * FRAME
    }
}

/// The clock of the media: samples from `origin` on.
fn samples(origin: Instant, at: Instant) -> i64 {
    i64::try_from(at.saturating_duration_since(origin).as_micros() * 8 / 1000).unwrap_or(i64::MAX)
}

fn event(progress: Progress, at: Instant, last_voiced: Option<Instant>) -> Event {
    match progress {
        Progress::Began(play) => Event::PlayStarted { play, at, last_voiced },
        Progress::Finished { play, sent_ms, complete } => Event::PlayFinished { play, sent_ms, complete },
    }
}

/// Of the noise that is sent where nothing plays: -62 dBov, what a quiet room sounds like.
const NOISE: u8 = 62;
/// What silence suppression sends whether it was agreed or not (RFC 3551 section 6).
const COMFORT_NOISE: u8 = 13;
/// Packets that a late tick may send at once; what is due beyond them is left out, and its prompts wait.
const CATCH_UP: u128 = 2;
/// Slots that a late tick makes up for in what is heard: 1 s.
const MOST_SLOTS: u128 = 50;
/// Packets that a peer may send in a slot: four times what 10 ms packets need.
const PER_SLOT: u64 = 8;
/// Packets that may come at once after a stall.
const BURST: u64 = 64;
/// No packet that is of use is longer: the longest of sound, with all that may lie around it.
const LONGEST_SECURED: usize = 2048;
/// Since the last voiced packet of whoever interrupts: longer than the buffer's usual delay, and than the pauses in a word.
const INTERRUPTION: Duration = Duration::from_millis(300);
/// Memory that chunks are cut from, however short they are: 1 s.
const BLOCK: usize = 8000;
/// Frames of the longest chunk: 1 s.
const MOST_FRAMES: u128 = 50;
