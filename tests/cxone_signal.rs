//! Signal a contact against a server that answers, refuses, stalls and breaks in every way of the retry table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod cxone_mock;

use cxone_mock::{Reply, Server, json_body, order, page, settings, status};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use voice_gateway::base::{ContactId, FaultKind};
use voice_gateway::call::input::SignalOutcome;
use voice_gateway::call::output::Purpose::{self, Hangup, Transfer};
use voice_gateway::call::output::SignalOrder;
use voice_gateway::cxone::{Cxone, ParametersIn, Settings, Signalled, Timeouts};

/// A server whose n-th signal gets `reply(n)`.
async fn signalled_by(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |seen, nth| seen.is_signal().then(|| reply(nth))).await
}

async fn send(server: &Server, purpose: Purpose) -> Signalled {
    Cxone::new(settings(server)).unwrap().signal(&order(purpose)).await
}

/// Short enough to wait out; only where the server is silent on purpose.
fn impatient(server: &Server) -> Settings {
    let settings = settings(server);
    Settings { timeouts: Timeouts { attempt: Duration::from_millis(150), ..settings.timeouts }, ..settings }
}

fn label(outcome: &SignalOutcome) -> (&'static str, Option<FaultKind>) {
    match outcome {
        SignalOutcome::Accepted => ("accepted", None),
        SignalOutcome::Ambiguous(fault) => ("ambiguous", Some(fault.kind)),
        SignalOutcome::ContactGone(fault) => ("gone", Some(fault.kind)),
        SignalOutcome::Failed(fault) => ("failed", Some(fault.kind)),
    }
}

#[tokio::test]
async fn the_request_is_what_cxone_documents() {
    let server = Server::start(|_, _| None).await;
    assert_eq!(send(&server, Transfer).await, Signalled { outcome: SignalOutcome::Accepted, attempts: 1 });
    let token = &server.seen("/token")[0];
    assert_eq!((token.method.as_str(), token.header("accept")), ("POST", Some("application/json")));
    let body: serde_json::Value = serde_json::from_slice(&token.body).unwrap();
    assert_eq!(body, json!({ "accessKeyId": "key-id====", "accessKeySecret": "key-secret====" }));
    let discovery = &server.seen("/discovery")[0];
    assert_eq!((discovery.method.as_str(), discovery.target.as_str()), ("GET", "/discovery?tenantId=tenant-a"));
    assert_eq!(discovery.header("authorization"), None);
    let signal = &server.seen("/signal")[0];
    assert_eq!(signal.method, "POST");
    assert_eq!(
        signal.target,
        "/api/inContactAPI/services/v30.0/interactions/100000000000/signal?p1=ses-key_0123456789"
    );
    assert_eq!(signal.header("authorization").unwrap(), format!("Bearer {}", cxone_mock::jwt("tenant-a", 0)));
    assert_eq!(signal.header("accept"), Some("application/json"));
    let lengths = signal.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    assert_eq!(lengths.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["0"]);
}

#[tokio::test]
async fn every_status_of_the_table() {
    // Status, then outcome and how many requests were sent, for a server that never says anything else.
    let rows: [(u16, &str, Option<FaultKind>, usize); 19] = [
        (200, "accepted", None, 1),
        (202, "accepted", None, 1),
        (204, "accepted", None, 1),
        (302, "failed", Some(FaultKind::Status), 1),
        (400, "failed", Some(FaultKind::Status), 1),
        (401, "failed", Some(FaultKind::Auth), 2),
        (403, "failed", Some(FaultKind::Auth), 2),
        (404, "gone", Some(FaultKind::Status), 1),
        (405, "failed", Some(FaultKind::Status), 1),
        (408, "failed", Some(FaultKind::Status), 4),
        (409, "failed", Some(FaultKind::Status), 1),
        (410, "gone", Some(FaultKind::Status), 1),
        (422, "failed", Some(FaultKind::Status), 1),
        (425, "failed", Some(FaultKind::Status), 4),
        (429, "failed", Some(FaultKind::Busy), 4),
        (500, "failed", Some(FaultKind::Status), 4),
        (502, "failed", Some(FaultKind::Status), 4),
        (503, "failed", Some(FaultKind::Busy), 4),
        (504, "failed", Some(FaultKind::Status), 4),
    ];
    for (code, outcome, kind, requests) in rows {
        for purpose in [Transfer, Hangup] {
            let server =
                signalled_by(move |_| Reply::Status(code, vec![("location", "/elsewhere".into())], vec![])).await;
            let signalled = send(&server, purpose).await;
            assert_eq!(label(&signalled.outcome), (outcome, kind), "{code} {purpose:?}");
            assert_eq!(signalled.attempts as usize, requests, "{code} {purpose:?}");
            assert_eq!(server.seen("/signal").len(), requests, "{code} {purpose:?}");
            assert_eq!(server.seen("/elsewhere").len(), 0, "a redirect is not followed");
        }
    }
}

