//! `call`: one test call, as CXone's Placecall would place it, against any gateway.

use super::Exit;
use super::terminal::{Tone, complain, meanwhile, note, say, toned};
use crate::app::log;
use crate::app::phone::{self, Phone, PhoneCall, PhoneEvent, Placing};
use crate::audio::wav;
use crate::base::clock;
use crate::media::Statistics;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// `call`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Call {
    /// Whom to call, as in sip:100@127.0.0.1:5060;transport=tcp
    #[arg(value_name = "SIP-URI")]
    uri: String,
    /// The contact that Placecall would name, sent as X-ContactID
    #[arg(long, value_name = "N")]
    contact_id: Option<String>,
    /// A header of the INVITE, as in 'X-Skill: sales'; may be given several times
    #[arg(long = "header", value_name = "X-A: b", value_parser = header)]
    headers: Vec<(String, String)>,
    /// A sound to play once the call is answered: mono WAV of 16 bits at 8, 16, 24 or 48 kHz
    #[arg(long, value_name = "WAV")]
    play: Option<PathBuf>,
    /// Keys to press once the sound is played (0-9, *, #, A-D), as telephone-events
    #[arg(long, value_name = "DIGITS", value_parser = digits)]
    dtmf: Option<String>,
    /// Record the call as stereo WAV: left what is heard, right what is said
    #[arg(long, value_name = "WAV")]
    record: Option<PathBuf>,
    /// Hang up so many seconds after the answer; without it the other side or Ctrl-C ends the call
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// One JSON object with what came of it, for machines
    #[arg(long)]
    json: bool,
}

/// What came of the call.
#[derive(Debug, Default)]
struct Outcome {
    refused: Option<(u16, String)>,
    answered: Option<Instant>,
    session_key: Option<String>,
    ended_by: Option<&'static str>,
    wrong: Option<String>,
    statistics: Statistics,
    seconds: f64,
}

pub(super) async fn run(call: Call) -> Exit {
    if let Err(error) = log::install(log::Format::Pretty, "warn") {
        complain(&error.to_string());
        return Exit::Failed;
    }
    match place(&call).await {
        Ok(outcome) => {
            if call.json {
                say(&outcome.json(&call).to_string());
            } else {
                outcome.tell(&call);
            }
            if outcome.clean() { Exit::Done } else { Exit::Failed }
        }
        Err(error) => {
            if call.json {
                say(&json!({"uri": call.uri, "answered": false, "ok": false, "error": error}).to_string());
            } else {
                complain(&error);
            }
            Exit::Failed
        }
    }
}

async fn place(call: &Call) -> Result<Outcome, String> {
    let sound = match &call.play {
        None => Vec::new(),
        Some(path) => {
            let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let file = std::fs::File::open(path).map_err(|error| named(&error))?;
            wav::read_telephone(std::io::BufReader::new(file)).map_err(|error| named(&error))?
        }
    };
    let mut headers = Vec::new();
    if let Some(contact_id) = &call.contact_id {
        headers.push(("X-ContactID".to_owned(), contact_id.clone()));
    }
    headers.extend(call.headers.iter().cloned());
    let interrupt = signal(SignalKind::interrupt()).map_err(|error| format!("Ctrl-C cannot be watched: {error}"))?;
    let phone = Phone::towards(&call.uri).await.map_err(|error| error.to_string())?;
    let placing = Placing { uri: call.uri.clone(), headers, record: call.record.clone() };
    let placed = phone.call(placing).await.map_err(|error| error.to_string())?;
    if !call.json {
        note(&format!("calling {}", call.uri));
    }
    let outcome = hold(call, placed, &sound, interrupt).await;
    phone.put_away().await;
    Ok(outcome)
}

