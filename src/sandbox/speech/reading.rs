//! Writing made readable: what `phrase.rs` has freed of markup becomes words of letters and apostrophes, with the
//! punctuation that steers the voice. Whatever comes in, only `A-Z a-z ' , . ? ! ; :` and blanks come out.

use super::numbers::{cardinal, digits, ordinal, year};

/// `text` as it is to be spoken.
pub(super) fn readable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for token in text.split_whitespace() {
        let folded: String = token.chars().flat_map(fold).collect();
        for token in folded.split_whitespace() {
            read_token(token, &mut out);
        }
    }
    out
}

/// Appends a token: its words, then the punctuation it ends with.
fn read_token(token: &str, out: &mut String) {
    let (core, end) = match abbreviation(token) {
        Some(words) => return push(out, words, None),
        None => trimmed(token),
    };
    // The last full stop of "U.S." mostly ends no sentence.
    let end = end.filter(|c| *c != '.' || !is_initials(core));
    match abbreviation(core) {
        Some(words) => push(out, words, end),
        None if core.contains(|c: char| c.is_ascii_digit()) => push(out, &with_digits(core), end),
        None => push(out, &without_digits(core), end),
    }
}

fn push(out: &mut String, words: &str, end: Option<char>) {
    for word in words.split_whitespace() {
        // A comma of our own (between groups of digits) stays at its word.
        if !out.is_empty() && word != "," {
            out.push(' ');
        }
        out.push_str(word);
    }
    if let Some(end) = end
        && out.ends_with(|c: char| c.is_ascii_alphabetic() || c == '\'')
    {
        out.push(end);
    }
}

/// The token without what surrounds it, and the punctuation mark that ends it.
fn trimmed(token: &str) -> (&str, Option<char>) {
    let symbols = |c: char| matches!(c, '$' | '£' | '€' | '%' | '&' | '@' | '+' | '=' | '#' | '-' | '~');
    let core = token.trim_start_matches(|c: char| !c.is_ascii_alphanumeric() && !symbols(c));
    let core = core.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || symbols(c) && c != '-'));
    let end = token.chars().rev().take_while(|c| !c.is_ascii_alphanumeric()).find(|c| PUNCTUATION.contains(*c));
    let end = end.or_else(|| token.ends_with(['-', '"']).then_some(',').filter(|_| core.is_empty()));
    (core, end)
}

/// Letters and symbols.
fn without_digits(core: &str) -> String {
    if is_initials(core) {
        return core.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase()).collect();
    }
    let mut words = String::with_capacity(core.len());
    for c in core.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '\'' => words.push(c),
            '.' => words.push_str(" dot "),
            _ => {
                words.push(' ');
                words.push_str(SYMBOLS.iter().find(|(sign, _)| *sign == c).map_or("", |(_, name)| *name));
                words.push(' ');
            }
        }
    }
    words
}

/// "U.S." or "p.m.".
fn is_initials(core: &str) -> bool {
    let mut parts = core.split('.');
    core.contains('.') && parts.all(|p| p.len() <= 1 && p.chars().all(|c| c.is_ascii_alphabetic()))
}

fn with_digits(core: &str) -> String {
    if let Some(rest) = core.strip_prefix('-').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        return format!("minus {}", with_digits(rest));
    }
    if let Some(rest) = core.strip_suffix('%') {
        return format!("{} percent", with_digits(rest));
    }
    money(core).or_else(|| time(core)).or_else(|| plain(core)).unwrap_or_else(|| groups(core))
}

/// "£20", "$4.99".
fn money(core: &str) -> Option<String> {
    let (_, (one, many), (cent, cents)) = MONEY.iter().find(|(sign, ..)| core.starts_with(*sign))?;
    let amount = core.get(core.chars().next()?.len_utf8()..)?;
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, "00"));
    let whole = number(whole)?;
    let unit =
        |value: u64, one: &str, many: &str| format!("{} {}", cardinal(value), if value == 1 { one } else { many });
    match (whole, fraction) {
        (_, "00") => Some(unit(whole, one, many)),
        (0, _) if fraction.len() == 2 => Some(unit(fraction.parse().ok()?, cent, cents)),
        (_, _) if fraction.len() == 2 => {
            Some(format!("{} and {}", unit(whole, one, many), unit(fraction.parse().ok()?, cent, cents)))
        }
        _ => Some(format!("{} {many}", decimal(amount)?)),
    }
}

/// "2:30", "14:05", "9:00pm".
fn time(core: &str) -> Option<String> {
    let (hour, rest) = core.split_once(':')?;
    let minute = rest.get(..2)?;
    let half = match rest.get(2..)?.to_ascii_lowercase().replace('.', "").as_str() {
        "" => "",
        "am" => " AM",
        "pm" => " PM",
        _ => return None,
    };
    let (hour, minute): (u64, u64) = (hour.parse().ok().filter(|h| *h < 24)?, minute.parse().ok().filter(|m| *m < 60)?);
    let minute = match minute {
        0 if half.is_empty() && (1..=12).contains(&hour) => " o'clock".to_owned(),
        0 if half.is_empty() => " hundred".to_owned(),
        0 => String::new(),
        1..=9 => format!(" oh {}", cardinal(minute)),
        _ => format!(" {}", cardinal(minute)),
    };
    Some(format!("{}{minute}{half}", cardinal(hour)))
}

