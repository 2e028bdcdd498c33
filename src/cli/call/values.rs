//! What the options of `call` may say.

use crate::app::phone::{self, Transport};
use crate::media::sdp::{Codec, Encryption};
use std::time::Duration;

pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written 'X-Name: value'")?;
    let (name, value) = (name.trim(), value.trim());
    let token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    if name.is_empty() || !name.chars().all(token) || value.chars().any(char::is_control) {
        return Err("a header is written 'X-Name: value'".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn digits(text: &str) -> Result<String, String> {
    match text.chars().find(|key| !"0123456789*#ABCDabcd".contains(*key)) {
        None => Ok(text.to_owned()),
        Some(wrong) => Err(format!("{wrong:?} is no key: 0-9, *, # and A-D are")),
    }
}

pub(super) fn transport(text: &str) -> Result<Transport, String> {
    match text.to_ascii_lowercase().as_str() {
        "udp" => Ok(Transport::Udp),
        "tcp" => Ok(Transport::Tcp),
        "tls" => Ok(Transport::Tls),
        _ => Err("udp, tcp and tls are".to_owned()),
    }
}

pub(super) fn codec(text: &str) -> Result<Codec, String> {
    let known = phone::CODECS.iter().copied();
    known.clone().find(|codec| codec.name().eq_ignore_ascii_case(text)).ok_or_else(|| {
        let names: Vec<&str> = known.map(Codec::name).collect();
        format!("{} are", names.join(", "))
    })
}

pub(super) fn srtp(text: &str) -> Result<Encryption, String> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Ok(Encryption::Off),
        "optional" => Ok(Encryption::Optional),
        "required" => Ok(Encryption::Required),
        _ => Err("off, optional and required are".to_owned()),
    }
}

/// A length of time with its unit; seconds without one.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        text.split_at(text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len());
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => return Err("write 500ms, 2s or 1m".to_owned()),
    };
    let seconds: f64 = number.parse().map_err(|_| "write 500ms, 2s or 1m")?;
    Duration::try_from_secs_f64(seconds * scale)
        .ok()
        .filter(|long| *long <= LONGEST)
        .ok_or_else(|| "at most a day".to_owned())
}

const LONGEST: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_keys_are_read_and_wrong_ones_named() {
        assert_eq!(header("X-A: b: c"), Ok(("X-A".to_owned(), "b: c".to_owned())));
        assert!(header("X-A").is_err());
        assert!(header(": b").is_err());
        assert!(header("X A: b").is_err());
        assert!(header("X-A: b\r\nVia: c").is_err());
        assert_eq!(digits("12*#aD"), Ok("12*#aD".to_owned()));
        assert!(digits("12x").is_err_and(|wrong| wrong.contains("'x'")));
    }

    #[test]
    fn times_transports_and_codecs_are_read_and_wrong_ones_refused() {
        for (text, milliseconds) in [("500ms", 500), ("2s", 2_000), ("0.25", 250), ("1m", 60_000), ("0", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "ms", "1h", "-1s", "1e9", "1.2.3s", "99999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!((transport("TCP"), codec("pcma")), (Ok(Transport::Tcp), Ok(Codec::Pcma)));
        assert_eq!(codec("g722"), Ok(Codec::G722));
        assert!(transport("sctp").is_err());
        assert!(codec("G729").is_err_and(|wrong| wrong.starts_with("PCMU, PCMA, G722")));
        assert_eq!(srtp("Required"), Ok(Encryption::Required));
        assert!(srtp("maybe").is_err());
    }
}
