//! The one task that owns the endpoint: feeds what came, sends what comes out, keeps one timer, repeats.

use super::access::Access;
use super::connections::Connections;
use super::inlet::{Held, Inlet, Inlets};
use super::leg::{EVENTS, Incoming, Leg, Orphans, SipHandle};
use super::route::Routes;
use super::tls;
use super::{Bound, SipError, stream, udp};
use crate::base::{clock, metric};
use crate::sip::ladder::{Direction, Ladders};
use crate::sip::{Dial, DialEvent, Endpoint, Flow, Input, LegCommand, LegEvent, LegId, Output, Settings, Transport};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// From the application.
#[derive(Debug)]
pub(super) enum Order {
    Command {
        leg: LegId,
        command: LegCommand,
    },
    Cancel {
        leg: LegId,
    },
    Dial {
        dial: Dial,
        transport: Transport,
        remote: SocketAddr,
        events: mpsc::Sender<DialEvent>,
        reply: oneshot::Sender<Result<LegId, SipError>>,
    },
}

/// The task's state.
pub(super) struct Driver {
    endpoint: Endpoint,
    udp: Vec<(SocketAddr, Arc<UdpSocket>)>,
    /// Listeners of streams, in the order of the configuration.
    streams: Vec<(Transport, SocketAddr)>,
    routes: Routes,
    connections: Connections,
    calls: BTreeMap<LegId, mpsc::Sender<LegEvent>>,
    dialled: BTreeMap<LegId, mpsc::Sender<DialEvent>>,
    incoming: mpsc::Sender<Incoming>,
    inlets: Inlets,
    access: Arc<Access>,
    orders: mpsc::Sender<Order>,
    orphans: Arc<Orphans>,
    active: Arc<AtomicUsize>,
    ladders: Arc<Mutex<Ladders>>,
    tracker: TaskTracker,
    /// Ends datagram readers and listeners once the driver has ended; connections end when their outbox does.
    sockets: CancellationToken,
    /// When the endpoint wants to be called again.
    next: Option<Instant>,
}

