//! Counters of the wire that wrap, unrolled into ones that do not (RFC 3550 appendix A.1). Own types, so that a wire value is
//! never compared with an unrolled one.

/// A sequence number counted on over its rollovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExtendedSequence(pub u64);

/// An RTP timestamp counted on over its rollovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExtendedTimestamp(pub u64);

impl ExtendedSequence {
    /// The first of a stream. One round is put before it, so that earlier packets that come late still have a number.
    #[must_use]
    pub const fn first(wire: u16) -> Self {
        Self((1 << 16) + wire as u64)
    }

    /// `wire` as the number nearest to this one.
    #[must_use]
    pub fn nearest(self, wire: u16) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the wrap is the arithmetic")]
        let step = wire.wrapping_sub(self.0 as u16) as i16;
        Self(self.0.checked_add_signed(i64::from(step)).unwrap_or(Self::first(wire).0))
    }
}

impl ExtendedTimestamp {
    /// The first of a stream, with rounds before it for what comes late.
    #[must_use]
    pub const fn first(wire: u32) -> Self {
        Self((1 << 40) + wire as u64)
    }

    /// `wire` as the time nearest to this one.
    #[must_use]
    pub fn nearest(self, wire: u32) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the wrap is the arithmetic")]
        let step = wire.wrapping_sub(self.0 as u32) as i32;
        match self.0.checked_add_signed(i64::from(step)) {
            Some(time) if time >= LOWEST => Self(time),
            _ => Self::first(wire),
        }
    }
}

/// Below this a hostile run of backward jumps would reach zero: the count begins anew.
const LOWEST: u64 = 1 << 39;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_go_on_over_the_rollover_and_back() {
        let before = ExtendedSequence::first(65_535);
        let after = before.nearest(0);
        assert_eq!(after.0, before.0 + 1);
        assert_eq!(after.nearest(65_535), before);
        assert_eq!(before.nearest(65_530).0, before.0 - 5);
    }

    #[test]
    fn timestamps_go_on_over_the_rollover_and_never_reach_zero() {
        let before = ExtendedTimestamp::first(u32::MAX - 79);
        assert_eq!(before.nearest(80).0, before.0 + 160);
        let mut time = before;
        for n in 0..100_000_u32 {
            time = time.nearest(n.wrapping_mul(0x8000_0001));
            assert!(time.0 >= LOWEST);
        }
    }
}
