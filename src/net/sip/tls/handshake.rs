//! Handshakes: bounded in time, in all and for each source, and counted by what came of them.

use crate::base::metric;
use crate::sip::message::{Framing, Message, NameAddr, Uri, parse};
use crate::sip::source_of;
use bytes::Bytes;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, InvalidMessage, ServerConfig};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// Those that are under way, by source.
#[derive(Debug)]
pub(in super::super) struct Handshakes {
    most: usize,
    most_per_source: usize,
    under_way: Mutex<(usize, HashMap<IpAddr, usize>)>,
}

/// One that is under way; over when dropped.
#[derive(Debug)]
pub(in super::super) struct Handshake {
    all: Arc<Handshakes>,
    source: IpAddr,
}

impl Handshakes {
    pub(in super::super) fn new(most: usize, most_per_source: usize) -> Self {
        Self { most, most_per_source, under_way: Mutex::default() }
    }

    /// Room for one more with this peer, if there is.
    pub(in super::super) fn begin(self: &Arc<Self>, peer: IpAddr) -> Option<Handshake> {
        let source = source_of(peer);
        let (all, by_source) = &mut *self.under_way.lock();
        let of_source = by_source.get(&source).copied().unwrap_or_default();
        if *all >= self.most || of_source >= self.most_per_source {
            return None;
        }
        *all += 1;
        by_source.insert(source, of_source + 1);
        Some(Handshake { all: Arc::clone(self), source })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let (all, by_source) = &mut *self.all.under_way.lock();
        *all -= 1;
        if let Some(count) = by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                by_source.remove(&self.source);
            }
        }
    }
}

/// The server's side.
pub(in super::super) async fn accept(
    config: Arc<ServerConfig>,
    stream: TcpStream,
    limit: Duration,
) -> Result<server::TlsStream<TcpStream>, String> {
    outcome("in", timeout(limit, TlsAcceptor::from(config).accept(stream)).await)
}

/// The client's side: the peer must prove that it is `name` (RFC 5922 section 7.3).
pub(in super::super) async fn connect(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
    limit: Duration,
) -> Result<client::TlsStream<TcpStream>, String> {
    outcome("out", timeout(limit, TlsConnector::from(config).connect(name, stream)).await)
}

fn outcome<S>(direction: &'static str, ended: Result<io::Result<S>, tokio::time::error::Elapsed>) -> Result<S, String> {
    let (label, result) = match ended {
        Ok(Ok(stream)) => ("ok", Ok(stream)),
        Ok(Err(error)) => (cause(&error), Err(format!("TLS: {error}"))),
        Err(_) => ("timeout", Err("TLS: the handshake was not finished in time".to_owned())),
    };
    metrics::counter!(metric::SIP_TLS_HANDSHAKES_TOTAL, "direction" => direction, "outcome" => label).increment(1);
    result
}

/// The metric's label of a failure.
fn cause(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => "plaintext",
        Some(rustls::Error::NoCertificatesPresented) => "no_certificate",
        Some(rustls::Error::InvalidCertificate(_)) => "certificate",
        Some(rustls::Error::AlertReceived(_)) => "refused_by_peer",
        Some(_) => "protocol",
        None => "closed",
    }
}

/// Whom a new connection for this message must lead to: the host of its first Route, else of its Request-URI, as written. An
/// answer has no other name for its peer than the address.
pub(in super::super) fn server_name(message: &Bytes, remote: IpAddr) -> ServerName<'static> {
    let host = match parse(message, Framing::Stream) {
        Ok(Message::Request(request)) => {
            let routes = request.headers.list("Route");
            let route = routes.first().and_then(|route| NameAddr::parse(route).ok()).map(|route| route.uri);
            route.or_else(|| Uri::parse(&request.uri).ok()).map(|uri| uri.host)
        }
        _ => None,
    };
    host.and_then(|host| ServerName::try_from(host).ok()).unwrap_or_else(|| ServerName::from(remote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_bounded_in_all_and_for_each_source() {
        let all = Arc::new(Handshakes::new(3, 2));
        let begin = |ip: &str| all.begin(ip.parse().unwrap());
        let (one, two) = (begin("192.0.2.1"), begin("192.0.2.1"));
        assert!(one.is_some() && two.is_some() && begin("192.0.2.1").is_none());
        let other = begin("192.0.2.2");
        assert!(other.is_some() && begin("192.0.2.3").is_none());
        drop((one, two, other));
        assert_eq!(*all.under_way.lock(), (0, HashMap::new()));
    }

    #[test]
    fn a_peer_is_called_by_the_name_that_the_request_goes_to() {
        let named = |text: &str| {
            let text = format!(
                "{text}From: sip:a@h;tag=1\r\nTo: sip:b@h\r\nCall-ID: c\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
            );
            server_name(&Bytes::from(text), "192.0.2.1".parse().unwrap()).to_str().into_owned()
        };
        let via = "Via: SIP/2.0/TLS h;branch=z9hG4bK1\r\n";
        assert_eq!(named(&format!("BYE sip:a@pbx.example.com:5071;transport=tls SIP/2.0\r\n{via}")), "pbx.example.com");
        assert_eq!(named(&format!("BYE sips:a@[2001:db8::1] SIP/2.0\r\n{via}")), "2001:db8::1");
        let routed = format!("BYE sip:a@pbx SIP/2.0\r\n{via}Route: <sip:proxy.example.com;lr>, <sip:b;lr>\r\n");
        assert_eq!(named(&routed), "proxy.example.com");
        assert_eq!(named(&format!("BYE tel:+1555 SIP/2.0\r\n{via}")), "192.0.2.1");
        assert_eq!(named(&format!("SIP/2.0 200 OK\r\n{via}")), "192.0.2.1");
    }
}
