//! What the application holds of the endpoint: calls that came in, calls that it placed, and the handle of the whole.

use super::SipError;
use super::driver::Order;
use super::tls::Tls;
use crate::base::Now;
use crate::sip::ladder::{Ladder, Ladders};
use crate::sip::message::{Scheme, Uri};
use crate::sip::{Dial, DialEvent, Flow, Invite, LegCommand, LegEvent, LegId, Transport};
use parking_lot::Mutex;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// A call that came in; 100 has been sent.
#[derive(Debug)]
pub struct Incoming {
    /// The INVITE.
    pub invite: Invite,
    /// Its leg.
    pub leg: Leg,
    /// Our address towards this peer, for SDP where no public address is set.
    pub local_ip: IpAddr,
    /// What it came over: keys in it are secret only over TLS.
    pub transport: Transport,
    /// When the INVITE arrived.
    pub arrived: Now,
}

/// The leg of a call that came in. Dropping it ends the call: 500 before the answer, BYE behind it.
#[derive(Debug)]
pub struct Leg {
    commands: LegCommands,
    events: LegEvents,
}

/// The half that orders.
#[derive(Clone, Debug)]
pub struct LegCommands {
    id: LegId,
    orders: mpsc::Sender<Order>,
}

/// The half that listens, and owns the leg: dropping it ends the call.
#[derive(Debug)]
pub struct LegEvents {
    events: mpsc::Receiver<LegEvent>,
    _owner: Owner,
}

/// A call that we placed. Dropping it ends the call: CANCEL before the answer, BYE behind it.
#[derive(Debug)]
pub struct OutLeg {
    commands: LegCommands,
    events: mpsc::Receiver<DialEvent>,
    _owner: Owner,
}

/// The endpoint, seen from outside.
#[derive(Clone, Debug)]
pub struct SipHandle {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) drain: Arc<watch::Sender<bool>>,
    pub(super) active: Arc<AtomicUsize>,
    pub(super) orphans: Arc<Orphans>,
    pub(super) ladders: Arc<Mutex<Ladders>>,
    pub(super) tls: Arc<Tls>,
}

impl Leg {
    pub(super) fn new(
        id: LegId,
        orders: mpsc::Sender<Order>,
        events: mpsc::Receiver<LegEvent>,
        orphans: Arc<Orphans>,
    ) -> Self {
        let commands = LegCommands { id, orders };
        Self { commands, events: LegEvents { events, _owner: Owner { id, orphans } } }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> LegId {
        self.commands.id
    }

    /// Gives an order; waits while the endpoint is behind. Orders to a leg that has ended are without effect.
    pub async fn command(&self, command: LegCommand) {
        self.commands.command(command).await;
    }

    /// The next event; `None` once the leg has ended, and when it was ended because its events were not taken in time.
    pub async fn event(&mut self) -> Option<LegEvent> {
        self.events.event().await
    }

    /// Both halves.
    #[must_use]
    pub fn split(self) -> (LegCommands, LegEvents) {
        (self.commands, self.events)
    }
}

impl LegCommands {
    /// Gives an order; waits while the endpoint is behind. Orders to a leg that has ended are without effect.
    pub async fn command(&self, command: LegCommand) {
        self.order(Order::Command { leg: self.id, command }).await;
    }

    async fn order(&self, order: Order) {
        if self.orders.send(order).await.is_err() {
            tracing::debug!(leg = self.id.0, "order to a SIP endpoint that has stopped");
        }
    }
}

impl LegEvents {
    /// The next event; `None` once the leg has ended, and when it was ended because its events were not taken in time.
    pub async fn event(&mut self) -> Option<LegEvent> {
        self.events.recv().await
    }
}

impl OutLeg {
    /// The next event; `None` once the leg has ended.
    pub async fn event(&mut self) -> Option<DialEvent> {
        self.events.recv().await
    }

    /// Takes the call back: CANCEL, or BYE where it was answered.
    pub async fn cancel(&self) {
        self.commands.order(Order::Cancel { leg: self.commands.id }).await;
    }

    /// Hangs up.
    pub async fn bye(&self, headers: Vec<(String, String)>) {
        self.commands.command(LegCommand::Bye { headers }).await;
    }

