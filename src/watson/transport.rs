//! HTTP and WebSocket (RFC 6455) connections of all Watson clients, and how their failures become a `Fault`.

use super::iam::Token;
use super::settings::SettingsError;
use crate::base::{Fault, FaultKind, Service, metric};
use bytes::{Bytes, BytesMut};
use reqwest::{RequestBuilder, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{
    Error as SocketError,
    client::IntoClientRequest as _,
    error::ProtocolError,
    http::{HeaderValue, header},
    protocol::WebSocketConfig,
};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use url::{Host, Url};

/// A WebSocket to a service.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The shared ground of all connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    socket_tls: Arc<rustls::ClientConfig>,
}

/// A handshake that did not end in a WebSocket.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) fault: Fault,
    /// The HTTP status the service answered with, where it answered.
    pub(super) status: Option<u16>,
}

/// A whole HTTP answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

impl Transport {
    pub(super) fn new() -> Result<Self, SettingsError> {
        // The provider is named rather than taken from the process, so that building a client can never panic.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let socket_tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http_tls = socket_tls.clone();
        http_tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(http_tls)
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // A redirect would carry token and words to a host nobody configured; WebSockets know no proxy, so HTTP has none.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { http, socket_tls: Arc::new(socket_tls) })
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Opens a WebSocket with `Authorization: Bearer` within `limit`.
    pub(super) async fn open(
        &self,
        service: Service,
        url: &Url,
        token: &Token,
        limit: Duration,
    ) -> Result<Socket, Refused> {
        let host = host_of(url);
        match timeout(limit, self.handshake(url, token)).await {
            Err(_) => Err(Fault::new(service, FaultKind::Connect, format!("{host}: not open within {limit:?}")).into()),
            Ok(Err(error)) => Err(refused(service, &host, error)),
            Ok(Ok(socket)) => Ok(socket),
        }
    }

    async fn handshake(&self, url: &Url, token: &Token) -> Result<Socket, SocketError> {
        let mut request = url.as_str().into_client_request()?;
        request.headers_mut().insert(header::AUTHORIZATION, token.bearer().clone());
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let port = url.port_or_known_default().unwrap_or(443);
        let tcp = match url.host() {
            Some(Host::Ipv4(ip)) => TcpStream::connect((ip, port)).await?,
            Some(Host::Ipv6(ip)) => TcpStream::connect((ip, port)).await?,
            Some(Host::Domain(name)) => TcpStream::connect((name, port)).await?,
            None => return Err(SocketError::Url(tokio_tungstenite::tungstenite::error::UrlError::NoHostName)),
        };
        tcp.set_nodelay(true)?;
        let connector = Connector::Rustls(Arc::clone(&self.socket_tls));
        let (socket, response) =
            client_async_tls_with_config(request, tcp, Some(socket_config()), Some(connector)).await?;
        let transaction = response.headers().get("x-global-transaction-id").and_then(|id| id.to_str().ok());
        tracing::debug!(host = url.host_str(), transaction, "socket open");
        Ok(socket)
    }
}

/// Sends a request and reads the whole answer, at most `MAX_ANSWER` bytes, within `limit`.
pub(super) async fn exchange(
    service: Service,
    host: &str,
    request: RequestBuilder,
    limit: Duration,
) -> Result<Answer, Fault> {
    let whole = async {
        let mut response = request.send().await.map_err(|error| http_fault(service, host, &error))?;
        let status = response.status();
        let content_type = content_type(&response);
        let mut body = BytesMut::new();
        while let Some(part) = response.chunk().await.map_err(|error| http_fault(service, host, &error))? {
            if body.len() + part.len() > MAX_ANSWER {
                let detail = format!("{host}: answer longer than {MAX_ANSWER} bytes");
                return Err(Fault::new(service, FaultKind::Protocol, detail));
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status, content_type, body: body.freeze() })
    };
    timeout(limit, whole)
        .await
        .unwrap_or_else(|_| Err(Fault::new(service, FaultKind::Timeout, format!("{host}: no answer within {limit:?}"))))
}

/// The content type of a response, for checks and messages.
pub(super) fn content_type(response: &reqwest::Response) -> String {
    let value = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    clip(value.unwrap_or("no content type"))
}

/// A failure of the HTTP exchange itself. The URL stays out: its query may carry what operators put there.
pub(super) fn http_fault(service: Service, host: &str, error: &reqwest::Error) -> Fault {
    let kind = if error.is_connect() {
        FaultKind::Connect
    } else if error.is_timeout() {
        FaultKind::Timeout
    } else if error.is_builder() {
        FaultKind::Protocol
    } else {
        FaultKind::Closed
    };
    Fault::new(service, kind, format!("{host}: {}", root_cause(error)))
}

/// A failure of an open WebSocket.
pub(super) fn socket_fault(service: Service, host: &str, error: &SocketError) -> Fault {
    let kind = match error {
        SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => FaultKind::Closed,
        SocketError::Protocol(_) | SocketError::Utf8(_) | SocketError::Capacity(_) => FaultKind::Protocol,
        _ => FaultKind::Closed,
    };
    Fault::new(service, kind, format!("{host}: {error}"))
}

/// An HTTP error status with what the service said about it.
pub(super) fn status_fault(service: Service, host: &str, status: u16, told: &str) -> Fault {
    let kind = match status {
        401 | 403 => FaultKind::Auth,
        429 | 503 => FaultKind::Busy,
        _ => FaultKind::Status,
    };
    let told = clip(told);
    let detail = if told.is_empty() { format!("{host}: {status}") } else { format!("{host}: {status} {told}") };
    Fault::new(service, kind, detail)
}

/// Statuses after which the same request may succeed (a 5xx, 408, 429).
pub(super) fn passing(status: u16) -> bool {
    status >= 500 || status == 408 || status == 429
}

/// `note` for a client's own failures: those of IAM that it passes on were noted by the refresher.
pub(super) fn note_own(fault: &Fault) {
    if fault.service != Service::Iam {
        note(fault);
    }
}

/// Counts and logs one failed attempt. Every attempt passes here once, so nobody above counts it again.
pub(super) fn note(fault: &Fault) {
    metrics::counter!(
        metric::UPSTREAM_ERRORS_TOTAL, "service" => fault.service.as_str(), "kind" => fault.kind.as_str()
    )
    .increment(1);
    tracing::warn!(
        event = "upstream_failed",
        service = fault.service.as_str(),
        kind = fault.kind.as_str(),
        detail = fault.detail
    );
}

/// `host:port`, for messages.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("no host");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// `base` with more path segments (percent-encoded) and no query, under an HTTP scheme.
pub(super) fn http_url(base: &Url, segments: &[&str]) -> Url {
    with_scheme(base, segments, "http", "https")
}

/// The same under a WebSocket scheme.
pub(super) fn socket_url(base: &Url, segments: &[&str]) -> Url {
    with_scheme(base, segments, "ws", "wss")
}

/// A service's own words, made fit for a log line.
pub(super) fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TOLD).collect()
}

