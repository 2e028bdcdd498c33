//! A worker thread: visits each of its sessions once in 20 ms, at the session's own place on a grid of small slots.
//!
//! No epoll: reading a socket that has nothing costs less than being told that it has. Sessions are spread over the slots, so
//! that the packets of all calls do not leave at once. A worker without sessions sleeps until one comes.

use super::control;
use super::handle::{Command, Wires};
use super::lateness::Lateness;
use super::recording::Tap;
use crate::base::{Now, PlayId, clock, metric};
use crate::call::MediaEvent;
use crate::media::quality::Quality;
use crate::media::rtp::Numbering;
use crate::media::{Control, Event, Input, Negotiated, Output, Session, Settings, Socket, Statistics};
use crate::net::ports::ReservedPort;
use bytes::Bytes;
use metrics::counter;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::{TryRecvError as Nothing, TrySendError};
use tokio::sync::{mpsc, oneshot};

/// A session to be.
pub(super) struct Opening {
    pub(super) port: ReservedPort,
    pub(super) settings: Settings,
    pub(super) numbering: Numbering,
    pub(super) control: Control,
    pub(super) negotiated: Option<Negotiated>,
    pub(super) wires: Wires,
    pub(super) tap: Option<Tap>,
}

/// The thread's own.
pub(super) struct Worker {
    incoming: Receiver<Opening>,
    sessions: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    /// Slot n of the grid is at `origin + n * SLOT`; a session lives in the slots that are its number modulo `SLOTS`.
    origin: Instant,
    slots: [Vec<Leg>; SLOTS],
    tools: Tools,
    flushed: Instant,
}

/// What all sessions of a worker use in turn.
struct Tools {
    out: Vec<Output>,
    datagram: [u8; LONGEST],
    /// Of the kernel, on a datagram of RTCP.
    notes: Vec<u8>,
    lateness: Lateness,
    packets_in: u64,
    packets_out: u64,
    unsent: u64,
}

/// A session with its socket and channels.
struct Leg {
    session: Session,
    port: ReservedPort,
    wires: Wires,
    prompts: VecDeque<(PlayId, mpsc::Receiver<Bytes>)>,
    tap: Option<Tap>,
    visits: u32,
    packets_in: u64,
    closing: Option<oneshot::Sender<Statistics>>,
}

/// Whether a session goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    Over,
}

impl Worker {
    pub(super) fn new(incoming: Receiver<Opening>, sessions: Arc<AtomicUsize>, stop: Arc<AtomicBool>) -> Self {
        let origin = clock::now().at;
        let tools = Tools {
            out: Vec::with_capacity(16),
            datagram: [0; LONGEST],
            notes: control::notes(),
            lateness: Lateness::new(),
            packets_in: 0,
            packets_out: 0,
            unsent: 0,
        };
        let slots = std::array::from_fn(|_| Vec::new());
        Self { incoming, sessions, stop, origin, slots, tools, flushed: origin }
    }

