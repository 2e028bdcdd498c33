//! Durations as people write them: `"7s"`, `"250ms"`, `"1m30s"`, `"30d"`; the same form comes back out.

use std::time::Duration;

/// Reads a duration; `None` when it is not one.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        let (unit, tail) = tail.split_at_checked(letters)?;
        let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*milliseconds)?)?;
        rest = tail.trim_start();
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

/// Writes a duration in its largest exact unit, so that `parse` gives it back.
pub(super) fn show(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let (unit, size) = UNITS.iter().find(|(_, size)| milliseconds.is_multiple_of(*size)).unwrap_or(&("ms", 1));
    format!("{}{unit}", milliseconds / size)
}

/// Units and their milliseconds, largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(parse("7s"), Some(Duration::from_secs(7)));
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1h 5m"), Some(Duration::from_secs(3900)));
        assert_eq!(parse("30d"), Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        for wrong in ["", "7", "s", "7 s", "-1s", "1.5s", "7sec", "99999999999999999999s", "999999999999999999d", "7S"]
        {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(milliseconds in 0u64..10_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&show(duration)), Some(duration));
        }
    }
}
