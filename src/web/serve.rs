//! Serving a router over HTTP/1.1 with bounds: on connections, on slow request heads, on how long a connection lives.

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Handlers that answer for long (live feeds) end when it is cancelled.
#[derive(Clone, Debug)]
pub(super) struct Stopping(pub(super) CancellationToken);

/// Bounds on what clients may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the listen backlog until one goes. Default 1024.
    pub connections: usize,
    /// A request head must be whole after so long; an idle connection closes after so long too. Default 10 s.
    pub head: Duration,
    /// A connection lives at most so long: a live feed connects again by itself. Default 1 h.
    pub life: Duration,
    /// After the stop, answers under way may take so long. Default 3 s.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(10),
            life: Duration::from_secs(3600),
            grace: Duration::from_secs(3),
        }
    }
}

/// Serves until `stop`, then lets answers under way end, and returns when every connection is gone.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_within(Limits::default(), listener, router, stop).await;
}

/// `serve` with other bounds.
pub async fn serve_within(limits: Limits, listener: TcpListener, router: Router, stop: CancellationToken) {
    let router = router.layer(Extension(Stopping(stop.clone())));
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            // The semaphore is never closed, so there is always a permit sooner or later.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let stream = loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => break stream,
                        Err(error) => {
                            // Out of file descriptors, mostly: the listener is whole, a pause lets some go.
                            tracing::warn!(%error, "accepting an HTTP connection failed");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    },
                    Some(_) = connections.join_next() => {}
                }
            };
            let (router, stop) = (router.clone(), stop.clone());
            connections.spawn(async move {
                connection(limits, stream, router, stop).await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = accepting => {}
    }
    drop(listener);
    let drained = tokio::time::timeout(limits.grace, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection(limits: Limits, stream: TcpStream, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay");
    }
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MOST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        () = stop.cancelled() => None,
        () = tokio::time::sleep(limits.life) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.grace, serving).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "an HTTP connection ended early");
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Request line and headers together.
const MOST_HEAD: usize = 32 * 1024;
