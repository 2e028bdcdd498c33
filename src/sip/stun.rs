//! STUN keep-alives on SIP's UDP sockets (RFC 5626 section 4.4.2): a Binding request is told where it came from (RFC 5389). Nothing
//! else of STUN is spoken.

use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

/// Whether a datagram is STUN and not SIP (RFC 5389 section 6).
pub(crate) fn is_stun(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|b| b & 0xc0 == 0) && bytes.get(4..8) == Some(&COOKIE)
}

/// The answer to a Binding request that came from `from`; `None` for anything else. A request that asks for more than an answer
/// (a comprehension-required attribute) gets 420 with what was not understood.
pub(crate) fn answer(bytes: &[u8], from: SocketAddr) -> Option<Bytes> {
    let (head, attributes) = bytes.split_at_checked(HEAD)?;
    let declared = head.get(2..4)?.try_into().ok().map(u16::from_be_bytes)?;
    if head.get(..2)? != REQUEST || usize::from(declared) != attributes.len() {
        return None;
    }
    let transaction = head.get(4..)?;
    let unknown = not_understood(attributes)?;
    if unknown.is_empty() {
        return Some(message(SUCCESS, transaction, &[(XOR_MAPPED_ADDRESS, mapped(from, transaction)?)]));
    }
    let listed = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    let code = [&[0, 0, 4, 20], "Unknown Attribute".as_bytes()].concat();
    Some(message(ERROR, transaction, &[(ERROR_CODE, code), (UNKNOWN_ATTRIBUTES, listed)]))
}

/// Comprehension-required attributes; `None` where they do not fit their lengths.
fn not_understood(mut attributes: &[u8]) -> Option<Vec<u16>> {
    let mut unknown = Vec::new();
    while !attributes.is_empty() {
        let (head, rest) = attributes.split_first_chunk::<4>()?;
        let [a, b, c, d] = *head;
        let (kind, length) = (u16::from_be_bytes([a, b]), usize::from(u16::from_be_bytes([c, d])));
        attributes = rest.get(length.next_multiple_of(4)..)?;
        if kind < FIRST_OPTIONAL && unknown.len() < MOST_LISTED {
            unknown.push(kind);
        }
    }
    Some(unknown)
}

/// Section 15.2: the address, with the cookie and the transaction id laid over it so that no translator rewrites it.
fn mapped(from: SocketAddr, transaction: &[u8]) -> Option<Vec<u8>> {
    let [high, low, ..] = COOKIE;
    let port = from.port() ^ u16::from_be_bytes([high, low]);
    let (family, address) = match from.ip().to_canonical() {
        IpAddr::V4(four) => (1, four.octets().to_vec()),
        IpAddr::V6(six) => (2, six.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend(port.to_be_bytes());
    value.extend(address.iter().zip(transaction).map(|(byte, mask)| byte ^ mask));
    (value.len() == 4 + address.len()).then_some(value)
}

fn message(kind: [u8; 2], transaction: &[u8], attributes: &[(u16, Vec<u8>)]) -> Bytes {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend(u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let length = u16::try_from(body.len()).unwrap_or_default().to_be_bytes();
    [&kind[..], &length, transaction, &body].concat().into()
}

const HEAD: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const REQUEST: [u8; 2] = [0x00, 0x01];
const SUCCESS: [u8; 2] = [0x01, 0x01];
const ERROR: [u8; 2] = [0x01, 0x11];
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FIRST_OPTIONAL: u16 = 0x8000;
/// An answer stays about as small as its question.
const MOST_LISTED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 5769 sections 2.2 and 2.3: the transaction of the vectors, and the mapped addresses they give.
    const TRANSACTION: &[u8] = b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";

    fn request(attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&REQUEST[..], &length, &COOKIE, TRANSACTION, attributes].concat()
    }

    #[test]
    fn a_binding_request_is_told_where_it_came_from() {
        for (from, value) in [
            ("192.0.2.1:32853", &b"\x00\x01\xa1\x47\xe1\x12\xa6\x43"[..]),
            (
                "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
                b"\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9",
            ),
        ] {
            let answer = answer(&request(b""), from.parse().unwrap()).unwrap();
            assert_eq!(&answer[..2], SUCCESS);
            assert_eq!(usize::from(answer[3]), answer.len() - HEAD);
            assert_eq!(&answer[8..HEAD], TRANSACTION);
            assert_eq!(&answer[HEAD..HEAD + 2], XOR_MAPPED_ADDRESS.to_be_bytes());
            assert_eq!(&answer[HEAD + 4..], value, "{from}");
        }
    }

    #[test]
    fn more_than_that_is_not_spoken() {
        let from = "192.0.2.1:1".parse().unwrap();
        let unknown = answer(&request(b"\x00\x24\x00\x04abcd"), from).unwrap();
        assert_eq!((&unknown[..2], &unknown[HEAD + 4..HEAD + 8]), (&ERROR[..], &[0, 0, 4, 20][..]));
        assert!(unknown.ends_with(b"\x00\x0a\x00\x02\x00\x24\x00\x00"));
        assert!(
            answer(&request(b"\x80\x22\x00\x03abc\x00"), from).unwrap().starts_with(&SUCCESS),
            "SOFTWARE is optional"
        );
        let (mut indication, whole) = (request(b""), request(b"\x80\x22\x00\x04abcd"));
        indication[1] = 0x11;
        assert!(is_stun(&indication));
        for wrong in [&indication[..], &whole[..whole.len() - 1], &whole[..10], &request(b"\x80\x22\x00\x09abcd"), b""]
        {
            assert_eq!(answer(wrong, from), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_datagram_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let from = "[::1]:1".parse().unwrap();
            let _answer = (is_stun(&bytes), answer(&bytes, from), answer(&request(&bytes), from));
        }
    }
}
