//! The stream connections that are open: found by number or by peer, bounded in all and for each source.

use super::inlet::Inlets;
use super::stream::Connection;
use crate::base::metric;
use crate::sip::{Flow, Transport, source_of};
use bytes::Bytes;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Open connections.
#[derive(Default)]
pub(super) struct Connections {
    open: HashMap<u64, Open>,
    by_remote: HashMap<SocketAddr, u64>,
    /// By `source_of`.
    per_source: HashMap<IpAddr, usize>,
    last: u64,
}

struct Open {
    outbox: mpsc::Sender<Bytes>,
    flow: Flow,
    close: CancellationToken,
}

impl Connections {
    /// Serves an accepted stream, or closes it at once where there are too many.
    pub(super) fn accepted(
        &mut self,
        listener: SocketAddr,
        remote: SocketAddr,
        stream: TcpStream,
        inlets: &Inlets,
        tracker: &TaskTracker,
    ) {
        let from_source = self.per_source.get(&source_of(remote.ip())).copied().unwrap_or_default();
        if self.open.len() >= MAX_CONNECTIONS || from_source >= MAX_PER_SOURCE {
            metrics::counter!(metric::SIP_REFUSED_TOTAL, "reason" => "connections").increment(1);
            return;
        }
        let local = stream.local_addr().map_or(listener, |local| SocketAddr::new(local.ip(), listener.port()));
        let flow = Flow { transport: Transport::Tcp, socket: 0, connection: 0, local, remote };
        let connection = self.register(flow, inlets);
        tracker.spawn(connection.serve(stream));
    }

    /// Sends over the flow's connection, else over one to the same peer, else over a new one. False where that is not
    /// possible; a peer that does not read is closed.
    pub(super) fn send(&mut self, flow: Flow, bytes: Bytes, inlets: &Inlets, tracker: &TaskTracker) -> bool {
        let known = self.open.contains_key(&flow.connection).then_some(flow.connection);
        let id = match known.or_else(|| self.by_remote.get(&flow.remote).copied()) {
            Some(id) => id,
            None if self.open.len() >= MAX_CONNECTIONS || flow.transport != Transport::Tcp => return false,
            None => {
                let connection = self.register(flow, inlets);
                let id = connection.flow.connection;
                tracker.spawn(connection.connect());
                id
            }
        };
        let Some(open) = self.open.get(&id) else { return false };
        match open.outbox.try_send(bytes) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "sip_tcp_send").increment(1);
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

    /// Lets go of a connection; it closes behind what was already sent.
    pub(super) fn forget(&mut self, id: u64) {
        let Some(open) = self.open.remove(&id) else { return };
        if self.by_remote.get(&open.flow.remote) == Some(&id) {
            self.by_remote.remove(&open.flow.remote);
        }
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
        self.by_remote.insert(flow.remote, id);
        *self.per_source.entry(source_of(flow.remote.ip())).or_default() += 1;
        self.open.insert(id, Open { outbox, flow, close: close.clone() });
        Connection { flow, inlets: inlets.clone(), outbox: queue, pong, close }
    }
}

/// Messages that wait in one connection.
const OUTBOX: usize = 256;
const MAX_CONNECTIONS: usize = 4096;
const MAX_PER_SOURCE: usize = 256;
