//! SIP on real sockets (RFC 3261 section 18): listeners are bound first, then one task owns the endpoint and drives it.
//!
//! What flows where: UDP readers and TCP connections hand whole messages to the driver over one bounded queue (full: UDP waits in
//! the kernel's buffer, TCP stops reading); the driver steps the endpoint, sends what comes out, and gives each call its events
//! over a queue of 32 (full: the leg is ended). Calls give commands over one bounded queue and wait when it is full.

mod access;
mod connections;
mod driver;
mod inlet;
mod leg;
mod limits;
mod route;
mod stream;
mod tls;
mod udp;

pub use leg::{Incoming, Leg, LegCommands, LegEvents, OutLeg, SipHandle};
pub use limits::Limits;
pub use tls::{Certificate, TlsError, TlsFiles, Trust};

use crate::sip::{Settings, Transport};
use driver::Driver;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::str::FromStr;
use std::sync::Arc;
use tls::Tls;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where to listen, as `sip.listen` writes it: `udp:0.0.0.0:5060`, `tcp:[::]:5060`, `tls:0.0.0.0:5061`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Transport.
    pub transport: Transport,
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
}

/// What can go wrong on this edge.
#[derive(Debug, thiserror::Error)]
pub enum SipError {
    /// Not of the form of a listen string.
    #[error("{0:?} is no SIP listener: write udp:, tcp: or tls:ADDRESS:PORT, IPv6 in brackets")]
    Listen(String),
    /// A TLS listener has nothing to show.
    #[error("cannot listen on {0}: set sip.tls.certificate_file and sip.tls.private_key_file")]
    NoCertificate(Listen),
    /// The files of TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The socket could not be bound.
    #[error("cannot listen on {listen}: {source}")]
    Bind {
        /// Where.
        listen: Listen,
        /// Why.
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("no random numbers from the operating system: {0}")]
    Random(getrandom::Error),
    /// The URI of a call to be placed.
    #[error("cannot call {uri:?}: {what}")]
    Uri {
        /// The URI.
        uri: String,
        /// What is wrong with it.
        what: String,
    },
    /// No listener fits the peer.
    #[error("cannot call {remote} by {transport}: no such listener of that address family is open")]
    NoListener {
        /// By which transport.
        transport: Transport,
        /// Whom.
        remote: SocketAddr,
    },
    /// The endpoint's task has ended.
    #[error("the SIP endpoint has stopped")]
    Stopped,
}

/// Sockets that are bound and not yet served.
#[derive(Debug)]
pub struct Bound {
    udp: Vec<(SocketAddr, UdpSocket)>,
    streams: Vec<(Transport, SocketAddr, TcpListener)>,
    tls: Arc<Tls>,
    limits: Limits,
    seed: [u8; 32],
}

/// What sockets need beside their addresses.
#[derive(Clone, Debug, Default)]
pub struct SocketOptions {
    /// Our certificate and key: needed by `tls:` listeners, shown where we connect.
    pub tls: Option<TlsFiles>,
    /// Whom we believe where we connect by TLS.
    pub trust: Trust,
    /// What peers may cost.
    pub limits: Limits,
}

/// Binds every listener; the first that cannot be bound is the error.
pub async fn bind(listen: &[Listen]) -> Result<Bound, SipError> {
    bind_with(listen, SocketOptions::default()).await
}

/// The same with TLS, or with other limits.
pub async fn bind_with(listen: &[Listen], options: SocketOptions) -> Result<Bound, SipError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(SipError::Random)?;
    let SocketOptions { tls, trust, limits } = options;
    let tls = Arc::new(Tls::load(tls, trust)?);
    let mut bound = Bound { udp: Vec::new(), streams: Vec::new(), tls, limits, seed };
    for one in listen {
        let failed = |source| SipError::Bind { listen: *one, source };
        match one.transport {
            Transport::Udp => bound.udp.push(udp::bind(one.address).map_err(failed)?),
            Transport::Tls if !bound.tls.has_files() => return Err(SipError::NoCertificate(*one)),
            Transport::Tcp | Transport::Tls => {
                let (address, listener) = stream::bind(one.address).map_err(failed)?;
                bound.streams.push((one.transport, address, listener));
            }
        }
    }
    Ok(bound)
}

impl Bound {
    /// The listeners with the ports they really have.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<(Transport, SocketAddr)> {
        let udp = self.udp.iter().map(|(address, _)| (Transport::Udp, *address));
        udp.chain(self.streams.iter().map(|(transport, address, _)| (*transport, *address))).collect()
    }

    /// Serves on tasks of `tracker` until `stop`: then calls that are still up are ended by BYE, and the tasks end within
    /// seconds. To drain, call `SipHandle::drain` and wait for `SipHandle::active` to fall to 0 before `stop`.
    ///
    /// Calls that come in wait in the receiver; when nobody takes them they are refused with 500.
    #[must_use]
    pub fn start(
        self,
        settings: Settings,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> (SipHandle, mpsc::Receiver<Incoming>) {
        Driver::start(self, settings, tracker, stop)
    }
}

impl FromStr for Listen {
    type Err = SipError;

    fn from_str(text: &str) -> Result<Self, SipError> {
        let wrong = || SipError::Listen(text.to_owned());
        let (transport, address) = text.trim().split_once(':').ok_or_else(wrong)?;
        let transport = match transport.to_ascii_lowercase().as_str() {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            _ => return Err(wrong()),
        };
        Ok(Self { transport, address: address.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_strings_are_read_and_wrong_ones_named() {
        for text in ["udp:0.0.0.0:5060", "tcp:[::1]:5061", "tls:127.0.0.1:5061"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["", "udp", "udp:5060", "udp:host:5060", "sctp:0.0.0.0:5060", "udp:0.0.0.0:65536", "udp:::1:5060x"]
        {
            assert!(text.parse::<Listen>().unwrap_err().to_string().contains(&format!("{text:?}")), "{text}");
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = bind(&["tcp:127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let taken = Listen { transport: Transport::Tcp, address: first.local_addresses()[0].1 };
        let error = bind(&[taken]).await.unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()), "{error}");
        let error = bind(&["tls:127.0.0.1:0".parse().unwrap()]).await.unwrap_err().to_string();
        assert!(error.contains("sip.tls.certificate_file"), "{error}");
    }
}
