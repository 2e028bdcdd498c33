//! The callers: one socket, one thread, messages written by hand, so that nothing of the gateway's own SIP stack measures itself. An
//! answer's time is from just before the INVITE is sent to the kernel's receive timestamp of the 200: this process's scheduling does not
//! count against the gateway.

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant, SystemTime};

/// How many, how fast.
pub(crate) struct Pace {
    pub(crate) calls: u32,
    /// A second.
    pub(crate) rate: u32,
    /// From the answer to our BYE.
    pub(crate) hold: Duration,
}

/// What became of the calls.
#[derive(Default)]
pub(crate) struct Seen {
    calls: u32,
    took: Duration,
    ended: u32,
    /// INVITEs and BYEs that had to be sent again.
    pub(crate) again: u32,
    wrong: BTreeMap<String, u32>,
    /// Microseconds, sorted.
    answers: Vec<u32>,
    /// Microseconds that INVITEs left late, sorted.
    lags: Vec<u32>,
}

impl Seen {
    pub(crate) fn failed(&self) -> u32 {
        self.calls - self.ended
    }

    pub(crate) fn why(&self) -> impl Iterator<Item = String> {
        self.wrong.iter().map(|(why, count)| format!("{count} x {why}"))
    }

    /// New calls a second that were really placed.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.calls) / self.took.as_secs_f64()
    }

    /// A quantile in milliseconds.
    pub(crate) fn answer(&self, quantile: f64) -> f64 {
        at(&self.answers, quantile)
    }

    pub(crate) fn lag(&self, quantile: f64) -> f64 {
        at(&self.lags, quantile)
    }

    /// The share of answers later than `limit`, in percent.
    pub(crate) fn over(&self, limit: Duration) -> f64 {
        let above = self.answers.len() - self.answers.partition_point(|took| u128::from(*took) <= limit.as_micros());
        100.0 * above as f64 / self.answers.len().max(1) as f64
    }
}

/// The socket of all callers.
pub(crate) struct Caller {
    socket: UdpSocket,
    local: SocketAddr,
    gateway: SocketAddr,
    /// Where the gateway's sound goes: bound, so that nothing comes back, and never read.
    _sound: UdpSocket,
    rtp: u16,
}

impl Caller {
    pub(crate) fn new(gateway: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway));
        socket.connect(gateway).unwrap();
        socket.set_nonblocking(true).unwrap();
        setsockopt(&socket, ReceiveTimestampns, &true).unwrap();
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &(4 << 20)).unwrap();
        let sound = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (local, rtp) = (socket.local_addr().unwrap(), sound.local_addr().unwrap().port());
        Self { socket, local, gateway, _sound: sound, rtp }
    }

    /// Places all calls, each at its time whatever became of the others, and waits for their ends.
    pub(crate) fn place(&self, pace: &Pace) -> Seen {
        let mut run = Run {
            caller: self,
            run: fastrand::u32(..),
            calls: HashMap::new(),
            byes: VecDeque::new(),
            checks: VecDeque::new(),
            seen: Seen { calls: pace.calls, ..Seen::default() },
            hold: pace.hold,
        };
        let (began, interval) = (Instant::now(), Duration::from_secs(1) / pace.rate);
        let mut placed = 0;
        let mut quiet = Instant::now();
        while placed < pace.calls || (!run.calls.is_empty() && quiet.elapsed() < PATIENCE) {
            while placed < pace.calls && began + interval * placed <= Instant::now() {
                run.invite(placed, began + interval * placed);
                placed += 1;
                quiet = Instant::now();
                if placed == pace.calls {
                    run.seen.took = began.elapsed();
                }
            }
            run.receive();
            run.due();
            std::thread::sleep(NAP);
        }
        for call in run.calls.into_values() {
            *run.seen.wrong.entry(format!("no end: {:?}", call.state)).or_default() += 1;
        }
        let mut seen = run.seen;
        seen.answers.sort_unstable();
        seen.lags.sort_unstable();
        seen
    }
}

struct Run<'a> {
    caller: &'a Caller,
    run: u32,
    calls: HashMap<u32, Call>,
    byes: VecDeque<(Instant, u32)>,
    /// When to see whether a call's last request was answered.
    checks: VecDeque<(Instant, u32)>,
    seen: Seen,
    hold: Duration,
}

struct Call {
    state: State,
    sent: SystemTime,
    request: String,
    to: String,
    target: String,
    tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Inviting,
    Talking,
    Leaving,
}

