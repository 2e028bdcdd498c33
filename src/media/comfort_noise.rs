//! Comfort noise (RFC 3389): what a peer that sends nothing wants to be heard instead, and what we send while nothing plays.

use crate::audio::{Frame, Linear, Sound};

/// A source of noise of one level and colour.
#[derive(Clone, Debug)]
pub(super) struct ComfortNoise {
    /// Root mean square of what drives the filter.
    drive: f32,
    /// The all-pole filter of the colour; white where all are nothing.
    poles: [f32; MOST_POLES],
    /// The last samples, the newest first.
    past: [f32; MOST_POLES],
    random: u32,
}

impl ComfortNoise {
    /// White noise of -`level` dBov.
    pub(super) fn white(level: u8) -> Self {
        // 0 dBov is the square wave of the largest amplitude.
        let drive = LOUDEST * 10_f32.powf(-f32::from(level & 0x7F) / 20.0);
        Self { drive, poles: [0.0; MOST_POLES], past: [0.0; MOST_POLES], random: SEED }
    }

    /// What the payload of a packet says: the level, and reflection coefficients of its colour (section 3). More than twelve, which
    /// no speech needs, are passed over. An empty payload is silence.
    pub(super) fn read(payload: &[u8]) -> Self {
        let Some((level, coefficients)) = payload.split_first() else { return Self::white(u8::MAX) };
        let mut noise = Self::white(*level);
        let mut gain = 1.0;
        for (order, byte) in coefficients.iter().take(MOST_POLES).enumerate() {
            // Section 3.2; what would be unstable is a little less.
            let reflection = (258.0 * (f32::from(*byte) - 127.0) / 32_768.0).clamp(-STEADY, STEADY);
            gain *= 1.0 - reflection * reflection;
            // Step up: the filter of one pole more.
            let before = noise.poles;
            for (n, pole) in noise.poles.iter_mut().take(order).enumerate() {
                *pole += reflection * before.get(order - 1 - n).copied().unwrap_or_default();
            }
            if let Some(pole) = noise.poles.get_mut(order) {
                *pole = reflection;
            }
        }
        noise.drive *= gain.sqrt();
        noise
    }

    /// The next samples.
    pub(super) fn fill<S: Sound>(&mut self, sound: S, samples: &mut [S::Sample]) {
        samples.fill_with(|| sound.nearest(self.next()));
    }

    /// The next 20 ms.
    pub(super) fn fill_frame(&mut self, frame: &mut Frame) {
        match frame {
            Frame::Narrow(law, coded) => self.fill(*law, coded),
            Frame::Wide(samples) => self.fill(Linear, samples),
        }
    }

    fn next(&mut self) -> f32 {
        let fed: f32 = self.poles.iter().zip(&self.past).map(|(pole, past)| pole * past).sum();
        let sample = self.drive * self.random() - fed;
        self.past.rotate_right(1);
        if let Some(newest) = self.past.first_mut() {
            *newest = sample;
        }
        sample
    }

    /// Near enough to normal: the sum of four even ones, of variance 1.
    fn random(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            // Marsaglia's xorshift.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 17;
            self.random ^= self.random << 5;
            let [high, low, ..] = self.random.to_be_bytes();
            sum += f32::from(u16::from_be_bytes([high, low])) / 65_535.0 - 0.5;
        }
        // Each has a variance of 1/12.
        sum * 3_f32.sqrt()
    }
}

const MOST_POLES: usize = 12;
const LOUDEST: f32 = 32_767.0;
const STEADY: f32 = 0.97;
const SEED: u32 = 0x2545_F491;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Law;
    use proptest::prelude::*;

    fn samples(mut noise: ComfortNoise, count: usize) -> Vec<f64> {
        (0..count).map(|_| f64::from(noise.next())).collect()
    }

    fn level(samples: &[f64]) -> f64 {
        let power = samples.iter().map(|s| s * s).sum::<f64>() / samples.len() as f64;
        10.0 * (power / 32_767_f64.powi(2)).log10()
    }

    /// Correlation of neighbours: 0 of white noise, above for a dull one, below for a sharp one.
    fn colour(samples: &[f64]) -> f64 {
        let power: f64 = samples.iter().map(|s| s * s).sum();
        samples.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / power
    }

    #[test]
    fn it_is_as_loud_as_the_packet_says_whatever_its_colour() {
        for payload in [&[40_u8][..], &[60], &[50, 127], &[50, 60], &[50, 200], &[55, 20, 180, 90, 140]] {
            let noise = samples(ComfortNoise::read(payload), 20_000);
            let off = level(&noise) + f64::from(payload[0]);
            assert!(off.abs() < 1.0, "{payload:?}: {off:.2} dB off");
        }
    }

    #[test]
    fn the_coefficients_colour_it_as_the_rfc_defines_them() {
        // A reflection coefficient k of the first order is a pole at -k.
        for (byte, wanted) in [(127, 0.0), (64, 0.496), (190, -0.496)] {
            let colour = colour(&samples(ComfortNoise::read(&[40, byte]), 50_000));
            assert!((colour - wanted).abs() < 0.03, "{byte}: {colour:.3}");
        }
    }

    #[test]
    fn the_faintest_level_and_an_empty_packet_are_silence() {
        for payload in [&[][..], &[127]] {
            let mut bytes = [0; 160];
            ComfortNoise::read(payload).fill(Law::Mu, &mut bytes);
            assert_eq!(bytes, [0xFF; 160]);
        }
    }

    proptest! {
        #[test]
        fn any_payload_is_noise_that_stays_within_bounds(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let noise = samples(ComfortNoise::read(&payload), 4000);
            prop_assert!(noise.iter().all(|s| s.is_finite() && s.abs() < 1e7));
        }
    }
}