#[tokio::test]
async fn a_refused_token_is_minted_again_once() {
    for code in [401, 403] {
        let server = signalled_by(move |nth| status(if nth == 0 { code } else { 200 })).await;
        assert_eq!(send(&server, Transfer).await, Signalled { outcome: SignalOutcome::Accepted, attempts: 2 });
        let bearers: Vec<_> =
            server.seen("/signal").iter().map(|s| s.header("authorization").unwrap().to_owned()).collect();
        assert_ne!(bearers[0], bearers[1]);
        assert_eq!(server.seen("/token").len(), 2);
        assert_eq!(server.seen("/discovery").len(), 2, "a new token may be of another cluster");
    }
}

#[tokio::test]
async fn busy_passes_and_retry_after_is_kept_where_it_fits() {
    let server = signalled_by(|nth| if nth == 0 { page(500) } else { status(202) }).await;
    assert_eq!(send(&server, Transfer).await, Signalled { outcome: SignalOutcome::Accepted, attempts: 2 });

    // Our own pace would not fit the budget: only the server's word can bring the second request.
    let server = signalled_by(|nth| match nth {
        0 => Reply::Status(429, vec![("retry-after", "0".into())], vec![]),
        _ => status(202),
    })
    .await;
    let settings = settings(&server);
    let timeouts = Timeouts { retries: [Duration::from_secs(3600); 3], ..settings.timeouts };
    let signalled = Cxone::new(Settings { timeouts, ..settings }).unwrap().signal(&order(Transfer)).await;
    assert_eq!(signalled, Signalled { outcome: SignalOutcome::Accepted, attempts: 2 });

    let server = signalled_by(|nth| match nth {
        0 => Reply::Status(503, vec![("retry-after", "3600".into())], vec![]),
        _ => status(202),
    })
    .await;
    assert_eq!(send(&server, Hangup).await, Signalled { outcome: SignalOutcome::Accepted, attempts: 2 });
}

#[tokio::test]
async fn silence_is_ambiguous_and_only_a_hangup_is_repeated() {
    for (purpose, requests) in [(Transfer, 1), (Hangup, 2)] {
        let server = signalled_by(|_| Reply::Hang).await;
        let signalled = Cxone::new(impatient(&server)).unwrap().signal(&order(purpose)).await;
        assert_eq!(label(&signalled.outcome), ("ambiguous", Some(FaultKind::Timeout)));
        assert_eq!(server.seen("/signal").len(), requests, "{purpose:?}");
    }
    let server = signalled_by(|nth| if nth == 0 { Reply::Hang } else { status(200) }).await;
    let signalled = Cxone::new(impatient(&server)).unwrap().signal(&order(Hangup)).await;
    assert_eq!(signalled, Signalled { outcome: SignalOutcome::Accepted, attempts: 2 });
}

#[tokio::test]
async fn a_connection_lost_after_the_request_was_read_is_ambiguous() {
    for (purpose, requests) in [(Transfer, 1), (Hangup, 2)] {
        let server = signalled_by(|_| Reply::Reset).await;
        let signalled = send(&server, purpose).await;
        assert_eq!(label(&signalled.outcome), ("ambiguous", Some(FaultKind::Closed)));
        assert_eq!(server.seen("/signal").len(), requests, "{purpose:?}");
    }
    // On a connection used before, too: CXone may have read the request all the same.
    let server = signalled_by(|nth| if nth == 0 { status(200) } else { Reply::Reset }).await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    assert_eq!(cxone.signal(&order(Transfer)).await.outcome, SignalOutcome::Accepted);
    let signalled = cxone.signal(&order(Transfer)).await;
    assert_eq!(label(&signalled.outcome), ("ambiguous", Some(FaultKind::Closed)));
    assert_eq!((signalled.attempts, server.seen("/signal").len()), (1, 2));
}

