//! Sockets of a gateway or a phone on loopback, and what raw peers read from theirs.

use super::settings;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice_gateway::net::sip::{Incoming, SipHandle, SocketOptions, bind_with};
use voice_gateway::sip::{Settings, Transport};

pub struct Station {
    pub handle: SipHandle,
    pub calls: mpsc::Receiver<Incoming>,
    /// As they were asked for: `udp:` first, then the streams.
    pub addresses: Vec<(Transport, SocketAddr)>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Station {
    pub async fn start(listen: &[&str], options: SocketOptions) -> Self {
        Self::with(listen, options, settings()).await
    }

    pub async fn with(listen: &[&str], options: SocketOptions, settings: Settings) -> Self {
        let listen: Vec<_> = listen.iter().map(|l| l.parse().unwrap()).collect();
        let bound = bind_with(&listen, options).await.unwrap();
        let addresses = bound.local_addresses();
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let (handle, calls) = bound.start(settings, &tracker, stop.clone());
        Self { handle, calls, addresses, tracker, stop }
    }

    /// The first listener of this transport.
    pub fn at(&self, transport: Transport) -> SocketAddr {
        self.addresses.iter().find(|(kind, _)| *kind == transport).unwrap().1
    }

    /// Every task ends: nothing is left running.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        within_reason(self.tracker.wait()).await;
    }
}

/// Fails a test that hangs; no test waits for this long.
pub async fn within_reason<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("no answer")
}

/// What the peer says until `wanted`, or until it closes.
pub async fn read_until(stream: &mut (impl AsyncRead + Unpin), wanted: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = within_reason(stream.read(&mut buffer)).await.unwrap_or(0);
        seen.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        if text.contains(wanted) || length == 0 {
            return text;
        }
    }
}

/// The process's metrics: tests may share them.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

pub fn counted(series: &str) -> u64 {
    let text = metrics().render();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0, |value| value.trim().parse().unwrap())
}
