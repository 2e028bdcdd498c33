//! Checks of single values; each error says what would be right.

use super::duration;
use super::passed::Passed;
use std::time::Duration;

/// A duration from `least` to `most`.
pub(super) fn between(least: Duration, most: Duration) -> impl Fn(&Duration) -> Result<(), String> {
    move |value| match (least..=most).contains(value) {
        true => Ok(()),
        false => Err(format!(
            "must be from \"{}\" to \"{}\", not \"{}\"",
            duration::show(least),
            duration::show(most),
            duration::show(*value)
        )),
    }
}

/// A whole number from `least` to `most`.
pub(super) fn within<T: PartialOrd + std::fmt::Display>(least: T, most: T) -> impl Fn(&T) -> Result<(), String> {
    move |value| match (&least..=&most).contains(&value) {
        true => Ok(()),
        false => Err(format!("must be from {least} to {most}, not {value}")),
    }
}

/// Numbers of cores, each once.
#[expect(clippy::ptr_arg, reason = "the shape of all checks")]
pub(super) fn cores(cores: &Vec<u16>) -> Result<(), String> {
    if let Some(beyond) = cores.iter().find(|core| **core >= MOST_CORES) {
        return Err(format!("must be numbers of cores from 0 to {}, not {beyond}", MOST_CORES - 1));
    }
    match cores.iter().enumerate().find(|(index, core)| cores.iter().take(*index).any(|before| before == *core)) {
        Some((_, twice)) => Err(format!("names core {twice} twice")),
        None if cores.len() > MOST_WORKERS => Err(format!("must name at most {MOST_WORKERS} cores")),
        None => Ok(()),
    }
}

/// A number from 0 to 1.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape of all checks")]
pub(super) fn within_unit(value: &f64) -> Result<(), String> {
    within(0.0, 1.0)(value)
}

/// A header name (RFC 3261 section 25.1, token).
pub(super) fn token(name: &String) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    match !name.is_empty() && name.bytes().all(allowed) {
        true => Ok(()),
        false => Err(format!("must be a SIP header name, not {name:?}")),
    }
}

/// Header names, a trailing `wildcard` allowed. Where `instead` is not empty the list must not be.
pub(super) fn tokens(instead: &'static str, wildcard: &'static str) -> impl Fn(&Vec<String>) -> Result<(), String> {
    move |names| {
        if names.is_empty() && !instead.is_empty() {
            return Err(format!("must name at least one header; {instead}"));
        }
        names.iter().filter(|name| wildcard.is_empty() || *name != wildcard).try_for_each(token)
    }
}

/// Text that is not empty.
#[expect(clippy::ptr_arg, reason = "the shape of all checks")]
pub(super) fn not_empty(text: &String) -> Result<(), String> {
    if text.trim().is_empty() { Err("must not be empty".to_owned()) } else { Ok(()) }
}

/// Text that can be spoken in one request (Text to Speech takes 5 KB).
#[expect(clippy::ptr_arg, reason = "the shape of all checks")]
pub(super) fn short(text: &String) -> Result<(), String> {
    within(0, 4000)(&text.len()).map_err(|_| format!("must be at most 4000 bytes long, not {}", text.len()))
}

/// An identifier that stands in a URL's path.
pub(super) fn path_segment(id: &Option<String>) -> Result<(), String> {
    match id {
        Some(id) if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') => {
            Err(format!("must be an id of letters, digits, - and _, not {id:?}"))
        }
        _ => Ok(()),
    }
}

/// A date as API versions are.
pub(super) fn date(text: &String) -> Result<(), String> {
    match text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok() {
        true => Ok(()),
        false => Err(format!("must be a date such as \"2024-08-25\", not {text:?}")),
    }
}

/// A CXone API version.
pub(super) fn api_version(text: &String) -> Result<(), String> {
    let number = |part: &str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
    match text.strip_prefix('v').and_then(|rest| rest.split_once('.')) {
        Some((major, minor)) if number(major) && number(minor) => Ok(()),
        _ => Err(format!("must look like \"v30.0\", not {text:?}")),
    }
}

