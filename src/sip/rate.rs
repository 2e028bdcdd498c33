//! How many calls are let in within a second, and whose: the rate is exact, and who floods has no more of it than the others leave.

use super::sources::source_of;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The calls of the last second, and who wants more.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// When they were let in, oldest first: exact for any second.
    let_in: VecDeque<(Instant, IpAddr)>,
    sources: HashMap<IpAddr, Demand>,
    /// When the seconds in which attempts are counted began.
    since: Option<Instant>,
}

/// What one source had and wanted.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    /// Of the calls that were let in within the last second.
    has: usize,
    /// Calls that it tried in this second of the count, and in the one before.
    tried: usize,
    tried_before: usize,
}

impl Demand {
    fn wants(self, share: usize) -> usize {
        self.tried.max(self.tried_before).min(share)
    }
}

impl Rate {
    /// Lets one call of `peer` in, unless that were more than `per_second` in some second, or more than an equal share where the
    /// others want theirs.
    pub(crate) fn admit(&mut self, now: Instant, peer: IpAddr, per_second: u32) -> bool {
        let (source, per_second) = (source_of(peer), per_second as usize);
        self.pass(now);
        if self.sources.len() < MOST_SOURCES || self.sources.contains_key(&source) {
            let demand = self.sources.entry(source).or_default();
            demand.tried = demand.tried.saturating_add(1);
        }
        if self.let_in.len() >= per_second || !self.leaves_room(source, per_second) {
            return false;
        }
        self.let_in.push_back((now, source));
        if let Some(demand) = self.sources.get_mut(&source) {
            demand.has += 1;
        }
        true
    }

    /// Whether one more call of `source` lies within its share, or leaves the others what they want of theirs.
    fn leaves_room(&self, source: IpAddr, per_second: usize) -> bool {
        let share = (per_second / self.sources.len().max(1)).max(1);
        let own = self.sources.get(&source).map_or(share, |demand| demand.has);
        own < share || {
            let others = self.sources.iter().filter(|(other, _)| **other != source);
            let kept: usize = others.map(|(_, demand)| demand.wants(share).saturating_sub(demand.has)).sum();
            self.let_in.len() + kept < per_second
        }
    }

    /// Forgets what is longer ago than a second.
    fn pass(&mut self, now: Instant) {
        while let Some((at, source)) = self.let_in.front().copied() {
            if now.saturating_duration_since(at) < SECOND {
                break;
            }
            self.let_in.pop_front();
            if let Some(demand) = self.sources.get_mut(&source) {
                demand.has = demand.has.saturating_sub(1);
            }
        }
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed >= SECOND {
            self.since = Some(now);
            let recent = passed < 2 * SECOND;
            self.sources.retain(|_, demand| {
                demand.tried_before = if recent { demand.tried } else { 0 };
                demand.tried = 0;
                demand.tried_before > 0 || demand.has > 0
            });
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Sources of which is known what they want; one that comes on top has what is left.
const MOST_SOURCES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(n: u8) -> IpAddr {
        [127, 0, 0, n].into()
    }

    /// Calls that each of `sources`, who try so many a second at even distances, gets in the last of `seconds`.
    fn offered(sources: &[u64], seconds: u64, per_second: u32) -> Vec<usize> {
        let start = crate::base::clock::now().at;
        let mut tries: Vec<(u64, u8)> = (1..)
            .zip(sources)
            .flat_map(|(n, calls)| (0..calls * seconds).map(move |i| (i * 1_000_000 / calls + u64::from(n), n)))
            .collect();
        tries.sort_unstable();
        let mut rate = Rate::default();
        let mut got = vec![0; sources.len()];
        for (at, n) in tries {
            let let_in = rate.admit(start + Duration::from_micros(at), peer(n), per_second);
            got[usize::from(n) - 1] += usize::from(let_in && at >= (seconds - 1) * 1_000_000);
        }
        got
    }

    #[test]
    fn one_source_alone_has_all_of_it() {
        assert_eq!(offered(&[30], 3, 100), [30]);
        let got = offered(&[2000], 5, 100)[0];
        assert!((99..=101).contains(&got), "{got}");
    }

    #[test]
    fn a_flood_of_one_source_takes_nothing_from_who_stays_within_its_share() {
        let got = offered(&[2000, 50], 5, 100);
        assert!(got[1] >= 49 && (48..=52).contains(&got[0]), "{got:?}");
        let got = offered(&[2000, 10, 20], 5, 100);
        assert!(got[1] == 10 && got[2] == 20 && (68..=72).contains(&got[0]), "{got:?}");
    }

    #[test]
    fn two_floods_share_alike() {
        let got = offered(&[1000, 3000], 5, 100);
        assert!(got.iter().all(|got| (45..=55).contains(got)), "{got:?}");
    }

    #[test]
    fn memory_does_not_grow_with_the_sources_and_is_given_back() {
        let start = crate::base::clock::now().at;
        let mut rate = Rate::default();
        for n in 0..10_000_u32 {
            rate.admit(start, IpAddr::V4(n.into()), 100);
        }
        assert_eq!((rate.sources.len(), rate.let_in.len()), (MOST_SOURCES, 100));
        rate.admit(start + 3 * SECOND, peer(1), 100);
        assert_eq!((rate.sources.len(), rate.let_in.len()), (1, 1));
    }

    proptest! {
        #[test]
        fn no_second_ever_lets_in_more_than_the_rate(tries in proptest::collection::vec((0_u64..50, 0_u8..5), 1..400)) {
            let start = crate::base::clock::now().at;
            let (mut rate, mut at, mut let_in) = (Rate::default(), 0, Vec::new());
            for (wait, n) in tries {
                at += wait;
                if rate.admit(start + Duration::from_millis(at), peer(n), 10) {
                    let_in.push(at);
                }
            }
            for at in &let_in {
                prop_assert!(let_in.iter().filter(|other| (*at..at + 1000).contains(other)).count() <= 10);
            }
        }
    }
}
