//! Messages out of a stream (RFC 3261 section 18.3): cut by Content-Length, with size limits, keep-alives taken out (RFC 5626
//! section 4.4.1).

use super::MAX_MESSAGE;
use super::headers::same_name;
use bytes::{Buf as _, Bytes, BytesMut};

/// What the next piece of the stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One whole message.
    Message(Bytes),
    /// CRLF CRLF: to be answered with one CRLF.
    Ping,
    /// Nothing behind this can be cut into messages: answer the head that was read, then close.
    Broken(Bytes),
}

/// The bytes of one stream that are no message yet.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// How much of the buffer was searched for the end of the head, so that one byte a second costs one look each.
    searched: usize,
    /// The whole length of the message that has begun, once its head was read: a body that drips in costs nothing more.
    whole: Option<usize>,
    broken: bool,
}

impl Framer {
    /// Takes in bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether a message has begun and not ended; what may become a ping, or stays the CRLF behind a message, is none.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !b"\r\n\r\n".starts_with(&self.buffer)
    }

    /// The next frame, `None` until more bytes come.
    pub fn next_frame(&mut self) -> Option<Frame> {
        if self.broken {
            return None;
        }
        loop {
            if self.buffer.starts_with(b"\r\n\r\n") {
                self.buffer.advance(4);
                return Some(Frame::Ping);
            }
            match *self.buffer {
                // Perhaps the first half of a ping: wait. Otherwise a CRLF before a message, or a pong, says nothing.
                [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return None,
                [b'\r', b'\n', ..] => self.buffer.advance(2),
                [b'\n', ..] => self.buffer.advance(1),
                _ => break,
            }
        }
        let whole = match self.whole {
            Some(whole) => whole,
            None => {
                let from = self.searched.saturating_sub(3);
                let Some(head) = self.buffer.get(from..).and_then(end_of_head).map(|end| from + end) else {
                    self.searched = self.buffer.len();
                    return (self.buffer.len() > MAX_MESSAGE).then(|| self.give_up());
                };
                // A length that is near the largest number must not wrap around to a small one.
                let whole = self.buffer.get(..head).and_then(declared_length).and_then(|body| head.checked_add(body));
                match whole {
                    Some(whole) if whole <= MAX_MESSAGE => whole,
                    _ => return Some(self.give_up()),
                }
            }
        };
        if self.buffer.len() < whole {
            self.whole = Some(whole);
            return None;
        }
        (self.searched, self.whole) = (0, None);
        Some(Frame::Message(self.buffer.split_to(whole).freeze()))
    }

    fn give_up(&mut self) -> Frame {
        self.broken = true;
        let end = end_of_head(&self.buffer).unwrap_or(self.buffer.len());
        Frame::Broken(std::mem::take(&mut self.buffer).split_to(end).freeze())
    }
}

/// The index behind the empty line. One pass, which ends there.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    while let Some(end) = bytes.get(line..)?.iter().position(|b| *b == b'\n').map(|index| line + index) {
        line = end + 1;
        let after_crlf = end.checked_sub(1).and_then(|index| bytes.get(index)) == Some(&b'\r');
        match bytes.get(line..)? {
            [b'\n', ..] => return Some(line + 1),
            [b'\r', b'\n', ..] if after_crlf => return Some(line + 2),
            _ => {}
        }
    }
    None
}

