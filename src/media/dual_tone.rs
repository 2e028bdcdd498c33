//! Keys as sound (ITU-T Q.23, Q.24), for trunks that send them no other way: a Goertzel filter a tone over blocks of 12.75 ms, two of
//! which make a key, so that 40 ms of tone and 40 ms of pause are enough.

use crate::audio::{Frame, RATE};
use std::f32::consts::TAU;

/// Listens for keys in the sound of one session.
#[derive(Clone, Debug)]
pub struct DualTone {
    /// Samples a second, in those of a narrow band.
    times: u16,
    filters: [Filter; 8],
    /// Sum of the squares of the block so far.
    energy: f32,
    samples: u16,
    /// What the block before had.
    last: Option<u8>,
    /// The key that is held.
    held: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Filter {
    coefficient: f32,
    before: f32,
    before_that: f32,
}

impl Default for DualTone {
    fn default() -> Self {
        Self::of(1)
    }
}

impl DualTone {
    fn of(times: u16) -> Self {
        let rate = 8000.0 * f32::from(times);
        let filter =
            |hertz: f32| Filter { coefficient: 2.0 * (TAU * hertz / rate).cos(), before: 0.0, before_that: 0.0 };
        Self { times, filters: TONES.map(filter), energy: 0.0, samples: 0, last: None, held: None }
    }

    /// Takes the next 20 ms; `told` is called for each key that begins.
    pub fn frame(&mut self, frame: &Frame, mut told: impl FnMut(char)) {
        let times = if frame.form().rate() == RATE { 1 } else { 2 };
        if times != self.times {
            // Another band: the key that is held goes on.
            *self = Self { held: self.held, last: self.last, ..Self::of(times) };
        }
        match frame {
            Frame::Narrow(law, coded) => coded.iter().for_each(|byte| self.sample(law.decode(*byte), &mut told)),
            Frame::Wide(samples) => samples.iter().for_each(|sample| self.sample(*sample, &mut told)),
        }
    }

    fn sample(&mut self, sample: i16, told: &mut impl FnMut(char)) {
        let sample = f32::from(sample);
        self.energy += sample * sample;
        for filter in &mut self.filters {
            filter.take(sample);
        }
        self.samples += 1;
        if self.samples == BLOCK * self.times {
            let found = self.found();
            self.begin_block();
            // One block that differs is a click in the key, or speech.
            if found == self.last && found != self.held {
                self.held = found;
                if let Some(key) = found.and_then(|place| KEYS.get(usize::from(place))) {
                    told(char::from(*key));
                }
            }
            self.last = found;
        }
    }

    fn begin_block(&mut self) {
        for filter in &mut self.filters {
            (filter.before, filter.before_that) = (0.0, 0.0);
        }
        (self.energy, self.samples) = (0.0, 0);
    }

    /// The key of the block that is full, as its place in `KEYS`.
    fn found(&self) -> Option<u8> {
        let length = f32::from(BLOCK * self.times);
        let powers = self.filters.map(|filter| filter.power(length));
        let (rows, columns) = powers.split_at(4);
        let ((row, low), (column, high)) = (strongest(rows)?, strongest(columns)?);
        let loud = low >= QUIETEST && high >= QUIETEST;
        let level = high <= low * TWIST && low <= high * REVERSE_TWIST;
        // All that sounds is the two tones: speech has more beside them.
        let pure = (low + high) / 2.0 >= PURITY * self.energy / length;
        (loud && level && pure).then_some(4 * row + column)
    }
}

impl Filter {
    fn take(&mut self, sample: f32) {
        let now = sample + self.coefficient * self.before - self.before_that;
        (self.before_that, self.before) = (self.before, now);
    }

