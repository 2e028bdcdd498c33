//! Token and API base, cached for one tenant: minted ahead, renewed at 80 % of the token's life, one flight at a time.

use super::endpoint::{self, Api, Endpoints};
use super::http::{self, Failure, Http};
use super::settings::{Auth, Settings};
use super::wire::{self, TokenAnswer};
use crate::base::{Fault, FaultKind, Service, clock, metric};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use secrecy::ExposeSecret as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// What a request needs: whom to ask, and by what right.
#[derive(Clone)]
pub(super) struct Pass {
    pub(super) base: Url,
    pub(super) token: Arc<Token>,
}

/// One minted token.
pub(super) struct Token {
    /// `Bearer …`, marked sensitive.
    pub(super) header: HeaderValue,
    pub(super) tenant_id: Option<String>,
    pub(super) lifetime: Duration,
    minted: Instant,
}

impl Token {
    /// Not to be sent after this: the margin covers the way there and what clocks differ by.
    fn usable(&self, now: Instant) -> bool {
        now < self.minted + self.lifetime.mul_f64(0.95)
    }

    fn renew_at(&self) -> Instant {
        self.minted + self.lifetime.mul_f64(0.8)
    }
}

/// The cache and the one flight that fills it.
#[derive(Clone)]
pub(super) struct Access {
    shared: Arc<Shelf>,
}

struct Shelf {
    auth: Auth,
    endpoints: Endpoints,
    allowed_hosts: Vec<String>,
    allow_insecure: bool,
    http: Http,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    base: Option<Base>,
    /// Weak: a flight that nobody waits for any more is dropped, not resumed with a connection gone stale.
    flight: Option<WeakShared<Flight>>,
}

/// A discovered API base and the tenant it is for.
#[derive(Clone)]
struct Base {
    tenant_id: String,
    url: Url,
}

type Flight = BoxFuture<'static, Result<Pass, Failure>>;

/// Whether a token that is still usable will do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Any,
    New,
}

impl Access {
    pub(super) fn new(settings: &Settings, endpoints: Endpoints, http: Http) -> Self {
        let shelf = Shelf {
            auth: settings.auth.clone(),
            endpoints,
            allowed_hosts: settings.allowed_hosts.clone(),
            allow_insecure: settings.allow_insecure,
            http,
            state: Mutex::default(),
        };
        Self { shared: Arc::new(shelf) }
    }

    /// Token and base, from the cache, or from the one flight that all who need them now wait for.
    pub(super) async fn pass(&self) -> Result<Pass, Failure> {
        if let Some(pass) = self.shared.cached(clock::now().at) {
            return Ok(pass);
        }
        self.fly(Want::Any).await
    }

    /// CXone refused this token: it is not used again. Another that has replaced it meanwhile stays.
    pub(super) fn refuse(&self, token: &Arc<Token>) {
        let mut state = self.shared.state.lock();
        if state.token.as_ref().is_some_and(|current| Arc::ptr_eq(current, token)) {
            state.token = None;
        }
    }

