//! The conversation as it happens, and what came of it, for people.

use super::super::terminal::{Tone, meanwhile, say, toned};
use crate::app::demonstration::{Moment, Performance, Verdict};
use crate::call::output::TurnTimes;
use crate::sandbox::script::{Action, Cause, Outcome};
use std::path::Path;
use std::time::Duration;

/// Shows moments, a line each.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// Studio's actions since the last line, shown together, and when the first ran.
    actions: Vec<Action>,
    acted: Duration,
}

impl Transcript {
    pub(super) fn moment(&mut self, moment: &Moment) {
        match moment {
            Moment::Loudness { at, caller, assistant } => {
                self.end();
                return meanwhile(&format!(
                    "  {}  {} {} {} {}",
                    time(*at),
                    toned(Tone::Caller, "caller"),
                    bar(*caller),
                    toned(Tone::Assistant, "assistant"),
                    bar(*assistant)
                ));
            }
            Moment::Studio(at, action) => {
                if at.saturating_sub(self.acted) > TOGETHER {
                    self.end();
                }
                if self.actions.is_empty() {
                    self.acted = *at;
                }
                return self.actions.push(*action);
            }
            _ => {}
        }
        self.end();
        match moment {
            Moment::Studio(..) | Moment::Loudness { .. } => {}
            Moment::Ringing(at) => studio(*at, "rings"),
            Moment::Answered(at, Some(key)) => studio(*at, &format!("answered, X-Session-Key {}", short(key))),
            Moment::Answered(at, None) => studio(*at, "answered without X-Session-Key"),
            Moment::Refused(at, code, reason) => studio(*at, &format!("refused: {code} {reason}")),
            Moment::Assistant(at, text) => line(*at, Tone::Assistant, "assistant", text),
            Moment::Caller(at, words) => line(*at, Tone::Caller, "caller", words),
            Moment::Recognised(at, words) => line(*at, Tone::Quiet, "heard", &format!("\"{words}\"")),
            Moment::Turn(_, times) => say(&format!("{:<20}{}", "", toned(Tone::Quiet, &stages(times)))),
            Moment::Signalled(at, signal) => {
                let names: Vec<String> = signal.given().map(|(name, _)| name).collect();
                studio(*at, &format!("signalled with {}", names.join(", ")));
            }
            Moment::Queued(at, Cause::Signal) => studio(*at, "the caller waits for an agent"),
            Moment::Queued(at, Cause::Released) => studio(*at, "the gateway is gone: the caller waits for an agent"),
            Moment::Queued(at, Cause::Refused) => studio(*at, "no assistant: the caller waits for an agent"),
            Moment::PopUrl(at, _) => studio(*at, "the agent's screen opens the transcript"),
            Moment::ByeReceived(at) => studio(*at, "BYE from the gateway"),
            Moment::ByeSent(at) => studio(*at, "BYE to the gateway"),
            Moment::GaveUp(at, why) => line(*at, Tone::Bad, "caller", &format!("gives up: {why}")),
            Moment::Ended(at, Outcome::WithAgent) => studio(*at, "the caller is with an agent"),
            Moment::Ended(at, Outcome::HungUp) => studio(*at, "the contact is hung up"),
            Moment::Ended(at, Outcome::CallerGone) => studio(*at, "the caller has hung up"),
        }
    }

    /// Shows what is still to be shown.
    pub(super) fn end(&mut self) {
        meanwhile("");
        let actions: Vec<String> = self.actions.drain(..).map(|action| action.to_string()).collect();
        if !actions.is_empty() {
            studio(self.acted, &format!("Studio runs {}", actions.join(", ")));
        }
    }
}

fn studio(at: Duration, what: &str) {
    line(at, Tone::Studio, "CXone", what);
}

/// What is left behind: signals, page, recording.
pub(super) fn results(performance: &Performance, verdict: &Verdict, recording: Option<&Path>, kept: bool) {
    say("");
    for signal in &performance.signals {
        for (name, value) in signal.given() {
            let value = if name == "p1" && value != "hangup" { short(value) } else { value.to_owned() };
            say(&format!("  signal {name}      {value}"));
        }
    }
    if performance.signals.is_empty() {
        say("  signal         none");
    }
    if let Some(page) = &verdict.page {
        say(&format!("  agent's page   {page}"));
        if !kept {
            say(&toned(Tone::Quiet, "                 (it goes with this process; --keep leaves it up)"));
        }
    }
    if let Some(recording) = recording {
        say(&format!("  recording      {} (left the caller, right the assistant)", recording.display()));
    }
    if let Some(figures) = &performance.statistics {
        say(&format!(
            "  RTP            {} packets to the caller, {} lost; {} from the caller",
            figures.packets_in, figures.lost, figures.packets_out
        ));
    }
}

fn line(at: Duration, tone: Tone, who: &str, what: &str) {
    say(&format!("  {}  {} {what}", toned(Tone::Quiet, &time(at)), toned(tone, &format!("{who:<9}"))));
}

fn time(at: Duration) -> String {
    let seconds = at.as_secs();
    format!("{}:{:02}.{}", seconds / 60, seconds % 60, at.subsec_millis() / 100)
}

/// A bar of 3 dB a cell, full at -12 dB.
fn bar(mean_square: u32) -> String {
    let halvings = (LOUD / mean_square.max(1)).checked_ilog2().unwrap_or(0);
    let cells = usize::try_from(BAR.saturating_sub(halvings)).unwrap_or(0);
    let width = usize::try_from(BAR).unwrap_or(0);
    format!("{}{}", "\u{2588}".repeat(cells), "\u{b7}".repeat(width - cells))
}

/// Actions no further apart stand in one line.
const TOGETHER: Duration = Duration::from_millis(100);
const BAR: u32 = 12;
/// Mean square of a sine at -12 dB.
const LOUD: u32 = 33_800_000;

fn stages(times: &TurnTimes) -> String {
    let stages = times.stages().chain([("total", times.total)]);
    stages.map(|(stage, took)| format!("{} {}", stage.replace('_', " "), length(took))).collect::<Vec<_>>().join(", ")
}

fn length(time: Duration) -> String {
    match time.as_millis() {
        milliseconds @ ..1_000 => format!("{milliseconds} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// A key opens the transcript: eight characters say which it is.
fn short(key: &str) -> String {
    format!("{}…", key.chars().take(8).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_keys_are_short() {
        assert_eq!(length(Duration::from_millis(999)), "999 ms");
        assert_eq!(length(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(bar(0), "\u{b7}".repeat(12));
        assert_eq!(bar(u32::MAX), "\u{2588}".repeat(12));
        assert_eq!(bar(LOUD / 16), format!("{}{}", "\u{2588}".repeat(8), "\u{b7}".repeat(4)));
        assert_eq!(short("abcdefghijkl"), "abcdefgh…");
    }
}