/// What a service told, or nothing where it repeats what was said or was to be spoken: three words in a row of it, or all of it
/// where there are fewer. Faults are logged, and shown on the agent's page.
pub(super) fn discreet(told: String, said: &str) -> String {
    let (echo, said) = (words(&told), words(said));
    let run = said.len().min(ECHO);
    let repeats = run > 0 && said.windows(run).any(|run| echo.windows(run.len()).any(|heard| heard == run));
    if repeats { String::new() } else { told }
}

/// The words of a text, or of an XML text, without tags and entities: a service may tell them escaped or not.
fn words(text: &str) -> Vec<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, markup) = rest.split_at(at);
        plain.push_str(before);
        plain.push(' ');
        let (end, longest) = if markup.starts_with('<') { ('>', usize::MAX) } else { (';', LONGEST_ENTITY) };
        let after = markup.split_once(end).filter(|(inside, _)| inside.len() <= longest).map(|(_, after)| after);
        rest = after.unwrap_or_else(|| markup.get(1..).unwrap_or_default());
    }
    plain.push_str(rest);
    plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { fault, status: None }
    }
}

fn with_scheme(base: &Url, segments: &[&str], clear: &str, secure: &str) -> Url {
    let mut url = base.clone();
    let scheme = if matches!(base.scheme(), "https" | "wss") { secure } else { clear };
    // Both can only fail for schemes that `ServiceSettings::problems` refuses.
    if url.set_scheme(scheme).is_ok()
        && let Ok(mut path) = url.path_segments_mut()
    {
        path.pop_if_empty().extend(segments);
    }
    url.set_query(None);
    url.set_fragment(None);
    url
}

