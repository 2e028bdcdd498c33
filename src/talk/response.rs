//! Assistant responses: `output.generic` as commands in order (Watson facts 1.2 to 1.5).

use super::choice::{self, Choice};
use super::json::{self, at, items, short};
use super::service_desk::{self, SipTransfer};
use super::{custom_data, headers, script, send_keys};
use crate::base::{Recording, Tone};
use serde_json::Value;

/// One thing that the assistant wants done. The order of `generic` is the order of doing.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Speak this.
    Say(String),
    /// Speak this, and let the caller choose from now on.
    Offer(String, Vec<Choice>),
    /// Whether the caller's speech stops prompts from here on.
    BargeIn(BargeIn),
    /// `dtmf` `send`.
    Press(Vec<Tone>),
    /// `start_activities` or `stop_activities` of type `recording`, which is ours.
    Record(Recording),
    /// `connect_to_agent`.
    Transfer(Transfer),
    /// `end_session`, with headers for a BYE.
    EndSession(Vec<(String, String)>),
}

/// Whether speech stops prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BargeIn {
    /// `enable_barge_in`.
    On,
    /// `disable_barge_in`.
    Off,
}

/// A transfer that the assistant wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Where to.
    pub target: Target,
    /// `agent_available.message`: spoken before the signal. The phone has no availability check, so this is what is said.
    pub message: Option<String>,
    /// `agent_unavailable.message`: said after a failed transfer where the gateway has no message of its own.
    pub unavailable: Option<String>,
    /// `topic` and `message_to_human_agent`: why the call comes over, for the agent's page.
    pub reason: Option<String>,
}

/// Where a transfer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `nice_cxone`, with p2 to p9 of its `custom_data`.
    Cxone(Vec<(String, String)>),
    /// `service_desk.sip`.
    Sip(Box<SipTransfer>),
    /// `service_desk.sip`, and why it cannot be tried. A transfer there fails.
    Unusable(&'static str),
    /// Anything else, by the names given. A transfer there fails.
    Unknown(Vec<String>),
}

impl Default for Target {
    fn default() -> Self {
        Self::Unknown(Vec::new())
    }
}

/// Reads `generic`. What is not for the phone, not known or not read yet is skipped with a log line that names it.
#[must_use]
pub fn parse(generic: &[Value]) -> Vec<Command> {
    if generic.len() > MOST_ITEMS {
        tracing::warn!(
            items = generic.len(),
            kept = MOST_ITEMS,
            "assistant answered with too many items, the rest is skipped"
        );
    }
    let mut commands = Vec::new();
    for item in generic.iter().take(MOST_ITEMS).filter(|item| for_phone(item)) {
        read(item, &mut commands);
    }
    commands
}

fn read(item: &Value, commands: &mut Vec<Command>) {
    let kind = json::text(item.get("response_type")).unwrap_or_default();
    match kind.as_str() {
        "text" => {
            if let Some(text) = text_of(item) {
                commands.extend(script::pieces(&text).into_iter().map(Command::Say));
            }
        }
        "option" => offer(item, "options", commands),
        "suggestion" => offer(item, "suggestions", commands),
        "connect_to_agent" => commands.push(Command::Transfer(transfer(item))),
        "end_session" => {
            let listed = at(item, &["channel_options", "voice_telephony", "sip", "headers"]);
            commands.push(Command::EndSession(headers::read(listed)));
        }
        "text_to_speech" => match command_type(item).as_str() {
            "disable_barge_in" => commands.push(Command::BargeIn(BargeIn::Off)),
            "enable_barge_in" => commands.push(Command::BargeIn(BargeIn::On)),
            other => not_yet(&kind, other),
        },
        "pause" => {}
        "dtmf" if command_type(item) == "send" => commands.push(Command::Press(send_keys::tones(item))),
        "dtmf" | "speech_to_text" => not_yet(&kind, &command_type(item)),
        "start_activities" => activities(item, Recording::Running, commands),
        "stop_activities" => activities(item, Recording::Paused, commands),
        "audio" | "channel_transfer" | "search" | "conversational_search" => {
            not_yet(&kind, "");
        }
        "user_defined" => {
            let action = json::text(at(item, &["user_defined", "vgwAction", "command"]));
            not_yet(&kind, &action.unwrap_or_default());
        }
        other => tracing::warn!(response_type = %short(other), "response type skipped: unknown, or not for a phone"),
    }
}

