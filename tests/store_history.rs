//! The store on real files: order, durability, reopening, expiry, the ledger, live readers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod store_files;

use futures_util::future::join_all;
use std::time::Duration;
use store_files::{MONTH, Opened, key, record, says, summary, transfer};
use voice_gateway::base::{Fault, FaultKind, Service, clock};
use voice_gateway::call::input::SignalOutcome;
use voice_gateway::call::output::{Purpose, SignalOrder, Who};
use voice_gateway::store::{CallRecord, SignalId};

#[tokio::test]
async fn a_conversation_comes_back_as_it_was_said() {
    let opened = Opened::fresh().await;
    let (store, key) = (&opened.store, key(1));
    let record = record(&key);
    store.begin(record.clone()).unwrap();
    let said = [
        says(Who::Gateway, "answered"),
        says(Who::Assistant, "Hello, what can I do?"),
        says(Who::Caller, "<script>alert('x')</script> \u{0} ' \" ; DROP TABLE calls; 你好"),
        says(Who::CallerKeys, "12#"),
    ];
    for entry in &said {
        store.append(&key, entry.clone()).await;
    }
    store.commit(&key).await.unwrap();
    let live = store.load(key.as_str()).await.unwrap().unwrap();
    assert_eq!((live.ended_at, &live.end_reason, live.turns), (None, &None, None));
    let id = store.order_signal(&key, &transfer(&key)).await.unwrap();
    store.settle_signal(id, &SignalOutcome::Accepted, 2).await;
    let figures = serde_json::json!({"media": {"round_trip_ms": 41.2}});
    store.measure(&key, &figures.to_string()).await;
    store.finish(&summary(&key)).await;
    opened.close().await;

    let reopened = Opened::at(&opened.path, MONTH).await;
    let seen = reopened.store.load(key.as_str()).await.unwrap().unwrap();
    let started = jiff::Timestamp::try_from(record.started_at).unwrap();
    assert_eq!(seen.figures, Some(figures));
    assert_eq!(seen.started_at.as_microsecond(), started.as_microsecond());
    assert_eq!(seen.answered_at.unwrap().as_microsecond(), started.as_microsecond() + 250_000);
    assert!(seen.ended_at.unwrap() >= seen.started_at);
    let lines: Vec<_> = seen.entries.iter().map(|line| (line.seq, line.who.as_str(), line.text.as_str())).collect();
    let expected: Vec<_> =
        said.iter().enumerate().map(|(n, e)| (n as u64 + 1, e.who.as_str(), e.text.as_str())).collect();
    assert_eq!(lines, expected);
    let json = serde_json::to_value(&seen).unwrap();
    assert_eq!(json["call_id"], format!("call-{}", key.short()));
    assert_eq!((&json["contact_id"], &json["tenant"]), (&"100000000000".into(), &"acme".into()));
    assert_eq!((&json["caller_number"], &json["called_number"]), (&"+15551230000".into(), &"+18882346789".into()));
    assert_eq!((&json["end_reason"], &json["turns"]), (&"assistant_transfer".into(), &4.into()));
    assert_eq!(json["cause"], "signalled to an agent");
    assert!(json["entries"][0]["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "RFC 3339");
    assert_eq!(
        (&json["signals"][0]["purpose"], &json["signals"][0]["state"]),
        (&"transfer".into(), &"accepted".into())
    );
    assert_eq!(json["signals"][0]["custom_data"], serde_json::json!({ "p2": "wants \"a <b>refund</b>\"", "p9": "ü" }));
    assert!(!json.to_string().contains(key.as_str()), "the key is not in what it opens");
    let debug = format!("{seen:?} {record:?}");
    assert!(!debug.contains("555") && !debug.contains("script") && !debug.contains(key.as_str()), "{debug}");
    reopened.close().await;
}

#[tokio::test]
async fn after_commit_another_program_sees_it_even_in_a_copy_made_under_way() {
    let opened = Opened::fresh().await;
    let key = key(2);
    opened.store.begin(record(&key)).unwrap();
    for n in 0..50 {
        opened.store.append(&key, says(Who::Caller, format!("{n}"))).await;
    }
    opened.store.commit(&key).await.unwrap();
    let count: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM entries").fetch_one(&mut opened.other().await).await.unwrap();
    assert_eq!(count, 50);

    // The files as a crash would leave them: nothing closed, nothing checkpointed.
    let wreck = tempfile::tempdir().unwrap();
    for end in ["", "-wal"] {
        let name = format!("history.db{end}");
        std::fs::copy(opened.path.with_file_name(&name), wreck.path().join(&name)).unwrap();
    }
    let reopened = Opened::at(&wreck.path().join("history.db"), MONTH).await;
    let seen = reopened.store.load(key.as_str()).await.unwrap().unwrap();
    assert_eq!(seen.entries.len(), 50);
    assert_eq!(seen.ended_at, None, "it was not over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_calls_at_once_keep_their_order() {
    let opened = Opened::fresh().await;
    (0..200u8).for_each(|n| opened.store.begin(record(&key(n))).unwrap());
    let calls = (0..200u8).map(|n| {
        let store = opened.store.clone();
        opened.tasks.spawn(async move {
            let key = key(n);
            for line in 0..35 {
                store.append(&key, says(Who::Caller, format!("{n}/{line}"))).await;
            }
            store.finish(&summary(&key)).await;
        })
    });
    join_all(calls.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    // Fewer than the queue holds, so nothing may be lost however slow the disk is.
    opened.close().await;
    for n in 0..200u8 {
        let seen = opened.store.load(key(n).as_str()).await.unwrap().unwrap();
        let texts: Vec<_> = seen.entries.iter().map(|line| line.text.clone()).collect();
        assert_eq!(texts, (0..35).map(|line| format!("{n}/{line}")).collect::<Vec<_>>());
        assert!(seen.entries.iter().zip(1..).all(|(line, seq)| line.seq == seq));
    }
}

#[tokio::test]
async fn keys_that_are_malformed_unknown_or_expired_are_all_alike() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(&directory.path().join("a.db"), Duration::from_secs(3600)).await;
    let (old, young) = (key(3), key(4));
    // Never ended: it counts as over a day after it began.
    let began = clock::now().wall - Duration::from_secs(2 * 86400);
    opened.store.begin(CallRecord { started_at: began, ..record(&old) }).unwrap();
    opened.store.begin(record(&young)).unwrap();
    opened.store.commit(&young).await.unwrap();
    assert!(opened.store.load(young.as_str()).await.unwrap().is_some());
    let long = "A".repeat(10_000);
    let unknown = key(5);
    let cut = &young.as_str()[..26];
    for bad in [
        "",
        "hangup",
        "'; DROP TABLE calls; --",
        "%",
        "../..",
        &long,
        "ü".repeat(20).as_str(),
        cut,
        unknown.as_str(),
        old.as_str(),
    ] {
        assert!(opened.store.load(bad).await.unwrap().is_none(), "{bad}");
        if bad != old.as_str() {
            assert!(opened.store.watch(bad).is_none(), "{bad}");
        }
    }
    opened.close().await;
}

#[tokio::test]
async fn purge_takes_what_is_past_its_age_with_all_that_hangs_on_it() {
    let opened = Opened::fresh().await;
    let store = &opened.store;
    for n in 0..250u8 {
        let key = key(n);
        store.begin(record(&key)).unwrap();
        store.append(&key, says(Who::Caller, "hello")).await;
        store.finish(&summary(&key)).await;
    }
    let id = store.order_signal(&key(0), &transfer(&key(0))).await.unwrap();
    store.settle_signal(id, &SignalOutcome::Accepted, 1).await;
    // This one goes on.
    store.begin(record(&key(255))).unwrap();
    store.commit(&key(255)).await.unwrap();
    let now = clock::now().wall;
    assert_eq!(store.purge(now).await.unwrap(), 0);
    assert_eq!(store.purge(now + MONTH + Duration::from_secs(60)).await.unwrap(), 250);
    for table in ["SELECT COUNT(*) FROM entries", "SELECT COUNT(*) FROM signals"] {
        let left: i64 = sqlx::query_scalar(table).fetch_one(&mut opened.other().await).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
    assert!(store.load(key(0).as_str()).await.unwrap().is_none());
    assert!(store.load(key(255).as_str()).await.unwrap().is_some());
    opened.close().await;
}

#[tokio::test]
async fn the_ledger_tells_after_a_crash_what_was_open() {
    let opened = Opened::fresh().await;
    let (store, key) = (&opened.store, key(6));
    store.begin(record(&key)).unwrap();
    let settled = store.order_signal(&key, &transfer(&key)).await.unwrap();
    let hangup = vec![("p1".to_owned(), "hangup".to_owned())];
    let hangup = SignalOrder { purpose: Purpose::Hangup, parameters: hangup, ..transfer(&key) };
    let open = store.order_signal(&key, &hangup).await.unwrap();
    // On disk before the request is made: another program sees it now.
    let mut other = opened.other().await;
    let states = "SELECT state FROM signals ORDER BY id";
    assert_eq!(sqlx::query_scalar::<_, String>(states).fetch_all(&mut other).await.unwrap(), ["ordered", "ordered"]);
    let lost = Fault::new(Service::Cxone, FaultKind::Timeout, "signal: no answer in time");
    store.settle_signal(settled, &SignalOutcome::Ambiguous(lost.clone()), 1).await;
    // The first word counts.
    store.settle_signal(settled, &SignalOutcome::Accepted, 9).await;
    store.commit(&key).await.unwrap();
    let row: (String, i64, Option<String>, Option<String>) =
        sqlx::query_as("SELECT state, attempts, p1, detail FROM signals ORDER BY id LIMIT 1")
            .fetch_one(&mut other)
            .await
            .unwrap();
    assert_eq!(row, ("ambiguous".into(), 1, None, Some(lost.to_string())));

    let reopened = Opened::at(&opened.path, MONTH).await;
    let left = reopened.store.unsettled().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].id, left[0].call_id.as_str()), (open, format!("call-{}", key.short()).as_str()));
    assert_eq!((left[0].order.purpose, &left[0].order.parameters), (Purpose::Hangup, &hangup.parameters));
    reopened.store.settle_signal(open, &SignalOutcome::ContactGone(lost), 0).await;
    reopened.close().await;
    assert_eq!(sqlx::query_scalar::<_, String>(states).fetch_all(&mut other).await.unwrap(), ["ambiguous", "failed"]);
    // A transfer that is still open keeps all that it would be repeated with.
    let order = transfer(&key);
    opened.store.order_signal(&key, &order).await.unwrap();
    assert_eq!(opened.store.unsettled().await.unwrap()[0].order.parameters, order.parameters);
    opened.close().await;
}

#[tokio::test]
async fn what_a_crash_left_open_is_closed_and_its_key_erased() {
    let crashed = Opened::fresh().await;
    let key = key(16);
    crashed.store.begin(record(&key)).unwrap();
    crashed.store.order_signal(&key, &transfer(&key)).await.unwrap();
    crashed.close().await;

    let opened = Opened::at(&crashed.path, MONTH).await;
    let own = SignalId::new();
    opened.store.order_signal_as(own, &key, &transfer(&key)).await.unwrap();
    assert_eq!(opened.store.close_unsettled().await.unwrap(), 1, "not its own");
    assert_eq!(opened.store.close_unsettled().await.unwrap(), 0);
    let left = opened.store.unsettled().await.unwrap();
    assert_eq!(left.iter().map(|signal| signal.id).collect::<Vec<_>>(), [own]);
    let mut other = opened.other().await;
    let keys = "SELECT COUNT(*) FROM signals WHERE p1 IS NOT NULL AND id != $1";
    let keys = sqlx::query_scalar::<_, i64>(keys).bind(own.to_string()).fetch_one(&mut other).await.unwrap();
    assert_eq!(keys, 0);
    let seen = opened.store.load(key.as_str()).await.unwrap().unwrap();
    assert_eq!(seen.signals[0].state, "ambiguous");
    assert_eq!(seen.signals[0].detail.as_deref(), Some("the process ended before the answer"));
    opened.store.settle_signal(own, &SignalOutcome::Accepted, 1).await;
    opened.store.settle_signal(SignalId::new(), &SignalOutcome::Accepted, 1).await;
    opened.store.commit(&key).await.unwrap();
    assert!(opened.store.unsettled().await.unwrap().is_empty() && opened.store.healthy());
    opened.close().await;
}

#[tokio::test]
async fn an_order_that_nobody_waits_for_any_more_is_written_and_settled() {
    let opened = Opened::fresh().await;
    let (store, key, id) = (&opened.store, key(17), SignalId::new());
    store.begin(record(&key)).unwrap();
    {
        let order = transfer(&key);
        let mut ordering = std::pin::pin!(store.order_signal_as(id, &key, &order));
        assert!(futures_util::poll!(&mut ordering).is_pending());
    }
    store.settle_signal(id, &SignalOutcome::Accepted, 1).await;
    store.commit(&key).await.unwrap();
    let seen = store.load(key.as_str()).await.unwrap().unwrap();
    assert_eq!(seen.signals.iter().map(|signal| signal.state.as_str()).collect::<Vec<_>>(), ["accepted"]);
    assert!(store.unsettled().await.unwrap().is_empty());
    opened.close().await;
}

#[tokio::test]
async fn what_no_call_began_is_refused_and_hurts_nobody() {
    let opened = Opened::fresh().await;
    let (store, stranger, key) = (&opened.store, key(7), key(8));
    store.begin(record(&key)).unwrap();
    store.append(&stranger, says(Who::Caller, "lost")).await;
    store.finish(&summary(&stranger)).await;
    assert_eq!(store.commit(&stranger).await.unwrap_err().detail, "the call has no history");
    assert_eq!(store.order_signal(&stranger, &transfer(&stranger)).await.unwrap_err().service, Service::Store);
    // The same key twice: the second changes nothing.
    store.begin(CallRecord { caller_number: "other".into(), ..record(&key) }).unwrap();
    store.append(&key, says(Who::Caller, "kept")).await;
    store.commit(&key).await.unwrap();
    let seen = store.load(key.as_str()).await.unwrap().unwrap();
    assert_eq!((seen.caller_number.as_str(), seen.entries.len()), ("+15551230000", 1));
    assert!(store.healthy());
    opened.close().await;
}

#[tokio::test]
async fn readers_follow_a_live_call_to_its_end() {
    let opened = Opened::fresh().await;
    let (store, key) = (&opened.store, key(9));
    assert!(store.watch(key.as_str()).is_none());
    store.begin(record(&key)).unwrap();
    let mut follows = store.watch(key.as_str()).unwrap();
    let mut lags = follows.clone();
    for n in 1..=20 {
        store.append(&key, says(Who::Caller, format!("{n}"))).await;
        follows.changed().await.unwrap();
        let seen = store.load(key.as_str()).await.unwrap().unwrap();
        assert_eq!(seen.entries.len(), n, "what was announced can be read");
    }
    lags.changed().await.unwrap();
    assert!(!lags.has_changed().unwrap(), "twenty changes are one to a reader that lags");
    store.finish(&summary(&key)).await;
    while follows.changed().await.is_ok() {}
    assert!(store.load(key.as_str()).await.unwrap().unwrap().ended_at.is_some());
    assert!(store.watch(key.as_str()).is_none(), "it is over");
    opened.close().await;
}
