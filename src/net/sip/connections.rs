//! The stream connections that are open: found by number or by peer, bounded in all and for each source.

use super::inlet::Inlets;
use super::limits::Limits;
use super::stream::Connection;
use super::tls::{Handshakes, Tls, server_name};
use crate::base::metric;
use crate::sip::{Flow, Transport, source_of};
use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Open connections.
pub(super) struct Connections {
    limits: Limits,
    tls: Arc<Tls>,
    handshakes: Arc<Handshakes>,
    open: HashMap<u64, Open>,
    by_remote: HashMap<(Transport, SocketAddr), u64>,
    /// By `source_of`.
    per_source: HashMap<IpAddr, usize>,
    /// A socket for the connection that the next message opens, bound already so that its address can stand in that message.
    prepared: Option<(SocketAddr, TcpSocket)>,
    last: u64,
}

struct Open {
    outbox: mpsc::Sender<Bytes>,
    flow: Flow,
    close: CancellationToken,
}

impl Connections {
    pub(super) fn new(limits: Limits, tls: Arc<Tls>) -> Self {
        Self {
            limits,
            tls,
            handshakes: Arc::new(Handshakes::new(limits.handshakes, limits.handshakes_per_source)),
            open: HashMap::new(),
            by_remote: HashMap::new(),
            per_source: HashMap::new(),
            prepared: None,
            last: 0,
        }
    }

    /// Serves an accepted stream, or closes it at once where there are too many.
    pub(super) fn accepted(
        &mut self,
        transport: Transport,
        listener: SocketAddr,
        remote: SocketAddr,
        stream: TcpStream,
        inlets: &Inlets,
        tracker: &TaskTracker,
    ) {
        let from_source = self.per_source.get(&source_of(remote.ip())).copied().unwrap_or_default();
        let refused = |reason| metrics::counter!(metric::SIP_REFUSED_TOTAL, "reason" => reason).increment(1);
        if self.open.len() >= self.limits.connections || from_source >= self.limits.connections_per_source {
            return refused("connections");
        }
        let local = stream.local_addr().map_or(listener, |local| SocketAddr::new(local.ip(), listener.port()));
        let flow = Flow { transport, socket: 0, connection: 0, local, remote };
        if transport != Transport::Tls {
            tracker.spawn(self.register(flow, inlets).serve(stream));
            return;
        }
        // Without a certificate there is no TLS listener.
        let Some(config) = self.tls.current().server.clone() else { return };
        let Some(handshake) = self.handshakes.begin(remote.ip()) else { return refused("handshakes") };
        tracker.spawn(self.register(flow, inlets).serve_tls(stream, config, handshake));
    }

    /// Sends over the flow's connection, else over one to the same peer, else over a new one. False where that is not
    /// possible; a peer that does not read is closed.
    pub(super) fn send(&mut self, flow: Flow, bytes: Bytes, inlets: &Inlets, tracker: &TaskTracker) -> bool {
        let known = self.open.contains_key(&flow.connection).then_some(flow.connection);
        let id = match known.or_else(|| self.by_remote.get(&(flow.transport, flow.remote)).copied()) {
            Some(id) => id,
            None if self.open.len() >= self.limits.connections => return false,
            None => self.connect(flow, &bytes, inlets, tracker),
        };
        let Some(open) = self.open.get(&id) else { return false };
        match open.outbox.try_send(bytes) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "sip_tcp_send").increment(1);
                metrics::counter!(metric::SIP_CONNECTIONS_CLOSED_TOTAL, "reason" => "queue_full").increment(1);
                open.close.cancel();
                self.forget(id);
                false
            }
            // It has just ended, and its notice is still under way here: the message goes another way.
            Err(TrySendError::Closed(bytes)) => {
                self.forget(id);
                self.send(Flow { connection: 0, ..flow }, bytes, inlets, tracker)
            }
        }
    }

    /// A way to a peer for whoever has no listener of this transport: the connection's own address is where it can be reached.
    pub(super) fn flow_without_listener(
        &mut self,
        transport: Transport,
        local: IpAddr,
        remote: SocketAddr,
    ) -> io::Result<Flow> {
        let open = self.by_remote.get(&(transport, remote)).and_then(|id| self.open.get(id));
        if let Some(open) = open {
            return Ok(open.flow);
        }
        let socket = if local.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(SocketAddr::new(local, 0))?;
        let local = socket.local_addr()?;
        self.prepared = Some((local, socket));
        Ok(Flow { transport, socket: 0, connection: 0, local, remote })
    }

    /// Opens a connection for its first message, which says whom it must lead to.
    fn connect(&mut self, flow: Flow, first: &Bytes, inlets: &Inlets, tracker: &TaskTracker) -> u64 {
        let socket = self.prepared.take().filter(|(local, _)| *local == flow.local).map(|(_, socket)| socket);
        let secure = (flow.transport == Transport::Tls)
            .then(|| (Arc::clone(&self.tls.current().client), server_name(first, flow.remote.ip())));
        let connection = self.register(flow, inlets);
        let id = connection.flow.connection;
        tracker.spawn(connection.connect(socket, secure));
        id
    }

    /// Lets go of a connection; it closes behind what was already sent.
    pub(super) fn forget(&mut self, id: u64) {
        let Some(open) = self.open.remove(&id) else { return };
        let peer = (open.flow.transport, open.flow.remote);
        if self.by_remote.get(&peer) == Some(&id) {
            self.by_remote.remove(&peer);
        }
        self.tell();
        let source = source_of(open.flow.remote.ip());
        if let Some(count) = self.per_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&source);
            }
        }
    }

    fn register(&mut self, flow: Flow, inlets: &Inlets) -> Connection {
        self.last += 1;
        let id = self.last;
        let flow = Flow { connection: id, ..flow };
        let (outbox, queue) = mpsc::channel(OUTBOX);
        let close = CancellationToken::new();
        let pong = outbox.downgrade();
        self.by_remote.insert((flow.transport, flow.remote), id);
        *self.per_source.entry(source_of(flow.remote.ip())).or_default() += 1;
        self.open.insert(id, Open { outbox, flow, close: close.clone() });
        self.tell();
        Connection { flow, inlets: inlets.clone(), outbox: queue, pong, close, limits: self.limits }
    }

    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    fn tell(&self) {
        metrics::gauge!(metric::SIP_CONNECTIONS).set(self.open.len() as f64);
    }
}

/// Messages that wait in one connection.
const OUTBOX: usize = 256;
