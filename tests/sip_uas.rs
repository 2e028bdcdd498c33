//! The UAS, request by request: what it answers, what the call hears of it, who is let in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use sip_support::{Desk, SDP, answer, bare, codes, invite, requests, sdp, settings, tag_of, within};
use std::time::Duration;
use voice_gateway::sip::message::{Message, Method};
use voice_gateway::sip::{LegCommand, LegEvent};

const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, NOTIFY";

#[test]
fn an_invite_is_tried_at_once_and_told_to_the_call_as_it_was() {
    let mut desk = Desk::new(settings());
    let diverted = "Diversion: <sip:+1999@h>;reason=no-answer, <sip:+1888@h>;reason=unconditional\r\n";
    let more = format!("X-ContactID: \r\n  12345  \r\nP-Asserted-Identity: <sip:+1777@h>\r\n{diverted}");
    assert_eq!(desk.codes(&invite("c", "z9hG4bK1", 1, &more)), [100]);
    let (_, told) = &desk.invites[0];
    assert_eq!((told.call_id.as_str(), told.caller_number.as_str()), ("c", "+1777"));
    assert_eq!(told.original_called_number, "+1888");
    assert_eq!(
        (told.called_number.as_str(), told.request_uri.as_str()),
        ("+18882346789", "sip:+18882346789@127.0.0.2")
    );
    assert!(told.headers.contains(&("X-ContactID".into(), "12345".into())), "{:?}", told.headers);
    assert_eq!(told.headers[0].0, "Via");
    assert_eq!(told.sdp.as_deref(), Some(SDP));
    assert_eq!(told.source, Some("127.0.0.1:5070".parse().unwrap()));
    assert!(!["1777", "1888"].iter().any(|one| format!("{told:?}").contains(one)), "numbers stay out of Debug");
}

#[test]
fn answers_carry_what_a_dialog_needs() {
    let mut desk = Desk::new(settings());
    desk.receive(&invite("c", "z9hG4bK1", 1, "Record-Route: <sip:192.0.2.1;lr>\r\n"));
    let ringing = desk.order(LegCommand::Ring);
    let headers = vec![
        ("X-Session-Key".to_owned(), "abc".to_owned()),
        ("X-Bad".to_owned(), "1\r\nVia: evil".to_owned()),
        ("To".to_owned(), "evil".to_owned()),
    ];
    let ok = desk.order(LegCommand::Answer { sdp: sdp(), headers });
    for (messages, code) in [(&ringing, 180), (&ok, 200)] {
        let [Message::Response(response)] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!(response.code, code);
        let first = |name| response.headers.first(name);
        assert_eq!(first("Contact"), Some("<sip:voice-gateway@127.0.0.2:5060>"));
        assert_eq!(first("Record-Route"), Some("<sip:192.0.2.1;lr>"));
        assert_eq!(first("Via"), Some("SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1;received=127.0.0.1;rport=5070"));
        assert!(first("Allow").is_some_and(|allow| allow.contains("BYE")));
        assert!(first("Server").is_some_and(|server| server.starts_with("voice-gateway/")));
        assert_eq!(response.headers.count("To"), 1);
        assert_eq!(response.headers.count("Via"), 1);
    }
    let [Message::Response(ok)] = ok.as_slice() else { panic!() };
    assert_eq!(ok.headers.first("X-Session-Key"), Some("abc"));
    assert_eq!(ok.headers.first("X-Bad"), Some("1Via: evil"));
    assert_eq!((ok.headers.first("Content-Type"), &ok.body[..]), (Some("application/sdp"), SDP));
}

#[test]
fn a_retransmitted_invite_gets_the_last_response_again_and_no_second_call() {
    let mut desk = Desk::new(settings());
    let text = invite("c", "z9hG4bK1", 1, "");
    assert_eq!(desk.codes(&text), [100]);
    assert_eq!(desk.codes(&text), [100]);
    desk.order(LegCommand::Ring);
    assert_eq!(desk.codes(&text), [180]);
    desk.order(answer());
    assert_eq!(desk.codes(&text), [200]);
    assert_eq!(desk.invites.len(), 1);
}

