//! Level of a frame, of G.711 straight from its bytes, and whether somebody speaks in it.

use super::Sound;

/// Mean square of the samples of a frame; zero for an empty one.
#[must_use]
pub fn mean_square<S: Sound>(sound: S, frame: &[S::Sample]) -> u32 {
    sound.mean_square(frame)
}

pub(super) fn mean(energy: u64, count: usize) -> u32 {
    let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
    u32::try_from(energy / count).unwrap_or(u32::MAX)
}

/// Speech or not, frame by frame: louder than the line's own noise by 9 dB, and louder than -45 dB in any case. Made to stamp
/// the last voiced packet of a turn, not to recognise: Speech to Text does that.
#[derive(Clone, Debug)]
pub struct Voice {
    /// Mean square of the line's noise: falls to a quieter frame at once, rises by about 4 dB a second.
    floor: u32,
}

impl Default for Voice {
    fn default() -> Self {
        Self { floor: QUIETEST }
    }
}

impl Voice {
    /// Judges the next frame.
    #[must_use]
    pub fn voiced<S: Sound>(&mut self, sound: S, frame: &[S::Sample]) -> bool {
        let level = mean_square(sound, frame);
        let voiced = level > self.floor.saturating_mul(ABOVE_NOISE).max(ABSOLUTE);
        self.floor = if level < self.floor { level } else { self.floor.saturating_add(self.floor / 50 + 1).min(level) };
        self.floor = self.floor.clamp(QUIETEST, LOUDEST_NOISE);
        voiced
    }
}

/// 9 dB.
const ABOVE_NOISE: u32 = 8;
/// -45 dB: fainter than any talker on a telephone line.
const ABSOLUTE: u32 = 34_000;
/// -60 dB.
const QUIETEST: u32 = 1_074;
/// -30 dB: whatever stands more than 9 dB above it is speech, however long it lasts.
const LOUDEST_NOISE: u32 = 1_073_742;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{FRAME, Law};

    fn tone(amplitude: f32) -> Vec<u8> {
        let samples: Vec<i16> = (0..FRAME).map(|n| (amplitude * (n as f32 * 0.6).sin()) as i16).collect();
        Law::Mu.encode_all(&samples)
    }

    #[test]
    fn the_mean_square_of_silence_is_nothing_and_of_a_sine_half_its_peak_squared() {
        assert_eq!(mean_square(Law::Mu, &[0xFF; FRAME]), 0);
        assert_eq!(mean_square(Law::A, &[]), 0);
        assert_eq!(mean_square(Law::Mu, &[0x00; FRAME]), 32_124 * 32_124);
        let sine = f64::from(mean_square(Law::Mu, &tone(16_000.0))) / (16_000.0 * 16_000.0);
        assert!((0.49..0.51).contains(&sine), "{sine}");
    }

    #[test]
    fn speech_is_voiced_silence_is_not() {
        let mut voice = Voice::default();
        assert!(!voice.voiced(Law::Mu, &[0xFF; FRAME]));
        assert!(voice.voiced(Law::Mu, &tone(4_000.0)));
        assert!(!voice.voiced(Law::Mu, &tone(50.0)));
    }

    #[test]
    fn steady_noise_becomes_the_floor_and_a_talker_above_it_is_still_heard() {
        let mut voice = Voice::default();
        let noise = tone(500.0);
        let voiced = (0..500).filter(|_| voice.voiced(Law::Mu, &noise)).count();
        assert!(voiced < 400, "noise stayed voiced for {voiced} frames");
        assert!(!voice.voiced(Law::Mu, &noise));
        assert!(voice.voiced(Law::Mu, &tone(6_000.0)));
    }
}
