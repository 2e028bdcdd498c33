//! IAM tokens (Watson facts 2.1): minted before they are needed, refreshed at 80 % of their life, one mint for all callers.

pub mod wire;

use super::transport::{Transport, exchange, host_of, note, status_fault, told};
use crate::base::{Fault, FaultKind, Service};
use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;
use wire::Minted;

/// A bearer token, good at the time it was given out. Clones share the text.
#[derive(Clone, Debug)]
pub struct Token {
    bearer: HeaderValue,
    generation: u64,
    minted: Instant,
}

impl Token {
    /// The value of `Authorization`, marked sensitive: `Debug` does not show it.
    #[must_use]
    pub fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }
}

/// The tokens of one API key. Clones share one state; only the one refresher mints, which is what makes it single flight.
#[derive(Clone)]
pub struct Tokens {
    shared: Arc<Shared>,
}

/// How fast the refresher goes.
#[derive(Clone, Debug)]
pub struct Pace {
    /// A caller waits at most so long for a token.
    pub patience: Duration,
    /// One request to IAM may take so long.
    pub attempt: Duration,
    /// Two mints are at least so far apart, whatever callers ask for.
    pub spacing: Duration,
    /// A token younger than this is good, whatever a service says: the service refuses the key or the instance, not the token.
    pub believed: Duration,
    /// First pause after a failure; doubles up to 60 times itself.
    pub backoff: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(5),
            attempt: Duration::from_secs(10),
            spacing: Duration::from_secs(1),
            believed: Duration::from_secs(60),
            backoff: Duration::from_millis(500),
        }
    }
}

/// Makes one token.
pub(super) type Mint = Box<dyn Fn() -> BoxFuture<'static, Result<Minted, Fault>> + Send + Sync>;

impl Tokens {
    /// A token that somebody else renews: given out as it is, for ever.
    pub(super) fn given(token: &SecretString) -> Self {
        let state = bearer(token).map_or_else(
            || State::Failed(Fault::new(Service::Iam, FaultKind::Auth, "the bearer token cannot be a header value")),
            |bearer| State::Ready(Token { bearer, generation: 0, minted: Instant::now() }, None),
        );
        Self {
            shared: Arc::new(Shared::new(state, Origin::Given, &Pace { patience: Duration::ZERO, ..Pace::default() })),
        }
    }

    /// Tokens of `mint`; the first is minted at once. The refresher runs on `tracker` until `stop`.
    pub(super) fn minted(mint: Mint, pace: Pace, tracker: &TaskTracker, stop: &CancellationToken) -> Self {
        let shared = Arc::new(Shared::new(State::Minting, Origin::Minted, &pace));
        let refresher = Refresher { shared: Arc::clone(&shared), mint, pace };
        let stop = stop.clone();
        tracker.spawn(async move { stop.run_until_cancelled(refresher.run()).await });
        Self { shared }
    }

    /// A good token. Waits while one is being minted, at most `Pace::patience`; an API key that IAM refuses fails at once.
    pub async fn token(&self) -> Result<Token, Fault> {
        self.beyond(None).await
    }

    /// A token in place of `refused`, which a service did not take (401 or 403). Only who was refused waits for it: the others
    /// keep the token they have, for one service that refuses whatever it gets must not starve the rest of the key's. One mint,
    /// however many callers were refused. A token given, or minted a moment ago, comes back as it is.
    pub async fn renewed(&self, refused: &Token) -> Result<Token, Fault> {
        let shared = &self.shared;
        if matches!(shared.origin, Origin::Given) || refused.minted.elapsed() < shared.believed {
            return self.token().await;
        }
        shared.refused.fetch_max(refused.generation, Ordering::AcqRel);
        shared.wanted.notify_one();
        self.beyond(Some(refused.generation)).await
    }

    /// A good token of a later generation. Waits at most `Pace::patience`.
    async fn beyond(&self, generation: Option<u64>) -> Result<Token, Fault> {
        let shared = &self.shared;
        let mut state = shared.state.subscribe();
        let mut last = None;
        let waited = timeout(shared.patience, async {
            loop {
                match &*state.borrow_and_update() {
                    State::Ready(token, _) if Some(token.generation) > generation => return Ok(token.clone()),
                    State::Failed(fault) | State::Ready(_, Some(fault)) => {
                        if fault.kind == FaultKind::Auth {
                            return Err(fault.clone());
                        }
                        last = Some(fault.clone());
                        shared.wanted.notify_one();
                    }
                    State::Minting | State::Ready(_, None) => {}
                }
                if state.changed().await.is_err() {
                    return Err(Fault::new(Service::Iam, FaultKind::Closed, "token refresher ended"));
                }
            }
        })
        .await;
        waited.unwrap_or_else(|_| {
            let late =
                || Fault::new(Service::Iam, FaultKind::Timeout, format!("no token within {:?}", shared.patience));
            Err(last.unwrap_or_else(late))
        })
    }