impl Driver {
    pub(super) fn start(
        bound: Bound,
        settings: Settings,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> (SipHandle, mpsc::Receiver<Incoming>) {
        let (incoming, calls) = mpsc::channel(INCOMING);
        let (inlets, inlet_queue) = Inlets::new();
        let access = Arc::new(Access::new(&settings));
        let (orders, order_queue) = mpsc::channel(ORDERS);
        let (drain, drains) = watch::channel(false);
        let orphans = Arc::new(Orphans::default());
        let active = Arc::new(AtomicUsize::new(0));
        let ladders = Arc::new(Mutex::new(Ladders::default()));
        let sockets = CancellationToken::new();
        let Bound { udp, streams, tls, limits, seed } = bound;
        let mut driver = Self {
            endpoint: Endpoint::new(settings, seed),
            udp: Vec::new(),
            streams: Vec::new(),
            routes: Routes::default(),
            connections: Connections::new(limits, Arc::clone(&tls)),
            calls: BTreeMap::new(),
            dialled: BTreeMap::new(),
            incoming,
            inlets,
            access,
            orders: orders.clone(),
            orphans: orphans.clone(),
            active: active.clone(),
            ladders: ladders.clone(),
            tracker: tracker.clone(),
            sockets: sockets.clone(),
            next: None,
        };
        driver.open(udp, streams);
        if tls.has_files() {
            tracker.spawn(tls::watch(Arc::clone(&tls), limits.tls_files, sockets));
        }
        tracker.spawn(driver.run(inlet_queue, order_queue, drains, stop));
        (SipHandle { orders, drain: Arc::new(drain), active, orphans, ladders, tls }, calls)
    }

    fn open(
        &mut self,
        udp: Vec<(SocketAddr, std::net::UdpSocket)>,
        streams: Vec<(Transport, SocketAddr, std::net::TcpListener)>,
    ) {
        for (local, socket) in udp {
            match UdpSocket::from_std(socket) {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    let (inlets, access) = (self.inlets.clone(), self.access.clone());
                    let reader = udp::receive(self.udp.len(), socket.clone(), inlets, access, self.sockets.clone());
                    self.tracker.spawn(reader);
                    self.udp.push((local, socket));
                }
                Err(error) => tracing::error!(%local, %error, "SIP listener lost"),
            }
        }
        for (transport, local, listener) in streams {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    let (inlets, access) = (self.inlets.clone(), self.access.clone());
                    let stop = self.sockets.clone();
                    self.tracker.spawn(stream::accept(transport, local, listener, inlets, access, stop));
                    self.streams.push((transport, local));
                }
                Err(error) => tracing::error!(%local, %error, "SIP listener lost"),
            }
        }
    }

    async fn run(
        mut self,
        mut inlets: mpsc::Receiver<Held>,
        mut orders: mpsc::Receiver<Order>,
        mut drains: watch::Receiver<bool>,
        stop: CancellationToken,
    ) {
        let orphans = self.orphans.clone();
        let mut shut_by: Option<tokio::time::Instant> = None;
        while shut_by.is_none() || self.endpoint.active() > 0 {
            let wake = self.next.map(tokio::time::Instant::from_std);
            tokio::select! {
                () = stop.cancelled(), if shut_by.is_none() => {
                    shut_by = Some(tokio::time::Instant::from_std(clock::now().at) + SHUT);
                    self.step(Input::Shut);
                }
                () = sleep_until(shut_by) => break,
                Some(held) = inlets.recv() => self.take_in(held.inlet),
                Some(order) = orders.recv() => self.obey(order),
                Ok(()) = drains.changed() => {
                    let drain = *drains.borrow_and_update();
                    self.step(Input::Drain(drain));
                }
                () = orphans.news.notified() => {
                    let abandoned = orphans.take();
                    // What their holders ordered before they let go comes first: a refusal must not be overtaken by our 500.
                    while let Ok(order) = orders.try_recv() {
                        self.obey(order);
                    }
                    for leg in abandoned {
                        self.calls.remove(&leg);
                        self.dialled.remove(&leg);
                        self.step(Input::Abandoned { leg });
                    }
                }
                () = sleep_until(wake) => self.step(Input::Tick),
            }
        }
        // With the outboxes the connections end, each behind its last message.
        self.sockets.cancel();
    }

    fn take_in(&mut self, inlet: Inlet) {
        match inlet {
            Inlet::Datagrams { socket, batch } => {
                let Some(listener) = self.udp.get(socket).map(|(local, _)| *local) else { return };
                for (remote, bytes) in batch {
                    let peer = remote.ip();
                    let local = if self.access.serves(peer) {
                        self.routes.towards(clock::now().at, listener, peer)
                    } else {
                        Routes::unasked(listener, peer)
                    };
                    let flow = Flow { transport: Transport::Udp, socket, connection: 0, local, remote };
                    self.step(Input::Received { flow, bytes });
                }
            }
            Inlet::Accepted { transport, local, remote, stream } => {
                self.connections.accepted(transport, local, remote, stream, &self.inlets, &self.tracker);
            }
            Inlet::Message { flow, bytes } => self.step(Input::Received { flow, bytes }),
            Inlet::Broken { flow, head } => self.step(Input::Broken { flow, head }),
            Inlet::Closed { flow } => {
                self.connections.forget(flow.connection);
                self.step(Input::Unreachable { flow });
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Command { leg, command } => self.step(Input::Command { leg, command }),
            Order::Cancel { leg } => self.step(Input::Cancel { leg }),
            Order::Dial { dial, transport, remote, events, reply } => {
                let Some(flow) = self.flow_to(transport, remote) else {
                    let _gone = reply.send(Err(SipError::NoListener { transport, remote }));
                    return;
                };
                let leg = self.endpoint.reserve_leg();
                self.dialled.insert(leg, events);
                // Who asked may be gone by now: then the events have no receiver, and that ends the call.
                let _gone = reply.send(Ok(leg));
                self.step(Input::Dial { leg, dial, flow });
            }
        }
    }

    /// A way to a peer that no message came from.
    fn flow_to(&mut self, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        let fits = |local: &SocketAddr| local.is_ipv4() == remote.is_ipv4();
        let (socket, listener) = match transport {
            Transport::Udp => {
                let socket = self.udp.iter().position(|(local, _)| fits(local))?;
                (socket, self.udp.get(socket)?.0)
            }
            Transport::Tcp | Transport::Tls => {
                match self.streams.iter().find(|(kind, local)| *kind == transport && fits(local)) {
                    Some((_, listener)) => (0, *listener),
                    None if transport == Transport::Tcp => return None,
                    None => return self.flow_without_listener(transport, remote),
                }
            }
        };
        let local = self.routes.towards(clock::now().at, listener, remote.ip());
        Some(Flow { transport, socket, connection: 0, local, remote })
    }

    fn flow_without_listener(&mut self, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        let any = match remote {
            SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        };
        let local = self.routes.towards(clock::now().at, any, remote.ip()).ip();
        match self.connections.flow_without_listener(transport, local, remote) {
            Ok(flow) => Some(flow),
            Err(error) => {
                tracing::warn!(%error, %local, "no socket for a SIP connection");
                None
            }
        }
    }

    /// Steps the endpoint, and again for what went wrong in carrying out what it wanted.
    fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        let mut out = Vec::new();
        while let Some(input) = inputs.pop() {
            let now = clock::now();
            if let Input::Received { flow, bytes } | Input::Broken { flow, head: bytes } = &input {
                self.ladders.lock().record(now, Direction::In, *flow, bytes);
            }
            self.next = self.endpoint.step(now, input, &mut out);
            for output in out.drain(..) {
                match output {
                    Output::Send { flow, bytes } => {
                        self.ladders.lock().record(now, Direction::Out, flow, &bytes);
                        if !self.send(flow, bytes) {
                            inputs.push(Input::Unreachable { flow });
                        }
                    }
                    Output::Close { flow } => self.connections.forget(flow.connection),
                    Output::Incoming { leg, invite, flow } => {
                        let (events, listener) = mpsc::channel(EVENTS);
                        self.calls.insert(leg, events);
                        self.ladders.lock().admitted(now, &invite.call_id, leg);
                        let holder = Leg::new(leg, self.orders.clone(), listener, self.orphans.clone());
                        let call = Incoming::new(*invite, holder, &flow, now);
                        // Dropped when the queue is full: the leg's owner is gone then, which ends it.
                        if self.incoming.try_send(call).is_err() {
                            metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "sip_incoming").increment(1);
                        }
                    }
                    Output::Leg { leg, event } => {
                        let ended = event == LegEvent::Ended;
                        let told = self.calls.get(&leg).is_none_or(|call| deliver(call, event));
                        if ended {
                            self.ladders.lock().over(now, leg);
                        }
                        if ended || !told {
                            self.calls.remove(&leg);
                        }
                        if !told && !ended {
                            inputs.push(Input::Abandoned { leg });
                        }
                    }
                    Output::Dial { leg, event } => {
                        let ended = event == DialEvent::Ended;
                        let told = self.dialled.get(&leg).is_none_or(|phone| deliver(phone, event));
                        if ended || !told {
                            self.dialled.remove(&leg);
                        }
                        if !told && !ended {
                            inputs.push(Input::Abandoned { leg });
                        }
                    }
                }
            }
        }
        self.access.tell(&self.endpoint);
        self.active.store(self.endpoint.active(), Ordering::Relaxed);
    }

    /// False where the peer cannot be reached; what is merely lost on the way is the transactions' matter.
    fn send(&mut self, flow: Flow, bytes: Bytes) -> bool {
        if flow.transport == Transport::Udp {
            let Some((_, socket)) = self.udp.get(flow.socket) else { return false };
            return match udp::send(socket, flow.remote, &bytes) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "sip_udp_send").increment(1);
                    true
                }
                Err(error) => {
                    tracing::debug!(%error, remote = %flow.remote, "SIP datagram could not be sent");
                    false
                }
            };
        }
        self.connections.send(flow, bytes, &self.inlets, &self.tracker)
    }
}

/// False when the queue is full or nobody listens: the leg has to end.
fn deliver<T>(queue: &mpsc::Sender<T>, event: T) -> bool {
    match queue.try_send(event) {
        Ok(()) => true,
        Err(TrySendError::Full(_)) => {
            metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "sip_to_call").increment(1);
            false
        }
        Err(TrySendError::Closed(_)) => false,
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Calls that wait to be taken by the application.
const INCOMING: usize = 256;
/// Orders that wait for the driver.
const ORDERS: usize = 1024;
/// How long the last BYEs may take once the process stops.
const SHUT: Duration = Duration::from_secs(2);
