//! SDP offers and answers as peers really write them, and as nobody should (RFC 3264, RFC 8866).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;
use std::net::IpAddr;
use voice_gateway::media::ControlPath;
use voice_gateway::media::sdp::{Codec, Exchange, LocalMedia, Negotiated, SdpProblem, accept_answer, answer, offer};

const CODECS: [Codec; 2] = [Codec::Pcmu, Codec::Pcma];

fn local() -> LocalMedia {
    LocalMedia { address: "192.0.2.10".parse().unwrap(), port: 20_000, session_id: 4711, session_version: 1 }
}

/// A body with CRLF line ends around the given media part.
fn body(session: &str, media: &str) -> String {
    let text = format!("v=0\no=- 1 1 IN IP4 198.51.100.7\ns=-\n{session}t=0 0\n{media}");
    text.replace('\n', "\r\n")
}

fn plain(media: &str) -> String {
    body("c=IN IP4 198.51.100.7\n", media)
}

fn answered(offer: &str) -> (String, Negotiated) {
    let (sdp, agreed) =
        answer(offer.as_bytes(), &local(), &CODECS).unwrap_or_else(|problem| panic!("{problem}: {offer}"));
    let sdp = String::from_utf8(sdp.to_vec()).unwrap();
    sdp_types::Session::parse(sdp.as_bytes()).expect("our answer is SDP");
    (sdp, agreed)
}

fn refused(offer: &str) -> SdpProblem {
    answer(offer.as_bytes(), &local(), &CODECS).expect_err(offer)
}

#[test]
fn the_usual_offer_of_a_trunk_is_answered_line_by_line() {
    let (sdp, agreed) = answered(&plain(
        "m=audio 49170 RTP/AVP 18 0 8 101\na=rtpmap:18 G729/8000\na=fmtp:18 annexb=no\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n\
         a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=ptime:20\na=maxptime:40\na=sendrecv\n",
    ));
    let wanted = "v=0\no=- 4711 1 IN IP4 192.0.2.10\ns=-\nc=IN IP4 192.0.2.10\nt=0 0\nm=audio 20000 RTP/AVP 0 101\n\
                  a=rtpmap:0 PCMU/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=ptime:20\na=sendrecv\n";
    assert_eq!(sdp, wanted.replace('\n', "\r\n"));
    let wanted = Negotiated {
        remote: "198.51.100.7:49170".parse().unwrap(),
        codec: Codec::Pcmu,
        payload_type: 0,
        telephone_event: Some(101),
        comfort_noise: None,
        send: true,
        receive: true,
        srtp: None,
        rtcp: ControlPath::Neighbour,
    };
    assert_eq!(agreed, wanted);
    assert_eq!(Negotiated::usual(wanted.remote, wanted.codec), wanted);
}

#[test]
fn comfort_noise_is_agreed_to_where_it_is_offered_and_never_asked_for() {
    for (offer, number) in [
        ("m=audio 4000 RTP/AVP 0 13\n", 13),
        ("m=audio 4000 RTP/AVP 0 98 13\na=rtpmap:98 CN/16000\na=rtpmap:13 CN/8000\n", 13),
        ("m=audio 4000 RTP/AVP 0 97\na=rtpmap:97 cn/8000\n", 97),
    ] {
        let (sdp, agreed) = answered(&plain(offer));
        assert_eq!(agreed.comfort_noise, Some(number), "{offer}");
        assert!(sdp.contains(&format!("m=audio 20000 RTP/AVP 0 {number}\r\n")), "{sdp}");
        assert!(sdp.contains(&format!("a=rtpmap:{number} CN/8000\r\n")), "{sdp}");
    }
    assert_eq!(answered(&plain("m=audio 4000 RTP/AVP 0\n")).1.comfort_noise, None);
    assert!(!String::from_utf8(offer(&local(), &CODECS).to_vec()).unwrap().contains("CN"));
}

/// Name, offer, codec, payload type, telephone-event payload type, remote.
type Understood<'a> = (&'a str, String, Codec, u8, Option<u8>, &'a str);

