//! The one place that reads the clocks. Pure layers must not import this file (`tests/layers.rs`): they get a `Now`.

use super::time::Now;
use std::time::{Instant, SystemTime};

/// Reads both clocks.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one reader of the clocks")]
pub fn now() -> Now {
    Now { at: Instant::now(), wall: SystemTime::now() }
}
