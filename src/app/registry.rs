//! The calls that live and those that lately ended: what the admin API shows, and where an operator's order finds its call.

use crate::base::{CallId, Now};
use crate::call::input::EndNow;
use crate::call::output::{EndReason, Summary};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// What is known of a call without reading its words.
#[derive(Clone, Debug)]
pub struct CallInfo {
    /// SIP Call-ID.
    pub call_id: CallId,
    /// CXone contact, where it had one.
    pub contact_id: Option<String>,
    /// First eight characters of the session key.
    pub session_key: String,
    /// Tenant; `default` where there are none.
    pub tenant: String,
    /// The caller's number, empty when withheld.
    pub caller_number: String,
    /// The dialled number.
    pub called_number: String,
    /// When the INVITE came.
    pub started: SystemTime,
    /// When 200 was sent.
    pub answered: Option<SystemTime>,
    /// Assistant turns so far.
    pub turns: u32,
    /// When and why it ended.
    pub ended: Option<(SystemTime, EndReason, String)>,
    /// Of its media and its turns, once it has ended, as JSON: `Registry::figures` asks a live one.
    pub figures: Option<Box<str>>,
}

/// Shared by the call tasks, the admin API and drain.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    live: BTreeMap<u64, Live>,
    recent: VecDeque<CallInfo>,
}

#[derive(Debug)]
struct Live {
    info: CallInfo,
    orders: mpsc::Sender<EndNow>,
    questions: mpsc::Sender<Question>,
}

/// Where the figures of a live call are to go.
pub type Question = oneshot::Sender<Value>;

/// What the registry has for a call.
#[derive(Debug)]
pub struct Inbox {
    /// Orders to end it.
    pub orders: mpsc::Receiver<EndNow>,
    /// Who wants its figures now.
    pub questions: mpsc::Receiver<Question>,
}

/// A live call's place in the registry; leaving it is explicit (`ended`), dropping it forgets the call.
#[derive(Debug)]
pub struct Place {
    registry: Registry,
    id: u64,
}

impl Registry {
    /// Enters a call.
    #[must_use]
    pub fn enter(&self, info: CallInfo) -> (Place, Inbox) {
        let (orders, to_end) = mpsc::channel(ORDERS);
        let (questions, to_answer) = mpsc::channel(QUESTIONS);
        let mut inner = self.inner.lock();
        inner.next += 1;
        let id = inner.next;
        inner.live.insert(id, Live { info, orders, questions });
        metrics::gauge!(crate::base::metric::CALLS_ACTIVE).set(count(inner.live.len()));
        (Place { registry: self.clone(), id }, Inbox { orders: to_end, questions: to_answer })
    }

    /// How many calls live.
    #[must_use]
    pub fn active(&self) -> usize {
        self.inner.lock().live.len()
    }

    /// Live calls, oldest first, then recent ones, latest first.
    #[must_use]
    pub fn list(&self) -> Vec<CallInfo> {
        let inner = self.inner.lock();
        let mut live: Vec<&Live> = inner.live.values().collect();
        live.sort_by_key(|live| live.info.started);
        live.into_iter().map(|live| live.info.clone()).chain(inner.recent.iter().rev().cloned()).collect()
    }

    /// The live call with this Call-ID, else the latest that ended.
    #[must_use]
    pub fn find(&self, call_id: &str) -> Option<CallInfo> {
        let inner = self.inner.lock();
        let live = inner.live.values().map(|live| &live.info).find(|info| info.call_id.as_str() == call_id);
        live.or_else(|| inner.recent.iter().rev().find(|info| info.call_id.as_str() == call_id)).cloned()
    }

    /// The figures up to now of the live call with this Call-ID; `None` where there is none, or where it has no time to tell.
    pub async fn figures(&self, call_id: &str) -> Option<Value> {
        let (ask, told) = oneshot::channel();
        {
            let inner = self.inner.lock();
            let live = inner.live.values().find(|live| live.info.call_id.as_str() == call_id)?;
            live.questions.try_send(ask).ok()?;
        }
        tokio::time::timeout(PATIENCE, told).await.ok()?.ok()
    }

    /// Orders the end of the live call with this Call-ID; false when there is none.
    #[must_use]
    pub fn end(&self, call_id: &str, why: EndNow) -> bool {
        let inner = self.inner.lock();
        let mut found = false;
        for live in inner.live.values().filter(|live| live.info.call_id.as_str() == call_id) {
            // A full queue already holds an order to end: nothing is lost.
            let _ = live.orders.try_send(why);
            found = true;
        }
        found
    }

    /// Orders the end of every live call.
    pub fn end_all(&self, why: EndNow) {
        for live in self.inner.lock().live.values() {
            let _ = live.orders.try_send(why);
        }
    }
}

