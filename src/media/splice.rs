//! A stream made shorter or longer without a click: from one place on, another place that looks like it is read, and the two are
//! faded into each other (overlap-add of similar waveforms, WSOLA).

use super::concealment::{likeness, mix, ramp};
use crate::audio::Sound;
use std::ops::RangeInclusive;

/// Samples around the place where the stream is read: what was heard before, and what comes.
pub(super) struct Around<S: Sound> {
    sound: S,
    /// 20 ms before and 40 ms behind.
    samples: [S::Sample; MOST],
}

/// Where to go on reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Jump {
    /// Samples left out; less than none: heard once more.
    pub(super) by: isize,
    /// How much both places resemble each other, at most 1.
    pub(super) likeness: f32,
}

impl<S: Sound> Around<S> {
    /// Silence all around.
    pub(super) fn new(sound: S) -> Self {
        Self { sound, samples: [sound.silence(); MOST] }
    }

    /// What was heard, and what comes: how far back a jump may go, and a jump forward of a frame with the frame behind it.
    pub(super) fn sides(&mut self) -> (&mut [S::Sample], &mut [S::Sample]) {
        let (before, after) = self.samples.split_at_mut(frame_of::<S>());
        let (after, _) = after.split_at_mut(2 * frame_of::<S>());
        (before, after)
    }

    /// The jump among `jumps` after which the sound goes on most like it would have.
    pub(super) fn likest(&self, jumps: RangeInclusive<isize>) -> Jump {
        let mut values = [0.0; MOST];
        let samples = self.samples.iter().take(3 * frame_of::<S>());
        values.iter_mut().zip(samples).for_each(|(value, sample)| *value = self.sound.value(*sample));
        let before = frame_of::<S>();
        let here = values.iter().skip(before).take(overlap_of::<S>());
        let mut best = Jump { by: *jumps.start(), likeness: -1.0 };
        for by in jumps {
            let there = values.iter().skip(before.saturating_add_signed(by));
            let likeness = likeness(here.clone().zip(there).map(|(a, b)| (*a, *b)));
            if likeness > best.likeness {
                best = Jump { by, likeness };
            }
        }
        best
    }

    /// The next frame when the stream jumps by so many samples.
    pub(super) fn frame(&self, by: isize, frame: &mut [S::Sample]) {
        let (sound, before, overlap) = (self.sound, frame_of::<S>(), overlap_of::<S>());
        let there = self.samples.iter().skip(before.saturating_add_signed(by));
        frame.iter_mut().zip(there).for_each(|(sample, there)| *sample = *there);
        let here = self.samples.iter().skip(before);
        for ((sample, here), weight) in frame.iter_mut().zip(here).zip(ramp(overlap)) {
            *sample = sound.nearest(mix(sound.value(*here), sound.value(*sample), weight));
        }
    }
}

/// Samples of 20 ms.
pub(super) const fn frame_of<S: Sound>() -> usize {
    20 * S::PER_MS
}

/// Samples of 10 ms.
const fn overlap_of<S: Sound>() -> usize {
    10 * S::PER_MS
}

/// Of 60 ms at the highest rate.
const MOST: usize = 960;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{FRAME, Law, Linear, WIDE_FRAME};

    fn around<S: Sound>(sound: S, wave: impl Fn(f32) -> f32) -> Around<S> {
        Around { sound, samples: std::array::from_fn(|at| sound.nearest(wave(at as f32))) }
    }

    fn jumps_are_found_and_not_heard<S: Sound>(sound: S, scale: f32) {
        for period in [40.0_f32, 57.0, 73.0, 101.0, 150.0].map(|period| period * scale) {
            let wave = |at: f32| 8000.0 * (at * std::f32::consts::TAU / period).sin();
            let around = around(sound, wave);
            let (shortest, longest) = (5 * S::PER_MS as isize, 20 * S::PER_MS as isize);
            for jumps in [shortest..=longest, -longest..=-shortest] {
                let jump = around.likest(jumps);
                let off = (jump.by as f32 / period).round() * period - jump.by as f32;
                assert!(off.abs() < 1.0 && jump.likeness > 0.99, "{period}: {jump:?}");
                let mut frame = vec![sound.silence(); frame_of::<S>()];
                around.frame(jump.by, &mut frame);
                for (n, sample) in frame.into_iter().enumerate() {
                    let wanted = wave((frame_of::<S>() + n) as f32);
                    let got = sound.value(sample);
                    assert!((got - wanted).abs() < 900.0, "{period}: {got} instead of {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_jump_by_whole_periods_is_found_and_is_not_heard() {
        jumps_are_found_and_not_heard(Law::Mu, 1.0);
        jumps_are_found_and_not_heard(Linear, 2.0);
    }

    #[test]
    fn what_is_not_mixed_keeps_its_samples() {
        let narrow = around(Law::Mu, |at| at * 50.0);
        for by in [-160_isize, -41, 0, 77, 160] {
            let there = (FRAME as isize + by) as usize;
            let mut frame = [0; FRAME];
            narrow.frame(by, &mut frame);
            assert_eq!(frame[80..], narrow.samples[there + 80..there + FRAME]);
        }
        let wide = around(Linear, |at| at * 25.0);
        let mut frame = [0; WIDE_FRAME];
        wide.frame(-200, &mut frame);
        assert_eq!(frame[160..], wide.samples[120 + 160..120 + WIDE_FRAME]);
    }
}
