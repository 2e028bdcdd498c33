//! Digest authentication of calls (RFC 3261 section 22, RFC 7616, RFC 8760), both sides of it, on simulated time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use bytes::Bytes;
use sip_support::{Desk, Policy, Side, Sim, bare, flow, invite, requests, sdp, settings, within};
use std::time::Duration;
use voice_gateway::sip::digest::{Fields, respond};
use voice_gateway::sip::message::{Headers, Message, Method, Request, Response};
use voice_gateway::sip::{
    Algorithm, Credentials, Dial, DialEvent, Digest, Endpoint, Input, LegCommand, LegId, Settings, Transport,
};

const URI: &str = "sip:+18882346789@127.0.0.2";

fn guarded() -> Settings {
    let digest = Digest {
        realm: "gate \"1\"".into(),
        username: "cxone".into(),
        password: "open sesame".into(),
        algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
    };
    Settings { digest: Some(digest), ..settings() }
}

fn credentials(password: &str) -> Credentials {
    Credentials { username: "cxone".into(), password: password.into() }
}

/// The challenges that an INVITE without credentials gets.
fn challenges(desk: &mut Desk, branch: &str) -> Vec<String> {
    challenges_of(&desk.response(&invite("c", branch, 1, "")))
}

fn challenges_of(response: &Response) -> Vec<String> {
    assert_eq!(response.code, 401, "{response:?}");
    response.headers.fields_of("WWW-Authenticate").map(|field| field.value.clone()).collect()
}

fn stale(challenges: &[String]) -> bool {
    challenges.iter().all(|challenge| Fields::parse(challenge).unwrap().unwrap().value("stale") == Some("true"))
}

fn answer_to<'a>(challenges: impl IntoIterator<Item = &'a String>, password: &str, uri: &str) -> String {
    let request = Request { method: Method::Invite, uri: uri.into(), headers: Headers::default(), body: Bytes::new() };
    let challenges = challenges.into_iter().map(String::as_str);
    respond(challenges, &credentials(password), &request, false, "0a4f113b").expect("a challenge that can be met")
}

/// An INVITE with these credentials.
fn with(branch: &str, authorization: &str) -> String {
    invite(branch, branch, 2, &format!("Authorization: {authorization}\r\n"))
}

#[test]
fn a_call_is_let_in_by_either_algorithm_and_sha_256_is_asked_for_first() {
    let mut desk = Desk::new(guarded());
    let challenges = challenges(&mut desk, "z9hG4bK1");
    let asked: Vec<_> = challenges.iter().map(|text| Fields::parse(text).unwrap().unwrap()).collect();
    assert_eq!(asked.iter().map(|one| one.value("algorithm").unwrap()).collect::<Vec<_>>(), ["SHA-256", "MD5"]);
    for one in &asked {
        assert_eq!((one.value("realm"), one.value("qop")), (Some("gate \"1\""), Some("auth")));
        assert_eq!(one.value("stale"), None);
    }
    assert_ne!(asked[0].value("nonce"), asked[1].value("nonce"));
    for (index, challenge) in challenges.iter().enumerate() {
        let text = with(&format!("z9hG4bKok{index}"), &answer_to([challenge], "open sesame", URI));
        assert_eq!(desk.codes(&text), [100], "{text}");
        assert!(desk.receive(&text).len() == 1, "a retransmission finds its transaction, not a replay");
    }
    assert_eq!(desk.invites.len(), 2);
}

#[test]
fn an_algorithm_that_is_not_wanted_is_neither_asked_for_nor_accepted() {
    let mut both = Desk::new(guarded());
    let md5 = challenges(&mut both, "z9hG4bK1").pop().unwrap();
    let mut settings = guarded();
    settings.digest.as_mut().unwrap().algorithms = vec![Algorithm::Sha256];
    let mut strict = Desk::new(settings);
    assert_eq!(challenges(&mut strict, "z9hG4bK1").len(), 1);
    assert_eq!(challenges_of(&strict.response(&with("z9hG4bK2", &answer_to([&md5], "open sesame", URI)))).len(), 1);
}

