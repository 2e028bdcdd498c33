//! What `check` tries: each service once, the sockets, the store. Nothing is changed and nobody is signalled.

use super::tenants::{Tenant, Tenants};
use crate::base::clock;
use crate::base::{Fault, FaultKind, Service};
use crate::config::{Config, Store as StoreKind};
use crate::net::sip as net_sip;
use crate::net::{media::MediaPlane, ports};
use crate::store;
use std::net::IpAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One thing that was tried.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What: `speech_to_text`, `ports`, with the tenant where there are several.
    pub what: String,
    /// What was seen, or what is wrong and how to mend it.
    pub seen: Result<String, String>,
}

/// Tries everything, telling each finding as it comes.
pub async fn run(config: Config, tell: &mut (dyn FnMut(Finding) + Send)) {
    let config = Arc::new(config);
    let mut told = |what: String, seen: Result<String, String>| tell(Finding { what, seen });
    told("sockets".to_owned(), sockets(&config).await);
    if let Some(files) = super::gateway::tls_files(&config.sip.tls) {
        told("sip.tls".to_owned(), certificate(&files));
    }
    told("rtp ports".to_owned(), rtp_ports(&config));
    told("advertised address".to_owned(), advertised(&config));
    let StoreKind::Sqlite(path) = &config.history.store else { return };
    told(
        "history store".to_owned(),
        store::probe(&format!("sqlite:{}", path.display())).await.map_err(|e| e.to_string()),
    );
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let _guard = stop.clone().drop_guard();
    let tenants = match Tenants::build(Arc::clone(&config), &tracker, &stop) {
        Ok(tenants) => tenants,
        Err(error) => return told("services".to_owned(), Err(error.to_string())),
    };
    for (name, tenant) in tenants.iter() {
        let prefix = if config.tenants.is_empty() { String::new() } else { format!("{name}: ") };
        services(tenant, &mut |what, seen| told(format!("{prefix}{what}"), seen)).await;
    }
}

/// All at once: a service that does not answer holds nobody else up, and one token serves all that wait for it.
async fn services(tenant: &Tenant, told: &mut (dyn FnMut(&str, Result<String, String>) + Send)) {
    let (token, hearing, speaking, assistant, cxone) = tokio::join!(
        tenant.tokens.probe(),
        tenant.speech_to_text.probe(),
        tenant.text_to_speech.probe(),
        tenant.assistant.probe(),
        tenant.cxone.probe(),
    );
    let services =
        [("iam token", token), ("speech_to_text", hearing), ("text_to_speech", speaking), ("assistant", assistant)];
    for (what, seen) in services {
        told(what, seen.map_err(|fault| advice(&fault)));
    }
    told(
        "cxone token",
        cxone.token.map(|life| format!("valid for {} s", life.as_secs())).map_err(|fault| advice(&fault)),
    );
    if let Some(api) = cxone.api {
        told("cxone api", api.map_err(|fault| advice(&fault)));
    }
}

/// The fault, and what an operator can do about it.
fn advice(fault: &Fault) -> String {
    let mend = match (fault.kind, fault.service) {
        (FaultKind::Auth, Service::Cxone) => {
            "check cxone.access_key_id and its secret, and that its user may use the Admin API"
        }
        (FaultKind::Auth, _) => "check the API key, and that it belongs to this service instance",
        (FaultKind::Connect, _) => "check the URL, DNS and the firewall",
        (FaultKind::Timeout, _) => "the service is slow or a firewall swallows the traffic",
        (FaultKind::Busy, _) => "the service is there and busy: try again, or look at the plan's limits",
        (FaultKind::Protocol, _) => "check the URL: what answers there is not this service",
        (FaultKind::Status | FaultKind::Closed, _) => "the service refused: its own words say why",
    };
    format!("{fault} ({mend})")
}

async fn sockets(config: &Config) -> Result<String, String> {
    let listeners: Vec<_> = config.sip.listen.iter().map(super::gateway::listen).collect();
    let names = listeners.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    // What is wrong with the files is told by its own finding; the ports are tried all the same.
    let options = super::gateway::socket_options(config);
    match net_sip::bind_with(&listeners, options).await {
        Ok(_) => {}
        Err(error @ net_sip::SipError::Tls(_)) => return Err(format!("{error} (see sip.tls)")),
        Err(error) => return Err(format!("{error} (is a gateway running already?)")),
    }
    for (key, address) in [("agent.listen", config.agent.listen), ("admin.listen", config.admin.listen)] {
        tokio::net::TcpListener::bind(address)
            .await
            .map_err(|error| format!("{key} {address}: {error} (is a gateway running already?)"))?;
    }
    Ok(format!("{names}, agent {}, admin {} can be bound", config.agent.listen, config.admin.listen))
}

/// Whether the files fit each other, and the certificate is good today.
fn certificate(files: &net_sip::TlsFiles) -> Result<String, String> {
    let wall = clock::now().wall;
    let (own, clients) = files.check().map_err(|error| error.to_string())?;
    if let Some(wrong) = own.invalid_at(wall) {
        return Err(format!("sip.tls.certificate_file {} {wrong}", files.certificate.display()));
    }
    let clients = match clients {
        Some(authorities) => format!("certificates of {authorities} authorities are demanded of callers"),
        None => "no certificate is demanded of callers".to_owned(),
    };
    Ok(format!("{}; its key fits; {clients}", own.describe(wall)))
}

fn rtp_ports(config: &Config) -> Result<String, String> {
    let range = config.media.port_range.first..=config.media.port_range.last;
    let plane = MediaPlane::start(super::gateway::media_settings(config)).map_err(|error| error.to_string())?;
    let reserved = plane.reserve();
    plane.stop();
    reserved.ok_or_else(|| format!("media.port_range {}-{}: no pair of ports is free", range.start(), range.end()))?;
    let warnings = ports::warnings(&range, usize::try_from(config.sip.max_calls).unwrap_or(usize::MAX));
    let mut seen = format!("{} pairs in {}-{}", config.media.port_range.pairs(), range.start(), range.end());
    for warning in warnings {
        seen.push_str(&format!("; note: {warning}"));
    }
    Ok(seen)
}

fn advertised(config: &Config) -> Result<String, String> {
    match config.sip.public_address {
        Some(address) if address.is_unspecified() || address.is_multicast() => {
            Err(format!("sip.public_address {address} is no address that CXone can send to"))
        }
        Some(address) => Ok(format!("{address} is written in Contact, Via and SDP")),
        None if config.sip.listen.iter().all(|listen| private(listen.address.ip())) => {
            Ok("the local address of the route; private or unspecified here: behind NAT set sip.public_address"
                .to_owned())
        }
        None => Ok("the local address of the route".to_owned()),
    }
}

fn private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local(),
    }
}
