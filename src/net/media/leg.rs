//! A session on its worker, with its socket and channels: what a visit of it reads, steps and carries out.

use super::control;
use super::handle::{Command, Wires};
use super::lateness::Lateness;
use super::recording::Tap;
use crate::base::{Now, PlayId, clock, metric};
use crate::media::quality::Quality;
use crate::media::rtp::Numbering;
use crate::media::{Control, Event, Input, Negotiated, Output, Session, Settings, Socket, Statistics};
use crate::net::ports::ReservedPort;
use bytes::Bytes;
use metrics::counter;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
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

/// What all sessions of a worker use in turn.
pub(super) struct Tools {
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
pub(super) struct Leg {
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
pub(super) enum Life {
    Open,
    Over,
}

impl Leg {
    /// A session whose grid begins at `at`.
    pub(super) fn open(opening: Opening, at: Instant, tools: &mut Tools) -> Self {
        let Opening { port, settings, numbering, control, negotiated, wires, mut tap } = opening;
        let mut session = Session::new(settings, at, numbering).with(control);
        if let Some(negotiated) = negotiated {
            if let Some(tap) = &mut tap {
                tap.agree(negotiated.codec.form());
            }
            let _ = session.step(clock::now(), Input::Agree(negotiated), &mut tools.out);
        }
        let prompts = VecDeque::new();
        // Not all of them on the same visit.
        let visits = fastrand::u32(..REPORTS_EVERY);
        Self { session, port, wires, prompts, tap, visits, packets_in: 0, closing: None }
    }

    /// One visit: orders, what came in, bytes of prompts, the slot itself.
    pub(super) fn drive(&mut self, tools: &mut Tools) -> Life {
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
        let taken = self.session.packets_in();
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
                Ok(Command::Play { play, chunks, keys_stop }) => {
                    self.prompts.push_back((play, chunks));
                    Input::Play { play, keys_stop }
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
    pub(super) fn end(mut self, tools: &mut Tools) {
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
        if let Event::PlayFinished { play, .. } = event {
            self.prompts.retain(|(queued, _)| *queued != play);
        }
        if let Err(TrySendError::Full(_)) = self.wires.events.try_send(event) {
            counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "media_events").increment(1);
        }
    }
}

impl Tools {
    pub(super) fn new() -> Self {
        Self {
            out: Vec::with_capacity(16),
            datagram: [0; LONGEST],
            notes: control::notes(),
            lateness: Lateness::new(),
            packets_in: 0,
            packets_out: 0,
            unsent: 0,
        }
    }

    /// Tells the metrics what was counted since the last time.
    pub(super) fn flush(&mut self) {
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
