//! The phones' RTP (RFC 3550): one thread, a socket per call, precomputed frames on a 20 ms grid, and when each packet of the gateway
//! arrived by the kernel's own receive timestamp, so that this process's scheduling does not count against the gateway.

use crate::moments::Pulse;
use crate::reaction::{Ear, Interruption, Reaction, Reactions};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use parking_lot::Mutex;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;

/// What a caller sends in 20 ms.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Silence,
    Voice,
    /// A telephone-event (RFC 4733): so many packets after its first.
    Key(u8),
}

/// What a caller does, over and over.
#[derive(Clone, Copy)]
enum Script {
    /// A second and a half of sound every eight seconds, when the assistant has ended.
    Polite,
    /// A second of sound; a second of it two seconds into the answer; a key two seconds into the answer to that.
    Impatient,
}

impl Script {
    /// The part of a frame: `number` of its call, whose first cycle begins `phase` after the greeting.
    fn part(self, number: usize, phase: usize) -> Part {
        let Some(spoken) = number.checked_sub(LEAD_FRAMES + phase) else { return Part::Silence };
        match (self, spoken % TURN_FRAMES) {
            (Self::Polite, 0..75) | (Self::Impatient, 0..50 | 200..250) => Part::Voice,
            (Self::Impatient, at @ 375..383) => Part::Key((at - 375) as u8),
            _ => Part::Silence,
        }
    }
}

/// Microseconds, sorted.
#[derive(Default)]
pub(crate) struct Times {
    /// Of each packet behind its call's own 20 ms grid. The grid is laid through the call's earliest packet.
    pub(crate) late: Vec<u32>,
    /// Of the measured time, and of the impatient time after it.
    pub(crate) speech: Vec<u32>,
    pub(crate) key: Vec<u32>,
    pub(crate) answer: Vec<u32>,
}

/// What was heard in the measured time.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) all: Times,
    /// What of it began while the machine was steady.
    pub(crate) steady: Times,
    pub(crate) packets: u64,
    pub(crate) voiced: u64,
    pub(crate) lost: u64,
    /// Slots that the gateway left out: its timestamp went on without a packet.
    pub(crate) skipped: u64,
    /// Microseconds between packets of a call, sorted.
    pub(crate) gaps: Vec<u32>,
    /// Microseconds that this thread's own visits were late, sorted.
    pub(crate) own: Vec<u32>,
}

/// What calls hand over at their end.
#[derive(Default)]
struct Gathered {
    heard: Heard,
    late: Vec<Reaction>,
    reactions: Reactions,
    pulse: Pulse,
}

impl Gathered {
    fn sorted(self) -> Heard {
        let Self { mut heard, late, reactions: Reactions { speech, key, answer }, pulse } = self;
        let moments = pulse.moments();
        let times = |from: &[Reaction], wanted: &dyn Fn(i64) -> bool| {
            let mut times: Vec<u32> = from.iter().filter(|(at, _)| wanted(*at)).map(|(_, took)| *took).collect();
            times.sort_unstable();
            times
        };
        let of = |wanted: &dyn Fn(i64) -> bool| Times {
            late: times(&late, wanted),
            speech: times(&speech, wanted),
            key: times(&key, wanted),
            answer: times(&answer, wanted),
        };
        (heard.all, heard.steady) = (of(&|_| true), of(&|at| moments.steady(at)));
        heard.gaps.sort_unstable();
        heard.own.sort_unstable();
        heard
    }
}

/// The thread's handle.
#[derive(Clone)]
pub(crate) struct Phones {
    lines: mpsc::Sender<Line>,
    measuring: Arc<AtomicBool>,
    impatient: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Arc<Mutex<Option<JoinHandle<Heard>>>>,
}

