//! From an admitted INVITE to a running call: tenant, port, history, or the answer that says what is missing.

use super::call_task::{self, CallTask};
use super::registry::{CallInfo, Registry};
use super::tenants::{Tenant, Tenants};
use crate::base::{CallId, Fault, SessionKey};
use crate::call::output::TurnTimes;
use crate::call::{Call, CallFacts, Invite, LegCommand, Negotiation, Refusal};
use crate::media::sdp::{Encryption, Exchange, LocalMedia, Negotiated, Privacy, SdpProblem};
use crate::media::srtp::KeySource;
use crate::net::media::{MediaHandle, MediaOptions, MediaPlane, MediaPlaneError};
use crate::net::sip::Incoming;
use crate::sip::Transport;
use crate::store::{CallRecord, Store};
use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

/// What every call needs of the process.
pub(super) struct Reception {
    pub(super) tenants: Tenants,
    pub(super) plane: Arc<MediaPlane>,
    pub(super) store: Store,
    pub(super) registry: Registry,
    pub(super) tracker: TaskTracker,
    pub(super) encryption: Encryption,
    /// Whether keys of SRTP may be exchanged in plain text.
    pub(super) srtp_without_tls: bool,
    pub(super) public_address: Option<IpAddr>,
    pub(super) rtp_timeout: Duration,
    pub(super) inband_dtmf: bool,
    pub(super) recording_dir: Option<PathBuf>,
    /// `.wav`, or what sealed recordings are called.
    pub(super) recording_suffix: &'static str,
    pub(super) turns: broadcast::Sender<TurnTimes>,
}

