//! Kamailio in front: a record-routing proxy that also joins UDP to TCP and TLS, and a dispatcher that probes two gateways with OPTIONS.

use super::authority::Authority;
use super::gateway::Gateway;
use super::peers::{own_file, program};
use super::phone::Phone;
use super::softphone::{Make, Softphone};
use super::stage::{Stage, eventually};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

const CONTACT: &str = "100000000022";

/// A Kamailio that runs.
struct Kamailio {
    _child: Child,
    _dir: TempDir,
    log: Arc<Mutex<Vec<String>>>,
    at: SocketAddr,
}

impl Kamailio {
    /// In front of these, in their order.
    async fn before(gateways: &[String]) -> Self {
        Self::believing(None, gateways).await
    }

    /// The same with a certificate of this authority; who speaks TLS with it must have one too.
    async fn believing(authority: Option<&Authority>, gateways: &[String]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let list = dir.path().join("dispatcher.list");
        let lines = gateways.iter().map(|uri| format!("1 {uri}\n"));
        std::fs::write(&list, lines.collect::<String>()).unwrap();
        let config = std::fs::read_to_string(own_file("kamailio.cfg")).unwrap();
        let mut config = config.replace("@PORT@", &at.port().to_string()).replace("@LIST@", &list.to_string_lossy());
        let mut command = program("kamailio");
        if let Some(authority) = authority {
            let own = authority.issue("proxy");
            for (place, value) in [
                ("@TLS_PORT@", &free_port().to_string()),
                ("@CERTIFICATE@", &own.certificate),
                ("@KEY@", &own.key),
                ("@CA@", &authority.ca()),
            ] {
                config = config.replace(place, value);
            }
            command.args(["-A", "WITH_TLS"]);
        }
        let path = dir.path().join("kamailio.cfg");
        std::fs::write(&path, config).unwrap();
        command.args(["-DD", "-E", "-m", "32", "-M", "4", "-Y"]).arg(dir.path()).arg("-f").arg(path);
        let mut child = command.spawn().expect("kamailio cannot be run: tests/run installs it");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (mut lines, sink) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sink.lock().push(line);
            }
        });
        let kamailio = Self { _child: child, _dir: dir, log, at };
        eventually("Kamailio answers", async || {
            let mut phone = Phone::from("127.0.0.1", at).await;
            tokio::time::timeout(Duration::from_millis(500), phone.ask("OPTIONS", &[], "")).await.ok().map(drop)
        })
        .await;
        kamailio
    }

    /// What it logged of this kind: `"within BYE from "`, `"down "`.
    fn told(&self, what: &str) -> Vec<String> {
        let log = self.log.lock();
        log.iter().filter_map(|line| Some(line.split_once(what)?.1.to_owned())).collect()
    }

    /// How often it told one of these of the gateway at this port.
    fn count(&self, what: &[&str], port: u16) -> usize {
        let port = format!(":{port}");
        what.iter().flat_map(|what| self.told(what)).filter(|told| told.ends_with(&port)).count()
    }

    /// Waits until a probe or a call found the gateway at this port to be one that is passed over.
    async fn passes_over(&self, port: u16) {
        eventually("the proxy passes over it", async || {
            (self.count(&["down ", "next after "], port) > 0).then_some(())
        })
        .await;
    }
}

/// Where a gateway listens, so that it can be started there again.
fn listening_at(port: u16) -> String {
    format!("sip.listen = [\"udp:127.0.0.1:{port}\", \"tcp:127.0.0.1:{port}\"]")
}

