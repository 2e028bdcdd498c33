//! The refresher against a scripted mint: no sockets.

use super::*;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A mint that hands out `token-1`, `token-2`, … or the faults queued before them, and counts.
#[derive(Clone, Default)]
struct Script {
    mints: Arc<AtomicU64>,
    faults: Arc<Mutex<Vec<Fault>>>,
    life: Duration,
    gate: Option<Arc<tokio::sync::Semaphore>>,
}

impl Script {
    fn mint(&self) -> Mint {
        let script = self.clone();
        Box::new(move || {
            let script = script.clone();
            Box::pin(async move {
                if let Some(gate) = &script.gate {
                    gate.acquire().await.unwrap().forget();
                }
                let number = script.mints.fetch_add(1, Ordering::SeqCst) + 1;
                let fault = script.faults.lock().pop();
                match fault {
                    Some(fault) => Err(fault),
                    None => Ok(Minted { access_token: format!("token-{number}").into(), expires_in: script.life }),
                }
            })
        })
    }

    fn minted(&self) -> u64 {
        self.mints.load(Ordering::SeqCst)
    }
}

fn quick() -> Pace {
    Pace {
        patience: Duration::from_secs(20),
        attempt: Duration::from_secs(20),
        spacing: Duration::ZERO,
        believed: Duration::ZERO,
        backoff: Duration::from_millis(2),
    }
}

fn start(script: &Script, pace: Pace) -> (Tokens, TaskTracker, CancellationToken) {
    let tracker = TaskTracker::new();
    let stop = CancellationToken::new();
    (Tokens::minted(script.mint(), pace, &tracker, &stop), tracker, stop)
}

fn down() -> Fault {
    Fault::new(Service::Iam, FaultKind::Connect, "iam.example: refused")
}

#[tokio::test]
async fn fifty_first_callers_share_one_mint() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let script = Script { life: Duration::from_secs(3600), gate: Some(Arc::clone(&gate)), ..Script::default() };
    let (tokens, ..) = start(&script, quick());
    let callers = TaskTracker::new();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let tokens = tokens.clone();
            callers.spawn(async move { tokens.token().await.unwrap() })
        })
        .collect();
    tokio::task::yield_now().await;
    gate.add_permits(50);
    for caller in waiting {
        assert_eq!(caller.await.unwrap().bearer(), "Bearer token-1");
    }
    assert_eq!(script.minted(), 1);
}

#[tokio::test]
async fn a_refused_token_is_minted_again_once_for_all_who_say_so() {
    let script = Script { life: Duration::from_secs(3600), ..Script::default() };
    let (tokens, ..) = start(&script, quick());
    let first = tokens.token().await.unwrap();
    let refused = futures_util::future::join_all((0..50).map(|_| tokens.renewed(&first))).await;
    assert!(refused.into_iter().all(|token| token.unwrap().bearer() == "Bearer token-2"));
    let late = tokens.renewed(&first).await.unwrap();
    assert_eq!(late.bearer(), "Bearer token-2", "an old token's refusal says nothing of the new");
    assert_eq!(script.minted(), 2);
}

