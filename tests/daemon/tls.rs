//! SIP over TLS as the daemon has it: whom it shows and believes, what `check` says of its files, and a call over IPv6 in all its parts.

use super::authority::Authority;
use super::call::call;
use super::gateway::run;
use super::stage::{Stage, eventually};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_tls_the_gateway_is_believed_by_its_authority_and_shown_a_certificate() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let listen = ours.issue("gateway").listener("127.0.0.1:0");
    let changes = format!("{listen}sip.tls.client_ca_file = {:?}\n", ours.ca());
    let (_stage, gateway) = Stage::with_gateway(&[], &changes).await;
    let uri = format!("sip:100@{}", gateway.tls);
    let order = [uri.as_str(), "--transport", "tls", "--contact-id", "4715", "--seconds", "1", "--ladder"];
    let phone = ours.issue("phone");
    let shown = ["--tls-cert", &phone.certificate, "--tls-key", &phone.key];
    for trust in [&["--tls-ca", &ours.ca()][..], &["--tls-insecure"]] {
        let (code, told) = call(&[&order, &shown[..], trust].concat()).await;
        assert_eq!(
            (code, &told["ok"], &told["ladder"][0]["transport"]),
            (Some(0), &true.into(), &"tls".into()),
            "{told}"
        );
    }
    gateway.idle().await;
    // Another's authority, the web's, and no certificate where one is demanded.
    let other = theirs.ca();
    for trust in [&[&shown[..], &["--tls-ca", &other]].concat()[..], &shown[..], &["--tls-insecure"]] {
        let (code, told) = call(&[&order[..], trust].concat()).await;
        assert_eq!((code, &told["answered"]), (Some(1), &false.into()), "{trust:?}: {told}");
    }
    let (code, told) = call(&[&order[..], &["--tls-ca", "missing.pem"]].concat()).await;
    assert!(code == Some(1) && told["error"].as_str().unwrap().contains("missing.pem"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_takes_new_files_and_a_call_that_is_up_goes_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let shown = old.issue("gateway");
    let (_stage, mut gateway) = Stage::with_gateway(&[], &shown.listener("127.0.0.1:0")).await;
    let uri = format!("sip:100@{}", gateway.tls);
    let calls = async |trust: &str, contact: &str| {
        let order = [uri.as_str(), "--transport", "tls", "--tls-ca", trust, "--contact-id", contact];
        call(&[&order[..], &["--seconds", "1"]].concat()).await
    };
    let (before, ca) = (uri.clone(), old.ca());
    let up = tokio::spawn(async move {
        let order = [before.as_str(), "--transport", "tls", "--tls-ca", &ca, "--contact-id", "4718"];
        call(&order).await
    });
    eventually("the call is up", async || (gateway.calls().await["active"] == 1).then_some(())).await;
    let call_id = gateway.calls().await["calls"][0]["call_id"].as_str().unwrap().to_owned();
    gateway.signal("HUP").await;
    gateway.logged("tls_unchanged").await;

    let renewed = new.issue("gateway");
    std::fs::copy(&renewed.key, &shown.key).unwrap();
    std::fs::copy(&renewed.certificate, &shown.certificate).unwrap();
    gateway.signal("HUP").await;
    gateway.logged("tls_reloaded").await;
    assert_eq!(calls(&new.ca(), "4719").await.0, Some(0), "who believes the new one calls");
    assert_eq!(calls(&old.ca(), "4720").await.0, Some(1), "who believes the old one only does not");
    assert_eq!(gateway.order(&format!("/v1/calls/{call_id}/hangup")).await.status(), 202, "it is still up");
    let (_, told) = up.await.unwrap();
    assert_eq!((&told["answered"], &told["ended_by"]), (&true.into(), &"peer".into()), "{told}");
    gateway.idle().await;
    assert_eq!(gateway.metric("sip_tls_reloads_total", &["outcome=\"ok\""]).await, 1.0);
}

/// What `check` says, and its exit status.
async fn checked(stage: &Stage, changes: &str) -> (Option<i32>, Value) {
    let config = stage.config(changes);
    let output = run(&["check", "--json", "--config", config.to_str().unwrap()]).await;
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

/// What it saw of this, or what is wrong with it.
fn found<'a>(told: &'a Value, what: &str) -> Result<&'a str, &'a str> {
    let mut findings = told["findings"].as_array().unwrap().iter();
    let found = findings.find(|one| one["what"] == what).unwrap_or_else(|| panic!("no {what} in {told:#}"));
    found["seen"].as_str().ok_or_else(|| found["wrong"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_reads_the_certificate_and_says_what_is_wrong_with_it() {
    let stage = Stage::new(&[]).await;
    let authority = Authority::new();
    let mut gateway = authority.issue("gateway");
    let demanding = format!("sip.tls.client_ca_file = {:?}", authority.ca());
    let (code, told) = checked(&stage, &(gateway.listener("127.0.0.1:0") + &demanding)).await;
    let seen = found(&told, "sip.tls").unwrap();
    assert_eq!(code, Some(0), "{seen}");
    for part in ["127.0.0.1, ::1", "valid until", "its key fits", "certificates of 1 authorities are demanded"] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
    assert!(found(&told, "sockets").unwrap().contains("tls:127.0.0.1:0"));

    // Another's key: neither the files nor the listener can be had.
    gateway.key = authority.issue("strange").key;
    let (code, told) = checked(&stage, &gateway.listener("127.0.0.1:0")).await;
    let (files, sockets) = (found(&told, "sip.tls").unwrap_err(), found(&told, "sockets").unwrap_err());
    assert!(code == Some(1) && files.contains("strange.key") && sockets.contains("see sip.tls"), "{files} {sockets}");

    let over = authority.issue_as("over", |params| params.not_after = rcgen::date_time_ymd(2026, 1, 1));
    let (code, told) = checked(&stage, &over.listener("127.0.0.1:0")).await;
    let wrong = found(&told, "sip.tls").unwrap_err();
    assert!(code == Some(1) && wrong.contains("over.crt") && wrong.contains("2026-01-01"), "{wrong}");
    found(&told, "history store").unwrap();
}

/// The certificate is for ::1 too: signalling within TLS and encrypted sound, all of it by IPv6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_by_ipv6_in_all_its_parts() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: there is no IPv6 here");
        return;
    }
    let authority = Authority::new();
    let changes = authority.issue("gateway").listener("[::1]:0") + "media.bind_address = \"::1\"\n";
    let (stage, gateway) = Stage::with_gateway(&[], &changes).await;
    assert!(gateway.tls.is_ipv6());
    let uri = format!("sip:100@{}", gateway.tls);
    let order = [uri.as_str(), "--transport", "tls", "--tls-ca", &authority.ca(), "--contact-id", "4717"];
    let more = ["--srtp", "required", "--dtmf", "5", "--seconds", "3", "--ladder"];
    let (code, told) = call(&[&order[..], &more].concat()).await;
    assert_eq!((code, &told["ok"]), (Some(0), &true.into()), "{told}");
    for (message, direction) in [("INVITE ", "out"), ("SIP/2.0 200", "in")] {
        let mut messages = told["ladder"].as_array().unwrap().iter();
        let described =
            |one: &&Value| one["first_line"].as_str().unwrap().starts_with(message) && one["direction"] == direction;
        let lines = messages.find(described).unwrap()["sdp"].as_array().unwrap();
        assert!(lines.contains(&"c=IN IP6 ::1".into()), "{lines:?}");
    }
    assert!(told["rtp"]["packets_in"].as_u64() > Some(50), "the gateway is heard: {told}");
    stage.told("5").await;
    gateway.idle().await;
    assert!(gateway.metric("rtp_packets_total", &["direction=\"in\""]).await > 50.0);
    assert_eq!(gateway.metric("rtp_dropped_total", &[]).await, 0.0);
}
