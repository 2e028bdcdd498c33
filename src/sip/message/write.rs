//! Messages to bytes (RFC 3261 section 7). Content-Length is always ours and always right; values cannot hold CR, LF or NUL.

use super::headers::{Headers, same_name};
use super::{Message, Request, Response};
use bytes::{BufMut as _, Bytes, BytesMut};

impl Message {
    /// The message for the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Request(request) => request.to_bytes(),
            Self::Response(response) => response.to_bytes(),
        }
    }
}

impl Request {
    /// The request for the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let start = format!("{} {} SIP/2.0", self.method, self.uri);
        write(&start, &self.headers, &self.body)
    }
}

impl Response {
    /// The response for the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let start = format!("SIP/2.0 {:03} {}", self.code, self.reason);
        write(&start, &self.headers, &self.body)
    }
}

fn write(start: &str, headers: &Headers, body: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(512 + body.len());
    out.extend(start.bytes().filter(|b| !matches!(b, b'\r' | b'\n' | 0)));
    out.put_slice(b"\r\n");
    let length = body.len().to_string();
    let mut measured = false;
    for field in headers.iter() {
        let value = if same_name(&field.name, "Content-Length") {
            if std::mem::replace(&mut measured, true) {
                continue;
            }
            length.as_bytes()
        } else {
            field.bytes()
        };
        put_field(&mut out, field.name.as_bytes(), value);
    }
    if !measured {
        put_field(&mut out, b"Content-Length", length.as_bytes());
    }
    out.put_slice(b"\r\n");
    out.put_slice(body);
    out.freeze()
}

fn put_field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::{Framing, Method, parse};
    use super::*;
    use proptest::prelude::*;

    fn messages() -> impl Strategy<Value = Message> {
        let field = ("[A-Za-z][A-Za-z0-9-]{1,12}", "([!-~é]{1,20}( [!-~é]{1,20}){0,3})?");
        let headers = proptest::collection::vec(field, 0..12).prop_map(|fields| {
            let mut headers = Headers::default();
            for (name, value) in fields {
                if !same_name(&name, "Content-Length") {
                    headers.push(&name, &value);
                }
            }
            headers
        });
        let body = proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
        (
            any::<bool>(),
            headers,
            body,
            "[A-Z]{3,9}",
            "sip:[a-z0-9]{1,9}@[a-z]{1,9}",
            100u16..700,
            "([!-~]{1,9}( [!-~]{1,9})?)?",
        )
            .prop_map(|(is_request, headers, body, method, uri, code, reason)| {
                if is_request {
                    Message::Request(Request { method: Method::new(&method), uri, headers, body })
                } else {
                    Message::Response(Response { code, reason, headers, body })
                }
            })
    }

    fn with_length(message: Message) -> Message {
        match message {
            Message::Request(mut request) => {
                request.headers.push("Content-Length", &request.body.len().to_string());
                Message::Request(request)
            }
            Message::Response(mut response) => {
                response.headers.push("Content-Length", &response.body.len().to_string());
                Message::Response(response)
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(message in messages()) {
            let written = message.to_bytes();
            for framing in [Framing::Datagram, Framing::Stream] {
                prop_assert_eq!(parse(&written, framing), Ok(with_length(message.clone())));
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(
            message in messages(),
            cuts in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0u8..4), 0..12),
        ) {
            let mut bytes = message.to_bytes().to_vec();
            for (index, byte, how) in cuts {
                let at = index.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
                match how {
                    0 if !bytes.is_empty() => bytes[at] = byte,
                    1 if !bytes.is_empty() => { bytes.remove(at); }
                    2 => bytes.insert(at, byte),
                    _ => bytes.truncate(at.max(bytes.len() / 2)),
                }
            }
            let bytes = Bytes::from(bytes);
            for framing in [Framing::Datagram, Framing::Stream] {
                if let Ok(read) = parse(&bytes, framing) {
                    // What could be read can be written, and reads the same again.
                    let again = parse(&read.to_bytes(), framing);
                    prop_assert!(again.is_ok());
                }
            }
        }

        #[test]
        fn noise_is_no_message(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _verdict = parse(&Bytes::from(bytes), Framing::Datagram);
        }
    }
}
