//! Rendered clauses kept for the next time: in memory and on disk, both bounded. On both, the oldest goes first.

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// Names a rendered clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

/// The kept clauses: 16-bit samples at the synthesiser's rate.
pub(super) struct Shelf {
    folder: PathBuf,
    memory: Mutex<VecDeque<(Key, Arc<[i16]>)>>,
}

impl Key {
    /// The same voice saying the same has the same key, in every version that renders it alike.
    pub(super) fn new(voice: &str, text: &str) -> Self {
        let mut hasher = Sha256::new();
        for part in [RENDERING, voice, text] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    fn file(self) -> String {
        self.0.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>() + ".s16"
    }
}

impl Shelf {
    /// A shelf on `folder`, which is made with the first clause.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, memory: Mutex::new(VecDeque::new()) }
    }

    pub(super) fn find(&self, key: Key) -> Option<Arc<[i16]>> {
        if let Some((_, sound)) = self.memory.lock().iter().find(|(k, _)| *k == key) {
            return Some(Arc::clone(sound));
        }
        let bytes = fs::read(self.folder.join(key.file())).ok()?;
        let (samples, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        let sound: Arc<[i16]> = samples.iter().map(|s| i16::from_le_bytes(*s)).collect();
        self.remember(key, &sound);
        Some(sound)
    }

    /// Keeps a clause. That the disk does not take it costs time later and nothing else.
    pub(super) fn keep(&self, key: Key, sound: &Arc<[i16]>) {
        self.remember(key, sound);
        if let Err(error) = self.write(key, sound) {
            tracing::debug!(%error, folder = %self.folder.display(), "a rendered prompt is not kept on disk");
        }
    }

    fn remember(&self, key: Key, sound: &Arc<[i16]>) {
        let mut memory = self.memory.lock();
        if memory.iter().any(|(k, _)| *k == key) {
            return;
        }
        memory.push_back((key, Arc::clone(sound)));
        let mut samples: usize = memory.iter().map(|(_, sound)| sound.len()).sum();
        while samples > MEMORY_SAMPLES
            && let Some((_, oldest)) = memory.pop_front()
        {
            samples -= oldest.len();
        }
    }

    fn write(&self, key: Key, sound: &[i16]) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let bytes: Vec<u8> = sound.iter().flat_map(|s| s.to_le_bytes()).collect();
        self.make_room(bytes.len() as u64)?;
        // Renamed when whole: another process never reads half a clause.
        let part = self.folder.join(format!("{}.{}", key.file(), std::process::id()));
        fs::write(&part, bytes)?;
        fs::rename(&part, self.folder.join(key.file()))
    }

    fn make_room(&self, bytes: u64) -> std::io::Result<()> {
        let mut files: Vec<_> = fs::read_dir(&self.folder)?
            .flatten()
            .filter_map(|entry| entry.metadata().ok().map(|m| (m.modified().ok(), m.len(), entry.path())))
            .collect();
        let mut total = bytes + files.iter().map(|(_, size, _)| size).sum::<u64>();
        files.sort();
        for (_, size, path) in files {
            if total <= DISK_BYTES {
                break;
            }
            fs::remove_file(path)?;
            total -= size;
        }
        Ok(())
    }
}

/// Changes whenever the same text comes to sound different.
const RENDERING: &str = "1";
/// 16 MB: about six minutes.
const MEMORY_SAMPLES: usize = 8 << 20;
/// About 23 minutes.
const DISK_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_outlives_the_process_and_a_broken_file_is_not_played() {
        let folder = tempfile::tempdir().unwrap();
        let (key, sound) = (Key::new("voice", "hello"), Arc::from([1i16, -2, 300]));
        Shelf::new(folder.path().join("new")).keep(key, &sound);
        let shelf = Shelf::new(folder.path().join("new"));
        assert_eq!(shelf.find(key).as_deref(), Some(&sound[..]));
        assert_eq!(shelf.find(Key::new("voice", "hell")), None);
        assert_ne!(Key::new("ab", "c"), Key::new("a", "bc"));
        let broken = Key::new("voice", "broken");
        fs::write(folder.path().join("new").join(broken.file()), [1, 2, 3]).unwrap();
        assert_eq!(shelf.find(broken), None);
    }

    #[test]
    fn both_memory_and_disk_are_bounded_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().to_owned());
        let big: Arc<[i16]> = vec![0; MEMORY_SAMPLES / 3].into();
        for n in 0..20 {
            shelf.keep(Key::new("voice", &n.to_string()), &big);
        }
        assert!(shelf.memory.lock().len() <= 3);
        let bytes: u64 = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= DISK_BYTES && bytes > DISK_BYTES / 2, "{bytes}");
        assert!(shelf.find(Key::new("voice", "19")).is_some());
        assert!(shelf.find(Key::new("voice", "0")).is_none());
    }
}