/// Why a call is refused before it begins.
#[derive(Debug, thiserror::Error)]
enum NotNow {
    #[error("the dialled number is in no tenant")]
    UnknownNumber,
    #[error("no RTP port free")]
    NoPort,
    #[error("media overloaded")]
    NoMedia(#[from] MediaPlaneError),
    #[error("history store not writable")]
    NoHistory(#[from] Fault),
    #[error("RTP at {0} cannot be had from media.bind_address {1}: not of one address family")]
    AddressFamily(IpAddr, IpAddr),
    #[error("no random numbers from the operating system")]
    NoRandom,
}

impl Reception {
    /// Takes one INVITE to the end of its call.
    pub(super) async fn receive(self: Arc<Self>, incoming: Incoming) {
        match self.admit(&incoming.invite, incoming.local_ip, incoming.transport) {
            Ok((tenant, key, media, negotiation)) => self.run(incoming, tenant, key, media, negotiation).await,
            Err(why) => {
                tracing::warn!(event = "invite_refused", reason = why.label(), "{why}");
                incoming.leg.command(why.answer()).await;
            }
        }
    }

    fn admit(
        &self,
        invite: &Invite,
        local_ip: IpAddr,
        transport: Transport,
    ) -> Result<(Arc<Tenant>, SessionKey, MediaHandle, Box<Sdp>), NotNow> {
        let tenant = self.tenants.find(&invite.called_number).ok_or(NotNow::UnknownNumber)?;
        let key = SessionKey::from_random(random()?);
        let privacy = Privacy {
            encryption: self.encryption,
            exposed: transport != Transport::Tls && !self.srtp_without_tls,
            keys: KeySource::new(random()?),
        };
        let (address, bound) = addresses(self.public_address, self.plane.bind_address(), local_ip)?;
        let port = self.plane.reserve_at(bound).ok_or(NotNow::NoPort)?;
        let local = LocalMedia {
            address,
            port: port.port(),
            // Positive as a signed number: some peers read it so.
            session_id: fastrand::u64(..1 << 62),
            session_version: 1,
        };
        let recording = self
            .recording_dir
            .as_ref()
            .map(|dir| dir.join(recording_name(&invite.call_id, &key, self.recording_suffix)));
        let options = MediaOptions {
            recording,
            rtp_timeout: self.rtp_timeout,
            inband_dtmf: self.inband_dtmf,
            speech_chunk: tenant.audio_message,
            signalling: invite.source.map(|source| source.ip().to_canonical()),
        };
        let media = self.plane.open(port, options, None)?;
        let exchange = Exchange::new(local, tenant.codecs.clone()).with(privacy);
        Ok((tenant, key, media, Box::new(Sdp(exchange))))
    }

    async fn run(&self, incoming: Incoming, tenant: Arc<Tenant>, key: SessionKey, media: MediaHandle, sdp: Box<Sdp>) {
        let Incoming { invite, leg, arrived, .. } = incoming;
        let call_id = CallId::new(invite.call_id.as_str());
        let contact_id = tenant.call.contact.find(&invite.headers).ok();
        let span = tracing::Span::current();
        span.record("session_key", key.short());
        if let Some(contact_id) = &contact_id {
            span.record("contact_id", contact_id.as_str());
        }
        let record = CallRecord {
            session_key: key.clone(),
            call_id: call_id.clone(),
            contact_id: contact_id.clone(),
            caller_number: invite.caller_number.clone(),
            called_number: invite.called_number.clone(),
            tenant: Some(tenant.name.clone()),
            started_at: arrived.wall,
        };
        if let Err(fault) = self.store.begin(record) {
            tracing::error!(event = "upstream_failed", %fault, "INVITE refused");
            leg.command(NotNow::from(fault).answer()).await;
            return;
        }
        let info = CallInfo {
            call_id: call_id.clone(),
            contact_id: contact_id.as_ref().map(|id| id.as_str().to_owned()),
            session_key: key.short().to_owned(),
            tenant: tenant.name.clone(),
            caller_number: invite.caller_number.clone(),
            called_number: invite.called_number.clone(),
            started: arrived.wall,
            answered: None,
            turns: 0,
            ended: None,
            figures: None,
        };
        let (place, inbox) = self.registry.enter(info);
        let facts = CallFacts { invite, session_key: key.clone() };
        let call = Call::new(arrived, Arc::clone(&tenant.call), facts, sdp);
        call_task::run(CallTask {
            call,
            leg,
            arrived,
            media: media.control,
            media_events: media.events,
            audio: Some(media.audio),
            tenant,
            store: self.store.clone(),
            key,
            place,
            inbox,
            turns: self.turns.clone(),
            tracker: self.tracker.clone(),
        })
        .await;
    }
}

impl NotNow {
    /// The `reason` of the log line.
    fn label(&self) -> &'static str {
        match self {
            Self::UnknownNumber => "unknown_number",
            Self::NoPort => "no_port",
            Self::NoMedia(_) => "no_media",
            Self::NoHistory(_) => "no_history",
            Self::NoRandom => "no_random",
            Self::AddressFamily(..) => "address_family",
        }
    }

    fn answer(&self) -> LegCommand {
        let code = match self {
            Self::UnknownNumber => 404,
            Self::AddressFamily(..) => 488,
            Self::NoPort | Self::NoMedia(_) | Self::NoHistory(_) => 503,
            Self::NoRandom => 500,
        };
        let mut headers = vec![("Warning".to_owned(), format!("399 voice-gateway \"{self}\""))];
        if code == 503 {
            headers.push(("Retry-After".to_owned(), RETRY_AFTER.to_owned()));
        }
        LegCommand::Reject { code, reason: String::new(), headers }
    }
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], NotNow> {
    let mut random = [0; LENGTH];
    getrandom::fill(&mut random).map_err(|_| NotNow::NoRandom)?;
    Ok(random)
}

/// The address that our SDP names, and the one that RTP is bound to.
fn addresses(public: Option<IpAddr>, bind: IpAddr, signalled: IpAddr) -> Result<(IpAddr, IpAddr), NotNow> {
    let signalled = signalled.to_canonical();
    let (named, bound) = match public {
        // Which of our addresses the world sees as this one is not ours to know.
        Some(public) if bind.is_unspecified() && public.is_ipv4() => (public, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Some(public) if bind.is_unspecified() => (public, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        Some(public) => (public, bind),
        // RTP leaves from the address that the peer was told.
        None if bind.is_unspecified() => (signalled, signalled),
        None => (bind, bind),
    };
    if named.is_ipv4() == bound.is_ipv4() { Ok((named, bound)) } else { Err(NotNow::AddressFamily(named, bound)) }
}

/// Offer and answer of one call.
struct Sdp(Exchange);

impl Negotiation for Sdp {
    fn answer(&mut self, offer: &[u8]) -> Result<(Bytes, Negotiated), Refusal> {
        self.0.answer(offer).map_err(|problem| refusal(&problem))
    }

    fn offer(&mut self) -> Bytes {
        self.0.offer()
    }

    fn accept(&mut self, answer: &[u8]) -> Result<Negotiated, Refusal> {
        self.0.accept(answer).map_err(|problem| refusal(&problem))
    }
}

fn refusal(problem: &SdpProblem) -> Refusal {
    Refusal { code: problem.code(), warning: problem.to_string() }
}

/// A Call-ID is the peer's text: only what is harmless in a file name stays of it.
fn recording_name(call_id: &str, key: &SessionKey, suffix: &str) -> String {
    let safe: String =
        call_id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).take(64).collect();
    format!("{}-{}{suffix}", safe.trim_start_matches('.'), key.short())
}

/// Seconds after which a full gateway may have room again.
const RETRY_AFTER: &str = "5";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_named_by_what_is_harmless_of_the_call_id() {
        let key = SessionKey::from_random([0; 20]);
        assert_eq!(recording_name("../../etc/passwd\0@host", &key, ".wav"), "etcpasswdhost-AAAAAAAA.wav");
        assert_eq!(recording_name("a-1@10.0.0.1", &key, ".wav"), "a-110.0.0.1-AAAAAAAA.wav");
    }

    #[test]
    fn the_sdp_names_the_public_address_else_the_bound_one_else_the_one_that_was_called() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (any, any6, v4, v6, public) =
            (ip("0.0.0.0"), ip("::"), ip("192.0.2.1"), ip("2001:db8::1"), ip("203.0.113.1"));
        for (public, bind, signalled, named, bound) in [
            (None, any, v4, v4, v4),
            (None, any, v6, v6, v6),
            (None, any6, v4, v4, v4),
            (None, any, ip("::ffff:192.0.2.1"), v4, v4),
            (None, ip("192.0.2.2"), v4, ip("192.0.2.2"), ip("192.0.2.2")),
            (None, v4, v6, v4, v4),
            (Some(public), any, v4, public, any),
            (Some(public), any6, v4, public, any),
            (Some(v6), any, v4, v6, any6),
            (Some(public), v4, v4, public, v4),
        ] {
            assert_eq!(addresses(public, bind, signalled).unwrap(), (named, bound), "{public:?} {bind} {signalled}");
        }
        assert_eq!(
            addresses(Some(public), v6, v4).unwrap_err().to_string(),
            NotNow::AddressFamily(public, v6).to_string()
        );
    }

    #[test]
    fn every_refusal_names_its_reason() {
        for why in [
            NotNow::UnknownNumber,
            NotNow::NoPort,
            NotNow::NoMedia(MediaPlaneError::Overloaded),
            NotNow::AddressFamily(IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)),
            NotNow::NoRandom,
        ] {
            let LegCommand::Reject { code, headers, .. } = why.answer() else { panic!("{why:?} is no refusal") };
            assert!((400..700).contains(&code));
            assert!(headers.iter().any(|(name, _)| name == "Warning"), "{why:?}");
            assert_eq!(headers.iter().any(|(name, _)| name == "Retry-After"), code == 503, "{why:?}");
        }
    }
}