#[test]
fn offers_of_the_real_world_are_understood() {
    let at = "198.51.100.7:4000";
    let cases: [Understood<'_>; 24] = [
        ("static numbers without rtpmap", plain("m=audio 4000 RTP/AVP 0 8\n"), Codec::Pcmu, 0, None, at),
        ("A-law only", plain("m=audio 4000 RTP/AVP 8\n"), Codec::Pcma, 8, None, at),
        ("our preference decides", plain("m=audio 4000 RTP/AVP 8 0\n"), Codec::Pcmu, 0, None, at),
        (
            "dynamic number for PCMU",
            plain("m=audio 4000 RTP/AVP 96\na=rtpmap:96 PCMU/8000/1\n"),
            Codec::Pcmu,
            96,
            None,
            at,
        ),
        (
            "lower case names",
            plain("m=audio 4000 RTP/AVP 8 97\na=rtpmap:8 pcma/8000\na=rtpmap:97 Telephone-Event/8000\n"),
            Codec::Pcma,
            8,
            Some(97),
            at,
        ),
        (
            "telephone-event of two clocks",
            plain(
                "m=audio 4000 RTP/AVP 0 110 101\na=rtpmap:110 telephone-event/48000\na=rtpmap:101 telephone-event/8000\n",
            ),
            Codec::Pcmu,
            0,
            Some(101),
            at,
        ),
        (
            "c= at the stream",
            body("", "m=audio 4000 RTP/AVP 0\nc=IN IP4 203.0.113.5\n"),
            Codec::Pcmu,
            0,
            None,
            "203.0.113.5:4000",
        ),
        (
            "c= at the stream wins",
            plain("m=audio 4000 RTP/AVP 0\nc=IN IP4 203.0.113.5\n"),
            Codec::Pcmu,
            0,
            None,
            "203.0.113.5:4000",
        ),
        ("AVPF", plain("m=audio 4000 RTP/AVPF 0\n"), Codec::Pcmu, 0, None, at),
        ("port with count", plain("m=audio 4000/2 RTP/AVP 0\n"), Codec::Pcmu, 0, None, at),
        (
            "private address",
            body("c=IN IP4 10.1.2.3\n", "m=audio 4000 RTP/AVP 0\n"),
            Codec::Pcmu,
            0,
            None,
            "10.1.2.3:4000",
        ),
        (
            "T.38 beside it",
            plain("m=image 5000 udptl t38\na=T38FaxVersion:0\nm=audio 4000 RTP/AVP 0\n"),
            Codec::Pcmu,
            0,
            None,
            at,
        ),
        ("first audio switched off", plain("m=audio 0 RTP/AVP 0\nm=audio 4000 RTP/AVP 0\n"), Codec::Pcmu, 0, None, at),
        (
            "SRTP stream first, plain second",
            plain("m=audio 4002 RTP/SAVP 0\nm=audio 4000 RTP/AVP 0\n"),
            Codec::Pcmu,
            0,
            None,
            at,
        ),
        (
            "optional crypto on a plain stream",
            plain("m=audio 4000 RTP/AVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\n"),
            Codec::Pcmu,
            0,
            None,
            at,
        ),
        ("bare line feeds", plain("m=audio 4000 RTP/AVP 0\n").replace('\r', ""), Codec::Pcmu, 0, None, at),
        (
            "no t= and no s=",
            "v=0\r\nc=IN IP4 198.51.100.7\r\nm=audio 4000 RTP/AVP 0\r\n".to_owned(),
            Codec::Pcmu,
            0,
            None,
            at,
        ),
        (
            "b= before c=",
            body("b=AS:64\nc=IN IP4 198.51.100.7\n", "m=audio 4000 RTP/AVP 0\n"),
            Codec::Pcmu,
            0,
            None,
            at,
        ),
        (
            "o= that is none",
            plain("m=audio 4000 RTP/AVP 0\n").replace("o=- 1 1", "o= -5 99999999999999999999999999"),
            Codec::Pcmu,
            0,
            None,
            at,
        ),
        (
            "o= with a user name of two words",
            plain("m=audio 4000 RTP/AVP 0\n").replace("o=-", "o=Cisco SIP"),
            Codec::Pcmu,
            0,
            None,
            at,
        ),
        ("no end of the last line", plain("m=audio 4000 RTP/AVP 0").trim_end().to_owned(), Codec::Pcmu, 0, None, at),
        (
            "comfort noise and iLBC",
            plain("m=audio 4000 RTP/AVP 97 13 0\na=rtpmap:97 iLBC/8000\na=rtpmap:13 CN/8000\n"),
            Codec::Pcmu,
            0,
            None,
            at,
        ),
        (
            "unknown lines and attributes",
            plain("m=audio 4000 RTP/AVP 0\na=ssrc:1 cname:x\na=silenceSupp:off - - - -\nx=y\na=\n"),
            Codec::Pcmu,
            0,
            None,
            at,
        ),
        (
            "ICE and rtcp lines",
            plain(
                "m=audio 4000 RTP/AVP 0\na=rtcp:4001 IN IP4 198.51.100.7\na=ice-ufrag:abcd\na=candidate:1 1 UDP 2130706431 198.51.100.7 4000 typ host\n",
            ),
            Codec::Pcmu,
            0,
            None,
            at,
        ),
    ];
    for (name, offer, codec, payload_type, telephone_event, remote) in cases {
        let (_, agreed) = answered(&offer);
        assert_eq!((agreed.codec, agreed.payload_type), (codec, payload_type), "{name}");
        assert_eq!(agreed.telephone_event, telephone_event, "{name}");
        assert_eq!(agreed.remote, remote.parse().unwrap(), "{name}");
        assert!(agreed.send && agreed.receive, "{name}");
    }
}

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

