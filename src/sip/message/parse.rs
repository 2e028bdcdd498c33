//! Bytes to messages (RFC 3261 sections 7 and 18.3), tolerant as RFC 4475 wants. Never fails without saying what was wrong and,
//! where a request can still be answered, with what of it could be read.

use super::headers::{Headers, is_token};
use super::uri::cannot_stand_in_a_line;
use super::{MAX_BODY, MAX_FIELD, MAX_FIELDS, Message, Method, Request, Response};
use bytes::Bytes;

/// How the end of a message is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One datagram, one message: without Content-Length the rest is the body, what lies behind it is ignored.
    Datagram,
    /// Cut out of a stream by Content-Length.
    Stream,
}

/// What could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The status to answer with.
    pub code: u16,
    /// What was wrong, fit for a reason phrase.
    pub what: String,
    /// As much of the request as could be read, to build the answer from; `None` for responses and for what is no SIP.
    pub request: Option<Box<Request>>,
}

/// Reads one message.
pub fn parse(bytes: &Bytes, framing: Framing) -> Result<Message, Malformed> {
    let mut lines = Lines { bytes, at: 0 };
    let mut start = lines.next();
    while start.is_some_and(<[u8]>::is_empty) {
        start = lines.next();
    }
    let start = text(start.unwrap_or_default());
    if start.get(..4).is_some_and(|version| version.eq_ignore_ascii_case("SIP/")) {
        return parse_response(&start, lines, framing);
    }
    let (request_line, version) = read_request_line(&start);
    let Some((method, uri)) = request_line else { return Err(Malformed::unanswerable("not a SIP message")) };
    let mut request = Request { method, uri: uri.to_owned(), headers: Headers::default(), body: Bytes::new() };
    let body = match read_headers(&mut lines, &mut request.headers) {
        _ if version == Version::Other => Err(Problem { code: 505, what: "only SIP/2.0 is spoken here" }),
        _ if !is_token(request.method.as_str()) => Err(Problem::bad("the method is no token")),
        _ if request.uri.is_empty() => Err(Problem::bad("the Request-Line has no Request-URI")),
        _ if request.uri.len() > MAX_FIELD => Err(Problem { code: 414, what: "the Request-URI is too long" }),
        _ if request.uri.contains(cannot_stand_in_a_line) => {
            Err(Problem::bad("the Request-URI holds white space or control characters"))
        }
        Ok(()) => read_body(&lines, &request.headers, framing),
        Err(problem) => Err(problem),
    };
    match body {
        Ok(body) => Ok(Message::Request(Request { body, ..request })),
        Err(Problem { code, what }) => Err(Malformed { code, what: what.to_owned(), request: Some(Box::new(request)) }),
    }
}

fn parse_response(start: &str, mut lines: Lines<'_>, framing: Framing) -> Result<Message, Malformed> {
    let unreadable = Malformed::unanswerable;
    let (version, rest) = start.split_once(' ').ok_or_else(|| unreadable("a Status-Line has no status"))?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(unreadable("a response of another SIP version"));
    }
    let (code, reason) = rest.trim_start().split_once(' ').unwrap_or((rest.trim(), ""));
    let code = match code.parse::<u16>() {
        Ok(number) if code.len() == 3 && (100..700).contains(&number) => number,
        _ => return Err(unreadable("a status code is out of range")),
    };
    let mut headers = Headers::default();
    read_headers(&mut lines, &mut headers).map_err(|problem| unreadable(problem.what))?;
    let body = read_body(&lines, &headers, framing).map_err(|problem| unreadable(problem.what))?;
    Ok(Message::Response(Response { code, reason: reason.trim().to_owned(), headers, body }))
}

