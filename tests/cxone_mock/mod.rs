//! The other side of the CXone client in tests: HTTP/1.1 by hand, so that a test sees the bytes of the request line and can
//! leave a request unanswered or reset the connection under it.
#![allow(dead_code, reason = "each test file uses its part")]

use base64::Engine as _;
use parking_lot::Mutex;
use secrecy::SecretString;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use voice_gateway::base::ContactId;
use voice_gateway::call::output::{Purpose, SignalOrder};
use voice_gateway::cxone::{Auth, Settings, Timeouts};

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query, undecoded.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_signal(&self) -> bool {
        self.target.contains("/signal")
    }
}

/// What the server does with a request.
pub(crate) enum Reply {
    Status(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Reads it and says nothing.
    Hang,
    /// Reads it and resets the connection.
    Reset,
    /// Answers when it is told to.
    When(Arc<Notify>, u16),
    /// Answers, saying that the connection stays, and closes it.
    ThenClose(u16),
}

pub(crate) fn status(code: u16) -> Reply {
    Reply::Status(code, vec![], vec![])
}

pub(crate) fn page(code: u16) -> Reply {
    Reply::Status(code, vec![("content-type", "text/html".into())], b"<html>Something went wrong</html>".to_vec())
}

pub(crate) fn json_body(code: u16, body: &serde_json::Value) -> Reply {
    Reply::Status(code, vec![("content-type", "application/json".into())], body.to_string().into_bytes())
}

/// A web token of a tenant; `serial` makes tokens differ.
pub(crate) fn jwt(tenant: &str, serial: usize) -> String {
    let claims = json!({ "tenantId": tenant, "iat": 1000, "exp": 4600, "serial": serial });
    format!("e30.{}.c2ln", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims.to_string()))
}

type Script = Arc<dyn Fn(&Seen, usize) -> Option<Reply> + Send + Sync>;

/// A server; every request is kept. It serves token (`/token`), discovery (`/discovery`) and Signal by itself where the
/// script says `None`.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    arrived: Arc<Notify>,
}

impl Server {
    /// `script` gets each request and how many of its kind (token, discovery, signal) came before it.
    pub(crate) async fn start(script: impl Fn(&Seen, usize) -> Option<Reply> + Send + Sync + 'static) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), seen: Arc::default(), arrived: Arc::default() };
        let tasks = TaskTracker::new();
        let (accepting, script): (_, Script) = (server.clone(), Arc::new(script));
        tasks.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tasks.spawn(accepting.clone().serve(stream, Arc::clone(&script)));
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Requests whose target contains `part`.
    pub(crate) fn seen(&self, part: &str) -> Vec<Seen> {
        self.seen.lock().iter().filter(|seen| seen.target.contains(part)).cloned().collect()
    }

    /// Waits until `count` requests to `part` have come.
    pub(crate) async fn until(&self, part: &str, count: usize) {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if self.seen(part).len() >= count {
                return;
            }
            arrived.await;
        }
    }

    async fn serve(self, stream: TcpStream, script: Script) {
        let mut stream = BufReader::new(stream);
        while let Some(seen) = read_request(&mut stream).await {
            let kind = ["/token", "/discovery", "/signal"].into_iter().find(|kind| seen.target.contains(kind));
            let before = {
                let mut all = self.seen.lock();
                let before = all.iter().filter(|other| kind.is_none_or(|kind| other.target.contains(kind))).count();
                all.push(seen.clone());
                before
            };
            self.arrived.notify_waiters();
            let reply = script(&seen, before).unwrap_or_else(|| match kind {
                Some("/token") => json_body(200, &json!({ "access_token": jwt("tenant-a", before) })),
                Some("/discovery") => json_body(200, &json!({ "api_endpoint": self.url("/api/") })),
                Some(_) => status(204),
                None => status(418),
            });
            let mut answer = Vec::new();
            let reply = match reply {
                Reply::When(told, code) => {
                    told.notified().await;
                    status(code)
                }
                reply => reply,
            };
            match reply {
                Reply::When(..) => unreachable!(),
                Reply::Hang => std::future::pending().await,
                Reply::Reset => {
                    socket2::SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
                Reply::ThenClose(code) => {
                    stream
                        .write_all(format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\n\r\n").as_bytes())
                        .await
                        .unwrap();
                    return;
                }
                Reply::Status(code, headers, body) => {
                    answer.extend(format!("HTTP/1.1 {code} X\r\n").bytes());
                    for (name, value) in headers {
                        answer.extend(format!("{name}: {value}\r\n").bytes());
                    }
                    if code != 204 {
                        answer.extend(format!("content-length: {}\r\n", body.len()).bytes());
                    }
                    answer.extend(b"\r\n");
                    answer.extend(body);
                }
            }
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let mut seen = Seen { method, target, headers, body: Vec::new() };
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}

/// Settings that point at the server, with quick retries.
pub(crate) fn settings(server: &Server) -> Settings {
    let auth = Auth::AccessKey { id: "key-id====".into(), secret: SecretString::from("key-secret====") };
    Settings {
        token_url: server.url("/token"),
        discovery_url: server.url("/discovery"),
        timeouts: Timeouts { retries: [1, 2, 3].map(Duration::from_millis), ..Timeouts::default() },
        ..Settings::new(auth)
    }
}

pub(crate) fn order(purpose: Purpose) -> SignalOrder {
    let p1 = match purpose {
        Purpose::Transfer => "ses-key_0123456789",
        Purpose::Hangup => "hangup",
    };
    SignalOrder { contact_id: ContactId::new("100000000000"), purpose, parameters: vec![("p1".into(), p1.into())] }
}