#[test]
fn directions_and_holds_are_mirrored() {
    let cases = [
        ("a=sendrecv\n", "198.51.100.7", "sendrecv", true, true),
        ("a=sendonly\n", "198.51.100.7", "recvonly", false, true),
        ("a=recvonly\n", "198.51.100.7", "sendonly", true, false),
        ("a=inactive\n", "198.51.100.7", "inactive", false, false),
        ("", "0.0.0.0", "recvonly", false, true),
        ("a=sendonly\n", "0.0.0.0", "recvonly", false, true),
        ("a=inactive\n", "0.0.0.0", "inactive", false, false),
    ];
    for (attribute, address, mirrored, send, receive) in cases {
        for session_level in [false, true] {
            let (session, media) = if session_level { (attribute, "") } else { ("", attribute) };
            let offer = body(&format!("c=IN IP4 {address}\n{session}"), &format!("m=audio 4000 RTP/AVP 0\n{media}"));
            let (sdp, agreed) = answered(&offer);
            assert!(sdp.ends_with(&format!("a={mirrored}\r\n")), "{attribute} {address}: {sdp}");
            assert_eq!((agreed.send, agreed.receive), (send, receive), "{attribute} {address}");
        }
    }
}

#[test]
fn other_streams_are_refused_in_their_places() {
    let (sdp, _) = answered(&plain(
        "m=video 6000 RTP/AVP 96 97\na=rtpmap:96 H264/90000\nm=audio 4000 RTP/AVP 0\nm=audio 4002 RTP/AVP 8\nm=application 5 UDP/BFCP *\n",
    ));
    let streams: Vec<&str> = sdp.lines().filter(|line| line.starts_with("m=")).collect();
    let wanted =
        ["m=video 0 RTP/AVP 96 97", "m=audio 20000 RTP/AVP 0", "m=audio 0 RTP/AVP 8", "m=application 0 UDP/BFCP *"];
    assert_eq!(streams, wanted);
}

