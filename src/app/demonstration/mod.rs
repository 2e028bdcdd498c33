//! The whole program on one stage: the sandbox, a real gateway pointed at it, and a caller with CXone's script, all in this
//! process and all over real sockets of 127.0.0.1. What the caller does is decided by what the phone hears.

mod caller;
mod performance;
mod scenario;
mod verdict;

pub use performance::{Moment, Performance};
pub use scenario::{Expected, FirstParameter, Line, SCENARIOS, Scenario, Sound};
pub use verdict::{Check, Verdict};

use super::{Gateway, GatewayError};
use crate::audio::wav::WavError;
use crate::config::{Config, Problems};
use crate::sandbox::assistant::Dialog;
use crate::sandbox::engine::{Recognition, Synthesis};
use crate::sandbox::models::ModelPaths;
use crate::sandbox::speech::{Ears, Mouth, Recogniser, SpeechError, Synthesiser, Voice};
use crate::sandbox::{self, Sandbox, SandboxError, SandboxOptions};
use crate::web;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why the stage could not be set, or nothing could be played on it.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A speech engine.
    #[error(transparent)]
    Speech(#[from] SpeechError),
    /// A sound to be spoken.
    #[error("{what}: {source}")]
    Sound {
        /// Which one.
        what: String,
        /// Why.
        source: WavError,
    },
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The folder of this run.
    #[error("{path}: {source}")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration that was made for this run.
    #[error("the configuration made for this run cannot be used:\n{0}")]
    Config(Problems),
    /// The gateway.
    #[error("the gateway did not start: {0}")]
    Gateway(#[from] GatewayError),
    /// The phone.
    #[error("the phone: {0}")]
    Phone(#[from] super::phone::PhoneError),
    /// A client or recorder that cannot be built.
    #[error("{0}")]
    Tool(String),
}

/// The real speech engines.
#[derive(Clone)]
pub struct Engines {
    /// Hears.
    pub recogniser: Arc<Recogniser>,
    /// Speaks, for the assistant and for the caller.
    pub synthesiser: Arc<Synthesiser>,
}

/// The sandbox and the gateway, running.
pub struct Stage {
    sandbox: Sandbox,
    gateway: Gateway,
    addresses: super::Addresses,
    failure_message: String,
    folder: PathBuf,
    http: reqwest::Client,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Engines {
    /// Loads both. Blocks for about a second.
    ///
    /// # Errors
    /// A model's file that is missing or not what it should be.
    pub fn load(models: &ModelPaths) -> Result<Self, SpeechError> {
        Ok(Self { recogniser: Arc::new(Recogniser::load(models)?), synthesiser: Arc::new(Synthesiser::load(models)?) })
    }

    /// Speaks ahead what the assistant says word for word whoever calls, so that the first caller does not wait. `told` hears
    /// how many are done of how many. Blocks; what was spoken by an earlier run costs nothing.
    ///
    /// # Errors
    /// The engine's complaint.
    pub fn speak_ahead(&self, sentences: &[String], mut told: impl FnMut(usize, usize)) -> Result<(), SpeechError> {
        for (done, sentence) in sentences.iter().enumerate() {
            told(done, sentences.len());
            self.synthesiser.prerender(Voice::Assistant, &[sentence])?;
        }
        told(sentences.len(), sentences.len());
        Ok(())
    }

    /// The engines as the sandbox's servers want them, with the dialog.
    #[must_use]
    pub fn sandbox_options(&self, dialog: Dialog) -> SandboxOptions {
        let recognition: Arc<dyn Recognition> = Arc::new(Ears::new(Arc::clone(&self.recogniser)));
        let synthesis: Arc<dyn Synthesis> = Arc::new(Mouth::new(Arc::clone(&self.synthesiser), Voice::Assistant));
        SandboxOptions::new(recognition, synthesis, dialog)
    }
}

impl Stage {
    /// Starts the sandbox and a gateway that knows nothing but its configuration. Everything of this run lies in `folder`.
    ///
    /// # Errors
    /// The first thing that could not be started.
    pub async fn set(options: SandboxOptions, folder: &Path) -> Result<Self, StageError> {
        let failed = |source| StageError::Folder { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let guard = stop.clone().drop_guard();
        let sandbox = sandbox::start(options, &tracker, stop.clone()).await?;
        let path = folder.join("gateway.toml");
        std::fs::write(&path, configuration(&sandbox, &folder))
            .map_err(|source| StageError::Folder { path: path.clone(), source })?;
        // The environment is the user's: what is set there is meant for another gateway.
        let config = Config::load_complete(Some(&path), std::iter::empty()).map_err(StageError::Config)?;
        let failure_message = config.dialog.failure_message.clone();
        // A second stage in one process counts where nobody reads.
        let metrics = match web::metrics::install() {
            Ok(metrics) => metrics,
            Err(_) => web::metrics::recorder().map_err(|error| StageError::Tool(error.to_string()))?.handle(),
        };
        let http = reqwest::Client::builder().build().map_err(|error| StageError::Tool(error.to_string()))?;
        let gateway = Gateway::start(config, metrics).await?;
        let addresses = gateway.addresses().clone();
        Ok(Self { sandbox, gateway, addresses, failure_message, folder, http, tracker, stop: guard.disarm() })
    }

    /// Where CXone calls: the gateway's UDP listener.
    #[must_use]
    pub fn sip_uri(&self) -> String {
        let first = self.addresses.sip.first().map(|(_, address)| *address);
        format!("sip:{DIALLED}@{}", first.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 5060))))
    }

    /// Base of the agent's page.
    #[must_use]
    pub fn agent_url(&self) -> String {
        format!("http://{}", self.addresses.agent)
    }

    /// The other side of every wire.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn addresses(&self) -> &super::Addresses {
        &self.addresses
    }

    /// Everything of this run.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Holds one conversation; `told` hears of it as it happens.
    ///
    /// # Errors
    /// When the phone cannot even call.
    pub async fn perform(
        &self,
        scenario: &Scenario,
        told: &mut (dyn FnMut(Moment) + Send),
    ) -> Result<Performance, StageError> {
        caller::perform(self, scenario, told).await
    }

    /// Judges a conversation by what can be seen of it from outside.
    pub async fn judge(&self, scenario: &Scenario, performance: &Performance) -> Verdict {
        verdict::judge(self, scenario, performance).await
    }

    /// Ends everything.
    pub async fn strike(self) {
        self.gateway.drain().await;
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn configuration(sandbox: &Sandbox, folder: &Path) -> String {
    let path = |name: &str| toml::Value::from(folder.join(name).display().to_string()).to_string();
    let store = toml::Value::from(format!("sqlite:{}", folder.join("history.db").display())).to_string();
    format!(
        r#"# Made for one run of the demonstration.
[sip]
listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
max_calls = 100
session_expires = "0s"

[media]
bind_address = "127.0.0.1"
port_range = [30000, 32767]
codecs = ["PCMU", "PCMA"]
srtp = "off"
jitter_buffer = {{ min = "40ms", max = "40ms" }}
recording_dir = {recordings}

[history]
store = {store}

[agent]
listen = "127.0.0.1:0"

[admin]
listen = "127.0.0.1:0"

{services}"#,
        recordings = path(RECORDINGS),
        services = sandbox.gateway_config(),
    )
}

/// The number that CXone dials; the demonstration has no tenants.
const DIALLED: &str = "18882346789";
const RECORDINGS: &str = "recordings";
