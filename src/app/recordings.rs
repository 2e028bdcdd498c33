//! Recordings are kept as long as the history that belongs to them.

use crate::base::{clock, metric};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// Removes what is older than `retention`, now and then, until `stop`.
pub(super) async fn retain(folder: PathBuf, retention: Duration, stop: CancellationToken) {
    loop {
        let before = clock::now().wall.checked_sub(retention).unwrap_or(SystemTime::UNIX_EPOCH);
        let folder = folder.clone();
        // A slow disk keeps nobody else waiting.
        let removed = tokio::task::spawn_blocking(move || remove_older(&folder, before)).await;
        if let Ok(removed @ 1..) = removed {
            metrics::counter!(metric::RECORDINGS_TOTAL, "outcome" => "expired").increment(removed);
            tracing::info!(removed, "recordings past their retention removed");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE.min(retention)) => {}
        }
    }
}

/// Removes the recordings in `folder` that were last written before `before`; how many. Other files stay.
fn remove_older(folder: &Path, before: SystemTime) -> u64 {
    let Ok(files) = std::fs::read_dir(folder) else { return 0 };
    let mut removed = 0;
    for file in files.flatten().take(MOST) {
        let path = file.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let ours = name.ends_with(".wav") || name.ends_with(SEALED);
        let old = file.metadata().is_ok_and(|data| data.is_file() && data.modified().is_ok_and(|at| at < before));
        if ours && old {
            match std::fs::remove_file(&path) {
                Ok(()) => removed += 1,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "recording past its retention not removed")
                }
            }
        }
    }
    removed
}

/// Behind the name of a sealed recording.
pub(super) const SEALED: &str = ".wav.sealed";
const PAUSE: Duration = Duration::from_secs(600);
/// Files looked at in one round.
const MOST: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_recordings_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let now = clock::now().wall;
        for (name, days) in [("old.wav", 31), ("old.wav.sealed", 31), ("new.wav", 1), ("notes.txt", 99)] {
            let file = std::fs::File::create(folder.path().join(name)).unwrap();
            file.set_modified(now - Duration::from_secs(days * 86_400)).unwrap();
        }
        assert_eq!(remove_older(folder.path(), now - Duration::from_secs(30 * 86_400)), 2);
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["new.wav", "notes.txt"]);
        assert_eq!(remove_older(Path::new("/nonexistent"), now), 0);
    }
}
