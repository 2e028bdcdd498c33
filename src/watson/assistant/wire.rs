//! Assistant v2 messages (Watson facts 2.4): the turn out, `output.generic` and `context` in.

use crate::call::output::Turn;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The body of a message request. CR, LF and TAB are not allowed in the text and become blanks. A chosen option or
/// suggestion goes back whole: its further members (`suggestion_id`, `intents`) lie beside the text.
#[must_use]
pub fn message(turn: &Turn) -> Value {
    let mut input = match &turn.selection {
        Some(Value::Object(chosen)) => chosen.clone(),
        _ => Map::new(),
    };
    input.insert("message_type".to_owned(), json!("text"));
    input.insert("text".to_owned(), json!(turn.text.replace(['\r', '\n', '\t'], " ")));
    // The context comes back only when it is asked for, and every turn may change the phone's settings in it.
    input.insert("options".to_owned(), json!({"return_context": true}));
    if turn.input_integration.is_object() {
        input.insert("integrations".to_owned(), json!({"voice_telephony": turn.input_integration}));
    }
    let mut body = Map::new();
    body.insert("input".to_owned(), Value::Object(input));
    if turn.context.is_object() {
        body.insert("context".to_owned(), turn.context.clone());
    }
    if !turn.user_id.is_empty() {
        body.insert("user_id".to_owned(), json!(turn.user_id));
    }
    Value::Object(body)
}

/// Makes the context of a session that is gone fit for a new one: it must not claim the old session's id.
pub fn forget_session(body: &mut Value) {
    if let Some(global) = body.pointer_mut("/context/global").and_then(Value::as_object_mut) {
        global.remove("session_id");
    }
}

/// What an answer holds for the dialog.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// `output.generic`.
    pub generic: Vec<Value>,
    /// `context`.
    pub context: Option<Value>,
}

/// Reads an answer. The error names what is wrong, and shows nothing of the body.
pub fn parse(body: &[u8]) -> Result<Answer, &'static str> {
    #[derive(Deserialize)]
    struct Message {
        output: Option<Output>,
        context: Option<Value>,
    }
    #[derive(Deserialize)]
    struct Output {
        #[serde(default)]
        generic: Option<Vec<Value>>,
    }
    let message: Message = serde_json::from_slice(body).map_err(|_| "not a JSON message answer")?;
    let output = message.output.ok_or("no output in the answer")?;
    Ok(Answer { generic: output.generic.unwrap_or_default(), context: message.context })
}

/// Reads the answer to a session request.
pub fn session_id(body: &[u8]) -> Result<String, &'static str> {
    #[derive(Deserialize)]
    struct Created {
        session_id: Option<String>,
    }
    let created: Created = serde_json::from_slice(body).map_err(|_| "not a JSON session answer")?;
    created.session_id.filter(|id| !id.is_empty()).ok_or("no session_id")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::TurnId;
    use crate::call::output::TurnCause;

    fn turn() -> Turn {
        Turn {
            id: TurnId(1),
            cause: TurnCause::SpeechToText,
            text: "an\r\nagent\tplease".to_owned(),
            input_integration: json!({"barge_in_occurred": false, "is_dtmf": false}),
            context: json!({"global":{"system":{"user_id":"+1859"},"session_id":"s1"},"skills":{}}),
            user_id: "+1859".to_owned(),
            selection: None,
        }
    }

    #[test]
    fn a_chosen_suggestion_goes_back_whole_under_our_own_members() {
        let chosen =
            json!({"text": "label", "suggestion_id": "7", "intents": [{"intent": "bill"}], "options": {"x": 1}});
        let body = message(&Turn { text: "two".to_owned(), selection: Some(chosen), ..turn() });
        assert_eq!(body["input"]["suggestion_id"], "7");
        assert_eq!(body["input"]["intents"][0]["intent"], "bill");
        assert_eq!(body["input"]["text"], "two");
        assert_eq!(body["input"]["options"], json!({"return_context": true}));
    }

    #[test]
    fn a_turn_is_the_documented_request() {
        assert_eq!(
            message(&turn()),
            json!({
                "input": {
                    "message_type": "text", "text": "an  agent please", "options": {"return_context": true},
                    "integrations": {"voice_telephony": {"barge_in_occurred": false, "is_dtmf": false}}
                },
                "context": {"global":{"system":{"user_id":"+1859"},"session_id":"s1"},"skills":{}},
                "user_id": "+1859"
            })
        );
    }

    #[test]
    fn what_is_withheld_or_empty_is_left_out() {
        let bare = Turn { user_id: String::new(), context: Value::Null, input_integration: Value::Null, ..turn() };
        let body = message(&bare);
        assert_eq!(body.get("user_id"), None);
        assert_eq!(body.get("context"), None);
        assert_eq!(body["input"].get("integrations"), None);
    }

    #[test]
    fn a_new_session_gets_the_context_without_the_old_id() {
        let mut body = message(&turn());
        forget_session(&mut body);
        assert_eq!(body["context"]["global"], json!({"system":{"user_id":"+1859"}}));
    }

    #[test]
    fn the_documented_answer_is_read_and_unknown_types_are_kept() {
        let answer = parse(
            br#"{"output":{"generic":[{"response_type":"text","text":"Hello"},{"response_type":"dtmf","command_info":{"type":"collect"}}],
                "intents":[],"entities":[]},"context":{"global":{"session_id":"s1"},"integrations":{}},"user_id":"u"}"#,
        )
        .unwrap();
        assert_eq!(answer.generic.len(), 2);
        assert_eq!(answer.generic[1]["response_type"], "dtmf");
        assert_eq!(answer.context.unwrap()["global"]["session_id"], "s1");
        assert_eq!(parse(br#"{"output":{}}"#).unwrap(), Answer::default());
        assert_eq!(session_id(br#"{"session_id":"0a64"}"#).unwrap(), "0a64");
    }

    #[test]
    fn garbage_is_named() {
        assert_eq!(parse(b"<html>hi</html>").unwrap_err(), "not a JSON message answer");
        assert_eq!(parse(br#"{"output":{"generic":"x"}}"#).unwrap_err(), "not a JSON message answer");
        assert_eq!(parse(br#"{}"#).unwrap_err(), "no output in the answer");
        assert_eq!(session_id(b"{}").unwrap_err(), "no session_id");
        assert_eq!(session_id(br#"{"session_id":""}"#).unwrap_err(), "no session_id");
    }
}