impl Run<'_> {
    fn invite(&mut self, number: u32, due: Instant) {
        let Caller { local, gateway, rtp, .. } = self.caller;
        let body = format!(
            "v=0\r\no=- {number} 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {rtp} RTP/AVP 0 101\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
        );
        let to = format!("<sip:+18882346789@{gateway}>");
        let target = format!("sip:+18882346789@{gateway}");
        let extra = format!(
            "Contact: <sip:caller@{local}>\r\nX-ContactID: {}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            1_000_000 + number,
            body.len()
        );
        let request = self.request("INVITE", 1, number, &target, &to, &extra);
        self.seen.lags.push(due.elapsed().as_micros() as u32);
        let sent = SystemTime::now();
        self.send(&request);
        self.checks.push_back((Instant::now() + AGAIN, number));
        self.calls.insert(number, Call { state: State::Inviting, sent, request, to, target, tries: 1 });
    }

    fn request(&self, method: &str, cseq: u32, number: u32, target: &str, to: &str, rest: &str) -> String {
        let (local, run) = (self.caller.local, self.run);
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{method}{run:x}x{number};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:+1555{number:07}@{local}>;tag={run:x}{number}\r\nTo: {to}\r\nCall-ID: {run:x}-{number}@bench\r\n\
             CSeq: {cseq} {method}\r\n{rest}"
        )
    }

    /// A full socket buffer loses a datagram, as a network does: the request is sent again.
    fn send(&self, message: &str) {
        self.caller.socket.send(message.as_bytes()).ok();
    }

    fn receive(&mut self) {
        let mut bytes = [0; 4096];
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        for _ in 0..1_000 {
            let (length, at) = {
                let mut slices = [IoSliceMut::new(&mut bytes)];
                let raw = self.caller.socket.as_raw_fd();
                let Ok(message) =
                    recvmsg::<SockaddrStorage>(raw, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)
                else {
                    return;
                };
                let stamp = message.cmsgs().unwrap().find_map(|word| match word {
                    ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                    _ => None,
                });
                (message.bytes, SystemTime::UNIX_EPOCH + stamp.unwrap())
            };
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            self.message(&text, at);
        }
    }

    fn message(&mut self, text: &str, at: SystemTime) {
        let number = header(text, "Call-ID")
            .and_then(|id| id.strip_suffix("@bench")?.strip_prefix(&format!("{:x}-", self.run))?.parse().ok());
        let Some(number): Option<u32> = number else { return };
        let Some(code) = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok()) else {
            // A request of the gateway's own: it has given up on a call that we have not.
            self.calls.remove(&number);
            return self.wrong(format!("the gateway sent {}", text.split(' ').next().unwrap_or_default()));
        };
        let Some(call) = self.calls.get_mut(&number) else { return };
        let of_invite = header(text, "CSeq").is_some_and(|cseq| cseq.ends_with("INVITE"));
        match (call.state, of_invite, code) {
            (_, true, 100..200) => {}
            (State::Inviting, true, 200..300) => {
                self.seen.answers.push(at.duration_since(call.sent).unwrap_or_default().as_micros() as u32);
                call.state = State::Talking;
                header(text, "To").unwrap().clone_into(&mut call.to);
                let contact = header(text, "Contact").unwrap();
                contact.split(['<', '>']).nth(1).unwrap().clone_into(&mut call.target);
                self.byes.push_back((Instant::now() + self.hold, number));
                self.acknowledge(number);
            }
            // Our ACK was lost.
            (_, true, 200..300) => self.acknowledge(number),
            (State::Leaving, false, 200..300) => {
                self.calls.remove(&number);
                self.seen.ended += 1;
            }
            (state, _, code) => {
                self.calls.remove(&number);
                self.wrong(format!("{code} while {state:?}"));
            }
        }
    }

    fn acknowledge(&self, number: u32) {
        let call = &self.calls[&number];
        self.send(&self.request("ACK", 1, number, &call.target, &call.to, "Content-Length: 0\r\n\r\n"));
    }

    fn wrong(&mut self, why: String) {
        *self.seen.wrong.entry(why).or_default() += 1;
    }

    /// BYEs whose time has come, and requests without an answer.
    fn due(&mut self) {
        let now = Instant::now();
        while let Some((_, number)) = self.byes.pop_front_if(|(at, _)| *at <= now) {
            let Some(call) = self.calls.get(&number) else { continue };
            let bye = self.request("BYE", 2, number, &call.target, &call.to, "Content-Length: 0\r\n\r\n");
            self.send(&bye);
            let call = self.calls.get_mut(&number).unwrap();
            (call.state, call.request, call.tries) = (State::Leaving, bye, 1);
            self.checks.push_back((now + AGAIN, number));
        }
        while let Some((_, number)) = self.checks.pop_front_if(|(at, _)| *at <= now) {
            let Some(call) = self.calls.get_mut(&number) else { continue };
            if call.state == State::Talking || call.tries > TRIES {
                continue;
            }
            call.tries += 1;
            self.seen.again += 1;
            let request = call.request.clone();
            self.send(&request);
            self.checks.push_back((now + AGAIN, number));
        }
    }
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = text.lines().skip(1).take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    fields.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// A quantile of sorted microseconds, in milliseconds.
fn at(sorted: &[u32], quantile: f64) -> f64 {
    let index = ((sorted.len() as f64 * quantile) as usize).min(sorted.len().saturating_sub(1));
    f64::from(sorted.get(index).copied().unwrap_or_default()) / 1_000.0
}

/// Between two looks at the socket.
const NAP: Duration = Duration::from_micros(250);
/// T1 (RFC 3261 section 17.1.1.1).
const AGAIN: Duration = Duration::from_millis(500);
const TRIES: u32 = 6;
/// From the last INVITE to giving up on what has not ended.
const PATIENCE: Duration = Duration::from_secs(15);
