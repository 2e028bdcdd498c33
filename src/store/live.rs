//! Who wants to know when more of a live call has been written.

use super::record::KeyHash;
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::sync::watch;

/// One version counter a live call. Bounded by the calls themselves; readers share the counter.
#[derive(Default)]
pub(super) struct Live {
    calls: Mutex<HashMap<KeyHash, watch::Sender<u64>>>,
}

impl Live {
    pub(super) fn begin(&self, key: KeyHash) {
        self.calls.lock().entry(key).or_insert_with(|| watch::Sender::new(0));
    }

    pub(super) fn touch(&self, key: KeyHash) {
        if let Some(version) = self.calls.lock().get(&key) {
            version.send_modify(|version| *version += 1);
        }
    }

    /// Readers see the counter close.
    pub(super) fn end(&self, key: KeyHash) {
        self.calls.lock().remove(&key);
    }

    pub(super) fn watch(&self, key: KeyHash) -> Option<watch::Receiver<u64>> {
        self.calls.lock().get(&key).map(watch::Sender::subscribe)
    }
}