impl Phones {
    pub(crate) fn start() -> Self {
        let (lines, incoming) = mpsc::channel();
        let [measuring, impatient, stop] = std::array::from_fn(|_| Arc::new(AtomicBool::new(false)));
        let worker = Worker {
            incoming,
            measuring: Arc::clone(&measuring),
            impatient: Arc::clone(&impatient),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new().name("phones".to_owned()).spawn(move || worker.run()).unwrap();
        Self { lines, measuring, impatient, stop, thread: Arc::new(Mutex::new(Some(thread))) }
    }

    /// A call was answered: it has sound until `over`.
    pub(crate) fn add(&self, socket: UdpSocket, remote: SocketAddr, over: CancellationToken) {
        socket.set_nonblocking(true).unwrap();
        setsockopt(&socket, ReceiveTimestampns, &true).unwrap();
        socket.connect(remote).unwrap();
        self.lines.send(Line::new(socket, over)).unwrap();
    }

    pub(crate) fn measure(&self, measure: bool) {
        self.measuring.store(measure, Ordering::Relaxed);
    }

    /// Callers interrupt the assistant from now on, with words and with keys.
    pub(crate) fn interrupt(&self, interrupt: bool) {
        self.impatient.store(interrupt, Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) -> Heard {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().take().unwrap();
        thread.join().unwrap()
    }
}

struct Line {
    over: CancellationToken,
    socket: UdpSocket,
    phase: usize,
    sent: usize,
    ssrc: u32,
    last: Option<Last>,
    /// Frames with sound in a row, sent.
    spoken: usize,
    ear: Ear,
    marks: Vec<Mark>,
    voiced: u64,
    lost: i64,
    skipped: i64,
}

struct Last {
    sequence: u16,
    timestamp: u32,
    /// Samples since the first packet.
    position: i64,
}

/// One packet: when it came, in microseconds of the wall clock, and which sample it starts with.
struct Mark {
    at: i64,
    position: i64,
}

impl Line {
    fn new(socket: UdpSocket, over: CancellationToken) -> Self {
        Self {
            over,
            socket,
            phase: fastrand::usize(..TURN_FRAMES),
            sent: 0,
            ssrc: fastrand::u32(..),
            last: None,
            spoken: 0,
            ear: Ear::default(),
            marks: Vec::new(),
            voiced: 0,
            lost: 0,
            skipped: 0,
        }
    }

    fn send(&mut self, sound: &Sound, script: Script, gather: bool) {
        let part = script.part(self.sent, self.phase);
        let mut packet = [0; HEADER + FRAME];
        packet[0] = 0x80;
        packet[2..4].copy_from_slice(&(self.sent as u16).to_be_bytes());
        let (mut began, mut length) = (self.sent, packet.len());
        match part {
            Part::Silence => packet[HEADER..].fill(SILENCE),
            Part::Voice => packet[HEADER..].copy_from_slice(sound),
            Part::Key(after) => {
                began -= usize::from(after);
                let end = if after >= KEY_FRAMES { 0x80 } else { 0 };
                let [high, low] = ((u16::from(after.min(KEY_FRAMES)) + 1) * FRAME as u16).to_be_bytes();
                packet[1] = TELEPHONE_EVENT | if after == 0 { 0x80 } else { 0 };
                packet[HEADER..HEADER + 4].copy_from_slice(&[5, end | 10, high, low]);
                length = HEADER + 4;
            }
        }
        packet[4..8].copy_from_slice(&(began as u32).wrapping_mul(FRAME as u32).to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        let now = wall();
        // A gateway that has hung up refuses: that shows elsewhere.
        let _ = self.socket.send(&packet[..length]);
        self.sent += 1;
        match part {
            Part::Voice => {
                self.spoken += 1;
                if self.spoken == ENOUGH && gather {
                    self.ear.interrupt(Interruption::Speech, now);
                }
            }
            Part::Key(0) if gather => self.ear.interrupt(Interruption::Key, now),
            Part::Silence if self.spoken > 0 => {
                self.spoken = 0;
                if gather {
                    self.ear.ask(now - 20_000);
                }
            }
            Part::Silence | Part::Key(_) => {}
        }
    }

    fn receive(&mut self, measuring: bool, control: &mut [u8]) {
        let mut bytes = [0; 512];
        for _ in 0..MOST_DATAGRAMS {
            let (length, at) = {
                let mut slices = [IoSliceMut::new(&mut bytes)];
                let raw = self.socket.as_raw_fd();
                let Ok(message) = recvmsg::<SockaddrStorage>(raw, &mut slices, Some(control), MsgFlags::MSG_DONTWAIT)
                else {
                    return;
                };
                let stamp = message.cmsgs().unwrap().find_map(|word| match word {
                    ControlMessageOwned::ScmTimestampns(at) => Some(at.tv_sec() * 1_000_000 + at.tv_nsec() / 1_000),
                    _ => None,
                });
                (message.bytes, stamp.unwrap())
            };
            if length > HEADER {
                self.packet(&bytes[..length], at, measuring);
            }
        }
    }

    fn packet(&mut self, packet: &[u8], at: i64, measuring: bool) {
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let (steps, samples, position) = match &self.last {
            None => (1, FRAME as i64, 0),
            Some(last) => {
                let steps = i64::from(sequence.wrapping_sub(last.sequence) as i16);
                let samples = i64::from(timestamp.wrapping_sub(last.timestamp) as i32);
                (steps, samples, last.position + samples)
            }
        };
        self.last = Some(Last { sequence, timestamp, position });
        let sound = packet[HEADER..].iter().any(|sample| *sample != SILENCE);
        self.ear.hear(sound, at);
        if measuring {
            self.marks.push(Mark { at, position });
            self.voiced += u64::from(sound);
            self.lost += steps - 1;
            self.skipped += samples / FRAME as i64 - steps;
        }
    }

    fn figures(&mut self, gathered: &mut Gathered) {
        self.ear.hand_over(&mut gathered.reactions);
        let behind = |mark: &Mark| mark.at - mark.position * 125;
        let Some(earliest) = self.marks.iter().map(behind).min() else { return };
        gathered.late.extend(self.marks.iter().map(|mark| (mark.at, (behind(mark) - earliest) as u32)));
        let heard = &mut gathered.heard;
        heard.packets += self.marks.len() as u64;
        heard.voiced += self.voiced;
        heard.lost += self.lost.max(0) as u64;
        heard.skipped += self.skipped.max(0) as u64;
        heard.gaps.extend(self.marks.windows(2).map(|pair| (pair[1].at - pair[0].at).max(0) as u32));
    }
}

struct Worker {
    incoming: mpsc::Receiver<Line>,
    measuring: Arc<AtomicBool>,
    impatient: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn run(self) -> Heard {
        let mut slots: [Vec<Line>; SLOTS] = std::array::from_fn(|_| Vec::new());
        let (origin, mut gathered) = (Instant::now(), Gathered::default());
        let mut sound = [0x30; FRAME];
        sound.iter_mut().enumerate().filter(|(n, _)| n % 8 >= 4).for_each(|(_, sample)| *sample = 0xB0);
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let mut next = 0_u32;
        while !self.stop.load(Ordering::Relaxed) {
            while let Ok(line) = self.incoming.try_recv() {
                // Anywhere, so that callers lie in all phases to the gateway's grid.
                slots[fastrand::usize(..SLOTS)].push(line);
            }
            let due = origin + SLOT * next;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let measuring = self.measuring.load(Ordering::Relaxed);
            if measuring {
                gathered.heard.own.push(due.elapsed().as_micros() as u32);
            }
            let slot = &mut slots[next as usize % SLOTS];
            let impatient = self.impatient.load(Ordering::Relaxed);
            if measuring || impatient {
                gathered.pulse.beat(wall());
            }
            let script = if impatient { Script::Impatient } else { Script::Polite };
            for mut line in slot.extract_if(.., |line| line.over.is_cancelled()) {
                line.figures(&mut gathered);
            }
            for line in slot {
                line.send(&sound, script, measuring || impatient);
                line.receive(measuring, &mut control);
            }
            next += 1;
        }
        slots.iter_mut().flatten().for_each(|line| line.figures(&mut gathered));
        gathered.sorted()
    }
}

/// Microseconds.
fn wall() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as i64
}

/// One frame of voice.
type Sound = [u8; FRAME];

const HEADER: usize = 12;
const FRAME: usize = 160;
const SILENCE: u8 = 0xFF;
const TELEPHONE_EVENT: u8 = 101;
/// Packets of a key before its three last.
const KEY_FRAMES: u8 = 5;
/// Frames with sound after which the load-test recogniser tells what it thinks it hears: 200 ms are its own time.
const ENOUGH: usize = 10;
/// 8 s; the greeting lasts 3.6 s.
const TURN_FRAMES: usize = 400;
const LEAD_FRAMES: usize = 225;
const SLOTS: usize = 8;
const SLOT: Duration = Duration::from_micros(2_500);
const MOST_DATAGRAMS: usize = 64;