#[test]
fn nothing_is_kept_of_who_does_not_answer_and_ack_cancel_and_the_dialog_are_not_asked() {
    let mut desk = Desk::new(guarded());
    let first = desk.response(&invite("c", "z9hG4bK1", 1, ""));
    let again = desk.response(&invite("c", "z9hG4bK1", 1, ""));
    assert_eq!(first.headers.first("To"), again.headers.first("To"), "stateless, and so the same tag");
    assert!(desk.receive(&bare("ACK", "c", "z9hG4bK1", 1, "")).is_empty());
    assert_eq!((desk.endpoint.transactions(), desk.endpoint.active()), (0, 0));
    assert_eq!(desk.codes(&bare("OPTIONS", "o", "z9hG4bKo", 1, "")), [200]);
    assert_eq!(desk.codes(&bare("CANCEL", "c", "z9hG4bK1", 1, "")), [481]);
    let authorization = answer_to(&challenges_of(&first), "open sesame", URI);
    assert_eq!(desk.codes(&with("z9hG4bK2", &authorization)), [100]);
    let Some(Message::Response(ok)) = desk.order(LegCommand::Answer { sdp: sdp(), headers: vec![] }).pop() else {
        panic!()
    };
    let tag = sip_support::tag_of(&ok);
    assert!(desk.receive(&within("ACK", "z9hG4bK2", "z9hG4bKa", 2, &tag, "", "")).is_empty());
    let sdp_type = "Content-Type: application/sdp\r\n";
    let offer = std::str::from_utf8(sip_support::SDP).unwrap();
    assert_eq!(desk.codes(&within("INVITE", "z9hG4bK2", "z9hG4bKr", 3, &tag, sdp_type, offer)), [100]);
    assert_eq!(desk.codes(&within("BYE", "z9hG4bK2", "z9hG4bKb", 4, &tag, "", "")), [200, 487]);
}

#[test]
fn a_wrong_password_and_a_wrong_user_look_the_same_and_get_nowhere() {
    let mut desk = Desk::new(guarded());
    let challenges = challenges(&mut desk, "z9hG4bK1");
    let right = answer_to(&challenges, "open sesame", URI);
    for (index, wrong) in
        [answer_to(&challenges, "open sesam", URI), right.replace("\"cxone\"", "\"cxtwo\"")].iter().enumerate()
    {
        let response = desk.response(&with(&format!("z9hG4bKw{index}"), wrong));
        let asked = challenges_of(&response);
        assert_eq!(asked.len(), 2);
        assert!(!stale(&asked));
        assert_eq!(response.reason, "Unauthorized");
    }
    assert_eq!(desk.codes(&with("z9hG4bKr", &right)), [100], "a slip is no lock");
}

#[test]
fn a_count_is_good_once_and_another_nonce_is_asked_for() {
    let mut desk = Desk::new(guarded());
    let challenges = challenges(&mut desk, "z9hG4bK1");
    let right = answer_to(&challenges, "open sesame", URI);
    assert_eq!(desk.codes(&with("z9hG4bKa", &right)), [100]);
    let replayed = challenges_of(&desk.response(&with("z9hG4bKb", &right)));
    assert!(stale(&replayed), "{replayed:?}");
    assert_eq!(desk.codes(&with("z9hG4bKc", &answer_to(&replayed, "open sesame", URI))), [100]);
}

#[test]
fn an_old_nonce_a_forged_one_and_one_without_its_opaque_are_stale() {
    let mut desk = Desk::new(guarded());
    let first = challenges(&mut desk, "z9hG4bK1");
    desk.wait(Duration::from_secs(59));
    let second = challenges(&mut desk, "z9hG4bK2");
    assert_eq!(desk.codes(&with("z9hG4bKa", &answer_to(&first, "open sesame", URI))), [100]);
    desk.wait(Duration::from_secs(1));
    let third = challenges(&mut desk, "z9hG4bK3");
    let nonce =
        |challenges: &[String]| Fields::parse(&challenges[0]).unwrap().unwrap().value("nonce").unwrap().to_owned();
    let of_second = answer_to(&second, "open sesame", URI);
    let opaque = Fields::parse(&of_second).unwrap().unwrap().value("opaque").unwrap().to_owned();
    // The nonce of the MD5 challenge with SHA-256, and the other way round: no way from the strong to the weak.
    let crossed = second[0].replace("SHA-256", "MD5");
    for (index, text) in [
        answer_to(&first, "open sesame", URI),
        of_second.replace(&nonce(&second), "dcd98b7102dd2f0e8b11d0f600bfb0c093"),
        of_second.replace(&opaque, "0"),
        of_second.replace(&format!(", opaque=\"{opaque}\""), ""),
        answer_to([&crossed], "open sesame", URI),
    ]
    .iter()
    .enumerate()
    {
        let response = desk.response(&with(&format!("z9hG4bKs{index}"), text));
        assert!(stale(&challenges_of(&response)), "{text}");
    }
    assert_eq!(desk.codes(&with("z9hG4bKb", &answer_to(&third, "open sesame", URI))), [100]);
}

