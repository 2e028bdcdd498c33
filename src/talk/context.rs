//! The assistant's context: what it returned is kept and sent back, with what the phone knows put in (Watson facts 1.8).

use super::json::{self, at};
use super::settings::{PhoneFacts, TalkSettings};
use super::words::TurnCause;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The context of one call.
#[derive(Debug)]
pub(super) struct Context {
    phone: PhoneFacts,
    kept: Map<String, Value>,
}

/// `sip_custom_invite_headers`: the header fields whose names match one of `patterns` (a name, or its beginning and `*`; any case).
/// Values of a repeated field are joined by ", " in their order (RFC 3261 section 7.3.1), under the name as first written. What
/// goes over 16 KiB in all is left out with a warning.
#[must_use]
pub fn extract_headers(headers: &[(String, String)], patterns: &[String]) -> Map<String, Value> {
    let mut extracted: Vec<(&str, String)> = Vec::new();
    let mut room = HEADERS;
    for (name, value) in headers.iter().filter(|(name, _)| patterns.iter().any(|pattern| matches(pattern, name))) {
        let Some(left) = room.checked_sub(name.len() + value.len() + 2) else {
            tracing::warn!(header = %json::short(name), "header not given to the assistant: too many bytes of headers");
            continue;
        };
        room = left;
        match extracted.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, joined)) => {
                joined.push_str(", ");
                joined.push_str(value);
            }
            None => extracted.push((name, value.clone())),
        }
    }
    extracted.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
}

impl Context {
    pub(super) fn new(phone: PhoneFacts) -> Self {
        Self { phone, kept: Map::new() }
    }

    pub(super) fn user_id(&self) -> &str {
        &self.phone.caller_number
    }

    /// Keeps what the assistant returned. Above 100 KB, the service's own limit for a session, only
    /// `integrations.voice_telephony` is kept: the session still holds the rest.
    pub(super) fn keep(&mut self, returned: Value) {
        let bytes = json::size(&returned);
        let Value::Object(mut returned) = returned else {
            tracing::warn!("context returned by the assistant is not an object, ignored");
            return;
        };
        if bytes > MOST_BYTES {
            tracing::warn!(
                bytes,
                limit = MOST_BYTES,
                "context returned by the assistant is too big, only voice_telephony is kept"
            );
            let voice = take(&mut take(&mut returned, "integrations"), "voice_telephony");
            let voice = Some(Value::Object(voice)).filter(|voice| json::size(voice) <= MOST_BYTES).unwrap_or_default();
            returned = [("integrations".to_owned(), json!({"voice_telephony": voice}))].into_iter().collect();
        }
        self.kept = returned;
    }

    /// The context to send with a turn of this cause.
    pub(super) fn for_turn(&self, cause: TurnCause) -> Value {
        let phone = &self.phone;
        let mut context = self.kept.clone();
        let mut integrations = take(&mut context, "integrations");

        let mut channel = take(&mut integrations, "channel");
        put(&mut channel, "name", "Phone");
        if !phone.caller_number.is_empty() {
            let mut private = take(&mut channel, "private");
            let mut user = take(&mut private, "user");
            put(&mut user, "id", &phone.caller_number);
            put(&mut user, "phone_number", &phone.caller_number);
            give(&mut private, "user", user);
            give(&mut channel, "private", private);
        }
        give(&mut integrations, "channel", channel);

        let mut voice = take(&mut integrations, "voice_telephony");
        put(&mut voice, "sip_call_id", &phone.call_id);
        put(&mut voice, "assistant_phone_number", &phone.called_number);
        give(&mut voice, "sip_custom_invite_headers", phone.invite_headers.clone());
        for (flag, of) in FLAGS {
            if of == cause {
                voice.insert(flag.into(), Value::Bool(true));
            } else {
                voice.remove(flag);
            }
        }
        let mut private = take(&mut voice, "private");
        put(&mut private, "user_phone_number", &phone.caller_number);
        put(&mut private, "sip_request_uri", &phone.request_uri);
        put(&mut private, "sip_from_uri", &phone.from_uri);
        put(&mut private, "sip_to_uri", &phone.to_uri);
        put(&mut private, "assistant_phone_number", &phone.called_number);
        if !phone.original_called_number.is_empty() {
            put(&mut private, "original_called_number", &phone.original_called_number);
        }
        give(&mut voice, "private", private);
        give(&mut integrations, "voice_telephony", voice);

        give(&mut context, "integrations", integrations);
        Value::Object(context)
    }

