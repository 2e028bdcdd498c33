//! What came in and what did not: sequence numbers checked, loss and jitter counted (RFC 3550 section 6.4.1, appendices A.1, A.3, A.8).

use super::extended::ExtendedSequence;
use super::jitter_buffer::Playout;
use super::rtcp::{Reports, Theirs};
use super::sdp::Codec;
use std::time::Duration;

/// Figures of a session, up to now or at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The codec agreed last; none where nothing was.
    pub codec: Option<Codec>,
    /// RTP packets taken from the peer: audio and telephone-event.
    pub packets_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// Packets that never came, by their sequence numbers.
    pub lost: u64,
    /// Interarrival jitter.
    pub jitter: Duration,
    /// Datagrams not used.
    pub dropped: Dropped,
    /// What the jitter buffer had to do.
    pub playout: Playout,
    /// How long it holds what comes.
    pub depth: Duration,
    /// Slots of the sender's grid left out because it was woken too late.
    pub skipped: u64,
    /// What RTCP counted and learnt.
    pub reports: Reports,
}

/// Datagrams not used, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// From an address that is not the peer's.
    pub stranger: u64,
    /// Not RTP.
    pub not_rtp: u64,
    /// Not RTCP, where RTCP was to come.
    pub not_rtcp: u64,
    /// Of a payload type that was not agreed, or of a size that no codec makes.
    pub payload_type: u64,
    /// Came after its time.
    pub late: u64,
    /// Came twice.
    pub duplicate: u64,
    /// More than a peer may send.
    pub flood: u64,
    /// Not made with the agreed key (SRTP).
    pub forged: u64,
    /// Seen before under the agreed key, or too old to tell (SRTP).
    pub replayed: u64,
}

impl Dropped {
    /// Each reason as its label with its count.
    #[must_use]
    pub const fn by_reason(&self) -> [(&'static str, u64); 9] {
        [
            ("stranger", self.stranger),
            ("not_rtp", self.not_rtp),
            ("not_rtcp", self.not_rtcp),
            ("payload_type", self.payload_type),
            ("late", self.late),
            ("duplicate", self.duplicate),
            ("flood", self.flood),
            ("forged", self.forged),
            ("replayed", self.replayed),
        ]
    }
}

/// What a sequence number says about its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Not seen before, and the one after the highest.
    Next,
    /// Not seen before.
    New,
    /// Seen before.
    Duplicate,
    /// Far from all others: not used unless the next one follows it.
    Jump,
    /// The second after a jump: the peer has begun anew.
    Restart,
}

/// One source's packets.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    run: Option<Run>,
    /// Of the runs before a restart or a change of source.
    lost_before: u64,
    /// In timestamp units, scaled by 16.
    jitter: u64,
    transit: Option<i64>,
}

/// Numbers that follow each other.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: ExtendedSequence,
    highest: ExtendedSequence,
    received: u64,
    /// Bit n: `highest - n` was seen.
    seen: u64,
    /// What would confirm a jump.
    after_jump: Option<u16>,
    /// Expected and received when it was last reported.
    reported: (u64, u64),
}

impl Reception {
    /// Judges the next sequence number.
    pub fn sequence(&mut self, wire: u16) -> Order {
        let Some(run) = &mut self.run else {
            self.run = Some(Run::new(wire));
            return Order::New;
        };
        #[expect(clippy::cast_possible_truncation, reason = "the wire's width is the arithmetic")]
        let ahead = wire.wrapping_sub(run.highest.0 as u16);
        if (MAX_DROPOUT..=u16::MAX - MAX_MISORDER).contains(&ahead) {
            if run.after_jump != Some(wire) {
                run.after_jump = Some(wire.wrapping_add(1));
                return Order::Jump;
            }
            self.begin_anew();
            self.run = Some(Run::new(wire));
            return Order::Restart;
        }
        run.after_jump = None;
        run.note(run.highest.nearest(wire))
    }

    /// Notes the time a packet took, both ends in steps of 8 kHz (their clocks need not agree).
    pub fn transit(&mut self, arrival: i64, timestamp: i64) {
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            // A step of more than a second is a jump of somebody's clock, not jitter.
            let difference = transit.wrapping_sub(before).unsigned_abs();
            if difference < ONE_SECOND {
                self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
            }
        }
    }

    /// Another source speaks: counts go on, numbers begin anew.
    pub fn begin_anew(&mut self) {
        self.lost_before += self.run.take().map_or(0, |run| run.lost());
        self.transit = None;
    }

    /// For a report block (RFC 3550 appendix A.3); what is lost of one counts from here to the next.
    pub fn report(&mut self, ssrc: u32) -> Option<Theirs> {
        let run = self.run.as_mut()?;
        let (expected, received) = (run.expected(), run.received);
        let (before, came) = std::mem::replace(&mut run.reported, (expected, received));
        let due = expected - before;
        let lost = due.saturating_sub(received - came);
        let fraction = (lost << 8).checked_div(due).unwrap_or(0);
        #[expect(clippy::cast_possible_truncation, reason = "the wire's width is the arithmetic")]
        let highest = run.highest.0 as u32;
        Some(Theirs {
            ssrc,
            fraction: u8::try_from(fraction).unwrap_or(u8::MAX),
            lost: run.lost(),
            // One round lies before the first number.
            highest: highest.wrapping_sub(1 << 16),
            jitter: u32::try_from(self.jitter >> 4).unwrap_or(u32::MAX),
        })
    }

    /// Packets that never came.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_before + self.run.map_or(0, |run| run.lost())
    }

    /// Interarrival jitter.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        Duration::from_micros((self.jitter >> 4) * 125)
    }
}

