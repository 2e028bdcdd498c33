//! Offers as peers really write them, and our answers.

use crate::bodies::{CODECS, answered, body, local, plain};
use voice_gateway::media::ControlPath;
use voice_gateway::media::sdp::{Codec, LocalMedia, Negotiated, answer, offer};

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
