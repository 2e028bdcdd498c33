//! How the samples of a stream are kept while they wait: as the bytes of G.711, or linear at 16 kHz.

use super::{Law, level};
use std::fmt::Debug;

/// A way to keep samples.
pub trait Sound: Copy + Debug + PartialEq {
    /// One of them.
    type Sample: Copy + Debug + Default + PartialEq;
    /// How many there are in a millisecond.
    const PER_MS: usize;

    /// The sample of no sound.
    fn silence(self) -> Self::Sample;
    /// What a sample stands for.
    fn value(self, sample: Self::Sample) -> f32;
    /// The sample nearest to a value.
    fn nearest(self, value: f32) -> Self::Sample;
    /// Mean square of what samples stand for; zero for none.
    fn mean_square(self, samples: &[Self::Sample]) -> u32;
}

/// Linear samples of 16 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear;

impl Sound for Law {
    type Sample = u8;
    const PER_MS: usize = 8;

    fn silence(self) -> u8 {
        Self::silence(self)
    }

    fn value(self, sample: u8) -> f32 {
        f32::from(self.decode(sample))
    }

    fn nearest(self, value: f32) -> u8 {
        self.encode(rounded(value))
    }

    fn mean_square(self, samples: &[u8]) -> u32 {
        level::mean(self.energy(samples), samples.len())
    }
}

impl Sound for Linear {
    type Sample = i16;
    const PER_MS: usize = 16;

    fn silence(self) -> i16 {
        0
    }

    fn value(self, sample: i16) -> f32 {
        f32::from(sample)
    }

    fn nearest(self, value: f32) -> i16 {
        rounded(value)
    }

    fn mean_square(self, samples: &[i16]) -> u32 {
        let energy = samples.iter().map(|sample| u64::from(sample.unsigned_abs()).pow(2)).sum();
        level::mean(energy, samples.len())
    }
}

/// The nearest linear sample.
#[must_use]
pub fn rounded(value: f32) -> i16 {
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    let sample = value.round() as i16;
    sample
}
