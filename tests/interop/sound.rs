//! Whether what was heard is what was said: correlation of waveforms, half a second at a time.

use std::path::Path;
use std::sync::Arc;

/// Recorded speech of tests/audio, 8000 samples a second.
pub(crate) fn recording(name: &str) -> Arc<[i16]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio").join(name);
    wav(&path).remove(0).into()
}

/// The channels of a WAV file.
pub(crate) fn wav(path: &Path) -> Vec<Vec<i16>> {
    let mut file = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!((file.spec().sample_rate, file.spec().bits_per_sample), (8_000, 16), "{}", path.display());
    let channels = usize::from(file.spec().channels);
    let samples: Vec<i16> = file.samples::<i16>().map(Result::unwrap).collect();
    (0..channels).map(|channel| samples.iter().skip(channel).step_by(channels).copied().collect()).collect()
}

/// Fails unless all of `said` is in `heard`. Each half second may lie a little off its place, because phones' jitter buffers adapt; one of them may
/// be spoilt, because a busy machine makes phones stumble.
pub(crate) fn assert_heard(said: &[i16], heard: &[i16], by_whom: &str) {
    let likeness = likeness(said, heard);
    let good = likeness.iter().filter(|&&likeness| likeness > 0.9).count();
    assert!(good + 1 >= likeness.len(), "what {by_whom} heard is not what was said: {likeness:.2?}");
}

/// The correlation of each half second of `said` with its place in `heard`.
pub(crate) fn likeness(said: &[i16], heard: &[i16]) -> Vec<f64> {
    assert!(heard.len() > said.len(), "{} samples heard of {} said", heard.len(), said.len());
    let coarse = place(&thinned(said), &thinned(heard)) * THIN;
    let segments = said.chunks_exact(SEGMENT).enumerate().filter(|(_, segment)| level(segment) > 200.0);
    let best = segments.map(|(index, segment)| {
        let middle = coarse + index * SEGMENT;
        let around = middle.saturating_sub(SLIP)..=middle + SLIP;
        let candidates = around.filter_map(|at| Some(correlation(segment, heard.get(at..at + SEGMENT)?)));
        candidates.fold(0.0, f64::max)
    });
    best.collect()
}

/// Where in `heard` the whole of `said` fits best.
fn place(said: &[i16], heard: &[i16]) -> usize {
    let scores = heard.windows(said.len()).map(|window| correlation(said, window));
    scores.enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(0, |(at, _)| at)
}

#[expect(clippy::cast_precision_loss, reason = "sums of half a second of 16-bit samples")]
fn correlation(one: &[i16], other: &[i16]) -> f64 {
    let (mut product, mut first, mut second) = (0i64, 0i64, 0i64);
    for (&a, &b) in one.iter().zip(other) {
        let (a, b) = (i64::from(a), i64::from(b));
        product += a * b;
        first += a * a;
        second += b * b;
    }
    product as f64 / (first as f64 * second as f64).sqrt().max(1.0)
}

#[expect(clippy::cast_possible_truncation, reason = "a mean of 16-bit samples")]
fn thinned(samples: &[i16]) -> Vec<i16> {
    let mean = |chunk: &[i16]| (chunk.iter().map(|&sample| i32::from(sample)).sum::<i32>() / chunk.len() as i32) as i16;
    samples.chunks_exact(THIN).map(mean).collect()
}

fn level(samples: &[i16]) -> f64 {
    samples.iter().map(|&sample| f64::from(sample).abs()).sum::<f64>() / samples.len() as f64
}

const THIN: usize = 8;
const SEGMENT: usize = 4_000;
/// 100 ms: five packets' worth.
const SLIP: usize = 800;

#[test]
fn one_recording_is_found_in_itself_and_another_is_not() {
    let (said, other) = (recording("librivox-0880.wav"), recording("librivox-0890.wav"));
    let late: Vec<i16> = std::iter::repeat_n(0, 7_777).chain(said.iter().map(|sample| sample / 2)).collect();
    assert_heard(&said, &late, "the test");
    let strange = likeness(&said, &other);
    assert!(strange.iter().all(|&likeness| likeness < 0.7), "{strange:.2?}");
    let gap: Vec<i16> =
        late.iter().enumerate().map(|(at, s)| if (12_000..24_000).contains(&at) { 0 } else { *s }).collect();
    assert!(
        std::panic::catch_unwind(|| assert_heard(&said, &gap, "the test")).is_err(),
        "a second and a half is missing"
    );
}