#[test]
fn ipv6_is_answered_in_ipv6() {
    let ours = LocalMedia { address: "2001:db8::1".parse().unwrap(), ..local() };
    let offer = body("c=IN IP6 2001:db8::7\n", "m=audio 4000 RTP/AVP 0\n");
    let (sdp, agreed) = answer(offer.as_bytes(), &ours, &CODECS).unwrap();
    assert!(String::from_utf8_lossy(&sdp).contains("c=IN IP6 2001:db8::1\r\n"));
    assert_eq!(agreed.remote, "[2001:db8::7]:4000".parse().unwrap());
}

#[test]
fn our_offer_and_our_answer_to_it_agree_on_both_sides() {
    let there =
        LocalMedia { address: "198.51.100.7".parse().unwrap(), port: 30_000, session_id: 1, session_version: 1 };
    for (ours, theirs, agreed_on) in [
        (&CODECS[..], &CODECS[..], Codec::Pcmu),
        (&CODECS[..], &[Codec::Pcma][..], Codec::Pcma),
        (&[Codec::Pcma, Codec::Pcmu][..], &[Codec::Pcmu, Codec::Pcma][..], Codec::Pcmu),
    ] {
        let offered = offer(&local(), ours);
        let (answered, at_theirs) = answer(&offered, &there, theirs).unwrap();
        let at_ours = accept_answer(&answered, &local(), ours).unwrap();
        assert_eq!((at_ours.codec, at_theirs.codec), (agreed_on, agreed_on));
        assert_eq!((at_ours.telephone_event, at_theirs.telephone_event), (Some(101), Some(101)));
        assert_eq!(at_ours.remote, "198.51.100.7:30000".parse().unwrap());
        assert_eq!(at_theirs.remote, "192.0.2.10:20000".parse().unwrap());
    }
}

/// The m-lines, the numbering and the version of a body of ours.
fn outline(sdp: &[u8]) -> (Vec<String>, u64) {
    let text = String::from_utf8(sdp.to_vec()).unwrap();
    sdp_types::Session::parse(sdp).expect("our body is SDP");
    let lines = text.lines().filter(|line| line.starts_with("m=") || line.starts_with("a=rtpmap")).map(str::to_owned);
    let version = text.lines().find(|line| line.starts_with("o=")).unwrap().split(' ').nth(2).unwrap();
    (lines.collect(), version.parse().unwrap())
}

#[test]
fn an_offer_of_ours_in_a_call_keeps_its_streams_places_and_numbers() {
    let mut exchange = Exchange::new(local(), CODECS.to_vec());
    let peers = plain(
        "m=video 6000 RTP/AVP 96\na=rtpmap:96 H264/90000\nm=audio 4000 RTP/AVPF 97 98 18\n\
         a=rtpmap:97 PCMA/8000\na=rtpmap:98 telephone-event/8000\nm=audio 4002 RTP/AVP 0\n",
    );
    let (answered, agreed) = exchange.answer(peers.as_bytes()).unwrap();
    assert_eq!((agreed.codec, agreed.payload_type, agreed.telephone_event), (Codec::Pcma, 97, Some(98)));
    assert_eq!(outline(&answered).1, 1);

    let (lines, version) = outline(&exchange.offer());
    let wanted = [
        "m=video 0 RTP/AVP 96",
        "m=audio 20000 RTP/AVPF 97 0 98",
        "a=rtpmap:97 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:98 telephone-event/8000",
        "m=audio 0 RTP/AVP 0",
    ];
    assert_eq!((lines, version), (wanted.map(str::to_owned).to_vec(), 2));

    // Another stream than ours is none of an answer, however it looks.
    let elsewhere = plain("m=video 0 RTP/AVP 96\nm=audio 0 RTP/AVPF 97\nm=audio 7000 RTP/AVP 0\n");
    assert_eq!(exchange.accept(elsewhere.as_bytes()), Err(SdpProblem::NoAudio));

    let repeated = exchange.offer();
    assert_eq!(outline(&repeated).1, 2, "the same words are the same version");
    let answer = plain(
        "m=video 0 RTP/AVP 96\nm=audio 7000 RTP/AVPF 0 98\na=rtpmap:98 telephone-event/8000\nm=audio 0 RTP/AVP 0\n",
    );
    let agreed = exchange.accept(answer.as_bytes()).unwrap();
    assert_eq!((agreed.codec, agreed.payload_type, agreed.telephone_event), (Codec::Pcmu, 0, Some(98)));
    assert_eq!(agreed.remote, "198.51.100.7:7000".parse().unwrap());
    let (lines, version) = outline(&exchange.offer());
    assert_eq!((lines[1].as_str(), version), ("m=audio 20000 RTP/AVPF 0 97 98", 3), "what is spoken comes first");
}

