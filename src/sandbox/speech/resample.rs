//! Sample rates: the wire's to the recogniser's 16 kHz, and the synthesiser's 24 kHz to the wire's. Rubato's FFT resampler
//! lets nothing alias.

use super::SpeechError;
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _};

/// A stream at another rate, some 10 ms later.
pub(super) struct Stream {
    /// `None` when there is nothing to do.
    fft: Option<Fft<f32>>,
    waiting: Vec<f32>,
}

impl Stream {
    pub(super) fn new(from: u32, to: u32) -> Result<Self, SpeechError> {
        let fft = match from == to {
            true => None,
            // 20 ms at a time.
            false => Some(fft(from, to, (from as usize / 50).max(1))?),
        };
        Ok(Self { fft, waiting: Vec::new() })
    }

    /// Samples in, of any number; samples out, as far as there are enough.
    pub(super) fn push(&mut self, samples: &[i16], out: &mut impl Extend<i16>) {
        let Some(fft) = &mut self.fft else {
            out.extend(samples.iter().copied());
            return;
        };
        self.waiting.extend(samples.iter().map(|s| f32::from(*s)));
        while let Some(chunk) = self.waiting.get(..fft.input_frames_next()) {
            let chunk: Vec<f32> = chunk.to_vec();
            self.waiting.drain(..chunk.len());
            let Ok(input) = SequentialSlice::new(&chunk, 1, chunk.len()) else { return };
            let Ok(resampled) = fft.process(&input, None) else { return };
            out.extend(resampled.take_data().into_iter().map(|s| s as i16));
        }
    }
}

/// A whole piece of sound at another rate. Anti-aliased, of the same length, without delay.
pub(super) fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, SpeechError> {
    if from == to || samples.is_empty() {
        return Ok(samples.to_vec());
    }
    let failed = |detail: String| SpeechError::Run { engine: "resampler", detail };
    let input = SequentialSlice::new(samples, 1, samples.len()).map_err(|e| failed(e.to_string()))?;
    let all = fft(from, to, CHUNK)?.process_all(&input, samples.len(), None).map_err(|e| failed(e.to_string()))?;
    Ok(all.take_data())
}

fn fft(from: u32, to: u32, chunk: usize) -> Result<Fft<f32>, SpeechError> {
    let unsupported = |rate: u32| if RATES.contains(&rate) { Ok(rate as usize) } else { Err(SpeechError::Rate(rate)) };
    let (input, output) = (unsupported(from)?, unsupported(to)?);
    Fft::new(input, output, chunk, 1, FixedSync::Input)
        .map_err(|e| SpeechError::Run { engine: "resampler", detail: e.to_string() })
}

/// What Watson's formats allow.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;

const CHUNK: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f32, rate: u32) -> Vec<f32> {
        (0..rate).map(|i| (i as f32 * hertz * std::f32::consts::TAU / rate as f32).sin() * 0.5).collect()
    }

    fn level(samples: &[f32]) -> f32 {
        (samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32).sqrt()
    }

    #[test]
    fn a_tone_keeps_its_level_and_length_and_what_would_alias_is_gone() {
        let kept = resample(&tone(1000.0, 24_000), 24_000, 8_000).unwrap();
        assert_eq!(kept.len(), 8_000);
        assert!((level(&kept) - 0.3535).abs() < 0.005, "{}", level(&kept));
        let gone = resample(&tone(5000.0, 24_000), 24_000, 8_000).unwrap();
        assert!(level(&gone[500..7500]) < 0.001, "{}", level(&gone));
        let up = resample(&tone(1000.0, 24_000), 24_000, 44_100).unwrap();
        assert_eq!(up.len(), 44_100);
        assert!(resample(&[], 24_000, 8_000).unwrap().is_empty());
        assert!(matches!(resample(&[0.0], 24_000, 7_999), Err(SpeechError::Rate(7_999))));
    }

    #[test]
    fn a_stream_in_pieces_of_any_size_is_the_stream_at_the_other_rate() {
        let sound: Vec<i16> = tone(440.0, 8_000).iter().map(|s| (s * 32_767.0) as i16).collect();
        let mut stream = Stream::new(8_000, 16_000).unwrap();
        let mut out: Vec<i16> = Vec::new();
        for piece in sound.chunks(37) {
            stream.push(piece, &mut out);
        }
        assert_eq!(out.len(), 16_000);
        let middle: Vec<f32> = out[2_000..14_000].iter().map(|s| f32::from(*s) / 32_767.0).collect();
        assert!((level(&middle) - 0.3535).abs() < 0.005, "{}", level(&middle));
    }
}