fn refused(service: Service, host: &str, error: SocketError) -> Refused {
    match error {
        SocketError::Http(response) => {
            let status = response.status().as_u16();
            let body = response.body().as_deref().unwrap_or_default();
            if status >= 400 {
                let fault = status_fault(service, host, status, &told(body));
                return Refused { fault, status: Some(status) };
            }
            let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let detail = format!("{host}: answered {status} {} instead of 101", clip(kind.unwrap_or_default()));
            Refused { fault: Fault::new(service, FaultKind::Protocol, detail), status: Some(status) }
        }
        SocketError::Io(error) => Fault::new(service, FaultKind::Connect, format!("{host}: {error}")).into(),
        SocketError::Tls(error) => Fault::new(service, FaultKind::Connect, format!("{host}: {error}")).into(),
        SocketError::Protocol(ProtocolError::HandshakeIncomplete) => {
            Fault::new(service, FaultKind::Closed, format!("{host}: closed during the handshake")).into()
        }
        other => Fault::new(service, FaultKind::Protocol, format!("{host}: {other}")).into(),
    }
}

/// What an error body says: `error`, `errorMessage` (IAM), `errors[0].message`; nothing when it is not JSON.
pub(super) fn told(body: &[u8]) -> String {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct ErrorBody {
        error: Option<serde_json::Value>,
        #[serde(rename = "errorMessage")]
        error_message: Option<String>,
        errors: Vec<ErrorItem>,
    }
    #[derive(serde::Deserialize)]
    struct ErrorItem {
        #[serde(default)]
        message: String,
    }
    let body: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
    let plain = match body.error {
        Some(serde_json::Value::String(text)) => Some(text),
        Some(other) => other.get("message").and_then(|text| text.as_str()).map(ToOwned::to_owned),
        None => None,
    };
    let item = || body.errors.into_iter().next().map(|item| item.message);
    clip(&body.error_message.or(plain).or_else(item).unwrap_or_default())
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Small buffers: thousands of sockets live in one process and each carries little.
fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(4 * 1024)
        .max_write_buffer_size(64 * 1024)
        .max_message_size(Some(MAX_ANSWER))
        .max_frame_size(Some(MAX_ANSWER))
}

const USER_AGENT: &str = concat!("voice-gateway/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 1024 * 1024;
const MAX_TOLD: usize = 160;
/// Words in a row that are no coincidence.
const ECHO: usize = 3;
/// `&apos;` and `&#x10FFFF;` are the longest there are, without their semicolon.
const LONGEST_ENTITY: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_the_instance_path_and_change_only_the_scheme() {
        let base: Url = "https://api.example.com/instances/1/?x=1".parse().unwrap();
        assert_eq!(socket_url(&base, &["v1", "recognize"]).as_str(), "wss://api.example.com/instances/1/v1/recognize");
        let base: Url = "ws://127.0.0.1:9".parse().unwrap();
        assert_eq!(http_url(&base, &["v2", "a b/c"]).as_str(), "http://127.0.0.1:9/v2/a%20b%2Fc");
    }

    #[test]
    fn error_bodies_of_every_shape_are_read_and_html_is_not_repeated() {
        assert_eq!(told(br#"{"trace":"t","error":"Unauthorized","code":401}"#), "Unauthorized");
        assert_eq!(
            told(br#"{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}"#),
            "Provided API key could not be found."
        );
        assert_eq!(told(br#"{"errors":[{"message":"Invalid Session"}]}"#), "Invalid Session");
        assert_eq!(told(b"<html>secret</html>"), "");
        assert_eq!(clip("a\r\nb"), "ab");
    }

    #[test]
    fn an_error_that_repeats_what_was_said_is_not_repeated() {
        let told = |told: &str, said: &str| discreet(told.to_owned(), said);
        let prompt = "Your balance is <break time='1s'/> five &amp; twenty dollars, Mr. O&apos;Hara";
        for echo in [
            "Cannot parse: 'Your balance is'",
            "invalid input YOUR  BALANCE, is five",
            "near \"five & twenty dollars\"",
            "near \"five &amp; twenty dollars\"",
            "Mr. O'Hara",
        ] {
            assert_eq!(told(echo, prompt), "", "{echo}");
        }
        for harmless in ["Invalid SSML", "balance is unknown", "the voice is not here", "your < balance is"] {
            let expected = if harmless.starts_with("your <") { "" } else { harmless };
            assert_eq!(told(harmless, prompt), expected);
        }
        assert_eq!(told("unknown word sesame here", "sesame"), "", "all of it is enough");
        assert_eq!(told("no capacity", "nobody"), "no capacity", "words, not letters");
        assert_eq!(told("no capacity", ""), "no capacity");
    }

    #[test]
    fn a_status_says_who_is_to_blame() {
        let kind = |status| status_fault(Service::Assistant, "h", status, "").kind;
        assert_eq!(kind(403), FaultKind::Auth);
        assert_eq!(kind(503), FaultKind::Busy);
        assert_eq!(kind(500), FaultKind::Status);
    }
}
