//! The other side of every wire, for demo, tests and development: one process, loopback only, the real protocols, with faults to
//! order. `start` opens one listener per service; whatever speech engines it is given do the hearing and the speaking.

mod access;
pub mod assistant;
pub mod audio_format;
mod control;
pub mod cxone;
pub mod engine;
pub mod events;
pub mod faults;
mod gate;
mod iam;
pub mod load_test;
pub mod models;
mod plan;
mod reply;
pub mod script;
mod socket;
pub mod speech;
mod speech_to_text;
mod text_to_speech;

use access::{Tokens, WatsonAccess};
use assistant::{Assistant, AssistantSettings, Dialog};
use axum::Router;
use cxone::{Contacts, KnownContacts};
use engine::{Recognition, Synthesis};
use events::Events;
use faults::{FaultError, FaultOrder, Faults, SandboxService};
use gate::{Cutter, Gate, GatedListener};
use script::ScriptSettings;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How the sandbox is to be.
pub struct SandboxOptions {
    /// The six listeners take this port of 127.0.0.1 and the five after it (control, IAM, Speech to Text, Text to Speech,
    /// assistant, CXone); `None` takes free ones.
    pub base_port: Option<u16>,
    /// Who hears.
    pub recognition: Arc<dyn Recognition>,
    /// Who speaks.
    pub synthesis: Arc<dyn Synthesis>,
    /// What the assistant says.
    pub dialog: Dialog,
    /// What clients must show.
    pub credentials: Credentials,
    /// Base of the agent's page, for the script's PopURL.
    pub agent_url: String,
    /// Which contacts may be signalled.
    pub known_contacts: KnownContacts,
    /// Limits of the services.
    pub limits: Limits,
    /// Faults in force from the start.
    pub faults: Vec<FaultOrder>,
}

impl SandboxOptions {
    /// Free ports, the known credentials, the services' own limits, no faults.
    #[must_use]
    pub fn new(recognition: Arc<dyn Recognition>, synthesis: Arc<dyn Synthesis>, dialog: Dialog) -> Self {
        Self {
            base_port: None,
            recognition,
            synthesis,
            dialog,
            credentials: Credentials::default(),
            agent_url: "http://127.0.0.1:8081".to_owned(),
            known_contacts: KnownContacts::default(),
            limits: Limits::default(),
            faults: Vec::new(),
        }
    }
}

/// What clients of the sandbox must show. The defaults are no secret: everything listens on loopback only.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// API key of the three Watson services.
    pub api_key: SecretString,
    /// CXone access key.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: SecretString,
    /// CXone OAuth client, for `oauth_password`.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            api_key: "sandbox-watson-api-key".into(),
            access_key_id: "SANDBOXACCESSKEYID====".to_owned(),
            access_key_secret: "SANDBOXACCESSKEYSECRET====".into(),
            client_id: "voice-gateway@sandbox".to_owned(),
            client_secret: "sandbox-client-secret".into(),
        }
    }
}

/// Limits of the real services, to be shortened in tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `expires_in` of tokens, both IAM's and CXone's: 3600 s.
    pub token_lifetime: Duration,
    /// Speech to Text wants half of this as audio within any such span: 30 s.
    pub session_window: Duration,
    /// An assistant session unused for so long is gone: 1 h.
    pub session_inactivity: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            token_lifetime: Duration::from_secs(3_600),
            session_window: Duration::from_secs(30),
            session_inactivity: Duration::from_secs(3_600),
        }
    }
}

/// Why the sandbox could not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A port could not be had.
    #[error("sandbox: cannot listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// `base_port` leaves no room for the six listeners.
    #[error("sandbox: base port {0} is too high: the six listeners need it and the five after it")]
    BasePort(u16),
    /// A fault order of the options makes no sense.
    #[error("sandbox: {0}")]
    Fault(#[from] FaultError),
}

/// Where everything is. Watson's are instance URLs as the gateway's configuration wants them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Urls {
    /// Faults, contacts, `GET /sandbox/gateway.toml`.
    pub control: String,
    /// `/identity/token`.
    pub iam: String,
    /// Instance URL.
    pub speech_to_text: String,
    /// Instance URL.
    pub text_to_speech: String,
    /// Instance URL.
    pub assistant: String,
    /// Base of CXone: issuer and API in one.
    pub cxone: String,
    /// `/authentication/v1/token/access-key`.
    pub cxone_token: String,
    /// `/.well-known/cxone-configuration`, without the tenant.
    pub cxone_discovery: String,
}