#[test]
fn the_same_invite_by_another_way_is_merged() {
    let mut desk = Desk::new(settings());
    desk.codes(&invite("c", "z9hG4bK1", 1, ""));
    let response = desk.response(&invite("c", "z9hG4bK2", 1, ""));
    assert_eq!(response.code, 482);
    assert!(!tag_of(&response).is_empty());
    assert_eq!(desk.codes(&invite("d", "z9hG4bK3", 1, "")), [100]);
    assert_eq!(desk.invites.len(), 2);
    // Once the first is over and forgotten nothing is merged any more.
    desk.wait(Duration::from_secs(400));
    assert_eq!(desk.codes(&invite("c", "z9hG4bK4", 1, "")), [100]);
}

#[test]
fn a_proxy_may_try_again_what_was_refused_but_not_what_was_answered() {
    let mut desk = Desk::new(settings());
    desk.codes(&invite("c", "z9hG4bK1", 1, ""));
    desk.order(LegCommand::Reject { code: 486, reason: String::new(), headers: Vec::new() });
    assert_eq!(desk.codes(&invite("c", "z9hG4bK2", 1, "")), [100], "a new branch is a new try");
    assert_eq!(desk.codes(&invite("c", "z9hG4bK1", 1, "")), [486], "the old one is a retransmission");
    assert_eq!(desk.codes(&invite("c", "z9hG4bK3", 1, "")), [482], "merged with the second");
    desk.order(answer());
    assert_eq!(desk.codes(&invite("c", "z9hG4bK4", 1, "")), [482]);
}

#[test]
fn a_refusal_is_repeated_until_its_ack() {
    let mut desk = Desk::new(settings());
    desk.codes(&invite("c", "z9hG4bK1", 1, ""));
    let refused = desk.order(LegCommand::Reject {
        code: 488,
        reason: String::new(),
        headers: vec![("Warning".into(), "305 gw \"no codec\"".into())],
    });
    let [Message::Response(refused)] = refused.as_slice() else { panic!() };
    assert_eq!((refused.code, refused.headers.first("Warning")), (488, Some("305 gw \"no codec\"")));
    assert_eq!(desk.events, [LegEvent::Ended]);
    assert_eq!(codes(&desk.wait(Duration::from_secs(2))), [488, 488]);
    let ack = bare("ACK", "c", "z9hG4bK1", 1, "");
    assert!(desk.receive(&ack).is_empty());
    assert!(desk.wait(Duration::from_secs(60)).is_empty());
    assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (0, 0));
}

#[test]
fn requests_within_the_dialog_keep_their_order() {
    let mut desk = Desk::new(settings());
    let tag = desk.establish("c");
    let info = |branch: &str, cseq| within("INFO", "c", branch, cseq, &tag, "", "");
    assert_eq!(desk.codes(&info("z9hG4bKa", 9)), [200]);
    assert_eq!(desk.codes(&info("z9hG4bKb", 8)), [500]);
    assert_eq!(desk.codes(&info("z9hG4bKc", 90)), [200]);
    let retransmitted = info("z9hG4bKa", 9);
    assert_eq!(desk.codes(&retransmitted), [200], "a retransmission is no old request");
    let stranger = within("INFO", "c", "z9hG4bKd", 91, &tag, "", "").replace("tag=caller", "tag=other");
    assert_eq!(desk.codes(&stranger), [481]);
    assert_eq!(desk.codes(&within("INFO", "c", "z9hG4bKe", 91, "unknown", "", "")), [481]);
}

