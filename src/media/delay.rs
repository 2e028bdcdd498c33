//! How long what comes in is held back: the delay follows the measured lateness of the last packets, between its bounds.
//!
//! Of the last 256 packets (5 s of 20 ms) the transit times are kept. Wanted is that nearly all of them are heard: the 97th
//! percentile; but at least `least` above the fast ones, and at most `longest`. The fast ones are the 5th percentile, so that
//! one packet that was faster, or a phase that lies between two of our slots, moves nothing. A packet that comes later than what
//! is wanted is judged at once, so that the delay grows quickly; it shrinks only as the late ones leave the window. Both ends'
//! clocks need not agree: as they drift, so do all transit times, and so does the delay that is wanted.

use std::time::Duration;

/// The bounds, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    least: i64,
    pub(super) longest: i64,
    /// While little is known.
    start: i64,
}

/// What is known of the packets' transit times. All times are in samples.
#[derive(Clone, Debug)]
pub(super) struct Delay {
    bounds: Bounds,
    /// Relative to the first packet's.
    transits: Vec<i32>,
    oldest: usize,
    first: i64,
    fast: i64,
    wanted: i64,
    since_settled: u32,
}

impl Bounds {
    /// Between `least` and `longest`, of so many samples a millisecond, and 40 ms to begin with where they allow it.
    pub(super) fn new(least: Duration, longest: Duration, per_ms: usize) -> Self {
        let per_ms = i64::try_from(per_ms).unwrap_or(1);
        let samples = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX).saturating_mul(per_ms);
        let (least, longest) = (samples(least), samples(longest.min(MOST)));
        let least = least.min(longest);
        Self { least, longest, start: samples(START).clamp(least, longest) }
    }

    /// The delay to begin with.
    pub(super) const fn start(self) -> i64 {
        self.start
    }
}

impl Delay {
    pub(super) fn new(bounds: Bounds) -> Self {
        let transits = Vec::with_capacity(WINDOW);
        Self { bounds, transits, oldest: 0, first: 0, fast: 0, wanted: 0, since_settled: 0 }
    }

    /// Forgets all packets: another source, or a clock that jumped.
    pub(super) fn reset(&mut self) {
        self.transits.clear();
        self.oldest = 0;
    }

    /// Notes a packet's transit time: our clock at its arrival less its timestamp.
    pub(super) fn note(&mut self, transit: i64) {
        if self.transits.is_empty() {
            self.first = transit;
        }
        let relative = transit.saturating_sub(self.first).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        let relative = i32::try_from(relative).unwrap_or_default();
        if let Some(place) = self.transits.get_mut(self.oldest) {
            *place = relative;
        } else {
            self.transits.push(relative);
        }
        self.oldest = (self.oldest + 1) % WINDOW;
        self.since_settled += 1;
        if transit > self.wanted || self.since_settled >= OFTEN || self.transits.len() <= SETTLED {
            self.settle();
        }
    }

    /// How far the reader should lie behind our clock.
    pub(super) const fn wanted(&self) -> i64 {
        self.wanted
    }

    /// How far it may lie behind at most.
    pub(super) const fn most(&self) -> i64 {
        self.fast.saturating_add(self.bounds.longest)
    }

    /// What is added to the way of the fast packets.
    pub(super) const fn depth(&self) -> i64 {
        self.wanted.saturating_sub(self.fast)
    }

    fn settle(&mut self) {
        self.since_settled = 0;
        let mut sorted = [0; WINDOW];
        let count = self.transits.len();
        let Some(sorted) = sorted.get_mut(..count).filter(|sorted| !sorted.is_empty()) else { return };
        sorted.copy_from_slice(&self.transits);
        // One that is late among the first few says nothing yet.
        let beyond = if count < FEW { 0 } else { (count * LATE).div_ceil(100) };
        let (low, high) = (count * FAST / 100, count - 1 - beyond);
        let (below, late, _) = sorted.select_nth_unstable(high);
        let late = self.first + i64::from(*late);
        let fast = if low < below.len() {
            *below.select_nth_unstable(low).1
        } else {
            i32::try_from(late - self.first).unwrap_or_default()
        };
        self.fast = self.first + i64::from(fast);
        let least = if count < SETTLED { self.bounds.start } else { self.bounds.least };
        self.wanted = late.max(self.fast + least).min(self.most());
    }
}

