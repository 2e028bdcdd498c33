//! HTTP as this client uses it: no redirects (they would carry a secret away), bounded bodies, and every failure told
//! apart by whether the request may have been read.

use super::settings::{Checked, Settings};
use super::wire;
use crate::base::{Fault, FaultKind, Service};
use reqwest::{RequestBuilder, Response, StatusCode};
use std::time::Duration;

/// The HTTP client of one tenant.
#[derive(Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    access_timeout: Duration,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer to use, and whether the same request may fare better in a moment.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    pub(super) passing: bool,
}

impl Http {
    pub(super) fn new(settings: &Settings, checked: &Checked) -> reqwest::Result<Self> {
        let timeouts = &settings.timeouts;
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(timeouts.connect)
            .pool_idle_timeout(timeouts.idle)
            .tcp_nodelay(true)
            .user_agent(concat!("voice-gateway/", env!("CARGO_PKG_VERSION")));
        if checked.endpoints.all_loopback() {
            // The environment's proxy cannot reach this machine's own loopback.
            builder = builder.no_proxy();
        }
        Ok(Self { client: builder.build()?, access_timeout: timeouts.access })
    }

    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Token and discovery: safe to repeat, so only the kind of failure counts. `what` names the request in faults.
    pub(super) async fn exchange(
        &self,
        what: &str,
        request: RequestBuilder,
        secrets: &[&str],
    ) -> Result<Vec<u8>, Failure> {
        let request = request.timeout(self.access_timeout);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(Failure { fault: fault(what, &error), passing: true }),
        };
        let status = response.status();
        let body = match read(&mut response, LONGEST_BODY).await {
            Ok(body) => body,
            Err(error) => return Err(Failure { fault: fault(what, &error), passing: true }),
        };
        if status.is_success() {
            return Ok(body);
        }
        let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        Err(Failure { fault: refusal(what, &Answer { status, body }, secrets), passing })
    }
}

/// An answer that is not what the protocol says. HTML error pages with 200 come and go: worth another try.
pub(super) fn garbled(what: &str, reason: &str) -> Failure {
    Failure { fault: Fault::new(Service::Cxone, FaultKind::Protocol, format!("{what}: {reason}")), passing: true }
}

/// Reads at most `longest` bytes; a longer body is cut, which a JSON parser then refuses.
pub(super) async fn read(response: &mut Response, longest: usize) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = longest.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if chunk.len() >= room {
            break;
        }
    }
    Ok(body)
}

/// A transport failure in words without the URL: its query carries what a caller said.
pub(super) fn fault(what: &str, error: &reqwest::Error) -> Fault {
    let host = error.url().and_then(|url| url.host_str()).unwrap_or("the server").to_owned();
    let (kind, happened) = if error.is_connect() {
        (FaultKind::Connect, "could not connect to")
    } else if error.is_timeout() {
        (FaultKind::Timeout, "no answer in time from")
    } else {
        (FaultKind::Closed, "connection lost to")
    };
    let reason = innermost(error);
    Fault::new(Service::Cxone, kind, format!("{what}: {happened} {host}: {reason}"))
}

/// An error status in words.
pub(super) fn refusal(what: &str, answer: &Answer, secrets: &[&str]) -> Fault {
    let kind = match answer.status.as_u16() {
        401 | 403 => FaultKind::Auth,
        429 | 503 => FaultKind::Busy,
        _ => FaultKind::Status,
    };
    let said = wire::error_text(&answer.body, secrets).map(|text| format!(": {text}")).unwrap_or_default();
    Fault::new(Service::Cxone, kind, format!("{what}: status {}{said}", answer.status.as_u16()))
}

/// The last cause of an error chain: the operating system's or TLS's own words, which name no URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    let mut text = if error.is_timeout() { "timed out".to_owned() } else { "no further reason".to_owned() };
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

const LONGEST_BODY: usize = 256 * 1024;
