//! What the fuzzer learned, on stable and with every test run: each file of `fuzz/corpus` goes through its target again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(unreachable_pub, reason = "a library where the fuzzer builds it")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

/// How many files of a target were tried.
fn replay(name: &str, target: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        target(&std::fs::read(file).unwrap());
    }
    files.len()
}

#[test]
fn every_input_of_every_corpus_is_survived() {
    for (name, target) in [
        ("sip_message", targets::sip_message as fn(&[u8])),
        ("sdp", targets::sdp),
        ("digest", targets::digest),
        ("stream_framing", targets::stream_framing),
        ("endpoint", targets::endpoint),
        ("media_session", targets::media::session),
        ("rtcp", targets::media::rtcp),
        ("telephone_event", targets::media::telephone_event),
        ("srtp_open", targets::media::srtp_open),
        ("sdp_answer", targets::media::sdp_answer),
    ] {
        assert!(replay(name, target) >= 5, "{name}: the corpus is missing");
    }
    #[cfg(feature = "opus")]
    assert!(replay("opus", targets::media::opus) >= 5, "opus: the corpus is missing");
}
