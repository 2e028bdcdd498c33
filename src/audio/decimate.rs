//! Sampling rates that are a multiple of 8 kHz brought down to it: low-pass by a windowed-sinc FIR, then every n-th sample.

/// Brings `samples` from `factor` times 8 kHz to 8 kHz. What lies above 4 kHz is removed (at least 60 dB above 4.4 kHz), so that
/// nothing folds back into the speech band; what lies below 3.4 kHz passes unchanged.
#[must_use]
pub fn to_telephone_rate(samples: &[i16], factor: usize) -> Vec<i16> {
    if factor <= 1 {
        return samples.to_vec();
    }
    let taps = low_pass(factor);
    let middle = taps.len() / 2;
    (0..samples.len())
        .step_by(factor)
        .map(|at| {
            let sum: f64 = taps
                .iter()
                .enumerate()
                .filter_map(|(n, tap)| Some(tap * f64::from(*samples.get((at + n).checked_sub(middle)?)?)))
                .sum();
            #[expect(clippy::cast_possible_truncation, reason = "clamped to the range of i16")]
            let sample = sum.round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16;
            sample
        })
        .collect()
}

/// Blackman-windowed sinc, cut off at 3.9 kHz, unity gain at zero.
fn low_pass(factor: usize) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a handful of taps")]
    let float = |n: usize| n as f64;
    let half = HALF_TAPS * factor;
    let cutoff = CUTOFF / (8000.0 * float(factor));
    let raw: Vec<f64> = (0..=2 * half)
        .map(|n| {
            let x = float(n) - float(half);
            let sinc = if n == half {
                2.0 * cutoff
            } else {
                (std::f64::consts::TAU * cutoff * x).sin() / (std::f64::consts::PI * x)
            };
            let phase = std::f64::consts::TAU * float(n) / float(2 * half);
            sinc * (0.42 - 0.5 * phase.cos() + 0.08 * (2.0 * phase).cos())
        })
        .collect();
    let gain: f64 = raw.iter().sum();
    raw.into_iter().map(|tap| tap / gain).collect()
}

const CUTOFF: f64 = 3900.0;
/// On each side of the middle, in samples of 8 kHz: a transition of 0.46 kHz to each side of the cut-off.
const HALF_TAPS: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, factor: usize) -> Vec<i16> {
        let step = std::f64::consts::TAU * hertz / (8000.0 * factor as f64);
        (0..8000 * factor).map(|n| (10_000.0 * (step * n as f64).sin()) as i16).collect()
    }

    fn gain(hertz: f64, factor: usize) -> f64 {
        let rms = |samples: &[i16]| {
            (samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
        };
        let (before, after) = (tone(hertz, factor), to_telephone_rate(&tone(hertz, factor), factor));
        assert_eq!(after.len(), 8000);
        20.0 * (rms(&after[200..7800]) / rms(&before)).log10()
    }

    #[test]
    fn the_speech_band_passes_and_nothing_folds_back_into_it() {
        for factor in [2, 3, 6] {
            for hertz in [300.0, 1000.0, 3400.0] {
                let db = gain(hertz, factor);
                assert!(db.abs() < 0.2, "{hertz} Hz from {factor}x: {db} dB");
            }
            for hertz in [4500.0, 5000.0, 7000.0] {
                let db = gain(hertz, factor);
                assert!(db < -60.0, "{hertz} Hz from {factor}x: {db} dB");
            }
        }
    }

    #[test]
    fn eight_kilohertz_stays_as_it_is() {
        assert_eq!(to_telephone_rate(&[1, -2, 3], 1), [1, -2, 3]);
        assert!(to_telephone_rate(&[], 2).is_empty());
    }
}
