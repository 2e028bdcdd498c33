//! The test phone: a caller of our own, on real SIP (RFC 3261) and RTP (RFC 3550) sockets. For `call`, for the demonstration,
//! and for tests; it knows nothing of the gateway that it calls.

mod call;
mod ear;

pub use crate::net::sip::{TlsFiles, Trust};
pub use crate::sip::Transport;
pub use crate::sip::digest::Credentials;
pub use crate::sip::ladder::{Disclosure, Shown};
pub use call::{PhoneCall, PhoneEvent};
pub use ear::{Ear, Noticed};

use crate::audio::{Form, Law};
use crate::media::sdp::{Codec, Encryption, Exchange, LocalMedia, Privacy};
use crate::media::srtp::KeySource;
use crate::net::media::{MediaHandle, MediaOptions, MediaPlane, MediaPlaneError, MediaSettings};
use crate::net::sip::{self as net_sip, Listen, SipError, SipHandle, SocketOptions};
use crate::sip::message::Uri;
use crate::sip::{Dial, Settings};
use bytes::Bytes;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why the phone could not call.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// The address to call.
    #[error("cannot call {uri:?}: {what}")]
    Uri {
        /// As it was given.
        uri: String,
        /// What is wrong with it.
        what: String,
    },
    /// SIP.
    #[error(transparent)]
    Sip(#[from] SipError),
    /// RTP.
    #[error(transparent)]
    Media(#[from] MediaPlaneError),
    /// No RTP port.
    #[error("no RTP port is free")]
    NoPort,
    /// No keys for SRTP.
    #[error("no random numbers from the operating system: {0}")]
    NoRandom(#[from] getrandom::Error),
}

/// A phone with its own sockets, at the address from which its peer can be reached.
#[derive(Debug)]
pub struct Phone {
    sip: SipHandle,
    plane: Arc<MediaPlane>,
    local: IpAddr,
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// A call to be placed.
#[derive(Clone, Debug, Default)]
pub struct Placing {
    /// Whom.
    pub uri: String,
    /// As whom, as a URI; empty takes the phone's own.
    pub from: String,
    /// By which transport; `None` lets the URI say.
    pub transport: Option<Transport>,
    /// Codecs in order of preference; empty offers all.
    pub codecs: Vec<Codec>,
    /// Whether sound is encrypted. The keys go by whatever transport the call takes.
    pub encryption: Encryption,
    /// INVITE without an offer: the peer makes it, and our ACK answers.
    pub late_offer: bool,
    /// What a challenge (401, 407) is answered with.
    pub credentials: Option<Credentials>,
    /// Extra headers, in order.
    pub headers: Vec<(String, String)>,
    /// Where to record, as stereo WAV: left what the phone heard, right what it said.
    pub record: Option<PathBuf>,
}

impl Phone {
    /// A phone on free ports, towards the host of `uri`: on loopback for one on loopback, else at the address of the route.
    ///
    /// # Errors
    /// When the URI cannot be called from here, or a socket cannot be had.
    pub async fn towards(uri: &str) -> Result<Self, PhoneError> {
        Self::believing(uri, Trust::default(), None).await
    }

    /// The same, for a peer that is reached by TLS: whom to believe, and the certificate to show.
    ///
    /// # Errors
    /// As `towards`, and when a file of TLS cannot be used.
    pub async fn believing(uri: &str, trust: Trust, certificate: Option<TlsFiles>) -> Result<Self, PhoneError> {
        let peer = resolve(uri).await?;
        let local = route(peer);
        let listen = |transport| Listen { transport, address: SocketAddr::new(local, 0) };
        let bound = net_sip::bind_with(
            &[listen(Transport::Udp), listen(Transport::Tcp)],
            SocketOptions { tls: certificate, trust, ..SocketOptions::default() },
        )
        .await?;
        let plane = MediaPlane::start(MediaSettings {
            bind_address: local,
            port_range: PORTS,
            workers: Some(NonZeroUsize::MIN),
            ..MediaSettings::default()
        })?;
        let settings = Settings { allow_from: vec![IpNet::from(peer)], ..Settings::default() };
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        // Whoever calls a test phone gets 503.
        let (sip, _incoming) = bound.start(settings, &tracker, stop.clone());
        sip.drain(true);
        Ok(Self { sip, plane: Arc::new(plane), local, tracker, stop })
    }

    /// Places a call. It rings when this returns; what comes of it are its events.
    ///
    /// # Errors
    /// When the call cannot even be tried.
    pub async fn call(&self, placing: Placing) -> Result<PhoneCall, PhoneError> {
        // Each try passes over a few ports that other programs have.
        let port = (0..TRIES).find_map(|_| self.plane.reserve()).ok_or(PhoneError::NoPort)?;
        let local = LocalMedia {
            address: self.local,
            port: port.port(),
            session_id: fastrand::u64(..1 << 62),
            session_version: 1,
        };
        let options = MediaOptions {
            recording: placing.record,
            rtp_timeout: SILENCE,
            speech_chunk: FRAME_TIME,
            ..MediaOptions::default()
        };
        let MediaHandle { control, events, audio } = self.plane.open(port, options, None)?;
        let codecs = if placing.codecs.is_empty() { CODECS.to_vec() } else { placing.codecs };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let privacy = Privacy { encryption: placing.encryption, exposed: false, keys: KeySource::new(seed) };
        let mut exchange = Exchange::new(local, codecs).with(privacy);
        let sdp = if placing.late_offer { Bytes::new() } else { exchange.offer() };
        let dial = Dial {
            uri: placing.uri,
            from: placing.from,
            headers: placing.headers,
            sdp,
            credentials: placing.credentials,
        };
        let leg = self.sip.dial(dial, placing.transport).await?;
        let (late_offer, heard_in, codec) = (placing.late_offer, Form::Narrow(Law::Mu), None);
        Ok(PhoneCall { leg, control, events, audio, exchange, late_offer, heard_in, codec, plays: 0, over: false })
    }

    /// The SIP messages of the call that began last.
    #[must_use]
    pub fn ladder(&self) -> Option<Shown> {
        self.sip.latest_ladder().map(|ladder| ladder.show(&disclosure()))
    }

    /// Puts the phone away: calls that are up end, files of recordings are closed.
    pub async fn put_away(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        let plane = self.plane;
        if tokio::task::spawn_blocking(move || plane.stop()).await.is_err() {
            tracing::error!("the phone's media did not stop cleanly");
        }
    }
}

/// A header by its name; the first of several.
#[must_use]
pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// What may be shown of this phone's messages: they are its user's own, but the session key opens the transcript.
#[must_use]
pub fn disclosure() -> Disclosure {
    Disclosure { everything: true, secret: vec!["X-Session-Key".to_owned()], ..Disclosure::default() }
}

async fn resolve(text: &str) -> Result<IpAddr, PhoneError> {
    let wrong = |what: String| PhoneError::Uri { uri: text.to_owned(), what };
    let uri = Uri::parse(text).map_err(|what| wrong(what.to_owned()))?;
    if let Some(ip) = uri.ip() {
        return Ok(ip);
    }
    let found = tokio::net::lookup_host((uri.host.as_str(), DEFAULT_PORT)).await;
    let mut found = found.map_err(|error| wrong(format!("{} cannot be looked up: {error}", uri.host)))?;
    found.next().map(|address| address.ip()).ok_or_else(|| wrong("its host has no address".to_owned()))
}

/// Connecting a datagram socket sends nothing; it makes the kernel choose the source address.
fn route(peer: IpAddr) -> IpAddr {
    let (any, loopback): (IpAddr, IpAddr) = match peer {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    };
    let found = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((peer, DEFAULT_PORT))?;
        socket.local_addr()
    });
    match found {
        Ok(local) if !local.ip().is_unspecified() => local.ip(),
        _ => loopback,
    }
}

/// What it speaks, in order of preference.
pub const CODECS: &[Codec] = &[
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    #[cfg(feature = "opus")]
    Codec::Opus,
];
/// What is heard comes in pieces of this length.
const FRAME_TIME: Duration = Duration::from_millis(20);
/// Apart from where gateways have theirs by default.
const PORTS: RangeInclusive<u16> = 10_000..=19_999;
const TRIES: usize = 100;
const SILENCE: Duration = Duration::from_secs(30);
const DEFAULT_PORT: u16 = 5060;
