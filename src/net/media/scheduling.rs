//! When and where workers run: before whatever else wants their core, and on one core each where they are given some, so that
//! their caches stay warm and they are never moved behind other work.

use super::MediaPlaneError;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use rustix::process::{getpriority_process, setpriority_process};

/// Whether this process may run on `core`.
pub(super) fn permitted(core: u16) -> Result<(), MediaPlaneError> {
    let refused = |source| MediaPlaneError::Core { core, source };
    let allowed = sched_getaffinity(THIS).and_then(|cores| cores.is_set(usize::from(core))).map_err(refused)?;
    if allowed { Ok(()) } else { Err(refused(nix::Error::EINVAL)) }
}

/// Keeps the thread that calls it on `core`.
pub(super) fn pin(core: u16) -> Result<(), MediaPlaneError> {
    let mut cores = CpuSet::new();
    cores
        .set(usize::from(core))
        .and_then(|()| sched_setaffinity(THIS, &cores))
        .map_err(|source| MediaPlaneError::Core { core, source })
}

/// Puts the thread that calls before the others of this process and its session: what they do can wait some milliseconds, a
/// packet cannot. The system allows it to who has `CAP_SYS_NICE` or a limit of `RLIMIT_NICE`.
pub(super) fn hurry() -> Result<(), rustix::io::Errno> {
    let nice = getpriority_process(None)?;
    setpriority_process(None, nice - AHEAD)
}

/// Steps of niceness: nine times the weight.
const AHEAD: i32 = 10;
/// The thread that calls.
const THIS: Pid = Pid::from_raw(0);
