//! The codecs of a wide band, their clocks, and the keys that go with them.

use crate::bodies::{local, plain};
use voice_gateway::media::sdp::{Codec, answer};

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
