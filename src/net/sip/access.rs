//! What of strangers comes in at all (`sip.allow_from`), asked by the sockets before anything is copied or kept.

use crate::base::metric;
use crate::sip::{Bucket, Endpoint, Settings};
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Shared by the driver and all its sockets.
#[derive(Debug)]
pub(super) struct Access {
    settings: Settings,
    /// Calls of our own are up: their peers need not be in the list.
    dialled: AtomicBool,
    /// Requests of ours may be unanswered.
    asked: AtomicBool,
    strangers: Mutex<Bucket>,
}

impl Access {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            dialled: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            strangers: Mutex::new(Bucket::for_strangers()),
        }
    }

    /// The driver says how the endpoint stands.
    pub(super) fn tell(&self, endpoint: &Endpoint) {
        self.dialled.store(endpoint.has_dialled(), Ordering::Relaxed);
        self.asked.store(endpoint.has_asked(), Ordering::Relaxed);
    }

    /// Whether a peer may be served as one of ours: stream connections, and what costs a look at the routes.
    pub(super) fn serves(&self, peer: IpAddr) -> bool {
        self.settings.allows(peer) || self.dialled.load(Ordering::Relaxed)
    }

    /// Whether a datagram is worth keeping: of strangers only what may answer us, and as many others as will get a 403.
    pub(super) fn takes_datagram(&self, now: Instant, peer: IpAddr, bytes: &[u8]) -> bool {
        if self.serves(peer) || self.asked.load(Ordering::Relaxed) && bytes.starts_with(b"SIP/") {
            return true;
        }
        let reason = if self.settings.drop_unknown {
            "stranger_dropped"
        } else if self.strangers.lock().take(now) {
            return true;
        } else {
            "stranger_flood"
        };
        metrics::counter!(metric::SIP_REFUSED_TOTAL, "reason" => reason).increment(1);
        false
    }
}

/// What counts as one source: an IPv6 network has 2^64 addresses for whoever owns it.
pub(super) fn source_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() >> 64 << 64).into(),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn strangers_are_let_in_for_what_they_may_do_only() {
        let now = clock::now().at;
        let (near, far): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let access = Access::new(&Settings::default());
        let taken = |peer, bytes: &[u8]| (0..100).filter(|_| access.takes_datagram(now, peer, bytes)).count();
        assert!(access.serves(near) && !access.serves(far));
        assert_eq!((taken(near, b"INVITE"), taken(far, b"INVITE"), taken(far, b"SIP/2.0 200")), (100, 20, 0));
        access.asked.store(true, Ordering::Relaxed);
        assert_eq!((taken(far, b"INVITE"), taken(far, b"SIP/2.0 200")), (0, 100));
        access.dialled.store(true, Ordering::Relaxed);
        assert!(access.serves(far));
        assert_eq!(taken(far, b"INVITE"), 100);
        let silent = Access::new(&Settings { drop_unknown: true, ..Settings::default() });
        assert!(!silent.takes_datagram(now, far, b"INVITE") && silent.takes_datagram(now, near, b"INVITE"));
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