/// A running sandbox. It ends with its cancellation token; the tasks are on the tracker.
pub struct Sandbox {
    /// Where everything is.
    pub urls: Arc<Urls>,
    /// What clients must show.
    pub credentials: Credentials,
    /// `assistant.assistant_id`, for the newer path form.
    pub assistant_id: &'static str,
    /// `assistant.environment_id`.
    pub environment_id: &'static str,
    /// The tenant in CXone's tokens.
    pub tenant_id: &'static str,
    /// What happens.
    pub events: Events,
    /// What goes wrong.
    pub faults: Arc<Faults>,
    /// CXone's contacts: `place_contact` before the call is placed.
    pub contacts: Contacts,
    agent_url: String,
    iam_tokens: Arc<Tokens>,
    cxone_tokens: Arc<Tokens>,
}

impl Sandbox {
    /// The sections of a gateway's configuration that point it at this sandbox.
    #[must_use]
    pub fn gateway_config(&self) -> String {
        gateway_config(&self.urls, &self.credentials)
    }

    /// What the script of a contact has to know. Takes up a `no_bye` order, if one is in force.
    #[must_use]
    pub fn script_settings(&self, contact_id: impl Into<String>) -> ScriptSettings {
        ScriptSettings {
            contact_id: contact_id.into(),
            contact_id_header: "X-ContactID".to_owned(),
            agent_url: self.agent_url.clone(),
            withhold_bye: self.faults.withhold_bye(),
        }
    }

    /// Makes every token handed out so far invalid.
    pub fn revoke_tokens(&self) {
        self.iam_tokens.revoke_all();
        self.cxone_tokens.revoke_all();
    }
}

/// Starts the sandbox: all ports are bound before anything is served.
///
/// # Errors
/// When a port cannot be had or a fault order makes no sense.
pub async fn start(
    options: SandboxOptions,
    tracker: &TaskTracker,
    shutdown: CancellationToken,
) -> Result<Sandbox, SandboxError> {
    let faults = Arc::new(Faults::default());
    for order in options.faults {
        faults.order(order)?;
    }
    let mut listeners = Vec::new();
    for offset in 0..LISTENERS {
        let port = match options.base_port {
            None => 0,
            Some(base) => base.checked_add(offset).ok_or(SandboxError::BasePort(base))?,
        };
        listeners.push(bind(port).await?);
    }
    let Ok([control, iam, speech_to_text, text_to_speech, assistant, cxone]) =
        <[(TcpListener, SocketAddr); LISTENERS as usize]>::try_from(listeners)
    else {
        return Err(SandboxError::BasePort(options.base_port.unwrap_or(0)));
    };
    let urls = Arc::new(Urls {
        control: format!("http://{}", control.1),
        iam: format!("http://{}/identity/token", iam.1),
        speech_to_text: format!("http://{}/instances/{SPEECH_TO_TEXT_INSTANCE}", speech_to_text.1),
        text_to_speech: format!("http://{}/instances/{TEXT_TO_SPEECH_INSTANCE}", text_to_speech.1),
        assistant: format!("http://{}/instances/{ASSISTANT_INSTANCE}", assistant.1),
        cxone: format!("http://{}", cxone.1),
        cxone_token: format!("http://{}/authentication/v1/token/access-key", cxone.1),
        cxone_discovery: format!("http://{}/.well-known/cxone-configuration", cxone.1),
    });
    let credentials = options.credentials;
    let sandbox = Sandbox {
        urls: Arc::clone(&urls),
        credentials: credentials.clone(),
        assistant_id: ASSISTANT_ID,
        environment_id: ENVIRONMENT_ID,
        tenant_id: TENANT_ID,
        events: Events::default(),
        faults: Arc::clone(&faults),
        contacts: Contacts::new(options.known_contacts),
        agent_url: options.agent_url,
        iam_tokens: Arc::default(),
        cxone_tokens: Arc::default(),
    };
    let events = &sandbox.events;
    let limits = options.limits;
    let access = WatsonAccess { tokens: Arc::clone(&sandbox.iam_tokens), api_key: credentials.api_key.clone() };
    let door = Door { faults, tracker: tracker.clone(), shutdown: shutdown.clone() };
    let iam_server = iam::Iam {
        api_key: credentials.api_key.clone(),
        tokens: Arc::clone(&sandbox.iam_tokens),
        lifetime: limits.token_lifetime,
        events: events.clone(),
    };
    door.open(iam.0, SandboxService::Iam, iam::routes(iam_server))?;
    let speech_server = speech_to_text::SpeechToText {
        access: access.clone(),
        instance: SPEECH_TO_TEXT_INSTANCE.into(),
        recognition: options.recognition,
        window: limits.session_window,
        events: events.clone(),
        tracker: tracker.clone(),
        shutdown: shutdown.clone(),
    };
    door.open(speech_to_text.0, SandboxService::SpeechToText, speech_to_text::routes(speech_server))?;
    let voice_server = text_to_speech::TextToSpeech {
        access: access.clone(),
        instance: TEXT_TO_SPEECH_INSTANCE.into(),
        synthesis: options.synthesis,
        events: events.clone(),
        faults: Arc::clone(&sandbox.faults),
        tracker: tracker.clone(),
        shutdown: shutdown.clone(),
    };
    door.open(text_to_speech.0, SandboxService::TextToSpeech, text_to_speech::routes(voice_server))?;
    let settings = AssistantSettings {
        instance: ASSISTANT_INSTANCE.into(),
        assistant_id: ASSISTANT_ID.into(),
        environment_id: ENVIRONMENT_ID.into(),
        inactivity: limits.session_inactivity,
    };
    let assistant_server = Assistant::new(access, settings, options.dialog, events.clone());
    door.open(assistant.0, SandboxService::Assistant, assistant::routes(assistant_server))?;
    let cxone_server = cxone::Cxone {
        base_url: urls.cxone.as_str().into(),
        tenant_id: TENANT_ID.into(),
        access_key_id: credentials.access_key_id.as_str().into(),
        access_key_secret: credentials.access_key_secret.clone(),
        client_id: credentials.client_id.as_str().into(),
        client_secret: credentials.client_secret.clone(),
        tokens: Arc::clone(&sandbox.cxone_tokens),
        lifetime: limits.token_lifetime,
        contacts: sandbox.contacts.clone(),
        events: events.clone(),
    };
    door.open(cxone.0, SandboxService::Cxone, cxone::routes(cxone_server))?;
    let control_server = control::Control {
        faults: Arc::clone(&sandbox.faults),
        contacts: sandbox.contacts.clone(),
        gateway_config: sandbox.gateway_config().into(),
        urls,
    };
    let control_routes = control::routes(control_server);
    let until = shutdown.cancelled_owned();
    tracker.spawn(async move {
        if let Err(error) = axum::serve(control.0, control_routes).with_graceful_shutdown(until).await {
            tracing::error!(%error, "sandbox control listener ended");
        }
    });
    Ok(sandbox)
}