/// `channels` is absent or empty, or lists `voice_telephony`.
fn for_phone(item: &Value) -> bool {
    let channels = items(item.get("channels"));
    channels.is_empty()
        || channels.iter().any(|channel| {
            let name = channel.get("channel").or(Some(channel)).and_then(Value::as_str);
            name.is_some_and(|name| name.trim().eq_ignore_ascii_case("voice_telephony"))
        })
}

/// Flat `text` as the run-time API sends it, else the editor's `values[].text`: all of them for `multiline`, else the first.
fn text_of(item: &Value) -> Option<String> {
    if let Some(text) = json::text(item.get("text")) {
        return Some(text);
    }
    let mut values = items(item.get("values")).iter().filter_map(|value| json::text(value.get("text").or(Some(value))));
    match item.get("selection_policy").and_then(Value::as_str) {
        Some("multiline") => {
            let lines: Vec<String> = values.collect();
            (!lines.is_empty()).then(|| lines.join("\n"))
        }
        _ => values.next(),
    }
}

fn offer(item: &Value, list: &str, commands: &mut Vec<Command>) {
    let choices: Vec<Choice> = items(item.get(list)).iter().take(MOST_CHOICES).filter_map(Choice::read).collect();
    let title = json::text(item.get("title"));
    let description = json::text(item.get("description"));
    let spoken = choice::spoken(title.as_deref(), description.as_deref(), &choices);
    if !spoken.is_empty() {
        commands.push(Command::Offer(spoken, choices));
    }
}

fn transfer(item: &Value) -> Transfer {
    let message = |name: &str| json::text(at(item, &[name, "message"]).or_else(|| item.get(name)));
    let reasons: Vec<String> =
        ["topic", "message_to_human_agent"].iter().filter_map(|name| json::text(item.get(name))).collect();
    Transfer {
        target: target(at(item, &["transfer_info", "target"])),
        message: message("agent_available"),
        unavailable: message("agent_unavailable"),
        reason: (!reasons.is_empty()).then(|| reasons.join(": ")),
    }
}

/// `nice_cxone` where it is there, else `service_desk.sip`.
fn target(named: Option<&Value>) -> Target {
    let Some(Value::Object(targets)) = named else { return Target::Unknown(Vec::new()) };
    let there = |value: &&Value| !value.is_null();
    if let Some(cxone) = targets.get("nice_cxone").filter(there) {
        return Target::Cxone(custom_data::parameters(cxone.get("custom_data")));
    }
    match targets.get("service_desk").and_then(|desk| desk.get("sip")).filter(there) {
        Some(sip) => match service_desk::read(sip) {
            Ok(transfer) => Target::Sip(Box::new(transfer)),
            Err(why) => Target::Unusable(why),
        },
        None => Target::Unknown(targets.keys().take(8).map(|name| short(name)).collect()),
    }
}

fn activities(item: &Value, recording: Recording, commands: &mut Vec<Command>) {
    for activity in items(item.get("activities")) {
        let kind = json::text(activity.get("type").or(Some(activity))).unwrap_or_default();
        match kind.as_str() {
            "recording" => commands.push(Command::Record(recording)),
            other => {
                not_yet(if recording == Recording::Running { "start_activities" } else { "stop_activities" }, other)
            }
        }
    }
}

fn command_type(item: &Value) -> String {
    json::text(at(item, &["command_info", "type"])).unwrap_or_default()
}

fn not_yet(kind: &str, what: &str) {
    tracing::warn!("not available yet: {kind} {}", short(what));
}

/// Items of one answer; more is a broken dialog.
const MOST_ITEMS: usize = 200;
const MOST_CHOICES: usize = 50;

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
