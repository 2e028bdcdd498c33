//! Encryption in offers and answers (RFC 4568): which line is taken on which terms, what is refused, and what a call says again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use voice_gateway::media::sdp::{Codec, Encryption, Exchange, LocalMedia, Negotiated, Privacy, SdpProblem};
use voice_gateway::media::srtp::{KeySource, Suite};

const SHA1_80: &str = "AES_CM_128_HMAC_SHA1_80";

fn exchange(encryption: Encryption) -> Exchange {
    terms(encryption, false, 1)
}

fn terms(encryption: Encryption, exposed: bool, seed: u8) -> Exchange {
    let local =
        LocalMedia { address: "192.0.2.10".parse().unwrap(), port: 20_000, session_id: 4711, session_version: 1 };
    let privacy = Privacy { encryption, exposed, keys: KeySource::new([seed; 32]) };
    Exchange::new(local, vec![Codec::Pcmu, Codec::Pcma]).with(privacy)
}

fn body(media: &str) -> Vec<u8> {
    format!("v=0\no=- 1 1 IN IP4 198.51.100.7\ns=-\nc=IN IP4 198.51.100.7\nt=0 0\n{media}").replace('\n', "\r\n").into()
}

/// The key of a peer: `length` times `byte`.
fn inline(byte: u8, length: usize) -> String {
    format!("inline:{}", BASE64_STANDARD.encode(vec![byte; length]))
}

fn line(tag: u32, suite: &str, rest: &str) -> String {
    format!("a=crypto:{tag} {suite} {rest}\n")
}

fn lines<'a>(sdp: &'a [u8], beginning: &str) -> Vec<&'a str> {
    std::str::from_utf8(sdp).unwrap().split("\r\n").filter(|line| line.starts_with(beginning)).collect()
}

/// What an `a=crypto` line of ours says: tag, suite, key.
fn written(line: &str) -> (u32, Suite, Vec<u8>) {
    let words: Vec<&str> = line.strip_prefix("a=crypto:").unwrap().split(' ').collect();
    let key = BASE64_STANDARD.decode(words[2].strip_prefix("inline:").unwrap()).unwrap();
    (words[0].parse().unwrap(), Suite::named(words[1]).unwrap(), key)
}

#[test]
fn every_suite_is_taken_by_its_name_and_answered_with_a_key_of_ours() {
    let mut seen = Vec::new();
    for suite in Suite::ALL {
        let length = suite.key_length() + suite.salt_length();
        let offer = body(&format!("m=audio 4000 RTP/SAVP 0\n{}", line(7, suite.name(), &inline(0xA5, length))));
        let (answer, agreed) = terms(Encryption::Optional, false, seen.len() as u8).answer(&offer).unwrap();
        assert_eq!(lines(&answer, "m="), ["m=audio 20000 RTP/SAVP 0"], "{suite:?}");
        let [crypto] = lines(&answer, "a=crypto")[..] else { panic!("{answer:?}") };
        let (tag, named, key) = written(crypto);
        assert_eq!((tag, named, key.len()), (7, suite, length));
        let srtp = agreed.srtp.unwrap();
        assert_eq!((srtp.suite, srtp.ours.expose(), srtp.mki), (suite, &key[..], 0));
        assert_eq!(srtp.theirs.expose(), vec![0xA5; length]);
        assert!(!seen.contains(&key) && key != vec![0xA5; length]);
        seen.push(key);
    }
}