/// The one Content-Length of a head; `None` when there is none, or none that can be believed.
fn declared_length(head: &[u8]) -> Option<usize> {
    let mut found = None;
    for line in head.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let Ok(name) = std::str::from_utf8(name.trim_ascii_end()) else { continue };
        if !same_name(name, "Content-Length") {
            continue;
        }
        let value = std::str::from_utf8(value.get(1..)?).ok()?.trim();
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let length = value.parse().ok()?;
        if found.replace(length).is_some_and(|other: usize| other != length) {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYE: &[u8] = b"BYE sip:a@h SIP/2.0\r\nX: y\r\nContent-Length: 4\r\n\r\nbody";

    fn frames(pieces: &[&[u8]]) -> Vec<Frame> {
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        for piece in pieces {
            framer.feed(piece);
            while let Some(frame) = framer.next_frame() {
                frames.push(frame);
            }
        }
        frames
    }

    #[test]
    fn messages_and_pings_come_out_however_the_stream_is_cut() {
        let stream = [b"\r\n".as_slice(), BYE, b"\r\n\r\n", BYE, BYE].concat();
        let bye = || Frame::Message(Bytes::from_static(BYE));
        let whole = vec![bye(), Frame::Ping, bye(), bye()];
        assert_eq!(frames(&[&stream]), whole);
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(frames(&single), whole);
    }

    #[test]
    fn what_cannot_be_cut_breaks_the_stream_with_its_head() {
        for head in [
            "INVITE sip:a@h SIP/2.0\r\nl: -999\r\n\r\n",
            "INVITE sip:a@h SIP/2.0\r\nl: 1\r\nl: 2\r\n\r\n",
            "INVITE sip:a@h SIP/2.0\r\nl: 65536\r\n\r\n",
            "INVITE sip:a@h SIP/2.0\r\nX: no length\r\n\r\n",
            "INVITE sip:a@h SIP/2.0\r\nl: 184467440737095516160\r\n\r\n",
            "INVITE sip:a@h SIP/2.0\r\nl: 18446744073709551615\r\n\r\n",
            "INVITE sip:a@h SIP/2.0\r\nl: 18446744073709551580\r\n\r\n",
        ] {
            let broken = Frame::Broken(Bytes::copy_from_slice(head.as_bytes()));
            assert_eq!(frames(&[head.as_bytes(), BYE]), [broken], "{head}");
        }
        let endless = vec![b'x'; MAX_MESSAGE + 1];
        assert!(matches!(frames(&[&endless, BYE])[..], [Frame::Broken(_)]));
    }

    #[test]
    fn half_a_message_is_known_to_be_partial() {
        let mut framer = Framer::default();
        assert!(!framer.is_partial());
        framer.feed(&BYE[..20]);
        assert_eq!(framer.next_frame(), None);
        assert!(framer.is_partial());
        framer.feed(&BYE[20..]);
        assert!(framer.next_frame().is_some());
        assert!(!framer.is_partial());
    }

    #[test]
    fn what_may_become_a_ping_is_no_message_begun() {
        let mut framer = Framer::default();
        for byte in b"\r\n\r" {
            framer.feed(&[*byte]);
            assert_eq!((framer.next_frame(), framer.is_partial()), (None, false));
        }
        framer.feed(b"B");
        assert_eq!((framer.next_frame(), framer.is_partial()), (None, true), "CR LF CR B is a message of sorts");
    }

    #[test]
    fn a_head_is_read_once_however_slowly_its_body_comes() {
        let mut framer = Framer::default();
        let (head, body) = BYE.split_at(BYE.len() - 4);
        framer.feed(head);
        assert_eq!((framer.next_frame(), framer.whole), (None, Some(BYE.len())));
        for byte in &body[..3] {
            framer.feed(&[*byte]);
            assert_eq!((framer.next_frame(), framer.whole), (None, Some(BYE.len())));
        }
        framer.feed(&body[3..]);
        assert_eq!((framer.next_frame(), framer.whole), (Some(Frame::Message(Bytes::from_static(BYE))), None));
        framer.feed(BYE);
        assert_eq!(framer.next_frame(), Some(Frame::Message(Bytes::from_static(BYE))));
    }

    #[test]
    fn the_first_empty_line_ends_the_head() {
        for (text, end) in
            [("a\r\n\r\nb\n\n", Some(5)), ("a\n\nb\r\n\r\n", Some(3)), ("a\n\r\nb\r\n", None), ("\n", None)]
        {
            assert_eq!(end_of_head(text.as_bytes()), end, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_stream_is_survived(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..20)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _frames = frames(&pieces);
        }
    }
}
