//! What cannot be agreed to, and how that is said.

use crate::bodies::{CODECS, body, local, plain, refused};
use std::net::IpAddr;
use voice_gateway::media::sdp::{LocalMedia, answer};

#[test]
fn what_cannot_be_agreed_is_refused_with_the_code_and_the_reason() {
    let srtp = "m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\n";
    let cases: [(&str, String, u16, u16, &str); 17] = [
        ("not SDP", "hello".to_owned(), 400, 399, "malformed SDP"),
        ("empty", String::new(), 400, 399, "malformed SDP"),
        ("another version", plain("m=audio 4000 RTP/AVP 0\n").replace("v=0", "v=7"), 400, 399, "version"),
        ("port out of range", plain("m=audio 70000 RTP/AVP 0\n"), 400, 399, "port"),
        ("no c= line", body("", "m=audio 4000 RTP/AVP 0\n"), 400, 399, "c= line"),
        ("too long", plain(&format!("m=audio 4000 RTP/AVP 0\n{}", "a=x\n".repeat(20_000))), 400, 399, "at most 65536"),
        ("too many streams", plain(&"m=audio 4000 RTP/AVP 0\n".repeat(33)), 400, 399, "at most 32"),
        ("no streams", plain(""), 488, 304, "no audio"),
        ("video only", plain("m=video 4000 RTP/AVP 31\n"), 488, 304, "no audio"),
        ("audio switched off", plain("m=audio 0 RTP/AVP 0\n"), 488, 304, "no audio"),
        (
            "no common codec",
            plain("m=audio 4000 RTP/AVP 18 9 101\na=rtpmap:101 telephone-event/8000\n"),
            488,
            305,
            "G729 G722",
        ),
        ("PCMU at another rate", plain("m=audio 4000 RTP/AVP 96\na=rtpmap:96 PCMU/16000\n"), 488, 305, "PCMU"),
        ("SRTP only", plain(srtp), 488, 302, "media.srtp is off"),
        ("DTLS", plain("m=audio 4000 UDP/TLS/RTP/SAVPF 0\n"), 488, 302, "DTLS-SRTP offered"),
        (
            "a host name",
            body("c=IN IP4 media.example.com\n", "m=audio 4000 RTP/AVP 0\n"),
            488,
            301,
            "media.example.com",
        ),
        ("multicast", body("c=IN IP4 224.2.1.1/127\n", "m=audio 4000 RTP/AVP 0\n"), 488, 301, "unicast"),
        ("IPv6 towards IPv4", body("c=IN IP6 2001:db8::7\n", "m=audio 4000 RTP/AVP 0\n"), 488, 301, "address family"),
    ];
    for (name, offer, code, warning, text) in cases {
        let problem = refused(&offer);
        assert_eq!((problem.code(), problem.warning()), (code, warning), "{name}: {problem}");
        assert!(problem.to_string().contains(text), "{name}: {problem}");
    }
}

#[test]
fn loopback_is_taken_only_from_loopback() {
    let offer = body("c=IN IP4 127.0.0.1\n", "m=audio 4000 RTP/AVP 0\n");
    assert_eq!(refused(&offer).code(), 488);
    let ours = LocalMedia { address: IpAddr::from([127, 0, 0, 1]), ..local() };
    assert!(answer(offer.as_bytes(), &ours, &CODECS).is_ok());
}

#[test]
fn a_refusal_repeats_no_quotes_and_no_control_characters() {
    let offer = body("c=IN IP4 a\"b\\c\u{7f}\u{1}d\n", "m=audio 4000 RTP/AVP 0\n");
    assert_eq!(refused(&offer).to_string(), "unusable media address abcd: an IP address is wanted, not a name");
}
