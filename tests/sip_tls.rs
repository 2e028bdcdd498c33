//! SIP over TLS on loopback (RFC 3261 section 26.3.1): certificates made here, real sockets, and peers that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use sip_support::station::{Station, counted, metrics, read_until, within_reason};
use sip_support::{bare, invite, sdp};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};
use voice_gateway::net::sip::{Limits, SocketOptions, TlsFiles, Trust};
use voice_gateway::sip::{Dial, DialEvent, LegCommand, LegEvent, Transport};

/// An authority, and the folder with what it issued.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A certificate and key for `host`.
    fn issue(&self, host: &str) -> (String, String) {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn files(&self, name: &str, host: &str, client_ca: Option<PathBuf>) -> TlsFiles {
        let (certificate, private_key) = self.issue(host);
        let path = |kind: &str| self.folder.path().join(format!("{name}.{kind}"));
        std::fs::write(path("crt"), certificate).unwrap();
        std::fs::write(path("key"), private_key).unwrap();
        TlsFiles { certificate: path("crt"), private_key: path("key"), client_ca }
    }
}

async fn gateway_at(files: TlsFiles, limits: Limits) -> Station {
    Station::start(&["tls:127.0.0.1:0"], SocketOptions { tls: Some(files), limits, ..SocketOptions::default() }).await
}

/// No TLS listener: what it opens is where it is reached.
async fn phone_of(tls: Option<TlsFiles>, trust: Trust) -> Station {
    Station::start(&["udp:127.0.0.1:0"], SocketOptions { tls, trust, ..SocketOptions::default() }).await
}

fn dial(uri: String) -> Dial {
    Dial { uri, from: String::new(), headers: Vec::new(), sdp: sdp(), ..Dial::default() }
}

fn client(ca: &Path, own: Option<(&str, &str)>, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    TlsConnector::from(Arc::new(config))
}

async fn open(connector: &TlsConnector, to: SocketAddr) -> std::io::Result<client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    within_reason(connector.connect(ServerName::from(to.ip()), stream)).await
}

fn options(id: &str) -> String {
    bare("OPTIONS", id, &format!("z9hG4bK{id}"), 1, "").replace("UDP", "TLS")
}

/// Whether the peer is answered over this stream.
async fn is_served(stream: &mut client::TlsStream<TcpStream>, id: &str) -> bool {
    stream.write_all(options(id).as_bytes()).await.is_ok()
        && stream.flush().await.is_ok()
        && read_until(stream, "\r\n\r\n").await.starts_with("SIP/2.0 200")
}

