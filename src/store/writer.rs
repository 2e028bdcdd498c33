//! The one writer: takes what is queued, in order, in transactions as large as the queue makes them.

use super::live::Live;
use super::record::{CallRecord, KeyHash, SignalId};
use super::{fault, statement};
use crate::base::{Fault, FaultKind, metric};
use crate::call::input::SignalOutcome;
use crate::call::output::{Entry, SignalOrder, Summary};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// One write. Those with `done` have someone waiting, who is told of a failure at once; the others are kept until they
/// succeed.
pub(super) enum Write {
    Begin { key: KeyHash, record: CallRecord },
    Append { key: KeyHash, entry: Entry },
    Measure { key: KeyHash, figures: String },
    Finish { key: KeyHash, summary: Summary, ended_at: SystemTime },
    Commit { key: KeyHash, done: Done<()> },
    Order { id: SignalId, key: KeyHash, order: SignalOrder, ordered_at: SystemTime, done: Done<()> },
    Settle { id: SignalId, outcome: SignalOutcome, attempts: u32, settled_at: SystemTime },
    CloseUnsettled { before: SystemTime, done: Done<u64> },
    Purge { before: SystemTime, done: Done<u64> },
}

type Done<T> = oneshot::Sender<Result<T, Fault>>;

impl Write {
    fn waits(&self) -> bool {
        matches!(self, Self::Commit { .. } | Self::Order { .. } | Self::CloseUnsettled { .. } | Self::Purge { .. })
    }

    /// Whoever waited has gone, and nothing else depends on it. A signal does not wait for its place in the ledger for ever, and
    /// goes without: its order is still written, and settled by what is queued behind it.
    fn abandoned(&self) -> bool {
        match self {
            Self::Commit { done, .. } => done.is_closed(),
            Self::CloseUnsettled { done, .. } | Self::Purge { done, .. } => done.is_closed(),
            _ => false,
        }
    }

    fn tell(self, result: Result<u64, Fault>) {
        // Nobody may be listening any more, and that is fine.
        let _gone = match self {
            Self::Commit { done, .. } | Self::Order { done, .. } => done.send(result.map(drop)).is_err(),
            Self::CloseUnsettled { done, .. } | Self::Purge { done, .. } => done.send(result).is_err(),
            _ => false,
        };
    }
}

/// The writer and what it holds on to while the file cannot be written.
pub(super) struct Writer {
    /// `None` after a failure: what state the old connection is in is not worth knowing.
    connection: Option<SqliteConnection>,
    reopen: SqliteConnectOptions,
    queue: mpsc::Receiver<Write>,
    batch: Vec<Write>,
    live: Arc<Live>,
    healthy: Arc<AtomicBool>,
    /// A transaction that lasts longer is as good as one that failed.
    slow: Duration,
}

impl Writer {
    pub(super) fn new(
        connection: SqliteConnection,
        reopen: SqliteConnectOptions,
        queue: mpsc::Receiver<Write>,
        live: Arc<Live>,
        healthy: Arc<AtomicBool>,
    ) -> Self {
        Self {
            connection: Some(connection),
            reopen,
            queue,
            batch: Vec::with_capacity(BATCH),
            live,
            healthy,
            slow: SLOW,
        }
    }