/// Packets that are remembered.
const WINDOW: usize = 256;
/// Percent of them that may come too late, and percent that are the fast ones.
const LATE: usize = 3;
const FAST: usize = 5;
const FEW: usize = 8;
/// Packets between two judgements when all is well.
const OFTEN: u32 = 16;
/// So many packets, 1 s of 20 ms, before less than the start is dared.
const SETTLED: usize = 50;
const START: Duration = Duration::from_millis(40);
const MOST: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 8;

    fn delay(least: u64, longest: u64) -> Delay {
        Delay::new(Bounds::new(Duration::from_millis(least), Duration::from_millis(longest), 8))
    }

    /// Notes packets of these transit times, a different random seed for each test not being needed.
    fn note(delay: &mut Delay, transits: impl IntoIterator<Item = i64>) {
        transits.into_iter().for_each(|transit| delay.note(transit));
    }

    #[test]
    fn it_begins_with_40_ms_where_the_bounds_allow_it_and_goes_down_to_the_least_on_a_steady_line() {
        for (least, longest, start) in [(20, 200, 40), (60, 200, 60), (0, 30, 30), (80, 80, 80), (0, 2000, 40)] {
            let mut delay = delay(least, longest);
            note(&mut delay, [7_000_000; 20]);
            assert_eq!(delay.depth(), start * MS, "{least}-{longest}");
            note(&mut delay, [7_000_000; 80]);
            assert_eq!(delay.depth(), i64::try_from(least.min(longest)).unwrap() * MS, "{least}-{longest}");
        }
    }

    #[test]
    fn it_grows_within_ten_late_packets_and_shrinks_only_when_they_have_left_the_window() {
        let mut delay = delay(20, 200);
        note(&mut delay, [0; 300]);
        note(&mut delay, [90 * MS; 10]);
        assert_eq!(delay.depth(), 90 * MS);
        note(&mut delay, [0; 200]);
        assert_eq!(delay.depth(), 90 * MS);
        note(&mut delay, [0; 60]);
        assert_eq!(delay.depth(), 20 * MS);
    }

    #[test]
    fn it_stays_between_its_bounds_whatever_comes() {
        let mut delay = delay(20, 200);
        note(&mut delay, (0..500).map(|n| if n % 2 == 0 { 0 } else { 3000 * MS }));
        assert_eq!(delay.depth(), 200 * MS);
        note(&mut delay, [i64::MAX, i64::MIN, 0, i64::MAX]);
        assert!((0..=200 * MS).contains(&delay.depth()));
    }

    #[test]
    fn a_few_late_or_fast_packets_move_nothing() {
        let mut delay = delay(20, 200);
        note(&mut delay, (0..512).map(|n| if n % 50 == 0 { 150 * MS } else { 0 }));
        assert_eq!(delay.wanted(), 20 * MS);
        note(&mut delay, (0..512).map(|n| if n % 50 == 0 { -20 * MS } else { 0 }));
        assert_eq!(delay.wanted(), 20 * MS);
    }

    #[test]
    fn it_goes_with_a_clock_that_drifts_and_with_a_way_that_changed() {
        let mut delay = delay(20, 200);
        // 200 ppm: 1 ms in 5 s.
        note(&mut delay, (0..100_000).map(|n| n * 160 / 5000));
        let behind = delay.wanted() - 100_000 * 160 / 5000;
        assert!((18 * MS..=20 * MS).contains(&behind), "{behind}");
        let way = 100_000 * 160 / 5000 - 35 * MS;
        note(&mut delay, [way; 300]);
        assert_eq!(delay.wanted(), way + 20 * MS);
    }
}
