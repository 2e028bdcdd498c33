//! One turn of a dialog: text and context in, responses and context out. State and variables live in the context
//! (`skills["actions skill"].skill_variables`), so a session made anew with the old context goes on where it was.

use super::dialog::{Dialog, Rule};
use super::template::Scope;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What a turn came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    /// The rule that answered; empty when none did.
    pub(super) rule: String,
    /// `output.generic`.
    pub(super) generic: Vec<Value>,
}

/// A turn that fails: HTTP status and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure(pub(super) u16, pub(super) String);

/// Answers `text`, changing `context`; a failure leaves it as it was.
pub(super) fn answer(dialog: &Dialog, text: &str, context: &mut Value) -> Result<Turn, Failure> {
    let text = text.trim();
    let mut variables = variables_of(context);
    let chosen = dialog.rules.iter().find_map(|rule| Some((rule, matches(rule, text, &variables)?)));
    let (rule, captures) = match chosen {
        Some(chosen) => chosen,
        // Nobody said these words: they are not for the fallback.
        None if !ordinary(text) => return Ok(Turn { rule: String::new(), generic: Vec::new() }),
        None => (&dialog.fallback, BTreeMap::new()),
    };
    if let Some((status, message)) = &rule.error {
        return Err(Failure(*status, message.clone()));
    }
    for (name, template) in &rule.set {
        let scope = Scope { captures: &captures, variables: &variables, input: text, context };
        let value = template.fill(&scope);
        if value.is_empty() {
            variables.remove(name);
        } else {
            variables.insert(name.clone(), value.into());
        }
    }
    let scope = Scope { captures: &captures, variables: &variables, input: text, context };
    let generic = rule.responses.iter().map(|response| response.fill(&scope)).collect();
    let addition = rule.context.as_ref().map(|node| node.fill(&scope));
    if let Some(state) = &rule.next {
        variables.insert("state".to_owned(), state.clone().into());
    }
    variables.insert("last_rule".to_owned(), rule.name.clone().into());
    merge(context, &json!({"skills": {(SKILL): {"skill_variables": null}}}));
    merge(context, &json!({"skills": {(SKILL): {"skill_variables": variables}}}));
    if let Some(addition) = addition {
        merge(context, &addition);
    }
    Ok(Turn { rule: rule.name.clone(), generic })
}