impl Run {
    fn new(wire: u16) -> Self {
        let first = ExtendedSequence::first(wire);
        Self { first, highest: first, received: 1, seen: 1, after_jump: None, reported: (0, 0) }
    }

    fn note(&mut self, sequence: ExtendedSequence) -> Order {
        let step = sequence.0.saturating_sub(self.highest.0);
        if step > 0 {
            self.seen = u32::try_from(step).ok().and_then(|step| self.seen.checked_shl(step)).unwrap_or(0) | 1;
            self.highest = sequence;
        } else {
            let back = self.highest.0 - sequence.0;
            let bit = u32::try_from(back).ok().and_then(|back| 1_u64.checked_shl(back)).unwrap_or(0);
            // Older than the memory reaches: as good as seen.
            if bit == 0 || self.seen & bit != 0 {
                return Order::Duplicate;
            }
            self.seen |= bit;
            self.first = self.first.min(sequence);
        }
        self.received += 1;
        if step == 1 { Order::Next } else { Order::New }
    }

    fn expected(&self) -> u64 {
        self.highest.0 - self.first.0 + 1
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }
}

const MAX_DROPOUT: u16 = 3000;
const MAX_MISORDER: u16 = 100;
const ONE_SECOND: u64 = 8000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_what_is_missing_between_the_first_and_the_highest() {
        let mut reception = Reception::default();
        for (wire, order) in [
            (65_533, Order::New),
            (65_534, Order::Next),
            (0, Order::New),
            (1, Order::Next),
            (5, Order::New),
            (3, Order::New),
        ] {
            assert_eq!(reception.sequence(wire), order, "{wire}");
        }
        // 65535, 2 and 4 are missing.
        assert_eq!(reception.lost(), 3);
        assert_eq!(reception.sequence(3), Order::Duplicate);
        assert_eq!(reception.sequence(65_535), Order::New);
        assert_eq!(reception.lost(), 2);
    }

    #[test]
    fn a_lone_jump_is_not_believed_two_in_a_row_are() {
        let mut reception = Reception::default();
        assert_eq!(reception.sequence(10), Order::New);
        assert_eq!(reception.sequence(30_000), Order::Jump);
        assert_eq!(reception.sequence(11), Order::Next);
        assert_eq!(reception.sequence(40_000), Order::Jump);
        assert_eq!(reception.sequence(40_001), Order::Restart);
        assert_eq!(reception.sequence(40_002), Order::Next);
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn loss_before_a_change_of_source_stays_counted() {
        let mut reception = Reception::default();
        reception.sequence(1);
        reception.sequence(4);
        reception.begin_anew();
        reception.sequence(900);
        assert_eq!(reception.lost(), 2);
    }

    #[test]
    fn a_report_says_what_was_lost_since_the_last_one_and_in_all() {
        let mut reception = Reception::default();
        assert_eq!(reception.report(9), None);
        for wire in [65_534, 65_535, 1, 2] {
            reception.sequence(wire);
        }
        let first = reception.report(9).unwrap();
        assert_eq!((first.ssrc, first.fraction, first.lost, first.highest), (9, 51, 1, 65_538));
        for wire in 3..13 {
            reception.sequence(wire);
        }
        let second = reception.report(9).unwrap();
        assert_eq!((second.fraction, second.lost, second.highest), (0, 1, 65_548));
        // What was taken for lost comes late: more than was due.
        reception.sequence(0);
        assert_eq!(reception.report(9).map(|report| (report.fraction, report.lost)), Some((0, 0)));
        reception.sequence(16);
        assert_eq!(reception.report(9).map(|report| report.fraction), Some(192));
    }

    #[test]
    fn jitter_follows_the_rfc() {
        let mut reception = Reception::default();
        for n in 0..1000_i64 {
            reception.transit(n * 160 + if n % 2 == 0 { 0 } else { 80 }, n * 160);
        }
        // |D| is 80 units (10 ms) each time: J converges to it.
        let jitter = reception.jitter();
        assert!((Duration::from_millis(9)..=Duration::from_millis(10)).contains(&jitter), "{jitter:?}");
        let mut steady = Reception::default();
        (0..100).for_each(|n| steady.transit(n * 160 + 5, n * 160));
        assert_eq!(steady.jitter(), Duration::ZERO);
        steady.transit(i64::MAX, 0);
        assert_eq!(steady.jitter(), Duration::ZERO);
    }
}