    /// How long to wait for the caller after a prompt.
    pub(super) fn post_response_timeout(&self, settings: &TalkSettings) -> Duration {
        self.milliseconds(&["post_response_timeout_count"])
            .unwrap_or(settings.post_response_timeout)
            .clamp(SHORTEST, LONGEST)
    }

    /// How long to wait for a final result after the first hypothesis.
    pub(super) fn final_utterance_timeout(&self, settings: &TalkSettings) -> Option<Duration> {
        let own = self.milliseconds(&["final_utterance_timeout_count"]).or(settings.final_utterance_timeout);
        own.map(|timeout| timeout.clamp(SHORTEST, LONGEST))
    }

    /// When an unanswered turn counts as failed: the client's timeout and its retry must fit in.
    pub(super) fn turn_limit(&self, settings: &TalkSettings) -> Duration {
        let asked = self
            .milliseconds(&["turn_settings", "timeout_count"])
            .map_or(Duration::ZERO, |timeout| timeout * 2 + Duration::from_secs(5));
        settings.turn_limit.max(asked.min(LONGEST_TURN)).max(SHORTEST)
    }

    fn milliseconds(&self, path: &[&str]) -> Option<Duration> {
        let voice = self.kept.get("integrations")?.get("voice_telephony")?;
        millis(at(voice, path))
    }
}

/// A positive number of milliseconds of at most an hour; anything else is as good as absent.
fn millis(value: Option<&Value>) -> Option<Duration> {
    let millis = json::number(value).filter(|millis| *millis > 0.0)?;
    Duration::try_from_secs_f64(millis / 1000.0).ok().map(|duration| duration.min(LONGEST))
}

/// Takes the object `name` out; empty where there is none, or where the assistant put something else there.
fn take(members: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
    match members.remove(name) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

fn give(members: &mut Map<String, Value>, name: &str, object: Map<String, Value>) {
    members.insert(name.to_owned(), Value::Object(object));
}

fn put(members: &mut Map<String, Value>, name: &str, text: &str) {
    members.insert(name.to_owned(), Value::String(text.to_owned()));
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
        None => name.eq_ignore_ascii_case(pattern),
    }
}