/// One number, alone or with an ordinal's or unit's letters.
fn plain(core: &str) -> Option<String> {
    let end = core.find(|c: char| !c.is_ascii_digit() && !matches!(c, ',' | '.')).unwrap_or(core.len());
    let (figures, suffix) = core.split_at_checked(end)?;
    let lower = suffix.to_ascii_lowercase();
    match lower.as_str() {
        "" => spoken_number(figures),
        "st" | "nd" | "rd" | "th" => number(figures).map(ordinal),
        "am" | "pm" => Some(format!("{} {}", number(figures).map(cardinal)?, lower.to_ascii_uppercase())),
        "s" => number(figures)
            .map(|n| if figures.len() == 4 { format!("{}'s", year(n)) } else { format!("{}'s", cardinal(n)) }),
        _ if lower.chars().all(|c| c.is_ascii_alphabetic()) => Some(format!("{} {suffix}", spoken_number(figures)?)),
        _ => None,
    }
}

fn spoken_number(figures: &str) -> Option<String> {
    if figures.contains('.') {
        return decimal(figures);
    }
    let value = number(figures)?;
    Some(match figures.len() {
        _ if figures.contains(',') => cardinal(value),
        2.. if figures.starts_with('0') => digits(figures),
        ..=3 => cardinal(value),
        4 if (1900..2100).contains(&value) => year(value),
        4..=6 if value.is_multiple_of(100) => cardinal(value),
        // Long numbers are account and order numbers here, not quantities.
        _ => digits(figures),
    })
}

fn decimal(figures: &str) -> Option<String> {
    let (whole, fraction) = figures.split_once('.')?;
    let all_digits = !fraction.is_empty() && fraction.chars().all(|c| c.is_ascii_digit());
    let whole = if whole.is_empty() { 0 } else { number(whole)? };
    all_digits.then(|| format!("{} point {}", cardinal(whole), digits(fraction)))
}

/// A whole number; commas only as thousands separators.
fn number(figures: &str) -> Option<u64> {
    let mut groups = figures.split(',');
    let first = groups.next()?;
    let grouped = groups.clone().next().is_some();
    if groups.any(|g| g.len() != 3) || (grouped && first.len() > 3) {
        return None;
    }
    figures.replace(',', "").parse().ok()
}

/// Anything else with digits in it, such as "555-1234", "A4" or "2026-11-22": each group for itself.
fn groups(core: &str) -> String {
    let mut out = String::new();
    let mut rest = core;
    let short = core.split('-').all(|g| (1..=2).contains(&g.len()) && g.chars().all(|c| c.is_ascii_digit()));
    let range = short && core.split('-').count() == 2;
    while let Some(first) = rest.chars().next() {
        let same = |c: char| {
            c.is_ascii_digit() == first.is_ascii_digit() && c.is_ascii_alphabetic() == first.is_ascii_alphabetic()
        };
        let (run, after) = rest.split_at(rest.find(|c| !same(c)).unwrap_or(rest.len()));
        match first {
            '0'..='9' if range => out.push_str(&cardinal(run.parse().unwrap_or_default())),
            '0'..='9' => out.push_str(&digits(run)),
            'a'..='z' | 'A'..='Z' => out.push_str(run),
            '-' if range => out.push_str("to"),
            '-' | '/' | ',' | ':' | '(' | ')' if !out.is_empty() => out.push(','),
            '.' => out.push_str("dot"),
            _ => out.push_str(SYMBOLS.iter().find(|(sign, _)| *sign == first).map_or("", |(_, name)| *name)),
        }
        out.push(' ');
        rest = after;
    }
    out
}

fn abbreviation(token: &str) -> Option<&'static str> {
    ABBREVIATIONS.iter().find(|(short, _)| short.eq_ignore_ascii_case(token)).map(|(_, long)| *long)
}