#[test]
fn bye_ends_the_call_before_the_ack_too_and_its_retransmission_is_answered() {
    for acknowledged in [true, false] {
        let mut desk = Desk::new(settings());
        let tag = if acknowledged {
            desk.establish("c")
        } else {
            desk.codes(&invite("c", "z9hG4bKinv", 1, ""));
            let [Message::Response(ok)] = &desk.order(answer())[..] else { panic!() };
            tag_of(ok)
        };
        let bye = within("BYE", "c", "z9hG4bKbye", 2, &tag, "Reason: Q.850;cause=16\r\n", "");
        assert_eq!(desk.codes(&bye), [200]);
        assert_eq!(desk.codes(&bye), [200]);
        let end = [LegEvent::Bye { reason: Some("Q.850;cause=16".into()) }, LegEvent::Ended];
        assert_eq!(desk.events[usize::from(acknowledged)..], end);
        assert_eq!(desk.codes(&within("BYE", "c", "z9hG4bKnew", 3, &tag, "", "")), [481]);
        assert!(desk.wait(Duration::from_secs(60)).is_empty(), "the 2xx is no longer repeated");
        assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (0, 0));
    }
}

#[test]
fn bye_before_the_answer_ends_the_invite_with_487() {
    let mut desk = Desk::new(settings());
    desk.codes(&invite("c", "z9hG4bK1", 1, ""));
    let [Message::Response(ringing)] = &desk.order(LegCommand::Ring)[..] else { panic!() };
    let bye = within("BYE", "c", "z9hG4bKbye", 2, &tag_of(ringing), "", "");
    assert_eq!(desk.codes(&bye), [200, 487]);
    assert_eq!(desk.events, [LegEvent::Cancelled, LegEvent::Ended]);
}

#[test]
fn cancel_has_effect_only_before_the_final_answer() {
    let mut desk = Desk::new(settings());
    let cancel = bare("CANCEL", "c", "z9hG4bK1", 1, "");
    assert_eq!(desk.codes(&cancel), [481]);
    desk.codes(&invite("c", "z9hG4bK1", 1, ""));
    assert_eq!(desk.codes(&cancel), [200, 487]);
    assert_eq!(desk.codes(&cancel), [200]);
    assert_eq!(desk.events, [LegEvent::Cancelled, LegEvent::Ended]);
    assert!(desk.order(answer()).is_empty(), "the answer came too late");

    let mut desk = Desk::new(settings());
    desk.codes(&invite("c", "z9hG4bK1", 1, ""));
    let [Message::Response(ok)] = &desk.order(answer())[..] else { panic!() };
    let cancelled = desk.response(&cancel);
    assert_eq!((cancelled.code, tag_of(&cancelled)), (200, tag_of(ok)));
    assert!(desk.events.is_empty());
}

#[test]
fn keys_by_info_are_heard_and_other_bodies_refused() {
    let mut desk = Desk::new(settings());
    let tag = desk.establish("c");
    let info = |cseq: u32, media: &str, body: &str| {
        within("INFO", "c", &format!("z9hG4bK{cseq}"), cseq, &tag, &format!("Content-Type: {media}\r\n"), body)
    };
    assert_eq!(desk.codes(&info(2, "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n")), [200]);
    assert_eq!(desk.codes(&info(2, "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n")), [200]);
    assert_eq!(desk.codes(&info(3, "application/dtmf", "#")), [200]);
    let refused = desk.response(&info(4, "text/plain", "hello"));
    assert_eq!(
        (refused.code, refused.headers.first("Accept")),
        (415, Some("application/dtmf-relay, application/dtmf"))
    );
    assert_eq!(desk.events[1..], [LegEvent::InfoDigit('5'), LegEvent::InfoDigit('#')]);
}

