//! Stores in directories of their own, and a call to put into them.
#![allow(dead_code, reason = "each test file uses its part")]

use sqlx::ConnectOptions as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice_gateway::base::{CallId, ContactId, SessionKey, clock};
use voice_gateway::call::output::{EndReason, Entry, Purpose, SignalOrder, Summary, Who};
use voice_gateway::store::{CallRecord, Store};

pub(crate) const MONTH: Duration = Duration::from_secs(30 * 86400);

/// A store in a directory of its own.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) path: PathBuf,
    _directory: Option<tempfile::TempDir>,
}

impl Opened {
    pub(crate) async fn fresh() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("not/yet/there/history.db");
        Self { _directory: Some(directory), ..Self::at(&path, MONTH).await }
    }

    pub(crate) async fn at(path: &Path, retention: Duration) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let store = Store::open(&url(path), retention, &tasks, stop.clone()).await.unwrap();
        Self { store, tasks, stop, path: path.to_owned(), _directory: None }
    }

    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A second program's view of the file.
    pub(crate) async fn other(&self) -> sqlx::SqliteConnection {
        sqlx::sqlite::SqliteConnectOptions::new().filename(&self.path).connect().await.unwrap()
    }

    pub(crate) async fn until_healthy(&self, healthy: bool) {
        while self.store.healthy() != healthy {
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

pub(crate) fn key(n: u8) -> SessionKey {
    SessionKey::from_random([n; 20])
}

pub(crate) fn record(key: &SessionKey) -> CallRecord {
    CallRecord {
        session_key: key.clone(),
        call_id: CallId::new(format!("call-{}", key.short())),
        contact_id: Some(ContactId::new("100000000000")),
        caller_number: "+15551230000".into(),
        called_number: "+18882346789".into(),
        tenant: Some("acme".into()),
        started_at: clock::now().wall,
    }
}

pub(crate) fn says(who: Who, text: impl Into<String>) -> Entry {
    Entry { who, at: clock::now().wall, text: text.into() }
}

pub(crate) fn summary(key: &SessionKey) -> Summary {
    Summary {
        end_reason: EndReason::AssistantTransfer,
        cause: "signalled to an agent".into(),
        answered: true,
        elapsed: Duration::from_secs(61),
        setup: Some(Duration::from_millis(250)),
        turns: 4,
        session_key: key.clone(),
        contact_id: Some(ContactId::new("100000000000")),
    }
}

pub(crate) fn transfer(key: &SessionKey) -> SignalOrder {
    let parameters = [("p1", key.as_str()), ("p2", "wants \"a <b>refund</b>\""), ("p9", "ü")];
    SignalOrder {
        contact_id: ContactId::new("100000000000"),
        purpose: Purpose::Transfer,
        parameters: parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
    }
}
