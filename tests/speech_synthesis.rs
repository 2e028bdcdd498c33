//! The synthesiser, read back by the recogniser over the telephone.

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

use speech_support::{models, models_without_prompts, mulaw, wide, word_errors};
use std::ops::ControlFlow;
use std::sync::Arc;
use voice_gateway::sandbox::engine::{Synthesis as _, Utterance};
use voice_gateway::sandbox::speech::transcript::plain_words;
use voice_gateway::sandbox::speech::{Mouth, Recogniser, Synthesiser, Voice};

/// What the recogniser hears of a text at the other end of the line.
fn read_back(synthesiser: &Synthesiser, recogniser: &Recogniser, voice: Voice, text: &str) -> String {
    let pause = vec![0; 2_400];
    let sound = [pause.clone(), synthesiser.synthesise(voice, text, 8_000).unwrap(), pause].concat();
    recogniser.recognise(&wide(&mulaw(&sound))).unwrap().words
}

#[test]
fn both_voices_are_understood_over_the_telephone() {
    let (_dir, models) = models_without_prompts();
    let (synthesiser, recogniser) = (Synthesiser::load(&models).unwrap(), Recogniser::load(&models).unwrap());
    for (voice, sentences) in [(Voice::Assistant, ASSISTANT), (Voice::Caller, CALLER)] {
        let (mut errors, mut words) = (0, 0);
        for text in sentences {
            let said = plain_words(text);
            let heard = read_back(&synthesiser, &recogniser, voice, text);
            println!("{voice:?}: {said} | {heard}");
            errors += word_errors(&said, &heard);
            words += said.split(' ').count();
        }
        assert!(errors * 100 <= words * 10, "{voice:?}: {errors} errors in {words} words");
    }
}

#[test]
fn the_first_clause_is_handed_out_before_the_rest_is_made() {
    let (_dir, models) = models_without_prompts();
    let mouth = Mouth::new(Arc::new(Synthesiser::load(&models).unwrap()), Voice::Assistant);
    let text = "Hello. This second sentence is never made, since nobody listens any more.";
    let mut handed_out = Vec::new();
    let utterance = Utterance { text, voice: "en-US_AllisonV3Voice", rate: 8_000 };
    mouth
        .speak(&utterance, &mut |samples| {
            handed_out.push(samples.len());
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(handed_out.len(), 1);
    assert!((1_600..12_000).contains(&handed_out[0]), "{handed_out:?}");
}

#[test]
fn hostile_and_empty_texts_are_spoken_or_silent_and_do_no_harm() {
    let synthesiser = Synthesiser::load(&models()).unwrap();
    for silent in ["", " \n\t", "...", "\u{1f600}\u{4f60}\u{597d}", "!?", "\u{0}\u{202e}"] {
        assert!(synthesiser.synthesise(Voice::Assistant, silent, 8_000).unwrap().is_empty(), "{silent:?}");
    }
    for spoken in ["<script>alert(1)</script>", "[hello](/həlˈO/) [x](+2)", "Zürich, naïve \u{2014} ok", "qzxwv", "a"]
    {
        assert!(!synthesiser.synthesise(Voice::Assistant, spoken, 8_000).unwrap().is_empty(), "{spoken:?}");
    }
    // A long text is cut into clauses; a long word is cut short.
    let long = format!("Yes. {} {}", "z".repeat(100_000), "one two three, ".repeat(2_000));
    let first = synthesiser.clauses(Voice::Assistant, &long, 8_000).next().unwrap().unwrap();
    assert!(first.text == "Yes." && !first.samples.is_empty());
    assert!(synthesiser.synthesise(Voice::Assistant, "hello", 7_000).is_err());
}

#[test]
fn a_rendered_text_is_not_rendered_again() {
    let synthesiser = Synthesiser::load(&models()).unwrap();
    let text = "This sentence was made before.";
    synthesiser.prerender(Voice::Caller, &[text]).unwrap();
    assert!(synthesiser.clauses(Voice::Caller, text, 8_000).next_is_ready());
    let first = synthesiser.synthesise(Voice::Caller, text, 8_000).unwrap();
    let again = synthesiser.synthesise(Voice::Caller, text, 8_000).unwrap();
    // The network adds noise of its own: only the same rendering is the same sound.
    assert_eq!(first, again);
    assert_eq!(synthesiser.synthesise(Voice::Caller, text, 16_000).unwrap().len(), 2 * first.len());
}

const ASSISTANT: &[&str] = &[
    "Hello, how can I help you today?",
    "Your balance is £42.",
    "I am transferring you to an agent now.",
    "Your order number is 4711.",
    "I am sorry, I did not understand that.",
];
const CALLER: &[&str] = &[
    "I would like to check the balance of my account please.",
    "What time does the store open on Saturday?",
    "Yes, I want to cancel my order.",
    "I would like to speak to an agent please.",
];