/// Puts `addition` over `base`, objects member by member.
pub(super) fn merge(base: &mut Value, addition: &Value) {
    match (base, addition) {
        (Value::Object(base), Value::Object(addition)) => {
            for (name, value) in addition {
                merge(base.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (base, addition) => *base = addition.clone(),
    }
}

fn variables_of(context: &Value) -> Map<String, Value> {
    let variables = context.get("skills").and_then(|skills| skills.get(SKILL)?.get("skill_variables")?.as_object());
    variables.cloned().unwrap_or_default()
}

/// The named groups, where the rule answers.
fn matches(rule: &Rule, text: &str, variables: &Map<String, Value>) -> Option<BTreeMap<String, String>> {
    let variable = |name: &str| variables.get(name).and_then(Value::as_str).unwrap_or_default();
    let holds = (rule.states.is_empty() || rule.states.iter().any(|state| state == variable("state")))
        && rule.when.iter().all(|(name, value)| variable(name) == value)
        && rule.after.as_deref().is_none_or(|after| after == variable("last_rule"));
    if !holds {
        return None;
    }
    if rule.patterns.is_empty() {
        return ordinary(text).then(BTreeMap::new);
    }
    rule.patterns.iter().find_map(|pattern| {
        let found = pattern.captures(text)?;
        let names = pattern.capture_names().flatten();
        Some(names.filter_map(|name| Some((name.to_owned(), found.name(name)?.as_str().to_owned()))).collect())
    })
}

/// Neither the greeting turn nor one of the channel's magic texts.
fn ordinary(text: &str) -> bool {
    !text.is_empty() && !text.starts_with("vgw")
}

const SKILL: &str = "actions skill";

#[cfg(test)]
mod tests {
    use super::super::reader::FALLBACK;
    use super::*;

    fn dialog() -> Dialog {
        let text = r#"
            [[rules]]
            name = "greeting"
            patterns = ["^$"]
            responses = [{ response_type = "text", text = "Hello." }]
            [[rules]]
            name = "silence-again"
            patterns = ["^vgwPostResponseTimeout$"]
            after = "silence"
            responses = [{ response_type = "end_session" }]
            [[rules]]
            name = "silence"
            patterns = ["^vgwPostResponseTimeout$"]
            responses = [{ response_type = "text", text = "Still there?" }]
            [[rules]]
            name = "account"
            patterns = ["(?P<number>[0-9][0-9 ]*)"]
            state = "asking"
            set = { account = "{{number|digits}}", seen = "yes" }
            next = ""
            context = { integrations = { voice_telephony = { post_response_timeout_count = 9000 } } }
            responses = [{ response_type = "text", text = "Account {{account}}." }]
            [[rules]]
            name = "known"
            patterns = ["balance"]
            when = { seen = "yes" }
            responses = [{ response_type = "text", text = "Still {{account}}." }]
            [[rules]]
            name = "ask"
            patterns = ["\\bbalance\\b"]
            next = "asking"
            responses = [{ response_type = "text", text = "Which account?" }]
            [[rules]]
            name = "forget"
            patterns = ["forget"]
            set = { seen = "" }
            responses = []
            [[rules]]
            name = "broken"
            patterns = ["break"]
            error = { status = 503, message = "down" }
            [fallback]
            responses = [{ response_type = "text", text = "You said: {{input.text}}" }]
        "#;
        Dialog::parse("test.toml", text).unwrap()
    }

    fn say(context: &mut Value, text: &str) -> (String, String) {
        let turn = answer(&dialog(), text, context).unwrap();
        let words = turn.generic.iter().filter_map(|response| response["text"].as_str()).collect::<Vec<_>>().join(" ");
        (turn.rule, words)
    }

    #[test]
    fn rules_are_tried_in_order_with_their_conditions() {
        let mut context = json!({});
        assert_eq!(say(&mut context, ""), ("greeting".to_owned(), "Hello.".to_owned()));
        assert_eq!(say(&mut context, "4711").0, "fallback", "not asked for");
        assert_eq!(say(&mut context, "What is my BALANCE?").0, "ask");
        assert_eq!(say(&mut context, "it is 47 11."), ("account".to_owned(), "Account 4711.".to_owned()));
        assert_eq!(context["integrations"]["voice_telephony"]["post_response_timeout_count"], 9000);
        assert_eq!(say(&mut context, "balance"), ("known".to_owned(), "Still 4711.".to_owned()));
        assert_eq!(say(&mut context, "forget it").0, "forget");
        assert_eq!(say(&mut context, "balance").0, "ask");
    }

    #[test]
    fn magic_texts_never_reach_the_fallback() {
        let mut context = json!({});
        assert_eq!(say(&mut context, "vgwHangUp"), (String::new(), String::new()));
        assert_eq!(say(&mut context, "vgwPostResponseTimeout").0, "silence");
        assert_eq!(say(&mut context, "vgwPostResponseTimeout").0, "silence-again");
        assert_eq!(say(&mut context, "what?"), (FALLBACK.to_owned(), "You said: what?".to_owned()));
        assert_eq!(say(&mut context, "vgwPostResponseTimeout").0, "silence", "not twice in a row");
    }

    #[test]
    fn the_context_alone_carries_the_conversation_and_a_failure_leaves_it() {
        let mut context = json!({"integrations": {"voice_telephony": {"sip_call_id": "x"}}});
        say(&mut context, "balance");
        let before = context.clone();
        assert_eq!(answer(&dialog(), "break it", &mut context), Err(Failure(503, "down".to_owned())));
        assert_eq!(context, before);
        let mut copied = before;
        assert_eq!(say(&mut copied, "1").0, "account");
        assert_eq!(copied["integrations"]["voice_telephony"]["sip_call_id"], "x", "merged, not replaced");
    }
}
