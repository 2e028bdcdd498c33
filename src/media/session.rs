//! One RTP session: latch, reception, keys, jitter buffer and paced sender joined on one 20 ms grid (RFC 3550, 3551, 4733).
//!
//! Driving contract: feed what came in, then `Tick` at the returned instant or later; everything there is to do stands in `out`.
//! From the first agreement on, each slot of the grid makes 20 ms of the caller's audio (silence where nothing came) and, unless
//! the peer holds us, sends 20 ms (silence where nothing plays).

mod answer;
mod inbound;
mod reporting;

use self::answer::Answer;
use super::comfort_noise::ComfortNoise;
use super::contract::{Event, Input, Output, Settings, Silence};
use super::dual_tone::DualTone;
use super::grid::{Grid, SLOT};
use super::latch::Latch;
use super::outbound::Outbound;
use super::prompts::Progress;
use super::reception::Statistics;
use super::rtcp::Control;
use super::rtp::{Datagram, Numbering};
use super::sdp::{Codec, Negotiated};
use super::source::Source;
use super::srtp::Secured;
use super::telephone_event::Keys;
use crate::audio::{Converter, Form, Frame, WIDE_PIECE};
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
    outbound: Outbound,
    source: Source,
    keys: Keys,
    recording: Recording,
    /// What is heard, and what is sent, in the form that was agreed first.
    caller: Converter,
    assistant: Converter,
    /// Where keys are listened for in the sound.
    dual_tone: Option<DualTone>,
    last_voiced: Option<Instant>,
    answer: Answer,
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
    /// What comes now: the payload type of before a change is heard until the first packet of the next (RFC 3264 section 8.3.2).
    coming: u8,
    /// Of the first agreement: what Speech to Text and the recording were told to expect.
    heard_in: Form,
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
        } else if payload_type == self.coming {
            Some(Kind::Audio)
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
        let noise = (settings.silence == Silence::ComfortNoise).then(|| ComfortNoise::white(NOISE));
        Self {
            settings,
            origin,
            agreed: None,
            outbound: Outbound::new(numbering, noise),
            source: Source::new(settings.least, settings.longest),
            keys: Keys::default(),
            recording: Recording::Running,
            caller: Converter::default(),
            assistant: Converter::default(),
            dual_tone: settings.inband_dtmf.then(DualTone::default),
            last_voiced: None,
            answer: Answer::default(),
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
            Input::Play { play, keys_stop } => {
                let codec = self.agreed.as_ref().map_or(Codec::Pcmu, |agreed| agreed.media.codec);
                if !self.outbound.prompts.queue(play, codec.form(), keys_stop) {
                    out.push(Output::Event(Event::PlayFinished { play, sent_ms: 0, complete: false }));
                }
            }
            Input::Chunk { play, bytes } => self.outbound.prompts.push(play, bytes),
            Input::PlayEnd(play) => self.outbound.prompts.end(play),
            Input::Stop => self.stop(now.at, out),
            Input::Record(recording) => self.recording = recording,
            Input::Press(tone) => {
                let _ = self.outbound.keypad.press(tone);
            }
            Input::Close => self.close(now, out),
        }
        self.agreed.as_ref().filter(|_| !self.closed).map(|agreed| agreed.grid.next())
    }

    /// The prompt that bytes are wanted for now.
    #[must_use]
    pub fn hungry(&self) -> Option<PlayId> {
        self.outbound.prompts.hungry()
    }

    /// Packets that were taken up to now.
    #[must_use]
    pub const fn packets_in(&self) -> u64 {
        self.counts.packets_in
    }

    /// Figures up to now.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let (reception, playout) = (&self.source.reception, self.source.counts());
        let reports = self.control.as_ref().map(|control| control.reports()).unwrap_or_default();
        let (codec, depth) = (self.agreed.as_ref().map(|agreed| agreed.media.codec), self.source.depth());
        Statistics { codec, lost: reception.lost(), jitter: reception.jitter(), playout, depth, reports, ..self.counts }
    }

    fn agree(&mut self, now: Instant, media: Negotiated) {
        self.secure(media.srtp.as_ref());
        if let Some(control) = &mut self.control {
            control.agree(now, media.remote, media.rtcp);
        }
        self.outbound.agree(media.codec);
        match &mut self.agreed {
            None => {
                self.source.agree(media.codec);
                let heard_in = media.codec.form();
                self.chunk.reserve(self.chunk_bytes(heard_in).max(second(heard_in)));
                self.agreed = Some(Agreed {
                    latch: Latch::new(media.remote, self.settings.signalling),
                    grid: Grid::new(self.origin, now),
                    heard_in,
                    coming: media.payload_type,
                    media,
                    last_packet: now,
                    timeout_told: false,
                });
            }
            Some(agreed) => {
                if !agreed.media.receive {
                    // Nothing was expected while the peer was silent by agreement.
                    agreed.last_packet = now;
                }
                agreed.latch.signal(media.remote);
                if agreed.coming == media.payload_type {
                    self.source.agree(media.codec);
                }
                agreed.media = media;
            }
        }
    }

    fn stop(&mut self, now: Instant, out: &mut Vec<Output>) {
        let last_voiced = self.last_voiced;
        self.outbound.prompts.stop(|progress| out.push(Output::Event(event(progress, now, last_voiced))));
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
            self.outbound.numbering.pause(slots as u32);
        }
    }

    /// One slot of the grid: 20 ms in, and 20 ms out where `send` says that it is not too late for them.
    fn slot(&mut self, now: Instant, send: bool, out: &mut Vec<Output>) {
        let Some(agreed) = &mut self.agreed else { return };
        let slot = agreed.grid.take();
        let late = now.saturating_duration_since(slot);
        let heard_in = agreed.heard_in;

        let (mut caller, voiced) = self.source.take(samples(self.origin, slot));
        if voiced {
            self.last_voiced = Some(now);
        }
        if let Some(ear) = &mut self.dual_tone {
            ear.frame(&caller, |key| out.push(Output::Event(Event::InBandDigit(key))));
        }
        self.caller.turn(&mut caller, heard_in);

        let mut assistant = self.outbound.idle();
        if send && agreed.media.send {
            let (to, last_voiced, at) = (agreed.latch.target(), self.last_voiced, out.len());
            let told = |progress| out.push(Output::Event(event(progress, now, last_voiced)));
            let datagram = self.outbound.packet(&agreed.media, &mut assistant, told);
            // The packet goes before what is told of it.
            if let Some(send) = self.send(to, datagram, late) {
                out.insert(at, send);
            }
            let began = out.iter().skip(at).filter_map(|output| match output {
                Output::Event(Event::PlayStarted { play, .. }) => Some(*play),
                _ => None,
            });
            if let Some(play) = self.answer.spoken(&assistant, began.last()) {
                out.push(Output::Event(Event::PlayVoiced { play, at: now }));
            }
        } else {
            self.counts.skipped += u64::from(!send);
            self.outbound.numbering.pause(1);
        }
        self.hear(now, &caller, out);
        if self.settings.record {
            self.assistant.turn(&mut assistant, heard_in);
            if self.recording == Recording::Paused {
                (caller, assistant) = (heard_in.silence(), heard_in.silence());
            }
            record(&caller, &assistant, out);
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

    fn hear(&mut self, now: Instant, caller: &Frame, out: &mut Vec<Output>) {
        caller.put_into(&mut self.chunk);
        let form = caller.form();
        // Whoever speaks into a prompt waits for it to stop: no frame of that waits for others.
        let speaks = self.last_voiced.is_some_and(|at| now.saturating_duration_since(at) < INTERRUPTION);
        let whole = self.chunk_bytes(form);
        let wanted = if speaks && self.outbound.prompts.sound() { form.frame_bytes() } else { whole };
        if self.chunk.len() >= wanted {
            out.push(Output::Heard(self.chunk.split().freeze()));
            if self.chunk.capacity() < whole {
                self.chunk.reserve(whole.max(second(form)));
            }
        }
    }

    /// Bytes of a chunk: whole frames.
    fn chunk_bytes(&self, form: Form) -> usize {
        let frames = self.settings.chunk.as_millis().div_ceil(SLOT.as_millis()).clamp(1, MOST_FRAMES);
        usize::try_from(frames).unwrap_or(1) * form.frame_bytes()
    }
}

/// The clock of the media: samples from `origin` on.
fn samples(origin: Instant, at: Instant) -> i64 {
    i64::try_from(at.saturating_duration_since(origin).as_micros() * 8 / 1000).unwrap_or(i64::MAX)
}

/// Memory that chunks are cut from, however short they are: 1 s.
const fn second(form: Form) -> usize {
    1000 * form.bytes_per_ms()
}

/// Both sides of 20 ms for the recording.
fn record(caller: &Frame, assistant: &Frame, out: &mut Vec<Output>) {
    match (caller, assistant) {
        (Frame::Narrow(_, caller), Frame::Narrow(_, assistant)) => {
            out.push(Output::Recorded { caller: *caller, assistant: *assistant });
        }
        (Frame::Wide(caller), Frame::Wide(assistant)) => {
            let pieces = caller.as_chunks::<WIDE_PIECE>().0.iter().zip(assistant.as_chunks::<WIDE_PIECE>().0);
            out.extend(
                pieces.map(|(caller, assistant)| Output::RecordedWide { caller: *caller, assistant: *assistant }),
            );
        }
        // Both have the form that was agreed first.
        _ => {}
    }
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
/// Since the last voiced packet of whoever interrupts: longer than the buffer's usual delay, and than the pauses in a word.
const INTERRUPTION: Duration = Duration::from_millis(300);
/// Frames of the longest chunk: 1 s.
const MOST_FRAMES: u128 = 50;
/// No packet that is of use is longer: the longest of sound, with all that may lie around it.
const LONGEST_SECURED: usize = 2048;
