//! A whole sound brought to another sampling rate: low-pass by a windowed-sinc FIR, then every n-th sample.

/// `samples` at `up / down` times their rate. What would fold over half of the lower of both rates is removed: at 8 kHz what lies above
/// 4 kHz (at least 60 dB above 4.4 kHz), while what lies below 3.4 kHz passes unchanged.
#[must_use]
pub fn resample(samples: &[i16], up: usize, down: usize) -> Vec<i16> {
    let (up, down) = (up.max(1), down.max(1));
    if up == down {
        return samples.to_vec();
    }
    let widest = up.max(down);
    let half = HALF_TAPS * widest;
    let taps = low_pass(half, CUTOFF / float(widest));
    (0..samples.len() * up)
        .step_by(down)
        .map(|at| {
            // Between two samples lie `up - 1` zeros.
            let first = at.saturating_sub(half).div_ceil(up);
            let near = samples.iter().enumerate().skip(first).map_while(|(n, sample)| {
                let tap = taps.get(n * up + half - at)?;
                Some(tap * f64::from(*sample))
            });
            #[expect(clippy::cast_possible_truncation, reason = "clamped to the range of i16")]
            let sample = (near.sum::<f64>() * float(up)).round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16;
            sample
        })
        .collect()
}

fn float(n: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a handful of taps")]
    let float = n as f64;
    float
}

/// Blackman-windowed sinc of `half` taps to each side of the middle, cut off at this part of the sampling rate, unity gain at zero.
pub(super) fn low_pass(half: usize, cutoff: f64) -> Vec<f64> {
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

/// As part of the lower rate.
const CUTOFF: f64 = 3900.0 / 8000.0;
/// On each side of the middle, in samples of the lower rate; of 8 kHz: a transition of 0.46 kHz to each side of the cut-off.
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
        let (before, after) = (tone(hertz, factor), resample(&tone(hertz, factor), 1, factor));
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
        assert_eq!(resample(&[1, -2, 3], 1, 1), [1, -2, 3]);
        assert!(resample(&[], 1, 2).is_empty());
    }
}
