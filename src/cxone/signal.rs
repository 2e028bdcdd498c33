//! *Signal a contact* (CXone facts 1.3): one order, its tries by `policy`, its outcome.

use super::access::{self, Pass};
use super::http::{self, Answer, Failure};
use super::policy::{self, Bounds, Decision, Try, Used};
use super::{Cxone, endpoint, wire};
use crate::base::{ContactId, Fault, FaultKind, Service, clock, metric};
use crate::call::input::SignalOutcome;
use crate::call::output::{Purpose, SignalOrder};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, RETRY_AFTER};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// A signal that has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signalled {
    /// How.
    pub outcome: SignalOutcome,
    /// Requests that were sent, or tried to be.
    pub attempts: u32,
}

impl Cxone {
    /// Signals the contact. Ends within `signal_budget`. Dropping the future ends the retries at once: the BYE has come,
    /// and a request already on its way may or may not be read.
    pub async fn signal(&self, order: &SignalOrder) -> Signalled {
        let mut pending = Pending::new(order);
        let outcome = self.run(order, &mut pending).await;
        pending.settle(&outcome);
        Signalled { outcome, attempts: pending.attempts }
    }

    async fn run(&self, order: &SignalOrder, pending: &mut Pending) -> SignalOutcome {
        if !self.is_contact_id(&order.contact_id) {
            let detail = "signal: the contact id does not match sip.contact_id_pattern: not sent";
            return SignalOutcome::Failed(Fault::new(Service::Cxone, FaultKind::Protocol, detail));
        }
        let settings = &self.inner.settings;
        let bounds = Bounds { budget: settings.signal_budget, retries: settings.timeouts.retries };
        let mut used = Used::default();
        loop {
            pending.attempts += 1;
            let (tried, fault, pass) = self.attempt(order, pending.started + bounds.budget).await;
            if let Some(fault) = &fault {
                access::count(fault);
                tracing::debug!(signal = %pending.id, attempt = pending.attempts, ?tried, "{fault}");
            }
            let decision = policy::decide(order.purpose, used, tried, pending.elapsed(), &bounds);
            used.lost += u32::from(tried == Try::Lost);
            let fault = fault.unwrap_or_else(|| Fault::new(Service::Cxone, FaultKind::Status, "signal"));
            match decision {
                Decision::Accepted => return SignalOutcome::Accepted,
                Decision::Gone => return SignalOutcome::ContactGone(fault),
                Decision::Ambiguous => return SignalOutcome::Ambiguous(fault),
                Decision::Failed => return SignalOutcome::Failed(fault),
                Decision::MintAndRetry => {
                    used.refused += 1;
                    if let Some(pass) = pass {
                        self.inner.access.refuse(&pass.token);
                    }
                }
                Decision::Retry(wait) => {
                    used.waits += 1;
                    // Downwards only, so that the retry still fits the budget.
                    tokio::time::sleep(wait.mul_f64(0.8 + fastrand::f64() / 5.0)).await;
                }
            }
        }
    }

    /// One try: what it came to, why when it was not accepted, and the pass it was made with.
    async fn attempt(&self, order: &SignalOrder, deadline: Instant) -> (Try, Option<Fault>, Option<Pass>) {
        let pass = match timeout_at(deadline.into(), self.inner.access.pass()).await {
            Ok(Ok(pass)) => pass,
            Ok(Err(Failure { fault, passing })) => {
                return (if passing { Try::NotSent } else { Try::NoAccess }, Some(fault), None);
            }
            Err(_) => {
                let fault = Fault::new(Service::Cxone, FaultKind::Timeout, "token: not had within cxone.signal_budget");
                return (Try::NotSent, Some(fault), None);
            }
        };
        let left = deadline.saturating_duration_since(clock::now().at);
        let (tried, fault) = self.send(order, &pass, left).await;
        (tried, fault, Some(pass))
    }

