//! What single values cannot tell: keys that need or exclude each other, plain HTTP off loopback, and what this version
//! cannot do yet.

use super::problem::Problem;
use super::reader::join;
use super::services::{ACCESS_KEY_TOKEN, Cxone, OAUTH_TOKEN};
use super::values::{Store, literal};
use super::words::{Codec, CxoneAuth, Srtp, Transport};
use super::{Config, TenantConfig};
use crate::net::media::RecordingKey;
use secrecy::ExposeSecret as _;
use std::net::IpAddr;
use url::Url;

/// All that is wrong across keys.
pub(super) fn config(config: &Config, problems: &mut Vec<Problem>) {
    let token_told = problems.iter().any(|told| told.path.starts_with("admin.token"));
    let mut wrong = |path: &str, message: String| problems.push(Problem::new(path, message));
    let sip = &config.sip;
    if sip.listen.is_empty() {
        wrong("sip.listen", "must name at least one socket, such as \"udp:0.0.0.0:5060\"".to_owned());
    }
    for (index, listen) in sip.listen.iter().enumerate() {
        if sip.listen.iter().take(index).any(|before| before == listen) && listen.address.port() != 0 {
            wrong("sip.listen", format!("names {listen} twice"));
        }
        let in_range = (config.media.port_range.first..=config.media.port_range.last).contains(&listen.address.port());
        if listen.transport == Transport::Udp && in_range {
            wrong("media.port_range", format!("must not hold the port of sip.listen {listen}"));
        }
    }
    let secure = sip.listen.iter().find(|listen| listen.transport == Transport::Tls);
    for (file, key) in [
        (&sip.tls.certificate_file, "sip.tls.certificate_file"),
        (&sip.tls.private_key_file, "sip.tls.private_key_file"),
    ] {
        if file.is_some() {
            continue;
        }
        if let Some(listen) = secure {
            wrong(key, format!("missing: sip.listen {listen} needs certificate and key"));
        } else if sip.tls.certificate_file.is_some() || sip.tls.private_key_file.is_some() {
            wrong(key, "missing: certificate and key go together".to_owned());
        }
    }
    if let Some(address) = sip.public_address.filter(|address| address.is_unspecified() || address.is_multicast()) {
        wrong("sip.public_address", format!("must be the address peers reach this host at, not {address}"));
    }
    if config.media.bind_address.is_multicast() {
        wrong(
            "media.bind_address",
            format!("must be an address of this host or 0.0.0.0, not {}", config.media.bind_address),
        );
    }
    if !cfg!(feature = "opus") && config.media.codecs.contains(&Codec::Opus) {
        wrong("media.codecs", "OPUS is not in this build: build it with --features opus, or leave it out".to_owned());
    }
    let over_tls = config.sip.listen.iter().any(|listen| listen.transport == Transport::Tls);
    if config.media.srtp == Srtp::Required && !over_tls && !config.media.srtp_without_tls {
        wrong(
            "media.srtp",
            "\"required\" refuses every call here: keys come over TLS only, and sip.listen has no tls: socket; add one, or set media.srtp_without_tls = true where the path is private".to_owned(),
        );
    }
    if config.media.jitter_buffer.min > config.media.jitter_buffer.max {
        wrong("media.jitter_buffer", "min must not be greater than max".to_owned());
    }
    if let Store::Postgres(_) = config.history.store {
        wrong("history.store", "not available yet: postgres; use \"sqlite:FILE\"".to_owned());
    }
    if let Some(Err(message)) = config.media.recording_key.as_ref().map(|key| RecordingKey::parse(key.expose_secret()))
    {
        wrong("media.recording_key", message);
    }
    if config.webhook.url.is_some() {
        wrong("webhook.url", "not available yet: leave the key out".to_owned());
    }
    if config.admin.token.is_none() && !token_told && !config.admin.listen.ip().is_loopback() {
        wrong(
            "admin.token",
            format!(
                "missing: admin.listen {} is reachable from other hosts; give a token (or token_file), or listen on 127.0.0.1",
                config.admin.listen
            ),
        );
    }
    if config.admin.listen == config.agent.listen && config.admin.listen.port() != 0 {
        wrong("agent.listen", format!("must not be the same as admin.listen {}", config.admin.listen));
    }
    services(config.top(), "", problems);
    for (index, tenant) in config.tenants.iter().enumerate() {
        services(tenant.sections(), &format!("tenants[{index}]"), problems);
    }
    tell_once(problems);
}

