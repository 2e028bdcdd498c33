//! Samples by the time they are of: a ring that knows which of them came.

use std::ops::Range;

/// The ring. The sample of time `t` lies at `t` modulo its size.
#[derive(Clone, Debug)]
pub(super) struct Ring<T> {
    samples: Box<[T]>,
    /// A bit a sample: it came and was not read yet.
    came: Box<[u64]>,
}

impl<T: Copy + Default> Ring<T> {
    /// A ring for at least so many samples.
    pub(super) fn new(samples: u64) -> Self {
        let size = usize::try_from(samples).unwrap_or(MOST).clamp(WORD, MOST).next_power_of_two();
        Self { samples: vec![T::default(); size].into_boxed_slice(), came: vec![0; size / WORD].into_boxed_slice() }
    }

    /// Samples that it holds.
    pub(super) fn reach(&self) -> u64 {
        u64::try_from(self.samples.len()).unwrap_or(u64::MAX)
    }

    /// Nothing came.
    pub(super) fn clear(&mut self) {
        self.came.fill(0);
    }

    /// Puts samples in their place, over whatever stands there.
    pub(super) fn put(&mut self, at: u64, samples: &[T]) {
        let (head, tail) = self.places(at, samples.len());
        let (front, back) = samples.split_at(head.len());
        for (part, range) in [(front, head), (back, tail)] {
            if let Some(room) = self.samples.get_mut(range) {
                room.copy_from_slice(part);
            }
        }
        self.mark(at, samples.len(), true);
    }

    /// Reads samples, whether they came or not.
    pub(super) fn copy(&self, at: u64, samples: &mut [T]) {
        let (head, tail) = self.places(at, samples.len());
        let (front, back) = samples.split_at_mut(head.len());
        for (part, range) in [(front, head), (back, tail)] {
            if let Some(stored) = self.samples.get(range) {
                part.copy_from_slice(stored);
            }
        }
    }

    /// Forgets samples that were read.
    pub(super) fn forget(&mut self, at: u64, count: usize) {
        self.mark(at, count, false);
    }

    /// Whether the sample of `at` came, and how many from there on, up to `most`, are like it.
    pub(super) fn run(&self, at: u64, most: usize) -> (bool, usize) {
        let (mut came, mut length) = (false, 0);
        while length < most {
            let (index, bit) = self.bit(at.wrapping_add(u64::try_from(length).unwrap_or(0)));
            let word = self.came.get(index).copied().unwrap_or(0) >> bit;
            if length == 0 {
                came = word & 1 == 1;
            }
            let alike = if came { word.trailing_ones() } else { word.trailing_zeros() };
            let room = WORD - bit;
            let alike = usize::try_from(alike).unwrap_or(0).min(room);
            length += alike;
            if alike < room {
                break;
            }
        }
        (came, length.min(most))
    }

    /// Whether all of them came.
    pub(super) fn has(&self, at: u64, count: usize) -> bool {
        self.run(at, count) == (true, count)
    }

    fn mark(&mut self, mut at: u64, mut count: usize, came: bool) {
        while count > 0 {
            let (index, bit) = self.bit(at);
            let here = count.min(WORD - bit);
            let mask = (u64::MAX >> (WORD - here)) << bit;
            if let Some(word) = self.came.get_mut(index) {
                *word = if came { *word | mask } else { *word & !mask };
            }
            at = at.wrapping_add(u64::try_from(here).unwrap_or(0));
            count -= here;
        }
    }

    /// Which word, and which bit of it, tells of `at`.
    fn bit(&self, at: u64) -> (usize, usize) {
        let place = self.place(at);
        (place / WORD, place % WORD)
    }

    fn place(&self, at: u64) -> usize {
        usize::try_from(at % self.reach()).unwrap_or(0)
    }

    /// Where `count` samples from time `at` lie: up to the end of the ring, and on from its start.
    fn places(&self, at: u64, count: usize) -> (Range<usize>, Range<usize>) {
        let start = self.place(at);
        let head = count.min(self.samples.len() - start);
        (start..start + head, 0..count - head)
    }
}

const WORD: usize = 64;
/// 8 s of narrow-band sound.
const MOST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_came_is_what_was_put_and_not_forgotten(
            start in 0_u64..2000,
            steps in proptest::collection::vec((0_u64..100, 1_usize..120, any::<bool>()), 1..60),
        ) {
            let mut ring = Ring::new(256);
            let base = (1 << 40) + start;
            let mut wanted = [None; 256];
            for (n, (at, count, put)) in steps.into_iter().enumerate() {
                let value = n as u8;
                if put {
                    ring.put(base + at, &vec![value; count]);
                } else {
                    ring.forget(base + at, count);
                }
                wanted[at as usize..at as usize + count].fill(put.then_some(value));
            }
            let mut at = 0;
            while at < 256 {
                let (came, length) = ring.run(base + at as u64, 256 - at);
                prop_assert!(length > 0);
                prop_assert!(wanted[at..at + length].iter().all(|sample| sample.is_some() == came));
                prop_assert!(at + length == 256 || wanted[at + length].is_some() != came);
                if came {
                    let mut read = vec![0_u8; length];
                    ring.copy(base + at as u64, &mut read);
                    prop_assert!(read.iter().zip(&wanted[at..]).all(|(read, wanted)| Some(*read) == *wanted));
                }
                at += length;
            }
        }
    }
}