#[test]
fn our_bye_follows_the_route_set_and_carries_the_calls_headers() {
    let mut desk = Desk::new(settings());
    let more = "Record-Route: <sip:127.0.0.9:5090;lr>\r\nRecord-Route: <sip:p2.example.com;lr>\r\n";
    desk.codes(&invite("c", "z9hG4bK1", 1, more));
    let [Message::Response(ok)] = &desk.order(answer())[..] else { panic!() };
    let tag = tag_of(ok);
    desk.receive(&within("ACK", "c", "z9hG4bKa", 1, &tag, "", ""));
    let bye = desk.order(LegCommand::Bye { headers: vec![("Reason".into(), "SIP;cause=500".into())] });
    let [bye] = requests(&bye).try_into().unwrap();
    assert_eq!((bye.method, bye.uri.as_str()), (Method::Bye, "sip:a@127.0.0.1:5070"));
    assert_eq!(bye.headers.list("Route"), ["<sip:127.0.0.9:5090;lr>", "<sip:p2.example.com;lr>"]);
    assert_eq!(bye.headers.first("Reason"), Some("SIP;cause=500"));
    assert_eq!(desk.sent[0].0.remote, "127.0.0.9:5090".parse().unwrap());
    let via = bye.headers.first("Via").unwrap().to_owned();
    let ok = format!(
        "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: c\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
        bye.headers.first("From").unwrap(),
        bye.headers.first("To").unwrap()
    );
    assert!(desk.receive(&ok).is_empty());
    assert_eq!(desk.events.last(), Some(&LegEvent::Ended));
}

#[test]
fn an_unanswered_bye_ends_the_leg_after_64_t1() {
    let mut desk = Desk::new(settings());
    desk.establish("c");
    desk.order(LegCommand::Bye { headers: Vec::new() });
    desk.wait(Duration::from_secs(31));
    assert_eq!(desk.endpoint.active(), 1);
    desk.wait(Duration::from_secs(2));
    assert_eq!(desk.events.last(), Some(&LegEvent::Ended));
    assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (0, 0));
}

