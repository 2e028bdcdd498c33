//! Whether a conversation went as scripted: judged by the agent's page, its JSON, the signals that CXone received and the file of the
//! recording, never by looking into the gateway.

use super::scenario::{FirstParameter, Scenario};
use super::{Performance, RECORDINGS, Stage};
use crate::app::phone::Ear;
use crate::audio::Law;
use crate::sandbox::cxone::Signal;
use crate::sandbox::script::Outcome;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// What was found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Each thing that was scripted.
    pub checks: Vec<Check>,
    /// The agent's page, with the whole key.
    pub page: Option<String>,
    /// The recording: left the caller, right the assistant.
    pub recording: Option<PathBuf>,
}

/// One thing that was scripted.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was to happen.
    pub what: String,
    /// What came instead, where it did not happen.
    pub wrong: Option<String>,
}

impl Verdict {
    /// Whether all went as scripted.
    #[must_use]
    pub fn good(&self) -> bool {
        self.checks.iter().all(|check| check.wrong.is_none())
    }

    fn check(&mut self, what: impl Into<String>, wrong: Option<String>) {
        self.checks.push(Check { what: what.into(), wrong });
    }
}

pub(super) async fn judge(stage: &Stage, scenario: &Scenario, done: &Performance) -> Verdict {
    let mut verdict = Verdict { checks: Vec::new(), page: None, recording: None };
    let expected = &scenario.expected;
    verdict.check(
        "the gateway answered, with the session key in X-Session-Key",
        done.session_key.is_none().then(|| "no key came in the 200".to_owned()),
    );
    verdict.check(
        format!("the caller said all of {} lines", scenario.lines.len()),
        done.gave_up.clone().or_else(|| (done.said < scenario.lines.len()).then(|| format!("{} were said", done.said))),
    );
    if expected.failure {
        verdict.check("the caller was told that something went wrong", unsaid(&stage.failure_message, done));
    }
    signals(&mut verdict, scenario, done);
    ending(&mut verdict, scenario, done);
    let Some(key) = &done.session_key else { return verdict };
    let page = format!("{}/loadAgentAppFrame.html?session_history_key={key}", stage.agent_url());
    if expected.outcome == Outcome::WithAgent {
        let popped = done.pop_url.as_deref() == Some(page.as_str());
        verdict.check(
            "the agent's screen opened the page of this call",
            (!popped).then(|| format!("it opened {}", done.pop_url.as_deref().unwrap_or("nothing"))),
        );
    }
    let history = history(stage, key).await;
    transcript(&mut verdict, scenario, &history);
    let answer = stage.http.get(&page).send().await;
    let wrong = match answer {
        Ok(answer) if answer.status() == 200 => None,
        Ok(answer) => Some(format!("it says {}", answer.status())),
        Err(error) => Some(error.to_string()),
    };
    verdict.check("the agent's page opens", wrong);
    verdict.page = Some(page);
    recording(&mut verdict, stage, key);
    verdict
}

/// Whether `message` was spoken, and something was heard after the caller's last words.
fn unsaid(message: &str, done: &Performance) -> Option<String> {
    if done.assistant.last().map(String::as_str) != Some(message) {
        return Some(format!("the last that was spoken is {:?}", done.assistant.last()));
    }
    let mut ear = Ear::default();
    if let Some(sound) = done.heard.last() {
        let _ = ear.hear(Law::Mu, sound);
    }
    (ear.listened() < SENTENCE).then(|| format!("{} ms of speech were heard", ear.listened().as_millis()))
}

