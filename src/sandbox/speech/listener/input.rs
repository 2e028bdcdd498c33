//! Bytes of the wire to frames of 16 kHz samples.

use super::super::SpeechError;
use super::super::recogniser::RATE;
use super::super::resample::Stream;
use super::FRAME;
use crate::sandbox::audio_format::AudioFormat;
use std::collections::VecDeque;

/// Collects bytes into frames.
pub(super) struct Input {
    format: AudioFormat,
    /// The first half of a sample whose second half has not come yet.
    half: Vec<u8>,
    stream: Stream,
    samples: VecDeque<i16>,
}

impl Input {
    pub(super) fn new(format: AudioFormat) -> Result<Self, SpeechError> {
        Ok(Self { format, half: Vec::new(), stream: Stream::new(format.rate, RATE)?, samples: VecDeque::new() })
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let samples = if self.half.is_empty() && bytes.len().is_multiple_of(self.format.sample_bytes()) {
            self.format.decode(bytes)
        } else {
            let mut all = std::mem::take(&mut self.half);
            all.extend_from_slice(bytes);
            self.half = all.split_off(all.len() - all.len() % self.format.sample_bytes());
            self.format.decode(&all)
        };
        self.stream.push(&samples, &mut self.samples);
    }

    /// The next whole frame.
    pub(super) fn frame(&mut self) -> Option<[i16; FRAME]> {
        if self.samples.len() < FRAME {
            return None;
        }
        let mut frame = [0; FRAME];
        for (place, sample) in frame.iter_mut().zip(self.samples.drain(..FRAME)) {
            *place = sample;
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::audio_format::Encoding;

    fn frames(input: &mut Input) -> Vec<i16> {
        std::iter::from_fn(|| input.frame()).flatten().collect()
    }

    #[test]
    fn samples_come_through_in_pieces_of_any_size() {
        let sound: Vec<i16> = (0..2048).map(|i| (i * 13 % 30_000) as i16 - 15_000).collect();
        let bytes: Vec<u8> = sound.iter().flat_map(|s| s.to_be_bytes()).collect();
        let mut input = Input::new(AudioFormat { encoding: Encoding::L16Big, rate: 16_000 }).unwrap();
        let mut heard = Vec::new();
        for piece in bytes.chunks(33) {
            input.push(piece);
            heard.extend(frames(&mut input));
        }
        assert_eq!(heard, sound);
    }

    #[test]
    fn narrow_band_comes_out_at_twice_the_rate() {
        let mut input = Input::new(AudioFormat { encoding: Encoding::Mulaw, rate: 8_000 }).unwrap();
        for _ in 0..50 {
            input.push(&[0xff; 160]);
        }
        let heard = frames(&mut input);
        assert_eq!(heard.len(), 16_000 / FRAME * FRAME);
        assert!(heard.iter().all(|s| s.abs() < 10));
        assert!(Input::new(AudioFormat { encoding: Encoding::L16Little, rate: 44_100 }).is_ok());
    }
}
