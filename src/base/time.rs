//! Time as a value: machines are told what time it is, they never ask.

use std::time::{Duration, Instant, SystemTime};

/// One reading of both clocks, taken together at the rim (`base::clock`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: for deadlines and durations.
    pub at: Instant,
    /// Wall clock: for records that people read.
    pub wall: SystemTime,
}

impl Now {
    /// The same reading `by` later on both clocks. For simulated time.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self { at: self.at + by, wall: self.wall + by }
    }
}
