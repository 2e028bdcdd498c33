//! The SIP endpoint: one UAS, and a small UAC, over all flows of a process (RFC 3261 sections 8, 13 to 15). Sans-IO.

mod authenticate;
mod command;
mod dial;
mod invite;
mod leg;
mod offer;
mod parties;
mod receive;
mod refer;
mod reliable;
mod remarks;
mod respond;
mod session;
mod timers;
mod verdict;
mod within;
mod words;

use super::admission::Gate;
use super::agenda::Agenda;
use super::digest::Guard;
use super::entropy::Entropy;
use super::leg::{Dial, DialEvent, Invite, LegCommand, LegEvent, LegId};
use super::settings::Settings;
use super::transaction::{ClientTransaction, ServerTransaction, Table};
use super::transport::Flow;
use crate::base::Now;
use bytes::Bytes;
use leg::{Leg, Role};
use remarks::Remarks;
use std::collections::BTreeMap;
use std::time::Instant;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The instant that the last step asked for has come.
    Tick,
    /// A datagram, or one message cut out of a stream.
    Received {
        /// How it came.
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
    /// A stream that can no longer be cut into messages, with the head that broke it: it is answered and closed.
    Broken {
        /// The stream.
        flow: Flow,
        /// What could be read.
        head: Bytes,
    },
    /// A peer could not be reached, or its connection is gone: what waits for an answer over it waits in vain.
    Unreachable {
        /// The way that failed.
        flow: Flow,
    },
    /// The call speaks to its leg.
    Command {
        /// Which leg.
        leg: LegId,
        /// What.
        command: LegCommand,
    },
    /// Place a call. The number comes from `Endpoint::reserve_leg`, the flow leads to the next hop.
    Dial {
        /// Its leg.
        leg: LegId,
        /// What to send.
        dial: Dial,
        /// Where.
        flow: Flow,
    },
    /// Take a placed call back: CANCEL, or BYE where it was answered.
    Cancel {
        /// Which leg.
        leg: LegId,
    },
    /// Nobody listens to this leg any more: end it, whatever its state.
    Abandoned {
        /// Which leg.
        leg: LegId,
    },
    /// Refuse new calls, or take them again.
    Drain(bool),
    /// End every leg.
    Shut,
}

/// One thing to do. In order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a message.
    Send {
        /// Where to.
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
    /// Close a stream connection once what was sent has left.
    Close {
        /// Which.
        flow: Flow,
    },
    /// A call comes in; 100 has been sent. Answer it by commands to `leg`.
    Incoming {
        /// Its leg.
        leg: LegId,
        /// The INVITE.
        invite: Box<Invite>,
        /// How it came: `flow.local` is our address towards this peer.
        flow: Flow,
    },
    /// To the call that owns an incoming leg. Nothing follows `LegEvent::Ended`.
    Leg {
        /// Which leg.
        leg: LegId,
        /// What.
        event: LegEvent,
    },
    /// To whoever dialled. Nothing follows `DialEvent::Ended`.
    Dial {
        /// Which leg.
        leg: LegId,
        /// What.
        event: DialEvent,
    },
}

/// The endpoint.
#[derive(Debug)]
pub struct Endpoint {
    settings: Settings,
    gate: Gate,
    guard: Guard,
    remarks: Remarks,
    entropy: Entropy,
    agenda: Agenda<Owner>,
    servers: Table<ServerTransaction>,
    clients: Table<ClientTransaction>,
    legs: BTreeMap<LegId, Leg>,
    /// Legs by `Dialog::key`.
    dialogs: BTreeMap<String, LegId>,
    /// INVITE transactions by `Inbound::merge_key`.
    merges: BTreeMap<String, u64>,
    /// How many legs are of our own calling: then strangers may be peers.
    dialled: usize,
    last_leg: u64,
    draining: bool,
}

/// Whose timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Server(u64),
    Client(u64),
    Leg(LegId),
}

/// What one step works with.
struct Turn<'a> {
    at: Instant,
    out: &'a mut Vec<Output>,
}

impl Turn<'_> {
    fn send(&mut self, flow: Flow, bytes: Bytes) {
        self.out.push(Output::Send { flow, bytes });
    }
}

