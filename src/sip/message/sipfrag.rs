//! Status lines in `message/sipfrag` bodies (RFC 3420): what a NOTIFY tells of a REFER (RFC 3515 section 2.4.5).

use super::body::media_type;
use super::headers::Headers;

/// Why a body tells no status although one was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSipfrag {
    /// Another type, or encoded.
    UnsupportedType,
    /// It does not begin with a status line.
    Malformed,
}

/// The status code in a body, 100 to 699; `None` where there is no body.
pub fn sipfrag_status(headers: &Headers, body: &[u8]) -> Result<Option<u16>, NoSipfrag> {
    let body = body.trim_ascii_start();
    if body.is_empty() {
        return Ok(None);
    }
    // Peers that forget the type send a status line all the same.
    let right_type = headers.first("Content-Type").is_none_or(|value| media_type(value).0 == "message/sipfrag");
    if !right_type || headers.list("Content-Encoding").iter().any(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(NoSipfrag::UnsupportedType);
    }
    status(body).map(Some).ok_or(NoSipfrag::Malformed)
}

/// `SIP/2.0 200 OK`; the phrase may hold anything, or be missing.
fn status(body: &[u8]) -> Option<u16> {
    let line = body.split(|b| matches!(b, b'\r' | b'\n')).next()?;
    let (version, rest) = line.split_at_checked(VERSION.len())?;
    let (digits, phrase) = rest.trim_ascii_start().split_at_checked(3)?;
    let spaced = rest.starts_with(b" ") && (phrase.is_empty() || phrase.starts_with(b" "));
    if !version.eq_ignore_ascii_case(VERSION) || !spaced || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (100..700).contains(&code).then_some(code)
}

const VERSION: &[u8] = b"SIP/2.0";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(media: Option<&str>, body: &[u8]) -> Result<Option<u16>, NoSipfrag> {
        let mut headers = Headers::default();
        if let Some(media) = media {
            headers.push("c", media);
        }
        sipfrag_status(&headers, body)
    }

    #[test]
    fn the_status_line_is_read_whatever_stands_behind_it() {
        for (body, code) in [
            (&b"SIP/2.0 100 Trying"[..], 100),
            (b"SIP/2.0 200 OK\r\n", 200),
            (b"SIP/2.0 503 Service Unavailable\r\nContact: <sip:a@h>\r\n\r\n", 503),
            (b"sip/2.0 180\n", 180),
            (b"\r\nSIP/2.0 603 \xff\xfe", 603),
        ] {
            assert_eq!(read(Some("message/sipfrag;version=2.0"), body), Ok(Some(code)));
            assert_eq!(read(None, body), Ok(Some(code)));
        }
        assert_eq!(read(Some("message/sipfrag"), b""), Ok(None));
        assert_eq!(read(None, b" \r\n"), Ok(None));
    }

    #[test]
    fn what_is_no_status_line_is_malformed_and_what_is_no_sipfrag_unsupported() {
        for body in [
            &b"INVITE sip:a@h SIP/2.0"[..],
            b"SIP/2.0",
            b"SIP/2.0 ",
            b"SIP/2.0 20",
            b"SIP/2.0 2000 OK",
            b"SIP/2.0 099 Low",
            b"SIP/2.0 700 High",
            b"SIP/2.0 -10 x",
            b"SIP/2.0200 OK",
            b"SIP/3.0 200 OK",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            "SIP/2.0 ２００ OK".as_bytes(),
            b"Contact: <sip:a@h>",
        ] {
            assert_eq!(read(Some("message/sipfrag"), body), Err(NoSipfrag::Malformed), "{body:?}");
        }
        for media in ["text/plain", "message/sip", "application/sdp", "", "message/sipfragment"] {
            assert_eq!(read(Some(media), b"SIP/2.0 200 OK"), Err(NoSipfrag::UnsupportedType), "{media}");
        }
        let mut encoded = Headers::default();
        encoded.push("Content-Encoding", "gzip");
        assert_eq!(sipfrag_status(&encoded, b"SIP/2.0 200 OK"), Err(NoSipfrag::UnsupportedType));
    }
}
