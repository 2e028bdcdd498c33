//! What is spelled: words that the phoneme lexicon does not know.

use misaki_rs::Fallback;
use misaki_rs::fallback::FallbackError;

/// Spells unknown words letter by letter, in misaki's phonemes.
pub(super) struct Speller;

impl Fallback for Speller {
    fn phonemize(&self, word: &str) -> Result<String, FallbackError> {
        let letters: Vec<&str> = word.chars().take(LONGEST).filter_map(letter).collect();
        let Some((last, before)) = letters.split_last() else {
            return Err(FallbackError::NoPhonemes { word: word.to_owned() });
        };
        // The last letter of a row carries the main stress, as in "U S A".
        let before = before.concat().replace('ˈ', "ˌ");
        Ok(format!("{before}{last}"))
    }
}

fn letter(letter: char) -> Option<&'static str> {
    let index = (letter.to_ascii_lowercase() as usize).checked_sub('a' as usize)?;
    NAMES.get(index).copied()
}

/// Nobody listens to more.
const LONGEST: usize = 24;
const NAMES: [&str; 26] = [
    "ˈA",
    "bˈi",
    "sˈi",
    "dˈi",
    "ˈi",
    "ˈɛf",
    "ʤˈi",
    "ˈAʧ",
    "ˈI",
    "ʤˈA",
    "kˈA",
    "ˈɛl",
    "ˈɛm",
    "ˈɛn",
    "ˈO",
    "pˈi",
    "kjˈu",
    "ˈɑɹ",
    "ˈɛs",
    "tˈi",
    "jˈu",
    "vˈi",
    "dˈʌbᵊlju",
    "ˈɛks",
    "wˈI",
    "zˈi",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_are_spelled_and_nothing_else_is_invented() {
        assert_eq!(Speller.phonemize("USA").unwrap(), "jˌuˌɛsˈA");
        assert_eq!(Speller.phonemize("q").unwrap(), "kjˈu");
        assert!(Speller.phonemize("4ü–").is_err());
        assert!(Speller.phonemize(&"z".repeat(100_000)).unwrap().len() < 200);
    }
}
