//! TCP connections (RFC 3261 section 18.3, RFC 5626 keep-alives): bounded in number, in what they may leave unsaid and unread.

use super::access::Access;
use super::inlet::{Inlet, Inlets};
use crate::base::{clock, metric};
use crate::sip::Flow;
use crate::sip::message::{Frame, Framer, Framing, parse};
use bytes::Bytes;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
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
                if !inlets.send(Inlet::Accepted { local, remote, stream }).await {
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
}

impl Connection {
    /// Serves an accepted stream.
    pub(super) async fn serve(self, stream: TcpStream) {
        let Self { flow, inlets, outbox, pong, close } = self;
        tune(&stream);
        let (read, write) = stream.into_split();
        tokio::join!(
            async {
                read_messages(flow, read, &inlets, &pong, &close).await;
                close.cancel();
            },
            async {
                write_messages(write, outbox, &close).await;
                close.cancel();
            },
        );
        // The driver is told even when it is just ending: it then listens no more, and that is all right.
        let _told = inlets.send(Inlet::Closed { flow }).await;
    }

    /// Opens a connection, then serves it.
    pub(super) async fn connect(self) {
        match tokio::time::timeout(CONNECT, TcpStream::connect(self.flow.remote)).await {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => self.failed(&error.to_string()).await,
            Err(_) => self.failed("no answer").await,
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
    mut read: OwnedReadHalf,
    inlets: &Inlets,
    pong: &mpsc::WeakSender<Bytes>,
    close: &CancellationToken,
) {
    let mut framer = Framer::default();
    let mut buffer = vec![0; READ_AT_ONCE];
    let mut patience = Patience::new(Instant::from_std(clock::now().at));
    loop {
        let read = tokio::select! {
            () = close.cancelled() => return,
            () = tokio::time::sleep_until(patience.until) => {
                tracing::debug!(remote = %flow.remote, "SIP connection idle, closed");
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
}

impl Patience {
    fn new(now: Instant) -> Self {
        Self { until: now + FIRST, partial: false, trusting: false }
    }

    /// Bytes came: they ended a message or a ping (`progress`), or left one begun (`partial`). What has begun must end in
    /// time, however slowly its bytes drip in.
    fn heard(&mut self, now: Instant, progress: bool, partial: bool) {
        if !self.trusting {
            return;
        }
        if !partial {
            self.until = now + IDLE;
        } else if progress || !self.partial {
            self.until = now + PARTIAL;
        }
        self.partial = partial;
    }
}

async fn write_messages(mut write: OwnedWriteHalf, mut outbox: mpsc::Receiver<Bytes>, close: &CancellationToken) {
    loop {
        let bytes = tokio::select! {
            () = close.cancelled() => return,
            bytes = outbox.recv() => bytes,
        };
        let Some(bytes) = bytes else { break };
        match tokio::time::timeout(WRITE, write.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
    let _gone = write.shutdown().await;
}

const BACKLOG: i32 = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const CONNECT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Until the first message has come.
const FIRST: Duration = Duration::from_secs(30);
/// From a message's first byte to its last.
const PARTIAL: Duration = Duration::from_secs(30);
/// Between messages: a long call says nothing for its whole length, and dead peers are found by TCP's own keep-alive.
const IDLE: Duration = Duration::from_secs(2 * 60 * 60);
/// For one message to leave.
const WRITE: Duration = Duration::from_secs(10);
const READ_AT_ONCE: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_a_second_does_not_keep_a_connection() {
        let start = Instant::from_std(clock::now().at);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::new(start);
        assert_eq!(patience.until, at(30));
        patience.heard(at(1), true, false);
        patience.heard(at(2), false, true);
        assert_eq!(patience.until, at(30), "pings and beginnings are no message");
        patience = Patience { trusting: true, ..Patience::new(start) };
        for second in 5..100 {
            patience.heard(at(second), false, true);
        }
        assert_eq!(patience.until, at(35), "from the message's first byte");
        patience.heard(at(30), true, true);
        assert_eq!(patience.until, at(60), "one has ended, the next begun");
        patience.heard(at(31), true, false);
        assert_eq!(patience.until, at(31) + IDLE);
    }
}
