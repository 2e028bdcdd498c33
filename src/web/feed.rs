//! The live feed of a conversation: server-sent events `line`, `call` and, at the end, `end`.

use super::history::{Conversation, Histories};
use axum::response::sse::Event;
use futures_util::Stream;
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What follows `after` in the conversation of `key`, until the call has ended or `stop`.
pub(super) fn feed(
    histories: Arc<dyn Histories>,
    key: String,
    first: Conversation,
    after: Option<u64>,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let changes = histories.watch(&key);
    let mut feed =
        Feed { histories, key, changes, after, head: Value::Null, pending: VecDeque::new(), ended: false, stop };
    feed.take_in(&first);
    futures_util::stream::unfold(feed, |mut feed| async move {
        loop {
            if let Some(event) = feed.pending.pop_front() {
                return Some((Ok(event), feed));
            }
            if feed.ended || !feed.changed().await {
                return None;
            }
        }
    })
}

struct Feed {
    histories: Arc<dyn Histories>,
    key: String,
    changes: Option<watch::Receiver<u64>>,
    /// The last line sent.
    after: Option<u64>,
    /// The head sent last.
    head: Value,
    /// Bounded by the length of one conversation.
    pending: VecDeque<Event>,
    ended: bool,
    stop: CancellationToken,
}

impl Feed {
    /// Waits for a change and takes it in; false when nothing more can come.
    async fn changed(&mut self) -> bool {
        let stop = self.stop.clone();
        let change = async {
            match &mut self.changes {
                Some(changes) => changes.changed().await.is_ok(),
                None => {
                    tokio::time::sleep(POLL).await;
                    true
                }
            }
        };
        let alive = tokio::select! {
            () = stop.cancelled() => return false,
            alive = change => alive,
        };
        if !alive {
            // The call's task is gone; what it wrote last may still be on its way into the store.
            self.changes = None;
        }
        let loaded = tokio::select! {
            () = stop.cancelled() => return false,
            loaded = self.histories.load(&self.key) => loaded,
        };
        match loaded {
            Ok(Some(conversation)) => {
                self.take_in(&conversation);
                true
            }
            // Expired, or the store is down: the browser comes back and is told by status.
            Ok(None) | Err(_) => false,
        }
    }

    fn take_in(&mut self, conversation: &Conversation) {
        let head = conversation.head_json();
        if head != self.head {
            self.pending.push_back(event("call", &head));
            self.head = head;
        }
        for line in &conversation.lines {
            if self.after.is_none_or(|after| line.seq > after) {
                self.after = Some(line.seq);
                self.pending.push_back(event("line", &conversation.line_json(line)).id(line.seq.to_string()));
            }
        }
        if conversation.ended.is_some() {
            self.ended = true;
            self.pending.push_back(Event::default().event("end").data("{}"));
        }
    }
}

fn event(name: &str, data: &Value) -> Event {
    // JSON has no raw line breaks, so one event is one `data:` line.
    Event::default().event(name).data(data.to_string())
}

/// How often a conversation is looked at whose call is not in this process.
const POLL: Duration = Duration::from_secs(2);