/// What tenants inherit from the top level is told there only.
fn tell_once(problems: &mut Vec<Problem>) {
    let top: Vec<Problem> = problems.iter().filter(|problem| !problem.path.starts_with("tenants[")).cloned().collect();
    problems.retain(|problem| {
        let inherited =
            problem.path.strip_prefix("tenants[").and_then(|rest| rest.split_once("].")).map(|(_, key)| key);
        !top.iter().any(|told| Some(told.path.as_str()) == inherited && told.message == problem.message)
    });
}

/// What is wrong across the keys of the sections that tenants may override.
fn services(tenant: TenantConfig<'_>, path: &str, problems: &mut Vec<Problem>) {
    let mut wrong = |key: &str, message: String| problems.push(Problem::new(join(path, key), message));
    let (hear, speak, think, cxone) = (tenant.speech_to_text, tenant.text_to_speech, tenant.assistant, tenant.cxone);
    for (section, key, bearer) in [
        ("speech_to_text", &hear.api_key, &hear.bearer_token),
        ("text_to_speech", &speak.api_key, &speak.bearer_token),
        ("assistant", &think.api_key, &think.bearer_token),
    ] {
        if key.is_some() && bearer.is_some() {
            wrong(&format!("{section}.bearer_token"), "given together with api_key: give one of the two".to_owned());
        }
    }
    for (key, url, insecure, section) in [
        ("speech_to_text.url", hear.url.as_ref(), hear.allow_insecure, "speech_to_text"),
        ("speech_to_text.iam_url", Some(&hear.iam_url), hear.allow_insecure, "speech_to_text"),
        ("text_to_speech.url", speak.url.as_ref(), speak.allow_insecure, "text_to_speech"),
        ("text_to_speech.iam_url", Some(&speak.iam_url), speak.allow_insecure, "text_to_speech"),
        ("assistant.url", think.url.as_ref(), think.allow_insecure, "assistant"),
        ("assistant.iam_url", Some(&think.iam_url), think.allow_insecure, "assistant"),
        ("cxone.token_url", Some(&cxone.token_url), cxone.allow_insecure, "cxone"),
        ("cxone.discovery_url", Some(&cxone.discovery_url), cxone.allow_insecure, "cxone"),
        ("cxone.api_url", cxone.api_url.as_ref(), cxone.allow_insecure, "cxone"),
    ] {
        let Some(url) = url else { continue };
        if url.scheme() == "http" && !insecure && !is_loopback(url) {
            let host = url.host_str().unwrap_or_default();
            wrong(
                key,
                format!(
                    "must be https: (or wss:), for {host} is not loopback; {section}.allow_insecure = true permits plain text"
                ),
            );
        }
        if url.query().is_some() && key != "cxone.discovery_url" {
            wrong(key, "must not hold a query (?…)".to_owned());
        }
    }
}

/// With the OAuth grant the access-key endpoint makes no sense: its default gives way.
pub(super) fn token_url_of(cxone: Cxone) -> Cxone {
    match cxone.auth {
        CxoneAuth::OauthPassword if cxone.token_url.as_str() == ACCESS_KEY_TOKEN => {
            Cxone { token_url: literal(OAUTH_TOKEN), ..cxone }
        }
        _ => cxone,
    }
}