    async fn send(&self, order: &SignalOrder, pass: &Pass, left: Duration) -> (Try, Option<Fault>) {
        let settings = &self.inner.settings;
        let (version, contact_id) = (&settings.api_version, wire::encode(order.contact_id.as_str()));
        let path = format!("inContactAPI/services/{version}/interactions/{contact_id}/signal");
        let mut url = endpoint::under(&pass.base, &path);
        let (query, body) = wire::signal_parameters(&order.parameters, settings.parameters_in);
        url.set_query(query.as_deref());
        let request = self
            .inner
            .http
            .client()
            .post(url)
            .header(AUTHORIZATION, pass.token.header.clone())
            .header(ACCEPT, "application/json")
            .timeout(settings.timeouts.attempt.min(left));
        let request = match &body {
            Some(body) => request.json(body),
            None => request.header(CONTENT_LENGTH, "0"),
        };
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                // A builder error cannot have sent anything either; all else may have been read by CXone, a pooled
                // connection that broke before the answer included.
                let unsent = error.is_connect() || error.is_builder();
                return (if unsent { Try::NotSent } else { Try::Lost }, Some(http::fault("signal", &error)));
            }
        };
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let tried = Try::Answered { status: status.as_u16(), retry_after: retry_after.and_then(wire::retry_after) };
        if status.is_success() {
            // Whatever the body says or fails to say: the status is the answer.
            return (tried, None);
        }
        // The status counts; the body only explains it, where it comes.
        let body = http::read(&mut response, LONGEST_ERROR_BODY).await.unwrap_or_default();
        let said: Vec<&str> = order.parameters.iter().map(|(_, value)| value.as_str()).collect();
        (tried, Some(http::refusal("signal", &Answer { status, body }, &said)))
    }

    fn is_contact_id(&self, id: &ContactId) -> bool {
        // A dot segment would vanish from the path even when encoded, so no pattern can let one in.
        !matches!(id.as_str(), "." | "..") && !id.as_str().is_empty() && self.inner.contact_id.is_match(id.as_str())
    }
}

/// Counts a signal in while it lasts, and by its outcome when it ends, by being dropped too.
struct Pending {
    id: uuid::Uuid,
    purpose: Purpose,
    contact_id: ContactId,
    started: Instant,
    attempts: u32,
    settled: bool,
}

impl Pending {
    fn new(order: &SignalOrder) -> Self {
        metrics::gauge!(metric::SIGNALS_PENDING).increment(1.0);
        Self {
            id: uuid::Uuid::now_v7(),
            purpose: order.purpose,
            contact_id: order.contact_id.clone(),
            started: clock::now().at,
            attempts: 0,
            settled: false,
        }
    }

    fn elapsed(&self) -> Duration {
        clock::now().at.saturating_duration_since(self.started)
    }

    fn settle(&mut self, outcome: &SignalOutcome) {
        self.settled = true;
        let (label, fault) = match outcome {
            SignalOutcome::Accepted => ("accepted", None),
            SignalOutcome::Ambiguous(fault) => ("ambiguous", Some(fault)),
            SignalOutcome::ContactGone(fault) => ("contact_gone", Some(fault)),
            SignalOutcome::Failed(fault) => ("failed", Some(fault)),
        };
        self.count(label);
        let (purpose, contact_id, attempts) = (self.purpose.as_str(), &self.contact_id, self.attempts);
        let milliseconds = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        match fault {
            None => tracing::info!(
                event = "signal_sent", signal = %self.id, purpose, %contact_id, attempts, milliseconds, "signal accepted"
            ),
            // The key, its role or the app is wrong: no call will get through until someone mends it.
            Some(fault) if fault.kind == FaultKind::Auth => tracing::error!(
                event = "signal_failed", signal = %self.id, purpose, %contact_id, attempts, milliseconds,
                outcome = label, kind = fault.kind.as_str(), "{fault}"
            ),
            Some(fault) => tracing::warn!(
                event = "signal_failed", signal = %self.id, purpose, %contact_id, attempts, milliseconds,
                outcome = label, kind = fault.kind.as_str(), "{fault}"
            ),
        }
    }

    fn count(&self, outcome: &'static str) {
        metrics::counter!(metric::SIGNALS_TOTAL, "purpose" => self.purpose.as_str(), "outcome" => outcome).increment(1);
        metrics::histogram!(metric::SIGNAL_SECONDS).record(self.elapsed().as_secs_f64());
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        metrics::gauge!(metric::SIGNALS_PENDING).decrement(1.0);
        if !self.settled {
            // The BYE came first: the script acted on the signal, or the caller is gone. Either is an end, not an alarm.
            self.count("caller_gone_or_signalled");
            let (purpose, contact_id, attempts) = (self.purpose.as_str(), &self.contact_id, self.attempts);
            tracing::info!(
                event = "signal_abandoned", signal = %self.id, purpose, %contact_id, attempts, "the call ended first"
            );
        }
    }
}

const LONGEST_ERROR_BODY: usize = 16 * 1024;
