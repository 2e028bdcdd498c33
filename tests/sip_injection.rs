//! Whatever strings the gateway is given to write, the message that leaves holds exactly the header fields that were meant.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use proptest::prelude::*;
use sip_support::{Desk, invite, sdp, settings};
use voice_gateway::sip::message::{Message, Request, Response};
use voice_gateway::sip::{Credentials, Dial, Input, LegCommand};

/// Strings that want to be more than a value.
fn hostile() -> impl Strategy<Value = String> {
    let evil = prop_oneof![
        Just("\r\nVia: SIP/2.0/UDP evil\r\n"),
        Just("\r\n\r\nBYE sip:a@h SIP/2.0\r\n"),
        Just("\nX-Evil: 1"),
        Just("\rX-Evil: 1"),
        Just("\0"),
        Just("\r\n folded"),
        Just("\u{85}\u{2028}X-Evil: 1"),
        Just("é\u{feff}ü"),
        Just("\"; x=<y>, \\"),
        Just(""),
    ];
    (".{0,12}", evil, "[ -~]{0,12}").prop_map(|(a, b, c)| format!("{a}{b}{c}"))
}

fn names(message: &Message) -> Vec<String> {
    let (Message::Request(Request { headers, .. }) | Message::Response(Response { headers, .. })) = message;
    headers.iter().map(|field| field.name.clone()).collect()
}

/// The same messages with harmless values and with these: `parse` of the support reads back what was written.
fn written(values: &[String; 4]) -> Vec<Vec<String>> {
    let [a, b, c, d] = values;
    let mut told = Vec::new();
    let extra =
        || vec![("X-Key".to_owned(), a.clone()), ("Reason".to_owned(), b.clone()), ("Warning".to_owned(), c.clone())];
    let mut desk = Desk::new(settings());
    desk.receive(&invite("c", "z9hG4bKinv", 1, ""));
    told.extend(desk.order(LegCommand::Reject { code: 480, reason: d.clone(), headers: extra() }));
    let mut desk = Desk::new(settings());
    desk.receive(&invite("c", "z9hG4bKinv", 1, ""));
    let answered = desk.order(LegCommand::Answer { sdp: sdp(), headers: extra() });
    let Message::Response(ok) = &answered[0] else { panic!("{answered:?}") };
    assert_eq!(ok.body, sdp());
    let tag = sip_support::tag_of(ok);
    told.extend(answered);
    desk.receive(&sip_support::within("ACK", "c", "z9hG4bKa", 1, &tag, "", ""));
    told.extend(desk.order(LegCommand::Bye { headers: extra() }));
    let mut desk = Desk::new(settings());
    let leg = desk.endpoint.reserve_leg();
    let credentials = Some(Credentials { username: a.clone(), password: b.as_str().into() });
    let dial = Dial { uri: "sip:a@127.0.0.1".into(), from: String::new(), headers: extra(), sdp: sdp(), credentials };
    let flow = desk.flow;
    let sent = desk.step(Input::Dial { leg, dial, flow });
    let Message::Request(request) = &sent[0] else { panic!("{sent:?}") };
    let kept = |name: &str| format!("{name}: {}\r\n", request.headers.first(name).unwrap());
    let kept: String = ["Via", "From", "To", "Call-ID", "CSeq"].map(kept).concat();
    told.extend(sent.clone());
    told.extend(desk.receive(&format!(
        "SIP/2.0 401 Unauthorized\r\n{kept}WWW-Authenticate: Digest realm=\"\u{e9}\\\"\", nonce=\"n\", opaque=\"\\\\\"\r\n\
         Content-Length: 0\r\n\r\n"
    )));
    told.iter().map(names).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_value_becomes_a_header_field(a in hostile(), b in hostile(), c in hostile(), d in hostile()) {
        let plain = written(&["a", "b", "c", "d"].map(str::to_owned));
        prop_assert_eq!(plain.len(), 6);
        prop_assert_eq!(written(&[a, b, c, d]), plain);
    }

    #[test]
    fn no_name_becomes_two(name in hostile()) {
        let rejected = |headers| {
            let mut desk = Desk::new(settings());
            desk.receive(&invite("c", "z9hG4bKinv", 1, ""));
            names(&desk.order(LegCommand::Reject { code: 480, reason: String::new(), headers })[0])
        };
        let mut found = rejected(vec![(name.clone(), "v".to_owned())]);
        found.retain(|one| *one != name);
        prop_assert_eq!(found, rejected(Vec::new()), "{} is one field or none", name);
    }
}
