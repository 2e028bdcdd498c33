//! A prompt cut into clauses that are spoken in one go.

use super::reading::readable;
use std::time::Duration;

/// What is spoken in one go, and the silence that follows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Phrase {
    pub(super) text: String,
    pub(super) gap: Duration,
}

/// Cuts `prompt` into clauses. The first one is kept short, so that sound starts early; the rest goes by sentences.
pub(super) fn phrases(prompt: &str) -> Vec<Phrase> {
    let mut phrases = Vec::new();
    let readable = readable(prompt);
    let words: Vec<&str> = readable.split(' ').filter(|w| !w.is_empty()).collect();
    for sentence in words.split_inclusive(|w| w.ends_with(['.', '?', '!'])) {
        say(sentence, &mut phrases);
    }
    phrases
}

/// Appends one sentence, cut where it is too long for one breath.
fn say(mut words: &[&str], phrases: &mut Vec<Phrase>) {
    while let Some(at) = cut(words, if phrases.is_empty() { &FIRST } else { &LATER }) {
        let (head, tail) = words.split_at(at);
        push(head, phrases);
        words = tail;
    }
    push(words, phrases);
}

/// How long a sentence may be before it is cut, in words.
struct Breath {
    /// After a comma or the like.
    at_comma: usize,
    /// Before a word that joins.
    at_joint: usize,
    /// Anywhere: it sounds poor.
    anywhere: usize,
}

/// After how many words to cut. A sentence cut in the middle loses its melody, so it is done only where it is needed;
/// neither part is left with a word or two.
fn cut(words: &[&str], breath: &Breath) -> Option<usize> {
    let most = words.len().checked_sub(FEWEST)?.min(breath.anywhere);
    let places = |longer_than: usize| (FEWEST..=most).rev().filter(move |_| words.len() > longer_than);
    let comma = |n: &usize| words.get(n - 1).is_some_and(|w| w.ends_with([',', ';', ':']));
    let joint = |n: &usize| words.get(*n).is_some_and(|w| JOINTS.contains(&w.to_ascii_lowercase().as_str()));
    let anywhere = || places(breath.anywhere).next();
    places(breath.at_comma).find(comma).or_else(|| places(breath.at_joint).find(joint)).or_else(anywhere)
}

fn push(words: &[&str], phrases: &mut Vec<Phrase>) {
    let Some(last) = words.last() else { return };
    let gap = match last.chars().last() {
        Some('.' | '?' | '!') => SENTENCE_GAP,
        Some(',' | ';' | ':') => COMMA_GAP,
        _ => CUT_GAP,
    };
    // What is one word for us may be kilobytes of a hostile prompt.
    let text = words.iter().map(|w| w.get(..LONGEST_WORD).unwrap_or(w)).collect::<Vec<_>>().join(" ");
    phrases.push(Phrase { text, gap });
}

const FEWEST: usize = 3;
const FIRST: Breath = Breath { at_comma: 6, at_joint: 9, anywhere: 12 };
const LATER: Breath = Breath { at_comma: 14, at_joint: 16, anywhere: 18 };
const SENTENCE_GAP: Duration = Duration::from_millis(240);
const CUT_GAP: Duration = Duration::from_millis(40);
const COMMA_GAP: Duration = Duration::from_millis(120);
const LONGEST_WORD: usize = 40;
const JOINTS: &[&str] = &[
    "and", "or", "but", "because", "if", "when", "while", "that", "which", "who", "so", "before", "after", "until",
    "than",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(prompt: &str) -> Vec<String> {
        phrases(prompt).into_iter().map(|phrase| phrase.text).collect()
    }

    #[test]
    fn the_first_words_come_early_and_the_rest_by_sentences() {
        assert_eq!(
            texts("Ok, I am transferring you to an agent now. One moment please."),
            ["Ok, I am transferring you to an agent now.", "One moment please."]
        );
        assert_eq!(texts("Hello, how can I help you today?"), ["Hello, how can I help you today?"]);
        assert_eq!(texts("Yes."), ["Yes."]);
        let long = "word ".repeat(200);
        assert!(texts(&long).iter().all(|t| t.split(' ').count() <= 18));
        assert_eq!(texts(&long).join(" "), long.trim());
    }

    #[test]
    fn what_looks_like_markup_is_read_as_text() {
        assert_eq!(texts("<script>alert(1)</script>"), ["script alert, one, script"]);
        assert_eq!(texts("5 < 6 & more"), ["five six and more"]);
        assert_eq!(texts(" \u{0}\n"), Vec::<String>::new());
        assert_eq!(texts(""), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn clauses_are_bounded_whatever_comes(prompt in "([a-z]{1,60}|[0-9]{1,3}|,|\\.|!| and | |.){0,80}") {
            for text in texts(&prompt) {
                prop_assert!(text.len() <= 18 * 41, "{text}");
            }
        }
    }
}