#[test]
fn methods_and_extensions_get_their_codes() {
    let mut desk = Desk::new(settings());
    for (text, code, header, value) in [
        (bare("OPTIONS", "a", "z9hG4bK1", 1, ""), 200, "Accept", "application/sdp"),
        (bare("REGISTER", "b", "z9hG4bK2", 1, ""), 405, "Allow", ALLOW),
        (bare("NEWMETHOD", "c", "z9hG4bK3", 1, ""), 501, "Allow", ALLOW),
        (bare("BYE", "d", "z9hG4bK4", 1, ""), 481, "CSeq", "1 BYE"),
        (invite("e", "z9hG4bK5", 1, "Require: 100rel, foo\r\n"), 420, "Unsupported", "foo"),
        (invite("f", "z9hG4bK6", 1, "Content-Encoding: gzip\r\n"), 415, "Accept-Encoding", "identity"),
        (invite("g", "z9hG4bK7", 1, "Accept: text/plain\r\n"), 406, "Accept", "application/sdp"),
        (invite("h", "z9hG4bK8", 1, "").replace("application/sdp", "text/plain"), 415, "Accept", "application/sdp"),
        (invite("i", "z9hG4bK9", 1, "").replace("INVITE sip:", "INVITE http:"), 416, "CSeq", "1 INVITE"),
        (bare("OPTIONS", "j", "z9hG4bKa", 1, "").replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"), 400, "CSeq", "1 INVITE"),
    ] {
        let response = desk.response(&text);
        assert_eq!((response.code, response.headers.first(header)), (code, Some(value)), "{text}");
        assert_eq!(desk.response(&text), response, "a retransmission gets the same answer");
    }
    assert!(desk.invites.is_empty());
    assert_eq!(desk.endpoint.transactions(), 0, "refusing keeps nothing");
    let malformed = desk.response(&invite("k", "z9hG4bKb", 1, "Call-ID: k2\r\n"));
    assert_eq!((malformed.code, malformed.reason.as_str()), (400, "Bad Request: more than one Call-ID"));
    assert_eq!(desk.codes(&invite("l", "z9hG4bKc", 1, "Accept: text/plain, application/*;q=0.1\r\n")), [100]);
    assert_eq!(desk.codes(&invite("m", "z9hG4bKd", 1, "").replace("Max-Forwards: 70", "Max-Forwards: 0")), [100]);
}

/// Allow tells the truth: what it names is taken within a call, and nothing else is.
#[test]
fn the_methods_of_allow_are_those_that_are_taken() {
    let mut desk = Desk::new(settings());
    let tag = desk.establish("c");
    for (n, method) in ALLOW.split(", ").filter(|method| !["ACK", "CANCEL", "BYE"].contains(method)).enumerate() {
        let cseq = u32::try_from(n).unwrap() + 2;
        let codes = desk.codes(&within(method, "c", &format!("z9hG4bK{cseq}"), cseq, &tag, "", ""));
        assert!(!codes.is_empty() && !codes.iter().any(|code| [405, 501].contains(code)), "{method}: {codes:?}");
    }
    for (n, method) in ["REGISTER", "SUBSCRIBE", "MESSAGE", "PUBLISH", "REFER"].iter().enumerate() {
        assert!(!ALLOW.contains(method));
        let (branch, cseq) = (format!("z9hG4bK{method}"), u32::try_from(n).unwrap() + 100);
        for text in [within(method, "c", &branch, cseq, &tag, "", ""), bare(method, "o", &branch, cseq, "")] {
            let refused = desk.response(&text);
            assert_eq!((refused.code, refused.headers.first("Allow")), (405, Some(ALLOW)), "{method}");
        }
    }
    assert_eq!(desk.codes(&within("BYE", "c", "z9hG4bKbye", 200, &tag, "", "")).first(), Some(&200));
}

#[test]
fn acks_and_stray_responses_and_noise_are_never_answered() {
    let mut desk = Desk::new(settings());
    for text in [
        bare("ACK", "c", "z9hG4bK1", 1, ""),
        bare("ACK", "c", "z9hG4bK1", 1, "").replace("CSeq: 1 ACK", "CSeq: x"),
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nCSeq: 1 BYE\r\n\r\n".to_owned(),
        "\r\n\r\n".to_owned(),
        "\0".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "\u{0}\u{1}\u{0}\u{0}!\u{12}".to_owned(),
    ] {
        assert!(desk.receive(&text).is_empty(), "{text:?}");
    }
}

#[test]
fn answers_go_where_the_request_came_from() {
    let mut desk = Desk::new(settings());
    let text = bare("OPTIONS", "c", "z9hG4bK1", 1, "");
    for (via, to) in [
        ("Via: SIP/2.0/UDP 127.0.0.1:5099;branch=z9hG4bK1;rport", "127.0.0.1:5070"),
        ("Via: SIP/2.0/UDP 127.0.0.1:5099;branch=z9hG4bK1", "127.0.0.1:5099"),
        ("Via: SIP/2.0/UDP 10.1.1.1:5099;branch=z9hG4bK1", "127.0.0.1:5070"),
        ("Via: SIP/2.0/UDP pbx.example.com;branch=z9hG4bK1", "127.0.0.1:5070"),
    ] {
        desk.receive(&text.replace("Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1;rport", via));
        assert_eq!(desk.sent[0].0.remote, to.parse().unwrap(), "{via}");
    }
}

#[test]
fn an_empty_user_is_nobody_in_from_and_wrong_in_the_request_line() {
    let mut desk = Desk::new(settings());
    let nobody = invite("c", "z9hG4bK1", 1, "").replace("From: <sip:+1555@h>", "From: <sip:@10.1.1.1>");
    assert_eq!(desk.codes(&nobody), [100]);
    assert_eq!(desk.invites[0].1.caller_number, "");
    let wrong = invite("d", "z9hG4bK2", 1, "").replace("INVITE sip:+18882346789@", "INVITE sip:@");
    assert_eq!(desk.codes(&wrong), [400]);
    let empty_tag = desk.response(&bare("OPTIONS", "e", "z9hG4bK3", 1, "").replace("89@h>", "89@h>;tag="));
    assert_eq!((empty_tag.code, empty_tag.headers.first("To")), (400, Some("<sip:+18882346789@h>;tag=")));
}
