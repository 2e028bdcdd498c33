//! What bodies hold for us: a session description, alone or as a part of a multipart (RFC 5621), and keys sent by INFO.

use super::headers::{Headers, same_name};
use super::values::Params;
use bytes::Bytes;

/// Why a body gives no session description although one was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDescription {
    /// Not a type we understand, and its handling is required.
    UnsupportedType,
    /// Encoded (Content-Encoding).
    Encoded,
}

/// The application/sdp of a body; `None` where there is no body, or only one that may be ignored.
pub fn session_description(headers: &Headers, body: &Bytes) -> Result<Option<Bytes>, NoDescription> {
    if body.is_empty() {
        return Ok(None);
    }
    if headers.list("Content-Encoding").iter().any(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(NoDescription::Encoded);
    }
    let Some(content_type) = headers.first("Content-Type") else {
        // Peers that forget the type send a description all the same.
        return if body.starts_with(b"v=") { Ok(Some(body.clone())) } else { Err(NoDescription::UnsupportedType) };
    };
    let (media, params) = media_type(content_type);
    if media == "application/sdp" {
        return Ok(Some(body.clone()));
    }
    if media.starts_with("multipart/")
        && let Some(boundary) = params.as_ref().and_then(|params| params.value("boundary"))
        && let boundary = boundary.trim_matches('"')
        && boundary.len() <= LONGEST_BOUNDARY
        && let Some(part) = sdp_part(body, boundary)
    {
        return Ok(Some(part));
    }
    let optional =
        headers.first("Content-Disposition").and_then(|value| Params::parse(Params::behind(value).1).ok()).is_some_and(
            |params| params.value("handling").is_some_and(|handling| handling.eq_ignore_ascii_case("optional")),
        );
    if optional { Ok(None) } else { Err(NoDescription::UnsupportedType) }
}

/// The key in an INFO: `application/dtmf-relay` (`Signal=5`) or `application/dtmf` (`5`). `None` when it is another body.
#[must_use]
pub fn dtmf_digit(headers: &Headers, body: &[u8]) -> Option<char> {
    let (media, _) = media_type(headers.first("Content-Type")?);
    let text = std::str::from_utf8(body).ok()?;
    let key = match media.as_str() {
        "application/dtmf-relay" => text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        })?,
        "application/dtmf" => text.trim(),
        _ => return None,
    };
    match key {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => {
            let mut characters = key.chars();
            let digit = characters.next()?.to_ascii_uppercase();
            (characters.next().is_none() && matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D')).then_some(digit)
        }
    }
}

/// Type and subtype in lower case without white space, and the parameters.
pub(super) fn media_type(value: &str) -> (String, Option<Params>) {
    let (media, params) = Params::behind(value);
    let media = media.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
    (media, Params::parse(params).ok())
}

/// The first application/sdp part.
fn sdp_part(body: &Bytes, boundary: &str) -> Option<Bytes> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let mut at = find(body, &delimiter)?;
    // A hostile body cannot make this slow: every round moves behind a delimiter.
    loop {
        let start = at + delimiter.len();
        let rest = body.get(start..)?;
        if rest.starts_with(b"--") {
            return None;
        }
        let end = start + find(rest, &delimiter)?;
        let part = body.slice(start..end);
        if let Some(content) = sdp_content(&part) {
            return Some(content);
        }
        at = end;
    }
}

fn sdp_content(part: &Bytes) -> Option<Bytes> {
    let head = find(part, b"\r\n\r\n")?;
    let is_sdp = part.get(..head)?.split(|b| *b == b'\n').any(|line| {
        let line = String::from_utf8_lossy(line);
        line.split_once(':').is_some_and(|(name, value)| {
            same_name(name.trim(), "Content-Type") && media_type(value).0 == "application/sdp"
        })
    });
    let content = part.get(head + 4..)?;
    let trimmed = content.strip_suffix(b"\r\n").unwrap_or(content).len();
    is_sdp.then(|| part.slice(head + 4..head + 4 + trimmed))
}

/// RFC 2046 section 5.1.1.
const LONGEST_BOUNDARY: usize = 70;

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_found_alone_or_in_a_multipart() {
        let sdp = Bytes::from_static(b"v=0\r\no=x\r\n");
        for fields in [&[("c", "application/SDP; charset=x")][..], &[("Content-Type", "application / sdp")], &[]] {
            assert_eq!(session_description(&Headers::of(fields), &sdp), Ok(Some(sdp.clone())), "{fields:?}");
        }
        let mixed = Bytes::from_static(
            b"--x\r\nContent-Type: text/plain\r\n\r\nHi\r\n--x\r\nc: application/sdp\r\n\r\nv=0\r\no=x\r\n\r\n--x--\r\n",
        );
        let fields = Headers::of(&[("Content-Type", "multipart/mixed;boundary=\"x\"")]);
        assert_eq!(session_description(&fields, &mixed), Ok(Some(sdp)));
        assert_eq!(session_description(&fields, &Bytes::new()), Ok(None));
    }

    #[test]
    fn other_bodies_are_refused_unless_they_may_be_ignored() {
        let body = Bytes::from_static(b"--x\r\nContent-Type: text/plain\r\n\r\nHi\r\n--x--");
        for (fields, verdict) in [
            (&[("Content-Type", "text/plain")][..], Err(NoDescription::UnsupportedType)),
            (&[("Content-Type", "multipart/mixed;boundary=x")], Err(NoDescription::UnsupportedType)),
            (&[("Content-Type", "multipart/mixed")], Err(NoDescription::UnsupportedType)),
            (&[("Content-Type", "application/sdp"), ("e", "gzip")], Err(NoDescription::Encoded)),
            (&[("Content-Type", "x/y"), ("Content-Disposition", "session;handling=optional")], Ok(None)),
            (&[], Err(NoDescription::UnsupportedType)),
        ] {
            assert_eq!(session_description(&Headers::of(fields), &body), verdict, "{fields:?}");
        }
    }

    #[test]
    fn keys_by_info_are_read_in_both_types() {
        for (media, body, digit) in [
            ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", Some('5')),
            ("application/dtmf-relay", "Duration = 160\nsignal = # ", Some('#')),
            ("application/dtmf-relay", "Signal=10", Some('*')),
            ("application/dtmf", "a", Some('A')),
            ("application/dtmf", "55", None),
            ("application/dtmf", "", None),
            ("text/plain", "5", None),
        ] {
            assert_eq!(dtmf_digit(&Headers::of(&[("Content-Type", media)]), body.as_bytes()), digit, "{media} {body}");
        }
    }
}
