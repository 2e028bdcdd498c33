//! Where the peers are, and their life as child processes.

use super::gateway::DEADLINE;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::process::Command;

/// A program that Debian's package brings.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name.as_ref());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// A program of the private Python environment that `tests/run` makes.
pub(crate) fn python_program(name: &str) -> PathBuf {
    let cache = ["XDG_CACHE_HOME", "HOME"].into_iter().find_map(|name| {
        let folder = PathBuf::from(std::env::var_os(name)?);
        let folder = if name == "HOME" { folder.join(".cache") } else { folder };
        folder.is_absolute().then_some(folder)
    });
    let path = cache.expect("HOME is set").join("voice-gateway/interop/bin").join(name);
    assert!(path.exists(), "{} is missing: tests/run makes it", path.display());
    path
}

/// Runs it to its end.
pub(crate) async fn output(mut command: Command) -> Output {
    let named = format!("{:?}", command.as_std().get_program());
    let running = command.output();
    let ended = tokio::time::timeout(DEADLINE, running).await.unwrap_or_else(|_| panic!("{named} ends"));
    ended.unwrap_or_else(|error| panic!("{named} cannot be run ({error}): tests/run installs it"))
}

/// Both outputs as text.
pub(crate) fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// A file of this test.
pub(crate) fn own_file(name: impl AsRef<OsStr>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(Path::new(name.as_ref()))
}