    /// Square of the amplitude of its tone in a block of this length.
    fn power(&self, length: f32) -> f32 {
        let (a, b) = (self.before, self.before_that);
        (a * a + b * b - self.coefficient * a * b) * 4.0 / (length * length)
    }
}

/// The one that stands out, with its power.
fn strongest(powers: &[f32]) -> Option<(u8, f32)> {
    let (place, power) = (0_u8..).zip(powers).max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let alone = (0_u8..).zip(powers).all(|(other, weaker)| other == place || weaker * ALONE <= *power);
    alone.then_some((place, *power))
}

/// Samples of a narrow band: the length at which all eight tones fall near the middle of their bins.
const BLOCK: u16 = 102;
const TONES: [f32; 8] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];
const KEYS: [u8; 16] = *b"123A456B789C*0#D";
/// Squared amplitude of -36 dBm0.
const QUIETEST: f32 = 130_000.0;
/// The higher tone may be 8 dB stronger than the lower one, the lower one 6 dB stronger than the higher (Q.24 and a margin).
const TWIST: f32 = 6.3;
const REVERSE_TWIST: f32 = 4.0;
/// 8 dB above the other tones of its group.
const ALONE: f32 = 6.3;
/// Share of the energy that the two tones must be; less than all, for the tones may be 1.5 % off and the line noisy.
const PURITY: f32 = 0.62;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Converter, FRAME, Form, Law};

    /// Tones of `on` ms with pauses of `off` ms; `skew` moves the frequencies, `noise` is the amplitude of white noise.
    fn sound(keys: &str, on: usize, off: usize, amplitude: f32, skew: f32, noise: f32) -> Vec<i16> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut samples = Vec::new();
        for key in keys.bytes() {
            let place = KEYS.iter().position(|known| *known == key).unwrap();
            let (low, high) = (TONES[place / 4] * skew * TAU / 8000.0, TONES[4 + place % 4] * skew * TAU / 8000.0);
            for n in 0..8 * (on + off) {
                let tone = if n < 8 * on { (low * n as f32).sin() + (high * n as f32).sin() } else { 0.0 };
                samples.push((amplitude * tone + noise * (2.0 * random.f32() - 1.0)) as i16);
            }
        }
        samples.resize(samples.len() + 800, 0);
        samples
    }

    fn heard(samples: &[i16], offset: usize) -> String {
        let narrow = heard_in(Form::Narrow(Law::Mu), samples, offset);
        assert_eq!(heard_in(Form::Wide, samples, offset), narrow, "a wide band has the same keys");
        narrow
    }

    fn heard_in(form: Form, samples: &[i16], offset: usize) -> String {
        let (mut ear, mut told, mut converter) = (DualTone::default(), String::new(), Converter::default());
        let mut samples = [&vec![0; offset][..], samples].concat();
        samples.resize(samples.len().next_multiple_of(FRAME), 0);
        for frame in samples.chunks_exact(FRAME) {
            let mut frame = Frame::Narrow(Law::Mu, std::array::from_fn(|n| Law::Mu.encode(frame[n])));
            converter.turn(&mut frame, form);
            ear.frame(&frame, |key| told.push(key));
        }
        told
    }

    const ALL: &str = "0123456789*#ABCD55";

    #[test]
    fn each_key_is_told_once_down_to_the_shortest_the_softest_and_the_most_out_of_tune() {
        for offset in (0..usize::from(BLOCK)).step_by(7) {
            assert_eq!(heard(&sound(ALL, 40, 40, 8000.0, 1.0, 0.0), offset), ALL, "offset {offset}");
        }
        assert_eq!(heard(&sound(ALL, 100, 60, 500.0, 1.0, 0.0), 0), ALL, "soft");
        assert_eq!(heard(&sound(ALL, 100, 60, 15_000.0, 1.0, 0.0), 0), ALL, "loud");
        for skew in [0.985, 1.015] {
            assert_eq!(heard(&sound(ALL, 100, 60, 8000.0, skew, 0.0), 0), ALL, "{skew}");
        }
        assert_eq!(heard(&sound(ALL, 100, 60, 6000.0, 1.0, 1800.0), 3), ALL, "noisy");
        assert_eq!(heard(&sound("7", 5000, 60, 8000.0, 1.0, 0.0), 0), "7", "held");
    }

    #[test]
    fn what_is_no_key_is_not_taken_for_one() {
        assert_eq!(heard(&sound(ALL, 15, 60, 8000.0, 1.0, 0.0), 0), "", "too short");
        assert_eq!(heard(&sound(ALL, 100, 60, 100.0, 1.0, 0.0), 0), "", "too soft");
        for skew in [0.96, 1.04] {
            assert_eq!(heard(&sound("159D", 100, 60, 8000.0, skew, 0.0), 0), "", "{skew}");
        }
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<i16> = (0..8000 * 60).map(|_| random.i16(-8000..8000)).collect();
        assert_eq!(heard(&noise, 0), "", "a minute of noise");
        let single: Vec<i16> = (0..8000).map(|n| (8000.0 * (n as f32 * 941.0 * TAU / 8000.0).sin()) as i16).collect();
        assert_eq!(heard(&single, 0), "", "one tone alone");
    }

    #[test]
    fn speech_has_no_keys_in_it() {
        for clip in ["cards-005", "goforward", "librivox-0880", "librivox-0890", "tidigits-2934z"] {
            let path = format!("{}/tests/audio/{clip}.wav", env!("CARGO_MANIFEST_DIR"));
            let samples: Vec<i16> = hound::WavReader::open(path).unwrap().into_samples().map(Result::unwrap).collect();
            assert_eq!(heard(&samples, 0), "", "{clip}");
        }
    }
}
