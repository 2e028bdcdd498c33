//! Where RTCP goes, by the bodies of both sides (RFC 3556, RFC 3605, RFC 5761).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use voice_gateway::media::ControlPath;
use voice_gateway::media::sdp::{Codec, Exchange, LocalMedia, Negotiated};

fn local() -> LocalMedia {
    LocalMedia { address: "192.0.2.10".parse().unwrap(), port: 20_000, session_id: 4711, session_version: 1 }
}

fn exchange() -> Exchange {
    Exchange::new(local(), vec![Codec::Pcmu, Codec::Pcma])
}

fn body(media: &str) -> Vec<u8> {
    let text =
        format!("v=0\no=- 1 1 IN IP4 198.51.100.7\ns=-\nc=IN IP4 198.51.100.7\nt=0 0\nm=audio 4000 RTP/AVP 0\n{media}");
    text.replace('\n', "\r\n").into_bytes()
}

fn answered(exchange: &mut Exchange, media: &str) -> (String, Negotiated) {
    let (answer, agreed) = exchange.answer(&body(media)).unwrap();
    (String::from_utf8(answer.to_vec()).unwrap(), agreed)
}

#[test]
fn a_body_says_where_reports_go_and_what_makes_no_sense_is_as_unsaid() {
    let at = |text: &str| ControlPath::At(text.parse().unwrap());
    for (media, path) in [
        ("", ControlPath::Neighbour),
        ("a=rtcp:4711\n", at("198.51.100.7:4711")),
        ("a=rtcp:53020 IN IP4 126.16.64.4\n", at("126.16.64.4:53020")),
        ("a=rtcp:53020 IN IP4 224.0.0.1\n", ControlPath::Neighbour),
        ("a=rtcp:53020 IN IP4 127.0.0.1\n", ControlPath::Neighbour),
        ("a=rtcp:53020 IN IP6 2001:db8::1\n", ControlPath::Neighbour),
        ("a=rtcp:53020 IN IP4 example.com\n", ControlPath::Neighbour),
        ("a=rtcp:0\n", ControlPath::Neighbour),
        ("a=rtcp:65536\n", ControlPath::Neighbour),
        ("a=rtcp:x\n", ControlPath::Neighbour),
        ("a=rtcp\n", ControlPath::Neighbour),
        ("a=rtcp-fb:* nack\n", ControlPath::Neighbour),
        ("a=rtcp-mux\n", ControlPath::Multiplexed),
        ("a=rtcp:4001\na=rtcp-mux\n", ControlPath::Multiplexed),
        ("b=RS:0\nb=RR:0\n", ControlPath::Off),
        ("b=RS:0\nb=RR:600\n", ControlPath::Neighbour),
        ("b=RS:0\n", ControlPath::Neighbour),
    ] {
        let (answer, agreed) = answered(&mut exchange(), media);
        assert_eq!(agreed.rtcp, path, "{media}");
        assert_eq!(answer.contains("a=rtcp-mux\r\n"), path == ControlPath::Multiplexed, "{answer}");
    }
}

#[test]
fn one_socket_for_both_is_never_asked_for_and_kept_where_it_was_agreed() {
    let mut asking = exchange();
    assert!(!String::from_utf8_lossy(&asking.offer()).contains("rtcp-mux"));
    let agreed = asking.accept(&body("a=rtcp-mux\n")).unwrap();
    assert_eq!(agreed.rtcp, ControlPath::Neighbour, "not offered, so not agreed");

    let mut asked = exchange();
    let _ = answered(&mut asked, "a=rtcp-mux\n");
    assert!(String::from_utf8_lossy(&asked.offer()).contains("a=rtcp-mux\r\n"));
    assert_eq!(asked.accept(&body("a=rtcp-mux\n")).unwrap().rtcp, ControlPath::Multiplexed);
    assert!(String::from_utf8_lossy(&asked.hold()).contains("a=rtcp-mux\r\n"));
    assert_eq!(asked.accept(&body("")).unwrap().rtcp, ControlPath::Neighbour);
    assert!(!String::from_utf8_lossy(&asked.offer()).contains("a=rtcp-mux\r\n"));
}
