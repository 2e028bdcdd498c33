//! The session limit of Speech to Text (Watson facts 2.2): at least half of any 30 seconds must arrive as audio.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Counts audio over a sliding window, in slices of a thirtieth of it.
#[derive(Debug)]
pub(super) struct SessionLimit {
    window: Duration,
    since: Instant,
    slices: VecDeque<(Instant, Duration)>,
}

impl SessionLimit {
    /// The window opens at `now`.
    pub(super) fn new(window: Duration, now: Instant) -> Self {
        Self { window, since: now, slices: VecDeque::new() }
    }

    /// The window opens anew at `now`.
    pub(super) fn restart(&mut self, now: Instant) {
        self.since = now;
        self.slices.clear();
    }

    /// So much audio arrived.
    pub(super) fn audio(&mut self, now: Instant, length: Duration) {
        match self.slices.back_mut() {
            Some((opened, sum)) if now < *opened + self.window / SLICES => *sum += length,
            _ => self.slices.push_back((now, length)),
        }
        let window = self.window + self.window / SLICES;
        while self.slices.front().is_some_and(|(opened, _)| *opened + window < now) {
            self.slices.pop_front();
        }
    }

    /// Whether nothing at all arrived within the window.
    pub(super) fn nothing(&self) -> bool {
        self.slices.is_empty()
    }

    /// When the session times out if no more audio comes.
    pub(super) fn deadline(&self) -> Instant {
        let mut sum = Duration::ZERO;
        for (opened, length) in self.slices.iter().rev() {
            sum += *length;
            if sum >= self.window / 2 {
                return (*opened + self.window / SLICES + self.window).max(self.since + self.window);
            }
        }
        self.since + self.window
    }
}

const SLICES: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FRAME: Duration = Duration::from_millis(100);

    #[test]
    fn real_time_never_times_out_and_silence_does_after_the_window() {
        let start = crate::base::clock::now().at;
        let mut limit = SessionLimit::new(30 * SECOND, start);
        assert_eq!(limit.deadline(), start + 30 * SECOND);
        let mut now = start;
        for _ in 0..1_000 {
            now += FRAME;
            limit.audio(now, FRAME);
            assert!(limit.deadline() > now);
        }
        assert!(limit.slices.len() <= 32, "bounded: {}", limit.slices.len());
        let stopped = limit.deadline() - now;
        assert!((15 * SECOND..17 * SECOND).contains(&stopped), "half the window after the last audio: {stopped:?}");
    }

    #[test]
    fn a_little_less_than_half_real_time_is_too_slow() {
        let start = crate::base::clock::now().at;
        for (share, survives) in [(0.45, false), (0.55, true)] {
            let mut limit = SessionLimit::new(30 * SECOND, start);
            let mut now = start;
            while now < start + 60 * SECOND && limit.deadline() > now {
                now += FRAME;
                limit.audio(now, FRAME.mul_f64(share));
            }
            assert_eq!(now >= start + 60 * SECOND, survives, "{share} of real time");
        }
    }

    #[test]
    fn a_burst_counts_for_one_window() {
        let start = crate::base::clock::now().at;
        let mut limit = SessionLimit::new(30 * SECOND, start);
        limit.audio(start + SECOND, 40 * SECOND);
        let end = limit.deadline() - start;
        assert!((30 * SECOND..33 * SECOND).contains(&end), "{end:?}");
        limit.restart(start + 20 * SECOND);
        assert!(limit.nothing());
        assert_eq!(limit.deadline(), start + 50 * SECOND);
    }
}