#[test]
fn what_cannot_be_read_or_is_for_something_else_is_400_and_says_why() {
    let mut desk = Desk::new(guarded());
    let challenges = challenges(&mut desk, "z9hG4bK1");
    let right = answer_to(&challenges, "open sesame", URI);
    let nc = "nc=00000001";
    for (index, (text, what)) in [
        (right.replace("qop=auth", "qop=auth-int"), "qop must be auth"),
        (right.replace(", qop=auth", ""), "qop must be auth"),
        (right.replace(nc, "nc=1"), "nc is no count of eight hexadecimal digits"),
        (right.replace(nc, "nc=00000000"), "nc is no count of eight hexadecimal digits"),
        (right.replace(nc, "nc=+0000001"), "nc is no count of eight hexadecimal digits"),
        (right.replace(", nc=00000001", ""), "nc is missing"),
        (right.replace(", cnonce=\"0a4f113b\"", ""), "cnonce is missing"),
        (right.replace("username=\"cxone\", ", ""), "username is missing"),
        (format!("{right}, nc=00000002"), "a field is there twice"),
        (format!("{right}, x=\"y"), "a quoted string does not end"),
        (answer_to(&challenges, "open sesame", "sip:+19995550100@127.0.0.2"), "uri is not that of the request"),
        (answer_to(&challenges, "open sesame", "*"), "uri is not that of the request"),
    ]
    .iter()
    .enumerate()
    {
        let response = desk.response(&with(&format!("z9hG4bKm{index}"), text));
        assert_eq!((response.code, response.reason.as_str()), (400, &*format!("Bad Request: Authorization: {what}")));
        assert_eq!(response.headers.count("WWW-Authenticate"), 0);
    }
    // A proxy may have changed the host, never whom it calls.
    let rewritten = answer_to(&challenges, "open sesame", "sip:+18882346789@sbc.example.com;transport=tcp");
    assert_eq!(desk.codes(&with("z9hG4bKp", &rewritten)), [100]);
}

#[test]
fn credentials_of_other_realms_and_schemes_do_not_count_and_the_strongest_of_ours_does() {
    let mut desk = Desk::new(guarded());
    let challenges = challenges(&mut desk, "z9hG4bK1");
    let [sha256, md5] = [&challenges[..1], &challenges[1..]].map(|one| answer_to(one, "open sesame", URI));
    let weak_lie = answer_to(&challenges[1..], "wrong", URI);
    let foreign = sha256.replace("gate ", "another ");
    let fields = |values: &[&str]| values.iter().map(|value| format!("Authorization: {value}\r\n")).collect::<String>();
    let mut turn = 0;
    let mut code = |desk: &mut Desk, values: &[&str]| {
        turn += 1;
        let branch = format!("z9hG4bKt{turn}");
        desk.response(&invite(&branch, &branch, 2, &fields(values))).code
    };
    assert_eq!(code(&mut desk, &["Basic dTpw", &foreign]), 401);
    let strong_lie = answer_to(&challenges[..1], "wrong", URI);
    assert_eq!(code(&mut desk, &[&md5, &strong_lie]), 401, "a weaker one is no way around a stronger one");
    assert_eq!(code(&mut desk, &["Basic dTpw", &foreign, &weak_lie, &sha256]), 100);
    assert_eq!(code(&mut desk, &["Digest realm=\"x"]), 400);
}