async fn hold(call: &Call, mut placed: PhoneCall, sound: &[i16], mut interrupt: Signal) -> Outcome {
    let mut outcome = Outcome::default();
    let mut interrupted = false;
    let mut playing = None;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut end: Option<Instant> = None;
    loop {
        tokio::select! {
            event = placed.event() => match event {
                PhoneEvent::Progress { code, reason } => {
                    if !call.json && code != 100 {
                        note(&format!("{code} {reason}"));
                    }
                }
                PhoneEvent::Answered { headers, codec } => {
                    let now = clock::now().at;
                    outcome.answered = Some(now);
                    end = call.seconds.map(|seconds| now + Duration::from_secs(seconds));
                    // The key opens the transcript: eight characters say which it is.
                    let key = phone::header(&headers, "X-Session-Key").map(|key| key.chars().take(8).collect::<String>());
                    if !call.json {
                        let key = key.as_ref().map_or_else(String::new, |key| format!(", X-Session-Key {key}…"));
                        note(&format!("answered with {}{key}", codec.name()));
                    }
                    outcome.session_key = key;
                    if sound.is_empty() {
                        press(call, &placed);
                    } else {
                        playing = Some(placed.play(sound));
                    }
                }
                PhoneEvent::Refused { code, reason } => {
                    outcome.refused = Some((code, reason));
                    break;
                }
                PhoneEvent::Played(play) if playing == Some(play) => {
                    playing = None;
                    press(call, &placed);
                }
                PhoneEvent::Played(_) | PhoneEvent::Heard { .. } => {}
                PhoneEvent::Silence => {
                    outcome.wrong = Some("no RTP came for 30 s".to_owned());
                    placed.hang_up().await;
                }
                PhoneEvent::Bye { .. } => outcome.ended_by = Some("peer"),
                PhoneEvent::Ended => break,
            },
            _ = second.tick() => progress(call, &outcome, &placed).await,
            () = until(end) => {
                end = None;
                outcome.ended_by.get_or_insert("phone");
                placed.hang_up().await;
            }
            Some(()) = interrupt.recv() => {
                // Whoever asks twice does not want to wait for the answer to our BYE.
                if interrupted {
                    break;
                }
                interrupted = true;
                outcome.ended_by.get_or_insert("phone");
                placed.hang_up().await;
            }
        }
    }
    meanwhile("");
    outcome.seconds = outcome.answered.map_or(0.0, |since| clock::now().at.duration_since(since).as_secs_f64());
    if outcome.ended_by.is_none() && outcome.answered.is_some() && outcome.wrong.is_none() {
        outcome.wrong = Some("the connection was lost".to_owned());
    }
    outcome.statistics = placed.close().await.unwrap_or_default();
    outcome
}

fn press(call: &Call, placed: &PhoneCall) {
    if let Some(digits) = &call.dtmf {
        placed.press(digits);
    }
}

async fn progress(call: &Call, outcome: &Outcome, placed: &PhoneCall) {
    let Some(since) = outcome.answered.filter(|_| !call.json) else { return };
    if let Some(figures) = placed.statistics().await {
        let seconds = clock::now().at.duration_since(since).as_secs();
        meanwhile(&format!(
            "{}:{:02}  {} packets in, {} out, {} lost",
            seconds / 60,
            seconds % 60,
            figures.packets_in,
            figures.packets_out,
            figures.lost
        ));
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}

impl Outcome {
    fn clean(&self) -> bool {
        self.answered.is_some() && self.refused.is_none() && self.wrong.is_none()
    }

    fn json(&self, call: &Call) -> serde_json::Value {
        let figures = &self.statistics;
        json!({
            "uri": call.uri,
            "ok": self.clean(),
            "answered": self.answered.is_some(),
            "refused": self.refused.as_ref().map(|(code, reason)| json!({"code": code, "reason": reason})),
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
        })
    }

    fn tell(&self, call: &Call) {
        if let Some((code, reason)) = &self.refused {
            return say(&format!("{}  refused: {code} {reason}", toned(Tone::Bad, "FAIL")));
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
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written 'X-Name: value'")?;
    let (name, value) = (name.trim(), value.trim());
    let token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    if name.is_empty() || !name.chars().all(token) || value.chars().any(char::is_control) {
        return Err("a header is written 'X-Name: value'".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn digits(text: &str) -> Result<String, String> {
    match text.chars().find(|key| !"0123456789*#ABCDabcd".contains(*key)) {
        None => Ok(text.to_owned()),
        Some(wrong) => Err(format!("{wrong:?} is no key: 0-9, *, # and A-D are")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_keys_are_read_and_wrong_ones_named() {
        assert_eq!(header("X-A: b: c"), Ok(("X-A".to_owned(), "b: c".to_owned())));
        assert!(header("X-A").is_err());
        assert!(header(": b").is_err());
        assert!(header("X A: b").is_err());
        assert!(header("X-A: b\r\nVia: c").is_err());
        assert_eq!(digits("12*#aD"), Ok("12*#aD".to_owned()));
        assert!(digits("12x").is_err_and(|wrong| wrong.contains("'x'")));
    }
}
