//! What a packet costs at the least on this machine, and what it costs us: `cargo bench --bench packet_limit -- CALLS SECONDS`. Bare loops that echo
//! RTP-sized packets over loopback, each in a thread paced as a media worker is, against the worker itself; callers are another thread, not counted.
//! On demand: figures mean something on an idle machine only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a bench"
)]

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use voice_gateway::media::srtp::{MasterKey, Srtp, Suite};
use voice_gateway::media::{Codec, Negotiated};
use voice_gateway::net::media::{MediaOptions, MediaPlane, MediaSettings};

/// Processor time of a thread, and packets that it took and sent.
#[derive(Clone, Copy)]
struct Spent {
    time: Duration,
    packets: u64,
}

impl Spent {
    fn a_packet(self) -> f64 {
        self.time.as_secs_f64() * 1e6 / self.packets as f64
    }
}

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<usize>().ok());
    let (calls, seconds) = (numbers.next().unwrap_or(500), numbers.next().unwrap_or(5) as u64);
    let least = [
        ("recvfrom, sendto; a socket a call", bare(calls, seconds, Sockets::one_each, from_and_to)),
        ("recv, send; a connected socket a call", bare(calls, seconds, Sockets::connected, receive_and_send)),
        ("recvmmsg, sendmmsg; a connected socket a call", bare(calls, seconds, Sockets::connected, many_of_one)),
        ("recvfrom, sendto; one socket for all", bare(calls, seconds, Sockets::shared, from_and_to)),
        ("recvmmsg, sendmmsg x64; one socket for all", bare(calls, seconds, Sockets::shared, many)),
    ]
    .map(|(name, spent)| {
        println!("{name}: {:.2} us a packet ({} packets)", spent.a_packet(), spent.packets);
        spent.a_packet()
    });
    let floor = least.iter().copied().fold(f64::INFINITY, f64::min);
    let keys = |suite: Suite| MasterKey::new(suite, vec![7; suite.key_length() + suite.salt_length()]).unwrap();
    let suite = Suite::AesCm128HmacSha1_80;
    for (name, srtp) in [
        ("media worker", None),
        ("media worker, SRTP out", Some(Srtp { suite, ours: keys(suite), theirs: keys(suite), mki: 0 })),
    ] {
        let spent = engine(calls, seconds, srtp);
        let ours = spent.a_packet();
        println!(
            "{name}: {ours:.2} us a packet ({} packets), {:.2} times its own system calls alone, {:.2} times the least of all",
            spent.packets,
            ours / least[0],
            ours / floor
        );
    }
}

/// The sockets of one loop, and where each caller sends to.
struct Sockets {
    own: Vec<UdpSocket>,
    callers: Vec<UdpSocket>,
}

impl Sockets {
    fn one_each(calls: usize) -> Self {
        let (own, callers): (Vec<_>, Vec<_>) = (0..calls).map(|_| (socket(), socket())).unzip();
        for (own, caller) in own.iter().zip(&callers) {
            caller.connect(own.local_addr().unwrap()).unwrap();
        }
        Self { own, callers }
    }

    fn connected(calls: usize) -> Self {
        let sockets = Self::one_each(calls);
        for (own, caller) in sockets.own.iter().zip(&sockets.callers) {
            own.connect(caller.local_addr().unwrap()).unwrap();
        }
        sockets
    }

