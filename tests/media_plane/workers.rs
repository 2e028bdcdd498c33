//! The threads of the workers: their priority and their cores.

use crate::plane::{HERE, pair};
use rustix::process::{Pid, getpriority_process, setpriority_process};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use voice_gateway::media::Codec;
use voice_gateway::net::media::{MediaOptions, MediaPlane, MediaSettings};

/// The threads of this process by the name of `thread`.
fn threads(thread: &str) -> impl Iterator<Item = PathBuf> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    tasks.filter(move |task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread))
}

/// The value of `key` in the `status` of each of them.
fn of_thread(thread: &str, key: &str) -> Vec<String> {
    threads(thread)
        .map(|task| {
            let status = std::fs::read_to_string(task.join("status")).unwrap();
            status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn workers_go_before_the_other_threads_where_the_system_allows_it() {
    let own = getpriority_process(None).unwrap();
    let allowed = std::thread::spawn(move || setpriority_process(None, own - 10).is_ok()).join().unwrap();
    let settings = MediaSettings { bind_address: HERE, port_range: 40_100..=40_199, ..MediaSettings::default() };
    let plane = MediaPlane::start(settings).unwrap();
    let (mut one, _other) = pair(&plane, Codec::Pcmu, MediaOptions::default());
    assert!(one.audio.recv().await.is_some());
    let niceness: Vec<i32> = threads("media-0")
        .map(|task| task.file_name().unwrap().to_str().unwrap().parse().unwrap())
        .map(|id| getpriority_process(Pid::from_raw(id)).unwrap())
        .collect();
    assert!(niceness.contains(&if allowed { (own - 10).max(-20) } else { own }), "{niceness:?}, {own}, {allowed}");
    assert_eq!(getpriority_process(None).unwrap(), own, "nobody else does");
    plane.stop();
}

#[tokio::test]
async fn workers_stay_on_the_cores_that_they_were_given_and_on_no_core_of_another() {
    let settings = |worker_cores: Vec<u16>| MediaSettings {
        bind_address: HERE,
        port_range: 40_000..=40_099,
        workers: NonZeroUsize::new(2),
        worker_cores,
        ..MediaSettings::default()
    };
    let core: u16 = nix::sched::sched_getcpu().unwrap().try_into().unwrap();
    let plane = MediaPlane::start(settings(vec![core])).unwrap();
    // A call of each worker: what it hears says that the worker runs, and what it does then it does on its core.
    let (mut one, mut other) = pair(&plane, Codec::Pcmu, MediaOptions::default());
    assert!(one.audio.recv().await.is_some() && other.audio.recv().await.is_some());
    // Workers of other tests may live beside it: those have all cores.
    for worker in ["media-0", "media-1"] {
        let placed = of_thread(worker, "Cpus_allowed_list:");
        assert!(placed.contains(&core.to_string()), "{worker}: {placed:?}, not {core}");
    }
    plane.stop();
    let error = MediaPlane::start(settings(vec![core, 1023])).unwrap_err().to_string();
    assert!(error.contains("media.worker_cores") && error.contains("1023"), "{error}");
}
