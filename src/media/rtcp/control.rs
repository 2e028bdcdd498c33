//! Our side of RTCP: when to report and what, and what the peer's reports mean (RFC 3550 sections 6.2 to 6.4).
//!
//! In a session of two the interval of RFC 3550 section 6.3.1 is always its least one, 5 s, by half more or less at random, and half
//! of it before the first report. Reconsideration (section 6.3.3) has nothing to reconsider where nobody joins.

use super::packet::{Compound, Item, read};
use super::{ControlPath, SocketAddr};
use crate::base::Now;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rtc_rtcp::header::PacketType;
use rtc_rtcp::reception_report::ReceptionReport;
use std::time::{Duration, Instant, SystemTime};

/// The machine.
#[derive(Clone, Debug)]
pub struct Control {
    name: [u8; NAME],
    random: fastrand::Rng,
    path: ControlPath,
    /// Where RTP was agreed to go.
    signalled: SocketAddr,
    /// Where reports come from.
    held: Option<(SocketAddr, Instant)>,
    /// The next report; none before anything was agreed.
    due: Option<Instant>,
    /// Packets of RTP when the last report went.
    reported: u32,
    /// Times of our last sender reports, as the peer names them.
    sent: [Option<(u32, Instant)>; REMEMBERED],
    /// The peer's last sender report: its source, its time as we name it, when it came.
    sender: Option<(u32, u32, Instant)>,
    /// Of what the peer may still send in this second.
    allowance: u32,
    second: Option<Instant>,
    reports: Reports,
    /// The source of ours that `reports.heard` is about, and what was heard of those before it.
    about: Option<u32>,
    before: Heard,
}

/// What RTCP counted and learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    /// RTCP datagrams taken from the peer.
    pub packets_in: u64,
    /// RTCP datagrams sent.
    pub packets_out: u64,
    /// To the peer and back, without the time it took there: the last one measured.
    pub round_trip: Option<Duration>,
    /// What the peer heard of us.
    pub heard: Option<Heard>,
}

/// How we arrive at the peer, by its own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Packets of ours that it missed.
    pub lost: u64,
    /// Packets that we had sent when it said so.
    pub of: u64,
    /// Its interarrival jitter, in timestamp units.
    pub jitter: u32,
}

/// Our stream as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ours {
    /// Its source.
    pub ssrc: u32,
    /// Packets of it.
    pub packets: u32,
    /// Bytes of payload of it.
    pub octets: u32,
    /// Its clock at the moment of the report.
    pub timestamp: u32,
}

/// The peer's stream as it arrives (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theirs {
    /// Its source.
    pub ssrc: u32,
    /// Lost of 256 since the last report.
    pub fraction: u8,
    /// Lost of all; negative never, for what came twice is not counted.
    pub lost: u64,
    /// The highest sequence number, with its rollovers.
    pub highest: u32,
    /// Interarrival jitter, in timestamp units.
    pub jitter: u32,
}

/// Why a datagram of RTCP was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::media) enum Unused {
    Malformed,
    Stranger,
    Flood,
}

impl Ours {
    /// The same with the clock of now, where `timestamp` is of a packet that goes out so many samples from now.
    pub(in crate::media) fn by(self, ahead: i64) -> Self {
        Self { timestamp: self.timestamp.wrapping_sub(u32::try_from(ahead).unwrap_or(0)), ..self }
    }
}

impl Control {
    /// Waits for an agreement. Of `random`, 96 bits become the canonical name (RFC 7022 section 4.2).
    #[must_use]
    pub fn new(random: u128) -> Self {
        let [seed_0, seed_1, seed_2, seed_3, name @ ..] = random.to_be_bytes();
        let mut characters = [0; NAME];
        // 12 bytes are 16 characters, always.
        let _ = STANDARD.encode_slice(name, &mut characters);
        Self {
            name: characters,
            random: fastrand::Rng::with_seed(u64::from(u32::from_be_bytes([seed_0, seed_1, seed_2, seed_3]))),
            path: ControlPath::Off,
            signalled: SocketAddr::from(([0; 4], 0)),
            held: None,
            due: None,
            reported: 0,
            sent: [None; REMEMBERED],
            sender: None,
            allowance: MOST_A_SECOND,
            second: None,
            reports: Reports::default(),
            about: None,
            before: Heard::default(),
        }
    }

    /// RTP goes to `remote` from now on, and RTCP by `path`.
    pub fn agree(&mut self, now: Instant, remote: SocketAddr, path: ControlPath) {
        if (self.path, self.signalled) != (path, remote) && !remote.ip().is_unspecified() {
            (self.path, self.signalled, self.held) = (path, remote, None);
        }
        if self.due.is_none() {
            self.due = Some(now + self.interval(INTERVAL / 2));
        }
    }

    /// What was counted and learnt up to now.
    #[must_use]
    pub const fn reports(&self) -> Reports {
        self.reports
    }

