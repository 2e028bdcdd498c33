//! English words for numbers, for what is spoken and for what was heard.

/// `4711` as "four thousand seven hundred eleven".
#[must_use]
pub fn cardinal(number: u64) -> String {
    let mut words = Vec::new();
    push_cardinal(number, &mut words);
    words.join(" ")
}

/// `21` as "twenty first".
#[must_use]
pub fn ordinal(number: u64) -> String {
    let words = cardinal(number);
    let (head, last) = words.rsplit_once(' ').map_or(("", words.as_str()), |(head, last)| (head, last));
    let last = match IRREGULAR_ORDINALS.iter().find(|(cardinal, _)| *cardinal == last) {
        Some((_, ordinal)) => (*ordinal).to_owned(),
        None => match last.strip_suffix('y') {
            Some(stem) => format!("{stem}ieth"),
            None => format!("{last}th"),
        },
    };
    if head.is_empty() { last } else { format!("{head} {last}") }
}

/// `4711` as "four seven one one"; what is no digit is left out.
#[must_use]
pub fn digits(text: &str) -> String {
    let words: Vec<&str> = text.chars().filter_map(|c| ONES.get(c.to_digit(10)? as usize).copied()).collect();
    words.join(" ")
}

/// `1995` as "nineteen ninety five", `2005` as "two thousand five", `1905` as "nineteen oh five".
#[must_use]
pub fn year(number: u64) -> String {
    match (number / 100, number % 100) {
        (_, _) if (2000..2010).contains(&number) => cardinal(number),
        (century, 0) => format!("{} hundred", cardinal(century)),
        (century, rest @ 1..=9) => format!("{} oh {}", cardinal(century), cardinal(rest)),
        (century, rest) => format!("{} {}", cardinal(century), cardinal(rest)),
    }
}

fn push_cardinal(number: u64, words: &mut Vec<&'static str>) {
    for (value, name) in SCALES {
        if number >= *value {
            push_cardinal(number / value, words);
            words.push(name);
            if !number.is_multiple_of(*value) {
                push_cardinal(number % value, words);
            }
            return;
        }
    }
    let (tens, ones) = (number as usize / 10, number as usize % 10);
    match TENS.get(tens.wrapping_sub(2)) {
        Some(name) => {
            words.push(name);
            if ones > 0 {
                words.extend(ONES.get(ones));
            }
        }
        None => words.extend(ONES.get(number as usize)),
    }
}

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: &[(u64, &str)] = &[
    (1_000_000_000_000_000_000, "quintillion"),
    (1_000_000_000_000_000, "quadrillion"),
    (1_000_000_000_000, "trillion"),
    (1_000_000_000, "billion"),
    (1_000_000, "million"),
    (1_000, "thousand"),
    (100, "hundred"),
];
const IRREGULAR_ORDINALS: &[(&str, &str)] = &[
    ("one", "first"),
    ("two", "second"),
    ("three", "third"),
    ("five", "fifth"),
    ("eight", "eighth"),
    ("nine", "ninth"),
    ("twelve", "twelfth"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_say_them() {
        assert_eq!(cardinal(0), "zero");
        assert_eq!(cardinal(13), "thirteen");
        assert_eq!(cardinal(90), "ninety");
        assert_eq!(cardinal(4711), "four thousand seven hundred eleven");
        assert_eq!(cardinal(1_000_020), "one million twenty");
        assert!(cardinal(u64::MAX).starts_with("eighteen quintillion "));
        assert_eq!(ordinal(21), "twenty first");
        assert_eq!(ordinal(20), "twentieth");
        assert_eq!(ordinal(12), "twelfth");
        assert_eq!(ordinal(100), "one hundredth");
        assert_eq!(digits("4711"), "four seven one one");
        assert_eq!(
            (year(1995), year(1905), year(2026)),
            ("nineteen ninety five".into(), "nineteen oh five".into(), "twenty twenty six".into())
        );
        assert_eq!((year(1900), year(2005)), ("nineteen hundred".into(), "two thousand five".into()));
    }
}
