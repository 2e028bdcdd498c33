//! One gateway and the sandbox it talks to, on free ports, with a store of its own.

use super::gateway::{DEADLINE, Gateway};
use parking_lot::Mutex;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use voice_gateway::sandbox::assistant::Dialog;
use voice_gateway::sandbox::engine::{Recognition, Synthesis};
use voice_gateway::sandbox::events::SandboxEvent;
use voice_gateway::sandbox::faults::{Fault, FaultId, FaultOrder, SandboxService};
use voice_gateway::sandbox::load_test::{LoadTestRecognition, LoadTestSynthesis};
use voice_gateway::sandbox::{Sandbox, SandboxOptions, start};

/// The services, and where the gateway's files are.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) dir: TempDir,
    events: Arc<Mutex<Vec<SandboxEvent>>>,
    pub(crate) rtp: (u16, u16),
    _range: UdpSocket,
    _stop: DropGuard,
}

impl Stage {
    /// The sandbox, whose recogniser hears these words in turn.
    pub(crate) async fn new(words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned());
        Self::with_engines(Arc::new(LoadTestRecognition::new(words)), Arc::new(LoadTestSynthesis), DIALOG).await
    }

    /// The sandbox with ears, a mouth and a dialog of the test's own.
    pub(crate) async fn with_engines(ears: Arc<dyn Recognition>, mouth: Arc<dyn Synthesis>, dialog: &str) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let dialog = Dialog::parse("dialog.toml", dialog).unwrap();
        let options = SandboxOptions::new(ears, mouth, dialog);
        let stop = CancellationToken::new();
        let sandbox = start(options, &TaskTracker::new(), stop.clone()).await.unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let (mut told, kept) = (sandbox.events.subscribe(), Arc::clone(&events));
        tokio::spawn(async move {
            while let Ok(event) = told.recv().await {
                kept.lock().push(event);
            }
        });
        let (range, rtp) = free_range();
        Self { sandbox, dir: tempfile::tempdir().unwrap(), events, rtp, _range: range, _stop: stop.drop_guard() }
    }

    /// Writes the configuration, `changes` laid over it, and runs the gateway.
    pub(crate) async fn gateway(&self, changes: &str) -> Gateway {
        Gateway::serve(&self.config(changes)).await
    }

    /// Both at once.
    pub(crate) async fn with_gateway(words: &[&str], changes: &str) -> (Self, Gateway) {
        let stage = Self::new(words).await;
        let gateway = stage.gateway(changes).await;
        (stage, gateway)
    }

    pub(crate) fn config(&self, changes: &str) -> PathBuf {
        let mut config: toml::Table = self.sandbox.gateway_config().parse().unwrap();
        let store = format!("history.store = \"sqlite:{}\"", self.dir.path().join("history.db").display());
        let ports = format!("media.port_range = [{0}, {1}]", self.rtp.0, self.rtp.1);
        for layer in [BASE, &store, &ports, changes] {
            lay(&mut config, layer.parse().unwrap());
        }
        let path = self.dir.path().join("gateway.toml");
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    pub(crate) fn order(&self, service: SandboxService, fault: Fault) -> FaultId {
        self.sandbox.faults.order(FaultOrder::new(service, fault)).unwrap()
    }

    /// What the assistant was told, in order.
    pub(crate) fn turns(&self) -> Vec<String> {
        let events = self.events.lock();
        let texts = events.iter().filter_map(|event| match event {
            SandboxEvent::Turn { text, .. } => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    /// Waits until the assistant was told this.
    pub(crate) async fn told(&self, text: &str) {
        eventually(&format!("the assistant is told {text:?}"), async || {
            self.turns().iter().any(|turn| turn == text).then_some(())
        })
        .await;
    }

    /// Whom CXone was asked to signal.
    pub(crate) fn signalled(&self) -> Vec<String> {
        let events = self.events.lock();
        let contacts = events.iter().filter_map(|event| match event {
            SandboxEvent::Signalled { contact_id, .. } => Some(contact_id.clone()),
            _ => None,
        });
        contacts.collect()
    }
}

/// Polls until there is something; the deadline is for a machine that is busy with a compiler.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Room for 100 calls where nobody is now, below the ports that the system and default configurations use.
/// A hundred pairs for this stage alone, and the socket that keeps other stages off them as long as it lives: captures
/// and counts of packets are by port, so that two gateways in one range would be taken for one.
fn free_range() -> (UdpSocket, (u16, u16)) {
    loop {
        let guard = 10_000 + 202 * fastrand::u16(..48);
        let (first, last) = (guard + 2, guard + 201);
        let Ok(kept) = UdpSocket::bind(("127.0.0.1", guard)) else { continue };
        if (first..=last).all(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok()) {
            return (kept, (first, last));
        }
    }
}

fn lay(under: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => lay(under, over),
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

const BASE: &str = r#"
sip.max_calls = 100
sip.listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
media.bind_address = "127.0.0.1"
agent.listen = "127.0.0.1:0"
admin.listen = "127.0.0.1:0"
dialog.failure_message = "Sorry."
dialog.transfer_failure_message = "No agent."
dialog.post_response_timeout = "60s"
"#;

pub(crate) const DIALOG: &str = r#"
name = "The daemon's tests"

[[rules]]
name = "greeting"
patterns = ["^$"]
responses = [{ response_type = "text", text = "Hi there." }]

[[rules]]
name = "agent"
patterns = ["agent"]
responses = [{ response_type = "connect_to_agent", transfer_info.target.nice_cxone.custom_data = { p2 = "billing & more", p3 = "50% größer", p4 = "a/b?c=1+1" }, agent_available.message = "One moment." }]

[[rules]]
name = "goodbye"
patterns = ["goodbye"]
responses = [{ response_type = "text", text = "Bye." }, { response_type = "end_session" }]

[[rules]]
name = "desk"
patterns = ["the desk"]
responses = [{ response_type = "connect_to_agent", topic = "billing", transfer_info.target.service_desk.sip = { uri = 'sip:desk\@pbx.example.com', transfer_headers = [{ name = "X-Skill", value = "sales" }] }, agent_available.message = "One moment." }]

[[rules]]
name = "other-line"
patterns = ["other line"]
responses = [{ response_type = "connect_to_agent", transfer_info.target.service_desk.sip = { uri = 'sip:line\@pbx.example.com', transfer_method = "hangup", transfer_headers = [{ name = "X-Skill", value = "sales" }] }, agent_available.message = "One moment." }]

[[rules]]
name = "farewell"
patterns = ["farewell"]
responses = [{ response_type = "text", text = "Bye." }, { response_type = "end_session", channel_options.voice_telephony.sip.headers = [{ name = "Customer-Header1", value = "Some-Custom-Info" }] }]

[[rules]]
name = "tariffs"
patterns = ["tariffs"]
responses = [{ response_type = "text", text = "Our day tariff is twenty cents, our night tariff is twelve cents, and our weekend tariff is ten cents for each kilowatt hour that you use at home." }]

[[rules]]
name = "timeout"
patterns = ["^vgw"]
responses = [{ response_type = "text", text = "Hm." }]

[fallback]
responses = [{ response_type = "text", text = "I see." }]
"#;