    /// Whether RTCP comes by the socket of RTP.
    #[must_use]
    pub fn multiplexed(&self) -> bool {
        self.path == ControlPath::Multiplexed
    }

    /// Takes a datagram that came `at` an instant, is authentic where that was agreed, and comes `from` an address. `rtp` is where
    /// the peer's RTP comes from; `ours` and `theirs` are the streams of the session.
    pub(in crate::media) fn receive(
        &mut self,
        at: Instant,
        from: SocketAddr,
        rtp: SocketAddr,
        streams: (Ours, Option<u32>),
        datagram: &[u8],
    ) -> Result<(), Unused> {
        if !self.related(at, from, rtp) {
            return Err(Unused::Stranger);
        }
        // Strangers use up nothing of what the peer may send.
        if self.second.is_none_or(|second| at.saturating_duration_since(second) >= Duration::from_secs(1)) {
            (self.second, self.allowance) = (Some(at), MOST_A_SECOND);
        }
        self.allowance = self.allowance.checked_sub(1).ok_or(Unused::Flood)?;
        let (ours, theirs) = streams;
        if !read(datagram, |item| self.note(at, item, ours, theirs)) {
            return Err(Unused::Malformed);
        }
        self.held = Some((from, at));
        self.reports.packets_in += 1;
        Ok(())
    }

    fn note(&mut self, at: Instant, item: Item, ours: Ours, theirs: Option<u32>) {
        match item {
            Item::Sender { ssrc, ntp } if theirs == Some(ssrc) => self.sender = Some((ssrc, middle(ntp), at)),
            Item::Report(report) if report.ssrc == ours.ssrc => self.heard(at, &report, ours),
            Item::Goodbye(ssrc) if self.sender.is_some_and(|(sender, ..)| sender == ssrc) => self.sender = None,
            Item::Sender { .. } | Item::Report(_) | Item::Goodbye(_) => {}
        }
    }

    fn heard(&mut self, at: Instant, report: &ReceptionReport, ours: Ours) {
        if self.about.replace(ours.ssrc) != Some(ours.ssrc) {
            self.before = self.reports.heard.unwrap_or_default();
        }
        // 24 bits with a sign: below zero is more than was sent, because some came twice.
        let lost = Some(report.total_lost).filter(|lost| *lost < 1 << 23).unwrap_or(0);
        self.reports.heard = Some(Heard {
            lost: self.before.lost + u64::from(lost),
            of: self.before.of + u64::from(ours.packets),
            jitter: report.jitter,
        });
        let sent = self.sent.iter().flatten().find(|(time, _)| *time == report.last_sender_report);
        if let Some((_, sent)) = sent {
            let there = Duration::from_nanos(u64::from(report.delay) * 1_000_000_000 / SECOND);
            let away = at.saturating_duration_since(*sent);
            // The peer's clock may round, but it cannot have kept the report for longer than it was away.
            if there <= away + ROUNDING {
                self.reports.round_trip = Some(away.saturating_sub(there));
            }
        }
    }

    /// Whether `from` may speak for the peer: it is where the SDP says, or on the host that RTP comes from; and it is not another
    /// than before while that one still reports.
    fn related(&self, at: Instant, from: SocketAddr, rtp: SocketAddr) -> bool {
        match self.path {
            ControlPath::Multiplexed => from == rtp,
            _ if self.address() == Some(from) => true,
            _ => {
                let free = |(held, last)| held == from || at.saturating_duration_since(last) >= SILENT;
                from.ip() == rtp.ip() && self.held.is_none_or(free)
            }
        }
    }

    /// Where the SDP says that RTCP goes, apart from RTP.
    fn address(&self) -> Option<SocketAddr> {
        match self.path {
            ControlPath::Neighbour => Some(SocketAddr::new(self.signalled.ip(), self.signalled.port().checked_add(1)?)),
            ControlPath::At(address) => Some(address),
            ControlPath::Multiplexed | ControlPath::Off => None,
        }
    }

    /// Where to report to, while RTP goes to `rtp`: symmetric (RFC 4961), and before anything came by what was agreed. A peer
    /// whose RTP comes from elsewhere than it says is behind NAT, and so is its RTCP.
    #[must_use]
    pub fn target(&self, rtp: SocketAddr) -> Option<SocketAddr> {
        let target = match (self.path, self.held) {
            (ControlPath::Off, _) => return None,
            (ControlPath::Multiplexed, _) => rtp,
            (_, Some((held, _))) => held,
            (_, None) => self.address().map(|address| match address.ip() == self.signalled.ip() {
                true => SocketAddr::new(rtp.ip(), address.port()),
                false => address,
            })?,
        };
        (!target.ip().is_unspecified() && target.port() != 0).then_some(target)
    }

