//! RTP ports: even ones with their odd neighbours (RFC 3550 section 11), each resting after a call, else the next caller hears the last one.

pub use super::port_warnings::{PortWarning, warnings};

use crate::base::clock;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Why there is no port pool.
#[derive(Debug, Error)]
pub enum PortError {
    /// No even port with an odd one after it.
    #[error("media.port_range {first}-{last} has no pair of an even port and the odd one after it")]
    Range {
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
    },
    /// The address is not one of this machine.
    #[error("media.bind_address {address}: {source}")]
    Bind {
        /// The address.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// The ports that calls take from and give back to.
#[derive(Debug)]
pub struct PortPool {
    bind: IpAddr,
    rest: Duration,
    /// Free pairs by their even port, the longest free first, with the time they were given back.
    idle: Mutex<VecDeque<(u16, Option<Instant>)>>,
}

/// A pair of bound sockets; dropping it gives the pair back to rest.
#[derive(Debug)]
pub struct ReservedPort {
    pool: Arc<PortPool>,
    port: u16,
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl PortPool {
    /// A pool of the pairs in `range`, bound to `bind`, each resting for `rest` between two calls.
    ///
    /// # Errors
    /// When the range holds no pair, or the address cannot be bound.
    pub fn new(bind: IpAddr, range: RangeInclusive<u16>, rest: Duration) -> Result<Arc<Self>, PortError> {
        let (first, last) = (*range.start(), *range.end());
        let mut idle: VecDeque<_> = pairs(&range).map(|port| (port, None)).collect();
        if idle.is_empty() {
            return Err(PortError::Range { first, last });
        }
        UdpSocket::bind((bind, 0)).map_err(|source| PortError::Bind { address: bind, source })?;
        // A process that starts again does not begin with the ports of the one before.
        let turn = fastrand::usize(..idle.len());
        idle.rotate_left(turn);
        Ok(Arc::new(Self { bind, rest, idle: Mutex::new(idle) }))
    }

    /// Takes a pair at the pool's own address; `None` when all are in use or resting, or taken by other programs.
    #[must_use]
    pub fn reserve(self: &Arc<Self>) -> Option<ReservedPort> {
        self.reserve_at(self.bind)
    }

    /// Takes a pair at `address`, which a pool that is bound to one address passes over for its own. The family is that of
    /// `address`: a socket of one family hears nothing of the other.
    #[must_use]
    pub fn reserve_at(self: &Arc<Self>, address: IpAddr) -> Option<ReservedPort> {
        let address = if self.bind.is_unspecified() { address } else { self.bind };
        let open = |port| bind_pair(address, port).or_else(|error| bind_any(address, port, error));
        let (port, (rtp, rtcp)) = self.take(open)?;
        Some(ReservedPort { pool: Arc::clone(self), port, rtp, rtcp })
    }

    /// The next pair that can be opened.
    fn take<T>(&self, open: impl Fn(u16) -> io::Result<T>) -> Option<(u16, T)> {
        for _ in 0..MOST_TRIES {
            let now = clock::now().at;
            let (port, since) = {
                let mut idle = self.idle.lock();
                let &(port, since) = idle.front()?;
                if since.is_some_and(|since| now.saturating_duration_since(since) < self.rest) {
                    return None;
                }
                idle.pop_front();
                (port, since)
            };
            match open(port) {
                Ok(opened) => return Some((port, opened)),
                // Held by another program, or kept from us by the system's policy: others may still be had.
                Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
                    tracing::debug!(port, %error, "RTP port passed over");
                    self.give_back(port);
                }
                // Files or memory have run out, and not by this pair's fault: the next call may have it.
                Err(error) => {
                    tracing::error!(port, %error, "RTP port cannot be opened");
                    self.idle.lock().push_front((port, since));
                    return None;
                }
            }
        }
        None
    }

    /// Pairs that are not in use (some of them may rest).
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.lock().len()
    }

    fn give_back(&self, port: u16) {
        self.idle.lock().push_back((port, Some(clock::now().at)));
    }
}

impl ReservedPort {
    /// The RTP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its socket, non-blocking.
    pub(super) const fn socket(&self) -> &UdpSocket {
        &self.rtp
    }