impl Endpoint {
    /// An endpoint. `seed` makes its tags and branches; it must be random, and the same seed replays the same run.
    #[must_use]
    pub fn new(settings: Settings, seed: [u8; 32]) -> Self {
        Self {
            gate: Gate::new(),
            guard: Guard::new(&seed),
            remarks: Remarks::default(),
            settings,
            entropy: Entropy::new(seed),
            agenda: Agenda::default(),
            servers: Table::default(),
            clients: Table::default(),
            legs: BTreeMap::new(),
            dialogs: BTreeMap::new(),
            merges: BTreeMap::new(),
            dialled: 0,
            last_leg: 0,
            draining: false,
        }
    }

    /// A number for a call to be placed with `Input::Dial`.
    pub fn reserve_leg(&mut self) -> LegId {
        self.last_leg += 1;
        LegId(self.last_leg)
    }

    /// Legs that have not ended.
    #[must_use]
    pub fn active(&self) -> usize {
        self.legs.len()
    }

    /// Transactions that are remembered: 0 once all is over and forgotten.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// Whether calls of our own are up: then strangers may be peers, and may send requests.
    #[must_use]
    pub fn has_dialled(&self) -> bool {
        self.dialled > 0
    }

    /// Whether requests of ours may be unanswered: then answers are heard from wherever they come.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        self.clients.len() > 0
    }

    /// Takes `input` in at `now`; `out` receives all there is to do, the return value is when to call again with `Tick`.
    #[must_use]
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) -> Option<Instant> {
        let turn = &mut Turn { at: now.at, out };
        match input {
            Input::Tick => {}
            Input::Received { flow, bytes } => self.received(turn, flow, &bytes),
            Input::Broken { flow, head } => {
                self.received(turn, flow, &head);
                turn.out.push(Output::Close { flow });
            }
            Input::Unreachable { flow } => self.unreachable(turn, flow),
            Input::Command { leg, command } => self.command(turn, leg, command),
            Input::Dial { leg, dial, flow } => self.dial(turn, leg, dial, flow),
            Input::Cancel { leg } => self.cancel(turn, leg),
            Input::Abandoned { leg } => self.abandoned(turn, leg),
            Input::Drain(draining) => self.draining = draining,
            Input::Shut => {
                self.draining = true;
                let mut legs: Vec<LegId> = self.legs.keys().copied().collect();
                legs.sort_unstable();
                for leg in legs {
                    self.abandoned(turn, leg);
                }
            }
        }
        self.run_timers(turn);
        self.agenda.next()
    }

    /// Calls that came in and have not ended: what `max_calls` bounds.
    fn calls(&self) -> usize {
        self.legs.len() - self.dialled
    }

    fn emit(&self, turn: &mut Turn<'_>, id: LegId, event: LegEvent) {
        let Some(leg) = self.legs.get(&id) else { return };
        match leg.role {
            Role::Called => turn.out.push(Output::Leg { leg: id, event }),
            Role::Calling => {
                let event = match event {
                    LegEvent::Reinvite { sdp } => DialEvent::Reinvite { sdp },
                    LegEvent::Ended => DialEvent::Ended,
                    // A BYE is told with its headers where it is received; the rest is no news to who dialled.
                    _ => return,
                };
                turn.out.push(Output::Dial { leg: id, event });
            }
        }
    }

    /// The leg is over: the last event, and nothing is left of it but its transactions.
    fn finish(&mut self, turn: &mut Turn<'_>, id: LegId) {
        self.terminate_change(turn, id);
        self.emit(turn, id, LegEvent::Ended);
        let Some(leg) = self.legs.remove(&id) else { return };
        self.dialogs.remove(&leg.dialog_key());
        self.agenda.tidy(|owner| match owner {
            Owner::Server(id) => self.servers.entry(id).is_some(),
            Owner::Client(id) => self.clients.entry(id).is_some(),
            Owner::Leg(id) => self.legs.contains_key(&id),
        });
        match leg.role {
            Role::Called if leg.half_open => self.gate.settled(leg.source),
            Role::Called => {}
            Role::Calling => self.dialled -= 1,
        }
    }

    fn schedule_leg(&mut self, id: LegId) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.alarms.schedule(Owner::Leg(id), &mut self.agenda);
        }
    }
}
