//! How long a lost socket is opened again: quickly at first, and not for ever.

use std::time::{Duration, Instant};

/// One outage: from the first failure until recognition works again.
#[derive(Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    attempts: usize,
}

impl Outage {
    /// A socket was lost or not opened. Returns the pause before the next attempt, or `None` when `budget` is used up.
    pub(super) fn failed(&mut self, now: Instant, budget: Duration) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let pause = PAUSES.get(self.attempts).or(PAUSES.last()).copied().unwrap_or_default();
        self.attempts += 1;
        (now + pause <= since + budget).then_some(pause)
    }

    /// Recognition works.
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }
}

const PAUSES: &[Duration] =
    &[Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(1000), Duration::from_millis(2000)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_the_budget_is_used_up_and_start_anew_after_recovery() {
        let mut now = crate::base::clock::now().at;
        let budget = Duration::from_secs(10);
        let mut outage = Outage::default();
        let mut pauses = Vec::new();
        while let Some(pause) = outage.failed(now, budget) {
            now += pause;
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [100, 300, 1000, 2000, 2000, 2000, 2000]);
        outage.over();
        assert_eq!(outage.failed(now, budget), Some(Duration::from_millis(100)));
    }
}