    /// The socket of RTCP, on the odd port; non-blocking, and the kernel notes when its datagrams come.
    pub(super) const fn control(&self) -> &UdpSocket {
        &self.rtcp
    }
}

impl Drop for ReservedPort {
    fn drop(&mut self) {
        self.pool.give_back(self.port);
    }
}

pub(super) fn pairs(range: &RangeInclusive<u16>) -> impl Iterator<Item = u16> + use<> {
    let last = *range.end();
    range.clone().filter(move |port| *port > 0 && port % 2 == 0 && *port < last)
}

fn bind_pair(address: IpAddr, port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
    let rtp = bind(SocketAddr::new(address, port))?;
    // Expedited forwarding (RFC 3246); a system that refuses carries the call all the same.
    let _ = match address {
        IpAddr::V4(_) => rtp.set_tos_v4(EXPEDITED_FORWARDING),
        IpAddr::V6(_) => rtp.set_tclass_v6(EXPEDITED_FORWARDING),
    };
    let rtcp = bind(SocketAddr::new(address, port + 1))?;
    // A handful of reports: a flood is dropped by the kernel. A system without the times measures more roughly.
    let _ = rtcp.set_recv_buffer_size(REPORTS);
    let _ = setsockopt(&rtcp, ReceiveTimestampns, &true);
    Ok((rtp.into(), rtcp.into()))
}

/// Where `address` has gone from this machine meanwhile: all addresses of its family.
fn bind_any(address: IpAddr, port: u16, error: io::Error) -> io::Result<(UdpSocket, UdpSocket)> {
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    if error.kind() == io::ErrorKind::AddrNotAvailable && any != address { bind_pair(any, port) } else { Err(error) }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // One family a socket, whatever the system's default is: peers of the other would show up as other addresses.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Ports that other programs hold are passed over, but not without end.
const MOST_TRIES: usize = 64;
/// Bytes that the kernel keeps for RTCP, which is read seldom.
const REPORTS: usize = 4096;
const EXPEDITED_FORWARDING: u32 = 46 << 2;

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A range of `pairs` pairs that were free a moment ago.
    fn free_range(pairs: u16) -> RangeInclusive<u16> {
        let first = UdpSocket::bind((HERE, 0)).unwrap().local_addr().unwrap().port().min(60_000) & !1;
        first..=first + 2 * pairs - 1
    }

    #[test]
    fn pairs_are_even_and_have_their_neighbour_in_the_range() {
        assert_eq!(pairs(&(20_000..=20_005)).collect::<Vec<_>>(), [20_000, 20_002, 20_004]);
        assert_eq!(pairs(&(20_001..=20_004)).collect::<Vec<_>>(), [20_002]);
        assert_eq!(pairs(&(65_534..=65_535)).collect::<Vec<_>>(), [65_534]);
        assert!(matches!(PortPool::new(HERE, 20_001..=20_002, Duration::ZERO), Err(PortError::Range { .. })));
        #[expect(clippy::reversed_empty_ranges, reason = "what a wrong configuration would ask for")]
        let reversed = 30_000..=20_000;
        assert!(PortPool::new(HERE, reversed, Duration::ZERO).is_err());
    }

    #[test]
    fn an_address_of_another_machine_is_told_at_start() {
        let elsewhere = IpAddr::from([203, 0, 113, 1]);
        let error = PortPool::new(elsewhere, 20_000..=20_001, Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("203.0.113.1"), "{error}");
    }

    #[test]
    fn ports_in_use_are_not_given_twice_and_used_ones_rest() {
        let pool = PortPool::new(HERE, free_range(3), Duration::from_secs(3600)).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| pool.reserve()).collect();
        assert!(!taken.is_empty());
        let mut ports: Vec<u16> = taken.iter().map(ReservedPort::port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), taken.len());
        assert!(ports.iter().all(|port| port % 2 == 0));
        drop(taken);
        assert_eq!(pool.idle(), 3);
        assert!(pool.reserve().is_none(), "it has not rested");
    }

    #[test]
    fn a_rested_port_is_given_again_the_longest_free_first() {
        let pool = PortPool::new(HERE, free_range(2), Duration::ZERO).unwrap();
        let Some(first) = pool.reserve() else { return };
        let port = first.port();
        drop(first);
        let order: Vec<u16> = pool.idle.lock().iter().map(|(port, _)| *port).collect();
        assert_eq!(order.last(), Some(&port));
        assert!(pool.reserve().is_some());
    }

    #[test]
    fn a_pair_of_which_another_program_has_one_is_passed_over() {
        let range = free_range(1);
        let Ok(_other) = UdpSocket::bind((HERE, *range.end())) else { return };
        let pool = PortPool::new(HERE, range, Duration::ZERO).unwrap();
        assert!(pool.reserve().is_none());
        assert_eq!(pool.idle(), 1);
    }

    #[test]
    fn a_system_that_has_run_out_of_files_costs_no_pair_its_place() {
        let pool = PortPool::new(HERE, free_range(100), Duration::from_secs(3600)).unwrap();
        let before = pool.idle.lock().clone();
        for _ in 0..10 {
            let full: Option<(u16, ())> = pool.take(|_| Err(nix::Error::EMFILE.into()));
            assert!(full.is_none());
        }
        assert_eq!(*pool.idle.lock(), before);
        let (port, held) = (before[0].0, std::cell::Cell::new(true));
        let taken = pool.take(|port| if held.take() { Err(nix::Error::EADDRINUSE.into()) } else { Ok(port) });
        assert_eq!(taken, Some((before[1].0, before[1].0)));
        let (refused, third) = (before[2].0, before[3].0);
        let taken = pool.take(|port| if port == refused { Err(nix::Error::EACCES.into()) } else { Ok(port) });
        assert_eq!(taken, Some((third, third)), "one that the system keeps from us holds up no other");
        let idle = pool.idle.lock();
        let resting: Vec<u16> = idle.iter().filter(|(_, since)| since.is_some()).map(|(port, _)| *port).collect();
        assert_eq!(resting, [port, refused], "what cannot be had rests");
    }

    #[test]
    fn an_unspecified_pool_binds_where_the_call_is_and_a_specified_one_where_it_says() {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let bound = |pool: IpAddr, call: IpAddr| {
            let pool = PortPool::new(pool, free_range(20), Duration::ZERO).unwrap();
            pool.reserve_at(call).unwrap().rtp.local_addr().unwrap().ip()
        };
        assert_eq!(bound(any, HERE), HERE);
        assert_eq!(bound(any, any), any);
        assert_eq!(bound(HERE, any), HERE);
        assert_eq!(bound(any, IpAddr::from([203, 0, 113, 1])), any, "an address that has gone");
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        if UdpSocket::bind((v6, 0)).is_ok() {
            assert_eq!(bound(any, v6), v6, "a call over IPv6 gets IPv6");
            assert_eq!(bound(any, IpAddr::V6(Ipv6Addr::UNSPECIFIED)), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        }
    }
}