impl Place {
    /// The 200 was sent.
    pub fn answered(&self, now: Now) {
        self.change(|info| info.answered = Some(now.wall));
    }

    /// A turn was asked.
    pub fn turn(&self) {
        self.change(|info| info.turns += 1);
    }

    /// The call is over: it moves to the recent ones.
    pub fn ended(self, now: Now, summary: &Summary, figures: Box<str>) {
        self.change(|info| {
            info.ended = Some((now.wall, summary.end_reason, summary.cause.clone()));
            info.figures = Some(figures);
        });
        let mut inner = self.registry.inner.lock();
        if let Some(live) = inner.live.remove(&self.id) {
            inner.recent.push_back(live.info);
            if inner.recent.len() > RECENT {
                inner.recent.pop_front();
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut CallInfo)) {
        if let Some(live) = self.registry.inner.lock().live.get_mut(&self.id) {
            change(&mut live.info);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.registry.inner.lock();
        inner.live.remove(&self.id);
        metrics::gauge!(crate::base::metric::CALLS_ACTIVE).set(count(inner.live.len()));
    }
}

fn count(calls: usize) -> f64 {
    u32::try_from(calls).map_or(f64::MAX, f64::from)
}

/// Orders waiting for one call. One is enough to end it.
const ORDERS: usize = 2;
/// Questions waiting for one call; further ones get no answer.
const QUESTIONS: usize = 8;
/// For an answer, which takes a slot of the media's grid.
const PATIENCE: Duration = Duration::from_secs(1);
/// Ended calls kept for the admin API.
const RECENT: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SessionKey, clock};
    use serde_json::json;

    fn info(call_id: &str) -> CallInfo {
        CallInfo {
            call_id: CallId::new(call_id),
            contact_id: None,
            session_key: "12345678".to_owned(),
            tenant: "default".to_owned(),
            caller_number: String::new(),
            called_number: "100".to_owned(),
            started: clock::now().wall,
            answered: None,
            turns: 0,
            ended: None,
            figures: None,
        }
    }

    fn summary() -> Summary {
        Summary {
            end_reason: EndReason::CallerHangup,
            cause: "the caller hung up".to_owned(),
            answered: true,
            elapsed: Duration::from_secs(1),
            setup: None,
            turns: 1,
            session_key: SessionKey::from_random([1; 20]),
            contact_id: None,
        }
    }

    #[test]
    fn a_call_is_live_then_recent_and_recent_ones_are_bounded() {
        let registry = Registry::default();
        for number in 0..RECENT + 5 {
            let (place, _inbox) = registry.enter(info(&format!("call-{number}")));
            place.turn();
            assert_eq!(registry.active(), 1);
            place.ended(clock::now(), &summary(), format!("{number}").into());
        }
        assert_eq!(registry.active(), 0);
        assert_eq!(registry.list().len(), RECENT);
        let found = registry.find("call-204").unwrap();
        assert_eq!((found.turns, found.figures), (1, Some("204".into())));
        assert_eq!(found.ended.unwrap().1, EndReason::CallerHangup);
        assert!(registry.find("call-0").is_none(), "the oldest are forgotten");
    }

    #[test]
    fn an_order_reaches_its_call_and_no_other() {
        let registry = Registry::default();
        let (_a, Inbox { orders: mut to_a, .. }) = registry.enter(info("a"));
        let (_b, Inbox { orders: mut to_b, .. }) = registry.enter(info("b"));
        assert!(registry.end("a", EndNow::Operator));
        assert!(!registry.end("c", EndNow::Operator));
        assert_eq!(to_a.try_recv(), Ok(EndNow::Operator));
        assert!(to_b.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_live_call_is_asked_for_its_figures_and_nobody_waits_for_one_that_does_not_tell() {
        let registry = Registry::default();
        let (place, Inbox { mut questions, .. }) = registry.enter(info("a"));
        let (told, ()) = tokio::join!(registry.figures("a"), async {
            questions.recv().await.unwrap().send(json!({"n": 1})).unwrap();
        });
        assert_eq!(told, Some(json!({"n": 1})));
        assert_eq!(registry.figures("b").await, None);
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..=QUESTIONS {
            let registry = registry.clone();
            asked.spawn(async move { registry.figures("a").await });
        }
        assert_eq!(asked.join_all().await, vec![None; QUESTIONS + 1], "its task is busy");
        assert_eq!(std::iter::from_fn(|| questions.try_recv().ok()).count(), QUESTIONS, "and its queue is bounded");
        drop(place);
        assert_eq!(registry.figures("a").await, None);
    }

    #[test]
    fn a_dropped_place_leaves_nothing_behind() {
        let registry = Registry::default();
        drop(registry.enter(info("a")));
        assert_eq!(registry.active(), 0);
        assert!(registry.find("a").is_none());
    }
}
