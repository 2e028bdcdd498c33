//! What came of a call: for people, and as JSON.

use super::Call;
use crate::app::{ladder, phone};
use crate::cli::terminal::{Tone, say, toned};
use crate::media::Statistics;
use serde_json::json;
use std::time::{Duration, Instant};

/// What came of the call.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) refused: Option<(u16, String)>,
    /// From INVITE to the final answer.
    pub(super) setup: Option<Duration>,
    pub(super) answered: Option<Instant>,
    /// Of the final answer.
    pub(super) headers: Vec<(String, String)>,
    pub(super) codec: Option<&'static str>,
    pub(super) session_key: Option<String>,
    /// CANCEL was asked for, and sent before the answer.
    pub(super) cancelled: bool,
    /// What re-INVITEs of ours brought about: `hold`, `resume`.
    pub(super) changes: Vec<&'static str>,
    pub(super) ended_by: Option<&'static str>,
    pub(super) wrong: Option<String>,
    pub(super) statistics: Statistics,
    pub(super) seconds: f64,
    pub(super) ladder: Option<phone::Shown>,
}

impl Outcome {
    /// Whether all went as it was ordered: answered and ended cleanly, or taken back as asked.
    pub(super) fn clean(&self) -> bool {
        if self.cancelled && self.answered.is_none() {
            return self.refused.as_ref().is_some_and(|(code, _)| *code == REQUEST_TERMINATED);
        }
        self.answered.is_some() && self.refused.is_none() && self.wrong.is_none()
    }

    pub(super) fn json(&self, call: &Call) -> serde_json::Value {
        let figures = &self.statistics;
        let milliseconds = |time: Duration| (time.as_secs_f64() * 1_000_000.0).round() / 1_000.0;
        let mut told = json!({
            "uri": call.uri,
            "ok": self.clean(),
            "answered": self.answered.is_some(),
            "refused": self.refused.as_ref().map(|(code, reason)| json!({"code": code, "reason": reason})),
            "cancelled": self.cancelled,
            "setup_ms": self.setup.map(milliseconds),
            "codec": self.codec,
            "changes": self.changes,
            "session_key": self.session_key,
            "seconds": (self.seconds * 1_000.0).round() / 1_000.0,
            "ended_by": self.ended_by,
            "error": self.wrong,
            "rtp": {
                "packets_in": figures.packets_in,
                "packets_out": figures.packets_out,
                "lost": figures.lost,
                "jitter_ms": figures.jitter.as_secs_f64() * 1_000.0,
            },
            "recording": call.record.as_ref().filter(|_| self.answered.is_some()).map(|path| path.display().to_string()),
        });
        if let Some(fields) = told.as_object_mut() {
            if call.show_headers {
                fields.insert("headers".to_owned(), json!(self.shown_headers()));
            }
            if let Some(shown) = &self.ladder {
                fields.insert("ladder".to_owned(), ladder::json(shown));
            }
        }
        told
    }

    pub(super) fn tell(&self, call: &Call) {
        if call.show_headers {
            for (name, value) in self.shown_headers() {
                say(&format!("{name}: {value}"));
            }
        }
        if let Some(shown) = &self.ladder {
            say(shown.text().trim_end());
        }
        if let Some((code, reason)) = &self.refused {
            return match self.clean() {
                true => say(&format!("{}    taken back: {code} {reason}", toned(Tone::Good, "OK"))),
                false => say(&format!("{}  refused: {code} {reason}", toned(Tone::Bad, "FAIL"))),
            };
        }
        let figures = &self.statistics;
        say(&format!(
            "{:.1} s, {} packets in, {} out, {} lost, jitter {:.1} ms",
            self.seconds,
            figures.packets_in,
            figures.packets_out,
            figures.lost,
            figures.jitter.as_secs_f64() * 1_000.0
        ));
        if let Some(path) = &call.record {
            say(&format!("recorded in {}: left what was heard, right what was said", path.display()));
        }
        match (&self.wrong, self.answered) {
            (Some(wrong), _) => say(&format!("{}  {wrong}", toned(Tone::Bad, "FAIL"))),
            (None, None) => say(&format!("{}  it was not answered", toned(Tone::Bad, "FAIL"))),
            (None, Some(_)) => say(&format!(
                "{}    ended by {}",
                toned(Tone::Good, "OK"),
                if self.ended_by == Some("peer") { "the other side" } else { "this one" }
            )),
        }
    }

    /// Without the session key, which opens the transcript.
    fn shown_headers(&self) -> Vec<(&str, String)> {
        let disclosure = phone::disclosure();
        self.headers.iter().map(|(name, value)| (name.as_str(), disclosure.value(name, value))).collect()
    }
}

/// What CANCEL makes of an INVITE (RFC 3261 section 9.2).
const REQUEST_TERMINATED: u16 = 487;