    /// Whether it is time to report.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.path != ControlPath::Off && self.due.is_some_and(|due| now >= due)
    }

    /// The next report, to be sent now.
    #[must_use]
    pub fn report(&mut self, now: Now, ours: Ours, theirs: Option<Theirs>) -> Compound {
        self.due = Some(now.at + self.interval(INTERVAL));
        self.compose(now, ours, theirs)
    }

    /// The last report, with a BYE: none where nothing was ever sent (RFC 3550 section 6.3.7), and none to a peer that wants none.
    #[must_use]
    pub fn leave(&mut self, now: Now, ours: Ours, theirs: Option<Theirs>) -> Option<Compound> {
        self.due = None;
        let silent = self.reports.packets_out == 0 && ours.packets == 0;
        if silent || self.path == ControlPath::Off {
            return None;
        }
        let mut compound = self.compose(now, ours, theirs);
        compound.header(PacketType::Goodbye, 1, 1);
        compound.put(&ours.ssrc.to_be_bytes());
        Some(compound)
    }

    fn compose(&mut self, now: Now, ours: Ours, theirs: Option<Theirs>) -> Compound {
        self.reports.packets_out += 1;
        let mut compound = Compound::new();
        let (blocks, words) = if theirs.is_some() { (1, BLOCK) } else { (0, 0) };
        if std::mem::replace(&mut self.reported, ours.packets) == ours.packets {
            compound.header(PacketType::ReceiverReport, blocks, 1 + words);
            compound.put(&ours.ssrc.to_be_bytes());
        } else {
            let time = ntp(now.wall);
            self.sent.rotate_right(1);
            if let Some(newest) = self.sent.first_mut() {
                *newest = Some((middle(time), now.at));
            }
            compound.header(PacketType::SenderReport, blocks, 6 + words);
            compound.put(&ours.ssrc.to_be_bytes());
            compound.put(&time.to_be_bytes());
            for number in [ours.timestamp, ours.packets, ours.octets] {
                compound.put(&number.to_be_bytes());
            }
        }
        if let Some(theirs) = theirs {
            compound.report(&self.block(now.at, theirs));
        }
        // The chunk: source, one item, and zeros to the next word.
        compound.header(PacketType::SourceDescription, 1, 6);
        compound.put(&ours.ssrc.to_be_bytes());
        compound.put(&[CNAME, NAME as u8]);
        compound.put(&self.name);
        compound.put(&[0; 2]);
        compound
    }

    fn block(&self, now: Instant, theirs: Theirs) -> ReceptionReport {
        let since = |at: Instant| u64::try_from(now.saturating_duration_since(at).as_nanos()).unwrap_or(u64::MAX);
        let (time, delay) = match self.sender {
            Some((ssrc, time, at)) if ssrc == theirs.ssrc => {
                (time, u128::from(since(at)) * u128::from(SECOND) / 1_000_000_000)
            }
            _ => (0, 0),
        };
        ReceptionReport {
            ssrc: theirs.ssrc,
            fraction_lost: theirs.fraction,
            total_lost: u32::try_from(theirs.lost).unwrap_or(u32::MAX).min(MOST_LOST),
            last_sequence_number: theirs.highest,
            jitter: theirs.jitter,
            last_sender_report: time,
            delay: u32::try_from(delay).unwrap_or(u32::MAX),
        }
    }

    fn interval(&mut self, about: Duration) -> Duration {
        about.mul_f64((0.5 + self.random.f64()) / COMPENSATION)
    }
}

/// 64 bits of NTP: seconds since 1900, and 2^32 parts of one.
fn ntp(wall: SystemTime) -> u64 {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // The seconds wrap in 2036, as the standard has it.
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    (since.as_secs().wrapping_add(FROM_1900) << 32) | fraction
}

/// As the report blocks name a time: the middle 32 bits.
const fn middle(ntp: u64) -> u32 {
    let [_, _, a, b, c, d, _, _] = ntp.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The least interval of RFC 3550 section 6.2.
const INTERVAL: Duration = Duration::from_secs(5);
/// e - 3/2: what timer reconsideration makes of the average (RFC 3550 section 6.3.1).
const COMPENSATION: f64 = 1.218_28;
/// Three intervals: a peer that has not reported for so long has left its address.
const SILENT: Duration = Duration::from_secs(15);
/// Datagrams of RTCP that are looked at in a second: many times what a session of two needs.
const MOST_A_SECOND: u32 = 20;
/// Sender reports that an answer may still be about.
const REMEMBERED: usize = 4;
/// Characters of the canonical name.
const NAME: usize = 16;
/// SDES item.
const CNAME: u8 = 1;
/// Words of a report block.
const BLOCK: u16 = 6;
/// Largest positive number of 24 bits with a sign.
const MOST_LOST: u32 = (1 << 23) - 1;
/// A second, in the units of a report block.
const SECOND: u64 = 1 << 16;
const ROUNDING: Duration = Duration::from_millis(10);
/// Seconds from 1900 to 1970.
const FROM_1900: u64 = 2_208_988_800;
