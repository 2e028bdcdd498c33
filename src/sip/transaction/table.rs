//! Transactions by what messages match them with, and by a number that timers and legs hold.

use std::collections::BTreeMap;

/// A table of `T`. Trees: transactions come and go by thousands, and a hash table that is more than half full of what lives doubles
/// for the traces of what has gone.
#[derive(Debug)]
pub(crate) struct Table<T> {
    ids: BTreeMap<String, u64>,
    entries: BTreeMap<u64, (String, T)>,
    last: u64,
}

impl<T> Table<T> {
    /// Puts `entry` in under `key`; an older one of the same key is no longer found by it.
    pub(crate) fn insert(&mut self, key: String, entry: T) -> u64 {
        self.last += 1;
        self.ids.insert(key.clone(), self.last);
        self.entries.insert(self.last, (key, entry));
        self.last
    }

    pub(crate) fn id(&self, key: &str) -> Option<u64> {
        self.ids.get(key).copied()
    }

    pub(crate) fn entry(&self, id: u64) -> Option<&T> {
        self.entries.get(&id).map(|(_, entry)| entry)
    }

    pub(crate) fn entry_mut(&mut self, id: u64) -> Option<&mut T> {
        self.entries.get_mut(&id).map(|(_, entry)| entry)
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<T> {
        let (key, entry) = self.entries.remove(&id)?;
        if self.id(&key) == Some(id) {
            self.ids.remove(&key);
        }
        Some(entry)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Numbers of the entries that `wanted` picks, oldest first.
    pub(crate) fn picked(&self, wanted: impl Fn(&T) -> bool) -> Vec<u64> {
        self.entries.iter().filter(|(_, (_, entry))| wanted(entry)).map(|(id, _)| *id).collect()
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { ids: BTreeMap::new(), entries: BTreeMap::new(), last: 0 }
    }
}
