//! Assistant v2 (Watson facts 2.4): sessions and turns, in both path forms. A session that has expired is made anew with its context.

mod conversation;
pub mod wire;

pub use conversation::Conversation;

use super::iam::Tokens;
use super::settings::ServiceSettings;
use super::transport::{Answer, Transport, discreet, exchange, host_of, http_url, note, status_fault, told};
use crate::base::{Fault, FaultKind, Service, clock};
use crate::call::input::Reply;
use crate::call::output::Turn;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Settings of `[assistant]`.
#[derive(Clone, Debug)]
pub struct AssistantSettings {
    /// Where and how to sign in.
    pub service: ServiceSettings,
    /// Environment that answers.
    pub environment_id: String,
    /// With it, the newer path form is used.
    pub assistant_id: Option<String>,
    /// `version` of every call.
    pub version: String,
    /// One attempt may take so long; there is one retry.
    pub timeout: Duration,
}

/// A session of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// The id as the service gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Assistant {
    shared: Arc<Shared>,
}

struct Shared {
    settings: AssistantSettings,
    host: String,
    tokens: Tokens,
    transport: Transport,
}

/// Why a turn was not answered.
enum Unanswered {
    /// 404: there is no such session (any more).
    NoSession(Fault),
    Failed(Fault),
}

impl From<Fault> for Unanswered {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl Assistant {
    pub(super) fn new(settings: AssistantSettings, tokens: Tokens, transport: Transport) -> Self {
        let host = host_of(&settings.service.url);
        Self { shared: Arc::new(Shared { settings, host, tokens, transport }) }
    }

    /// A conversation: its session is created by `open`, or with its first turn.
    #[must_use]
    pub fn conversation(&self) -> Conversation {
        Conversation::new(self.clone())
    }

    /// Creates a session.
    pub async fn create_session(&self) -> Result<SessionId, Fault> {
        let answer = self.call(Method::POST, &["sessions"], Some(Bytes::from_static(b"{}")), "").await?;
        match answer.status.as_u16() {
            200..=299 => wire::session_id(&answer.body)
                .map(|id| SessionId(id.into()))
                .map_err(|wrong| self.told_wrong(wrong, &answer)),
            _ => Err(self.failed(&answer, "")),
        }
    }

    /// One turn in `session`. A session that is gone is a fault here; `Conversation` makes a new one.
    pub async fn message(&self, session: &SessionId, turn: &Turn) -> Result<Reply, Fault> {
        match self.turn(session, turn, &wire::message(turn)).await {
            Ok(reply) => Ok(reply),
            Err(Unanswered::NoSession(fault)) => {
                note(&fault);
                Err(fault)
            }
            Err(Unanswered::Failed(fault)) => Err(fault),
        }
    }

    /// Deletes a session; one that is gone already is as good.
    pub async fn delete_session(&self, session: &SessionId) -> Result<(), Fault> {
        let answer = self.call(Method::DELETE, &["sessions", session.as_str()], None, "").await?;
        match answer.status.as_u16() {
            200..=299 | 404 => Ok(()),
            _ => Err(self.failed(&answer, "")),
        }
    }

    /// For `check`: creates a session and deletes it. Says what was seen.
    pub async fn probe(&self) -> Result<String, Fault> {
        let session = self.create_session().await?;
        self.delete_session(&session).await?;
        Ok(format!("{} made and deleted a session", self.shared.host))
    }

    async fn turn(&self, session: &SessionId, turn: &Turn, body: &Value) -> Result<Reply, Unanswered> {
        let asked = clock::now().at;
        let body = Bytes::from(body.to_string());
        if body.len() > CONTEXT_LIMIT {
            tracing::warn!(bytes = body.len(), "the context is near the service's limit of 100 KB");
        }
        let path = ["sessions", session.as_str(), "message"];
        let answer = self.call(Method::POST, &path, Some(body), &turn.text).await?;
        match answer.status.as_u16() {
            200..=299 => {
                let read = wire::parse(&answer.body).map_err(|wrong| self.told_wrong(wrong, &answer))?;
                let took = clock::now().at.duration_since(asked);
                Ok(Reply { generic: read.generic, context: read.context, took })
            }
            404 => Err(Unanswered::NoSession(self.refused(&answer, &turn.text))),
            _ => Err(self.failed(&answer, &turn.text).into()),
        }
    }

    /// One request with the retries it is allowed: one under a new token where the first was refused, one where the
    /// service could not be reached, was late or busy. `said` must not come back in an error.
    async fn call(&self, method: Method, path: &[&str], body: Option<Bytes>, said: &str) -> Result<Answer, Fault> {
        let mut renewed = false;
        let mut retried = false;
        let mut token = self.shared.tokens.token().await?;
        loop {
            let outcome = self.attempt(&method, path, body.clone(), token.bearer()).await;
            let (fault, answer) = match outcome {
                Ok(answer) => match answer.status.as_u16() {
                    status @ (401 | 403 | 408 | 429 | 500..) => {
                        let fault = self.refused(&answer, said);
                        if matches!(status, 401 | 403) {
                            if renewed {
                                return Ok(answer);
                            }
                            note(&fault);
                            renewed = true;
                            token = self.shared.tokens.renewed(&token).await?;
                            continue;
                        }
                        (fault, Some(answer))
                    }
                    _ => return Ok(answer),
                },
                Err(fault) => (fault, None),
            };
            if retried || fault.kind == FaultKind::Protocol {
                // An answer becomes its fault, and is counted, where its status is read.
                return answer.ok_or_else(|| {
                    note(&fault);
                    fault
                });
            }
            note(&fault);
            retried = true;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn attempt(
        &self,
        method: &Method,
        path: &[&str],
        body: Option<Bytes>,
        bearer: &reqwest::header::HeaderValue,
    ) -> Result<Answer, Fault> {
        let Shared { settings, host, transport, .. } = &*self.shared;
        let mut request = transport
            .http()
            .request(method.clone(), self.url(path))
            .header(AUTHORIZATION, bearer.clone())
            .header(ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        exchange(Service::Assistant, host, request, settings.timeout).await
    }

    fn url(&self, path: &[&str]) -> url::Url {
        let settings = &self.shared.settings;
        let mut segments = vec!["v2", "assistants"];
        match &settings.assistant_id {
            Some(assistant_id) => {
                segments.extend([assistant_id.as_str(), "environments", settings.environment_id.as_str()]);
            }
            // Before October 2025 the environment's id stood in the assistant's place.
            None => segments.push(settings.environment_id.as_str()),
        }
        segments.extend(path);
        let mut url = http_url(&settings.service.url, &segments);
        url.query_pairs_mut().append_pair("version", &settings.version);
        url
    }

    /// An error status as a fault. What the service says is left out where it repeats what the caller said.
    fn refused(&self, answer: &Answer, said: &str) -> Fault {
        let reason = discreet(told(&answer.body), said);
        status_fault(Service::Assistant, &self.shared.host, answer.status.as_u16(), &reason)
    }

    /// The same where it is the end of the matter: counted and logged.
    fn failed(&self, answer: &Answer, said: &str) -> Fault {
        let fault = self.refused(answer, said);
        note(&fault);
        fault
    }

    fn told_wrong(&self, wrong: &str, answer: &Answer) -> Fault {
        let detail = format!("{}: {wrong} ({})", self.shared.host, answer.content_type);
        let fault = Fault::new(Service::Assistant, FaultKind::Protocol, detail);
        note(&fault);
        fault
    }
}

const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// The service refuses contexts of more than 100 KB.
const CONTEXT_LIMIT: usize = 95 * 1024;
