//! History and the ledger of signals (SQLite). One writer takes everything through one bounded queue, in order; readers
//! have connections of their own.
//!
//! When the queue is half full, or the last write failed, new calls are refused; the other half is kept for the words of
//! calls that go on. A write that fails for want of space or a lock is kept and tried again, and only those who wait for
//! it (`commit`, `order_signal`) are told at once.

mod live;
mod location;
mod read;
mod record;
mod statement;
mod writer;

pub use location::{StoreError, probe};
pub use record::{CallRecord, Conversation, Line, SignalId, SignalSeen, Unsettled};

use crate::base::{Fault, FaultKind, Service, SessionKey, clock, metric};
use crate::call::input::SignalOutcome;
use crate::call::output::{Entry, SignalOrder, Summary};
use live::Live;
use record::KeyHash;
use sqlx::sqlite::SqlitePool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use writer::{Write, Writer};

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writes: mpsc::Sender<Write>,
    readers: SqlitePool,
    live: Arc<Live>,
    healthy: Arc<AtomicBool>,
    retention: Duration,
    opened: SystemTime,
}

impl Store {
    /// Opens `history.store`, makes directory and file where they are missing, brings the tables up to date, and starts
    /// the writer and the purge on `tasks`. After `stop` the writer writes what is queued and closes the file: cancel it
    /// when the calls are over.
    ///
    /// # Errors
    /// What cannot be opened or made, with its path.
    pub async fn open(
        url: &str,
        retention: Duration,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, StoreError> {
        let location = location::Location::parse(url)?;
        let connection = location.create().await?;
        let (writes, queue) = mpsc::channel(QUEUE);
        let (live, healthy) = (Arc::new(Live::default()), Arc::new(AtomicBool::new(true)));
        let writer = Writer::new(connection, location.reopen(), queue, Arc::clone(&live), Arc::clone(&healthy));
        tasks.spawn(writer.run(stop.clone()));
        let opened = clock::now().wall;
        let inner = Inner { writes, readers: location.readers(), live, healthy, retention, opened };
        let store = Self { inner: Arc::new(inner) };
        let purging = store.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = purging.purge_for_ever() => {}
            }
        });
        Ok(store)
    }

    /// Whether the last write succeeded, and none lasts for seconds: an idle store tries one every few seconds.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.inner.healthy.load(Ordering::Relaxed) && !self.inner.writes.is_closed()
    }

    /// Begins a call's history. Waits for nothing.
    ///
    /// # Errors
    /// The store is failing or behind: refuse the call (503) rather than lose its words.
    pub fn begin(&self, record: CallRecord) -> Result<(), Fault> {
        if !self.healthy() {
            return Err(fault(FaultKind::Status, "the last write failed"));
        }
        if self.inner.writes.capacity() < QUEUE / 2 {
            return Err(fault(FaultKind::Busy, "half of the write queue is full"));
        }
        let key = KeyHash::of(record.session_key.as_str());
        self.inner.live.begin(key);
        self.inner.writes.try_send(Write::Begin { key, record }).map_err(|_| {
            self.inner.live.end(key);
            fault(FaultKind::Busy, "the write queue is full")
        })
    }

    /// Appends a line of the transcript. Never waits: a line that finds no room is lost and counted at once, for a call that
    /// stands still for its transcript hears neither barge-in nor BYE.
    pub async fn append(&self, key: &SessionKey, entry: Entry) {
        if self.inner.writes.try_send(Write::Append { key: KeyHash::of(key.as_str()), entry }).is_err() {
            lost();
        }
    }

    /// Adds the figures of a call that is about to end to its record. They are lost and counted as a line is: no call waits for them.
    pub async fn measure(&self, key: &SessionKey, figures: &str) {
        let measure = Write::Measure { key: KeyHash::of(key.as_str()), figures: figures.to_owned() };
        if self.inner.writes.try_send(measure).is_err() {
            lost();
        }
    }

    /// Ends a call's history now. Waits, at most `PATIENCE`, when the queue is full and the disk merely slow. Of a call that never began it keeps nothing.
    pub async fn finish(&self, summary: &Summary) {
        let key = KeyHash::of(summary.session_key.as_str());
        let finish = Write::Finish { key, summary: summary.clone(), ended_at: clock::now().wall };
        if !self.enqueue(finish).await {
            self.inner.live.end(key);
        }
    }

    /// Resolves when all that was written of this call before is on disk, so that the agent's page can be opened.
    ///
    /// # Errors
    /// It is not, or not within `PATIENCE`.
    pub async fn commit(&self, key: &SessionKey) -> Result<(), Fault> {
        let (done, told) = oneshot::channel();
        self.wait_for(Write::Commit { key: KeyHash::of(key.as_str()), done }, told).await
    }

    /// Writes a signal into the ledger, under an id made before. When this resolves, it and all of the call before it are on
    /// disk, and the request may be made. Settle it whatever comes of this: after an error it may still reach the ledger,
    /// and where it does not, settling it is harmless.
    ///
    /// # Errors
    /// The ledger does not have it, or not within `PATIENCE`.
    pub async fn order_signal_as(&self, id: SignalId, key: &SessionKey, order: &SignalOrder) -> Result<(), Fault> {
        let (done, told) = oneshot::channel();
        let (key, ordered_at) = (KeyHash::of(key.as_str()), clock::now().wall);
        self.wait_for(Write::Order { id, key, order: order.clone(), ordered_at, done }, told).await
    }

    /// The same under a new id. After an error the signal is settled as ambiguous here, for its caller has no id to do it by.
    ///
    /// # Errors
    /// The ledger does not have it, or not within `PATIENCE`.
    pub async fn order_signal(&self, key: &SessionKey, order: &SignalOrder) -> Result<SignalId, Fault> {
        let id = SignalId::new();
        if let Err(fault) = self.order_signal_as(id, key, order).await {
            let (outcome, settled_at) = (SignalOutcome::Ambiguous(fault.clone()), clock::now().wall);
            if self.inner.writes.try_send(Write::Settle { id, outcome, attempts: 0, settled_at }).is_err() {
                lost();
            }
            return Err(fault);
        }
        Ok(id)
    }

    /// Settles, as ambiguous, all signals that a process before this one left open, and erases their session keys; how many.
    /// For the start, before the first call.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn close_unsettled(&self) -> Result<u64, Fault> {
        let (done, told) = oneshot::channel();
        let closed = self.wait_for(Write::CloseUnsettled { before: self.inner.opened, done }, told).await?;
        if closed > 0 {
            tracing::warn!(
                event = "signal_unsettled",
                count = closed,
                "signals of an earlier process without an outcome"
            );
        }
        Ok(closed)
    }

    /// Writes how a signal ended; of one that is not in the ledger, nothing. Waits, at most `PATIENCE`, when the queue is full
    /// and the disk merely slow. A signal that its call did not wait for (the BYE came first) is `Ambiguous`.
    pub async fn settle_signal(&self, id: SignalId, outcome: &SignalOutcome, attempts: u32) {
        let settled_at = clock::now().wall;
        self.enqueue(Write::Settle { id, outcome: outcome.clone(), attempts, settled_at }).await;
    }

    /// Signals that were ordered and never settled, oldest first: what a crash left open.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn unsettled(&self) -> Result<Vec<Unsettled>, StoreError> {
        read::unsettled(&self.inner.readers).await
    }

    /// The conversation behind a key, as far as it is written. `None` for keys that are malformed, unknown or expired, all
    /// alike.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn load(&self, key: &str) -> Result<Option<Conversation>, StoreError> {
        if !SessionKey::well_formed(key) {
            return Ok(None);
        }
        read::conversation(&self.inner.readers, KeyHash::of(key), self.cutoff(clock::now().wall)).await
    }

    /// Changes whenever more of a live call has been written; closed when the call is over. A reader that lags sees the
    /// last change only. Watch first, then load, then load again at every change and once at the close. `None` for a
    /// call that is not live here.
    #[must_use]
    pub fn watch(&self, key: &str) -> Option<watch::Receiver<u64>> {
        SessionKey::well_formed(key).then(|| self.inner.live.watch(KeyHash::of(key))).flatten()
    }

    /// Deletes calls older than the retention, with their lines and signals; how many. Runs by itself from time to time.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn purge(&self, now: SystemTime) -> Result<u64, Fault> {
        let before = self.cutoff(now);
        let mut purged = 0;
        loop {
            let (done, told) = oneshot::channel();
            let some = self.wait_for(Write::Purge { before, done }, told).await?;
            purged += some;
            if some == 0 {
                return Ok(purged);
            }
        }
    }

    fn cutoff(&self, now: SystemTime) -> SystemTime {
        now.checked_sub(self.inner.retention).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    async fn purge_for_ever(&self) {
        let pause = (self.inner.retention / 24).clamp(SHORTEST_PURGE, LONGEST_PURGE);
        loop {
            match self.purge(clock::now().wall).await {
                Ok(0) => {}
                Ok(purged) => tracing::info!(purged, "calls past history.retention deleted"),
                Err(fault) => tracing::warn!(event = "upstream_failed", service = "store", "purge: {fault}"),
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Queues a write; false when it was lost.
    async fn enqueue(&self, write: Write) -> bool {
        let sent = match self.inner.writes.try_send(write) {
            Ok(()) => true,
            // A slow disk is worth a wait; one that fails would hold up every line of every call.
            Err(mpsc::error::TrySendError::Full(write)) if self.healthy() => {
                self.inner.writes.send_timeout(write, PATIENCE).await.is_ok()
            }
            Err(_) => false,
        };
        if !sent {
            lost();
        }
        sent
    }

    /// Queues a write and waits for its result. A writer that comes too late finds nobody waiting and leaves it.
    async fn wait_for<T>(&self, write: Write, told: oneshot::Receiver<Result<T, Fault>>) -> Result<T, Fault> {
        let asked = async {
            self.inner.writes.send(write).await.map_err(|_| fault(FaultKind::Closed, "the store is closed"))?;
            told.await.unwrap_or_else(|_| Err(fault(FaultKind::Closed, "the store is closed")))
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(result) => result,
            Err(_) => Err(fault(FaultKind::Timeout, "not on disk in time")),
        }
    }
}

fn lost() {
    metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "history").increment(1);
}

fn fault(kind: FaultKind, detail: impl Into<String>) -> Fault {
    Fault::new(Service::Store, kind, detail)
}

/// A minute's words of some two hundred calls.
const QUEUE: usize = 8192;
/// How long who must wait for the history does: a signal, and the end of a call.
const PATIENCE: Duration = Duration::from_secs(2);
const SHORTEST_PURGE: Duration = Duration::from_secs(60);
const LONGEST_PURGE: Duration = Duration::from_secs(3600);
