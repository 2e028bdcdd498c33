//! Whole conversations over real sockets: spoken ones with the real engines, as `demo` holds them, and `call` against a gateway.

#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use voice_gateway::app::demonstration::{Engines, Line, Moment, Performance, Scenario, Sound, Stage, Verdict};
use voice_gateway::sandbox::SandboxOptions;
use voice_gateway::sandbox::assistant::Dialog;
use voice_gateway::sandbox::audio_format::AudioFormat;
use voice_gateway::sandbox::engine::{Heard, Recognition as _, RecognitionOptions};
use voice_gateway::sandbox::events::SandboxEvent;
use voice_gateway::sandbox::faults::{Fault, FaultOrder, SandboxService};
use voice_gateway::sandbox::load_test::{LoadTestRecognition, LoadTestSynthesis};
use voice_gateway::sandbox::models::{self, progress};
use voice_gateway::sandbox::script::Outcome;
use voice_gateway::sandbox::speech::Ears;

/// The engines, their models made ready where they are not yet.
fn engines() -> Engines {
    let dir = std::env::var_os("VOICE_GATEWAY__SANDBOX__MODELS_DIR");
    let models = models::ensure(dir.as_deref().map(Path::new), None, &progress::Lines).unwrap();
    Engines::load(&models).unwrap()
}

fn show(moment: Moment) {
    if !matches!(moment, Moment::Loudness { .. }) {
        println!("{moment:?}");
    }
}

async fn hold(engines: &Engines, name: &str) -> (Performance, Verdict) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let dialog = Dialog::acme_energy().unwrap();
    let scenario = Scenario::named(name).unwrap();
    engines.speak_ahead(&scenario.sentences(&dialog), |_, _| {}).unwrap();
    let scenario = scenario.rehearse(&engines.synthesiser).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::set(engines.sandbox_options(dialog), folder.path()).await.unwrap();
    let performance = stage.perform(&scenario, &mut show).await.unwrap();
    let verdict = stage.judge(&scenario, &performance).await;
    stage.strike().await;
    assert!(verdict.good(), "{name}: {:#?}", verdict.checks);
    (performance, verdict)
}

/// A stage without real speech: every utterance of the caller is "recognised" as the next of `words`.
async fn quick_stage(words: &[&str], folder: &Path) -> Stage {
    rustls::crypto::ring::default_provider().install_default().ok();
    let recognition = LoadTestRecognition::new(words.iter().map(|words| (*words).to_owned()));
    let dialog = Dialog::acme_energy().unwrap();
    let options = SandboxOptions::new(Arc::new(recognition), Arc::new(LoadTestSynthesis), dialog);
    Stage::set(options, folder).await.unwrap()
}

fn tone(seconds: usize) -> Vec<i16> {
    (0..seconds * 8_000).map(|n| if n / 20 % 2 == 0 { 6_000 } else { -6_000 }).collect()
}

/// The scenario with a tone in the place of every line.
fn toneful(name: &str) -> Scenario {
    let mut scenario = Scenario::named(name).unwrap();
    for line in &mut scenario.lines {
        line.sound = Sound::Samples(tone(1));
    }
    scenario
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// Edits from `said` to `heard` by words, for each word said.
fn word_error_rate(said: &str, heard: &str) -> f64 {
    let (said, heard) = (words(said), words(heard));
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut above_left = row[0];
        row[0] = i + 1;
        for (j, other) in heard.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (above_left + usize::from(word != other)).min(above + 1).min(row[j] + 1);
            above_left = above;
        }
    }
    row[heard.len()] as f64 / said.len().max(1) as f64
}

fn recognise(engines: &Engines, mulaw: &[u8]) -> String {
    let options = RecognitionOptions {
        format: AudioFormat::parse("audio/mulaw;rate=8000").unwrap(),
        end_of_phrase_silence: Duration::from_millis(800),
        interim_results: false,
    };
    let mut session = Ears::new(Arc::clone(&engines.recogniser)).open(&options);
    let mut heard = session.audio(mulaw);
    heard.extend(session.finish());
    let finals = heard.into_iter().filter_map(|heard| match heard {
        Heard::Final { transcript, .. } => Some(transcript),
        _ => None,
    });
    finals.collect::<Vec<_>>().join(" ")
}