impl Malformed {
    pub(super) fn unanswerable(what: &str) -> Self {
        Self { code: 400, what: what.to_owned(), request: None }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Two,
    Other,
}

struct Problem {
    code: u16,
    what: &'static str,
}

impl Problem {
    fn bad(what: &'static str) -> Self {
        Self { code: 400, what }
    }
}

/// Method and Request-URI, where the line ends like a Request-Line at all.
fn read_request_line(line: &str) -> (Option<(Method, &str)>, Version) {
    let line = line.trim();
    let Some((rest, version)) = line.rsplit_once([' ', '\t']) else { return (None, Version::Other) };
    if !version.get(..4).is_some_and(|v| v.eq_ignore_ascii_case("SIP/")) {
        return (None, Version::Other);
    }
    let version = if version.eq_ignore_ascii_case("SIP/2.0") { Version::Two } else { Version::Other };
    let (method, uri) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    (Some((Method::new(method), uri.trim())), version)
}

fn read_headers(lines: &mut Lines<'_>, headers: &mut Headers) -> Result<(), Problem> {
    // The field being read: name, and value so far. Continuation lines are joined by one space.
    let mut open: Option<(String, Vec<u8>)> = None;
    let outcome = loop {
        let Some(line) = lines.next() else { break Err(Problem::bad("no empty line ends the header fields")) };
        if line.is_empty() {
            break Ok(());
        }
        let folded = matches!(line.first(), Some(b' ' | b'\t'));
        if !folded && let Some((name, value)) = open.take() {
            headers.push_read(&name, value);
        }
        if headers.len() >= MAX_FIELDS {
            break Err(Problem { code: 513, what: "too many header fields" });
        }
        let (target, part) = if folded {
            (open.as_mut().map(|(_, value)| value), line)
        } else {
            let colon = line.iter().position(|b| *b == b':').unwrap_or(0);
            let (name, rest) = line.split_at(colon);
            let name = text(name.trim_ascii_end());
            // A line that is no header field says nothing we need (RFC 3261 section 8.1.3.4 in spirit): skipped.
            if !is_token(&name) {
                continue;
            }
            (Some(&mut open.insert((name, Vec::new())).1), rest.get(1..).unwrap_or_default())
        };
        let Some(value) = target else { continue };
        if value.len() + line.len() > MAX_FIELD {
            break Err(Problem { code: 513, what: "a header field is too long" });
        }
        let part = part.trim_ascii();
        if !value.is_empty() && !part.is_empty() {
            value.push(b' ');
        }
        value.extend(part.iter().map(|b| if *b == b'\r' { b' ' } else { *b }));
    };
    if let Some((name, value)) = open.take() {
        headers.push_read(&name, value);
    }
    outcome
}

fn read_body(lines: &Lines<'_>, headers: &Headers, framing: Framing) -> Result<Bytes, Problem> {
    let rest = lines.bytes.slice(lines.at.min(lines.bytes.len())..);
    let too_large = Problem { code: 413, what: "the body is too large" };
    match content_length(headers)? {
        Some(length) if length > MAX_BODY => Err(too_large),
        Some(length) if length > rest.len() => Err(Problem::bad("Content-Length is larger than the body")),
        Some(length) => Ok(rest.slice(..length)),
        None if framing == Framing::Datagram && rest.len() > MAX_BODY => Err(too_large),
        None if framing == Framing::Datagram => Ok(rest),
        None => Err(Problem::bad("no Content-Length on a stream")),
    }
}

fn content_length(headers: &Headers) -> Result<Option<usize>, Problem> {
    let mut found = None;
    for field in headers.fields_of("Content-Length") {
        let value = field.value.as_str();
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Problem::bad("Content-Length is not a number"));
        }
        let length = value.parse::<usize>().map_err(|_| Problem::bad("Content-Length is out of range"))?;
        if found.is_some_and(|other| other != length) {
            return Err(Problem::bad("two different Content-Length"));
        }
        found = Some(length);
    }
    Ok(found)
}

