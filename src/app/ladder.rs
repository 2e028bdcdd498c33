//! SIP ladders as JSON: for the admin API and for `call`.

use crate::sip::ladder::{Direction, Shown, ShownMessage};
use serde_json::{Value, json};

/// The messages in an array; where some were left out an object says how many.
#[must_use]
pub fn json(shown: &Shown) -> Value {
    let mut messages: Vec<Value> = shown.messages.iter().map(message).collect();
    if shown.left_out > 0 {
        messages.insert(shown.left_out_before.min(messages.len()), json!({"left_out": shown.left_out}));
    }
    messages.into()
}

fn message(message: &ShownMessage) -> Value {
    json!({
        "at_ms": (message.at.as_secs_f64() * 1_000_000.0).round() / 1_000.0,
        "direction": match message.direction {
            Direction::In => "in",
            Direction::Out => "out",
        },
        "transport": message.transport.to_string(),
        "local": message.local.to_string(),
        "peer": message.peer.to_string(),
        "first_line": message.first_line,
        "cseq": message.cseq,
        "bytes": message.size,
        "again": message.again,
        "headers": message.headers,
        "sdp": message.description,
    })
}