fn signals(verdict: &mut Verdict, scenario: &Scenario, done: &Performance) {
    let expected = &scenario.expected;
    let first = match expected.signal {
        // What is played may be anything: so may be what comes of it.
        None if scenario.caller_ends() => return,
        None => {
            let wrong = (!done.signals.is_empty()).then(|| format!("{} came", done.signals.len()));
            return verdict.check("CXone received no signal", wrong);
        }
        Some(FirstParameter::SessionKey) => done.session_key.clone().unwrap_or_default(),
        Some(FirstParameter::Hangup) => "hangup".to_owned(),
    };
    let mut wanted = vec![(1, first)];
    wanted.extend(expected.custom_data.iter().map(|(number, value)| (*number, (*value).to_owned())));
    let names: Vec<String> = wanted.iter().map(|(number, _)| format!("p{number}")).collect();
    let wanted = Signal::new(wanted);
    let wrong = match done.signals.as_slice() {
        [one] if *one == wanted => None,
        [one] => Some(differences(&wanted, one)),
        several => Some(format!("{} signals came", several.len())),
    };
    let p1 = if expected.signal == Some(FirstParameter::Hangup) { "hangup" } else { "the session key" };
    verdict.check(format!("CXone received one signal: {}, p1 = {p1}", names.join(", ")), wrong);
}

fn differences(wanted: &Signal, came: &Signal) -> String {
    let differing = (1..=9).filter(|n| wanted.parameter(*n) != came.parameter(*n)).map(|n| {
        let show = |value: Option<&str>| match (n, value) {
            // A key may be read by agents only.
            (1, Some(key)) => format!("{:?}", key.chars().take(8).collect::<String>()),
            (_, Some(value)) => format!("{value:?}"),
            (_, None) => "nothing".to_owned(),
        };
        format!("p{n} is {}, not {}", show(came.parameter(n)), show(wanted.parameter(n)))
    });
    differing.collect::<Vec<_>>().join("; ")
}

fn ending(verdict: &mut Verdict, scenario: &Scenario, done: &Performance) {
    if scenario.caller_ends() {
        // What was played may lead to any end but none.
        let wrong = done.outcome.is_none().then(|| "it did not end".to_owned());
        return verdict.check("the call ended", wrong);
    }
    let what = match scenario.expected.outcome {
        Outcome::WithAgent if scenario.expected.failure => "the gateway hung up, and Onrelease led to an agent",
        Outcome::WithAgent => "an agent has the caller",
        Outcome::HungUp => "CXone hung up",
        Outcome::CallerGone => "the caller hung up",
    };
    let outcome = done.outcome == Some(scenario.expected.outcome);
    let way = done.bye_received == scenario.expected.failure;
    let wrong = match (outcome, way) {
        (true, true) => None,
        (false, _) => Some(match done.outcome {
            Some(outcome) => format!("the script ended {outcome:?}"),
            None => "the script did not end".to_owned(),
        }),
        (true, false) if done.bye_received => Some("it was the gateway that hung up".to_owned()),
        (true, false) => Some("the gateway did not hang up".to_owned()),
    };
    verdict.check(what, wrong);
}

/// The transcript as the agent's browser gets it, once the call has ended in it.
async fn history(stage: &Stage, key: &str) -> Result<Value, String> {
    let url = format!("{}/v1/history/{key}", stage.agent_url());
    let mut last = Err("it was not asked for".to_owned());
    for _ in 0..TRIES {
        let answer = stage.http.get(&url).send().await.map_err(|error| error.to_string())?;
        if answer.status() == 200 {
            let history: Value = answer.json().await.map_err(|error| error.to_string())?;
            if history.get("state").and_then(Value::as_str) == Some("ended") {
                return Ok(history);
            }
            last = Ok(history);
        } else {
            last = Err(format!("it says {}", answer.status()));
        }
        tokio::time::sleep(BETWEEN).await;
    }
    last
}