fn free_port() -> u16 {
    loop {
        let port = 22_000 + fastrand::u16(..10_000);
        let free = std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A phone on one transport, the gateway on the other: requests within the dialog go through the proxy, whoever sends them.
async fn joined(make: Make, caller: &str, gateways: &str) {
    let authority = Authority::new();
    let mut changes = "cxone.after_transfer = \"0s\"\n".to_owned();
    if gateways == "tls" {
        changes += &authority.issue("gateway").listener("127.0.0.1:0");
        changes += &format!("sip.tls.client_ca_file = {:?}\n", authority.ca());
    }
    let (stage, gateway) = Stage::with_gateway(&["an agent"], &changes).await;
    stage.sandbox.contacts.register(CONTACT);
    let at = match gateways {
        "udp" => gateway.udp,
        "tcp" => gateway.tcp,
        _ => gateway.tls,
    };
    let secured = (gateways == "tls").then_some(&authority);
    let kamailio = Kamailio::believing(secured, &[format!("sip:{at};transport={gateways}")]).await;
    let contact = format!("X-ContactID: {CONTACT}");
    let mut phone = Softphone::new(make, "cards-005.wav", &["--transport", caller, "--header", &contact]).await;
    phone.call(&format!("sip:+18882346789@{};transport={caller}", kamailio.at)).await;
    stage.told("").await;
    phone.hold(true).await;
    phone.hold(false).await;
    phone.order("press 4").await;
    stage.told("4").await;
    // The recogniser takes these words for "an agent": the gateway signals, and hangs up.
    phone.order("say").await;
    phone.until("ended", |_| true).await;
    assert_eq!(stage.signalled(), [CONTACT]);
    gateway.idle().await;
    assert_eq!(kamailio.told("within ACK from ").len(), 3, "of the INVITE and both re-INVITEs");
    assert_eq!(kamailio.told("within INVITE from ").len(), 2);
    assert_eq!(kamailio.told("within BYE from "), [at.port().to_string()], "the gateway's own BYE");
    assert_eq!(gateway.metric("calls_total", &["end_reason=\"assistant_transfer\""]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_udp_phone_through_a_proxy_to_a_tcp_gateway() {
    joined(Make::Pjsip, "udp", "tcp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_phone_through_a_proxy_to_a_udp_gateway() {
    joined(Make::Baresip, "tcp", "udp").await;
}

/// The proxy shows a certificate, as the gateway demands, and verifies the gateway's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_udp_phone_through_a_proxy_to_a_tls_gateway() {
    joined(Make::Pjsip, "udp", "tls").await;
}

/// One call through the proxy, in full; which of the two gateways took it.
async fn who_takes_a_call(kamailio: &Kamailio, gateways: &[&Gateway]) -> usize {
    let mut phone = Phone::from("127.0.0.1", kamailio.at).await;
    phone.call_as(CONTACT).await;
    let mut took = None;
    for (index, gateway) in gateways.iter().enumerate() {
        if gateway.calls().await["active"] == 1 {
            assert_eq!(took.replace(index), None, "one call is one gateway's");
        }
    }
    phone.hang_up().await;
    for gateway in gateways {
        gateway.idle().await;
    }
    took.expect("a gateway took it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_gateways_the_dead_and_the_draining_one_get_no_calls() {
    let (stage, other) = (Stage::new(&[]).await, Stage::new(&[]).await);
    let (first, second) = (free_port(), free_port());
    let one = stage.gateway(&listening_at(first)).await;
    let two = other.gateway(&listening_at(second)).await;
    let uris = [first, second].map(|port| format!("sip:127.0.0.1:{port}"));
    let kamailio = Kamailio::before(&uris).await;
    let mut took = [who_takes_a_call(&kamailio, &[&one, &two]).await, who_takes_a_call(&kamailio, &[&one, &two]).await];
    took.sort_unstable();
    assert_eq!(took, [0, 1], "in turn");

    // Dies: whoever is sent there meanwhile is sent on by the proxy.
    drop(one);
    for _ in 0..2 {
        assert_eq!(who_takes_a_call(&kamailio, &[&two]).await, 0);
    }
    kamailio.passes_over(first).await;
    let seen_well = kamailio.count(&["up "], first);
    let one = stage.gateway(&listening_at(first)).await;
    eventually("a probe finds it well", async || (kamailio.count(&["up "], first) > seen_well).then_some(())).await;

    // Drains: 503 to the probes and to the INVITE that comes before the next of them.
    assert_eq!(two.order("/v1/drain").await.status(), 202);
    for _ in 0..2 {
        assert_eq!(who_takes_a_call(&kamailio, &[&one]).await, 0);
    }
    kamailio.passes_over(second).await;
    assert_eq!(two.metric("calls_total", &["end_reason=\"failed\""]).await, 0.0);
}