    /// Writes until `stop`, then what is still queued, then closes the file.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut last_tries = LAST_TRIES;
        loop {
            let stopping = self.queue.is_closed();
            if self.batch.is_empty() {
                let pause = if self.is_healthy() { BEAT } else { RETRY };
                tokio::select! {
                    biased;
                    taken = self.queue.recv_many(&mut self.batch, BATCH) => {
                        if taken == 0 {
                            break;
                        }
                    }
                    () = stop.cancelled(), if !stopping => {
                        self.queue.close();
                        continue;
                    }
                    () = tokio::time::sleep(pause) => {}
                }
            } else {
                // The last try failed. More may have come, and whoever waits for it should not wait long.
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = stop.cancelled(), if !stopping => self.queue.close(),
                }
                self.top_up();
            }
            self.batch.retain(|write| !write.abandoned());
            self.write().await;
            if stopping && !self.batch.is_empty() {
                last_tries -= 1;
                if last_tries == 0 {
                    let lost = self.batch.len() + self.queue.len();
                    tracing::error!(
                        event = "upstream_failed",
                        service = "store",
                        lost,
                        "stopping with unwritten history"
                    );
                    break;
                }
            }
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(event = "upstream_failed", service = "store", "closing the history: {error}");
        }
    }

    /// Takes more of the queue, as far as a batch goes, without waiting.
    fn top_up(&mut self) {
        while self.batch.len() < BATCH
            && let Ok(write) = self.queue.try_recv()
        {
            self.batch.push(write);
        }
    }

    fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// One transaction with all of the batch, or, with none, a sign of life. Afterwards the batch holds what must be tried
    /// again.
    async fn write(&mut self) {
        match self.watched().await {
            Ok(results) => {
                if !self.healthy.swap(true, Ordering::Relaxed) {
                    tracing::info!("the history can be written again");
                }
                let mut touched = HashSet::new();
                let mut ended = Vec::new();
                for (write, result) in self.batch.drain(..).zip(results) {
                    match &write {
                        Write::Append { key, .. } | Write::Order { key, .. } => drop(touched.insert(*key)),
                        Write::Finish { key, .. } => ended.push(*key),
                        _ => {}
                    }
                    write.tell(result);
                }
                touched.into_iter().for_each(|key| self.live.touch(key));
                ended.into_iter().for_each(|key| self.live.end(key));
            }
            Err(error) => {
                self.connection = None;
                let failed = fault(kind(&error), error.to_string());
                metrics::counter!(
                    metric::UPSTREAM_ERRORS_TOTAL,
                    "service" => failed.service.as_str(), "kind" => failed.kind.as_str()
                )
                .increment(1);
                if self.healthy.swap(false, Ordering::Relaxed) {
                    let waiting = self.batch.len();
                    tracing::error!(
                        event = "upstream_failed",
                        service = "store",
                        waiting,
                        "{failed}: new calls are refused"
                    );
                }
                // Who has come to wait meanwhile would find the same, a locked file's patience later.
                self.top_up();
                let (waited, kept) = self.batch.drain(..).partition(Write::waits);
                self.batch = kept;
                waited.into_iter().for_each(|write| write.tell(Err(failed.clone())));
            }
        }
    }

    /// The transaction, and new calls refused as soon as it lasts too long: a disk that hangs does not fail.
    async fn watched(&mut self) -> sqlx::Result<Vec<Result<u64, Fault>>> {
        let (healthy, slow) = (Arc::clone(&self.healthy), self.slow);
        let mut work = pin!(self.transact());
        if let Ok(done) = timeout(slow, &mut work).await {
            return done;
        }
        if healthy.swap(false, Ordering::Relaxed) {
            tracing::error!(
                event = "upstream_failed",
                service = "store",
                "a write lasts longer than {slow:?}: new calls are refused"
            );
        }
        work.await
    }

    async fn transact(&mut self) -> sqlx::Result<Vec<Result<u64, Fault>>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.reopen.connect().await?),
        };
        // Someone waits for it to be on disk, not only handed to the operating system: one fsync for all of them.
        let level = if self.batch.iter().any(Write::waits) { SYNC_FULL } else { SYNC_NORMAL };
        sqlx::query(level).execute(&mut *connection).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut results = Vec::with_capacity(self.batch.len());
        for write in &self.batch {
            results.push(match statement::apply(write, &mut transaction).await {
                Ok(rows) => written(write, rows),
                Err(sqlx::Error::Database(error)) if !error.kind().eq(&sqlx::error::ErrorKind::Other) => {
                    tracing::error!(event = "upstream_failed", service = "store", "a write was refused: {error}");
                    Err(fault(FaultKind::Status, error.to_string()))
                }
                Err(error) => return Err(error),
            });
        }
        // A transaction that changes nothing is not synced: it would leave what earlier ones wrote where it is.
        if self.batch.is_empty() || self.batch.iter().any(|write| matches!(write, Write::Commit { .. })) {
            statement::beat(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(results)
    }
}

/// What a statement that ran means to who asked for it.
fn written(write: &Write, rows: u64) -> Result<u64, Fault> {
    match write {
        Write::Commit { .. } | Write::Order { .. } if rows == 0 => {
            Err(fault(FaultKind::Status, "the call has no history"))
        }
        Write::Append { .. } if rows == 0 => {
            metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "history").increment(1);
            tracing::debug!("a line of a call without history");
            Ok(0)
        }
        _ => Ok(rows),
    }
}

fn kind(error: &sqlx::Error) -> FaultKind {
    match error {
        // SQLITE_BUSY and SQLITE_LOCKED with their extended codes.
        sqlx::Error::Database(error) => {
            match error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
                Some(5 | 6) => FaultKind::Busy,
                _ => FaultKind::Status,
            }
        }
        sqlx::Error::Io(_) => FaultKind::Connect,
        sqlx::Error::WorkerCrashed => FaultKind::Closed,
        _ => FaultKind::Protocol,
    }
}