    /// Renews both ahead of need, for ever.
    pub(super) async fn keep_fresh(&self) {
        let mut failures: u32 = 0;
        loop {
            let pause = match self.fly(Want::New).await {
                Ok(pass) => {
                    failures = 0;
                    pass.token.renew_at().saturating_duration_since(clock::now().at).max(SHORTEST_PAUSE)
                }
                Err(failure) => {
                    report(&failure.fault);
                    failures = failures.saturating_add(1);
                    let pause = SHORTEST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
                    // Many gateways that lost one token service do not come back to it in step.
                    pause.mul_f64(0.75 + fastrand::f64() / 2.0)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Both steps by themselves, past the cache: for `check`.
    pub(super) async fn probe(&self) -> (Result<Arc<Token>, Fault>, Option<Result<Url, Fault>>) {
        match self.shared.mint().await {
            Err(failure) => (Err(failure.fault), None),
            Ok(token) => {
                let base = self.shared.find_base(&token).await;
                (Ok(token), Some(base.map(|(url, _)| url).map_err(|failure| failure.fault)))
            }
        }
    }

    fn fly(&self, want: Want) -> Shared<Flight> {
        let mut state = self.shared.state.lock();
        let under_way = state.flight.as_ref().and_then(WeakShared::upgrade).filter(|flight| flight.peek().is_none());
        if let Some(flight) = under_way {
            return flight;
        }
        let shelf = Arc::clone(&self.shared);
        let flight: Flight = Box::pin(async move { shelf.fetch(want).await });
        let flight = flight.shared();
        state.flight = flight.downgrade();
        flight
    }
}

impl Shelf {
    fn cached(&self, now: Instant) -> Option<Pass> {
        let state = self.state.lock();
        let token = state.token.as_ref().filter(|token| token.usable(now))?;
        let base = match &self.endpoints.api {
            Api::Fixed(url) => url,
            Api::Discovered(_) => {
                let base = state.base.as_ref()?;
                token.tenant_id.as_ref().filter(|tenant| **tenant == base.tenant_id).map(|_| &base.url)?
            }
        };
        Some(Pass { base: base.clone(), token: Arc::clone(token) })
    }

    async fn fetch(&self, want: Want) -> Result<Pass, Failure> {
        let held = self.state.lock().token.clone().filter(|token| want == Want::Any && token.usable(clock::now().at));
        let token = match held {
            Some(token) => token,
            None => {
                let token = self.mint().await?;
                self.state.lock().token = Some(Arc::clone(&token));
                token
            }
        };
        match self.find_base(&token).await {
            Ok((url, tenant_id)) => {
                if let Some(tenant_id) = tenant_id {
                    self.state.lock().base = Some(Base { tenant_id, url: url.clone() });
                }
                Ok(Pass { base: url, token })
            }
            // The base hardly ever changes: the last one serves this tenant until discovery is back.
            Err(failure) => match self.cached(clock::now().at) {
                Some(pass) => {
                    report(&failure.fault);
                    Ok(pass)
                }
                None => Err(failure),
            },
        }
    }

    async fn mint(&self) -> Result<Arc<Token>, Failure> {
        let asked = clock::now();
        let post = self.http.client().post(self.endpoints.token.clone()).header(ACCEPT, "application/json");
        let (request, secrets) = match &self.auth {
            Auth::AccessKey { id, secret } => (
                post.json(&wire::access_key_body(id, secret.expose_secret())),
                vec![id.as_str(), secret.expose_secret()],
            ),
            Auth::OauthPassword { id, secret, client_id, client_secret } => (
                post.basic_auth(client_id, Some(client_secret.expose_secret()))
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(wire::password_body(id, secret.expose_secret())),
                vec![id.as_str(), secret.expose_secret(), client_secret.expose_secret()],
            ),
        };
        let body = self.http.exchange("token", request, &secrets).await?;
        let answer = TokenAnswer::parse(&body, asked.wall).map_err(|reason| http::garbled("token", &reason))?;
        let mut header = HeaderValue::try_from(format!("Bearer {}", answer.access_token))
            .map_err(|_| http::garbled("token", "access_token has characters that no header may carry"))?;
        header.set_sensitive(true);
        Ok(Arc::new(Token { header, tenant_id: answer.tenant_id, lifetime: answer.lifetime, minted: asked.at }))
    }

    /// The API base, and the tenant it was asked for where it was.
    async fn find_base(&self, token: &Token) -> Result<(Url, Option<String>), Failure> {
        let discovery = match &self.endpoints.api {
            Api::Fixed(url) => return Ok((url.clone(), None)),
            Api::Discovered(url) => url,
        };
        let Some(tenant_id) = &token.tenant_id else {
            let detail = "discovery: the token names no tenantId: set cxone.api_url";
            return Err(Failure { fault: Fault::new(Service::Cxone, FaultKind::Protocol, detail), passing: false });
        };
        let mut url = discovery.clone();
        url.query_pairs_mut().append_pair("tenantId", tenant_id);
        // No Authorization: discovery is public, and a token has no business there.
        let request = self.http.client().get(url).header(ACCEPT, "application/json");
        let body = self.http.exchange("discovery", request, &[]).await?;
        let base = wire::api_endpoint(&body).map_err(|reason| http::garbled("discovery", &reason))?;
        let base = endpoint::discovered(&base, discovery, &self.allowed_hosts, self.allow_insecure)
            .map_err(|reason| Failure { passing: false, ..http::garbled("discovery", &reason) })?;
        Ok((base, Some(tenant_id.clone())))
    }
}

/// Counts and logs a failure of the background renewal; a signal counts and logs its own.
fn report(fault: &Fault) {
    count(fault);
    tracing::warn!(event = "upstream_failed", service = "cxone", kind = fault.kind.as_str(), "{fault}");
}

/// Counts a failed request.
pub(super) fn count(fault: &Fault) {
    metrics::counter!(metric::UPSTREAM_ERRORS_TOTAL, "service" => fault.service.as_str(), "kind" => fault.kind.as_str())
        .increment(1);
}

/// Not below: a service that hands out tokens of no life must not be asked in a loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
