//! The phones' RTP (RFC 3550): one thread, a socket per call, precomputed frames on a 20 ms grid, and when each packet of the gateway
//! arrived by the kernel's own receive timestamp, so that this process's scheduling does not count against the gateway.

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
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What a caller sends: a cycle of frames.
pub(crate) struct Sound {
    frames: Vec<[u8; FRAME]>,
    /// Silence before the first cycle.
    lead: usize,
}

impl Sound {
    /// A second and a half of sound every eight seconds, first spoken when the greeting is over.
    pub(crate) fn of_a_caller() -> Self {
        let mut loud = [0; FRAME];
        for (n, sample) in loud.iter_mut().enumerate() {
            *sample = if n % 8 < 4 { 0x30 } else { 0xB0 };
        }
        let frames = (0..TURN_FRAMES).map(|n| if n < SPOKEN_FRAMES { loud } else { [SILENCE; FRAME] }).collect();
        Self { frames, lead: LEAD_FRAMES }
    }

    fn frame(&self, number: usize, phase: usize) -> &[u8; FRAME] {
        static QUIET: [u8; FRAME] = [SILENCE; FRAME];
        number.checked_sub(self.lead + phase).map_or(&QUIET, |spoken| &self.frames[spoken % self.frames.len()])
    }
}

/// What was heard in the measured time.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) packets: u64,
    pub(crate) voiced: u64,
    pub(crate) lost: u64,
    /// Slots that the gateway left out: its timestamp went on without a packet.
    pub(crate) skipped: u64,
    /// Microseconds of each packet behind its call's own 20 ms grid, sorted. The grid is laid through the call's earliest packet.
    pub(crate) late: Vec<u32>,
    /// Microseconds between packets of a call, sorted.
    pub(crate) gaps: Vec<u32>,
    /// Microseconds that this thread's own visits were late, sorted.
    pub(crate) own: Vec<u32>,
}

/// The thread's handle.
#[derive(Clone)]
pub(crate) struct Phones {
    lines: mpsc::Sender<Line>,
    measuring: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Arc<Mutex<Option<JoinHandle<Heard>>>>,
}

impl Phones {
    pub(crate) fn start(sound: Sound) -> Self {
        let (lines, incoming) = mpsc::channel();
        let (measuring, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let worker = Worker { sound, incoming, measuring: Arc::clone(&measuring), stop: Arc::clone(&stop) };
        let thread = std::thread::Builder::new().name("phones".to_owned()).spawn(move || worker.run()).unwrap();
        Self { lines, measuring, stop, thread: Arc::new(Mutex::new(Some(thread))) }
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
        let phase = fastrand::usize(..TURN_FRAMES);
        let (marks, last) = (Vec::with_capacity(4096), None);
        Self { over, socket, phase, sent: 0, ssrc: fastrand::u32(..), last, marks, voiced: 0, lost: 0, skipped: 0 }
    }

    fn send(&mut self, sound: &Sound) {
        let mut packet = [0; HEADER + FRAME];
        packet[0] = 0x80;
        packet[2..4].copy_from_slice(&(self.sent as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(self.sent as u32).wrapping_mul(FRAME as u32).to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        packet[HEADER..].copy_from_slice(sound.frame(self.sent, self.phase));
        // A gateway that has hung up refuses: that shows elsewhere.
        let _ = self.socket.send(&packet);
        self.sent += 1;
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
        if measuring {
            self.marks.push(Mark { at, position });
            self.voiced += u64::from(packet[HEADER..].iter().any(|sample| *sample != SILENCE));
            self.lost += steps - 1;
            self.skipped += samples / FRAME as i64 - steps;
        }
    }

    fn figures(&self, heard: &mut Heard) {
        let behind = |mark: &Mark| mark.at - mark.position * 125;
        let Some(earliest) = self.marks.iter().map(behind).min() else { return };
        heard.packets += self.marks.len() as u64;
        heard.voiced += self.voiced;
        heard.lost += self.lost.max(0) as u64;
        heard.skipped += self.skipped.max(0) as u64;
        heard.late.extend(self.marks.iter().map(|mark| (behind(mark) - earliest) as u32));
        heard.gaps.extend(self.marks.windows(2).map(|pair| (pair[1].at - pair[0].at).max(0) as u32));
    }
}

struct Worker {
    sound: Sound,
    incoming: mpsc::Receiver<Line>,
    measuring: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn run(self) -> Heard {
        let mut slots: [Vec<Line>; SLOTS] = std::array::from_fn(|_| Vec::new());
        let (origin, mut heard) = (Instant::now(), Heard::default());
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let mut next = 0_u32;
        while !self.stop.load(Ordering::Relaxed) {
            while let Ok(line) = self.incoming.try_recv() {
                slots.iter_mut().min_by_key(|slot| slot.len()).unwrap().push(line);
            }
            let due = origin + SLOT * next;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let measuring = self.measuring.load(Ordering::Relaxed);
            if measuring {
                heard.own.push(due.elapsed().as_micros() as u32);
            }
            let slot = &mut slots[next as usize % SLOTS];
            for line in slot.extract_if(.., |line| line.over.is_cancelled()) {
                line.figures(&mut heard);
            }
            for line in slot {
                line.send(&self.sound);
                line.receive(measuring, &mut control);
            }
            next += 1;
        }
        slots.iter().flatten().for_each(|line| line.figures(&mut heard));
        for list in [&mut heard.late, &mut heard.gaps, &mut heard.own] {
            list.sort_unstable();
        }
        heard
    }
}

const HEADER: usize = 12;
const FRAME: usize = 160;
const SILENCE: u8 = 0xFF;
/// 8 s, of which 1.5 s are spoken; the greeting lasts 3.6 s.
const TURN_FRAMES: usize = 400;
const SPOKEN_FRAMES: usize = 75;
const LEAD_FRAMES: usize = 225;
const SLOTS: usize = 8;
const SLOT: Duration = Duration::from_micros(2_500);
const MOST_DATAGRAMS: usize = 64;
