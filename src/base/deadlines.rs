//! All timers of one machine in one table: set, stop, next, expired. No handles, and tests can ask what is armed.

use std::time::Instant;

/// A table of named deadlines. A machine has a handful, so a scan of a short vector beats any tree.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    armed: Vec<(K, Instant)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { armed: Vec::new() }
    }
}

impl<K: Copy + Eq> Deadlines<K> {
    /// Arms `key` for `at`, replacing an earlier setting.
    pub fn set(&mut self, key: K, at: Instant) {
        match self.armed.iter_mut().find(|(k, _)| *k == key) {
            Some(entry) => entry.1 = at,
            None => self.armed.push((key, at)),
        }
    }

    /// Disarms `key`; true when it was armed.
    pub fn stop(&mut self, key: K) -> bool {
        let before = self.armed.len();
        self.armed.retain(|(k, _)| *k != key);
        before != self.armed.len()
    }

    /// Disarms everything.
    pub fn clear(&mut self) {
        self.armed.clear();
    }

    /// When `key` is armed for.
    #[must_use]
    pub fn armed(&self, key: K) -> Option<Instant> {
        self.armed.iter().find(|(k, _)| *k == key).map(|(_, at)| *at)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.armed.iter().map(|(_, at)| *at).min()
    }

    /// Takes out the earliest deadline that is due at `now`; call until `None`.
    pub fn expired(&mut self, now: Instant) -> Option<K> {
        let index = self
            .armed
            .iter()
            .enumerate()
            .filter(|(_, (_, at))| *at <= now)
            .min_by_key(|(_, (_, at))| *at)
            .map(|(index, _)| index)?;
        Some(self.armed.swap_remove(index).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_earliest_due_deadline_comes_out_first_and_only_once() {
        let start = crate::base::clock::now().at;
        let mut deadlines = Deadlines::default();
        deadlines.set('b', start + Duration::from_secs(2));
        deadlines.set('a', start + Duration::from_secs(1));
        deadlines.set('c', start + Duration::from_secs(9));
        assert_eq!(deadlines.next(), Some(start + Duration::from_secs(1)));
        let late = start + Duration::from_secs(3);
        assert_eq!(deadlines.expired(late), Some('a'));
        assert_eq!(deadlines.expired(late), Some('b'));
        assert_eq!(deadlines.expired(late), None);
        assert!(deadlines.stop('c'));
        assert_eq!(deadlines.next(), None);
    }
}
