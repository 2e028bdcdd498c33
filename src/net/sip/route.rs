//! Which of our addresses a peer sees: a listener on 0.0.0.0 has no address of its own, the route to the peer has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Local addresses by peer.
#[derive(Debug, Default)]
pub(super) struct Routes {
    known: HashMap<IpAddr, (IpAddr, Instant)>,
}

impl Routes {
    /// The listener's address as `peer` can reach it.
    pub(super) fn towards(&mut self, now: Instant, listener: SocketAddr, peer: IpAddr) -> SocketAddr {
        self.towards_by(now, listener, peer, route)
    }

    /// The same where nothing of ours is written into the answer: no route is looked for.
    pub(super) fn unasked(listener: SocketAddr, peer: IpAddr) -> SocketAddr {
        let ip = if listener.ip().is_unspecified() { loopback_of(peer) } else { listener.ip() };
        SocketAddr::new(ip, listener.port())
    }

    fn towards_by(
        &mut self,
        now: Instant,
        listener: SocketAddr,
        peer: IpAddr,
        route: impl FnOnce(IpAddr) -> Option<IpAddr>,
    ) -> SocketAddr {
        if !listener.ip().is_unspecified() {
            return listener;
        }
        if let Some((ip, _)) = self.known.get(&peer).filter(|(_, found)| now.saturating_duration_since(*found) < KEPT) {
            return SocketAddr::new(*ip, listener.port());
        }
        self.known.remove(&peer);
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        // Without a route now there may be one with the next message.
        let Some(ip) = route(peer) else { return Self::unasked(listener, peer) };
        self.known.insert(peer, (ip, now));
        SocketAddr::new(ip, listener.port())
    }
}

/// Connecting a datagram socket sends nothing; it makes the kernel choose the source address.
fn route(peer: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let found = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((peer, 9))?;
        socket.local_addr()
    });
    found.ok().map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
}

fn loopback_of(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// How long a route is believed: an interface may come, go, or get another address.
const KEPT: Duration = Duration::from_secs(60);

/// Peers remembered; a trunk has a handful.
const MAX_KNOWN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn an_unspecified_listener_takes_the_address_of_the_route() {
        let mut routes = Routes::default();
        let now = clock::now().at;
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(routes.towards(now, "0.0.0.0:5060".parse().unwrap(), loopback), "127.0.0.1:5060".parse().unwrap());
        assert_eq!(routes.towards(now, "192.0.2.1:5060".parse().unwrap(), loopback), "192.0.2.1:5060".parse().unwrap());
        for i in 0..MAX_KNOWN as u32 + 10 {
            routes.towards(now, "0.0.0.0:5060".parse().unwrap(), Ipv4Addr::from(0x7f00_0002 + i).into());
        }
        assert!(routes.known.len() <= MAX_KNOWN);
    }

    #[test]
    fn a_route_is_believed_for_a_minute_and_a_missing_one_not_at_all() {
        let (start, mut routes) = (clock::now().at, Routes::default());
        let (listener, peer) = ("0.0.0.0:5060".parse().unwrap(), "192.0.2.9".parse().unwrap());
        let [one, two]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let mut at = |seconds, found| {
            routes.towards_by(start + Duration::from_secs(seconds), listener, peer, |_| found).ip().to_string()
        };
        assert_eq!(at(0, None), "127.0.0.1");
        assert_eq!(at(0, Some(one)), "192.0.2.1");
        assert_eq!(at(59, Some(two)), "192.0.2.1");
        assert_eq!(at(60, Some(two)), "192.0.2.2");
        assert_eq!(at(120, None), "127.0.0.1");
        assert_eq!(at(120, Some(one)), "192.0.2.1");
    }
}
