//! The timers of thousands of machines: each keeps its own table of deadlines, one heap knows which machine is next.

use crate::base::Deadlines;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Which machine is to be looked at when. An entry may be stale: the machine then has nothing due.
#[derive(Debug)]
pub(crate) struct Agenda<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
    /// Entries at which those of machines that are gone are looked for.
    tidied_at: usize,
}

/// The deadlines of one machine, and when the agenda will look at it next.
#[derive(Debug)]
pub(crate) struct Alarms<T> {
    deadlines: Deadlines<T>,
    scheduled: Option<Instant>,
}

impl<K: Ord + Copy> Agenda<K> {
    /// The next instant at which something may be due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out a machine that may have something due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, key))| key)
    }

    /// Forgets the entries of machines that are gone, once there are twice as many entries as were left the last time: the timer of a
    /// session would keep its place for half an hour after the call.
    pub(crate) fn tidy(&mut self, lives: impl Fn(K) -> bool) {
        if self.heap.len() >= self.tidied_at {
            self.heap.retain(|Reverse((_, key))| lives(*key));
            self.tidied_at = (2 * self.heap.len()).max(FEW);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

impl<K: Ord> Default for Agenda<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), tidied_at: FEW }
    }
}

impl<T: Copy + Eq> Alarms<T> {
    /// Arms `timer`, replacing an earlier setting.
    pub(crate) fn set(&mut self, timer: T, at: Instant) {
        self.deadlines.set(timer, at);
    }

    /// Disarms `timer`.
    pub(crate) fn stop(&mut self, timer: T) {
        self.deadlines.stop(timer);
    }

    /// Disarms all.
    pub(crate) fn clear(&mut self) {
        self.deadlines.clear();
    }

    /// Takes out the next timer due.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<T> {
        // The agenda's entry that led here is used up.
        if self.scheduled.is_some_and(|at| at <= now) {
            self.scheduled = None;
        }
        self.deadlines.expired(now)
    }

    /// Sees to it that the agenda looks at `key` when the next deadline comes. At most a few entries a machine are ever in
    /// the heap: a later deadline waits for the earlier entry.
    pub(crate) fn schedule<K: Ord + Copy>(&mut self, key: K, agenda: &mut Agenda<K>) {
        let Some(next) = self.deadlines.next() else { return };
        if self.scheduled.is_none_or(|at| next < at) {
            self.scheduled = Some(next);
            agenda.heap.push(Reverse((next, key)));
        }
    }
}

/// Entries that are not worth the search.
const FEW: usize = 256;

impl<T> Default for Alarms<T> {
    fn default() -> Self {
        Self { deadlines: Deadlines::default(), scheduled: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_timer_set_again_and_again_keeps_the_heap_small_and_fires_when_due() {
        let start = crate::base::clock::now().at;
        let (mut agenda, mut alarms) = (Agenda::default(), Alarms::default());
        for second in 1..=100 {
            alarms.set('x', start + Duration::from_secs(second));
            alarms.schedule(7u8, &mut agenda);
        }
        assert_eq!(agenda.len(), 1);
        let mut now = start;
        let mut looks = 0;
        let fired = loop {
            now = agenda.next().unwrap().max(now);
            let key = agenda.due(now).unwrap();
            looks += 1;
            if let Some(timer) = alarms.expired(now) {
                break (key, timer);
            }
            alarms.schedule(key, &mut agenda);
        };
        assert_eq!((fired, looks, now), ((7, 'x'), 2, start + Duration::from_secs(100)));
    }

    #[test]
    fn entries_of_machines_that_are_gone_do_not_pile_up_and_those_of_others_stay() {
        let start = crate::base::clock::now().at;
        let mut agenda = Agenda::default();
        let live: Vec<u32> = (0..100).collect();
        for key in 0..100_000 {
            let mut alarms = Alarms::default();
            alarms.set('x', start + Duration::from_secs(1800 + u64::from(key)));
            alarms.schedule(key, &mut agenda);
            agenda.tidy(|key| live.contains(&key));
            assert!(agenda.len() <= FEW, "{}", agenda.len());
        }
        let late = start + Duration::from_secs(1_000_000);
        let due: Vec<u32> = std::iter::from_fn(|| agenda.due(late)).collect();
        assert_eq!(due[..100], live);
    }
}
