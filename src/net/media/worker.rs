//! A worker thread: visits each of its sessions once in 20 ms, at the session's own place on a grid of small slots.
//!
//! No epoll: reading a socket that has nothing costs less than being told that it has. Sessions are spread over the slots, so
//! that the packets of all calls do not leave at once. A worker without sessions sleeps until one comes.

use super::leg::{Leg, Life, Opening, Tools};
use crate::base::clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// The thread's own.
pub(super) struct Worker {
    incoming: Receiver<Opening>,
    sessions: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    /// Slot n of the grid is at `origin + n * SLOT`; a session lives in the slots that are its number modulo `SLOTS`.
    origin: Instant,
    slots: [Vec<Leg>; SLOTS],
    tools: Tools,
    flushed: Instant,
}

impl Worker {
    pub(super) fn new(incoming: Receiver<Opening>, sessions: Arc<AtomicUsize>, stop: Arc<AtomicBool>) -> Self {
        let origin = clock::now().at;
        let slots = std::array::from_fn(|_| Vec::new());
        Self { incoming, sessions, stop, origin, slots, tools: Tools::new(), flushed: origin }
    }

    /// Runs until the plane is stopped, or gone and the last session over.
    pub(super) fn run(mut self) {
        let mut slot = 0_u64;
        loop {
            if self.stop.load(Ordering::Relaxed) || !self.take_in() {
                break;
            }
            let now = clock::now().at;
            let reached = self.reached(now);
            // Woken too late, every session is still visited, but once.
            slot = slot.max((reached + 1).saturating_sub(PERIOD));
            if let Some(wait) = self.instant(slot).checked_duration_since(now) {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the pace of the media is made here, on an absolute grid"
                )]
                std::thread::sleep(wait);
            }
            self.visit(slot);
            slot += 1;
            self.flush(now);
        }
        for slot in 0..PERIOD {
            for leg in std::mem::take(self.slot(slot)) {
                self.sessions.fetch_sub(1, Ordering::Relaxed);
                leg.end(&mut self.tools);
            }
        }
        self.tools.flush();
    }

    /// Takes in new sessions; waits for one where there is none. False when none lives and none can come.
    fn take_in(&mut self) -> bool {
        if self.slots.iter().all(Vec::is_empty) {
            self.tools.flush();
            match self.incoming.recv_timeout(IDLE) {
                Ok(opening) => self.open(opening),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        loop {
            match self.incoming.try_recv() {
                Ok(opening) => self.open(opening),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn open(&mut self, opening: Opening) {
        let slot = (0..PERIOD).min_by_key(|slot| self.slot(*slot).len()).unwrap_or(0);
        let leg = Leg::open(opening, self.instant(slot), &mut self.tools);
        self.slot(slot).push(leg);
    }

    fn visit(&mut self, slot: u64) {
        let mut legs = std::mem::take(self.slot(slot));
        let tools = &mut self.tools;
        let before = legs.len();
        legs.retain_mut(|leg| leg.drive(tools) == Life::Open);
        self.sessions.fetch_sub(before - legs.len(), Ordering::Relaxed);
        *self.slot(slot) = legs;
    }

    fn flush(&mut self, now: Instant) {
        if now.saturating_duration_since(self.flushed) >= FLUSH {
            self.flushed = now;
            self.tools.flush();
        }
    }

    fn slot(&mut self, slot: u64) -> &mut Vec<Leg> {
        let index = usize::try_from(slot % PERIOD).unwrap_or(0);
        // The remainder lies below the length of the array.
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        &mut self.slots[index]
    }

    fn instant(&self, slot: u64) -> Instant {
        self.origin + Duration::from_nanos(SLOT_NANOS.saturating_mul(slot))
    }

    /// The last slot that has come.
    fn reached(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX) / SLOT_NANOS
    }
}

/// 2.5 ms: eight visits of different sessions in 20 ms.
const SLOT_NANOS: u64 = 2_500_000;
const SLOTS: usize = 8;
const PERIOD: u64 = 8;
/// How long a worker without sessions sleeps before it looks whether it is to end.
const IDLE: Duration = Duration::from_millis(250);
const FLUSH: Duration = Duration::from_secs(1);