#[test]
fn a_guesser_is_slowed_down_and_nobody_else_is() {
    let mut desk = Desk::new(guarded());
    let mut guess = 0;
    let mut guesses = |desk: &mut Desk, number: u32, password: &str| {
        let mut codes = Vec::new();
        for _ in 0..number {
            guess += 1;
            let asked = challenges(desk, &format!("z9hG4bKq{guess}"));
            codes.extend(desk.codes(&with(&format!("z9hG4bKg{guess}"), &answer_to(&asked, password, URI))));
        }
        codes
    };
    let codes = guesses(&mut desk, 100, "guess");
    assert_eq!(codes.iter().filter(|code| **code == 401).count(), 10, "{codes:?}");
    assert_eq!(guesses(&mut desk, 1, "open sesame"), [403], "not even the right one tells anything now");
    let own = desk.flow;
    desk.flow = flow(Transport::Udp, "127.0.0.2:5060", "127.0.0.7:5070");
    assert_eq!(guesses(&mut desk, 1, "open sesame"), [100]);
    desk.flow = own;
    desk.wait(Duration::from_secs(1));
    assert_eq!(guesses(&mut desk, 3, "guess"), [401, 403, 403], "one a second");
    desk.wait(Duration::from_secs(1));
    assert_eq!(guesses(&mut desk, 1, "open sesame"), [100]);
}

/// The answer was lost, so the request comes again: that is no further guess, whatever branch it has.
#[test]
fn a_wrong_answer_that_comes_again_is_one_guess() {
    let mut desk = Desk::new(guarded());
    let asked = challenges(&mut desk, "z9hG4bKq");
    let guess = |n: u32, password: &str| with(&format!("z9hG4bKg{n}"), &answer_to(&asked, password, URI));
    for n in 0..100 {
        let again = desk.response(&guess(n % 2, "guess"));
        assert!(!stale(&challenges_of(&again)), "{n}");
    }
    let codes: Vec<_> = (0..12).flat_map(|n| desk.codes(&guess(n, &format!("guess {n}")))).collect();
    assert_eq!(codes, [[401; 9].as_slice(), &[403; 3]].concat(), "nine more were left");
    assert_eq!(desk.codes(&guess(0, "guess")), [401], "the answer to it stays the same");
    assert_eq!(desk.codes(&guess(0, "open sesame")), [403]);
    desk.wait(Duration::from_secs(33));
    let asked = challenges(&mut desk, "z9hG4bKq2");
    let mut guess = |password| desk.codes(&with("z9hG4bKlast", &answer_to(&asked, password, URI)));
    assert_eq!((guess("guess"), guess("open sesame")), (vec![401], vec![100]));
}

fn call(sim: &mut Sim, password: &str) -> LegId {
    let digest = guarded();
    sim.callee = Endpoint::new(digest, [9; 32]);
    let leg = sim.caller.reserve_leg();
    let credentials = Some(credentials(password));
    let dial = Dial {
        uri: URI.into(),
        from: String::new(),
        headers: vec![("X-A".into(), "b".into())],
        sdp: sdp(),
        credentials,
    };
    let flow = flow(Transport::Udp, "127.0.0.1:5070", "127.0.0.2:5060");
    sim.step(Side::Caller, Input::Dial { leg, dial, flow });
    leg
}

#[test]
fn a_call_of_ours_answers_the_challenge_whatever_a_fifth_of_loss_does_to_it() {
    for seed in 0..100 {
        let mut sim = Sim::new(seed);
        (sim.loss, sim.duplication, sim.delay) = (0.2, 0.1, 1..300);
        let leg = call(&mut sim, "open sesame");
        sim.run(Duration::from_secs(60));
        let answered = |event: &&(Duration, DialEvent)| matches!(event.1, DialEvent::Answered { .. });
        assert_eq!(sim.caller_events.iter().filter(answered).count(), 1, "seed {seed}: {:?}", sim.caller_events);
        let (_, invite) = &sim.invites[0];
        let header = |name: &str| invite.headers.iter().filter(|(known, _)| known == name).count();
        assert_eq!((sim.invites.len(), header("Authorization"), header("X-A"), header("CSeq")), (1, 1, 1, 1));
        assert_eq!(invite.sdp.as_deref(), Some(sip_support::SDP));
        sim.order(Side::Caller, leg, LegCommand::Bye { headers: Vec::new() });
        sim.run(Duration::from_secs(200));
        assert!(sim.forgotten(), "seed {seed}");
    }
}

#[test]
fn a_wrong_password_of_ours_is_told_once_and_not_repeated() {
    let mut sim = Sim::new(1);
    call(&mut sim, "wrong");
    sim.run(Duration::from_secs(60));
    assert_eq!(sim.times(Side::Caller, "INVITE").len(), 2);
    let events: Vec<_> = sim.caller_events.iter().map(|(_, event)| event).collect();
    assert!(matches!(events[..], [DialEvent::Refused { code: 401, .. }, DialEvent::Ended]), "{events:?}");
    assert!(sim.invites.is_empty() && sim.forgotten());
}

