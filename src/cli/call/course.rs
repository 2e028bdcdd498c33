//! The course of a call from INVITE to its end: what was ordered for it, and what it does.

use super::Call;
use super::outcome::Outcome;
use crate::app::phone::{self, PhoneCall, PhoneEvent};
use crate::audio::wav::Clip;
use crate::base::{PlayId, clock};
use crate::cli::terminal::{meanwhile, note};
use std::time::{Duration, Instant};
use tokio::signal::unix::Signal;

/// Holds the call to its end.
pub(super) async fn hold(call: &Call, placed: PhoneCall, sound: &Clip, mut interrupt: Signal) -> Outcome {
    let began = clock::now().at;
    let mut course = Course {
        call,
        placed,
        sound,
        began,
        outcome: Outcome::default(),
        playing: None,
        cancel: call.cancel_after.map(|after| began + after),
        end: None,
        resuming: false,
        resume: None,
    };
    let mut interrupted = false;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            event = course.placed.event() => if course.take(event).await { break },
            _ = second.tick() => course.progress().await,
            () = until(course.cancel) => course.take_back().await,
            () = until(course.resume) => course.resume().await,
            () = until(course.end) => {
                course.end = None;
                course.hang_up().await;
            }
            Some(()) = interrupt.recv() => {
                // Whoever asks twice does not want to wait for the answer to our BYE.
                if interrupted {
                    break;
                }
                interrupted = true;
                course.hang_up().await;
            }
        }
    }
    course.close().await
}

struct Course<'a> {
    call: &'a Call,
    placed: PhoneCall,
    sound: &'a Clip,
    began: Instant,
    outcome: Outcome,
    playing: Option<PlayId>,
    /// When to take the call back.
    cancel: Option<Instant>,
    /// When to hang up.
    end: Option<Instant>,
    resuming: bool,
    /// When to resume.
    resume: Option<Instant>,
}

impl Course<'_> {
    /// What happened; true when the call is over.
    async fn take(&mut self, event: PhoneEvent) -> bool {
        match event {
            PhoneEvent::Progress { code, reason } => {
                if code != 100 {
                    self.note(&format!("{code} {reason}"));
                }
            }
            PhoneEvent::Answered { headers, codec } => {
                let now = clock::now().at;
                self.outcome.answered = Some(now);
                self.outcome.setup = Some(now.duration_since(self.began));
                self.outcome.codec = Some(codec.name());
                self.end = self.call.seconds.map(|seconds| now + Duration::from_secs(seconds));
                // The key opens the transcript: eight characters say which it is.
                let key = phone::header(&headers, "X-Session-Key").map(|key| key.chars().take(8).collect::<String>());
                let shown = key.as_ref().map_or_else(String::new, |key| format!(", X-Session-Key {key}…"));
                self.note(&format!("answered with {}{shown}", codec.name()));
                self.outcome.session_key = key;
                self.outcome.headers = headers;
                if self.call.hold.is_some() {
                    self.placed.hold().await;
                }
                if self.sound.is_empty() {
                    self.press();
                } else {
                    self.playing = Some(self.placed.play(self.sound));
                }
            }
            PhoneEvent::Changed { code } => self.changed(code).await,
            PhoneEvent::Refused { code, reason, headers } => {
                self.outcome.setup = Some(clock::now().at.duration_since(self.began));
                self.outcome.refused = Some((code, reason));
                self.outcome.headers = headers;
                return true;
            }
            PhoneEvent::Played(play) if self.playing == Some(play) => {
                self.playing = None;
                self.press();
            }
            PhoneEvent::Played(_) | PhoneEvent::Heard { .. } => {}
            PhoneEvent::Silence => {
                self.outcome.wrong = Some("no RTP came for 30 s".to_owned());
                self.placed.hang_up().await;
            }
            PhoneEvent::Bye { .. } => self.outcome.ended_by = Some("peer"),
            PhoneEvent::Ended => return true,
        }
        false
    }

    /// The final answer to a re-INVITE of ours.
    async fn changed(&mut self, code: u16) {
        let held = !self.resuming;
        let what = if held { "hold" } else { "resume" };
        if !(200..300).contains(&code) {
            self.outcome.wrong = Some(format!("{what} was refused: {code}"));
            return self.hang_up().await;
        }
        self.note(if held { "held" } else { "resumed" });
        self.outcome.changes.push(what);
        if held {
            self.resume = self.call.hold.map(|long| clock::now().at + long);
        }
    }

    async fn resume(&mut self) {
        self.resume = None;
        self.resuming = true;
        self.placed.resume().await;
    }

    /// CANCEL, as ordered, unless the answer was faster.
    async fn take_back(&mut self) {
        self.cancel = None;
        self.outcome.cancelled = self.outcome.answered.is_none();
        self.hang_up().await;
    }

    async fn hang_up(&mut self) {
        self.outcome.ended_by.get_or_insert("phone");
        self.placed.hang_up().await;
    }

    fn press(&self) {
        if let Some(digits) = &self.call.dtmf {
            self.placed.press(digits);
        }
    }

    fn note(&self, line: &str) {
        if !self.call.json {
            note(line);
        }
    }

    async fn progress(&self) {
        let Some(since) = self.outcome.answered.filter(|_| !self.call.json) else { return };
        if let Some(figures) = self.placed.statistics().await {
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

    async fn close(self) -> Outcome {
        let mut outcome = self.outcome;
        meanwhile("");
        outcome.seconds = outcome.answered.map_or(0.0, |since| clock::now().at.duration_since(since).as_secs_f64());
        if outcome.ended_by.is_none() && outcome.answered.is_some() && outcome.wrong.is_none() {
            outcome.wrong = Some("the connection was lost".to_owned());
        }
        outcome.statistics = self.placed.close().await.unwrap_or_default();
        outcome
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
