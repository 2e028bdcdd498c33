//! What the caller says and presses: utterances, barge-in, keys (Watson facts 1.11).
//!
//! Speech that began before the end of a prompt that may not be interrupted is ignored, its final result too. Keys always
//! interrupt: `disable_barge_in` of `text_to_speech` is about speech.

use super::choice::choose;
use super::contract::{Act, Failure};
use super::conversation::{Mode, Talk, Timer, Utterance};
use super::words::{SpeechEvent, TurnCause, Who};
use crate::base::Now;
use serde_json::Value;
use std::time::Duration;

impl Talk {
    pub(super) fn listen(&mut self, now: Now, speech: SpeechEvent, out: &mut Vec<Act>) {
        // Also where nobody listens just now: after a failed transfer the talk goes on.
        match &speech {
            SpeechEvent::Failed(fault) => self.deaf = Some(fault.clone()),
            SpeechEvent::Listening => self.deaf = None,
            _ => {}
        }
        if self.mode != Mode::Conversing {
            return;
        }
        match speech {
            SpeechEvent::Listening => {}
            SpeechEvent::Began => self.speaking(now, out),
            SpeechEvent::Hypothesis { transcript, is_final: false, .. } => {
                if !transcript.trim().is_empty() {
                    self.speaking(now, out);
                }
            }
            SpeechEvent::Hypothesis { transcript, is_final: true, confidence, raw } => {
                self.said(now, transcript.trim(), confidence, raw, out);
            }
            SpeechEvent::Reconnecting(fault) => tracing::warn!(%fault, "Speech to Text is being reconnected"),
            SpeechEvent::Failed(fault) if self.is_ending() => {
                tracing::warn!(%fault, "Speech to Text failed before an ending, which goes on");
            }
            SpeechEvent::Failed(fault) => self.fail(Failure::SpeechToText(fault), out),
        }
    }

    /// The caller is speaking: a hypothesis, or the begin of speech.
    fn speaking(&mut self, now: Now, out: &mut Vec<Act>) {
        let known = self.utterance.filter(|utterance| now.at.saturating_duration_since(utterance.last) < PAUSE);
        let ignored = known.map_or_else(|| self.playback.blocks_speech(), |utterance| utterance.ignored);
        self.utterance = Some(Utterance { last: now.at, ignored });
        if ignored {
            return;
        }
        if self.playback.busy() && !self.playback.blocks_speech() && (self.playback.audible() || !self.greeting) {
            self.interrupt(out);
        }
        self.timers.stop(Timer::PostResponse);
        if known.is_none() {
            self.timers.stop(Timer::FinalUtterance);
            if let Some(timeout) = self.context.final_utterance_timeout(&self.settings) {
                self.timers.set(Timer::FinalUtterance, now.at + timeout);
            }
        }
    }

    /// A final result.
    fn said(&mut self, now: Now, words: &str, confidence: Option<f64>, raw: Option<Value>, out: &mut Vec<Act>) {
        let ignored = self.utterance.take().is_some_and(|utterance| utterance.ignored) || self.playback.blocks_speech();
        self.timers.stop(Timer::FinalUtterance);
        if words.is_empty() {
            return;
        }
        if ignored {
            tracing::debug!("speech during a prompt that may not be interrupted, ignored");
            return;
        }
        self.timers.stop(Timer::PostResponse);
        if confidence.is_some_and(|confidence| confidence < self.settings.confidence_threshold) {
            tracing::info!(
                confidence,
                threshold = self.settings.confidence_threshold,
                "final result below the confidence threshold, dropped"
            );
            return;
        }
        if self.logs_words() {
            tracing::info!(words, "caller said");
        }
        self.record(now, Who::Caller, words.to_owned(), out);
        self.interrupt(out);
        if self.is_ending() {
            return;
        }
        let (text, selection) = match choose(&self.choices, words) {
            Some(choice) => (choice.text.clone(), Some(choice.input.clone())),
            None => (words.to_owned(), None),
        };
        self.ask(now, TurnCause::SpeechToText, &text, raw, selection, out);
    }

    /// A key. One that numbers a choice makes it; any other is a turn by itself.
    pub(super) fn key(&mut self, now: Now, key: char, out: &mut Vec<Act>) {
        let key = key.to_ascii_uppercase();
        if self.mode != Mode::Conversing || !matches!(key, '0'..='9' | '*' | '#' | 'A'..='D') {
            return;
        }
        self.record(now, Who::CallerKeys, key.to_string(), out);
        self.interrupt(out);
        if self.is_ending() {
            return;
        }
        let chosen = key.to_digit(10).and_then(|digit| self.choices.get(usize::try_from(digit).ok()?.checked_sub(1)?));
        let (text, selection) = match chosen {
            Some(choice) => (choice.text.clone(), Some(choice.input.clone())),
            None => (key.to_string(), None),
        };
        self.ask(now, TurnCause::Dtmf, &text, None, selection, out);
    }

    /// Stops what is spoken and drops what is left of the reply; a transfer or an end of session that waits behind it comes next.
    fn interrupt(&mut self, out: &mut Vec<Act>) {
        if !self.playback.busy() {
            return;
        }
        let stopped = self.playback.head().map(|head| head.play);
        self.interrupted = stopped.filter(|_| self.playback.audible());
        self.playback.cut(out);
        self.barged_in = true;
        self.timing = None;
        if stopped.is_some() {
            tracing::info!(event = "barge_in", turn = self.turns, "caller interrupted");
            out.push(Act::BargedIn);
        }
    }
}

/// A hypothesis after such a pause is another utterance, whatever became of the one before.
const PAUSE: Duration = Duration::from_secs(3);
