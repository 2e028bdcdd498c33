//! The stages of one turn, from its cause to the first packet of its first prompt (interface section 4, `turn_stage_seconds`).

use super::words::{TurnCause, TurnTimes};
use crate::base::{PlayId, TurnId};
use std::time::{Duration, Instant};

/// A turn whose first packet has not left yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    turn: TurnId,
    cause: TurnCause,
    caused: Instant,
    replied: Instant,
    assistant: Duration,
    ordered: Option<(PlayId, Instant)>,
    audio: Option<Instant>,
}

impl Timing {
    /// The reply to a turn caused at `caused` has come.
    pub(super) fn new(turn: TurnId, cause: TurnCause, caused: Instant, replied: Instant, took: Duration) -> Self {
        Self { turn, cause, caused, replied, assistant: took, ordered: None, audio: None }
    }

    /// A prompt was ordered; the first one counts.
    pub(super) fn ordered(&mut self, play: PlayId, now: Instant) {
        self.ordered.get_or_insert((play, now));
    }

    /// The first audio of a prompt came.
    pub(super) fn audio(&mut self, play: PlayId, now: Instant) {
        if self.is_of(play) {
            self.audio.get_or_insert(now);
        }
    }

    /// Whether `play` is the turn's first prompt.
    pub(super) fn is_of(&self, play: PlayId) -> bool {
        self.ordered.is_some_and(|(first, _)| first == play)
    }

    /// The stages, once the first packet left at `sent`. What the reply waited for an ACK or on hold is nobody's share. Voice after
    /// the final result is not the voice that caused the turn.
    pub(super) fn done(&self, sent: Instant, last_voiced: Option<Instant>) -> Option<TurnTimes> {
        let (_, ordered) = self.ordered?;
        let audio = self.audio.unwrap_or(sent);
        let voiced = last_voiced.filter(|voiced| self.cause == TurnCause::SpeechToText && *voiced <= self.caused);
        let text_to_speech = audio.saturating_duration_since(ordered);
        let waited = ordered.saturating_duration_since(self.replied);
        let whole = sent.saturating_duration_since(self.caused);
        Some(TurnTimes {
            turn: self.turn,
            cause: self.cause,
            speech_to_text: voiced.map(|voiced| self.caused.saturating_duration_since(voiced)),
            assistant: self.assistant,
            text_to_speech,
            gateway: whole.saturating_sub(self.assistant).saturating_sub(text_to_speech).saturating_sub(waited),
            total: sent.saturating_duration_since(voiced.unwrap_or(self.caused)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_share_is_what_the_services_did_not_take() {
        let start = crate::base::clock::now().at;
        let at = |millis| start + Duration::from_millis(millis);
        let mut timing =
            Timing::new(TurnId(2), TurnCause::SpeechToText, at(1000), at(1305), Duration::from_millis(300));
        timing.ordered(PlayId(7), at(1306));
        timing.ordered(PlayId(8), at(1307));
        timing.audio(PlayId(8), at(1350));
        timing.audio(PlayId(7), at(1406));
        assert!(timing.is_of(PlayId(7)) && !timing.is_of(PlayId(8)));
        let times = timing.done(at(1420), Some(at(200))).unwrap();
        assert_eq!(times.speech_to_text, Some(Duration::from_millis(800)));
        assert_eq!(times.text_to_speech, Duration::from_millis(100));
        assert_eq!(times.gateway, Duration::from_millis(420 - 300 - 100 - 1));
        assert_eq!(times.total, Duration::from_millis(1220));
        let noise = timing.done(at(1420), Some(at(1100))).unwrap();
        assert_eq!((noise.speech_to_text, noise.total), (None, Duration::from_millis(420)));
    }
}