#[test]
fn word_errors_are_counted() {
    assert_eq!(word_error_rate("Hello, you there", "hello you there"), 0.0);
    assert_eq!(word_error_rate("one two three four", "one too three"), 0.5);
    assert_eq!(word_error_rate("one", "zero one two"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_transfer_goes_as_scripted_and_both_sides_hear_what_the_other_said() {
    let engines = engines();
    let (done, _) = hold(&engines, "transfer").await;

    // The caller's words are what the assistant was given.
    let said = Scenario::named("transfer").unwrap().lines;
    assert_eq!(done.understood.first().map(String::as_str), Some(""), "the greeting turn");
    assert_eq!(done.understood.len(), 1 + said.len(), "{:?}", done.understood);
    for (line, understood) in said.iter().zip(&done.understood[1..]) {
        let errors = word_error_rate(&line.words, understood);
        assert!(errors <= TOLERANCE, "{errors:.2} word errors: {:?} was understood as {understood:?}", line.words);
    }

    // The assistant's words are what the caller heard.
    assert_eq!(done.assistant.len(), done.heard.len(), "{:?}", done.assistant);
    for (sentence, sound) in done.assistant.iter().zip(&done.heard) {
        let heard = recognise(&engines, sound);
        let errors = word_error_rate(sentence, &heard);
        assert!(errors <= TOLERANCE, "{errors:.2} word errors: {sentence:?} was heard as {heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_goodbye_ends_the_call() {
    hold(&engines(), "hangup").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_that_fails_leads_to_an_agent() {
    let (done, _) = hold(&engines(), "error").await;
    assert!(done.signals.is_empty() && done.bye_received);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_is_judged_by_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let stage = quick_stage(&["what are your opening hours", "that is all goodbye"], folder.path()).await;
    let scenario = toneful("hangup");
    let performance = stage.perform(&scenario, &mut |_| {}).await.unwrap();
    let verdict = stage.judge(&scenario, &performance).await;
    assert!(verdict.good(), "{:#?}", verdict.checks);
    stage.strike().await;

    // CXone takes no signal: the call still ends, and the verdict says what was missing.
    let folder = tempfile::tempdir().unwrap();
    let stage = quick_stage(&["what are your opening hours", "that is all goodbye"], folder.path()).await;
    let refused = Fault::Status { code: 403 };
    stage.sandbox().faults.order(FaultOrder::new(SandboxService::Cxone, refused).on_path("/signal")).unwrap();
    let performance = stage.perform(&scenario, &mut |_| {}).await.unwrap();
    let verdict = stage.judge(&scenario, &performance).await;
    let wrong: Vec<&str> =
        verdict.checks.iter().filter(|check| check.wrong.is_some()).map(|check| check.what.as_str()).collect();
    assert!(wrong.iter().any(|what| what.starts_with("CXone received one signal")), "{wrong:?}");
    assert!(wrong.contains(&"CXone hung up"), "{wrong:?}");
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_plays_a_file_hears_the_answer_and_hangs_up() {
    let folder = tempfile::tempdir().unwrap();
    let stage = quick_stage(&["what are your opening hours"], folder.path()).await;
    let scenario = Scenario::playing("hours.wav", tone(1));
    let performance = stage.perform(&scenario, &mut |_| {}).await.unwrap();
    let verdict = stage.judge(&scenario, &performance).await;
    assert!(verdict.good(), "{:#?}", verdict.checks);
    assert_eq!(performance.outcome, Some(Outcome::CallerGone));
    let answered = performance.assistant.iter().any(|text| text.contains("from eight in the morning"));
    assert!(answered, "{:?}", performance.assistant);
    stage.strike().await;
}

async fn call(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_voice-gateway")).arg("call").args(arguments).output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.unwrap().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let object = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    (output.status.code(), object)
}

#[tokio::test(flavor = "multi_thread")]
async fn call_speaks_hears_records_and_says_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let stage = quick_stage(&["goodbye"], folder.path()).await;
    stage.sandbox().contacts.register("4711");
    let uri = stage.sip_uri();
    let record = folder.path().join("heard.wav");
    let sound = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio/goforward.wav");
    let (sound, record) = (sound.to_str().unwrap(), record.to_str().unwrap());
    let (code, told) = call(&[
        &uri,
        "--contact-id",
        "4711",
        "--header",
        "X-Skill: sales",
        "--play",
        sound,
        "--record",
        record,
        "--json",
    ])
    .await;
    assert_eq!((code, &told["ok"], &told["ended_by"]), (Some(0), &Value::from(true), &Value::from("peer")), "{told}");
    assert_eq!(told["session_key"].as_str().map(str::len), Some(8), "{told}");
    assert!(told["rtp"]["packets_in"].as_u64() > Some(100), "{told}");
    // Nobody runs a script for this contact: the gateway signals, waits, and hangs up itself.
    let signals = stage.sandbox().contacts.received("4711").unwrap();
    assert!(signals.len() == 1 && signals[0].is_hangup(), "{signals:?}");
    let mut wav = hound::WavReader::open(record).unwrap();
    assert_eq!(wav.spec().channels, 2);
    let samples: Vec<i16> = wav.samples().map(Result::unwrap).collect();
    for side in 0..2 {
        let loud = samples.iter().skip(side).step_by(2).filter(|sample| sample.unsigned_abs() > 1_000).count();
        assert!(loud > 2_000, "side {side}: {loud}");
    }
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_presses_keys_by_tcp_too_and_is_told_when_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let stage = quick_stage(&[], folder.path()).await;
    let mut events = stage.sandbox().events.subscribe();
    let tcp = stage.addresses().sip[1].1;
    let uri = format!("sip:100@{tcp};transport=tcp");
    let (code, told) = call(&[&uri, "--contact-id", "4712", "--dtmf", "7", "--seconds", "4", "--json"]).await;
    assert_eq!((code, &told["ended_by"]), (Some(0), &Value::from("phone")), "{told}");
    let mut turns = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let SandboxEvent::Turn { text, .. } = event {
            turns.push(text);
        }
    }
    assert!(turns.contains(&"7".to_owned()), "{turns:?}");

    let (code, told) = call(&[&uri, "--json"]).await;
    assert_eq!((code, &told["refused"]["code"]), (Some(1), &Value::from(400)), "no contact id: {told}");
    stage.strike().await;
}

/// Word errors that real engines may make on a telephone line.
const TOLERANCE: f64 = 0.2;

/// A line is what the caller says, whatever its sound.
#[test]
fn a_line_without_rehearsal_is_silent() {
    let line: Line = Scenario::named("error").unwrap().lines.remove(0);
    assert!(line.samples().is_empty());
}
