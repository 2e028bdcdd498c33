//! Tests of `response.rs`: the JSON of IBM's pages, and what authors make of it.

use super::*;
use serde_json::json;

fn one(item: Value) -> Vec<Command> {
    parse(&[item])
}

fn say(text: &str) -> Vec<Command> {
    vec![Command::Say(text.into())]
}

#[test]
fn text_comes_flat_or_in_the_editors_form() {
    assert_eq!(one(json!({"response_type": "text", "text": " Hello "})), say("Hello"));
    assert_eq!(one(json!({"response_type": "text", "text": 42})), say("42"));
    assert_eq!(one(json!({"response_type": "text", "values": [{"text": "a"}, {"text": "b"}]})), say("a"));
    let multiline =
        json!({"response_type": "text", "selection_policy": "multiline", "values": [{"text": "a"}, {"text": "b"}]});
    assert_eq!(one(multiline), say("a\nb"));
    assert_eq!(one(json!({"response_type": "text", "text": ""})), vec![]);
    assert_eq!(one(json!({"response_type": "text"})), vec![]);
}

#[test]
fn only_what_is_for_the_phone_is_read() {
    let with = |channels: Value| one(json!({"response_type": "text", "text": "x", "channels": channels})).len();
    assert_eq!(with(json!([])), 1);
    assert_eq!(with(json!(null)), 1);
    assert_eq!(with(json!([{"channel": "voice_telephony"}])), 1);
    assert_eq!(with(json!([{"channel": "chat"}, {"channel": "Voice_Telephony"}])), 1);
    assert_eq!(with(json!(["voice_telephony"])), 1);
    assert_eq!(with(json!([{"channel": "chat"}])), 0);
    assert_eq!(with(json!([{"channel": 7}])), 0);
}

#[test]
fn the_order_of_generic_is_kept_and_the_unknown_is_skipped() {
    let commands = parse(&[
        json!({"response_type": "text_to_speech", "command_info": {"type": "disable_barge_in", "parameters": {}}}),
        json!({"response_type": "text", "text": "one"}),
        json!({"response_type": "hologram", "beam": true}),
        json!({"response_type": "pause", "time": 500}),
        json!("nonsense"),
        json!(null),
        json!({"response_type": {"not": "text"}}),
        json!({"response_type": "dtmf", "command_info": {"type": "collect", "parameters": {"count": "4"}}}),
        json!({"response_type": "user_defined", "user_defined": {"vgwAction": {"command": "vgwActForceNoInputTurn"}}}),
        json!({"response_type": "text_to_speech", "command_info": {"type": "enable_barge_in"}}),
        json!({"response_type": "text", "text": "two"}),
        json!({"response_type": "end_session"}),
    ]);
    let expected = vec![
        Command::BargeIn(BargeIn::Off),
        Command::Say("one".into()),
        Command::BargeIn(BargeIn::On),
        Command::Say("two".into()),
        Command::EndSession(vec![]),
    ];
    assert_eq!(commands, expected);
}

#[test]
fn the_seeds_transfer_is_read() {
    let commands = one(json!({"response_type": "connect_to_agent",
        "transfer_info": {"target": {"nice_cxone": {"custom_data": {"p2": "test"}}}},
        "agent_available": {"message": "Ok, I'm transferring you to an agent."},
        "agent_unavailable": {"message": "Agent is unavailable."},
        "message_to_human_agent": "wants to pay", "topic": "billing"}));
    let expected = Transfer {
        target: Target::Cxone(vec![("p2".into(), "test".into())]),
        message: Some("Ok, I'm transferring you to an agent.".into()),
        unavailable: Some("Agent is unavailable.".into()),
        reason: Some("billing: wants to pay".into()),
    };
    assert_eq!(commands, vec![Command::Transfer(expected)]);
}

#[test]
fn a_transfer_without_a_cxone_target_has_an_unknown_one() {
    let target = |info: Value| match one(json!({"response_type": "connect_to_agent", "transfer_info": info})).pop() {
        Some(Command::Transfer(transfer)) => transfer.target,
        other => panic!("{other:?}"),
    };
    assert_eq!(target(json!({"target": {"nice_cxone": {}}})), Target::Cxone(vec![]));
    assert_eq!(
        target(json!({"target": {"nice_cxone": null, "zendesk": {}}})),
        Target::Unknown(vec!["nice_cxone".into(), "zendesk".into()])
    );
    assert_eq!(target(json!({"target": {"service_desk": {"chat": {}}}})), Target::Unknown(vec!["service_desk".into()]));
    assert_eq!(
        target(json!({"target": {"nice_cxone": {}, "service_desk": {"sip": {"uri": "sip:a@b"}}}})),
        Target::Cxone(vec![]),
        "where both stand, CXone's contact it is"
    );
    assert!(matches!(target(json!({"target": {"service_desk": {"sip": {"uri": "sip:a@b"}}}})), Target::Sip(_)));
    assert!(matches!(target(json!({"target": {"service_desk": {"sip": {"uri": "http://b"}}}})), Target::Unusable(_)));
    assert_eq!(target(json!({"target": []})), Target::Unknown(vec![]));
    assert_eq!(target(json!(null)), Target::Unknown(vec![]));
}

#[test]
fn end_session_headers_cannot_break_the_bye() {
    let commands =
        one(json!({"response_type": "end_session", "channel_options": {"voice_telephony": {"sip": {"headers": [
            {"name": "Customer-Header1", "value": "Some-Custom-Info"},
            {"name": "X-Evil", "value": "a\r\nVia: b"},
            {"name": "X-Number", "value": 5},
            {"name": "Call-ID", "value": "mine"},
            {"name": "T", "value": "mine"},
            {"name": "X Bad", "value": "x"},
            {"name": "X:Bad", "value": "x"},
            {"value": "nameless"},
            "nonsense",
            {"name": "X-Long", "value": "y".repeat(5000)},
        ]}}}}));
    let expected = vec![
        ("Customer-Header1".to_owned(), "Some-Custom-Info".to_owned()),
        ("X-Evil".to_owned(), "aVia: b".to_owned()),
        ("X-Number".to_owned(), "5".to_owned()),
        ("X-Long".to_owned(), "y".repeat(1024)),
    ];
    assert_eq!(commands, vec![Command::EndSession(expected)]);
}

#[test]
fn options_and_suggestions_are_offered() {
    let item = |kind: &str, list: &str| {
        json!({"response_type": kind, "title": "Which?", "description": "Say one.",
               list: [{"label": "A", "value": {"input": {"text": "go a", "suggestion_id": "s1"}}}, {"label": "B", "value": {"input": {"text": "go b"}}}, {"nolabel": 1}]})
    };
    for (kind, list) in [("option", "options"), ("suggestion", "suggestions")] {
        match one(item(kind, list)).pop() {
            Some(Command::Offer(spoken, choices)) => {
                assert_eq!(spoken, "Which? Say one. 1. A. 2. B.");
                assert_eq!(choices.len(), 2);
                assert_eq!(choices[0].input["text"], "go a");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(one(json!({"response_type": "option", "options": []})), vec![]);
}

#[test]
fn an_endless_answer_is_cut() {
    let items: Vec<Value> = (0..1000).map(|n| json!({"response_type": "text", "text": n})).collect();
    assert_eq!(parse(&items).len(), MOST_ITEMS);
}