const SYNC_FULL: &str = "PRAGMA synchronous = FULL";
const SYNC_NORMAL: &str = "PRAGMA synchronous = NORMAL";
const BATCH: usize = 512;
const BEAT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(250);
const LAST_TRIES: u32 = 3;
const SLOW: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::super::location::Location;
    use super::*;
    use crate::base::{CallId, SessionKey, clock};
    use crate::call::output::Who;

    /// A disk that is full: the file may not grow beyond a few pages more.
    async fn cramped(path: &str) -> (Writer, mpsc::Sender<Write>, Arc<AtomicBool>) {
        let location = Location::parse(path).unwrap();
        let mut connection = location.create().await.unwrap();
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut connection).await.unwrap();
        let options = location.reopen().pragma("max_page_count", (pages + 8).to_string());
        let connection = options.connect().await.unwrap();
        let ((writes, queue), healthy) = (mpsc::channel(64), Arc::new(AtomicBool::new(true)));
        (Writer::new(connection, options, queue, Arc::default(), Arc::clone(&healthy)), writes, healthy)
    }

    #[tokio::test]
    async fn a_full_disk_is_named_keeps_what_was_written_and_does_not_hold_up_the_stop() {
        let directory = tempfile::tempdir().unwrap();
        let path = format!("sqlite:{}", directory.path().join("a.db").display());
        let (mut writer, writes, healthy) = cramped(&path).await;
        let session_key = SessionKey::from_random([1; 20]);
        let key = KeyHash::of(session_key.as_str());
        let began = clock::now().wall;
        let call_id = CallId::new("call");
        let (caller_number, called_number) = (String::new(), String::new());
        let record = CallRecord {
            session_key,
            call_id,
            contact_id: None,
            caller_number,
            called_number,
            tenant: None,
            started_at: began,
        };
        let says = |text: String| Write::Append { key, entry: Entry { who: Who::Caller, at: began, text } };
        let (done, mut told) = oneshot::channel();
        writer.batch = vec![Write::Begin { key, record }, says("small".into()), Write::Commit { key, done }];
        writer.write().await;
        assert_eq!(told.try_recv().unwrap(), Ok(()));

        let (done, mut told) = oneshot::channel();
        writer.batch = vec![says("large".repeat(200_000)), Write::Commit { key, done }];
        writer.write().await;
        let refused = told.try_recv().unwrap().unwrap_err();
        assert!(refused.detail.contains("full"), "{refused}");
        assert!(!healthy.load(Ordering::Relaxed));
        assert_eq!(writer.batch.len(), 1, "the words are kept for when there is room");

        // A commit with nothing else to write would succeed, but the words before it are not on disk.
        let (done, mut told) = oneshot::channel();
        writer.batch.push(Write::Commit { key, done });
        writer.write().await;
        assert!(told.try_recv().unwrap().is_err());

        let stop = CancellationToken::new();
        stop.cancel();
        writer.run(stop).await;
        assert!(writes.is_closed());
        let mut connection = Location::parse(&path).unwrap().reopen().connect().await.unwrap();
        let texts: Vec<String> =
            sqlx::query_scalar("SELECT text FROM entries").fetch_all(&mut connection).await.unwrap();
        assert_eq!(texts, ["small"]);
    }

    #[tokio::test]
    async fn a_write_that_hangs_refuses_new_calls_until_it_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = format!("sqlite:{}", directory.path().join("a.db").display());
        let (mut writer, _writes, healthy) = cramped(&path).await;
        let patient = writer.reopen.clone().busy_timeout(Duration::from_secs(60));
        (writer.connection, writer.slow) = (Some(patient.connect().await.unwrap()), Duration::ZERO);
        let mut other = writer.reopen.clone().connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let release = async {
            while healthy.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        };
        tokio::join!(writer.write(), release);
        assert!(healthy.load(Ordering::Relaxed), "it was only slow");
    }

    #[tokio::test]
    async fn room_that_comes_back_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = format!("sqlite:{}", directory.path().join("a.db").display());
        let (mut writer, _writes, healthy) = cramped(&path).await;
        // The file is out of reach for a while: a volume that went away.
        writer.connection = None;
        let roomy = std::mem::replace(&mut writer.reopen, SqliteConnectOptions::new().filename("/nowhere/at/all.db"));
        writer.write().await;
        assert!(!healthy.load(Ordering::Relaxed));
        writer.reopen = roomy;
        writer.write().await;
        assert!(healthy.load(Ordering::Relaxed), "a sign of life is enough to let calls in again");
    }
}