/// The number of the leaf certificate that the peer was shown.
fn shown(stream: &client::TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_call_over_tls_from_a_phone_without_a_listener() {
    let authority = Authority::new();
    let mut gateway = gateway_at(authority.files("gw", "127.0.0.1", Some(authority.ca())), Limits::default()).await;
    let own = authority.files("phone", "phone.example.com", None);
    let phone = phone_of(Some(own), Trust::File(authority.ca())).await;
    for (uri, contact) in [
        (
            format!("sip:100@{};transport=tls", gateway.at(Transport::Tls)),
            format!("<sip:voice-gateway@{};transport=tls>", gateway.at(Transport::Tls)),
        ),
        (
            format!("sips:100@{}", gateway.at(Transport::Tls)),
            format!("<sips:voice-gateway@{}>", gateway.at(Transport::Tls)),
        ),
    ] {
        let mut out = phone.handle.dial(dial(uri.clone()), None).await.unwrap();
        let mut call = within_reason(gateway.calls.recv()).await.unwrap();
        call.leg.command(LegCommand::Answer { sdp: sdp(), headers: Vec::new() }).await;
        assert_eq!(within_reason(call.leg.event()).await, Some(LegEvent::Acknowledged { sdp: None }));
        loop {
            match within_reason(out.event()).await.unwrap() {
                DialEvent::Answered { headers, .. } => {
                    assert!(headers.contains(&("Contact".into(), contact.clone())), "{headers:?}");
                    break;
                }
                DialEvent::Provisional { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        // The gateway's BYE finds the phone, which listens nowhere.
        call.leg.command(LegCommand::Bye { headers: Vec::new() }).await;
        assert!(matches!(within_reason(out.event()).await, Some(DialEvent::Bye { .. })), "{uri}");
        assert_eq!(within_reason(call.leg.event()).await, Some(LegEvent::Ended));
    }
    phone.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn whom_the_phone_does_not_believe_it_does_not_call() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut gateway = gateway_at(authority.files("gw", "127.0.0.1", None), Limits::default()).await;
    let elsewhere = gateway_at(authority.files("else", "gw.example.com", None), Limits::default()).await;
    let refused = async |phone: &Station, to: SocketAddr| {
        let mut out = phone.handle.dial(dial(format!("sips:100@{to}")), None).await.unwrap();
        matches!(within_reason(out.event()).await, Some(DialEvent::Refused { code: 503, .. }))
    };
    for trust in [Trust::Authorities, Trust::File(other.ca())] {
        let phone = phone_of(None, trust).await;
        assert!(refused(&phone, gateway.at(Transport::Tls)).await, "an authority that it does not know");
        phone.stop().await;
    }
    let phone = phone_of(None, Trust::File(authority.ca())).await;
    assert!(refused(&phone, elsewhere.at(Transport::Tls)).await, "a certificate for another host");
    phone.stop().await;
    let phone = phone_of(None, Trust::Anybody).await;
    let _out = phone.handle.dial(dial(format!("sips:100@{}", gateway.at(Transport::Tls))), None).await.unwrap();
    within_reason(gateway.calls.recv()).await.unwrap();
    phone.stop().await;
    for station in [gateway, elsewhere] {
        station.stop().await;
    }
}

#[tokio::test]
async fn both_versions_are_spoken_and_client_certificates_demanded() {
    let (authority, other) = (Authority::new(), Authority::new());
    let gateway = gateway_at(authority.files("gw", "127.0.0.1", Some(authority.ca())), Limits::default()).await;
    let (certificate, key) = authority.issue("phone.example.com");
    for version in [&TLS12, &TLS13] {
        let connector = client(&authority.ca(), Some((&certificate, &key)), &[version]);
        let mut stream = open(&connector, gateway.at(Transport::Tls)).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        assert!(is_served(&mut stream, "a").await);
        let (foreign, foreign_key) = other.issue("phone.example.com");
        for own in [None, Some((foreign.as_str(), foreign_key.as_str()))] {
            // In TLS 1.3 the client learns of it behind its own handshake.
            let refused = match open(&client(&authority.ca(), own, &[version]), gateway.at(Transport::Tls)).await {
                Ok(mut stream) => !is_served(&mut stream, "b").await,
                Err(_) => true,
            };
            assert!(refused, "{version:?}");
        }
        assert!(is_served(&mut stream, "c").await, "the good one is untouched");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn new_files_are_taken_without_dropping_anybody_and_bad_ones_are_not() {
    let authority = Authority::new();
    let files = authority.files("gw", "127.0.0.1", None);
    metrics();
    let limits = Limits { tls_files: Duration::from_millis(20), ..Limits::default() };
    let gateway = gateway_at(files.clone(), limits).await;
    let connector = client(&authority.ca(), None, &[&TLS13]);
    let mut first = open(&connector, gateway.at(Transport::Tls)).await.unwrap();
    let old = shown(&first);
    assert!(is_served(&mut first, "a").await);

    // A key that does not fit, and then a pair whose time is over: the old one stays in force.
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2026, 1, 1);
    let over_key = KeyPair::generate().unwrap();
    let over = params.signed_by(&over_key, &authority.issuer).unwrap();
    for (certificate, key) in [(None, KeyPair::generate().unwrap()), (Some(over.pem()), over_key)] {
        let failures = counted("voice_gateway_sip_tls_reloads_total{outcome=\"failed\"}");
        if let Some(certificate) = certificate {
            std::fs::write(&files.certificate, certificate).unwrap();
        }
        std::fs::write(&files.private_key, key.serialize_pem()).unwrap();
        gateway.handle.reload_tls();
        let noticed = async {
            while counted("voice_gateway_sip_tls_reloads_total{outcome=\"failed\"}") == failures {
                tokio::task::yield_now().await;
            }
        };
        within_reason(noticed).await;
        assert_eq!(shown(&open(&connector, gateway.at(Transport::Tls)).await.unwrap()), old);
    }
    let new = authority.files("gw", "127.0.0.1", None);
    assert_eq!(new.certificate, files.certificate);
    let replaced = async {
        while shown(&open(&connector, gateway.at(Transport::Tls)).await.unwrap()) == old {
            tokio::task::yield_now().await;
        }
    };
    within_reason(replaced).await;
    assert!(is_served(&mut first, "b").await, "a connection that was up goes on");
    gateway.stop().await;
}

#[tokio::test]
async fn plaintext_and_endless_handshakes_are_closed_and_bounded() {
    let authority = Authority::new();
    let limits = Limits { handshake: Duration::from_secs(2), handshakes_per_source: 4, ..Limits::default() };
    let gateway = gateway_at(authority.files("gw", "127.0.0.1", None), limits).await;
    metrics();
    let mut plain = TcpStream::connect(gateway.at(Transport::Tls)).await.unwrap();
    plain.write_all(options("a").as_bytes()).await.unwrap();
    let said = read_until(&mut plain, "SIP/2.0").await;
    assert!(!said.contains("SIP/2.0"), "closed without a word of SIP: {said:?}");

    // Four wait, the fifth is closed at once, and in the end all of them.
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(gateway.at(Transport::Tls)).await.unwrap());
    }
    let connector = client(&authority.ca(), None, &[&TLS13]);
    let mut fifth = TcpStream::connect(gateway.at(Transport::Tls)).await.unwrap();
    assert_eq!(within_reason(fifth.read(&mut [0; 64])).await.unwrap_or(0), 0);
    for stream in &mut silent {
        read_until(stream, "never").await;
    }
    let mut good = open(&connector, gateway.at(Transport::Tls)).await.unwrap();
    assert!(is_served(&mut good, "b").await, "there is room again");

    // A ClientHello of 16 KB that drips in, however lively its sender seems.
    let (mut read, mut write) = TcpStream::connect(gateway.at(Transport::Tls)).await.unwrap().into_split();
    let dripping = async {
        // The interval is the peer's pace, not a wait for anything.
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        for byte in b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03".iter().chain(std::iter::repeat(&7)) {
            pace.tick().await;
            if write.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    let (_closed, ()) = within_reason(async { tokio::join!(read_until(&mut read, "never"), dripping) }).await;
    for (outcome, least) in [("plaintext", 1), ("timeout", 5), ("ok", 1)] {
        let series = format!("voice_gateway_sip_tls_handshakes_total{{direction=\"in\",outcome=\"{outcome}\"}}");
        assert!(counted(&series) >= least, "{outcome}");
    }
    assert!(counted("voice_gateway_sip_refused_total{reason=\"handshakes\"}") >= 1);
    gateway.stop().await;
}

/// The connection that the call came by is gone; our BYE opens another, and the peer has to be who it said it is.
#[tokio::test]
async fn a_connection_that_is_gone_is_opened_anew_to_whom_the_contact_names() {
    let authority = Authority::new();
    let mut gateway = gateway_at(authority.files("gw", "127.0.0.1", Some(authority.ca())), Limits::default()).await;
    let (certificate, key) = authority.issue("pbx.example.com");
    let connector = client(&authority.ca(), Some((&certificate, &key)), &[&TLS13]);
    for (host, believed) in [("pbx.example.com", true), ("elsewhere.example.com", false)] {
        let home = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let named = format!("{host}:{}", home.local_addr().unwrap().port());
        let text = |text: String| {
            text.replace("UDP 127.0.0.1:5070", &format!("TLS {named}"))
                .replace("a@127.0.0.1:5070", &format!("a@{named};transport=tls"))
        };
        let mut first = open(&connector, gateway.at(Transport::Tls)).await.unwrap();
        let call_id = format!("c-{host}");
        first.write_all(text(invite(&call_id, &format!("z9hG4bK{host}"), 1, "")).as_bytes()).await.unwrap();
        first.flush().await.unwrap();
        let mut call = within_reason(gateway.calls.recv()).await.unwrap();
        call.leg.command(LegCommand::Answer { sdp: sdp(), headers: Vec::new() }).await;
        let answer = read_until(&mut first, "m=audio").await;
        let to = answer.lines().rfind(|line| line.starts_with("To:")).unwrap();
        let tag = to.rsplit_once("tag=").unwrap().1;
        let ack = sip_support::within("ACK", &call_id, &format!("z9hG4bKa{host}"), 1, tag, "", "");
        first.write_all(text(ack).as_bytes()).await.unwrap();
        first.flush().await.unwrap();
        assert!(matches!(within_reason(call.leg.event()).await, Some(LegEvent::Acknowledged { .. })));
        first.shutdown().await.unwrap();
        read_until(&mut first, "never").await;

        call.leg.command(LegCommand::Bye { headers: Vec::new() }).await;
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let (stream, _) = within_reason(home.accept()).await.unwrap();
        let accepted = within_reason(TlsAcceptor::from(Arc::new(config)).accept(stream)).await;
        if believed {
            let bye = read_until(&mut accepted.unwrap(), "\r\n\r\n").await;
            assert!(bye.starts_with("BYE sip:a@pbx.example.com"), "{bye}");
            assert!(bye.contains("Via: SIP/2.0/TLS "), "{bye}");
        } else if let Ok(mut stream) = accepted {
            assert!(!read_until(&mut stream, "BYE").await.contains("BYE"), "nothing is said to whom we do not believe");
        }
        assert_eq!(within_reason(call.leg.event()).await, Some(LegEvent::Ended));
    }
    gateway.stop().await;
}