#[tokio::test]
async fn a_service_that_refuses_every_token_starves_nobody_else() {
    let gate = Arc::new(tokio::sync::Semaphore::new(1));
    let script = Script { life: Duration::from_secs(3600), gate: Some(Arc::clone(&gate)), ..Script::default() };
    let (tokens, ..) = start(&script, Pace { patience: Duration::from_secs(20), ..quick() });
    let first = tokens.token().await.unwrap();
    let mut refused = std::pin::pin!(tokens.renewed(&first));
    for _ in 0..20 {
        assert!(futures_util::poll!(&mut refused).is_pending(), "the refused one waits");
        assert_eq!(tokens.token().await.unwrap().bearer(), "Bearer token-1", "the others do not");
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    assert_eq!(refused.await.unwrap().bearer(), "Bearer token-2");
    assert_eq!(tokens.token().await.unwrap().bearer(), "Bearer token-2");
}

#[tokio::test]
async fn a_token_just_minted_is_believed() {
    let script = Script { life: Duration::from_secs(3600), ..Script::default() };
    let (tokens, ..) = start(&script, Pace { believed: Duration::from_secs(3600), ..quick() });
    let first = tokens.token().await.unwrap();
    for _ in 0..50 {
        assert_eq!(tokens.renewed(&first).await.unwrap().bearer(), "Bearer token-1");
        tokio::task::yield_now().await;
    }
    assert_eq!(script.minted(), 1);
}

#[tokio::test]
async fn who_was_refused_learns_why_there_is_no_other_token() {
    let script = Script { life: Duration::from_secs(3600), ..Script::default() };
    let (tokens, ..) = start(&script, Pace { patience: Duration::from_millis(30), ..quick() });
    let first = tokens.token().await.unwrap();
    script.faults.lock().extend(std::iter::repeat_n(down(), 100_000));
    assert_eq!(tokens.renewed(&first).await.unwrap_err(), down());
    assert_eq!(tokens.token().await.unwrap().bearer(), "Bearer token-1", "it is good elsewhere");
}

#[tokio::test]
async fn a_token_is_refreshed_before_it_dies_and_nobody_waits() {
    let script = Script { life: Duration::from_millis(50), ..Script::default() };
    let (tokens, ..) = start(&script, quick());
    let mut changes = tokens.shared.state.subscribe();
    for _ in 0..5 {
        changes.changed().await.unwrap();
        assert!(matches!(&*changes.borrow_and_update(), State::Ready(..)), "never a moment without a token");
    }
    assert!(script.minted() >= 5);
}

#[tokio::test]
async fn callers_outwait_a_short_outage() {
    let script = Script { life: Duration::from_secs(3600), ..Script::default() };
    script.faults.lock().extend([down(), down(), down()]);
    let (tokens, ..) = start(&script, quick());
    assert_eq!(tokens.token().await.unwrap().bearer(), "Bearer token-4");
}

#[tokio::test]
async fn callers_wait_no_longer_than_their_patience_and_learn_why() {
    let script = Script { life: Duration::from_secs(3600), ..Script::default() };
    script.faults.lock().extend(std::iter::repeat_n(down(), 10_000));
    let (tokens, ..) = start(&script, Pace { patience: Duration::from_millis(30), ..quick() });
    assert_eq!(tokens.token().await.unwrap_err(), down());
}

#[tokio::test]
async fn a_mint_that_hangs_is_a_timeout() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let script = Script { life: Duration::from_secs(3600), gate: Some(gate), ..Script::default() };
    let (tokens, ..) = start(&script, Pace { patience: Duration::from_millis(20), ..quick() });
    assert_eq!(tokens.token().await.unwrap_err().kind, FaultKind::Timeout);
}

#[tokio::test]
async fn a_refused_key_fails_callers_at_once_and_heals_by_itself() {
    let script = Script { life: Duration::from_secs(3600), ..Script::default() };
    let refused = Fault::new(Service::Iam, FaultKind::Auth, "iam.example: 400 Provided API key could not be found.");
    script.faults.lock().push(refused.clone());
    let (tokens, ..) = start(&script, Pace { backoff: Duration::from_millis(30), ..quick() });
    assert_eq!(tokens.token().await.unwrap_err(), refused);
    let mut changes = tokens.shared.state.subscribe();
    changes.wait_for(|state| matches!(state, State::Ready(..))).await.unwrap();
}

#[tokio::test]
async fn a_good_token_outlives_a_failed_refresh_and_then_expires() {
    let script = Script { life: Duration::from_millis(60), ..Script::default() };
    let (tokens, ..) = start(&script, quick());
    tokens.token().await.unwrap();
    script.faults.lock().extend(std::iter::repeat_n(down(), 10_000));
    let mut changes = tokens.shared.state.subscribe();
    changes.wait_for(|state| matches!(state, State::Failed(_))).await.unwrap();
    assert!(script.minted() > 2, "it was tried again while the token was still good");
}

#[tokio::test]
async fn a_given_token_is_given_out_as_it_is() {
    let tokens = Tokens::given(&"abc".into());
    let token = tokens.token().await.unwrap();
    assert_eq!(tokens.renewed(&token).await.unwrap().bearer(), "Bearer abc");
    assert!(!format!("{token:?}").contains("abc"));
    assert!(tokens.probe().await.unwrap().contains("IAM is not used"));
}

#[tokio::test]
async fn the_refresher_ends_with_the_process() {
    let script = Script { life: Duration::from_secs(3600), ..Script::default() };
    let (tokens, tracker, stop) = start(&script, quick());
    tokens.token().await.unwrap();
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    assert_eq!(tokens.token().await.unwrap().bearer(), "Bearer token-1", "calls that drain still have it");
}
