//! What was decided a short while ago, so that it is decided the same again: bounded in number and time, the oldest forgotten first.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Decisions `V` by what they were about.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    most: usize,
    known: BTreeMap<K, V>,
    /// Each key of `known` once, with the end of its time.
    order: VecDeque<(Instant, K)>,
}

impl<K: Clone + Ord, V: Copy> Recent<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, known: BTreeMap::new(), order: VecDeque::new() }
    }

    /// What was decided; forgets what is too old.
    pub(crate) fn decided(&mut self, now: Instant, key: &K) -> Option<V> {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
        self.known.get(key).copied()
    }

    /// Remembers a decision until then. The first one of a key stays.
    pub(crate) fn remember(&mut self, until: Instant, key: K, decision: V) {
        if self.known.contains_key(&key) {
            return;
        }
        if self.order.len() >= self.most {
            self.forget_oldest();
        }
        self.known.insert(key.clone(), decision);
        self.order.push_back((until, key));
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.known.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_decision_holds_for_its_time_and_their_number_is_bounded() {
        let start = crate::base::clock::now().at;
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut recent = Recent::new(100);
        recent.remember(at(32), 1, "full");
        recent.remember(at(64), 1, "rate");
        assert_eq!(recent.decided(at(31), &1), Some("full"));
        assert_eq!(recent.decided(at(32), &1), None);
        for n in 0..250 {
            recent.remember(at(64), n, "rate");
        }
        assert_eq!((recent.known.len(), recent.order.len()), (100, 100));
        assert_eq!((recent.decided(at(33), &149), recent.decided(at(33), &150)), (None, Some("rate")));
    }
}
