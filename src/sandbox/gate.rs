//! The door of each service: a listener that can close its port, a connection that can be cut, and the middleware that lets
//! ordered faults befall requests (`faults.rs`).

use super::faults::{Fault, Faults, Garbage, SandboxService};
use super::plan::Plan;
use super::reply;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A listener that closes its port while `Fault::RefuseConnections` is in force, and opens the same port again.
#[derive(Debug)]
pub(super) struct GatedListener {
    address: SocketAddr,
    listener: Option<TcpListener>,
    service: SandboxService,
    faults: Arc<Faults>,
    changes: watch::Receiver<u64>,
}

impl GatedListener {
    /// Takes over a bound listener.
    pub(super) fn new(listener: TcpListener, service: SandboxService, faults: Arc<Faults>) -> io::Result<Self> {
        let changes = faults.changes();
        Ok(Self { address: listener.local_addr()?, listener: Some(listener), service, faults, changes })
    }

    async fn bound(&mut self) -> Option<&TcpListener> {
        if self.listener.is_none() {
            match TcpListener::bind(self.address).await {
                Ok(listener) => self.listener = Some(listener),
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "sandbox port could not be opened again, trying on");
                    tokio::time::sleep(REBIND_PAUSE).await;
                }
            }
        }
        self.listener.as_ref()
    }
}

impl axum::serve::Listener for GatedListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let mut changes = self.changes.clone();
            changes.mark_unchanged();
            if self.faults.refuses(self.service) {
                self.listener = None;
                // The sender lives in `self.faults`, so this ends by a change only.
                let _ = changes.changed().await;
                continue;
            }
            let Some(listener) = self.bound().await else { continue };
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let _ = stream.set_nodelay(true);
                        return (CuttableStream::new(stream), peer);
                    }
                    Err(error) => {
                        tracing::warn!(address = %self.address, %error, "sandbox listener could not accept");
                        tokio::time::sleep(REBIND_PAUSE).await;
                    }
                },
                _ = changes.changed() => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// Cuts its connection after so many more written bytes.
#[derive(Clone, Debug)]
pub(super) struct Cutter(Arc<AtomicU64>);

impl Cutter {
    fn arm(&self, after_bytes: u64) {
        self.0.store(after_bytes, Ordering::Relaxed);
    }
}

impl Connected<axum::serve::IncomingStream<'_, GatedListener>> for Cutter {
    fn connect_info(stream: axum::serve::IncomingStream<'_, GatedListener>) -> Self {
        stream.io().cutter.clone()
    }
}

/// A TCP connection with a cutter.
#[derive(Debug)]
pub(super) struct CuttableStream {
    stream: TcpStream,
    cutter: Cutter,
}

impl CuttableStream {
    fn new(stream: TcpStream) -> Self {
        Self { stream, cutter: Cutter(Arc::new(AtomicU64::new(UNCUT))) }
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.cutter.0.load(Ordering::Relaxed);
        if left == UNCUT {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        }
        if left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut as ordered")));
        }
        let most = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf.get(..most).unwrap_or(buf));
        if let Poll::Ready(Ok(written)) = polled {
            self.cutter.0.store(left.saturating_sub(written as u64), Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What the middleware of one service needs.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) service: SandboxService,
    pub(super) faults: Arc<Faults>,
    pub(super) shutdown: CancellationToken,
}

/// Lets the ordered faults befall one request. What only a WebSocket session can do travels on as a `Plan` extension.
pub(super) async fn befall(
    State(gate): State<Gate>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    mut request: Request,
    next: Next,
) -> Response {
    if gate.faults.refuses(gate.service) {
        // A connection from before the port was closed: it dies with its next request.
        cutter.arm(0);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let plan = gate.faults.plan(gate.service, request.uri().path());
    let socket = request.headers().contains_key(header::UPGRADE);
    match &plan.outcome {
        Some(Fault::Disconnect { after_bytes }) => cutter.arm(*after_bytes),
        Some(Fault::Hang) if !socket => {
            gate.shutdown.cancelled().await;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        Some(Fault::Garbage { what: Garbage::Html }) => {
            plan.wait(&gate.shutdown).await;
            return axum::response::Html(HTML_PAGE).into_response();
        }
        Some(Fault::Status { code }) if *code >= 300 || socket => {
            plan.wait(&gate.shutdown).await;
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return reply::refusal(gate.service, status, status.canonical_reason().unwrap_or("Error"));
        }
        _ => {}
    }
    request.extensions_mut().insert(plan.clone());
    let mut response = next.run(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    plan.wait(&gate.shutdown).await;
    match &plan.outcome {
        Some(Fault::Status { code }) if response.status().is_success() => {
            *response.status_mut() = StatusCode::from_u16(*code).unwrap_or(StatusCode::OK);
            response
        }
        Some(Fault::Garbage { what: Garbage::BrokenJson }) => break_json(response, &plan).await,
        _ => response,
    }
}

async fn break_json(response: Response, plan: &Plan) -> Response {
    let json = HeaderValue::from_static("application/json");
    if response.headers().get(header::CONTENT_TYPE) != Some(&json) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let whole = axum::body::to_bytes(body, MOST_JSON).await.unwrap_or_default();
    let text = plan.spoil(String::from_utf8_lossy(&whole).into_owned());
    Response::from_parts(parts, text.into())
}

const UNCUT: u64 = u64::MAX;
const REBIND_PAUSE: Duration = Duration::from_millis(50);
const MOST_JSON: usize = 1 << 20;
const HTML_PAGE: &str =
    "<!DOCTYPE html><html><head><title>Service unavailable</title></head><body><h1>We'll be back</h1></body></html>";
