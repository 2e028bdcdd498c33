//! The models' folder: filled offline, by two processes at once, and made whole again when a file has gone bad.

#![cfg(feature = "sandbox")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod speech_support;

use parking_lot::Mutex;
use speech_support::models;
use std::fs;
use voice_gateway::sandbox::models::{Progress, ensure};

#[derive(Default)]
struct Steps(Mutex<Vec<String>>);

impl Progress for Steps {
    fn step(&self, _: usize, _: usize, what: &str) {
        self.0.lock().push(what.to_owned());
    }
    fn amount(&self, _: u64, _: u64) {}
    fn done(&self, _: &str) {}
}

impl Steps {
    fn copies(&self) -> usize {
        self.0.lock().iter().filter(|step| step.contains("copying")).count()
    }
}

#[test]
fn a_folder_is_filled_once_and_mended_when_a_file_goes_bad() {
    let source = models().folder();
    let dir = tempfile::tempdir().unwrap();
    let steps = Steps::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| ensure(Some(dir.path()), Some(&source), &steps).unwrap());
        }
    });
    assert_eq!(steps.copies(), 1, "{:?}", steps.0.lock());

    let paths = ensure(Some(dir.path()), None, &steps).unwrap();
    assert_eq!(steps.copies(), 1);

    // Same size, one byte changed: found by its sum, since the time of change is not the stamped one.
    let voice = paths.file("jm_kumo.f32");
    let mut bytes = fs::read(&voice).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&voice, &bytes).unwrap();
    ensure(Some(dir.path()), Some(&source), &steps).unwrap();
    assert_eq!(steps.copies(), 2);
    assert_eq!(fs::read(&voice).unwrap(), fs::read(source.join("jm_kumo.f32")).unwrap());
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "only the models and the lock: {left:?}");
}
