//! One conversation on a shelf, and the router that shows it.

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use voice_gateway::base::SessionKey;
use voice_gateway::call::output::{EndReason, Who};
use voice_gateway::web::serve::{Limits, serve_within};
use voice_gateway::web::{Conversation, Histories, HistoryUnavailable, Line, Pending, agent};

/// One conversation under one key.
pub(crate) struct Shelf {
    key: String,
    pub(crate) conversation: Mutex<Result<Conversation, HistoryUnavailable>>,
    changes: watch::Sender<u64>,
    pub(crate) asked: Mutex<u32>,
}

impl Shelf {
    pub(crate) fn with(conversation: Conversation) -> Arc<Self> {
        let key = SessionKey::from_random([7; 20]).as_str().to_owned();
        Arc::new(Self {
            key,
            conversation: Mutex::new(Ok(conversation)),
            changes: watch::channel(0).0,
            asked: Mutex::new(0),
        })
    }

    pub(crate) fn change(&self, conversation: Conversation) {
        *self.conversation.lock() = Ok(conversation);
        self.changes.send_modify(|version| *version += 1);
    }

    pub(crate) fn page(&self) -> String {
        format!("/loadAgentAppFrame.html?session_history_key={}", self.key)
    }

    pub(crate) fn json(&self) -> String {
        format!("/v1/history/{}", self.key)
    }

    pub(crate) fn events(&self, query: &str) -> String {
        format!("/v1/history/{}/events{query}", self.key)
    }

    pub(crate) async fn request(self: &Arc<Self>, path: &str) -> Response<Body> {
        router(self).oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
    }

    pub(crate) async fn serve(
        self: &Arc<Self>,
        limits: Limits,
    ) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let tracker = tokio_util::task::TaskTracker::new();
        (address, stop.clone(), tracker.spawn(serve_within(limits, listener, router(self), stop)))
    }
}

impl Histories for Shelf {
    fn load<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Option<Conversation>, HistoryUnavailable>> {
        *self.asked.lock() += 1;
        let found = self.conversation.lock().clone().map(|conversation| (key == self.key).then_some(conversation));
        Box::pin(std::future::ready(found))
    }

    fn watch(&self, key: &str) -> Option<watch::Receiver<u64>> {
        (key == self.key).then(|| self.changes.subscribe())
    }
}

pub(crate) fn router(shelf: &Arc<Shelf>) -> axum::Router {
    let frame_ancestors = ["'self'", "https://*.niceincontact.com"].map(str::to_owned);
    agent::router(agent::Agent {
        histories: Arc::clone(shelf) as Arc<dyn Histories>,
        frame_ancestors: frame_ancestors.into(),
    })
}

pub(crate) fn conversation() -> Conversation {
    Conversation {
        call_id: "a84b4c76e66710@example.com".to_owned(),
        contact_id: Some("483920175523".to_owned()),
        caller_number: Some("+1 859 555 3456".to_owned()),
        called_number: "+18882346789".to_owned(),
        started: at(0),
        answered: Some(at(2)),
        ended: Some(at(60)),
        end_reason: Some(EndReason::AssistantTransfer),
        why: Some("Ok, I'm transferring you.".to_owned()),
        custom_data: vec![("p2".to_owned(), "billing".to_owned())],
        lines: vec![
            line(1, 3, Who::Assistant, "Welcome."),
            line(2, 7, Who::Caller, "my bill is wrong"),
            line(3, 9, Who::CallerKeys, "1#"),
        ],
    }
}

pub(crate) fn line(seq: u64, seconds: u64, who: Who, text: &str) -> Line {
    Line { seq, at: at(seconds), who, text: text.to_owned() }
}

/// Seconds into 2026.
pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}

pub(crate) async fn body(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}