/// What is missing before calls can be taken.
pub(super) fn missing(config: &Config) -> Vec<Problem> {
    let of_each: Vec<(String, Vec<(&str, &str)>)> = match config.tenants.as_slice() {
        [] => vec![(String::new(), missing_of(config.top()))],
        tenants => tenants
            .iter()
            .enumerate()
            .map(|(index, tenant)| (format!("tenants[{index}]"), missing_of(tenant.sections())))
            .collect(),
    };
    let mut problems: Vec<Problem> = Vec::new();
    for (path, lacks) in &of_each {
        for (key, message) in lacks {
            let all_lack = of_each.iter().all(|(_, lacks)| lacks.iter().any(|(other, _)| other == key));
            let problem =
                Problem::new(if all_lack { (*key).to_owned() } else { join(path, key) }, format!("missing: {message}"));
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

/// What the file demands by default and this version does not do yet, or what an operator may want to know.
pub(super) fn notices(config: &Config) -> Vec<Problem> {
    let mut notices = Vec::new();
    let mut note = |path: &str, message: String| notices.push(Problem::new(path, message));
    if config.media.srtp_without_tls && config.media.srtp != Srtp::Off {
        note(
            "media.srtp_without_tls",
            "keys of SRTP cross the network in plain text on calls over udp: and tcp:".to_owned(),
        );
    }
    if config.webhook.url.is_none() && config.webhook.secret.is_some() {
        note("webhook.secret", "has no effect without webhook.url".to_owned());
    }
    let tls = &config.sip.tls;
    let listens = config.sip.listen.iter().any(|listen| listen.transport == Transport::Tls);
    if !listens && (tls.certificate_file.is_some() || tls.client_ca_file.is_some()) {
        note("sip.tls", "has no effect without a tls: socket in sip.listen, such as \"tls:0.0.0.0:5061\"".to_owned());
    }
    if config.sip.allow_from.is_empty() && config.sip.listen.iter().any(|listen| !listen.address.ip().is_loopback()) {
        note("sip.allow_from", "is empty: only calls from this host are taken; name CXone's networks".to_owned());
    }
    if !config.agent.listen.ip().is_loopback() && is_loopback(&config.history.agent_url) {
        note("history.agent_url", format!("{} does not lead agents' browsers here", config.history.agent_url));
    }
    notices
}

fn missing_of(tenant: TenantConfig<'_>) -> Vec<(&'static str, &'static str)> {
    let (hear, speak, think, cxone) = (tenant.speech_to_text, tenant.text_to_speech, tenant.assistant, tenant.cxone);
    let mut lacks = Vec::new();
    let mut need = |lacking: bool, key, message| {
        if lacking {
            lacks.push((key, message));
        }
    };
    let remote = |url: &Option<Url>| url.as_ref().is_some_and(|url| !is_loopback(url));
    need(
        hear.url.is_none(),
        "speech_to_text.url",
        "the URL among the credentials of your Speech to Text instance, https://api.REGION.speech-to-text.watson.cloud.ibm.com/instances/ID",
    );
    need(remote(&hear.url) && hear.api_key.is_none() && hear.bearer_token.is_none(), "speech_to_text.api_key", KEY);
    need(
        speak.url.is_none(),
        "text_to_speech.url",
        "the URL among the credentials of your Text to Speech instance, https://api.REGION.text-to-speech.watson.cloud.ibm.com/instances/ID",
    );
    need(remote(&speak.url) && speak.api_key.is_none() && speak.bearer_token.is_none(), "text_to_speech.api_key", KEY);
    need(
        think.url.is_none(),
        "assistant.url",
        "the URL among the credentials of your assistant, https://api.REGION.assistant.watson.cloud.ibm.com/instances/ID",
    );
    need(remote(&think.url) && think.api_key.is_none() && think.bearer_token.is_none(), "assistant.api_key", KEY);
    need(
        think.environment_id.is_none(),
        "assistant.environment_id",
        "the environment ID among the settings of your assistant's live environment",
    );
    need(
        cxone.access_key_id.is_none(),
        "cxone.access_key_id",
        "the id of an access key of a CXone user who may signal contacts; or name a file with access_key_id_file",
    );
    need(
        cxone.access_key_secret.is_none(),
        "cxone.access_key_secret",
        "the secret of that access key; or name a file with access_key_secret_file",
    );
    let oauth = cxone.auth == CxoneAuth::OauthPassword;
    need(
        oauth && cxone.client_id.is_none(),
        "cxone.client_id",
        "the client id of your registered back-end application, which cxone.auth = \"oauth_password\" needs",
    );
    need(
        oauth && cxone.client_secret.is_none(),
        "cxone.client_secret",
        "the client secret of that application; or name a file with client_secret_file",
    );
    lacks
}

/// Whether a URL leads to this host only.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        None => false,
    }
}

const KEY: &str = "its API key; or name a file with api_key_file, or give a bearer_token";