#[test]
fn an_answer_given_again_has_the_version_it_had() {
    let mut exchange = Exchange::new(local(), CODECS.to_vec());
    let offers = [
        plain("m=audio 4000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\n"),
        plain("m=audio 4000 RTP/AVP 8 101\n"),
    ];
    let mut version = |offer: usize| outline(&exchange.answer(offers[offer].as_bytes()).unwrap().0).1;
    assert_eq!([version(0), version(0), version(1), version(1), version(0)], [1, 1, 2, 2, 3]);
    // 101 was something else before: what is offered anew has a number of its own.
    exchange.answer(offers[1].as_bytes()).unwrap();
    assert_eq!(outline(&exchange.offer()).0[0], "m=audio 20000 RTP/AVP 8 0 96");
    assert!(exchange.answer(b"garbage").is_err());
    let again = exchange.offer();
    assert_eq!(outline(&again).0[0], "m=audio 20000 RTP/AVP 8 0 96", "a refused offer changes nothing");
}

#[test]
fn an_answer_that_refuses_the_audio_ends_the_matter() {
    let refusal = plain("m=audio 0 RTP/AVP 0\n");
    assert_eq!(accept_answer(refusal.as_bytes(), &local(), &CODECS), Err(SdpProblem::NoAudio));
    let held = plain("m=audio 4000 RTP/AVP 0\na=sendonly\n");
    let agreed = accept_answer(held.as_bytes(), &local(), &CODECS).unwrap();
    assert_eq!((agreed.send, agreed.receive, agreed.telephone_event), (false, true, None));
}

proptest! {
    #[test]
    fn any_mutation_of_an_offer_is_answered_or_refused(
        edits in proptest::collection::vec((0_usize..400, any::<u8>(), 0_u8..4), 0..12),
    ) {
        let mut bytes = plain(
            "m=video 6000 RTP/AVP 96\nm=audio 4000/2 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=sendonly\n",
        ).into_bytes();
        for (at, byte, kind) in edits {
            let at = at % bytes.len().max(1);
            match kind {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 => bytes.insert(at.min(bytes.len()), byte),
                2 if !bytes.is_empty() => { bytes.remove(at); }
                _ => bytes.truncate(at.max(40)),
            }
        }
        match answer(&bytes, &local(), &CODECS) {
            Ok((sdp, agreed)) => {
                prop_assert!(sdp_types::Session::parse(&sdp).is_ok());
                prop_assert!(agreed.remote.port() != 0);
                prop_assert!(!sdp.windows(4).any(|window| window == b"\r\n\r\n"));
            }
            Err(problem) => prop_assert!(matches!(problem.code(), 400 | 488)),
        }
        let _ = accept_answer(&bytes, &local(), &CODECS);
    }

    #[test]
    fn any_bytes_at_all_are_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = answer(&bytes, &local(), &CODECS);
    }
}

const WIDE: [Codec; 3] = [Codec::G722, Codec::Pcmu, Codec::Pcma];

