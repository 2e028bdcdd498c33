//! The store when it cannot write, cannot be opened, or is closed; and who else may read it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod store_files;

use sqlx::Connection as _;
use std::path::PathBuf;
use store_files::{MONTH, Opened, key, record, says, transfer, url};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice_gateway::base::{FaultKind, Service};
use voice_gateway::call::output::Who;
use voice_gateway::store::{Store, StoreError, probe};

#[tokio::test]
async fn a_locked_file_refuses_new_calls_and_loses_no_words() {
    let opened = Opened::fresh().await;
    let (store, key) = (&opened.store, key(10));
    store.begin(record(&key)).unwrap();
    store.commit(&key).await.unwrap();
    let mut other = opened.other().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    store.append(&key, says(Who::Caller, "said while locked")).await;
    let refused = store.commit(&key).await.unwrap_err();
    assert_eq!((refused.service, refused.kind), (Service::Store, FaultKind::Busy), "{refused}");
    assert!(refused.detail.contains("locked"), "{refused}");
    assert!(!store.healthy());
    assert_eq!(store.begin(record(&store_files::key(11))).unwrap_err().service, Service::Store);
    assert!(store.order_signal(&key, &transfer(&key)).await.is_err());
    assert!(store.load(key.as_str()).await.unwrap().is_some(), "what is written can be read meanwhile");

    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    opened.until_healthy(true).await;
    store.commit(&key).await.unwrap();
    let seen = store.load(key.as_str()).await.unwrap().unwrap();
    assert_eq!(seen.entries.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["said while locked"]);
    assert!(seen.signals.is_empty(), "a signal that was refused does not turn up later");
    store.begin(record(&store_files::key(11))).unwrap();
    opened.close().await;
}

#[tokio::test]
async fn a_full_queue_costs_lines_and_holds_up_no_call() {
    let opened = Opened::fresh().await;
    let (store, key) = (&opened.store, key(14));
    store.begin(record(&key)).unwrap();
    // The writer has no chance to run before the last of them.
    for n in 0..9000 {
        let line = std::pin::pin!(store.append(&key, says(Who::Caller, format!("{n}"))));
        assert!(futures_util::FutureExt::now_or_never(line).is_some(), "line {n} waits");
    }
    assert_eq!(store.begin(record(&store_files::key(15))).unwrap_err().kind, FaultKind::Busy);
    store.finish(&store_files::summary(&key)).await;
    store.commit(&key).await.unwrap();
    let seen = store.load(key.as_str()).await.unwrap().unwrap();
    assert_eq!(seen.entries.len(), 8191, "what found room is kept");
    assert!(seen.ended_at.is_some(), "the end waited for room");
    opened.close().await;
}

#[tokio::test]
async fn a_closed_store_answers_and_does_not_hang() {
    let opened = Opened::fresh().await;
    let key = key(12);
    opened.store.begin(record(&key)).unwrap();
    for n in 0..1000 {
        opened.store.append(&key, says(Who::Caller, format!("{n}"))).await;
    }
    opened.close().await;
    assert_eq!(opened.store.commit(&key).await.unwrap_err().kind, FaultKind::Closed);
    assert!(!opened.store.healthy() && opened.store.begin(record(&key)).is_err());
    opened.store.append(&key, says(Who::Caller, "too late")).await;
    assert!(!opened.path.with_file_name("history.db-wal").exists(), "closed, not dropped");
    let reopened = Opened::at(&opened.path, MONTH).await;
    let seen = reopened.store.load(key.as_str()).await.unwrap().unwrap();
    assert_eq!(seen.entries.len(), 1000, "what was queued at the stop is written");
    reopened.close().await;
}

#[tokio::test]
async fn what_cannot_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let open = async |path: PathBuf| {
        let opened = Store::open(&url(&path), MONTH, &TaskTracker::new(), CancellationToken::new()).await;
        opened.err().expect("it cannot be opened").to_string()
    };
    let garbage = directory.path().join("garbage.db");
    std::fs::write(&garbage, "this is no database, and long enough to be looked at as one".repeat(100)).unwrap();
    let text = open(garbage.clone()).await;
    assert!(text.contains("garbage.db") && text.contains("not a database"), "{text}");
    assert!(probe(&url(&garbage)).await.unwrap_err().to_string().contains("garbage.db"));

    let text = open(garbage.join("below/a.db")).await;
    assert!(text.contains("cannot create") && text.contains("garbage.db/below"), "{text}");
    assert!(matches!(probe(&url(&garbage.join("a.db"))).await, Err(StoreError::Create { .. })));
    let text = open(directory.path().to_owned()).await;
    assert!(text.contains(&directory.path().display().to_string()), "{text}");

    // A file of a later version.
    let later = Opened::at(&directory.path().join("later.db"), MONTH).await;
    later.close().await;
    let mut other = later.other().await;
    let insert = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'x', 1, x'00', 0)";
    sqlx::query(insert).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let text = open(later.path.clone()).await;
    assert!(text.contains("later.db") && text.contains("99"), "{text}");
}

#[tokio::test]
async fn a_probe_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sub/a.db");
    assert!(probe(&url(&path)).await.unwrap().ends_with("a.db will be created"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    Opened::at(&path, MONTH).await.close().await;
    assert!(probe(&url(&path)).await.unwrap().ends_with("a.db opens"));
    assert_eq!(probe("postgres://h/db").await.unwrap_err().to_string(), "not available yet: history.store = postgres");
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_on_the_machine_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let opened = Opened::fresh().await;
    opened.store.begin(record(&key(13))).unwrap();
    opened.store.commit(&key(13)).await.unwrap();
    for name in ["history.db", "history.db-wal"] {
        let mode = opened.path.with_file_name(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} is {mode:o}");
    }
    let stored = std::fs::read(opened.path.with_file_name("history.db-wal")).unwrap();
    let key = key(13);
    assert!(!stored.windows(27).any(|window| window == key.as_str().as_bytes()), "the key itself is not in the file");
    opened.close().await;
}
