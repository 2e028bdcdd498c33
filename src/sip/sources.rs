//! What one source is granted: token buckets by source address, in bounded memory.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// So many at once, and so many in every second on the whole.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    grant: Grant,
    left: u32,
    filled: Option<Instant>,
}

/// The size of a bucket and how fast it fills.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    /// At once.
    pub(crate) burst: u32,
    /// In every second.
    pub(crate) per_second: u32,
}

impl Bucket {
    pub(crate) fn new(per_second: u32) -> Self {
        Self::full(Grant { burst: per_second, per_second })
    }

    pub(crate) fn full(grant: Grant) -> Self {
        Self { grant, left: grant.burst, filled: None }
    }

    /// Whether there is one more; leaves it.
    pub(crate) fn has(&mut self, now: Instant) -> bool {
        let grant = self.grant;
        let filled = *self.filled.get_or_insert(now);
        let step = Duration::from_secs(1) / grant.per_second.max(1);
        let grown = now.saturating_duration_since(filled).as_nanos() / step.as_nanos().max(1);
        let grown = u32::try_from(grown).unwrap_or(u32::MAX);
        if grown >= grant.burst.saturating_sub(self.left) {
            (self.left, self.filled) = (grant.burst, Some(now));
        } else {
            (self.left, self.filled) = (self.left + grown, Some(filled + step * grown));
        }
        self.left > 0
    }

    /// Whether there is one more; takes it.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let one = self.has(now);
        self.left = self.left.saturating_sub(1);
        one
    }
}

/// A bucket for each source. Two generations of bounded size: a source that is still heard moves to the young one, and when
/// that is full the old one is forgotten, and with it those that were silent the longest.
#[derive(Debug)]
pub(crate) struct Sources {
    grant: Grant,
    young: HashMap<IpAddr, Bucket>,
    old: HashMap<IpAddr, Bucket>,
}

impl Sources {
    pub(crate) fn new(grant: Grant) -> Self {
        Self { grant, young: HashMap::new(), old: HashMap::new() }
    }

    /// Whether `peer` has one more; leaves it.
    pub(crate) fn has(&mut self, now: Instant, peer: IpAddr) -> bool {
        self.bucket(peer).has(now)
    }

    /// Whether `peer` has one more; takes it.
    pub(crate) fn take(&mut self, now: Instant, peer: IpAddr) -> bool {
        self.bucket(peer).take(now)
    }

    fn bucket(&mut self, peer: IpAddr) -> &mut Bucket {
        let source = source_of(peer);
        if !self.young.contains_key(&source) && self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        let (grant, old) = (self.grant, &mut self.old);
        self.young.entry(source).or_insert_with(|| old.remove(&source).unwrap_or_else(|| Bucket::full(grant)))
    }
}

/// What counts as one source: an IPv6 network has 2^64 addresses for whoever owns it.
pub(crate) fn source_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() >> 64 << 64).into(),
        four => four,
    }
}

/// Sources in one of the two generations.
const GENERATION: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_bucket_gives_its_rate_and_no_more() {
        let start = crate::base::clock::now().at;
        let mut bucket = Bucket::new(20);
        let given = |bucket: &mut Bucket, from: u64, to: u64| {
            (from..to).filter(|at| bucket.take(start + Duration::from_millis(*at))).count()
        };
        assert_eq!(given(&mut bucket, 0, 1), 1);
        assert_eq!((0..100).filter(|_| bucket.take(start)).count(), 19);
        assert_eq!(given(&mut bucket, 0, 1000), 19, "one each 50 ms");
        assert_eq!(given(&mut bucket, 1000, 10_000), 180);
        let later = start + Duration::from_secs(60);
        assert!(bucket.has(later) && bucket.has(later), "to look takes nothing");
        assert_eq!((0..100).filter(|_| bucket.take(later)).count(), 20, "it does not overflow");
        assert!(!bucket.has(later));
    }

    #[test]
    fn each_source_has_its_own_and_the_silent_are_forgotten_first() {
        let now = crate::base::clock::now().at;
        let mut sources = Sources::new(Grant { burst: 1, per_second: 1 });
        let [busy, quiet] = [1, 2].map(|n| IpAddr::from(Ipv4Addr::new(192, 0, 2, n)));
        assert!(sources.take(now, busy) && !sources.take(now, busy));
        assert!(sources.take(now, quiet) && !sources.take(now, quiet));
        for n in 0..3 * GENERATION as u32 {
            sources.take(now, Ipv4Addr::from(0x0a00_0000 + n).into());
            assert!(!sources.take(now, busy), "a flood of others does not fill its bucket");
        }
        assert!(sources.young.len() + sources.old.len() <= 2 * GENERATION);
        assert!(sources.take(now, quiet), "forgotten");
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let source = |ip: &str| source_of(ip.parse().unwrap());
        assert_eq!(source("2001:db8:0:1::7"), source("2001:db8:0:1:ffff::9"));
        assert_ne!(source("2001:db8:0:1::7"), source("2001:db8:0:2::7"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }
}
