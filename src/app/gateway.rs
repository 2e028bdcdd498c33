//! The running gateway: everything is bound before anything starts, and drained before anything stops.

use super::admission::Reception;
use super::joins;
use super::recordings;
use super::registry::Registry;
use super::tenants::Tenants;
use crate::call::input::EndNow;
use crate::call::output::TurnTimes;
use crate::config::{self, Config};
use crate::media::Silence;
use crate::media::sdp::Encryption;
use crate::net::media::{MediaPlane, MediaSettings, RecordingKey};
use crate::net::ports;
use crate::net::sip::{self as net_sip, SipHandle};
use crate::sip;
use crate::sip::ladder::Disclosure;
use crate::store::Store;
use crate::web;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::ExposeSecret as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// Why the gateway could not start. Nothing is half-started.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A socket could not be bound.
    #[error("{key} {address}: {source}")]
    Bind {
        /// Configuration key.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// SIP listeners.
    #[error("sip.listen: {0}")]
    Sip(#[from] net_sip::SipError),
    /// RTP.
    #[error("media: {0}")]
    Media(#[from] crate::net::media::MediaPlaneError),
    /// The store.
    #[error("history.store: {0}")]
    Store(#[from] crate::store::StoreError),
    /// A client that cannot be built.
    #[error("{0}")]
    Service(String),
    /// The folder of the recordings.
    #[error("media.recording_dir {path}: {source}")]
    Recordings {
        /// Which folder.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Where the gateway listens, once it does.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// SIP, in the order of `sip.listen`.
    pub sip: Vec<(sip::Transport, SocketAddr)>,
    /// The agent's page.
    pub agent: SocketAddr,
    /// Health, metrics, calls.
    pub admin: SocketAddr,
}

/// What the pages and the drain know of the process.
pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) store: Store,
    pub(super) sip: SipHandle,
    pub(super) disclosure: Disclosure,
    pub(super) started: AtomicBool,
    pub(super) draining: AtomicBool,
    pub(super) drain: Notify,
}

impl Shared {
    /// New calls get 503 from now on.
    pub(super) fn start_draining(&self) {
        if !self.draining.swap(true, Ordering::Relaxed) {
            tracing::info!(calls = self.registry.active(), "draining: new calls get 503");
            self.sip.drain(true);
        }
        self.drain.notify_waiters();
    }
}

/// A running gateway. `drain` ends it well; dropping it ends it at once.
pub struct Gateway {
    shared: Arc<Shared>,
    addresses: Addresses,
    plane: Arc<MediaPlane>,
    turns: broadcast::Sender<TurnTimes>,
    drain_timeout: Duration,
    /// Calls and what outlives them.
    calls: TaskTracker,
    /// Listeners and background work.
    services: TaskTracker,
    /// Ends SIP, before the rest.
    sip_stop: CancellationToken,
    stop: CancellationToken,
}

impl Gateway {
    /// Binds everything, builds everything, then starts.
    ///
    /// # Errors
    /// The first thing that could not be bound or built.
    pub async fn start(config: Config, metrics: PrometheusHandle) -> Result<Self, GatewayError> {
        let config = Arc::new(config);
        let (calls, services, stop) = (TaskTracker::new(), TaskTracker::new(), CancellationToken::new());
        let guard = stop.clone().drop_guard();
        // A child, so that a start that fails half-way ends it too.
        let sip_stop = stop.child_token();

        let listeners: Vec<_> = config.sip.listen.iter().map(listen).collect();
        let bound = net_sip::bind_with(&listeners, socket_options(&config)).await?;
        let agent = bind("agent.listen", config.agent.listen).await?;
        let admin = bind("admin.listen", config.admin.listen).await?;
        if let Some(path) = &config.media.recording_dir {
            std::fs::create_dir_all(path).map_err(|source| GatewayError::Recordings { path: path.clone(), source })?;
        }
        if let Some(path) = config.media.recording_dir.clone() {
            services.spawn(recordings::retain(path, config.history.retention, stop.clone()));
        }
        let plane = Arc::new(MediaPlane::start(media_settings(&config))?);
        let store =
            Store::open(&config.history.store.to_string(), config.history.retention, &services, stop.clone()).await?;
        // What an earlier process left open is nobody's to wait for: its calls are gone, and CXone has ended their legs or will.
        if let Err(fault) = store.close_unsettled().await {
            tracing::error!(event = "upstream_failed", %fault, "signals of an earlier process could not be closed");
        }
        let tenants = Tenants::build(Arc::clone(&config), &services, &stop)?;
        warn(&config);

        let addresses = Addresses { sip: bound.local_addresses(), agent: agent.address, admin: admin.address };
        let (sip, mut incoming) = bound.start(sip_settings(&config), &services, sip_stop.clone());
        let shared = Arc::new(Shared {
            registry: Registry::default(),
            store: store.clone(),
            sip,
            disclosure: disclosure(&config),
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            drain: Notify::new(),
        });
        services.spawn(web::metrics::upkeep(metrics.clone(), stop.clone()));
        let page = web::agent::router(web::agent::Agent {
            histories: joins::histories(&store),
            frame_ancestors: config.agent.frame_ancestors.clone().into(),
        });
        services.spawn(web::serve(agent.listener, page, stop.clone()));
        let endpoints = web::admin::router(web::admin::Admin {
            token: config.admin.token.clone(),
            metrics,
            readiness: Arc::clone(&shared) as Arc<dyn web::Readiness>,
            calls: Arc::clone(&shared) as Arc<dyn web::Calls>,
        });
        services.spawn(web::serve(admin.listener, endpoints, stop.clone()));
        let turns = broadcast::Sender::new(TURNS);
        let reception = Arc::new(Reception {
            tenants,
            plane: Arc::clone(&plane),
            store,
            registry: shared.registry.clone(),
            tracker: calls.clone(),
            encryption: encryption(config.media.srtp),
            srtp_without_tls: config.media.srtp_without_tls,
            public_address: config.sip.public_address,
            rtp_timeout: config.media.rtp_timeout,
            inband_dtmf: config.media.inband_dtmf,
            recording_dir: config.media.recording_dir.clone(),
            recording_suffix: if config.media.recording_key.is_some() { recordings::SEALED } else { ".wav" },
            turns: turns.clone(),
        });
        let tracker = calls.clone();
        services.spawn(async move {
            while let Some(call) = incoming.recv().await {
                let span = tracing::info_span!(
                    "call",
                    call_id = call.invite.call_id,
                    contact_id = tracing::field::Empty,
                    session_key = tracing::field::Empty
                );
                tracker.spawn(Arc::clone(&reception).receive(call).instrument(span));
            }
        });
        shared.started.store(true, Ordering::Relaxed);
        let listening: Vec<_> =
            addresses.sip.iter().map(|(transport, address)| format!("{transport}:{address}")).collect();
        let sip = listening.join(",");
        let agent_url = config.history.agent_url.as_str();
        tracing::info!(event = "ready", sip, agent = %addresses.agent, admin = %addresses.admin, agent_url, "ready");
        let drain_timeout = config.sip.drain_timeout;
        Ok(Self { shared, addresses, plane, turns, drain_timeout, calls, services, sip_stop, stop: guard.disarm() })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The calls.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Reads the TLS files of SIP now. Calls and connections go on; what cannot be used is logged and changes nothing.
    pub fn reload(&self) {
        self.shared.sip.reload_tls();
    }

    /// The stages of each turn from now on, of all calls. A listener that lags behind by 64 loses the oldest.
    #[must_use]
    pub fn turns(&self) -> broadcast::Receiver<TurnTimes> {
        self.turns.subscribe()
    }

    /// Refuses new calls, lets the live ones go on for `sip.drain_timeout`, ends the rest by the error path so that their callers
    /// reach agents, and stops.
    pub async fn drain(self) {
        self.shared.start_draining();
        self.calls.close();
        if tokio::time::timeout(self.drain_timeout, self.calls.wait()).await.is_err() {
            let calls = self.shared.registry.active();
            tracing::warn!(event = "drain_deadline", calls, "ending the calls that are left");
            self.shared.registry.end_all(EndNow::Drain);
            if tokio::time::timeout(LAST_WORDS, self.calls.wait()).await.is_err() {
                tracing::error!(calls = self.shared.registry.active(), "calls did not end, stopping all the same");
            }
        }
        // SIP first: what it still holds gets its BYE, and what calls have to write reaches the store before that closes.
        self.sip_stop.cancel();
        if tokio::time::timeout(FAREWELL, self.calls.wait()).await.is_err() {
            tracing::error!(calls = self.shared.registry.active(), "calls are cut off");
        }
        self.stop.cancel();
        self.services.close();
        if tokio::time::timeout(FAREWELL, self.services.wait()).await.is_err() {
            tracing::warn!("background work did not end in time");
        }
        let plane = Arc::clone(&self.plane);
        if tokio::task::spawn_blocking(move || plane.stop()).await.is_err() {
            tracing::error!("the media plane did not stop cleanly");
        }
        tracing::info!("stopped");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.sip_stop.cancel();
        self.stop.cancel();
    }
}

struct BoundListener {
    listener: TcpListener,
    address: SocketAddr,
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<BoundListener, GatewayError> {
    let failed = |source| GatewayError::Bind { key, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(BoundListener { listener, address })
}

pub(super) fn listen(setting: &config::Listen) -> net_sip::Listen {
    let transport = match setting.transport {
        config::Transport::Udp => sip::Transport::Udp,
        config::Transport::Tcp => sip::Transport::Tcp,
        config::Transport::Tls => sip::Transport::Tls,
    };
    net_sip::Listen { transport, address: setting.address }
}

/// Certificate and key as `[sip.tls]` names them.
pub(super) fn socket_options(config: &Config) -> net_sip::SocketOptions {
    net_sip::SocketOptions { tls: tls_files(&config.sip.tls), ..net_sip::SocketOptions::default() }
}

pub(super) fn tls_files(tls: &config::Tls) -> Option<net_sip::TlsFiles> {
    Some(net_sip::TlsFiles {
        certificate: tls.certificate_file.clone()?,
        private_key: tls.private_key_file.clone()?,
        client_ca: tls.client_ca_file.clone(),
    })
}

fn sip_settings(config: &Config) -> sip::Settings {
    let sip = &config.sip;
    sip::Settings {
        public_address: sip.public_address,
        allow_from: sip.allow_from.clone(),
        drop_unknown: sip.drop_unknown,
        required_header: sip
            .required_header
            .as_ref()
            .map(|header| sip::RequiredHeader { name: header.name.clone(), value: header.value.clone() }),
        digest: sip.digest.as_ref().map(|digest| sip::Digest {
            realm: digest.realm.clone(),
            username: digest.username.clone(),
            password: digest.password.clone(),
            algorithms: digest.algorithms.iter().copied().map(algorithm).collect(),
        }),
        max_calls: usize::try_from(sip.max_calls).unwrap_or(usize::MAX),
        max_calls_per_second: sip.max_calls_per_second,
        session_expires: sip.session_expires,
        ..sip::Settings::default()
    }
}

/// What ladders show: no number unless the log may hold words too, and never a secret.
fn disclosure(config: &Config) -> Disclosure {
    let sip = &config.sip;
    let required = sip.required_header.iter().map(|header| header.name.clone());
    let key = Some(sip.session_key_header.clone()).filter(|name| !name.is_empty());
    Disclosure {
        everything: config.log.transcripts,
        shown: sip.contact_id_headers.clone(),
        secret: required.chain(key).collect(),
    }
}

fn algorithm(word: config::DigestAlgorithm) -> sip::Algorithm {
    match word {
        config::DigestAlgorithm::Sha256 => sip::Algorithm::Sha256,
        config::DigestAlgorithm::Md5 => sip::Algorithm::Md5,
    }
}

pub(super) fn media_settings(config: &Config) -> MediaSettings {
    let jitter_buffer = &config.media.jitter_buffer;
    MediaSettings {
        bind_address: config.media.bind_address,
        port_range: config.media.port_range.first..=config.media.port_range.last,
        workers: NonZeroUsize::new(usize::from(config.media.workers)),
        worker_cores: config.media.worker_cores.clone(),
        jitter_least: jitter_buffer.min,
        jitter_longest: jitter_buffer.max,
        silence: match config.media.silence {
            config::Silence::Silence => Silence::Digital,
            config::Silence::ComfortNoise => Silence::ComfortNoise,
        },
        recording_key: config
            .media
            .recording_key
            .as_ref()
            .and_then(|key| RecordingKey::parse(key.expose_secret()).ok()),
        ..MediaSettings::default()
    }
}

/// Wideband comes with a later release; `Config::notices` says so.
const fn encryption(srtp: config::Srtp) -> Encryption {
    match srtp {
        config::Srtp::Off => Encryption::Off,
        config::Srtp::Optional => Encryption::Optional,
        config::Srtp::Required => Encryption::Required,
    }
}

fn warn(config: &Config) {
    for notice in config.notices() {
        tracing::warn!("{notice}");
    }
    let range = config.media.port_range.first..=config.media.port_range.last;
    for warning in ports::warnings(&range, usize::try_from(config.sip.max_calls).unwrap_or(usize::MAX)) {
        tracing::warn!("{warning}");
    }
}

/// What calls have to say goodbye with, once their end is ordered: the failure message and a BYE.
const LAST_WORDS: Duration = Duration::from_secs(15);
/// Turns that a slow listener may lie behind.
const TURNS: usize = 64;
/// For the store's last batch and open pages.
const FAREWELL: Duration = Duration::from_secs(5);
