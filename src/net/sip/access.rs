//! What of strangers comes in at all (`sip.allow_from`), asked by the sockets before anything is copied or kept.

use crate::base::metric;
use crate::sip::{Bucket, Endpoint, Grant, STRANGERS, Settings, Sources};
use parking_lot::Mutex;
use std::net::IpAddr;
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
    /// What each source may send, those in the list too.
    sources: Mutex<Sources>,
}

impl Access {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            dialled: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            strangers: Mutex::new(Bucket::full(STRANGERS)),
            sources: Mutex::new(Sources::new(grant(settings))),
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

    /// Whether a datagram is worth keeping: of strangers only what may answer us, and as many others as will get a 403; of nobody
    /// more than a peer sends that places all the calls that are allowed.
    pub(super) fn takes_datagram(&self, now: Instant, peer: IpAddr, bytes: &[u8]) -> bool {
        if self.serves(peer) || self.asked.load(Ordering::Relaxed) && bytes.starts_with(b"SIP/") {
            if self.sources.lock().take(now, peer) {
                return true;
            }
            metrics::counter!(metric::SIP_REFUSED_TOTAL, "reason" => "source_flood").increment(1);
            return false;
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

/// A call has some ten messages, each of which may come twice; when the calls of a whole gateway end at once that is one each.
fn grant(settings: &Settings) -> Grant {
    let per_second = settings.max_calls_per_second.saturating_mul(20).max(LEAST_PER_SECOND);
    let calls = u32::try_from(settings.max_calls).unwrap_or(u32::MAX);
    Grant { burst: per_second.saturating_add(calls), per_second }
}

/// Even where few calls are allowed a peer may ask and repeat so often.
const LEAST_PER_SECOND: u32 = 1000;

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
        let busy = Access::new(&Settings { max_calls_per_second: 1, max_calls: 10, ..Settings::default() });
        let flood =
            |peer: &str| (0..5000).filter(|_| busy.takes_datagram(now, peer.parse().unwrap(), b"INVITE")).count();
        assert_eq!(
            (flood("127.0.0.1"), flood("127.0.0.1"), flood("127.0.0.2")),
            (1010, 0, 1010),
            "each source has its own"
        );
        let silent = Access::new(&Settings { drop_unknown: true, ..Settings::default() });
        assert!(!silent.takes_datagram(now, far, b"INVITE") && silent.takes_datagram(now, near, b"INVITE"));
    }
}
