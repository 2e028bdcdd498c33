//! Calls by PJSIP and baresip: sound both ways, hold, keys, headers, over each transport.

use super::engines::{Ears, Reciter};
use super::gateway::Gateway;
use super::softphone::{Make, Softphone};
use super::sound::{assert_heard, recording, wav};
use super::stage::{Stage, eventually};
use std::sync::Arc;
use std::time::Duration;

/// What the assistant says, whatever it says; what the caller says.
const PROMPT: &str = "librivox-0880.wav";
const CALLER: &str = "cards-005.wav";
const CONTACT: &str = "100000000021";

/// A call from end to end.
struct Conversation {
    make: Make,
    transport: &'static str,
    /// `press` for telephone-event, or by INFO in the way the phone has for that. A key that comes both ways is one key, so a call has one way.
    keys: &'static str,
    options: Vec<&'static str>,
    /// Of the gateway's configuration.
    changes: &'static str,
}

impl Conversation {
    fn new(make: Make, transport: &'static str) -> Self {
        Self { make, transport, keys: "press", options: Vec::new(), changes: "" }
    }

    fn with(mut self, options: &[&'static str]) -> Self {
        self.options.extend(options);
        self
    }

    fn changes(self, changes: &'static str) -> Self {
        Self { changes, ..self }
    }

    fn keys_by_info(self) -> Self {
        match self.make {
            Make::Pjsip => Self { keys: "info", ..self },
            Make::Baresip => self.with(&["--keys", "info"]),
        }
    }

    async fn held(&self) {
        let ears = Ears::default();
        let stage = Stage::with_engines(Arc::new(ears.clone()), Arc::new(Reciter(recording(PROMPT)))).await;
        let recordings = stage.dir.path().join("recordings");
        let gateway = stage.gateway(&format!("media.recording_dir = {recordings:?}\n{}", self.changes)).await;
        let contact = format!("X-ContactID: {CONTACT}");
        let options = [&["--transport", self.transport, "--header", &contact], &self.options[..]].concat();
        let mut phone = Softphone::new(self.make, CALLER, &options).await;

        phone.call(&self.uri(&gateway)).await;
        phone.order("say").await;
        ears.listened(Duration::from_secs(5)).await;
        assert_eq!(gateway.calls().await["calls"][0]["contact_id"], CONTACT);

        phone.hold(true).await;
        phone.hold(false).await;
        for key in ["5", "#"] {
            phone.order(&format!("{} {key}", self.keys)).await;
            stage.told(key).await;
        }
        let after = ears.heard().len();
        phone.order("say").await;
        ears.listened(Duration::from_secs(5)).await;
        phone.hang_up().await;
        let heard = phone.heard().await;
        gateway.idle().await;

        assert_eq!(stage.turns(), ["", "5", "#"], "each key once");
        assert_eq!(gateway.metric("calls_total", &["end_reason=\"caller_hangup\""]).await, 1.0);
        let (prompt, words) = (recording(PROMPT), recording(CALLER));
        let who = format!("{:?}", self.make);
        assert_heard(&prompt, &heard[..heard.len() / 2], &who);
        assert_heard(&prompt, &heard[heard.len() / 2..], &format!("{who} after hold"));
        let recogniser = ears.heard();
        assert_heard(&words, &recogniser[..after], "the recogniser");
        assert_heard(&words, &recogniser[after..], "the recogniser after hold");
        let file = eventually("the recording is there", async || {
            std::fs::read_dir(&recordings).ok()?.next().map(|entry| entry.unwrap().path())
        });
        let recorded = wav(&file.await);
        assert_heard(&words, &recorded[0], "the recording's left channel");
        assert_heard(&prompt, &recorded[1], "the recording's right channel");
    }

    fn uri(&self, gateway: &Gateway) -> String {
        let at = match self.transport {
            "udp" => gateway.udp,
            _ => gateway.tcp,
        };
        format!("sip:+18882346789@{at};transport={}", self.transport)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_by_udp() {
    Conversation::new(Make::Pjsip, "udp").held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_by_tcp_in_a_law_with_keys_by_info() {
    Conversation::new(Make::Pjsip, "tcp").with(&["--codecs", "PCMA"]).keys_by_info().held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_by_udp_in_a_law() {
    Conversation::new(Make::Baresip, "udp").with(&["--codecs", "pcma"]).held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_by_tcp_with_keys_by_info() {
    Conversation::new(Make::Baresip, "tcp").keys_by_info().held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_that_demands_prack_and_a_session_timer() {
    Conversation::new(Make::Pjsip, "udp").with(&["--reliable", "--timer", "90"]).held().await;
}

/// Encrypted sound over plain signalling, as a private path to the trunk may have it.
const SRTP: &str = "media.srtp = \"required\"\nmedia.srtp_without_tls = true";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_by_tcp_with_srtp() {
    Conversation::new(Make::Pjsip, "tcp").with(&["--srtp", "required"]).changes(SRTP).held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_by_udp_with_srtp() {
    Conversation::new(Make::Baresip, "udp").with(&["--srtp", "srtp-mand"]).changes(SRTP).held().await;
}
