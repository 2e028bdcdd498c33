//! TCP and TLS connections (RFC 3261 section 18.3, RFC 5626 keep-alives): bounded in number, in what they may leave unsaid and
//! unread.

use super::access::Access;
use super::inlet::{Inlet, Inlets};
use super::limits::Limits;
use super::tls::{self, Handshake};
use crate::base::{clock, metric};
use crate::sip::message::{Frame, Framer, Framing, parse};
use crate::sip::{Flow, Transport};
use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) fn bind(address: SocketAddr) -> io::Result<(SocketAddr, TcpListener)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    Ok((listener.local_addr()?, listener))
}

/// Accepts until `stop`: strangers are closed at once, of the others the driver decides whether they may stay.
pub(super) async fn accept(
    transport: Transport,
    local: SocketAddr,
    listener: tokio::net::TcpListener,
    inlets: Inlets,
    access: Arc<Access>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((_, remote)) if !access.serves(remote.ip()) => {
                metrics::counter!(metric::SIP_REFUSED_TOTAL, "reason" => "stranger_connection").increment(1);
            }
            Ok((stream, remote)) => {
                if !inlets.send(Inlet::Accepted { transport, local, remote, stream }).await {
                    return;
                }
            }
            // Out of descriptors, most likely: give the others time to close.
            Err(error) => {
                tracing::warn!(%error, %local, "SIP connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection from its first byte to its last.
pub(super) struct Connection {
    pub(super) flow: Flow,
    pub(super) inlets: Inlets,
    /// What the driver sends; when the driver lets go of it the connection is closed behind the last message.
    pub(super) outbox: mpsc::Receiver<Bytes>,
    /// For pongs; weak, so that it does not keep the outbox open.
    pub(super) pong: mpsc::WeakSender<Bytes>,
    pub(super) close: CancellationToken,
    pub(super) limits: Limits,
}

impl Connection {
    /// Serves an accepted stream.
    pub(super) async fn serve(self, stream: TcpStream) {
        tune(&stream);
        let (read, write) = stream.into_split();
        self.converse(read, write).await;
    }

    /// The same within TLS: nothing is SIP before the handshake is through.
    pub(super) async fn serve_tls(self, stream: TcpStream, config: Arc<ServerConfig>, handshake: Handshake) {
        tune(&stream);
        let shaken = tokio::select! {
            () = self.close.cancelled() => return self.failed("closed").await,
            () = self.inlets.closed() => return,
            shaken = tls::accept(config, stream, self.limits.handshake) => shaken,
        };
        drop(handshake);
        match shaken {
            Ok(stream) => {
                let (read, write) = tokio::io::split(stream);
                self.converse(read, write).await;
            }
            Err(why) => self.failed(&why).await,
        }
    }

    async fn converse(self, read: impl AsyncRead + Unpin, write: impl AsyncWrite + Unpin) {
        let Self { flow, inlets, outbox, pong, close, limits } = self;
        tokio::join!(
            async {
                read_messages(flow, read, &inlets, &pong, &close, limits).await;
                close.cancel();
            },
            async {
                write_messages(write, outbox, &close, limits.write).await;
                close.cancel();
            },
        );
        // The driver is told even when it is just ending: it then listens no more, and that is all right.
        let _told = inlets.send(Inlet::Closed { flow }).await;
    }

    /// Opens a connection, from `socket` where one is bound already and within TLS where there is a name to be proven, then
    /// serves it.
    pub(super) async fn connect(
        self,
        socket: Option<TcpSocket>,
        secure: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    ) {
        let remote = self.flow.remote;
        let connecting = async {
            match socket {
                Some(socket) => socket.connect(remote).await,
                None => TcpStream::connect(remote).await,
            }
        };
        let stream = match tokio::time::timeout(self.limits.connect, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.failed(&error.to_string()).await,
            Err(_) => return self.failed("no answer").await,
        };
        let Some((config, name)) = secure else { return self.serve(stream).await };
        tune(&stream);
        match tls::connect(config, name, stream, self.limits.connect).await {
            Ok(stream) => {
                let (read, write) = tokio::io::split(stream);
                self.converse(read, write).await;
            }
            Err(why) => {
                tracing::warn!(%remote, why, "SIP over TLS could not be opened");
                self.failed(&why).await;
            }
        }
    }

    async fn failed(self, why: &str) {
        tracing::debug!(remote = %self.flow.remote, why, "SIP connection could not be opened");
        let _told = self.inlets.send(Inlet::Closed { flow: self.flow }).await;
    }
}

fn tune(stream: &TcpStream) {
    let keepalive = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    if let Err(error) = stream.set_nodelay(true).and(keepalive) {
        tracing::debug!(%error, "SIP connection option");
    }
}

async fn read_messages(
    flow: Flow,
    mut read: impl AsyncRead + Unpin,
    inlets: &Inlets,
    pong: &mpsc::WeakSender<Bytes>,
    close: &CancellationToken,
    limits: Limits,
) {
    let mut framer = Framer::default();
    let mut buffer = vec![0; READ_AT_ONCE];
    let mut patience = Patience::new(Instant::from_std(clock::now().at), limits);
    loop {
        let read = tokio::select! {
            () = close.cancelled() => return,
            () = tokio::time::sleep_until(patience.until) => {
                let reason = patience.lost_with();
                metrics::counter!(metric::SIP_CONNECTIONS_CLOSED_TOTAL, "reason" => reason).increment(1);
                tracing::debug!(remote = %flow.remote, reason, "SIP connection closed");
                return;
            }
            read = read.read(&mut buffer) => read,
        };
        let length = match read {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        framer.feed(buffer.get(..length).unwrap_or_default());
        let mut progress = false;
        while let Some(frame) = framer.next_frame() {
            progress = true;
            let inlet = match frame {
                Frame::Message(bytes) => {
                    patience.trusting = patience.trusting || parse(&bytes, Framing::Stream).is_ok();
                    Inlet::Message { flow, bytes }
                }
                Frame::Broken(head) => Inlet::Broken { flow, head },
                Frame::Ping => {
                    metrics::counter!(metric::SIP_KEEP_ALIVES_TOTAL, "kind" => "crlf").increment(1);
                    if let Some(pong) = pong.upgrade() {
                        // A peer that pings and never reads gets no pong; its messages fill the outbox and close it.
                        let _full = pong.try_send(Bytes::from_static(b"\r\n"));
                    }
                    continue;
                }
            };
            if !inlets.send(inlet).await {
                return;
            }
        }
        patience.heard(Instant::from_std(clock::now().at), progress, framer.is_partial());
    }
}

/// How long a stream may go on as it does.
struct Patience {
    until: Instant,
    partial: bool,
    /// A SIP message has come: until then the peer is given the time for one, whatever else it sends.
    trusting: bool,
    limits: Limits,
}

impl Patience {
    fn new(now: Instant, limits: Limits) -> Self {
        Self { until: now + limits.first, partial: false, trusting: false, limits }
    }

    /// Why it ended: the metric's label.
    fn lost_with(&self) -> &'static str {
        match (self.trusting, self.partial) {
            (false, _) => "no_message",
            (true, true) => "unfinished",
            (true, false) => "idle",
        }
    }

    /// Bytes came: they ended a message or a ping (`progress`), or left one begun (`partial`). What has begun must end in
    /// time, however slowly its bytes drip in.
    fn heard(&mut self, now: Instant, progress: bool, partial: bool) {
        if !self.trusting {
            return;
        }
        if !partial {
            self.until = now + self.limits.idle;
        } else if progress || !self.partial {
            self.until = now + self.limits.partial;
        }
        self.partial = partial;
    }
}

async fn write_messages(
    mut write: impl AsyncWrite + Unpin,
    mut outbox: mpsc::Receiver<Bytes>,
    close: &CancellationToken,
    limit: Duration,
) {
    loop {
        let bytes = tokio::select! {
            () = close.cancelled() => return,
            bytes = outbox.recv() => bytes,
        };
        let Some(bytes) = bytes else { break };
        // TLS keeps records back until it is flushed.
        let writing = async {
            write.write_all(&bytes).await?;
            write.flush().await
        };
        match tokio::time::timeout(limit, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                metrics::counter!(metric::SIP_CONNECTIONS_CLOSED_TOTAL, "reason" => "not_reading").increment(1);
                return;
            }
        }
    }
    // Within TLS this is a message too, and a peer may not read it.
    let _gone = tokio::time::timeout(limit, write.shutdown()).await;
}

const BACKLOG: i32 = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const KEEPALIVE: Duration = Duration::from_secs(60);
const READ_AT_ONCE: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_a_second_does_not_keep_a_connection() {
        let start = Instant::from_std(clock::now().at);
        let at = |seconds| start + Duration::from_secs(seconds);
        let limits = Limits::default();
        let mut patience = Patience::new(start, limits);
        assert_eq!(patience.until, at(30));
        patience.heard(at(1), true, false);
        patience.heard(at(2), false, true);
        assert_eq!(patience.until, at(30), "pings and beginnings are no message");
        patience = Patience { trusting: true, ..Patience::new(start, limits) };
        for second in 5..100 {
            patience.heard(at(second), false, true);
        }
        assert_eq!(patience.until, at(35), "from the message's first byte");
        patience.heard(at(30), true, true);
        assert_eq!(patience.until, at(60), "one has ended, the next begun");
        patience.heard(at(31), true, false);
        assert_eq!(patience.until, at(31) + limits.idle);
    }
}