/// Lines ended by CRLF, or by LF alone from peers that do not know better.
struct Lines<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let end = rest.iter().position(|b| *b == b'\n')?;
        self.at += end + 1;
        let line = rest.get(..end)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Message, Malformed> {
        parse(&Bytes::copy_from_slice(text.as_bytes()), Framing::Datagram)
    }

    fn request(text: &str) -> Request {
        match read(text) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn folding_odd_case_compact_names_and_missing_content_length_are_fine() {
        let read = request(
            "\r\n\r\nINVITE  sip:a@h   SIP/2.0  \r\nsubject :\r\n one\r\n\ttwo  \r\nX-A:b\r\nnonsense\r\n\r\nbody",
        );
        assert_eq!((read.method, read.uri.as_str()), (Method::Invite, "sip:a@h"));
        assert_eq!(read.headers.pairs(), [("subject".into(), "one two".into()), ("X-A".into(), "b".into())]);
        assert_eq!(read.body, "body");
        assert_eq!(request("BYE sip:a@h SIP/2.0\nl: 2\n\nabcd").body, "ab");
    }

    #[test]
    fn bytes_that_are_no_utf8_cost_nothing_else_and_go_back_as_they_came() {
        let bytes = Bytes::from_static(b"BYE sip:a@h SIP/2.0\r\nFrom: \"J\xf6rg\" <sip:a@h>;tag=1\r\nX: y\r\n\r\n");
        let Ok(Message::Request(read)) = parse(&bytes, Framing::Datagram) else { panic!() };
        assert_eq!(read.headers.first("From"), Some("\"Jörg\" <sip:a@h>;tag=1"));
        assert_eq!(read.headers.first("X"), Some("y"));
        assert!(read.to_bytes().windows(4).any(|window| window == b"J\xf6rg"));
    }

    #[test]
    fn what_is_wrong_is_said_and_the_rest_kept_for_the_answer() {
        for (text, code, what) in [
            ("INVITE sip:a@h SIP/2.0\r\nl: 9\r\nVia: v\r\n\r\nabc", 400, "Content-Length is larger than the body"),
            ("INVITE sip:a@h SIP/2.0\r\nl: -9\r\nVia: v\r\n\r\n", 400, "Content-Length is not a number"),
            (
                "INVITE sip:a@h SIP/2.0\r\nl: 99999999999999999999999\r\nVia: v\r\n\r\n",
                400,
                "Content-Length is out of range",
            ),
            ("INVITE sip:a@h SIP/2.0\r\nl: 1\r\nl: 2\r\nVia: v\r\n\r\nabc", 400, "two different Content-Length"),
            (
                "INVITE sip:a@h; lr SIP/2.0\r\nVia: v\r\n\r\n",
                400,
                "the Request-URI holds white space or control characters",
            ),
            ("INVITE \0\0 SIP/2.0\r\nVia: v\r\n\r\n", 400, "the Request-URI holds white space or control characters"),
            ("INVITE SIP/2.0\r\nVia: v\r\n\r\n", 400, "the Request-Line has no Request-URI"),
            ("INV{ITE sip:a@h SIP/2.0\r\nVia: v\r\n\r\n", 400, "the method is no token"),
            ("INVITE sip:a@h SIP/7.0\r\nVia: v\r\n\r\n", 505, "only SIP/2.0 is spoken here"),
            ("INVITE sip:a@h SIP/2.0\r\nVia: v\r\n", 400, "no empty line ends the header fields"),
        ] {
            let malformed = read(text).unwrap_err();
            assert_eq!((malformed.code, malformed.what.as_str()), (code, what), "{text}");
            assert_eq!(malformed.request.unwrap().headers.first("Via"), Some("v"), "{text}");
        }
    }

    #[test]
    fn what_is_no_sip_and_broken_responses_are_never_answered() {
        for text in [
            "",
            "\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "hello\r\n\r\n",
            "SIP/2.0 4294967301 x\r\n\r\n",
            "SIP/2.0 99 x\r\n\r\n",
            "SIP/2.0\r\n\r\n",
            "SIP/2.0 200 OK\r\nl: 9\r\n\r\n",
        ] {
            assert_eq!(read(text).unwrap_err().request, None, "{text}");
        }
        let Ok(Message::Response(response)) = read("SIP/2.0 100 \r\nl:0\r\n\r\n") else { panic!() };
        assert_eq!((response.code, response.reason.as_str()), (100, ""));
    }

    #[test]
    fn size_is_bounded() {
        let many = format!("BYE sip:a@h SIP/2.0\r\n{}\r\n", "X: y\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(read(&many).unwrap_err().what, "too many header fields");
        let long = format!("BYE sip:a@h SIP/2.0\r\nX: {}\r\n\r\n", "y".repeat(MAX_FIELD));
        assert_eq!(read(&long).unwrap_err().what, "a header field is too long");
        let folded = format!("BYE sip:a@h SIP/2.0\r\nX: y{}\r\n\r\n", "\r\n y".repeat(MAX_FIELD));
        assert_eq!(read(&folded).unwrap_err().what, "a header field is too long");
        let body = "b".repeat(MAX_BODY + 1);
        for length in ["", "l: 32769\r\n"] {
            let large = read(&format!("BYE sip:a@h SIP/2.0\r\n{length}\r\n{body}")).unwrap_err();
            assert_eq!((large.code, large.what.as_str()), (413, "the body is too large"));
        }
        assert_eq!(request(&format!("BYE sip:a@h SIP/2.0\r\nl: {MAX_BODY}\r\n\r\n{body}")).body.len(), MAX_BODY);
    }

    #[test]
    fn a_stream_needs_a_content_length() {
        let bytes = Bytes::from_static(b"BYE sip:a@h SIP/2.0\r\n\r\n");
        assert_eq!(parse(&bytes, Framing::Stream).unwrap_err().what, "no Content-Length on a stream");
    }
}