#[test]
fn the_first_line_that_can_be_used_is_taken() {
    let good = line(9, SHA1_80, &inline(1, 30));
    for (name, before) in [
        ("an unknown suite", line(1, "F8_128_HMAC_SHA1_80", &inline(2, 30))),
        ("a key of a wrong length", line(1, SHA1_80, &inline(2, 29))),
        ("no base64", line(1, SHA1_80, "inline:????????????????????????????????????????")),
        ("another key method", line(1, SHA1_80, "uri:https://example.com/key")),
        ("no key", format!("a=crypto:1 {SHA1_80}\n")),
        ("no tag", format!("a=crypto:x {SHA1_80} {}\n", inline(2, 30))),
        ("a tag too long", format!("a=crypto:1234567890 {SHA1_80} {}\n", inline(2, 30))),
        ("a derivation rate", line(1, SHA1_80, &format!("{} KDR=1", inline(2, 30)))),
        ("unencrypted RTP", line(1, SHA1_80, &format!("{} UNENCRYPTED_SRTP", inline(2, 30)))),
        ("unencrypted RTCP", line(1, SHA1_80, &format!("{} UNENCRYPTED_SRTCP", inline(2, 30)))),
        ("unauthenticated RTP", line(1, SHA1_80, &format!("{} UNAUTHENTICATED_SRTP", inline(2, 30)))),
        ("an unknown parameter", line(1, SHA1_80, &format!("{} NEW=1", inline(2, 30)))),
        ("several keys", line(1, SHA1_80, &format!("{0}|2^20|1:1;{0}|2^20|2:1", inline(2, 30)))),
        ("a lifetime of nothing", line(1, SHA1_80, &format!("{}|0", inline(2, 30)))),
        ("a lifetime beyond 2^48", line(1, SHA1_80, &format!("{}|2^49", inline(2, 30)))),
        ("an MKI of nothing", line(1, SHA1_80, &format!("{}|1:0", inline(2, 30)))),
        ("an MKI beyond 128 bytes", line(1, SHA1_80, &format!("{}|1:129", inline(2, 30)))),
        ("an empty line", "a=crypto\na=crypto:\n".to_owned()),
    ] {
        let offer = body(&format!("m=audio 4000 RTP/SAVP 0\n{before}{good}"));
        let (answer, agreed) = exchange(Encryption::Optional).answer(&offer).unwrap();
        assert_eq!(written(lines(&answer, "a=crypto")[0]).0, 9, "{name}");
        assert_eq!(agreed.srtp.unwrap().theirs.expose(), [1; 30], "{name}");

        let alone = body(&format!("m=audio 4000 RTP/SAVP 0\n{before}"));
        let problem = exchange(Encryption::Optional).answer(&alone).unwrap_err();
        assert_eq!((problem.code(), problem.warning()), (488, 302), "{name}");
        assert!(problem.to_string().contains("a=crypto"), "{name}: {problem}");
        assert!(!problem.to_string().contains(inline(2, 30).trim_start_matches("inline:")), "{name}: a key is shown");
    }
}

#[test]
fn lifetime_key_identifier_padding_case_and_bearable_parameters_are_understood() {
    let (key, gcm) = (inline(3, 30), inline(3, 28));
    for (offered, mki) in [
        (line(1, SHA1_80, &format!("{key}|2^20")), 0),
        (line(1, SHA1_80, &format!("{key}|1048576|1:4")), 4),
        (line(1, SHA1_80, &format!("{key}|77:128")), 128),
        (line(1, SHA1_80, &format!("{key} WSH=128 -NEW=1")), 0),
        (line(1, "aes_cm_128_hmac_sha1_80", &key.replace("inline", "INLINE")), 0),
        (line(999_999_999, "AEAD_AES_128_GCM", &gcm), 0),
        (line(1, "AEAD_AES_128_GCM", gcm.trim_end_matches('=')), 0),
    ] {
        let offer = body(&format!("m=audio 4000 RTP/SAVP 0\n{offered}"));
        let (_, agreed) = exchange(Encryption::Required).answer(&offer).unwrap();
        assert_eq!(agreed.srtp.unwrap().mki, mki, "{offered}");
    }
}

