//! The 20 ms grid of one stream: slots at `origin + n * 20 ms`, never at `now + 20 ms`, so that lateness never adds up.

use std::time::{Duration, Instant};

/// Where the stream stands on its grid.
#[derive(Clone, Debug)]
pub struct Grid {
    next: Instant,
}

impl Grid {
    /// A grid through `origin`, standing at its first slot not before `now`.
    #[must_use]
    pub fn new(origin: Instant, now: Instant) -> Self {
        let behind = now.saturating_duration_since(origin);
        let slots = behind.as_nanos().div_ceil(SLOT.as_nanos());
        Self { next: origin + times(slots) }
    }

    /// The next slot.
    #[must_use]
    pub const fn next(&self) -> Instant {
        self.next
    }

    /// How many slots are due at `now`.
    #[must_use]
    pub fn due(&self, now: Instant) -> u128 {
        match now.checked_duration_since(self.next) {
            Some(late) => late.as_nanos() / SLOT.as_nanos() + 1,
            None => 0,
        }
    }

    /// Takes the next slot.
    pub fn take(&mut self) -> Instant {
        let slot = self.next;
        self.next += SLOT;
        slot
    }

    /// Leaves out `slots` slots.
    pub fn skip(&mut self, slots: u128) {
        self.next += times(slots);
    }
}

fn times(slots: u128) -> Duration {
    SLOT.saturating_mul(u32::try_from(slots).unwrap_or(u32::MAX))
}

/// Time of a slot.
pub const SLOT: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_stay_on_the_grid_however_late_they_are_taken() {
        let origin = crate::base::clock::now().at;
        let mut grid = Grid::new(origin, origin + Duration::from_millis(50));
        assert_eq!(grid.next(), origin + Duration::from_millis(60));
        assert_eq!(grid.due(origin + Duration::from_millis(59)), 0);
        for hour in 0..180_000_u32 {
            let late = Duration::from_micros(u64::from(hour * 7919 % 19_000));
            assert_eq!(grid.due(grid.next() + late), 1);
            grid.take();
        }
        assert_eq!(grid.next(), origin + Duration::from_millis(60) + Duration::from_secs(3600));
    }

    #[test]
    fn missed_slots_are_counted_and_can_be_left_out() {
        let origin = crate::base::clock::now().at;
        let mut grid = Grid::new(origin, origin);
        let now = origin + Duration::from_millis(95);
        assert_eq!(grid.due(now), 5);
        grid.skip(3);
        assert_eq!(grid.due(now), 2);
    }
}