#[tokio::test]
async fn a_lost_hangup_that_is_refused_afterwards_stays_ambiguous() {
    let server = signalled_by(|nth| if nth == 0 { Reply::Reset } else { status(400) }).await;
    assert_eq!(label(&send(&server, Hangup).await.outcome), ("ambiguous", Some(FaultKind::Status)));
    let server = signalled_by(|nth| if nth == 0 { Reply::Reset } else { status(404) }).await;
    assert_eq!(label(&send(&server, Hangup).await.outcome).0, "gone");
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_tried_four_times_and_never_ambiguous() {
    let server = Server::start(|_, _| None).await;
    // A port that was free a moment ago and is bound, not listening: connections are refused.
    let closed = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    closed.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let port = closed.local_addr().unwrap().as_socket().unwrap().port();
    let settings = Settings { api_url: Some(format!("http://127.0.0.1:{port}/")), ..settings(&server) };
    let signalled = Cxone::new(settings).unwrap().signal(&order(Transfer)).await;
    assert_eq!(label(&signalled.outcome), ("failed", Some(FaultKind::Connect)));
    assert_eq!(signalled.attempts, 4);
    assert_eq!(server.seen("/discovery").len(), 0, "cxone.api_url needs no discovery");
}

#[tokio::test]
async fn a_server_that_closed_an_idle_connection_is_called_again_on_a_new_one() {
    let server = signalled_by(|nth| if nth == 0 { Reply::ThenClose(200) } else { status(200) }).await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    assert_eq!(cxone.signal(&order(Hangup)).await.outcome, SignalOutcome::Accepted);
    assert_eq!(cxone.signal(&order(Hangup)).await.outcome, SignalOutcome::Accepted);
}

#[tokio::test]
async fn the_budget_bounds_everything() {
    let server = Server::start(|seen, _| seen.target.starts_with("/token").then_some(Reply::Hang)).await;
    let settings = Settings { signal_budget: Duration::from_millis(200), ..settings(&server) };
    let signalled = Cxone::new(settings).unwrap().signal(&order(Transfer)).await;
    assert_eq!(label(&signalled.outcome), ("failed", Some(FaultKind::Timeout)));
    assert_eq!(server.seen("/signal").len(), 0);
}

#[tokio::test]
async fn a_dropped_signal_is_not_repeated() {
    let server = signalled_by(|nth| if nth == 0 { status(503) } else { status(200) }).await;
    let settings = settings(&server);
    let timeouts = Timeouts { retries: [Duration::from_secs(3600); 3], ..settings.timeouts };
    let budget = Duration::from_secs(9999);
    let cxone = Cxone::new(Settings { timeouts, signal_budget: budget, ..settings }).unwrap();
    let order = order(Transfer);
    tokio::select! {
        _ = cxone.signal(&order) => panic!("it cannot have ended"),
        () = server.until("/signal", 1) => {}
    }
    assert_eq!(cxone.signal(&order).await.attempts, 1);
    assert_eq!(server.seen("/signal").len(), 2);
}

#[tokio::test]
async fn hostile_contact_ids_are_never_called() {
    let server = Server::start(|_, _| None).await;
    let cxone = Cxone::new(settings(&server)).unwrap();
    let long = "1".repeat(10_000);
    for id in
        ["", "1/../x", "1?p1=hangup", "1\r\nX: y", "12 ", "..", ".", "１２", "-1", "0x1", "12345678901234567890", &long]
    {
        let order = SignalOrder { contact_id: ContactId::new(id), ..order(Transfer) };
        let signalled = cxone.signal(&order).await;
        assert_eq!(label(&signalled.outcome), ("failed", Some(FaultKind::Protocol)), "{id:?}");
        assert_eq!(signalled.attempts, 0);
    }
    assert_eq!(server.seen("").len(), 0);

    // A pattern that lets more in still cannot leave its segment of the path.
    let loose = Settings { contact_id_pattern: "(?s)^.*$".into(), ..settings(&server) };
    let cxone = Cxone::new(loose).unwrap();
    for id in ["1/../x", "1?p1=hangup", "%2e%2e", "a b#c", "1\r\n2"] {
        cxone.signal(&SignalOrder { contact_id: ContactId::new(id), ..order(Transfer) }).await;
    }
    for dots in [".", "..", ""] {
        let order = SignalOrder { contact_id: ContactId::new(dots), ..order(Transfer) };
        assert_eq!(label(&cxone.signal(&order).await.outcome).0, "failed");
    }
    let targets: Vec<_> = server.seen("/signal").into_iter().map(|seen| seen.target).collect();
    let base = "/api/inContactAPI/services/v30.0/interactions/";
    let ids = ["1%2F..%2Fx", "1%3Fp1%3Dhangup", "%252e%252e", "a%20b%23c", "1%0D%0A2"];
    assert_eq!(targets, ids.map(|id| format!("{base}{id}/signal?p1=ses-key_0123456789")));
}

#[tokio::test]
async fn body_and_split_keep_custom_data_out_of_the_query() {
    let server = Server::start(|_, _| None).await;
    let parameters = vec![("p1".into(), "key".into()), ("p2".into(), "a&b=\"ü\"".into()), ("p9".into(), "{}".into())];
    let order = SignalOrder { parameters, ..order(Transfer) };
    for places in [ParametersIn::Body, ParametersIn::Split] {
        let cxone = Cxone::new(Settings { parameters_in: places, ..settings(&server) }).unwrap();
        assert_eq!(cxone.signal(&order).await.outcome, SignalOutcome::Accepted);
    }
    let seen = server.seen("/signal");
    let read = |n: usize| serde_json::from_slice::<serde_json::Value>(&seen[n].body).unwrap();
    assert!(seen[0].target.ends_with("/signal") && seen[1].target.ends_with("/signal?p1=key"));
    assert_eq!(read(0), json!({ "p1": "key", "p2": "a&b=\"ü\"", "p9": "{}" }));
    assert_eq!(read(1), json!({ "p2": "a&b=\"ü\"", "p9": "{}" }));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
}

#[test]
fn every_value_arrives_as_it_was() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::start(|_, _| None));
    let cxone = Cxone::new(settings(&server)).unwrap();
    let send = |values: Vec<String>| {
        let parameters: Vec<(String, String)> =
            values.into_iter().enumerate().map(|(n, value)| (format!("p{}", n + 1), value)).collect();
        runtime.block_on(cxone.signal(&SignalOrder { parameters: parameters.clone(), ..order(Transfer) }));
        let target = server.seen("/signal").pop().unwrap().target;
        assert!(target.is_ascii() && !target.contains('+') && !target.contains('#'), "{target}");
        let query = target.split_once('?').unwrap().1.to_owned();
        let arrived: Vec<(String, String)> = query
            .split('&')
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                (name.to_owned(), percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned())
            })
            .collect();
        assert_eq!(arrived, parameters);
    };
    let hard = [
        "a b",
        "a&b=c",
        "1+1",
        "100%25",
        "grüße 你好 🎉",
        "{\"k\":[1,\"x\"]}",
        "it's \"so\"",
        "{p1}#?/\\",
        "\u{0}\r\n\t",
    ];
    send(hard.map(str::to_owned).to_vec());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    runner
        .run(&proptest::collection::vec("\\PC{0,40}", 1..=9), |values| {
            send(values);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_is_sent_and_what_is_secret_stays_out_of_the_log() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let filter = "voice_gateway=trace,reqwest=debug,hyper_util=debug";
    let subscriber =
        tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = signalled_by(|nth| match nth {
                0 => json_body(500, &json!({ "message": "cannot do account 4711-0815 for ses-key_0123456789" })),
                1 => json_body(401, &json!({ "error": "invalid_token" })),
                2 => status(200),
                _ => Reply::Reset,
            })
            .await;
            let cxone = Cxone::new(settings(&server)).unwrap();
            let mut order = order(Transfer);
            order.parameters.push(("p2".into(), "account 4711-0815".into()));
            assert_eq!(cxone.signal(&order).await.outcome, SignalOutcome::Accepted);
            assert_eq!(label(&cxone.signal(&order).await.outcome).0, "ambiguous");
        });
    });
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    for expected in
        ["\"signal_sent\"", "\"signal_failed\"", "100000000000", "invalid_token", "\"outcome\":\"ambiguous\""]
    {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
    for secret in ["4711", "ses-key", "key-secret", "e30."] {
        assert!(!text.contains(secret), "{secret} is in the log: {text}");
    }
}
