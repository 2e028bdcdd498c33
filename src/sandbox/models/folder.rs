//! The models' folder: whether it is intact, the lock that lets one process at a time fill it, and the last rename.

use super::manifest::{FILES, FOLDER, ModelFile};
use super::{ModelError, Progress, at};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Whether every file is there and is the right one. Sums are computed once: the stamp remembers size and time of each
/// file as they were then, so that later runs only look at these.
pub(super) fn intact(folder: &Path) -> bool {
    let sizes = FILES.iter().all(|f| fs::metadata(folder.join(f.name)).is_ok_and(|m| m.len() == f.size));
    if !sizes {
        return false;
    }
    let Ok(now) = fingerprint(folder) else { return false };
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|then| then == now) {
        return true;
    }
    for file in FILES {
        if let Err(error) = check(file, &folder.join(file.name)) {
            tracing::warn!(%error, "speech models are made anew");
            return false;
        }
    }
    // A folder that cannot be written to is as good: it is only summed again next time.
    stamp(folder).unwrap_or_else(|error| tracing::debug!(%error, "no stamp"));
    true
}

/// Remembers that the files of `folder` have been summed.
pub(super) fn stamp(folder: &Path) -> Result<(), ModelError> {
    let stamp = folder.join(STAMP);
    fs::write(&stamp, fingerprint(folder)?).map_err(at("write", &stamp))
}

/// Compares one file with the manifest.
pub(super) fn check(file: &ModelFile, path: &Path) -> Result<(), ModelError> {
    let found = sum(path).map_err(at("read", path))?;
    if found == file.sha256 {
        return Ok(());
    }
    Err(ModelError::Sum { path: path.to_owned(), expected: file.sha256, found })
}

/// Puts the finished folder in place of whatever was there. Both are on one file system, and the caller holds the lock.
pub(super) fn install(made: &Path, folder: &Path) -> Result<(), ModelError> {
    if folder.exists() {
        let aside = made.with_extension("old");
        fs::rename(folder, &aside).map_err(at("move aside", folder))?;
    }
    fs::rename(made, folder).map_err(at("put in place", folder))
}

/// Waits until no other process prepares models here. The lock ends with the returned file, also when the process dies.
pub(super) fn lock(path: &Path, progress: &dyn Progress) -> Result<File, ModelError> {
    let file =
        File::options().create(true).truncate(false).write(true).open(path).map_err(at("open the lock", path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => progress.step(1, 1, "waiting for another process that prepares the models"),
        Err(TryLockError::Error(source)) => return Err(at("lock", path)(source)),
    }
    file.lock().map_err(at("lock", path))?;
    Ok(file)
}

/// A scratch folder for this process.
pub(super) fn scratch(root: &Path) -> PathBuf {
    root.join(format!("{FOLDER}.part-{}", std::process::id()))
}

/// What interrupted runs left behind.
pub(super) fn scratches(root: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let prefix = format!("{FOLDER}.part-");
    let entries = fs::read_dir(root).map_err(at("list", root))?;
    Ok(entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect())
}

/// The folder in or under `from` that has all converted files, or the first file that is missing.
pub(super) fn converted_in(from: &Path) -> Result<PathBuf, &'static str> {
    let missing = |folder: &Path| FILES.iter().map(|f| f.name).find(|name| !folder.join(name).is_file());
    let under = from.join(FOLDER);
    match missing(from) {
        None => Ok(from.to_owned()),
        Some(_) if missing(&under).is_none() => Ok(under),
        Some(name) => Err(name),
    }
}

/// SHA-256 of a file, in hexadecimal.
pub(super) fn sum(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hasher.update(buffer.get(..n).unwrap_or_default()),
        }
    }
    Ok(hasher.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").ok();
        hex
    }))
}

/// Name, size and time of change of every file.
fn fingerprint(folder: &Path) -> Result<String, ModelError> {
    let mut text = String::new();
    for file in FILES {
        let path = folder.join(file.name);
        let metadata = fs::metadata(&path).map_err(at("look at", &path))?;
        let changed = metadata.modified().map_err(at("look at", &path))?;
        let nanos = changed.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        writeln!(text, "{} {} {} {nanos}", file.name, file.sha256, metadata.len()).ok();
    }
    Ok(text)
}

const STAMP: &str = "summed";
