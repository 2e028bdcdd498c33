//! The stages of one turn, from its cause to the first voiced packet of its first prompt (interface section 4, `turn_stage_seconds`).

use super::words::{TurnCause, TurnTimes};
use crate::base::{PlayId, TurnId};
use std::time::{Duration, Instant};

/// A turn whose answer the caller does not hear yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    turn: TurnId,
    cause: TurnCause,
    caused: Instant,
    replied: Instant,
    assistant: Duration,
    ordered: Option<(PlayId, Instant)>,
    audio: Option<Instant>,
    /// When the first packet left, and when the caller was last heard before.
    started: Option<(Instant, Option<Instant>)>,
}

impl Timing {
    /// The reply to a turn caused at `caused` has come.
    pub(super) fn new(turn: TurnId, cause: TurnCause, caused: Instant, replied: Instant, took: Duration) -> Self {
        Self { turn, cause, caused, replied, assistant: took, ordered: None, audio: None, started: None }
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

    /// The first packet of the first prompt left.
    pub(super) fn started(&mut self, sent: Instant, last_voiced: Option<Instant>) {
        self.started = Some((sent, last_voiced));
    }

    /// Whether `play` is the turn's first prompt.
    pub(super) fn is_of(&self, play: PlayId) -> bool {
        self.ordered.is_some_and(|(first, _)| first == play)
    }

    /// The stages, once a packet with a voice in it left `at`, or the prompt was over without one. Voice of the caller after the
    /// final result is not the voice that caused the turn. `silence` is what the recogniser waits for before it takes a phrase for
    /// ended.
    pub(super) fn done(&self, at: Option<Instant>, silence: Duration) -> Option<TurnTimes> {
        let (sent, last_voiced) = self.started?;
        let at = at.unwrap_or(sent).max(sent);
        let (_, ordered) = self.ordered?;
        let audio = self.audio.unwrap_or(sent).min(sent);
        let voiced = last_voiced.filter(|voiced| self.cause == TurnCause::SpeechToText && *voiced <= self.caused);
        let heard = voiced.map(|voiced| self.caused.saturating_duration_since(voiced));
        // Some finals come sooner, for the voice that ended the phrase was not what the recogniser took for speech.
        let end_pointing = heard.map(|heard| heard.min(silence));
        let whole = at.saturating_duration_since(self.caused);
        let assistant = self.assistant.min(self.replied.saturating_duration_since(self.caused));
        // What a voice says nothing in before it speaks is the voice's, too.
        let text_to_speech = audio.saturating_duration_since(ordered) + at.saturating_duration_since(sent);
        let waited = ordered.saturating_duration_since(self.replied);
        Some(TurnTimes {
            turn: self.turn,
            cause: self.cause,
            end_pointing,
            speech_to_text: heard.map(|heard| heard.saturating_sub(silence)),
            assistant,
            waited,
            text_to_speech,
            gateway: whole.saturating_sub(assistant + waited + text_to_speech),
            total: whole + heard.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_millis(500);

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn timing(start: Instant) -> Timing {
        let caused = at(start, 1000);
        Timing::new(TurnId(2), TurnCause::SpeechToText, caused, at(start, 1305), Duration::from_millis(300))
    }

    fn sum(times: &TurnTimes) -> Duration {
        times.stages().map(|(_, took)| took).sum()
    }

    #[test]
    fn the_gateways_share_is_what_the_services_did_not_take() {
        let start = crate::base::clock::now().at;
        let mut timing = timing(start);
        timing.ordered(PlayId(7), at(start, 1306));
        timing.ordered(PlayId(8), at(start, 1307));
        timing.audio(PlayId(8), at(start, 1350));
        timing.audio(PlayId(7), at(start, 1406));
        assert!(timing.is_of(PlayId(7)) && !timing.is_of(PlayId(8)));
        assert_eq!(timing.done(None, SILENCE), None, "nothing has left");
        timing.started(at(start, 1420), Some(at(start, 200)));
        let times = timing.done(Some(at(start, 1480)), SILENCE).unwrap();
        let took: Vec<_> = times.stages().map(|(stage, took)| (stage, took.as_millis())).collect();
        let wanted = [
            ("end_pointing", 500),
            ("speech_to_text", 300),
            ("assistant", 300),
            ("waiting", 1),
            ("text_to_speech", 160),
            ("gateway", 19),
        ];
        assert_eq!(took, wanted);
        assert_eq!((times.total, sum(&times)), (Duration::from_millis(1280), times.total));
        let silent = timing.done(None, SILENCE).unwrap();
        assert_eq!((silent.total, sum(&silent)), (Duration::from_millis(1220), silent.total));
        timing.started(at(start, 1420), Some(at(start, 1100)));
        let noise = timing.done(None, SILENCE).unwrap();
        assert_eq!((noise.speech_to_text, noise.total), (None, Duration::from_millis(420)));
        assert_eq!(sum(&noise), noise.total);
    }

    #[test]
    fn stages_add_up_to_the_whole_whatever_comes_in_whichever_order() {
        let start = crate::base::clock::now().at;
        for ordered in [1305, 1310, 1900] {
            for audio in [None, Some(1000), Some(1350), Some(2500)] {
                for (sent, voiced) in [(1420, 200), (1420, 990), (2000, 700), (2000, 1500)] {
                    let mut timing = timing(start);
                    timing.ordered(PlayId(7), at(start, ordered));
                    if let Some(audio) = audio {
                        timing.audio(PlayId(7), at(start, audio));
                    }
                    let sent = sent.max(ordered);
                    timing.started(at(start, sent), Some(at(start, voiced)));
                    for (took, late) in [(0, 0), (300, 90), (5000, 1)] {
                        timing.assistant = Duration::from_millis(took);
                        let times = timing.done(Some(at(start, sent + late)), SILENCE).unwrap();
                        assert_eq!(sum(&times), times.total, "{ordered} {audio:?} {sent} {voiced} {took}");
                    }
                }
            }
        }
    }
}
