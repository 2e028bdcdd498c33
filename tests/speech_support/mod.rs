//! What the speech tests share: the models, made ready once for all tests of the machine, and the telephone in between.

#![allow(dead_code, reason = "not every test file uses all")]

use audio_codec::pcmu::{PcmuDecoder, PcmuEncoder};
use audio_codec::{Decoder as _, Encoder as _};
use std::path::Path;
use voice_gateway::sandbox::models::{self, ModelPaths};

/// The human recordings and what they say.
pub(crate) const RECORDINGS: &[(&str, &str)] = &[
    ("goforward", "go forward ten meters"),
    ("librivox-0880", "he was not an ill disposed young man"),
    ("librivox-0890", "unless to be rather cold hearted and rather selfish is to be ill disposed"),
    ("tidigits-2934z", "two nine three four zero"),
    ("cards-005", "eight of spades four of clubs seven of hearts"),
];

/// Takes minutes in the first test of a new machine; other tests wait for it.
pub(crate) fn models() -> ModelPaths {
    models::ensure(None, None, &models::progress::Lines).unwrap()
}

/// The models in a folder that has no rendered prompts yet: what is spoken there is made there.
pub(crate) fn models_without_prompts() -> (tempfile::TempDir, ModelPaths) {
    let folder = models().folder();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&folder, dir.path().join(folder.file_name().unwrap())).unwrap();
    let paths = models::ensure(Some(dir.path()), None, &models::progress::Quiet).unwrap();
    (dir, paths)
}

/// A recording, 8 kHz.
pub(crate) fn recording(name: &str) -> Vec<i16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio").join(format!("{name}.wav"));
    hound::WavReader::open(path).unwrap().samples().map(Result::unwrap).collect()
}

/// What a phone hears of 8 kHz samples, as mu-law bytes.
pub(crate) fn mulaw(samples: &[i16]) -> Vec<u8> {
    PcmuEncoder::new().encode(samples)
}

/// Mu-law bytes as the recogniser takes them.
pub(crate) fn wide(bytes: &[u8]) -> Vec<f32> {
    let samples = PcmuDecoder::new().decode(bytes);
    audio_codec::resample(&samples, 8_000, 16_000).iter().map(|s| f32::from(*s) / 32_768.0).collect()
}

/// Words that were inserted, left out or changed (Levenshtein distance over words).
pub(crate) fn word_errors(said: &str, heard: &str) -> usize {
    let (said, heard): (Vec<&str>, Vec<&str>) = (said.split(' ').collect(), heard.split(' ').collect());
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in heard.iter().enumerate() {
            let changed = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[heard.len()]
}
