//! When in a run the machine had its usual speed: a fixed piece of arithmetic, timed at each visit of the phones. On a virtual machine both
//! cores lose it at the same moments, so that the phones' core tells of the daemon's.

use std::hint::black_box;
use std::time::Instant;

/// What the piece took, visit by visit.
#[derive(Default)]
pub(crate) struct Pulse {
    /// Microseconds of the wall clock; nanoseconds that it took.
    beats: Vec<(i64, u32)>,
    number: u32,
}

impl Pulse {
    /// Takes some 10 us.
    pub(crate) fn beat(&mut self, at: i64) {
        // Whoever is interrupted in one of them is not in the next.
        let took = (0..3).map(|_| self.piece()).min().unwrap_or_default();
        self.beats.push((at, took));
    }

    fn piece(&mut self) -> u32 {
        let began = Instant::now();
        for _ in 0..2_000 {
            self.number = black_box(self.number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        }
        began.elapsed().as_nanos() as u32
    }

    /// The moments that were slow, with what they left to be made up for.
    pub(crate) fn moments(self) -> Moments {
        let mut sorted: Vec<u32> = self.beats.iter().map(|(_, took)| *took).collect();
        sorted.sort_unstable();
        let usual = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        let mut slow: Vec<(i64, i64)> = Vec::new();
        for (at, _) in self.beats.iter().filter(|(_, took)| f64::from(*took) * SLOW > f64::from(usual)) {
            match slow.last_mut() {
                Some((_, end)) if at - BEFORE <= *end => *end = at + AFTER,
                _ => slow.push((at - BEFORE, at + AFTER)),
            }
        }
        Moments { slow }
    }
}

/// When the machine was slow.
pub(crate) struct Moments {
    slow: Vec<(i64, i64)>,
}

impl Moments {
    /// Whether the machine was steady then.
    pub(crate) fn steady(&self, at: i64) -> bool {
        let after = self.slow.partition_point(|(_, end)| *end <= at);
        self.slow.get(after).is_none_or(|(begin, _)| at < *begin)
    }
}

/// Of the usual speed.
const SLOW: f64 = 0.7;
/// Microseconds. What began so long before a slow moment may have ended in it.
const BEFORE: i64 = 100_000;
/// A daemon that had three quarters of a core to do has made up for 200 ms at a third of its speed in so much more.
const AFTER: i64 = 350_000;