/// The flags that IBM documents under the input and under the context: set in both.
const FLAGS: [(&str, TurnCause); 2] = [
    ("post_response_timeout_occurred", TurnCause::PostResponseTimeout),
    ("final_utterance_timeout_occurred", TurnCause::FinalUtteranceTimeout),
];
/// Bytes of a returned context (Watson facts 2.4).
const MOST_BYTES: usize = 100 * 1024;
/// Bytes of extracted headers, names included.
const HEADERS: usize = 16 * 1024;
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(3600);
/// Two tries of the longest webhook (30 s) and room.
const LONGEST_TURN: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diverted_call_brings_the_number_that_was_called_first() {
        let phone = PhoneFacts { original_called_number: "+1777".into(), ..phone() };
        let context = Context::new(phone).for_turn(TurnCause::Start);
        let private = at(&context, &["integrations", "voice_telephony", "private"]);
        assert_eq!(private.and_then(|private| private.get("original_called_number")), Some(&json!("+1777")));
    }

    fn phone() -> PhoneFacts {
        PhoneFacts {
            call_id: "c1".into(),
            caller_number: "+18595553456".into(),
            called_number: "+18885556789".into(),
            original_called_number: String::new(),
            request_uri: "sip:+18885556789@gw".into(),
            from_uri: "sip:+18595553456@nice".into(),
            to_uri: "sip:+18885556789@nice".into(),
            invite_headers: extract_headers(&[("X-ContactID".into(), "123456789".into())], &["x-*".into()]),
        }
    }

    #[test]
    fn the_first_context_is_that_of_the_facts() {
        let expected = json!({"integrations": {
            "channel": {"name": "Phone", "private": {"user": {"id": "+18595553456", "phone_number": "+18595553456"}}},
            "voice_telephony": {
                "private": {"user_phone_number": "+18595553456", "sip_request_uri": "sip:+18885556789@gw",
                    "sip_from_uri": "sip:+18595553456@nice", "sip_to_uri": "sip:+18885556789@nice",
                    "assistant_phone_number": "+18885556789"},
                "sip_call_id": "c1", "assistant_phone_number": "+18885556789",
                "sip_custom_invite_headers": {"X-ContactID": "123456789"}}}});
        assert_eq!(Context::new(phone()).for_turn(TurnCause::Start), expected);
    }

    #[test]
    fn the_returned_context_comes_back_with_ours_put_in() {
        let mut context = Context::new(phone());
        context.keep(json!({"global": {"session_id": "s"}, "skills": {"a": 1}, "integrations": {
            "voice_telephony": {"sip_call_id": "forged", "post_response_timeout_count": "1500", "mine": true,
                "post_response_timeout_occurred": true}, "channel": 5}}));
        let sent = context.for_turn(TurnCause::FinalUtteranceTimeout);
        assert_eq!(sent["global"]["session_id"], "s");
        assert_eq!(sent["skills"]["a"], 1);
        let voice = &sent["integrations"]["voice_telephony"];
        assert_eq!(voice["sip_call_id"], "c1");
        assert_eq!(voice["mine"], true);
        assert_eq!(voice["final_utterance_timeout_occurred"], true);
        assert_eq!(voice.get("post_response_timeout_occurred"), None);
        assert_eq!(sent["integrations"]["channel"]["name"], "Phone");
        assert_eq!(context.post_response_timeout(&TalkSettings::default()), Duration::from_millis(1500));
    }

    #[test]
    fn timeouts_that_make_no_sense_are_not_taken() {
        let settings = TalkSettings::default();
        for (given, expected) in [
            (json!(0), 7000),
            (json!(-5), 7000),
            (json!("soon"), 7000),
            (json!(null), 7000),
            (json!(1), 500),
            (json!(1_500_000), 1_500_000),
            (json!(1e300), 7000),
        ] {
            let mut context = Context::new(phone());
            context.keep(json!({"integrations": {"voice_telephony": {"post_response_timeout_count": given}}}));
            assert_eq!(context.post_response_timeout(&settings), Duration::from_millis(expected), "{given}");
        }
        let mut context = Context::new(phone());
        context.keep(json!({"integrations": {"voice_telephony": {"turn_settings": {"timeout_count": 20000}, "final_utterance_timeout_count": 30000}}}));
        assert_eq!(context.turn_limit(&settings), Duration::from_secs(45));
        assert_eq!(context.final_utterance_timeout(&settings), Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_context_that_is_too_big_or_none_is_not_kept() {
        let mut context = Context::new(phone());
        context
            .keep(json!({"skills": {"x": "y".repeat(MOST_BYTES)}, "integrations": {"voice_telephony": {"mine": 1}}}));
        let sent = context.for_turn(TurnCause::Start);
        assert_eq!(sent.get("skills"), None);
        assert_eq!(sent["integrations"]["voice_telephony"]["mine"], 1);
        context.keep(json!("text"));
        assert_eq!(context.for_turn(TurnCause::Start)["integrations"]["voice_telephony"]["mine"], 1);
    }

    #[test]
    fn headers_are_extracted_by_name_and_beginning() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = [
            pair("x-one", "1"),
            pair("Via", "v"),
            pair("X-Two", "{\"a\": 1, \"b\": 2}"),
            pair("X-ONE", "3"),
            pair("Subject", "s"),
        ];
        let extracted = extract_headers(&headers, &["X-*".into(), "subject".into()]);
        assert_eq!(Value::Object(extracted), json!({"x-one": "1, 3", "X-Two": "{\"a\": 1, \"b\": 2}", "Subject": "s"}));
        assert!(
            extract_headers(&[pair("X-Big", &"y".repeat(20_000)), pair("ü", "x")], &["X-*".into(), "*".into()]).len()
                == 1
        );
        assert!(extract_headers(&headers, &[]).is_empty());
    }
}