fn transcript(verdict: &mut Verdict, scenario: &Scenario, history: &Result<Value, String>) {
    let history = match history {
        Ok(history) => history,
        Err(wrong) => return verdict.check("the transcript can be read", Some(wrong.clone())),
    };
    let lines = |who: &str| -> Vec<String> {
        let entries = history.get("entries").and_then(Value::as_array).into_iter().flatten();
        let his = entries.filter(|entry| entry.get("who").and_then(Value::as_str) == Some(who));
        his.filter_map(|entry| Some(entry.get("text")?.as_str()?.to_owned())).collect()
    };
    let (caller, assistant) = (lines("caller"), lines("assistant"));
    let wanted: Vec<&str> = scenario.lines.iter().flat_map(|line| line.heard).copied().collect();
    if scenario.caller_ends() {
        let wrong = caller.is_empty().then(|| "it has none".to_owned());
        verdict.check("the transcript has words of the caller", wrong);
    } else {
        verdict.check(format!("the transcript has the caller's words: {}", list(&wanted)), missing(&wanted, &caller));
    }
    let wanted = scenario.expected.assistant;
    verdict.check(format!("and the assistant's: {}", list(wanted)), missing(wanted, &assistant));
    if !scenario.caller_ends() {
        let reason = history.get("end_reason").and_then(Value::as_str).unwrap_or("none");
        let wrong = (reason != scenario.expected.end_reason).then(|| format!("it says {reason}"));
        verdict.check(format!("the history says how it ended: {}", scenario.expected.end_reason), wrong);
    }
}

/// Which of `wanted` is not in `lines`, in their order.
fn missing(wanted: &[&str], lines: &[String]) -> Option<String> {
    let mut rest = lines.iter();
    let lacking = wanted.iter().find(|words| !rest.any(|line| plain(line).contains(&plain(words))))?;
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    Some(format!("{lacking:?} is not in {}", list(&lines)))
}

fn list(words: &[&str]) -> String {
    words.iter().map(|words| format!("{words:?}")).collect::<Vec<_>>().join(", ")
}

/// Lower-case words alone.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

fn recording(verdict: &mut Verdict, stage: &Stage, key: &str) {
    let short: String = key.chars().take(SHORT).collect();
    let files = std::fs::read_dir(stage.folder.join(RECORDINGS)).into_iter().flatten().flatten();
    let path = files.map(|file| file.path()).find(|path| path.to_string_lossy().ends_with(&format!("-{short}.wav")));
    let wrong = match &path {
        None => Some("there is no file of this call".to_owned()),
        Some(path) => silent_side(path).err(),
    };
    verdict.check("the recording has both voices", wrong);
    verdict.recording = path;
}

fn silent_side(path: &std::path::Path) -> Result<(), String> {
    let mut wav = hound::WavReader::open(path).map_err(|error| error.to_string())?;
    if wav.spec().channels != 2 {
        return Err(format!("it has {} channels", wav.spec().channels));
    }
    let mut loudest = [0_u16; 2];
    for (n, sample) in wav.samples::<i16>().enumerate() {
        let sample = sample.map_err(|error| error.to_string())?;
        if let Some(side) = loudest.get_mut(n % 2) {
            *side = (*side).max(sample.unsigned_abs());
        }
    }
    match loudest {
        [caller, _] if caller < AUDIBLE => Err("the caller's side is silent".to_owned()),
        [_, assistant] if assistant < AUDIBLE => Err("the assistant's side is silent".to_owned()),
        _ => Ok(()),
    }
}

/// The history is written behind the call: it may be some moments late.
const TRIES: u32 = 50;
const BETWEEN: Duration = Duration::from_millis(100);
/// Characters of the key in the recording's name.
const SHORT: usize = 8;
/// The least that can be called a sentence.
const SENTENCE: Duration = Duration::from_secs(1);
const AUDIBLE: u16 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_looked_for_in_order_whatever_their_dress() {
        let lines = ["Hello, and welcome.".to_owned(), "It's forty-two dollars".to_owned()];
        assert_eq!(missing(&["welcome", "forty two dollars"], &lines), None);
        assert_eq!(missing(&["it's"], &lines), None);
        assert!(missing(&["dollars", "welcome"], &lines).is_some_and(|wrong| wrong.starts_with("\"welcome\"")));
        assert_eq!(missing(&[], &[]), None);
    }

    #[test]
    fn a_differing_signal_is_told_without_its_whole_key() {
        let key = "0123456789abcdef".to_owned();
        let wanted = Signal::new([(1, key.clone()), (2, "balance".to_owned())]);
        let came = Signal::new([(1, format!("x{key}")), (3, "29".to_owned())]);
        assert_eq!(
            differences(&wanted, &came),
            r#"p1 is "x0123456", not "01234567"; p2 is nothing, not "balance"; p3 is "29", not nothing"#
        );
    }
}