/// Opens gated listeners.
struct Door {
    faults: Arc<Faults>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Door {
    fn open(&self, listener: TcpListener, service: SandboxService, routes: Router) -> Result<(), SandboxError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = GatedListener::new(listener, service, Arc::clone(&self.faults))
            .map_err(|source| SandboxError::Listen { address, source })?;
        let gate = Gate { service, faults: Arc::clone(&self.faults), shutdown: self.shutdown.clone() };
        let app = routes
            .layer(axum::middleware::from_fn_with_state(gate, gate::befall))
            .into_make_service_with_connect_info::<Cutter>();
        let until = self.shutdown.clone().cancelled_owned();
        self.tracker.spawn(async move {
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(until).await {
                tracing::error!(?service, %error, "sandbox listener ended");
            }
        });
        Ok(())
    }
}

async fn bind(port: u16) -> Result<(TcpListener, SocketAddr), SandboxError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let failed = |source| SandboxError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn gateway_config(urls: &Urls, credentials: &Credentials) -> String {
    let text = |value: &str| toml::Value::from(value).to_string();
    let key = text(credentials.api_key.expose_secret());
    let iam = text(&urls.iam);
    let mut config = String::new();
    for (section, url) in [("speech_to_text", &urls.speech_to_text), ("text_to_speech", &urls.text_to_speech)] {
        config += &format!("[{section}]\nurl = {}\napi_key = {key}\niam_url = {iam}\n\n", text(url));
    }
    config += &format!(
        "[assistant]\nurl = {}\napi_key = {key}\niam_url = {iam}\nassistant_id = \"{ASSISTANT_ID}\"\nenvironment_id = \"{ENVIRONMENT_ID}\"\n\n",
        text(&urls.assistant)
    );
    config += &format!(
        "[cxone]\naccess_key_id = {}\naccess_key_secret = {}\ntoken_url = {}\ndiscovery_url = {}\n",
        text(&credentials.access_key_id),
        text(credentials.access_key_secret.expose_secret()),
        text(&urls.cxone_token),
        text(&urls.cxone_discovery)
    );
    config
}

const LISTENERS: u16 = 6;
const SPEECH_TO_TEXT_INSTANCE: &str = "5a4d0b0c-0000-4000-8000-000000000001";
const TEXT_TO_SPEECH_INSTANCE: &str = "5a4d0b0c-0000-4000-8000-000000000002";
const ASSISTANT_INSTANCE: &str = "5a4d0b0c-0000-4000-8000-000000000003";
const ASSISTANT_ID: &str = "5a4d0b0c-0000-4000-8000-00000000000a";
const ENVIRONMENT_ID: &str = "5a4d0b0c-0000-4000-8000-00000000000e";
const TENANT_ID: &str = "5a4d0b0c-0000-4000-8000-0000000000c0";