/// What becomes of an offer: the proto of the answer and whether it is encrypted, or the words of the refusal.
type Outcome = Result<(&'static str, bool), &'static str>;

#[test]
fn the_terms_decide_which_stream_is_taken() {
    let crypto = line(1, SHA1_80, &inline(1, 30));
    let plain = "m=audio 4000 RTP/AVP 0\n";
    let best_effort = format!("{plain}{crypto}");
    let secure = format!("m=audio 4002 RTP/SAVP 0\n{crypto}");
    let feedback = format!("m=audio 4002 RTP/SAVPF 0\n{crypto}");
    let bare = "m=audio 4002 RTP/SAVP 0\n";
    let dtls = "m=audio 4002 UDP/TLS/RTP/SAVPF 0\na=fingerprint:sha-256 00\n";
    let (both, reversed) = (format!("{secure}{plain}"), format!("{plain}{secure}"));
    let (avp, savp): (Outcome, Outcome) = (Ok(("RTP/AVP", false)), Ok(("RTP/SAVP", true)));
    let (off, tls) = (Err("media.srtp is off"), Err("would travel in plain text"));
    let cases: [(&str, &str, [Outcome; 5]); 8] = [
        // Off, optional, optional in plain text, required, required in plain text.
        ("plain", plain, [avp, avp, avp, Err("SRTP is required here: no a=crypto line"), tls]),
        ("best effort", &best_effort, [avp, Ok(("RTP/AVP", true)), avp, Ok(("RTP/AVP", true)), tls]),
        ("SAVP", &secure, [off, savp, tls, savp, tls]),
        ("SAVPF", &feedback, [off, Ok(("RTP/SAVPF", true)), tls, Ok(("RTP/SAVPF", true)), tls]),
        ("SAVP before AVP", &both, [avp, savp, avp, savp, tls]),
        ("AVP before SAVP", &reversed, [avp, savp, avp, savp, tls]),
        ("SAVP without a key", bare, [off, Err("no a=crypto line"), tls, Err("no a=crypto line"), tls]),
        ("DTLS", dtls, [Err("DTLS-SRTP"); 5]),
    ];
    for (name, media, outcomes) in cases {
        let terms_of = [
            (Encryption::Off, false),
            (Encryption::Optional, false),
            (Encryption::Optional, true),
            (Encryption::Required, false),
            (Encryption::Required, true),
        ];
        for ((encryption, exposed), wanted) in terms_of.into_iter().zip(outcomes) {
            let got = terms(encryption, exposed, 1).answer(&body(media));
            let name = format!("{name}, {encryption:?}, exposed {exposed}: {got:?}");
            match wanted {
                Ok((proto, encrypted)) => {
                    let (answer, agreed) = got.expect(&name);
                    let taken = lines(&answer, "m=").into_iter().find(|line| !line.starts_with("m=audio 0")).unwrap();
                    assert_eq!(taken, format!("m=audio 20000 {proto} 0"), "{name}");
                    assert_eq!(agreed.srtp.is_some(), encrypted, "{name}");
                    assert_eq!(lines(&answer, "a=crypto").len(), usize::from(encrypted), "{name}");
                }
                Err(words) => {
                    let problem = got.expect_err(&name);
                    assert_eq!(problem.code(), 488, "{name}");
                    assert!(problem.to_string().contains(words), "{name}");
                }
            }
        }
    }
}

/// Ours is offered to a peer of ours; both agree.
fn meet(ours: &mut Exchange, peer: &mut Exchange) -> (Negotiated, Negotiated) {
    let offer = ours.offer();
    let (answer, theirs) = peer.answer(&offer).unwrap_or_else(|problem| panic!("{problem}: {offer:?}"));
    (ours.accept(&answer).unwrap(), theirs)
}

#[test]
fn our_offer_carries_keys_by_policy_and_both_sides_agree() {
    use Encryption::{Off, Optional, Required};
    for (ours, exposed, peers, proto, encrypted) in [
        (Off, false, Optional, "RTP/AVP", false),
        (Optional, false, Off, "RTP/AVP", false),
        (Optional, true, Optional, "RTP/AVP", false),
        (Optional, false, Optional, "RTP/AVP", true),
        (Optional, false, Required, "RTP/AVP", true),
        (Required, false, Optional, "RTP/SAVP", true),
        (Required, false, Required, "RTP/SAVP", true),
    ] {
        let (mut us, mut peer) = (terms(ours, exposed, 1), terms(peers, false, 2));
        let offer = us.offer();
        assert_eq!(lines(&offer, "m="), [format!("m=audio 20000 {proto} 0 8 101")]);
        let (here, there) = meet(&mut us, &mut peer);
        match (here.srtp, there.srtp) {
            (Some(here), Some(there)) => {
                assert!(encrypted);
                assert_eq!((here.suite, &here.ours, &here.theirs), (there.suite, &there.theirs, &there.ours));
            }
            (None, None) => assert!(!encrypted, "{ours:?} {peers:?}"),
            (here, there) => panic!("{here:?} {there:?}"),
        }
    }
    let offer = exchange(Optional).offer();
    let offered: Vec<_> = lines(&offer, "a=crypto").into_iter().map(written).collect();
    let suites: Vec<_> = offered.iter().map(|(tag, suite, _)| (*tag, *suite)).collect();
    let wanted = [(1, Suite::AesCm128HmacSha1_80), (2, Suite::AeadAes128Gcm), (3, Suite::AeadAes256Gcm)];
    assert_eq!(suites, wanted);
    assert!(offered[0].2[..28] != offered[1].2[..] && offered[1].2[..] != offered[2].2[..28], "each has its own key");
}

#[test]
fn an_answer_must_be_one_to_our_offer() {
    let answer = |media: &str| {
        let mut exchange = exchange(Encryption::Optional);
        exchange.offer();
        exchange.accept(&body(media)).map(|agreed| agreed.srtp.map(|srtp| srtp.suite))
    };
    let gcm = line(2, "AEAD_AES_128_GCM", &inline(5, 28));
    assert_eq!(answer(&format!("m=audio 4000 RTP/AVP 0\n{gcm}")), Ok(Some(Suite::AeadAes128Gcm)));
    assert_eq!(answer(&format!("m=audio 4000 RTP/SAVP 0\n{gcm}")), Ok(Some(Suite::AeadAes128Gcm)));
    assert_eq!(answer("m=audio 4000 RTP/AVP 0\n"), Ok(None));
    for wrong in [
        line(1, "AEAD_AES_128_GCM", &inline(5, 28)),
        line(2, SHA1_80, &inline(5, 30)),
        line(4, SHA1_80, &inline(5, 30)),
        line(1, SHA1_80, &format!("{} UNENCRYPTED_SRTP", inline(5, 30))),
    ] {
        let refused = answer(&format!("m=audio 4000 RTP/AVP 0\n{wrong}"));
        assert!(matches!(refused, Err(SdpProblem::Transport(_))), "{wrong}: {refused:?}");
    }
    let mut required = exchange(Encryption::Required);
    required.offer();
    assert!(required.accept(&body("m=audio 4000 RTP/AVP 0\n")).is_err());
}

#[test]
fn keys_stay_for_the_whole_call_and_change_on_both_sides_when_the_peer_changes_its_own() {
    let mut exchange = exchange(Encryption::Optional);
    let offer = |byte| body(&format!("m=audio 4000 RTP/SAVP 0\n{}", line(1, SHA1_80, &inline(byte, 30))));
    let (first, agreed) = exchange.answer(&offer(1)).unwrap();
    let (again, same) = exchange.answer(&offer(1)).unwrap();
    assert_eq!((&first, &agreed), (&again, &same));
    // Our own offer later in the call names the key that is in use, and only that.
    let ours = exchange.offer();
    assert_eq!(lines(&ours, "a=crypto"), lines(&first, "a=crypto"));
    assert_eq!(lines(&ours, "m="), ["m=audio 20000 RTP/SAVP 0 8 101"]);
    let answer = body(&format!("m=audio 4000 RTP/SAVP 0\n{}", line(1, SHA1_80, &inline(1, 30))));
    assert_eq!(exchange.accept(&answer).unwrap().srtp, agreed.srtp);

    let (_, rekeyed) = exchange.answer(&offer(2)).unwrap();
    let (before, after) = (agreed.srtp.unwrap(), rekeyed.srtp.unwrap());
    assert!(before.ours != after.ours && before.theirs != after.theirs);
    // A refused change leaves all as it was.
    assert!(exchange.answer(&body("m=audio 4000 RTP/SAVP 0\n")).is_err());
    assert_eq!(exchange.answer(&offer(2)).unwrap().1.srtp.unwrap(), after);
}

#[test]
fn nothing_of_a_key_is_in_what_debug_shows() {
    let mut exchange = exchange(Encryption::Required);
    let (answer, agreed) =
        exchange.answer(&body(&format!("m=audio 4000 RTP/SAVP 0\n{}", line(1, SHA1_80, &inline(0x5A, 30))))).unwrap();
    let ours = written(lines(&answer, "a=crypto")[0]).2;
    let shown = format!("{agreed:?} {:?}", agreed.srtp);
    for key in [&ours[..], &[0x5A; 30]] {
        assert!(!shown.contains(&BASE64_STANDARD.encode(key)) && !shown.contains(&format!("{:?}", &key[..4])[1..12]));
    }
}

proptest! {
    #[test]
    fn any_crypto_line_is_taken_or_refused(words in "[ -~]{0,120}", tag in 0_u32..3) {
        for media in [
            format!("m=audio 4000 RTP/SAVP 0\na=crypto:{words}\n"),
            format!("m=audio 4000 RTP/AVP 0\na=crypto:{tag} {SHA1_80} inline:{words}\n"),
            format!("m=audio 4000 RTP/SAVP 0\na=crypto:{tag} {SHA1_80} {}{words}\n", inline(1, 30)),
        ] {
            match exchange(Encryption::Required).answer(&body(&media)) {
                Ok((_, agreed)) => prop_assert!(agreed.srtp.is_some()),
                Err(problem) => prop_assert_eq!(problem.code(), 488),
            }
        }
    }
}
