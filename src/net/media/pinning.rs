//! Workers that stay on one core each: their caches stay warm, and they are never moved behind other work.

use super::MediaPlaneError;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

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

/// The thread that calls.
const THIS: Pid = Pid::from_raw(0);