    /// Runs until the plane is stopped, or gone and the last session over.
    pub(super) fn run(mut self) {
        let mut slot = 0_u64;
        loop {
            if self.stop.load(Ordering::Relaxed) || !self.take_in() {
                break;
            }
            let now = clock::now().at;
            let reached = self.reached(now);
            // Woken too late, every session is still visited, but once.
            slot = slot.max((reached + 1).saturating_sub(PERIOD));
            if let Some(wait) = self.instant(slot).checked_duration_since(now) {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the pace of the media is made here, on an absolute grid"
                )]
                std::thread::sleep(wait);
            }
            self.visit(slot);
            slot += 1;
            self.flush(now);
        }
        for slot in 0..PERIOD {
            for leg in std::mem::take(self.slot(slot)) {
                self.sessions.fetch_sub(1, Ordering::Relaxed);
                leg.end(&mut self.tools);
            }
        }
        self.tools.flush();
    }

    /// Takes in new sessions; waits for one where there is none. False when none lives and none can come.
    fn take_in(&mut self) -> bool {
        if self.slots.iter().all(Vec::is_empty) {
            self.tools.flush();
            match self.incoming.recv_timeout(IDLE) {
                Ok(opening) => self.open(opening),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        loop {
            match self.incoming.try_recv() {
                Ok(opening) => self.open(opening),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn open(&mut self, opening: Opening) {
        let Opening { port, settings, numbering, control, negotiated, wires, mut tap } = opening;
        let slot = (0..PERIOD).min_by_key(|slot| self.slot(*slot).len()).unwrap_or(0);
        let mut session = Session::new(settings, self.instant(slot), numbering).with(control);
        if let Some(negotiated) = negotiated {
            if let Some(tap) = &mut tap {
                tap.agree(negotiated.codec.form());
            }
            let _ = session.step(clock::now(), Input::Agree(negotiated), &mut self.tools.out);
        }
        let prompts = VecDeque::new();
        // Not all of them on the same visit.
        let visits = fastrand::u32(..REPORTS_EVERY);
        let leg = Leg { session, port, wires, prompts, tap, visits, packets_in: 0, closing: None };
        self.slot(slot).push(leg);
    }

    fn visit(&mut self, slot: u64) {
        let mut legs = std::mem::take(self.slot(slot));
        let tools = &mut self.tools;
        let before = legs.len();
        legs.retain_mut(|leg| leg.drive(tools) == Life::Open);
        self.sessions.fetch_sub(before - legs.len(), Ordering::Relaxed);
        *self.slot(slot) = legs;
    }

    fn flush(&mut self, now: Instant) {
        if now.saturating_duration_since(self.flushed) >= FLUSH {
            self.flushed = now;
            self.tools.flush();
        }
    }

    fn slot(&mut self, slot: u64) -> &mut Vec<Leg> {
        let index = usize::try_from(slot % PERIOD).unwrap_or(0);
        // The remainder lies below the length of the array.
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        &mut self.slots[index]
    }

    fn instant(&self, slot: u64) -> Instant {
        self.origin + Duration::from_nanos(SLOT_NANOS.saturating_mul(slot))
    }

    /// The last slot that has come.
    fn reached(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX) / SLOT_NANOS
    }
}

impl Leg {
    /// One visit: orders, what came in, bytes of prompts, the slot itself.
    fn drive(&mut self, tools: &mut Tools) -> Life {
        let now = clock::now();
        if self.obey(now, tools) == Life::Over {
            return Life::Over;
        }
        self.receive(now, tools);
        self.visits = (self.visits + 1) % REPORTS_EVERY;
        if self.visits == 0 {
            self.receive_reports(now, tools);
        }
        self.pull(now, tools);
        let _ = self.session.step(clock::now(), Input::Tick, &mut tools.out);
        self.carry_out(tools);
        let taken = self.session.statistics().packets_in;
        tools.packets_in += taken - self.packets_in;
        self.packets_in = taken;
        Life::Open
    }

    fn obey(&mut self, now: Now, tools: &mut Tools) -> Life {
        for _ in 0..MOST_COMMANDS {
            let input = match self.wires.commands.try_recv() {
                Ok(Command::Agree(negotiated)) => {
                    if let Some(tap) = &mut self.tap {
                        tap.agree(negotiated.codec.form());
                    }
                    Input::Agree(negotiated)
                }
                Ok(Command::Play(play, chunks)) => {
                    self.prompts.push_back((play, chunks));
                    Input::Play(play)
                }
                Ok(Command::Stop) => {
                    self.prompts.clear();
                    Input::Stop
                }
                Ok(Command::Record(recording)) => Input::Record(recording),
                Ok(Command::Press(tones)) => {
                    for tone in tones {
                        let _ = self.session.step(now, Input::Press(tone), &mut tools.out);
                    }
                    continue;
                }
                Ok(Command::Statistics(tell)) => {
                    // Whoever asked may have gone.
                    let _ = tell.send(self.session.statistics());
                    continue;
                }
                Ok(Command::Close(tell)) => {
                    self.closing = Some(tell);
                    self.close(now, tools);
                    return Life::Over;
                }
                Err(Nothing::Disconnected) => {
                    self.close(now, tools);
                    return Life::Over;
                }
                Err(Nothing::Empty) => break,
            };
            let _ = self.session.step(now, input, &mut tools.out);
        }
        Life::Open
    }

    fn receive(&mut self, now: Now, tools: &mut Tools) {
        for _ in 0..MOST_DATAGRAMS {
            match self.port.socket().recv_from(&mut tools.datagram) {
                Ok((length, from)) => {
                    let from = canonical(from);
                    let bytes = tools.datagram.get(..length).unwrap_or_default();
                    let _ = self.session.step(now, Input::Datagram { from, bytes }, &mut tools.out);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // What an earlier packet of ours met on its way (ICMP): the next read says more.
                Err(_) => {}
            }
        }
    }

    fn receive_reports(&mut self, now: Now, tools: &mut Tools) {
        for _ in 0..MOST_REPORTS {
            match control::receive(self.port.control(), now, &mut tools.datagram, &mut tools.notes) {
                Ok((length, from, at)) => {
                    let from = canonical(from);
                    let bytes = tools.datagram.get(..length).unwrap_or_default();
                    let _ = self.session.step(now, Input::Control { at, from, bytes }, &mut tools.out);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // What an earlier report of ours met on its way (ICMP).
                Err(_) => {}
            }
        }
    }

    /// Takes from the prompts' channels only what is soon needed: a full channel makes Text to Speech wait.
    fn pull(&mut self, now: Now, tools: &mut Tools) {
        for _ in 0..MOST_CHUNKS {
            let Some(play) = self.session.hungry() else { break };
            let prompt = self.prompts.iter_mut().find(|(queued, _)| *queued == play);
            let input = match prompt.map_or(Err(Nothing::Disconnected), |(_, chunks)| chunks.try_recv()) {
                Ok(bytes) => Input::Chunk { play, bytes },
                Err(Nothing::Empty) => break,
                Err(Nothing::Disconnected) => {
                    self.prompts.retain(|(queued, _)| *queued != play);
                    Input::PlayEnd(play)
                }
            };
            let _ = self.session.step(now, input, &mut tools.out);
        }
    }

    fn close(&mut self, now: Now, tools: &mut Tools) {
        let _ = self.session.step(now, Input::Close, &mut tools.out);
        self.carry_out(tools);
    }

    /// The plane stops.
    fn end(mut self, tools: &mut Tools) {
        self.close(clock::now(), tools);
    }

    fn carry_out(&mut self, tools: &mut Tools) {
        let mut out = std::mem::take(&mut tools.out);
        for output in out.drain(..) {
            match output {
                Output::Send { to, datagram, late } => {
                    if self.port.socket().send_to(datagram.bytes(), to).is_err() {
                        tools.unsent += 1;
                    }
                    tools.packets_out += 1;
                    tools.lateness.note(late);
                }
                Output::Report { to, compound, by } => {
                    let socket = match by {
                        Socket::Rtp => self.port.socket(),
                        Socket::Rtcp => self.port.control(),
                    };
                    // A report that is lost is followed by the next.
                    let _ = socket.send_to(compound.bytes(), to);
                }
                Output::Event(event) => self.tell(event),
                Output::Heard(bytes) => {
                    if let Err(TrySendError::Full(_)) = self.wires.audio.try_send(bytes) {
                        counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "speech_to_text").increment(1);
                    }
                }
                Output::Recorded { caller, assistant } => {
                    if let Some(tap) = &mut self.tap {
                        tap.frame(&caller, &assistant);
                    }
                }
                Output::RecordedWide { caller, assistant } => {
                    if let Some(tap) = &mut self.tap {
                        tap.wide(&caller, &assistant);
                    }
                }
                Output::Closed(statistics) => {
                    record(&statistics);
                    if let Some(tell) = self.closing.take() {
                        // Whoever asked may have gone.
                        let _ = tell.send(statistics);
                    }
                }
            }
        }
        tools.out = out;
    }

    fn tell(&mut self, event: Event) {
        let event = match event {
            Event::FirstPacket => MediaEvent::FirstPacket,
            Event::Digit(key) => MediaEvent::Digit(key),
            Event::InBandDigit(key) => MediaEvent::InBandDigit(key),
            Event::PlayStarted { play, at, last_voiced } => MediaEvent::PlayStarted { play, at, last_voiced },
            Event::PlayVoiced { play, at } => MediaEvent::PlayVoiced { play, at },
            Event::PlayFinished { play, sent_ms, complete } => {
                self.prompts.retain(|(queued, _)| *queued != play);
                MediaEvent::PlayFinished { play, sent_ms, complete }
            }
            Event::Timeout => MediaEvent::Timeout,
        };
        if let Err(TrySendError::Full(_)) = self.wires.events.try_send(event) {
            counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "media_events").increment(1);
        }
    }
}

impl Tools {
    fn flush(&mut self) {
        self.lateness.flush();
        for (direction, count) in [("in", &mut self.packets_in), ("out", &mut self.packets_out)] {
            counter!(metric::RTP_PACKETS_TOTAL, "direction" => direction).increment(std::mem::take(count));
        }
        let unsent = std::mem::take(&mut self.unsent);
        if unsent > 0 {
            tracing::warn!(packets = unsent, "the system refused to send RTP packets");
        }
    }
}

/// An IPv4 peer as bodies name it, whatever socket it came in by. The scope of a link-local peer stays.
fn canonical(from: SocketAddr) -> SocketAddr {
    match from.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, from.port()),
        IpAddr::V6(_) => from,
    }
}

/// The figures of a session that is over.
fn record(statistics: &Statistics) {
    counter!(metric::RTP_LOST_TOTAL).increment(statistics.lost);
    for (reason, count) in statistics.dropped.by_reason().into_iter().filter(|(_, count)| *count > 0) {
        counter!(metric::RTP_DROPPED_TOTAL, "reason" => reason).increment(count);
    }
    if statistics.packets_in > 0 {
        metrics::histogram!(metric::RTP_JITTER_SECONDS).record(statistics.jitter.as_secs_f64());
    }
    if let Some(round_trip) = statistics.reports.round_trip {
        metrics::histogram!(metric::RTP_ROUND_TRIP_SECONDS).record(round_trip.as_secs_f64());
    }
    let Some(codec) = statistics.codec else { return };
    if let Some(heard) = statistics.reports.heard {
        counter!(metric::RTP_REPORTED_LOST_TOTAL).increment(heard.lost);
        metrics::histogram!(metric::RTP_REPORTED_JITTER_SECONDS).record(heard.jitter_in(codec).as_secs_f64());
    }
    let quality = Quality::of(codec, statistics);
    for (direction, mos) in [("in", quality.incoming), ("out", quality.outgoing)] {
        if let Some(mos) = mos {
            metrics::histogram!(metric::MOS, "direction" => direction).record(mos);
        }
    }
}

/// 2.5 ms: eight visits of different sessions in 20 ms.
const SLOT_NANOS: u64 = 2_500_000;
const SLOTS: usize = 8;
const PERIOD: u64 = 8;
/// Longer datagrams are cut here; nothing that long is a packet of ours to use.
const LONGEST: usize = 2048;
/// Reads of a socket in a visit: what a stall of a second leaves. The session itself counts what of it is a flood.
const MOST_DATAGRAMS: usize = 64;
/// Visits from one look for RTCP to the next: half a second.
const REPORTS_EVERY: u32 = 25;
/// Reads of the socket of RTCP in such a visit.
const MOST_REPORTS: usize = 8;
const MOST_COMMANDS: usize = 64;
const MOST_CHUNKS: usize = 64;
/// How long a worker without sessions sleeps before it looks whether it is to end.
const IDLE: Duration = Duration::from_millis(250);
const FLUSH: Duration = Duration::from_secs(1);
