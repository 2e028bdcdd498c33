//! What a listening person notices on a line: that somebody speaks, and that they have finished.

use crate::audio::{FRAME, Law, Voice};
use std::time::Duration;

/// Listens to one side of a call, frame by frame. Its time is that of the sound.
#[derive(Clone, Debug, Default)]
pub struct Ear {
    voice: Voice,
    heard: Duration,
    /// Voiced time of the speech that goes on.
    voiced: Duration,
    last_voiced: Duration,
    /// Voiced time since `settle`.
    listened: Duration,
    speaking: bool,
}

/// What was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// Somebody has begun to speak.
    Began,
    /// They are silent for so long.
    Quiet(Duration),
}

impl Ear {
    /// Takes the next sound. `Quiet` comes with every frame of a silence after speech, rising.
    pub fn hear(&mut self, law: Law, sound: &[u8]) -> Option<Noticed> {
        let mut noticed = None;
        for frame in sound.chunks(FRAME) {
            self.heard += FRAME_TIME;
            let voiced = self.voice.voiced(law, frame);
            if voiced {
                self.voiced += FRAME_TIME;
                self.listened += FRAME_TIME;
                self.last_voiced = self.heard;
            } else if !self.speaking {
                self.voiced = Duration::ZERO;
            }
            if !self.speaking && self.voiced >= SHORTEST {
                self.speaking = true;
                noticed = Some(Noticed::Began);
            } else if self.speaking && !voiced {
                noticed = Some(Noticed::Quiet(self.heard - self.last_voiced));
            }
        }
        noticed
    }

    /// Waits for new speech: what was said before is over.
    pub fn settle(&mut self) {
        self.speaking = false;
        self.voiced = Duration::ZERO;
        self.listened = Duration::ZERO;
    }

    /// How long somebody has spoken since `settle`, pauses not counted.
    #[must_use]
    pub fn listened(&self) -> Duration {
        self.listened
    }
}

const FRAME_TIME: Duration = Duration::from_millis(20);
/// A click is no speech.
const SHORTEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frames: usize) -> Vec<u8> {
        let samples: Vec<i16> = (0..frames * FRAME).map(|n| (8_000.0 * (n as f32 * 0.6).sin()) as i16).collect();
        Law::Mu.encode_all(&samples)
    }

    #[test]
    fn speech_is_noticed_once_and_its_silence_grows() {
        let mut ear = Ear::default();
        let silence = [0xFF; FRAME];
        assert_eq!(ear.hear(Law::Mu, &silence), None);
        assert_eq!(ear.hear(Law::Mu, &tone(4)), None, "a click");
        assert_eq!(ear.hear(Law::Mu, &silence), None);
        assert_eq!(ear.hear(Law::Mu, &tone(5)), Some(Noticed::Began));
        assert_eq!(ear.hear(Law::Mu, &tone(1)), None);
        assert_eq!(ear.hear(Law::Mu, &silence), Some(Noticed::Quiet(Duration::from_millis(20))));
        assert_eq!(ear.hear(Law::Mu, &silence), Some(Noticed::Quiet(Duration::from_millis(40))));
        assert_eq!(ear.hear(Law::Mu, &tone(1)), None, "they go on");
        assert_eq!(ear.hear(Law::Mu, &silence), Some(Noticed::Quiet(Duration::from_millis(20))));
        assert_eq!(ear.listened(), Duration::from_millis((4 + 5 + 1 + 1) * 20));
        ear.settle();
        assert_eq!(ear.listened(), Duration::ZERO);
        assert_eq!(ear.hear(Law::Mu, &silence), None);
    }
}