/// A level, or levels by module.
pub(super) fn log_level(text: &String) -> Result<(), String> {
    let is_level = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
    // Only ours: at `debug` some libraries print what they carry.
    let is_target = |word: &str| {
        let path = word.strip_prefix("voice_gateway").unwrap_or("-");
        (path.is_empty() || path.starts_with("::"))
            && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b))
    };
    let right = text.split(',').map(str::trim).all(|piece| match piece.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(piece),
    });
    match right {
        true => Ok(()),
        false => Err(format!(
            "must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\", or levels by module such as \
             \"info,voice_gateway::call=debug\", not {text:?}"
        )),
    }
}

/// Sources of CSP `frame-ancestors`.
pub(super) fn frame_ancestors(sources: &Vec<String>) -> Result<(), String> {
    let is_host = |host: &str| {
        let host = host.strip_prefix("*.").unwrap_or(host);
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
    };
    for source in sources {
        let right = match source.as_str() {
            "'self'" => true,
            "'none'" => sources.len() == 1,
            other => other.strip_prefix("https://").or_else(|| other.strip_prefix("http://")).is_some_and(is_host),
        };
        if !right {
            return Err(format!(
                "must be \"'self'\", \"https://host\" or \"https://*.domain\", or \"'none'\" alone, not {source:?}"
            ));
        }
    }
    Ok(())
}

/// Parameters of Speech to Text that are not the gateway's own.
pub(super) fn recognize(passed: &Passed) -> Result<(), String> {
    not_ours(passed, &["action", "content-type", "interim_results", "continuous", "inactivity_timeout"])
}

/// Parameters of Text to Speech that are not the gateway's own.
pub(super) fn synthesize(passed: &Passed) -> Result<(), String> {
    not_ours(passed, &["text", "accept", "voice"])
}

fn not_ours(passed: &Passed, ours: &[&str]) -> Result<(), String> {
    match passed.keys().find(|key| ours.contains(&key.as_str())) {
        Some(key) => Err(format!("must not hold {key}: the gateway sets it")),
        None => Ok(()),
    }
}

/// What the kernel's sets of cores hold.
const MOST_CORES: u16 = 1024;
/// Threads that pace RTP.
const MOST_WORKERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words_not_typos() {
        for right in ["info", "debug", "info,voice_gateway::call=debug", "warn, voice_gateway=trace", "off"] {
            assert_eq!(log_level(&right.to_owned()), Ok(()), "{right}");
        }
        for wrong in
            ["inof", "", "info,", "voice_gateway=loud", "=info", "verbose", "info,hyper=debug", "voice_gatewayx=info"]
        {
            assert!(log_level(&wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn frame_ancestors_cannot_break_out_of_the_policy() {
        for right in ["'self'", "https://*.niceincontact.com", "http://localhost:3000", "https://[::1]:8443"] {
            assert_eq!(frame_ancestors(&vec![right.to_owned()]), Ok(()), "{right}");
        }
        for wrong in [
            "*",
            "https://",
            "https://a; script-src *",
            "https://a b",
            "self",
            "javascript:",
            "https://a,b",
            "https://a\r\nX: y",
        ] {
            assert!(frame_ancestors(&vec![wrong.to_owned()]).is_err(), "{wrong}");
        }
        assert_eq!(frame_ancestors(&vec!["'none'".to_owned()]), Ok(()));
        assert!(frame_ancestors(&vec!["'none'".to_owned(), "'self'".to_owned()]).is_err());
    }

    #[test]
    fn versions_and_dates() {
        assert!(api_version(&"v30.0".to_owned()).is_ok());
        for wrong in ["30.0", "v30", "v30.0/../x", "v.0", "v30."] {
            assert!(api_version(&wrong.to_owned()).is_err(), "{wrong}");
        }
        assert!(date(&"2024-08-25".to_owned()).is_ok());
        for wrong in ["2024-13-01", "today", "2024-8-25", "2024-08-25T00:00"] {
            assert!(date(&wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
