//! A stream made shorter or longer without a click: from one place on, another place that looks like it is read, and the two are
//! faded into each other (overlap-add of similar waveforms, WSOLA).

use super::concealment::{likeness, mix, ramp, sample_of};
use crate::audio::{FRAME, Law};
use std::ops::RangeInclusive;

/// Coded samples around the place where the stream is read: what was heard before, and what comes.
pub(super) struct Around {
    pub(super) law: Law,
    pub(super) samples: [u8; BEFORE + AFTER],
}

/// Where to go on reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Jump {
    /// Samples left out; less than none: heard once more.
    pub(super) by: isize,
    /// How much both places resemble each other, at most 1.
    pub(super) likeness: f32,
}

impl Around {
    /// The jump among `jumps` after which the sound goes on most like it would have.
    pub(super) fn likest(&self, jumps: RangeInclusive<isize>) -> Jump {
        let samples = self.samples.map(|byte| f32::from(self.law.decode(byte)));
        let here = samples.iter().skip(BEFORE).take(OVERLAP);
        let mut best = Jump { by: *jumps.start(), likeness: -1.0 };
        for by in jumps {
            let there = samples.iter().skip(BEFORE.saturating_add_signed(by));
            let likeness = likeness(here.clone().zip(there).map(|(a, b)| (*a, *b)));
            if likeness > best.likeness {
                best = Jump { by, likeness };
            }
        }
        best
    }

    /// The next frame when the stream jumps by so many samples.
    pub(super) fn frame(&self, by: isize) -> [u8; FRAME] {
        let mut frame = [self.law.silence(); FRAME];
        let there = self.samples.iter().skip(BEFORE.saturating_add_signed(by));
        frame.iter_mut().zip(there).for_each(|(sample, there)| *sample = *there);
        let here = self.samples.iter().skip(BEFORE);
        for ((sample, here), weight) in frame.iter_mut().zip(here).zip(ramp(OVERLAP)) {
            let mixed = mix(f32::from(self.law.decode(*here)), f32::from(self.law.decode(*sample)), weight);
            *sample = self.law.encode(sample_of(mixed));
        }
        frame
    }
}

/// How far back a jump may go.
pub(super) const BEFORE: usize = FRAME;
/// A jump forward of a frame, and a frame.
pub(super) const AFTER: usize = 2 * FRAME;
/// 10 ms.
const OVERLAP: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn around(sound: impl Fn(f32) -> f32) -> Around {
        Around { law: Law::Mu, samples: std::array::from_fn(|at| Law::Mu.encode(sound(at as f32) as i16)) }
    }

    #[test]
    fn a_jump_by_whole_periods_is_found_and_is_not_heard() {
        for period in [40.0_f32, 57.0, 73.0, 101.0, 150.0] {
            let sound = |at: f32| 8000.0 * (at * std::f32::consts::TAU / period).sin();
            let around = around(sound);
            for jumps in [40..=160, -160..=-40] {
                let jump = around.likest(jumps);
                let off = (jump.by as f32 / period).round() * period - jump.by as f32;
                assert!(off.abs() < 1.0 && jump.likeness > 0.99, "{period}: {jump:?}");
                for (n, byte) in around.frame(jump.by).into_iter().enumerate() {
                    let wanted = sound((BEFORE + n) as f32);
                    let got = f32::from(Law::Mu.decode(byte));
                    assert!((got - wanted).abs() < 900.0, "{period}: {got} instead of {wanted}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_mixed_keeps_its_bytes() {
        let around = around(|at| at * 50.0);
        for by in [-160_isize, -41, 0, 77, 160] {
            let there = (BEFORE as isize + by) as usize;
            assert_eq!(around.frame(by)[OVERLAP..], around.samples[there + OVERLAP..there + FRAME]);
        }
    }
}
