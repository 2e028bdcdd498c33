//! Where edges that never import each other meet: the web pages' questions, answered by the store and the registry.

use super::gateway::Shared;
use super::ladder;
use super::registry::CallInfo;
use crate::call::TRANSFER_NOTE;
use crate::call::input::EndNow;
use crate::call::output::{EndReason, Who};
use crate::store::{self, Store};
use crate::web::{self, CallView, Calls, HangupOrder, Histories, HistoryUnavailable, LadderView, Pending, Readiness};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// The store, as the agent's page asks it.
pub(super) struct StoredHistories(pub(super) Store);

impl Histories for StoredHistories {
    fn load<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Option<web::Conversation>, HistoryUnavailable>> {
        Box::pin(async move {
            match self.0.load(key).await {
                Ok(found) => Ok(found.map(conversation)),
                Err(error) => {
                    tracing::error!(event = "upstream_failed", %error, "history not readable");
                    Err(HistoryUnavailable)
                }
            }
        })
    }

    fn watch(&self, key: &str) -> Option<watch::Receiver<u64>> {
        self.0.watch(key)
    }
}

/// Puts what the store has into the page's words. Why the call came over: the last signal, else how it ended.
fn conversation(stored: store::Conversation) -> web::Conversation {
    let signal = stored.signals.last();
    let end_reason = match (stored.end_reason.as_deref().and_then(EndReason::parse), signal) {
        (Some(reason), _) => Some(reason),
        (None, Some(signal)) if signal.purpose == "transfer" => Some(EndReason::AssistantTransfer),
        (None, Some(_)) => Some(EndReason::AssistantHangup),
        (None, None) => None,
    };
    let last_of = |who: &str| stored.entries.iter().rev().find(|line| line.who == who).map(|line| line.text.clone());
    let why = match end_reason {
        // What the assistant says of the transfer to the agent, else what it said to the caller.
        Some(EndReason::AssistantTransfer) => {
            let reason = stored.entries.iter().rev().filter(|line| line.who == Who::Gateway.as_str());
            reason
                .filter_map(|line| line.text.strip_prefix(TRANSFER_NOTE)?.strip_prefix(": "))
                .map(str::to_owned)
                .next()
                .or_else(|| last_of(Who::Assistant.as_str()))
        }
        _ => stored.cause.clone(),
    };
    web::Conversation {
        custom_data: signal.map(|signal| signal.custom_data.clone().into_iter().collect()).unwrap_or_default(),
        call_id: stored.call_id,
        contact_id: stored.contact_id,
        caller_number: Some(stored.caller_number).filter(|number| !number.is_empty()),
        called_number: stored.called_number,
        started: stored.started_at.into(),
        answered: stored.answered_at.map(Into::into),
        ended: stored.ended_at.map(Into::into),
        end_reason,
        why,
        lines: stored
            .entries
            .into_iter()
            .filter_map(|line| {
                let who = Who::parse(&line.who)?;
                Some(web::Line { seq: line.seq, at: line.at.into(), who, text: line.text })
            })
            .collect(),
    }
}

impl Calls for Shared {
    fn list(&self) -> Vec<CallView> {
        self.registry.list().into_iter().map(view).collect()
    }

    fn find(&self, call_id: &str) -> Option<CallView> {
        self.registry.find(call_id).map(view)
    }

    fn figures<'a>(&'a self, call_id: &'a str) -> Pending<'a, Option<Value>> {
        Box::pin(self.registry.figures(call_id))
    }

    fn ladder(&self, call_id: &str) -> Option<LadderView> {
        let shown = self.sip.ladder(call_id)?.show(&self.disclosure);
        Some(LadderView { code: shown.code, messages: ladder::json(&shown), text: shown.text() })
    }

    fn active(&self) -> usize {
        self.registry.active()
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn drain(&self) {
        self.start_draining();
    }

    fn hangup(&self, call_id: &str) -> HangupOrder {
        if self.registry.end(call_id, EndNow::Operator) {
            return HangupOrder::Ordered;
        }
        match self.registry.find(call_id) {
            Some(_) => HangupOrder::AlreadyEnded,
            None => HangupOrder::Unknown,
        }
    }
}

impl Readiness for Shared {
    fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.started.load(Ordering::Relaxed) {
            reasons.push("starting".to_owned());
        }
        if self.is_draining() {
            reasons.push("draining".to_owned());
        }
        if !self.store.healthy() {
            reasons.push("history store not writable".to_owned());
        }
        reasons
    }
}

fn view(info: CallInfo) -> CallView {
    let state = match (&info.ended, info.answered) {
        (Some(_), _) => "ended",
        (None, Some(_)) => "talking",
        (None, None) => "ringing",
    };
    let (ended, end_reason, cause) = match info.ended {
        Some((at, reason, cause)) => (Some(at), Some(reason), Some(cause)),
        None => (None, None, None),
    };
    CallView {
        call_id: info.call_id.as_str().to_owned(),
        session_key: info.session_key,
        tenant: info.tenant,
        contact_id: info.contact_id,
        caller_number: Some(info.caller_number).filter(|number| !number.is_empty()),
        called_number: info.called_number,
        state: state.to_owned(),
        started: info.started,
        answered: info.answered,
        ended,
        end_reason,
        cause,
        turns: info.turns,
        figures: info.figures.and_then(|figures| serde_json::from_str(&figures).ok()),
    }
}

pub(super) fn histories(store: &Store) -> Arc<dyn Histories> {
    Arc::new(StoredHistories(store.clone()))
}
