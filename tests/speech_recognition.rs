//! The recogniser on recorded people, and the listener that cuts a call into utterances for it.

#![cfg(feature = "sandbox")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

mod speech_support;

use speech_support::{RECORDINGS, models, mulaw, recording, wide, word_errors};
use std::sync::Arc;
use std::time::Duration;
use voice_gateway::sandbox::audio_format::AudioFormat;
use voice_gateway::sandbox::engine::{Heard, Recognition as _, RecognitionOptions};
use voice_gateway::sandbox::speech::{Ears, Recogniser};

/// Feeds mu-law as a call would, 20 ms at a time, and collects what is told.
fn hear(ears: &Ears, bytes: &[u8]) -> Vec<Heard> {
    let mut session = ears.open(&RecognitionOptions {
        format: AudioFormat::parse("audio/mulaw;rate=8000").unwrap(),
        end_of_phrase_silence: Duration::from_millis(800),
        interim_results: true,
    });
    let mut told: Vec<Heard> = bytes.chunks(160).flat_map(|frame| session.audio(frame)).collect();
    told.extend(session.finish());
    told
}

fn finals(told: &[Heard]) -> Vec<&str> {
    told.iter()
        .filter_map(|h| if let Heard::Final { transcript, .. } = h { Some(transcript.as_str()) } else { None })
        .collect()
}

fn ears() -> Ears {
    Ears::new(Arc::new(Recogniser::load(&models()).unwrap()))
}

#[test]
fn recorded_people_are_understood_over_the_telephone() {
    let recogniser = Recogniser::load(&models()).unwrap();
    let (mut errors, mut words) = (0, 0);
    for (name, said) in RECORDINGS {
        let heard = recogniser.recognise(&wide(&mulaw(&recording(name)))).unwrap();
        println!("{name}: {heard:?}");
        errors += word_errors(said, &heard.words);
        words += said.split(' ').count();
        assert!(heard.confidence > 0.5 && heard.confidence <= 1.0, "{name}: {}", heard.confidence);
    }
    assert!(errors * 100 <= words * 10, "{errors} errors in {words} words");
}

#[test]
fn a_call_with_pauses_comes_out_as_its_utterances() {
    let ears = ears();
    let mut call = vec![0xff; 8_000];
    for (name, _) in RECORDINGS {
        call.extend(mulaw(&recording(name)));
        call.extend(vec![0xff; 12_000]);
    }
    let told = hear(&ears, &call);
    let heard = finals(&told);
    println!("{told:?}");
    assert_eq!(heard.len(), RECORDINGS.len(), "{told:?}");
    let errors: usize = RECORDINGS.iter().zip(&heard).map(|((_, said), heard)| word_errors(said, heard)).sum();
    let words: usize = RECORDINGS.iter().map(|(_, said)| said.split(' ').count()).sum();
    assert!(errors * 100 <= words * 10, "{errors} errors in {words} words: {heard:?}");
}

#[test]
fn an_utterance_is_told_as_begun_then_guessed_then_final() {
    let mut call = vec![0xff; 4_000];
    call.extend(mulaw(&recording("goforward")));
    call.extend(vec![0xff; 16_000]);
    let told = hear(&ears(), &call);
    assert!(matches!(told.first(), Some(Heard::Began { at }) if (500..1_500).contains(&at.as_millis())), "{told:?}");
    assert!(matches!(told.get(1), Some(Heard::Interim { transcript }) if !transcript.is_empty()), "{told:?}");
    let Some(Heard::Final { transcript, confidence, begin, end }) = told.last() else { panic!("{told:?}") };
    assert_eq!(transcript, "go forward ten meters");
    assert!(*confidence > 0.5);
    assert!(*begin < *end && end.as_millis() < 3_500, "{begin:?} {end:?}");
    assert_eq!(finals(&told).len(), 1, "{told:?}");
}

#[test]
fn silence_noise_and_keys_say_nothing() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut sound = vec![0i16; 16_000];
    for level in [30, 300, 2_000] {
        sound.extend((0..16_000).map(|_| random.i16(-level..=level)));
    }
    for (low, high) in [(697.0, 1209.0), (941.0, 1336.0), (852.0, 1477.0), (350.0, 440.0)] {
        sound.extend((0..16_000).map(|i: u16| {
            let t = f32::from(i) / 8_000.0 * std::f32::consts::TAU;
            let level = if i % 1_600 < 800 { 7_000.0 } else { 0.0 };
            (level * ((t * low).sin() + (t * high).sin())) as i16
        }));
    }
    assert_eq!(hear(&ears(), &mulaw(&sound)), []);
}

#[test]
fn odd_input_is_not_understood_and_does_no_harm() {
    let recogniser = Recogniser::load(&models()).unwrap();
    assert_eq!(recogniser.recognise(&[]).unwrap().words, "");
    assert_eq!(recogniser.recognise(&[0.5; 100]).unwrap().words, "");
    assert_eq!(recogniser.recognise(&[0.0; 16_000]).unwrap().words, "");
    let mut random = fastrand::Rng::with_seed(5);
    let noise: Vec<f32> = (0..48_000).map(|_| random.f32() * 0.2 - 0.1).collect();
    assert_eq!(recogniser.recognise(&noise).unwrap().words, "");
    assert!(recogniser.recognise(&[f32::NAN; 16_000]).is_ok());
    assert!(recogniser.recognise(&vec![1.0; 40 * 16_000]).is_ok());
}
