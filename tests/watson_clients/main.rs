//! The Watson clients against servers on loopback that behave and misbehave (Watson facts 2). The test plays the server:
//! it accepts each socket or request and decides what comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod assistant;
mod iam;
mod outages;
mod peer;
mod speech_stream;
mod speech_to_text;
mod text_to_speech;

use std::time::Duration;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use voice_gateway::watson::{Auth, ServiceSettings, Watson, iam::Pace};

/// Clients with a quick token refresher, and the tracker their tasks run on.
fn watson() -> (Watson, TaskTracker, CancellationToken) {
    watson_with_patience(Duration::from_secs(10))
}

fn watson_with_patience(patience: Duration) -> (Watson, TaskTracker, CancellationToken) {
    let tracker = TaskTracker::new();
    let stop = CancellationToken::new();
    let pace = Pace {
        patience,
        attempt: Duration::from_secs(10),
        spacing: Duration::ZERO,
        believed: Duration::ZERO,
        backoff: Duration::from_millis(5),
    };
    (Watson::new(&tracker, &stop).unwrap().with_token_pace(pace), tracker, stop)
}

/// A service at `url` with a token that is given.
fn service(url: &str) -> ServiceSettings {
    ServiceSettings {
        url: url.parse().unwrap(),
        auth: Auth::BearerToken("given".into()),
        iam_url: "http://127.0.0.1:9/identity/token".parse().unwrap(),
        allow_insecure: false,
    }
}

/// A service at `url` whose tokens come from `iam_url`.
fn keyed(url: &str, iam_url: &str) -> ServiceSettings {
    ServiceSettings { auth: Auth::ApiKey("the-key".into()), iam_url: iam_url.parse().unwrap(), ..service(url) }
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Keeps a broken test from hanging; no test waits for it when all is well.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("nothing happened within 20 s")
}