/// Typographic signs and accented letters in ASCII; scripts that the voice does not read are left out.
fn fold(c: char) -> impl Iterator<Item = char> {
    let text: &str = match c {
        '\u{2018}' | '\u{2019}' | '\u{02bc}' | '`' | '´' => "'",
        '\u{201c}' | '\u{201d}' | '«' | '»' => "\"",
        '\u{2010}' | '\u{2011}' | '\u{2212}' => "-",
        '\u{2013}' | '\u{2014}' => " , ",
        '…' => ".",
        'À'..='Å' => "A",
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'Æ' | 'æ' => "ae",
        'Ç' | 'Ć' | 'Č' => "C",
        'ç' | 'ć' | 'č' => "c",
        'È'..='Ë' => "E",
        'è'..='ë' | 'ē' | 'ę' | 'ě' => "e",
        'Ì'..='Ï' => "I",
        'ì'..='ï' | 'ī' | 'ı' => "i",
        'Ñ' | 'Ń' | 'Ň' => "N",
        'ñ' | 'ń' | 'ň' => "n",
        'Ò'..='Ö' | 'Ø' => "O",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'Œ' | 'œ' => "oe",
        'Ù'..='Ü' => "U",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
        'Ý' => "Y",
        'ý' | 'ÿ' => "y",
        'ß' => "ss",
        'Ł' => "L",
        'ł' => "l",
        'Š' | 'Ś' => "S",
        'š' | 'ś' => "s",
        'Ž' | 'Ź' | 'Ż' => "Z",
        'ž' | 'ź' | 'ż' => "z",
        'ř' => "r",
        'ð' | 'đ' | 'ď' => "d",
        '½' => " and a half ",
        '°' => " degrees ",
        _ => "",
    };
    let same = (c.is_ascii_graphic() && c != '`' || matches!(c, '£' | '€')).then_some(c);
    text.chars().chain(same)
}

const PUNCTUATION: &str = ",.?!;:";
const SYMBOLS: &[(char, &str)] = &[
    ('&', "and"),
    ('@', "at"),
    ('+', "plus"),
    ('=', "equals"),
    ('%', "percent"),
    ('#', "number"),
    ('$', "dollars"),
    ('£', "pounds"),
    ('€', "euros"),
];
type Unit = (&'static str, &'static str);
const MONEY: &[(char, Unit, Unit)] = &[
    ('$', ("dollar", "dollars"), ("cent", "cents")),
    ('£', ("pound", "pounds"), ("penny", "pence")),
    ('€', ("euro", "euros"), ("cent", "cents")),
];
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("mr.", "Mister"),
    ("mr", "Mister"),
    ("mrs.", "Missus"),
    ("mrs", "Missus"),
    ("ms.", "Miz"),
    ("dr.", "Doctor"),
    ("dr", "Doctor"),
    ("e.g.", "for example"),
    ("i.e.", "that is"),
    ("etc.", "et cetera"),
    ("etc", "et cetera"),
    ("vs.", "versus"),
    ("no.", "number"),
    ("a.m.", "AM"),
    ("p.m.", "PM"),
    ("am.", "AM"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_signs_and_abbreviations_are_read_out() {
        for (written, spoken) in [
            ("Your account 4711 is open.", "Your account four seven one one is open."),
            ("It costs £20, or $4.99!", "It costs twenty pounds, or four dollars and ninety nine cents!"),
            ("We open at 2:30 pm.", "We open at two thirty pm."),
            ("We close at 9:00pm, not 5:05 or 14:00.", "We close at nine PM, not five oh five or fourteen hundred."),
            ("At 10:00?", "At ten o'clock?"),
            ("The 21st of May 2026: 15% off", "The twenty first of May twenty twenty six: fifteen percent off"),
            (
                "1,250 people, 3.5 miles, -5 degrees",
                "one thousand two hundred fifty people, three point five miles, minus five degrees",
            ),
            ("Call 555-1234 or +44 20", "Call five five five, one two three four or plus four four twenty"),
            ("Room A4, pages 10-12, in 2 days", "Room A four, pages ten to twelve, in two days"),
            ("Mr. Smith & Dr. Jones, e.g. (both).", "Mister Smith and Doctor Jones, for example both."),
            ("caf\u{e9} \u{201c}na\u{ef}ve\u{201d} \u{2014} it\u{2019}s fine\u{2026}", "cafe naive, it's fine."),
            ("me@example.com", "me at example dot com"),
            ("$1 and $0.05 and \u{20ac}1,000", "one dollar and five cents and one thousand euros"),
            ("the U.S. and the 1990s", "the US and the nineteen ninety's"),
            ("3000 or 007 or 123456", "three thousand or zero zero seven or one two three four five six"),
            ("\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442} \u{1f600} \u{4f60}\u{597d}", ""),
            ("- -- \" ... !", ""),
            ("", ""),
        ] {
            assert_eq!(readable(written), spoken, "{written}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_in_only_letters_and_punctuation_come_out(text in any::<String>()) {
            let out = readable(&text);
            prop_assert!(out.chars().all(|c| c.is_ascii_alphabetic() || " ',.?!;:".contains(c)), "{out}");
        }

        #[test]
        fn figures_and_signs_in_any_order_do_no_harm(text in "[0-9a-zA-Z$£€%.,:/+#& -]{0,40}") {
            let out = readable(&text);
            prop_assert!(out.chars().all(|c| c.is_ascii_alphabetic() || " ',.?!;:".contains(c)), "{out}");
        }
    }
}
