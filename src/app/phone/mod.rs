//! The test phone: a caller of our own, on real SIP (RFC 3261) and RTP (RFC 3550) sockets. For `call`, for the demonstration,
//! and for tests; it knows nothing of the gateway that it calls.

mod ear;

pub use crate::net::sip::{TlsFiles, Trust};
pub use crate::sip::Transport;
pub use crate::sip::digest::Credentials;
pub use crate::sip::ladder::{Disclosure, Shown};
pub use ear::{Ear, Noticed};

use crate::audio::wav::Clip;
use crate::audio::{Form, Law};
use crate::base::{PlayId, Tone};
use crate::call::{LegCommand, MediaEvent};
use crate::media::Statistics;
use crate::media::sdp::{Codec, Encryption, Exchange, LocalMedia, Privacy, SdpProblem};
use crate::media::srtp::KeySource;
use crate::net::media::{MediaControl, MediaHandle, MediaOptions, MediaPlane, MediaPlaneError, MediaSettings};
use crate::net::sip::{self as net_sip, Listen, OutLeg, SipError, SipHandle, SocketOptions};
use crate::sip::message::Uri;
use crate::sip::{Dial, DialEvent, Settings};
use bytes::Bytes;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
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

/// A call that is being placed, or up. Dropping it ends it.
#[derive(Debug)]
pub struct PhoneCall {
    leg: OutLeg,
    control: MediaControl,
    events: mpsc::Receiver<MediaEvent>,
    audio: mpsc::Receiver<Bytes>,
    exchange: Exchange,
    /// The INVITE carries no offer.
    late_offer: bool,
    /// Of the first agreement: what is heard is coded by it.
    heard_in: Form,
    /// What is sent now.
    codec: Option<Codec>,
    plays: u64,
    over: bool,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhoneEvent {
    /// A provisional answer.
    Progress {
        /// 100 to 199.
        code: u16,
        /// Its phrase.
        reason: String,
    },
    /// The peer took the call, and media is agreed.
    Answered {
        /// All headers of the answer.
        headers: Vec<(String, String)>,
        /// How it sounds.
        codec: Codec,
    },
    /// The peer did not take the call, or not on terms that make a call. The call is over.
    Refused {
        /// SIP status; 488 where its answer was no agreement.
        code: u16,
        /// The phrase, or what was wrong.
        reason: String,
        /// All headers of the answer; none where none came.
        headers: Vec<(String, String)>,
    },
    /// What came of `hold` or `resume`: the SIP status, 488 where the answer was no agreement.
    Changed {
        /// 200 to 699.
        code: u16,
    },
    /// 20 ms of sound.
    Heard {
        /// How the sound lies in its bytes.
        form: Form,
        /// The sound.
        frame: Bytes,
    },
    /// What was played, or pressed, has been sent to its end.
    Played(PlayId),
    /// Nothing has come for half a minute.
    Silence,
    /// The peer hung up.
    Bye {
        /// All headers of its BYE.
        headers: Vec<(String, String)>,
    },
    /// The call is over; nothing more comes.
    Ended,
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

impl PhoneCall {
    /// The next event. Safe to cancel. After `Refused` or `Ended` nothing more comes.
    pub async fn event(&mut self) -> PhoneEvent {
        loop {
            if self.over {
                return std::future::pending().await;
            }
            tokio::select! {
                biased;
                event = self.leg.event() => match event {
                    Some(event) => if let Some(event) = self.signalled(event).await {
                        return event;
                    },
                    None => return self.end(PhoneEvent::Ended),
                },
                Some(event) = self.events.recv() => match event {
                    MediaEvent::PlayFinished { play, .. } => return PhoneEvent::Played(play),
                    MediaEvent::Timeout => return PhoneEvent::Silence,
                    MediaEvent::FirstPacket
                    | MediaEvent::Digit(_)
                    | MediaEvent::InBandDigit(_)
                    | MediaEvent::PlayStarted { .. } => {}
                },
                Some(frame) = self.audio.recv() => return PhoneEvent::Heard { form: self.heard_in, frame },
            }
        }
    }

    /// Plays a sound after what plays already, at the rate of the codec. Without effect before the answer.
    pub fn play(&mut self, clip: &Clip) -> PlayId {
        let play = PlayId(self.plays);
        self.plays += 1;
        if let Some(codec) = self.codec {
            let form = codec.form();
            let samples = match form {
                Form::Narrow(_) => clip.narrow(),
                Form::Wide => clip.wide(),
            };
            let sound = Bytes::from(form.encode_all(&samples));
            // The channel is new and empty; dropping the sender ends what is played.
            let _ = self.control.play(play).try_send(sound);
        }
        play
    }

    /// Presses keys one after the other, as telephone-events (RFC 4733). Keys that are none are left out.
    pub fn press(&self, keys: &str) {
        self.control.press(keys.chars().filter_map(Tone::pressed).collect());
    }

    /// Stops what plays.
    pub fn hush(&self) {
        self.control.stop();
    }

    /// Puts the peer on hold by re-INVITE; `Changed` follows.
    pub async fn hold(&mut self) {
        let sdp = self.exchange.hold();
        self.leg.command(LegCommand::Offer { sdp }).await;
    }

    /// Offers the call anew in these codecs, by re-INVITE; `Changed` follows.
    pub async fn change_codecs(&mut self, codecs: Vec<Codec>) {
        self.exchange.prefer(codecs);
        self.resume().await;
    }

    /// Takes the peer off hold; `Changed` follows.
    pub async fn resume(&mut self) {
        let sdp = self.exchange.offer();
        self.leg.command(LegCommand::Offer { sdp }).await;
    }

    /// Hangs up: CANCEL before the answer, BYE behind it. `Ended` follows.
    pub async fn hang_up(&self) {
        self.leg.cancel().await;
    }

    /// Figures of the media up to now.
    pub async fn statistics(&self) -> Option<Statistics> {
        self.control.statistics().await
    }

    /// Lets go of the call and gives its figures.
    pub async fn close(self) -> Option<Statistics> {
        self.control.close().await
    }

    async fn signalled(&mut self, event: DialEvent) -> Option<PhoneEvent> {
        match event {
            DialEvent::Provisional { code, reason, .. } => Some(PhoneEvent::Progress { code, reason }),
            DialEvent::Answered { sdp, headers } => match self.described(&sdp.unwrap_or_default()).await {
                Ok(codec) => {
                    self.heard_in = codec.form();
                    Some(PhoneEvent::Answered { headers, codec })
                }
                Err(problem) => {
                    self.leg.bye(Vec::new()).await;
                    let (code, reason) = (problem.code(), problem.to_string());
                    Some(self.end(PhoneEvent::Refused { code, reason, headers }))
                }
            },
            DialEvent::Changed { code: code @ 200..300, sdp } => {
                let agreed = self.exchange.accept(&sdp.unwrap_or_default());
                let code = agreed.map_or_else(
                    |problem| problem.code(),
                    |agreed| {
                        self.codec = Some(agreed.codec);
                        self.control.agree(agreed);
                        code
                    },
                );
                Some(PhoneEvent::Changed { code })
            }
            DialEvent::Changed { code, .. } => Some(PhoneEvent::Changed { code }),
            DialEvent::Refused { code, reason, headers } => {
                Some(self.end(PhoneEvent::Refused { code, reason, headers }))
            }
            DialEvent::Bye { headers } => Some(PhoneEvent::Bye { headers }),
            DialEvent::Reinvite { sdp } => {
                self.changed(sdp).await;
                None
            }
            DialEvent::Ended => Some(self.end(PhoneEvent::Ended)),
        }
    }

    /// The 2xx's description: the answer to our offer, or the offer that our ACK answers.
    async fn described(&mut self, sdp: &Bytes) -> Result<Codec, SdpProblem> {
        let agreed = if self.late_offer {
            let (sdp, agreed) = self.exchange.answer(sdp)?;
            self.leg.command(LegCommand::Acknowledge { sdp }).await;
            agreed
        } else {
            self.exchange.accept(sdp)?
        };
        let codec = agreed.codec;
        self.codec = Some(codec);
        self.control.agree(agreed);
        Ok(codec)
    }

    /// The peer wants the media changed.
    async fn changed(&mut self, offer: Option<Bytes>) {
        let command = match offer {
            None => LegCommand::AnswerReinvite { sdp: self.exchange.offer() },
            Some(offer) => match self.exchange.answer(&offer) {
                Ok((sdp, agreed)) => {
                    self.codec = Some(agreed.codec);
                    self.control.agree(agreed);
                    LegCommand::AnswerReinvite { sdp }
                }
                Err(problem) => LegCommand::RejectReinvite { code: problem.code(), headers: Vec::new() },
            },
        };
        self.leg.command(command).await;
    }

    fn end(&mut self, last: PhoneEvent) -> PhoneEvent {
        self.over = true;
        last
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