#[test]
fn a_call_that_is_taken_back_while_it_is_challenged_is_not_placed_again() {
    let mut sim = Sim::new(1);
    sim.policy = Policy::RingOnly;
    let leg = call(&mut sim, "open sesame");
    sim.step(Side::Caller, Input::Cancel { leg });
    sim.run(Duration::from_secs(60));
    assert_eq!(sim.times(Side::Caller, "INVITE").len(), 1);
    assert!(sim.invites.is_empty() && sim.forgotten(), "{:?}", sim.caller_events);
}

#[test]
fn a_proxy_on_the_way_is_answered_by_its_own_header_and_a_bye_too() {
    let mut desk = Desk::new(settings());
    let leg = desk.endpoint.reserve_leg();
    let credentials = Some(credentials("open sesame"));
    let dial = Dial { uri: URI.into(), from: String::new(), headers: Vec::new(), sdp: sdp(), credentials };
    let flow = desk.flow;
    let first = requests(&desk.step(Input::Dial { leg, dial, flow })).remove(0);
    let answer = |request: &Request, line: &str, more: &str| {
        let kept = |name: &str| format!("{name}: {}\r\n", request.headers.first(name).unwrap());
        let kept: String = ["Via", "From", "Call-ID", "CSeq"].map(kept).concat();
        let to = request.headers.first("To").unwrap();
        let tag = if to.contains("tag=") { "" } else { ";tag=them" };
        format!("SIP/2.0 {line}\r\n{kept}To: {to}{tag}\r\n{more}Content-Length: 0\r\n\r\n")
    };
    let challenge = "Proxy-Authenticate: Digest realm=\"p\", nonce=\"n1\", qop=\"auth\"\r\n";
    let sent = requests(&desk.receive(&answer(&first, "407 Proxy Authentication Required", challenge)));
    let [ack, second] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((&ack.method, &second.method), (&Method::Ack, &Method::Invite));
    assert_eq!((second.headers.first("CSeq"), second.headers.count("Via")), (Some("2 INVITE"), 1));
    assert_eq!(second.headers.first("Call-ID"), first.headers.first("Call-ID"));
    assert_eq!(second.headers.first("From"), first.headers.first("From"));
    assert_eq!(second.body, first.body);
    let given = second.headers.first("Proxy-Authorization").unwrap();
    assert_eq!(Fields::parse(given).unwrap().unwrap().value("nonce"), Some("n1"));
    // And the callee behind it has its own.
    let own = "WWW-Authenticate: Digest realm=\"c\", nonce=\"n2\"\r\n";
    let sent = requests(&desk.receive(&answer(second, "401 Unauthorized", own)));
    let third = &sent[1];
    assert_eq!((third.headers.count("Proxy-Authorization"), third.headers.count("Authorization")), (1, 1));
    let contact = "Contact: <sip:them@127.0.0.1:5070>\r\n";
    let ack = requests(&desk.receive(&answer(third, "200 OK", contact))).remove(0);
    assert_eq!((&ack.method, ack.headers.first("CSeq")), (&Method::Ack, Some("3 ACK")));
    let bye = requests(&desk.step(Input::Command { leg, command: LegCommand::Bye { headers: Vec::new() } })).remove(0);
    let sent = requests(&desk.receive(&answer(&bye, "407 Proxy Authentication Required", challenge)));
    let [again] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((&again.method, again.headers.first("CSeq")), (&Method::Bye, Some("5 BYE")));
    assert_eq!(again.headers.count("Proxy-Authorization"), 1);
    desk.receive(&answer(again, "200 OK", ""));
    assert_eq!(desk.endpoint.active(), 0);
}

#[test]
fn without_a_password_a_challenge_is_a_refusal() {
    let mut sim = Sim::new(1);
    sim.callee = Endpoint::new(guarded(), [9; 32]);
    sim.dial();
    sim.run(Duration::from_secs(60));
    assert!(matches!(sim.caller_events[0].1, DialEvent::Refused { code: 401, .. }), "{:?}", sim.caller_events);
    assert!(sim.forgotten());
}
