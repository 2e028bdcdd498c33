//! Mutilated messages in every state of a call: the endpoint survives, forgets, and writes only what can be read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod sip_support;

use bytes::Bytes;
use proptest::prelude::*;
use sip_support::{Desk, bare, invite, sdp, settings, within};
use std::time::Duration;
use voice_gateway::sip::{Input, LegCommand};

const TAG: &str = "will be the real one";

/// A call as a peer may send it, with things that do not belong there.
fn script() -> Vec<String> {
    let sdp_type = "Content-Type: application/sdp\r\n";
    let offer = std::str::from_utf8(sip_support::SDP).unwrap();
    vec![
        invite("c", "z9hG4bK1", 1, "Record-Route: <sip:127.0.0.9;lr>\r\nRequire: \r\n"),
        bare("CANCEL", "x", "z9hG4bK2", 1, ""),
        within("ACK", "c", "z9hG4bK3", 1, TAG, "", ""),
        within("INFO", "c", "z9hG4bK4", 2, TAG, "Content-Type: application/dtmf-relay\r\n", "Signal=5\r\n"),
        within("INVITE", "c", "z9hG4bK5", 3, TAG, sdp_type, offer),
        within("UPDATE", "c", "z9hG4bK6", 4, TAG, sdp_type, offer),
        bare("OPTIONS", "y", "z9hG4bK7", 1, "Contact: <sip:a@b>, \"x\" <sip:c@d>;q=0.1\r\n"),
        within("BYE", "c", "z9hG4bK8", 5, TAG, "Reason: SIP;cause=200\r\n", ""),
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK9\r\nCSeq: 1 BYE\r\nl: 0\r\n\r\n".to_owned(),
    ]
}

fn mutilated(text: &str, cuts: &[(proptest::sample::Index, u8, u8)]) -> Bytes {
    let mut bytes = text.as_bytes().to_vec();
    for (index, byte, how) in cuts {
        let at = index.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match how {
            0 if !bytes.is_empty() => bytes[at] = *byte,
            1 if !bytes.is_empty() => {
                bytes.remove(at);
            }
            2 => bytes.insert(at, *byte),
            3 => bytes.insert(at, b";,:<>\"\r\n =@"[usize::from(*byte) % 11]),
            // A line twice, as a second value of a header that may have one.
            4 => {
                let line: Vec<u8> = bytes[at..].iter().copied().take_while(|b| *b != b'\n').chain(*b"\n").collect();
                let start = bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
                bytes.splice(start..start, line);
            }
            _ => bytes.truncate(at.max(bytes.len() / 2)),
        }
    }
    Bytes::from(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_message_in_any_state_does_harm(
        damage in proptest::collection::vec(
            proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0u8..6), 0..4), 9..10),
        again in any::<proptest::sample::Index>(),
    ) {
        let mut desk = Desk::new(settings());
        let mut tag = TAG.to_owned();
        let mut received = Vec::new();
        for (text, cuts) in script().iter().zip(&damage) {
            let bytes = mutilated(&text.replace(TAG, &tag), cuts);
            received.push(bytes.clone());
            let flow = desk.flow;
            // `step` parses all that is written.
            desk.step(Input::Received { flow, bytes });
            if let Some((leg, _)) = desk.invites.last().cloned() {
                for command in [
                    LegCommand::Ring,
                    LegCommand::Answer { sdp: sdp(), headers: Vec::new() },
                    LegCommand::AnswerReinvite { sdp: sdp() },
                ] {
                    for message in desk.step(Input::Command { leg, command }) {
                        if let voice_gateway::sip::message::Message::Response(response) = message
                            && response.code == 200
                            && let Some((_, found)) = response.headers.first("To").and_then(|to| to.rsplit_once("tag="))
                        {
                            tag = found.to_owned();
                        }
                    }
                }
            }
        }
        let flow = desk.flow;
        let bytes = received[again.index(received.len())].clone();
        desk.step(Input::Received { flow, bytes: bytes.clone() });
        desk.step(Input::Broken { flow, head: bytes });
        desk.step(Input::Shut);
        desk.wait(Duration::from_secs(600));
        prop_assert_eq!((desk.endpoint.active(), desk.endpoint.transactions()), (0, 0));
    }
}
