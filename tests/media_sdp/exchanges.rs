//! Our own offers, and all that is said in one call: streams, numbers, versions.

use crate::bodies::{CODECS, local, plain};
use voice_gateway::media::sdp::{Codec, Exchange, LocalMedia, SdpProblem, accept_answer, answer, offer};

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
