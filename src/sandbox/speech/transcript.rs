//! The recogniser's writing brought into the form of Watson's Telephony models without smart formatting: lower case,
//! no punctuation, every number in words.
//!
//! How a number was said is not in the recogniser's output ("4711" may have been "four seven one one" or "forty seven
//! eleven"), so one rule holds for all: up to two digits, whole hundreds and numbers with a thousands separator are
//! read as numbers, anything else digit by digit.

use super::numbers::{cardinal, digits, ordinal};

/// Words of `text`, separated by single blanks.
#[must_use]
pub fn plain_words(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for token in text.split_whitespace() {
        let token = token.replace(['\u{2018}', '\u{2019}'], "'").to_lowercase();
        read_token(&token, &mut words);
    }
    words.join(" ")
}

fn read_token(token: &str, words: &mut Vec<String>) {
    let core = token.trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '$' | '£' | '€' | '%'));
    if !core.contains(|c: char| c.is_ascii_digit()) {
        words.extend(core.split(|c: char| !c.is_alphanumeric() && c != '\'').filter_map(word));
        return;
    }
    let unit = MONEY.iter().find_map(|(sign, unit)| Some((core.strip_prefix(*sign)?, *unit)));
    let (core, unit) = match unit {
        Some((rest, unit)) => (rest, Some(unit)),
        None => match core.strip_suffix('%') {
            Some(rest) => (rest, Some("percent")),
            None => (core, None),
        },
    };
    // "2:30", "471-1223", "a4" and the like come apart at every change between digits and other signs.
    let mut rest = core;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(start);
        words.extend(before.split(|c: char| !c.is_alphanumeric() && c != '\'').filter_map(word));
        let end = number_end(number);
        let (number, after) = number.split_at(end);
        let suffix = ["st", "nd", "rd", "th"].iter().find_map(|suffix| after.strip_prefix(suffix));
        match (suffix, number.parse::<u64>()) {
            (Some(after), Ok(value)) if !after.starts_with(char::is_alphanumeric) => {
                words.push(ordinal(value));
                rest = after;
            }
            _ => {
                words.push(read_number(number));
                rest = after;
            }
        }
    }
    words.extend(rest.split(|c: char| !c.is_alphanumeric() && c != '\'').filter_map(word));
    words.extend(unit.map(str::to_owned));
}

/// Where the number at the start of `text` ends: digits, with separators that digits follow.
fn number_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = 0;
    while digit(end) || (matches!(bytes.get(end), Some(b',' | b'.')) && digit(end + 1)) {
        end += 1;
    }
    end
}

fn read_number(text: &str) -> String {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let grouped = is_grouped(whole);
    let plain: String = whole.chars().filter(char::is_ascii_digit).collect();
    let spoken = match plain.parse::<u64>() {
        Ok(value) if grouped || (!plain.starts_with('0') && (plain.len() <= 2 || value.is_multiple_of(100))) => {
            cardinal(value)
        }
        _ => digits(&plain),
    };
    match fraction {
        Some(fraction) => format!("{spoken} point {}", digits(fraction)),
        None => spoken,
    }
}

/// "1,234,567": groups of three after the first.
fn is_grouped(whole: &str) -> bool {
    let mut groups = whole.split(',');
    let first = groups.next().is_some_and(|g| (1..=3).contains(&g.len()));
    let mut rest = groups.peekable();
    first && rest.peek().is_some() && rest.all(|g| g.len() == 3)
}

fn word(piece: &str) -> Option<String> {
    let piece = piece.trim_matches('\'');
    (!piece.is_empty()).then(|| piece.to_owned())
}

const MONEY: &[(&str, &str)] = &[("$", "dollars"), ("£", "pounds"), ("€", "euros")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcripts_are_lower_case_words_without_punctuation() {
        for (heard, words) in [
            ("Go forward ten meters.", "go forward ten meters"),
            ("I'd like to speak to an agent, please.", "i'd like to speak to an agent please"),
            ("Ill-disposed — isn\u{2019}t it?", "ill disposed isn't it"),
            ("My number is 471-1223.", "my number is four seven one one two two three"),
            ("29340", "two nine three four zero"),
            (
                "Pay $20 or 15% by the 21st, at 2:30.",
                "pay twenty dollars or fifteen percent by the twenty first at two thirty",
            ),
            (
                "1,250 people, 300 cars, 3.5 miles",
                "one thousand two hundred fifty people three hundred cars three point five miles",
            ),
            ("Room A4, 007", "room a four zero zero seven"),
            ("...", ""),
            ("", ""),
            (
                "99999999999999999999999 ''' $ %",
                "nine nine nine nine nine nine nine nine nine nine nine nine nine nine nine nine nine nine nine nine nine nine nine",
            ),
        ] {
            assert_eq!(plain_words(heard), words, "{heard}");
        }
    }
}