    /// Any other order.
    pub async fn command(&self, command: LegCommand) {
        self.commands.command(command).await;
    }
}

impl SipHandle {
    /// Refuses new calls with 503 and answers OPTIONS so, or takes calls again. Calls that are up go on.
    pub fn drain(&self, drain: bool) {
        self.drain.send_replace(drain);
    }

    /// Reads the TLS files now instead of at the next look at them. What comes of it is logged.
    pub fn reload_tls(&self) {
        self.tls.asked.notify_one();
    }

    /// Legs that have not ended.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// The messages of a call, of a live or a recent one, or of an INVITE that was refused.
    #[must_use]
    pub fn ladder(&self, call_id: &str) -> Option<Ladder> {
        self.ladders.lock().find(call_id)
    }

    /// The messages of the call that began last.
    #[must_use]
    pub fn latest_ladder(&self) -> Option<Ladder> {
        self.ladders.lock().latest()
    }

    /// Places a call, by `transport` or as the URI says (`sips:`, `transport` parameter), else by UDP. A listener of that
    /// transport must be open; only TLS does without, and is reached over the connection it opens. ACK is sent by itself.
    pub async fn dial(&self, dial: Dial, transport: Option<Transport>) -> Result<OutLeg, SipError> {
        let (transport, remote) = resolve(&dial.uri, transport).await?;
        let (reply, answer) = oneshot::channel();
        let (events_in, events) = mpsc::channel(EVENTS);
        let order = Order::Dial { dial, transport, remote, events: events_in, reply };
        self.orders.send(order).await.map_err(|_| SipError::Stopped)?;
        let id = answer.await.map_err(|_| SipError::Stopped)??;
        let commands = LegCommands { id, orders: self.orders.clone() };
        Ok(OutLeg { commands, events, _owner: Owner { id, orphans: self.orphans.clone() } })
    }
}

async fn resolve(text: &str, transport: Option<Transport>) -> Result<(Transport, SocketAddr), SipError> {
    let wrong = |what: &str| SipError::Uri { uri: text.to_owned(), what: what.to_owned() };
    let uri = Uri::parse(text).map_err(wrong)?;
    let transport =
        match (&uri.scheme, transport, uri.params.value("transport").map(str::to_ascii_lowercase).as_deref()) {
            (Scheme::Sips, Some(Transport::Udp | Transport::Tcp), _) | (Scheme::Sips, None, Some("udp")) => {
                return Err(wrong("sips: goes by TLS only"));
            }
            (Scheme::Sips, ..) => Transport::Tls,
            (Scheme::Sip, Some(transport), _) => transport,
            (Scheme::Sip, None, None | Some("udp")) => Transport::Udp,
            (Scheme::Sip, None, Some("tcp")) => Transport::Tcp,
            (Scheme::Sip, None, Some("tls")) => Transport::Tls,
            (Scheme::Sip, None, Some(_)) => return Err(wrong("its transport is not spoken here")),
            _ => return Err(wrong("only sip: and sips: URIs can be called")),
        };
    let port = uri.port.unwrap_or(transport.default_port());
    let remote = match uri.ip() {
        Some(ip) => SocketAddr::new(ip, port),
        None => tokio::net::lookup_host((uri.host.as_str(), port))
            .await
            .map_err(|error| wrong(&format!("{} cannot be looked up: {error}", uri.host)))?
            .next()
            .ok_or_else(|| wrong("its host has no address"))?,
    };
    Ok((transport, remote))
}

/// Legs whose holder is gone. At most as many as there are legs, so that letting go of one can never fail or wait.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    legs: Mutex<Vec<LegId>>,
    pub(super) news: Notify,
}

impl Orphans {
    pub(super) fn take(&self) -> Vec<LegId> {
        std::mem::take(&mut *self.legs.lock())
    }
}

#[derive(Debug)]
struct Owner {
    id: LegId,
    orphans: Arc<Orphans>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.orphans.legs.lock().push(self.id);
        self.orphans.news.notify_one();
    }
}

impl Incoming {
    pub(super) fn new(invite: Invite, leg: Leg, flow: &Flow, arrived: Now) -> Self {
        Self { invite, leg, local_ip: flow.local.ip(), transport: flow.transport, arrived }
    }
}

/// SIP to call: when a call does not take its events for so long, it is ended by the error path.
pub(super) const EVENTS: usize = 32;
