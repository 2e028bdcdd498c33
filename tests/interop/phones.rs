//! Calls by PJSIP and baresip: sound both ways, hold, keys, headers, over each transport.

use super::authority::Authority;
use super::engines::{Ears, Reciter};
use super::gateway::Gateway;
use super::softphone::{Make, Softphone};
use super::sound::{assert_heard, recording, wav};
use super::stage::{DIALOG, Stage, eventually};
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
    /// Whether the phone must say that the sound is encrypted, or must not.
    encrypted: bool,
    /// Of the gateway and the phone.
    host: &'static str,
}

impl Conversation {
    fn new(make: Make, transport: &'static str) -> Self {
        Self { make, transport, keys: "press", options: Vec::new(), changes: "", encrypted: false, host: "127.0.0.1" }
    }

    fn with(mut self, options: &[&'static str]) -> Self {
        self.options.extend(options);
        self
    }

    fn changes(self, changes: &'static str) -> Self {
        Self { changes, ..self }
    }

    fn encrypted(self) -> Self {
        Self { encrypted: true, ..self }
    }

    fn by_ipv6(self) -> Self {
        Self { host: "[::1]", ..self.with(&["--six"]) }
    }

    fn keys_by_info(self) -> Self {
        match self.make {
            Make::Pjsip => Self { keys: "info", ..self },
            Make::Baresip => self.with(&["--keys", "info"]),
        }
    }

    async fn held(&self) {
        let ears = Ears::default();
        let stage = Stage::with_engines(Arc::new(ears.clone()), Arc::new(Reciter(recording(PROMPT))), DIALOG).await;
        let recordings = stage.dir.path().join("recordings");
        let changes = format!("media.recording_dir = {recordings:?}\n{}\n", self.changes);
        let authority = Authority::new();
        let (contact, ca) = (format!("X-ContactID: {CONTACT}"), authority.ca());
        let mut options = [&["--transport", self.transport, "--header", &contact], &self.options[..]].concat();
        let at = format!("{}:0", self.host);
        let listen = if self.transport == "tls" {
            options.extend(["--ca", &ca]);
            authority.issue("gateway").listener(&at)
        } else {
            format!("sip.listen = [\"udp:{at}\", \"tcp:{at}\"]\n")
        };
        let bind = format!("media.bind_address = {:?}\n", self.host.trim_matches(['[', ']']));
        let gateway = stage.gateway(&(listen + &bind + &changes)).await;
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
        let encrypted = phone.encrypted();
        assert_eq!(encrypted.is_some(), self.encrypted, "{encrypted:?}");
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
            "tls" => gateway.tls,
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
const EXPOSED: &str = "media.srtp = \"required\"\nmedia.srtp_without_tls = true";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_by_tcp_with_srtp() {
    Conversation::new(Make::Pjsip, "tcp").with(&["--srtp", "required"]).changes(EXPOSED).encrypted().held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_by_udp_with_srtp() {
    Conversation::new(Make::Baresip, "udp").with(&["--srtp", "srtp-mand"]).changes(EXPOSED).encrypted().held().await;
}

/// As a carrier would have it: SIP by TLS with a certificate that the phone verifies, SRTP with keys of its SDP.
const REQUIRED: &str = "media.srtp = \"required\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_by_tls_with_srtp_that_both_require() {
    let phone = Conversation::new(Make::Pjsip, "tls").with(&["--srtp", "required"]);
    phone.changes(REQUIRED).encrypted().held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_by_tls_with_srtp_that_both_require() {
    let phone = Conversation::new(Make::Baresip, "tls").with(&["--srtp", "srtp-mand"]);
    phone.changes(REQUIRED).encrypted().held().await;
}

/// Where neither side insists, sound is encrypted all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_by_tls_with_srtp_if_it_can_be_in_a_law_with_keys_by_info() {
    let phone = Conversation::new(Make::Pjsip, "tls").with(&["--srtp", "optional", "--codecs", "PCMA"]);
    phone.keys_by_info().encrypted().held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_by_tls_with_srtp_if_it_can_be() {
    Conversation::new(Make::Baresip, "tls").with(&["--srtp", "srtp"]).encrypted().held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_by_tls_without_srtp() {
    Conversation::new(Make::Baresip, "tls").with(&["--codecs", "pcma"]).held().await;
}

/// Signalling and sound, plain and encrypted.
async fn by_ipv6(phone: Conversation) {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: there is no IPv6 here");
        return;
    }
    phone.by_ipv6().held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_by_udp_over_ipv6() {
    by_ipv6(Conversation::new(Make::Baresip, "udp")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_by_tls_over_ipv6_with_srtp() {
    let phone = Conversation::new(Make::Baresip, "tls").with(&["--srtp", "srtp-mand"]);
    by_ipv6(phone.changes(REQUIRED).encrypted()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_answers_a_digest_challenge() {
    let digest = "sip.digest = { realm = \"trunk\", username = \"cxone\", password = \"open sesame\" }";
    let options = ["--user", "cxone", "--password", "open sesame"];
    Conversation::new(Make::Pjsip, "udp").with(&options).changes(digest).held().await;
}

/// One gateway by TLS, and phones that have one suite each: what is agreed is what the phone has, and the prompt is understood.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_by_each_suite_of_srtp_that_it_has_and_none_without() {
    let (ears, authority) = (Ears::default(), Authority::new());
    let stage = Stage::with_engines(Arc::new(ears.clone()), Arc::new(Reciter(recording(PROMPT))), DIALOG).await;
    let listen = authority.issue("gateway").listener("127.0.0.1:0");
    let gateway = stage.gateway(&format!("{listen}{REQUIRED}")).await;
    let uri = format!("sip:+18882346789@{};transport=tls", gateway.tls);
    let (contact, ca) = (format!("X-ContactID: {CONTACT}"), authority.ca());
    let tls = ["--transport", "tls", "--ca", &ca, "--header", &contact];
    for suite in
        ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32"]
    {
        let options = [&tls[..], &["--srtp", "required", "--suite", suite]].concat();
        let mut phone = Softphone::new(Make::Pjsip, CALLER, &options).await;
        phone.call(&uri).await;
        let before = ears.heard().len();
        phone.order("say").await;
        ears.listened(Duration::from_secs(5)).await;
        phone.hang_up().await;
        assert_eq!(phone.encrypted().map(|told| told["suite"].clone()), Some(suite.into()));
        assert_heard(&recording(PROMPT), &phone.heard().await, suite);
        assert_heard(&recording(CALLER), &ears.heard()[before..], suite);
    }
    let mut plain = Softphone::new(Make::Pjsip, CALLER, &tls).await;
    plain.order(&format!("call {uri}")).await;
    assert_eq!(plain.until("ended", |_| true).await["code"], 488);
    gateway.idle().await;
    assert_eq!(gateway.metric("rtp_dropped_total", &["reason=\"forged\""]).await, 0.0);
}
