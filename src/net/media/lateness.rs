//! How late packets leave, gathered without touching the metrics recorder for each one.

use crate::base::metric;
use std::time::Duration;

/// Counts by power of two and half of it, from 64 us on.
#[derive(Clone, Debug)]
pub(super) struct Lateness {
    counts: [u32; BUCKETS],
}

impl Lateness {
    pub(super) const fn new() -> Self {
        Self { counts: [0; BUCKETS] }
    }

    pub(super) fn note(&mut self, late: Duration) {
        if let Some(count) = self.counts.get_mut(bucket(late)) {
            *count += 1;
        }
    }

    /// Hands what was gathered to the metrics recorder.
    pub(super) fn flush(&mut self) {
        let histogram = metrics::histogram!(metric::RTP_LATE_SECONDS);
        for (index, count) in self.counts.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            histogram.record_many(upper_edge(index).as_secs_f64(), usize::try_from(*count).unwrap_or(usize::MAX));
            *count = 0;
        }
    }
}

fn bucket(late: Duration) -> usize {
    let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
    let Some(power) = micros.checked_ilog2().filter(|power| *power >= FIRST_POWER) else { return 0 };
    let half = micros >> (power - 1) & 1;
    let index = 1 + 2 * u64::from(power - FIRST_POWER) + half;
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The longest lateness that falls into a bucket, for all but the last one.
fn upper_edge(index: usize) -> Duration {
    let Some(above) = index.checked_sub(1).and_then(|above| u32::try_from(above).ok()) else {
        return Duration::from_micros(1 << FIRST_POWER);
    };
    let base = 1_u64 << (FIRST_POWER + above / 2);
    Duration::from_micros(if above.is_multiple_of(2) { base + base / 2 } else { base * 2 })
}

const FIRST_POWER: u32 = 6;
/// Up to 2^20 us, about a second.
const BUCKETS: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lateness_lies_below_the_edge_of_its_bucket_and_above_the_one_before() {
        for micros in [0, 63, 64, 95, 96, 127, 128, 1000, 3000, 19_999, 20_000, 40_000, 1_000_000] {
            let late = Duration::from_micros(micros);
            let index = bucket(late);
            assert!(late < upper_edge(index), "{micros}");
            assert!(index == 0 || late >= upper_edge(index - 1), "{micros}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }
}
