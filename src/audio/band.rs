//! A stream brought from one form to another, frame by frame: between 8 and 16 kHz by a half-band FIR that keeps its history.

use super::resample::low_pass;
use super::sound::rounded;
use super::{FRAME, Form, Frame, Law, WIDE_FRAME};
use std::sync::LazyLock;

/// Brings one stream to the form that is wanted. It costs nothing while the stream has it.
#[derive(Clone, Debug, Default)]
pub struct Converter {
    up: Option<Box<Doubler>>,
    down: Option<Box<Halver>>,
}

/// From 8 to 16 kHz.
#[derive(Clone, Debug)]
struct Doubler {
    /// What came before, and the frame.
    line: [f32; TAPS / 2 + FRAME],
}

/// From 16 to 8 kHz.
#[derive(Clone, Debug)]
struct Halver {
    line: [f32; TAPS - 1 + WIDE_FRAME],
}

impl Converter {
    /// Brings the next frame of the stream to the form `wanted`, in place: nothing is copied where it has it.
    pub fn turn(&mut self, frame: &mut Frame, wanted: Form) {
        match (&mut *frame, wanted) {
            (Frame::Narrow(law, coded), Form::Narrow(wanted)) => {
                (self.up, self.down) = (None, None);
                law.translate(wanted, coded);
                *law = wanted;
            }
            (Frame::Wide(_), Form::Wide) => (self.up, self.down) = (None, None),
            (Frame::Narrow(law, coded), Form::Wide) => {
                self.down = None;
                let up = self.up.get_or_insert_with(|| Box::new(Doubler { line: [0.0; TAPS / 2 + FRAME] }));
                *frame = Frame::Wide(up.frame(*law, coded));
            }
            (Frame::Wide(samples), Form::Narrow(wanted)) => {
                self.up = None;
                let down = self.down.get_or_insert_with(|| Box::new(Halver { line: [0.0; TAPS - 1 + WIDE_FRAME] }));
                *frame = Frame::Narrow(wanted, down.frame(samples, wanted));
            }
        }
    }
}

impl Doubler {
    fn frame(&mut self, law: Law, coded: &[u8; FRAME]) -> [i16; WIDE_FRAME] {
        self.line.copy_within(FRAME.., 0);
        let new = self.line.iter_mut().skip(TAPS / 2);
        new.zip(coded).for_each(|(place, byte)| *place = f32::from(law.decode(*byte)));
        let mut samples = [0; WIDE_FRAME];
        // Every other sample put in between is zero: each output meets every other tap.
        for (pair, window) in samples.chunks_exact_mut(2).zip(self.line.windows(TAPS / 2 + 1)) {
            let phases = [
                HALF_BAND.iter().step_by(2).zip(window).map(|(tap, sample)| tap * sample).sum::<f32>(),
                HALF_BAND.iter().skip(1).step_by(2).zip(window.iter().skip(1)).map(|(tap, s)| tap * s).sum(),
            ];
            pair.iter_mut().zip(phases).for_each(|(sample, sum)| *sample = rounded(2.0 * sum));
        }
        samples
    }
}

impl Halver {
    fn frame(&mut self, samples: &[i16; WIDE_FRAME], wanted: Law) -> [u8; FRAME] {
        self.line.copy_within(WIDE_FRAME.., 0);
        let new = self.line.iter_mut().skip(TAPS - 1);
        new.zip(samples).for_each(|(place, sample)| *place = f32::from(*sample));
        let mut coded = [wanted.silence(); FRAME];
        for (byte, window) in coded.iter_mut().zip(self.line.windows(TAPS).step_by(2)) {
            let sum: f32 = HALF_BAND.iter().zip(window).map(|(tap, sample)| tap * sample).sum();
            *byte = wanted.encode(rounded(sum));
        }
        coded
    }
}

/// 2.5 ms to each side of the middle: 60 dB below from 4.6 kHz on.
const TAPS: usize = 81;
static HALF_BAND: LazyLock<[f32; TAPS]> = LazyLock::new(|| {
    let taps = low_pass(TAPS / 2, 4000.0 / 16_000.0);
    std::array::from_fn(|n| {
        #[expect(clippy::cast_possible_truncation, reason = "precise enough")]
        let tap = taps.get(n).copied().unwrap_or_default() as f32;
        tap
    })
});

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    /// A second of a tone, brought to `wanted` in frames of its own rate.
    fn turned(hertz: f32, from: Form, wanted: Form) -> Vec<f32> {
        let (mut converter, mut turned) = (Converter::default(), Vec::new());
        let step = TAU * hertz / from.rate() as f32;
        for n in 0..50 {
            let mut frame = from.silence();
            let length = from.rate() as usize / 50;
            let samples: Vec<i16> =
                (0..length).map(|at| (8000.0 * (step * (n * length + at) as f32).sin()) as i16).collect();
            frame.overwrite(&from.encode_all(&samples));
            converter.turn(&mut frame, wanted);
            match frame {
                Frame::Narrow(law, coded) => turned.extend(coded.map(|byte| f32::from(law.decode(byte)))),
                Frame::Wide(samples) => turned.extend(samples.map(f32::from)),
            }
        }
        turned
    }

    /// How much of a sine of 8000 is left, in dB.
    fn gain(samples: &[f32]) -> f32 {
        let samples = &samples[800..];
        let power = samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32;
        10.0 * (power / (8000_f32.powi(2) / 2.0)).log10()
    }

    /// The part of `samples` that is a tone.
    fn tone(samples: &[f32], hertz: f32, rate: f32) -> f32 {
        let samples = &samples[800..];
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            let phase = TAU * hertz * n as f32 / rate;
            sine += sample * phase.sin();
            cosine += sample * phase.cos();
        }
        let amplitude = 2.0 * (sine * sine + cosine * cosine).sqrt() / samples.len() as f32;
        20.0 * (amplitude / 8000.0).log10()
    }

    #[test]
    fn the_speech_band_passes_both_ways() {
        for hertz in [300.0, 1000.0, 3300.0] {
            let up = gain(&turned(hertz, Form::Narrow(Law::Mu), Form::Wide));
            let down = gain(&turned(hertz, Form::Wide, Form::Narrow(Law::A)));
            assert!(up.abs() < 0.3 && down.abs() < 0.3, "{hertz} Hz: {up} dB up, {down} dB down");
        }
    }

    #[test]
    fn nothing_folds_over_the_edge_of_the_narrow_band() {
        for hertz in [4700.0, 5500.0, 7000.0] {
            let down = gain(&turned(hertz, Form::Wide, Form::Narrow(Law::Mu)));
            assert!(down < -55.0, "{hertz} Hz comes out at {down} dB");
        }
        for hertz in [400.0, 1000.0, 3300.0] {
            let image = tone(&turned(hertz, Form::Narrow(Law::Mu), Form::Wide), 8000.0 - hertz, 16_000.0);
            assert!(image < -55.0, "the image of {hertz} Hz: {image} dB");
        }
    }

    #[test]
    fn a_stream_that_has_its_form_is_not_touched() {
        let mut converter = Converter::default();
        let frame = Frame::Wide(std::array::from_fn(|n| n as i16));
        let mut turned = frame;
        converter.turn(&mut turned, Form::Wide);
        assert_eq!(turned, frame);
        let mut turned = Form::Narrow(Law::Mu).silence();
        converter.turn(&mut turned, Form::Narrow(Law::A));
        assert_eq!(turned, Form::Narrow(Law::A).silence());
    }
}
