//! The agent's page as HTML (`templates/agent.html`). Works without script; the script only adds what comes later.

use super::history::{Conversation, clock, rfc3339};
use crate::call::output::Who;
use askama::Template;
use std::time::SystemTime;

/// The transcript page.
#[derive(Template)]
#[template(path = "agent.html")]
pub(super) struct AgentPage<'a> {
    pub(super) nonce: &'a str,
    pub(super) key: &'a str,
    pub(super) caller: &'a str,
    pub(super) called: &'a str,
    pub(super) contact_id: Option<&'a str>,
    pub(super) call_id: &'a str,
    pub(super) state: &'static str,
    pub(super) state_label: &'static str,
    pub(super) live: bool,
    pub(super) zero: String,
    pub(super) now: String,
    pub(super) length: Option<String>,
    pub(super) started: String,
    pub(super) started_text: String,
    pub(super) why: Option<&'a str>,
    pub(super) why_label: &'static str,
    pub(super) custom_data: &'a [(String, String)],
    pub(super) lines: Vec<LineView<'a>>,
    pub(super) after: String,
    pub(super) css: &'static str,
    pub(super) js: &'static str,
}

/// One line of it.
pub(super) struct LineView<'a> {
    pub(super) seq: u64,
    pub(super) who: &'static str,
    pub(super) name: &'static str,
    pub(super) at: String,
    pub(super) time: String,
    pub(super) offset: String,
    pub(super) text: &'a str,
}

/// What is shown instead: unknown key, or a store that does not answer.
#[derive(Template)]
#[template(path = "agent_missing.html")]
pub(super) struct MissingPage<'a> {
    pub(super) nonce: &'a str,
    pub(super) title: &'a str,
    pub(super) text: &'a str,
    pub(super) css: &'static str,
}

impl<'a> AgentPage<'a> {
    pub(super) fn new(conversation: &'a Conversation, key: &'a str, nonce: &'a str, now: SystemTime) -> Self {
        let lines = conversation.lines.iter().map(|line| {
            let at = rfc3339(line.at);
            LineView {
                seq: line.seq,
                who: line.who.as_str(),
                name: name(line.who),
                time: time_of(&at),
                at,
                offset: clock(conversation.offset(line)),
                text: &line.text,
            }
        });
        let started = rfc3339(conversation.started);
        Self {
            nonce,
            key,
            caller: conversation
                .caller_number
                .as_deref()
                .filter(|number| !number.is_empty())
                .unwrap_or("Number withheld"),
            called: &conversation.called_number,
            contact_id: conversation.contact_id.as_deref(),
            call_id: &conversation.call_id,
            state: conversation.state().as_str(),
            state_label: conversation.state_label(),
            live: conversation.ended.is_none(),
            zero: rfc3339(conversation.zero()),
            now: rfc3339(now),
            length: conversation.length().map(clock),
            started_text: format!("{} {} UTC", started.get(..10).unwrap_or_default(), time_of(&started)),
            started,
            why: conversation.why.as_deref().filter(|why| !why.is_empty()),
            why_label: conversation.why_label(),
            custom_data: &conversation.custom_data,
            lines: lines.collect(),
            after: conversation.lines.last().map(|line| line.seq.to_string()).unwrap_or_default(),
            css: CSS,
            js: JS,
        }
    }

    /// Whether there is a reason or data to show.
    fn has_why(&self) -> bool {
        self.why.is_some() || !self.custom_data.is_empty()
    }
}

impl<'a> MissingPage<'a> {
    /// The key leads nowhere: unknown, expired or malformed, all alike.
    pub(super) fn not_found(nonce: &'a str) -> Self {
        Self {
            nonce,
            title: "This conversation is not available",
            text: "The link may be incomplete, or the conversation is older than it is kept. Your phone call is not affected.",
            css: CSS,
        }
    }

    /// The store does not answer.
    pub(super) fn unavailable(nonce: &'a str) -> Self {
        Self {
            nonce,
            title: "The conversation cannot be shown right now",
            text: "Please load this page again in a moment. Your phone call is not affected.",
            css: CSS,
        }
    }
}

fn name(who: Who) -> &'static str {
    match who {
        Who::Caller => "Caller",
        Who::CallerKeys => "Caller pressed",
        Who::Assistant => "Assistant",
        Who::Gateway => "Call",
    }
}

/// `HH:MM:SS` of an RFC 3339 time.
fn time_of(rfc3339: &str) -> String {
    rfc3339.get(11..19).unwrap_or_default().to_owned()
}

const CSS: &str = include_str!("../../templates/agent.css");
const JS: &str = include_str!("../../templates/agent.js");