    /// For `check`: whether a token can be had.
    pub async fn probe(&self) -> Result<String, Fault> {
        self.token().await?;
        Ok(match self.shared.origin {
            Origin::Given => "bearer token given, IAM is not used".to_owned(),
            Origin::Minted => "token minted".to_owned(),
        })
    }
}

struct Shared {
    state: watch::Sender<State>,
    wanted: Notify,
    /// Up to this generation, tokens were refused by a service.
    refused: AtomicU64,
    origin: Origin,
    patience: Duration,
    believed: Duration,
}

impl Shared {
    fn new(state: State, origin: Origin, pace: &Pace) -> Self {
        Self {
            state: watch::Sender::new(state),
            wanted: Notify::new(),
            refused: AtomicU64::new(0),
            origin,
            patience: pace.patience,
            believed: pace.believed,
        }
    }

    fn ready(&self) -> bool {
        matches!(&*self.state.borrow(), State::Ready(..))
    }

    /// Whether a caller that asks for a mint has reason to: there is no token, or the one there is was refused.
    fn wanting(&self) -> bool {
        match &*self.state.borrow() {
            State::Ready(token, _) => self.refused.load(Ordering::Acquire) >= token.generation,
            State::Minting | State::Failed(_) => true,
        }
    }
}

enum Origin {
    Given,
    Minted,
}

enum State {
    /// The first token is on its way.
    Minting,
    /// A token, and why the last attempt at the next one failed, if it did.
    Ready(Token, Option<Fault>),
    /// No good token, and the last attempt failed so.
    Failed(Fault),
}

struct Refresher {
    shared: Arc<Shared>,
    mint: Mint,
    pace: Pace,
}

impl Refresher {
    async fn run(self) {
        let mut generation = 0;
        let mut failures = 0;
        let mut good_until = Instant::now();
        loop {
            let started = Instant::now();
            let minted = timeout(self.pace.attempt, (self.mint)()).await.unwrap_or_else(|_| {
                let detail = format!("no token answer within {:?}", self.pace.attempt);
                Err(Fault::new(Service::Iam, FaultKind::Timeout, detail))
            });
            let minted = minted.and_then(|minted| {
                let bearer = bearer(&minted.access_token);
                let odd = || Fault::new(Service::Iam, FaultKind::Protocol, "access_token is not a header value");
                bearer.map(|bearer| (bearer, minted.expires_in)).ok_or_else(odd)
            });
            let again = match minted {
                Ok((bearer, life)) => {
                    generation += 1;
                    failures = 0;
                    good_until = started + life.saturating_sub(EXPIRED_EARLY.min(life / 10));
                    self.shared
                        .state
                        .send_replace(State::Ready(Token { bearer, generation, minted: Instant::now() }, None));
                    started + life.mul_f64(REFRESH_AT)
                }
                Err(fault) => {
                    note(&fault);
                    self.shared.state.send_modify(|state| match state {
                        // A token that is still good outlives a failed refresh.
                        State::Ready(_, failed) if good_until > Instant::now() => *failed = Some(fault),
                        state => *state = State::Failed(fault),
                    });
                    let pause = self.pace.backoff * (1 << failures.min(6)).min(60);
                    failures += 1;
                    let again = Instant::now() + pause;
                    if self.shared.ready() { again.min(good_until) } else { again }
                }
            };
            self.wait(again, started + self.pace.spacing).await;
        }
    }

    /// Until `again`, or until a caller is in need of a token, but never before `earliest`.
    async fn wait(&self, again: Instant, earliest: Instant) {
        sleep_until(earliest).await;
        loop {
            tokio::select! {
                () = sleep_until(again) => return,
                () = self.shared.wanted.notified() => if self.shared.wanting() { return },
            }
        }
    }
}

/// Mints by API key at `url`.
pub(super) fn by_api_key(transport: Transport, url: Url, key: SecretString) -> Mint {
    Box::new(move || {
        let request = transport
            .http()
            .post(url.clone())
            .header(ACCEPT, "application/json")
            .form(&wire::form(key.expose_secret()));
        let host = host_of(&url);
        Box::pin(async move {
            let answer = exchange(Service::Iam, &host, request, ANSWER_LIMIT).await?;
            match answer.status.as_u16() {
                200..=299 => wire::parse(&answer.body).map_err(|wrong| {
                    Fault::new(Service::Iam, FaultKind::Protocol, format!("{host}: {wrong} ({})", answer.content_type))
                }),
                // IAM tells an unknown API key by 400 (BXNIM0415E), too.
                status @ (400 | 401 | 403) => {
                    let fault = status_fault(Service::Iam, &host, status, &told(&answer.body));
                    Err(Fault { kind: FaultKind::Auth, ..fault })
                }
                status => Err(status_fault(Service::Iam, &host, status, &told(&answer.body))),
            }
        })
    })
}

fn bearer(token: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Share of its life after which a token is renewed.
const REFRESH_AT: f64 = 0.8;
/// A token is not used in its last seconds: it must still be good when the service reads it.
const EXPIRED_EARLY: Duration = Duration::from_secs(10);
/// The refresher has its own bound; this one only keeps a mint from hanging where the refresher's is longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