#[test]
fn g722_has_a_clock_of_8_khz_in_sdp_whatever_it_samples_at() {
    let offers = [
        "m=audio 4000 RTP/AVP 0 9 101\na=rtpmap:101 telephone-event/8000\n",
        "m=audio 4000 RTP/AVP 0 9 101\na=rtpmap:9 G722/8000\na=rtpmap:101 telephone-event/8000\n",
        "m=audio 4000 RTP/AVP 0 97 101\na=rtpmap:97 g722/8000/1\na=rtpmap:101 telephone-event/8000\n",
    ];
    for offer in offers {
        let (body, agreed) = answer(plain(offer).as_bytes(), &local(), &WIDE).unwrap();
        assert_eq!((agreed.codec, agreed.telephone_event), (Codec::G722, Some(101)), "{offer}");
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains(&format!("a=rtpmap:{} G722/8000\r\n", agreed.payload_type)), "{body}");
    }
    // Not the sampling rate: nobody means G.722 by it.
    let (_, agreed) =
        answer(plain("m=audio 4000 RTP/AVP 97 0\na=rtpmap:97 G722/16000\n").as_bytes(), &local(), &WIDE).unwrap();
    assert_eq!(agreed.codec, Codec::Pcmu);
}

#[test]
fn keys_of_another_clock_than_the_codecs_are_none() {
    let offer =
        "m=audio 4000 RTP/AVP 0 110 101\na=rtpmap:110 telephone-event/48000\na=rtpmap:101 telephone-event/8000\n";
    let (body, agreed) = answer(plain(offer).as_bytes(), &local(), &WIDE).unwrap();
    assert_eq!(agreed.telephone_event, Some(101));
    assert!(!String::from_utf8(body.to_vec()).unwrap().contains("48000"), "only what goes with the codec is answered");
    let alone = "m=audio 4000 RTP/AVP 0 110\na=rtpmap:110 telephone-event/48000\n";
    assert_eq!(answer(plain(alone).as_bytes(), &local(), &WIDE).unwrap().1.telephone_event, None);
}

#[test]
fn a_later_offer_may_have_other_codecs() {
    let mut exchange = Exchange::new(local(), vec![Codec::Pcmu]);
    let first = String::from_utf8(exchange.offer().to_vec()).unwrap();
    assert!(first.contains("RTP/AVP 0 101\r\n"), "{first}");
    let answered = plain("m=audio 4000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\n");
    assert_eq!(exchange.accept(answered.as_bytes()).unwrap().codec, Codec::Pcmu);
    exchange.prefer(vec![Codec::G722, Codec::Pcma]);
    let second = String::from_utf8(exchange.offer().to_vec()).unwrap();
    assert!(second.contains("RTP/AVP 9 8 101\r\n"), "{second}");
    let answered = plain("m=audio 4000 RTP/AVP 9 101\na=rtpmap:101 telephone-event/8000\n");
    let agreed = exchange.accept(answered.as_bytes()).unwrap();
    assert_eq!((agreed.codec, agreed.payload_type, agreed.telephone_event), (Codec::G722, 9, Some(101)));
}

#[cfg(feature = "opus")]
#[test]
fn opus_has_two_channels_and_keys_of_its_own_clock() {
    let codecs = [Codec::Opus, Codec::Pcmu];
    let offer = "m=audio 4000 RTP/AVP 0 96 101 102\na=rtpmap:96 opus/48000/2\na=fmtp:96 useinbandfec=1\n\
         a=rtpmap:101 telephone-event/8000\na=rtpmap:102 telephone-event/48000\n";
    let (body, agreed) = answer(plain(offer).as_bytes(), &local(), &codecs).unwrap();
    assert_eq!((agreed.codec, agreed.payload_type, agreed.telephone_event), (Codec::Opus, 96, Some(102)));
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains("a=rtpmap:96 opus/48000/2\r\n") && body.contains("a=rtpmap:102 telephone-event/48000\r\n"));
    let ours = String::from_utf8(voice_gateway::media::sdp::offer(&local(), &codecs).to_vec()).unwrap();
    assert!(ours.contains("RTP/AVP 111 0 101 110\r\n"), "{ours}");
    let mono = "m=audio 4000 RTP/AVP 96\na=rtpmap:96 opus/48000\n";
    assert!(answer(plain(mono).as_bytes(), &local(), &codecs).is_err(), "RFC 7587 section 7");
}
