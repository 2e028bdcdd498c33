//! What the SIP side refuses, with the status that names why.

use super::phone::Phone;
use super::sipp::Sipp;
use super::stage::Stage;

const CONTACT: (&str, &str) = ("X-ContactID", "100000000004");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_cap_a_call_gets_503_and_when_to_come_back() {
    let (_stage, gateway) = Stage::with_gateway(&[], "sip.max_calls = 1").await;
    let mut first = Phone::new(&gateway).await;
    first.call(&[CONTACT]).await;
    let mut second = Phone::new(&gateway).await;
    second.invite(&[CONTACT]).await;
    let answer = second.final_answer().await;
    assert_eq!(answer.code(), Some(503), "{answer:?}");
    assert!(answer.header("Retry-After").unwrap().parse::<u32>().unwrap() > 0);
    let options = Phone::new(&gateway).await.ask("OPTIONS", &[], "").await;
    assert_eq!(options.code(), Some(503), "{options:?}");
    first.hang_up().await;
    gateway.idle().await;
    let mut third = Phone::new(&gateway).await;
    third.call(&[CONTACT]).await;
    third.hang_up().await;
    gateway.idle().await;
    assert_eq!(gateway.metric("invites_total", &["code=\"503\""]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tenants_an_unknown_number_is_404() {
    let tenants = "sip.max_calls_per_second = 1000\n[[tenants]]\nname = \"acme\"\nnumbers = [\"+18882346789\"]\n";
    let (stage, gateway) = Stage::with_gateway(&[], tenants).await;
    // Often: the refusal must never be overtaken by the end of the call that it refuses.
    for _ in 0..100 {
        let mut phone = Phone::new(&gateway).await;
        phone.number = "+19990000000".to_owned();
        phone.invite(&[CONTACT]).await;
        let answer = phone.final_answer().await;
        assert_eq!(answer.code(), Some(404), "{answer:?}");
    }
    let mut known = Phone::new(&gateway).await;
    known.call(&[CONTACT]).await;
    assert_eq!(gateway.calls().await["calls"][0]["tenant"], "acme");
    known.hang_up().await;
    gateway.idle().await;
    assert_eq!(stage.turns(), [""], "only the known number reached the assistant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_403() {
    let (_stage, gateway) = Stage::with_gateway(&[], "sip.allow_from = [\"192.0.2.0/24\"]").await;
    let mut phone = Phone::new(&gateway).await;
    phone.invite(&[CONTACT]).await;
    assert_eq!(phone.final_answer().await.code(), Some(403));
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &[]).await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_is_200_until_the_drain_and_503_from_then_on() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let options = Phone::new(&gateway).await.ask("OPTIONS", &[], "").await;
    assert_eq!(options.code(), Some(200), "{options:?}");
    assert!(options.header("Allow").unwrap().contains("INVITE"), "{options:?}");
    assert_eq!(gateway.admin("/readyz").await.status(), 200);
    assert_eq!(gateway.order("/v1/drain").await.status(), 202);
    let options = Phone::new(&gateway).await.ask("OPTIONS", &[], "").await;
    assert_eq!(options.code(), Some(503), "{options:?}");
    assert_eq!(gateway.admin("/readyz").await.status(), 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_common_codec_is_488_and_a_broken_description_400() {
    let (stage, gateway) = Stage::with_gateway(&[], "").await;
    let g729 = Phone::new(&gateway).await.description("18", "a=rtpmap:18 G729/8000\r\n");
    let described = |address: &str, media: &str| {
        format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n{media}")
    };
    let audio = "m=audio 4000 RTP/AVP 0\r\n";
    let cases = [
        (488, g729),
        (400, described("127.0.0.1", &audio.repeat(100))),
        (400, described("127.0.0.1", "m=audio 65536 RTP/AVP 0\r\n")),
        (488, described("127.0.0.1", "m=audio 0 RTP/AVP 0\r\n")),
        (488, described("239.1.2.3/64", audio)),
        (488, described("255.255.255.255", audio)),
        (488, described("media.example.com", audio)),
        (400, "this is not SDP".to_owned()),
        (400, "v=0\r\no=- x y IN IP4 127.0.0.1\r\nm=audio\r\n".to_owned()),
        (400, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 99999999 RTP/AVP 0\r\n".to_owned()),
    ];
    for (code, offer) in cases {
        let mut phone = Phone::new(&gateway).await;
        phone.invite_with(&[CONTACT], &offer).await;
        let answer = phone.final_answer().await;
        assert_eq!(answer.code(), Some(code), "{offer:?}: {answer:?}");
        let warning = answer.header("Warning").unwrap_or_else(|| panic!("no Warning: {answer:?}"));
        assert!(warning.len() > 20, "{warning}");
    }
    gateway.idle().await;
    assert_eq!(gateway.metric("invites_total", &["code=\"400\""]).await, 5.0);
    assert_eq!(gateway.metric("invites_total", &["code=\"488\""]).await, 5.0);
    assert!(stage.turns().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_sip_port_is_counted_and_calls_go_on() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    let mut phone = Phone::new(&gateway).await;
    phone.call(&[CONTACT]).await;
    let hostile = Phone::new(&gateway).await;
    for garbage in ["", "\0\0\0\0", "GET / HTTP/1.1\r\n\r\n", "INVITE sip:x SIP/2.0\r\n\r\n", "SIP/2.0 999\r\n\r\n"] {
        hostile.send(garbage).await;
    }
    hostile.send(&"X".repeat(60_000)).await;
    gateway.counted("sip_parse_errors_total", &[], 1.0).await;
    phone.hears(5).await;
    phone.hang_up().await;
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_shared_secret_an_invite_is_403() {
    let secret = "sip.required_header = { name = \"X-Secret\", value = \"open sesame\" }";
    let (_stage, gateway) = Stage::with_gateway(&[], secret).await;
    for headers in [&[CONTACT][..], &[CONTACT, ("X-Secret", "open sesam")], &[CONTACT, ("X-Secret", "")]] {
        let mut phone = Phone::new(&gateway).await;
        phone.invite(headers).await;
        assert_eq!(phone.final_answer().await.code(), Some(403), "{headers:?}");
    }
    let mut phone = Phone::new(&gateway).await;
    phone.call(&[CONTACT, ("X-Secret", "open sesame")]).await;
    phone.hang_up().await;
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &[]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_faster_than_allowed_get_503_and_when_to_come_back() {
    let (_stage, gateway) = Stage::with_gateway(&[], "sip.max_calls_per_second = 1").await;
    let mut phones = Vec::new();
    for _ in 0..10 {
        let mut phone = Phone::new(&gateway).await;
        phone.invite(&[CONTACT]).await;
        phones.push(phone);
    }
    let mut refused = 0;
    for phone in &mut phones {
        let answer = phone.final_answer().await;
        match answer.code() {
            Some(200) => {
                phone.established(&answer);
                phone.acknowledge("").await;
                phone.hang_up().await;
            }
            Some(503) => {
                refused += 1;
                assert_eq!(answer.header("Retry-After"), Some("1"));
            }
            _ => panic!("{answer:?}"),
        }
    }
    // Ten that came within a second or two: most are refused, and never all.
    assert!((5..10).contains(&refused), "{refused} of ten refused");
    gateway.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_is_asked_for_a_digest_and_let_in_with_the_right_password_only() {
    let digest =
        "[sip.digest]\nrealm = \"gate\"\nusername = \"cxone\"\npassword = \"open sesame\"\nalgorithms = [\"MD5\"]\n";
    let (_stage, mut gateway) = Stage::with_gateway(&[], digest).await;
    let mut bare = Phone::new(&gateway).await;
    bare.invite(&[CONTACT]).await;
    let challenge = bare.final_answer().await;
    assert_eq!(challenge.code(), Some(401), "{challenge:?}");
    let trace = Sipp::new("call_digest.xml", CONTACT.1).digest("cxone", "open sesame").run(&gateway).await;
    assert!(trace.codes("INVITE").contains(&200), "{:?}", trace.codes("INVITE"));
    assert_eq!(trace.codes("BYE"), [200]);
    gateway.idle().await;
    assert_eq!(gateway.metric("calls_total", &[]).await, 1.0);
    let trace = Sipp::new("digest_wrong.xml", CONTACT.1).digest("cxone", "open sesam").run(&gateway).await;
    assert_eq!(trace.codes("INVITE"), [401, 401]);
    assert_eq!(gateway.metric("sip_refused_total", &["reason=\"digest_wrong\""]).await, 1.0);
    assert_eq!(gateway.metric("sip_refused_total", &["reason=\"digest_challenged\""]).await, 3.0);
    assert_eq!(gateway.metric("calls_total", &[]).await, 1.0);
    gateway.logged_where("invite_refused", |line| line["reason"] == "digest_wrong").await;
    let log = gateway.text();
    assert!(!log.contains("sesam") && !log.contains("response="), "no password and no digest in the log");
}