    fn shared(calls: usize) -> Self {
        let own = socket();
        let callers: Vec<UdpSocket> = (0..calls).map(|_| socket()).collect();
        callers.iter().for_each(|caller| caller.connect(own.local_addr().unwrap()).unwrap());
        Self { own: vec![own], callers }
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Runs `visit` on each socket once in 20 ms for so long, while callers send.
fn bare(calls: usize, seconds: u64, sockets: fn(usize) -> Sockets, visit: fn(&UdpSocket, &mut Room) -> u64) -> Spent {
    let Sockets { own, callers } = sockets(calls);
    let callers = Callers::start(callers);
    let spent = std::thread::spawn(move || {
        let mut room = Room::new();
        let mut packets = 0;
        // A socket that is everybody's has packets in every slot.
        let every = if own.len() == 1 { 1 } else { SLOTS };
        let mut lap = |seconds| {
            let (time, before) = (thread_time("self"), packets);
            paced(seconds, |slot| {
                packets +=
                    own.iter().skip(slot % every).step_by(every).map(|socket| visit(socket, &mut room)).sum::<u64>();
            });
            Spent { time: thread_time("self") - time, packets: packets - before }
        };
        lap(1);
        lap(seconds)
    });
    let spent = spent.join().unwrap();
    callers.stop();
    spent
}

/// What a loop reads into.
struct Room {
    packets: [[u8; 2048]; BATCH],
    received: MultiHeaders<SockaddrIn>,
    sent: MultiHeaders<SockaddrIn>,
}

impl Room {
    fn new() -> Self {
        let headers = || MultiHeaders::preallocate(BATCH, None);
        Self { packets: [[0; 2048]; BATCH], received: headers(), sent: headers() }
    }
}

fn from_and_to(socket: &UdpSocket, room: &mut Room) -> u64 {
    let mut packets = 0;
    while let Ok((length, from)) = socket.recv_from(&mut room.packets[0]) {
        packets += 1 + u64::from(socket.send_to(&room.packets[0][..length], from).is_ok());
    }
    packets
}

fn receive_and_send(socket: &UdpSocket, room: &mut Room) -> u64 {
    let mut packets = 0;
    while let Ok(length) = socket.recv(&mut room.packets[0]) {
        packets += 1 + u64::from(socket.send(&room.packets[0][..length]).is_ok());
    }
    packets
}

/// Up to four at once, of which one is there.
fn many_of_one(socket: &UdpSocket, room: &mut Room) -> u64 {
    batch::<4>(socket, room, false)
}

fn many(socket: &UdpSocket, room: &mut Room) -> u64 {
    let mut packets = 0;
    loop {
        match batch::<BATCH>(socket, room, true) {
            0 => return packets,
            some => packets += some,
        }
    }
}

fn batch<const N: usize>(socket: &UdpSocket, room: &mut Room, addressed: bool) -> u64 {
    let (mut came, mut lengths) = ([None; N], [0; N]);
    let mut count = 0;
    {
        let (some, _) = room.packets.split_first_chunk_mut::<N>().unwrap();
        let mut slices = some.each_mut().map(|packet| [IoSliceMut::new(packet)]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let Ok(messages) = recvmmsg(socket.as_raw_fd(), &mut room.received, slices.iter_mut(), flags, None) else {
            return 0;
        };
        for message in messages {
            (came[count], lengths[count]) = (message.address.filter(|_| addressed), message.bytes);
            count += 1;
        }
    }
    let mut slices: [[IoSlice<'_>; 1]; N] = std::array::from_fn(|_| [IoSlice::new(&[])]);
    for ((slice, packet), length) in slices.iter_mut().zip(&room.packets).zip(lengths) {
        *slice = [IoSlice::new(&packet[..length])];
    }
    let flags = MsgFlags::empty();
    let sent = sendmmsg(socket.as_raw_fd(), &mut room.sent, &slices[..count], &came[..count], [], flags);
    count as u64 + sent.map_or(0, |sent| sent.count() as u64)
}

/// Our worker with as many calls.
fn engine(calls: usize, seconds: u64, srtp: Option<Srtp>) -> Spent {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let settings = MediaSettings { bind_address: here, workers: NonZeroUsize::new(1), ..MediaSettings::default() };
    let plane = MediaPlane::start(settings).unwrap();
    let callers: Vec<UdpSocket> = (0..calls).map(|_| socket()).collect();
    let mut handles = Vec::new();
    for caller in &callers {
        let port = plane.reserve().unwrap();
        caller.connect(SocketAddr::from((here, port.port()))).unwrap();
        let agreed = Negotiated { srtp: srtp.clone(), ..Negotiated::usual(caller.local_addr().unwrap(), Codec::Pcmu) };
        let handle = plane.open(port, MediaOptions::default(), Some(agreed)).unwrap();
        handles.push(handle);
        // A worker takes in so many new sessions at a time.
        std::thread::sleep(Duration::from_micros(100));
    }
    let callers = Callers::start(callers);
    std::thread::sleep(Duration::from_secs(2));
    let count = |packets: &Callers| packets.sent.load(Ordering::Relaxed) + packets.heard.load(Ordering::Relaxed);
    let (time, before) = (thread_time("media-0"), count(&callers));
    std::thread::sleep(Duration::from_secs(seconds));
    let spent = Spent { time: thread_time("media-0") - time, packets: count(&callers) - before };
    callers.stop();
    plane.stop();
    spent
}

/// Who sends to the loop, 50 packets a second each, and hears what comes back.
struct Callers {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Callers {
    fn start(callers: Vec<UdpSocket>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let [sent, heard]: [Arc<AtomicU64>; 2] = Default::default();
        let (ending, sending, hearing) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&heard));
        let thread = std::thread::spawn(move || {
            let mut packet = [0x30_u8; 172];
            packet[..12].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
            let (mut round, mut room) = (0_u32, [0; 2048]);
            while !ending.load(Ordering::Relaxed) {
                paced_for(SLOTS, |slot| {
                    packet[2..4].copy_from_slice(&(round as u16).to_be_bytes());
                    packet[4..8].copy_from_slice(&(round * 160).to_be_bytes());
                    for caller in callers.iter().skip(slot).step_by(SLOTS) {
                        sending.fetch_add(u64::from(caller.send(&packet).is_ok()), Ordering::Relaxed);
                        while caller.recv(&mut room).is_ok() {
                            hearing.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
                round += 1;
            }
        });
        Self { stop, sent, heard, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// Calls `visit` each 2.5 ms for so long, as a worker's grid has it.
fn paced(seconds: u64, visit: impl FnMut(usize)) {
    paced_for(usize::try_from(seconds).unwrap() * 50 * SLOTS, visit);
}

fn paced_for(slots: usize, mut visit: impl FnMut(usize)) {
    let origin = Instant::now();
    for slot in 0..slots {
        let due = origin + SLOT * u32::try_from(slot).unwrap();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        visit(slot);
    }
}

/// Time that a thread of this process has had on a core: of the caller's, or of those of this name together.
fn thread_time(name: &str) -> Duration {
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
    };
    if name == "self" {
        return read("/proc/thread-self/schedstat".into());
    }
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    tasks
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
        .map(|task| read(task.join("schedstat")))
        .sum()
}

const SLOTS: usize = 8;
const SLOT: Duration = Duration::from_micros(2_500);
const BATCH: usize = 64;
