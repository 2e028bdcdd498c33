//! Where a message came from and where one goes (RFC 3261 section 18), as values: the sockets are the rim's.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A transport protocol, as Via and URIs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams: retransmission is the transactions' work.
    Udp,
    /// A stream, framed by Content-Length.
    Tcp,
    /// A stream inside TLS.
    Tls,
}

impl Transport {
    /// Whether the transport delivers by itself, so that transactions need no retransmission.
    #[must_use]
    pub fn reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The name in Via.
    #[must_use]
    pub fn as_via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// The port of a host that names none (RFC 3261 section 19.1.2).
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}

/// One path between us and a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The protocol.
    pub transport: Transport,
    /// Which of the rim's UDP sockets; unused for streams.
    pub socket: usize,
    /// Which stream connection, 0 where there is none: the rim then uses, or opens, one to `remote`.
    pub connection: u64,
    /// Our listening address as this peer can reach it: never unspecified.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
}

impl Flow {
    /// The same path to another address of the peer.
    #[must_use]
    pub fn towards(self, remote: SocketAddr) -> Self {
        Self { remote, ..self }
    }
}

/// Whether `named`, an address that a peer gives as its own, cannot be reached from where its messages come from: it is private
/// and they come from a public address, so that a translator stands between.
pub(crate) fn is_hidden(named: IpAddr, source: IpAddr) -> bool {
    let (named, source) = (named.to_canonical(), source.to_canonical());
    is_private(named) && !is_private(source) || named.is_loopback() && !source.is_loopback()
}

/// Addresses that mean something else, or nothing, to the next network (RFC 1918, 3927, 4193, 6598).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(four) => {
            let [a, b, ..] = four.octets();
            let carrier_grade = a == 100 && b & 0xc0 == 64;
            four.is_private() || four.is_loopback() || four.is_link_local() || four.is_unspecified() || carrier_grade
        }
        IpAddr::V6(six) => {
            six.is_loopback() || six.is_unspecified() || six.is_unique_local() || six.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_address_is_hidden_from_a_public_one_only() {
        for (named, source, hidden) in [
            ("10.0.0.1", "192.0.2.1", true),
            ("100.64.0.1", "192.0.2.1", true),
            ("100.128.0.1", "192.0.2.1", false),
            ("::ffff:172.16.0.1", "192.0.2.1", true),
            ("fd00::1", "2001:db8::1", true),
            ("fe80::1", "2001:db8::1", true),
            ("10.0.0.1", "192.168.0.1", false),
            ("192.0.2.7", "192.0.2.1", false),
            ("192.0.2.7", "10.0.0.1", false),
            ("127.0.0.1", "10.0.0.1", true),
            ("127.0.0.2", "127.0.0.1", false),
        ] {
            assert_eq!(is_hidden(named.parse().unwrap(), source.parse().unwrap()), hidden, "{named} {source}");
        }
    }
}
