//! What is lost is made up from what was heard before: the last pitch period goes on and fades away (after ITU-T G.711 Appendix I).
//!
//! As the standard has it: for the first 10 ms one period is repeated, then the last two, then three, with a quarter of a period
//! as overlap wherever pieces meet; from 10 ms on it fades, and after 60 ms there is silence; the first samples that come again
//! are faded in over it. Unlike it nothing is delayed by 3.75 ms to smooth the beginning: the first samples lead from the last
//! one heard to where the period has them. Samples are kept as they came while all goes well; they are decoded when something is lost.

use crate::audio::Sound;

/// Makes up what is lost.
#[derive(Clone, Debug)]
pub(super) struct Concealer<S: Sound> {
    sound: S,
    /// What was heard last.
    heard: Box<[S::Sample]>,
    loss: Option<Loss>,
    /// The room of the last loss, for the next one.
    room: Vec<f32>,
}

/// A loss that goes on.
#[derive(Clone, Debug)]
struct Loss {
    /// What was heard before.
    samples: Vec<f32>,
    /// Samples of a millisecond.
    ms: usize,
    /// Nothing but silence was heard before: nothing else can be made of it.
    silent: bool,
    period: usize,
    /// Samples made up so far.
    made: usize,
}

impl<S: Sound> Concealer<S> {
    pub(super) fn new(sound: S) -> Self {
        let heard = vec![sound.silence(); REACH_MS * S::PER_MS].into_boxed_slice();
        Self { sound, heard, loss: None, room: Vec::new() }
    }

    /// What is heard is coded another way from here on.
    pub(super) fn turn_to(&mut self, sound: S) {
        if self.sound != sound {
            self.heard.iter_mut().for_each(|sample| *sample = sound.nearest(self.sound.value(*sample)));
            self.sound = sound;
        }
    }

    /// Notes the next samples that are heard; after a loss they are faded in over what was made up.
    pub(super) fn heard(&mut self, samples: &mut [S::Sample]) {
        if let Some(mut loss) = self.loss.take() {
            let overlap = loss.overlap().min(samples.len());
            for (sample, weight) in samples.iter_mut().take(overlap).zip(ramp(overlap)) {
                let came = self.sound.value(*sample);
                *sample = self.sound.nearest(mix(loss.next(), came, weight));
            }
            self.room = loss.samples;
        }
        self.note(samples);
    }

    /// Makes up the next samples.
    pub(super) fn conceal(&mut self, samples: &mut [S::Sample]) {
        let sound = self.sound;
        let loss = self.loss.get_or_insert_with(|| {
            let mut room = std::mem::take(&mut self.room);
            room.clear();
            room.extend(self.heard.iter().map(|sample| sound.value(*sample)));
            Loss::new(room, S::PER_MS)
        });
        if loss.silent || loss.made >= FADED_MS * loss.ms {
            samples.fill(sound.silence());
        } else {
            samples.fill_with(|| sound.nearest(loss.next()));
        }
        self.note(samples);
    }

    /// Whether the last samples were made up.
    pub(super) const fn conceals(&self) -> bool {
        self.loss.is_some()
    }

    /// The last samples that were heard.
    pub(super) fn last(&self, count: usize) -> &[S::Sample] {
        self.heard.get(self.heard.len().saturating_sub(count)..).unwrap_or_default()
    }

    fn note(&mut self, samples: &[S::Sample]) {
        let reach = self.heard.len();
        let samples = samples.get(samples.len().saturating_sub(reach)..).unwrap_or_default();
        self.heard.copy_within(samples.len().., 0);
        if let Some(end) = self.heard.get_mut(reach - samples.len()..) {
            end.copy_from_slice(samples);
        }
    }
}

impl Loss {
    /// A loss after `samples`, of which there are `ms` in a millisecond.
    fn new(samples: Vec<f32>, ms: usize) -> Self {
        let silent = samples.iter().all(|sample| sample.abs() <= FAINTEST);
        let period = if silent { LONGEST_MS * ms } else { period(&samples, ms) };
        Self { ms, silent, period, made: 0, samples }
    }

    fn next(&mut self) -> f32 {
        let (quarter, ten_ms, reach) = (self.period / 4, 10 * self.ms, self.samples.len());
        let at = self.made;
        self.made += 1;
        if at >= FADED_MS * self.ms {
            return 0.0;
        }
        let sample = match at {
            // What the last sample lies off its period is made good little by little, so that there is no step.
            _ if at < quarter => {
                let off = self.sample(reach - 1) - self.sample(reach - 1 - self.period);
                self.repeated(1, at) + off * (1.0 - weight(at, quarter))
            }
            _ if at < ten_ms => self.repeated(1, at),
            _ if at < ten_ms + quarter => mix(self.repeated(1, at), self.repeated(2, at), weight(at - ten_ms, quarter)),
            _ if at < 2 * ten_ms => self.repeated(2, at),
            _ if at < 2 * ten_ms + quarter => {
                mix(self.repeated(2, at), self.repeated(3, at), weight(at - 2 * ten_ms, quarter))
            }
            _ => self.repeated(3, at),
        };
        sample * self.fade(at)
    }

    /// The last `periods` over and over; the end of each round leads into the beginning of the next.
    fn repeated(&self, periods: usize, at: usize) -> f32 {
        let (round, quarter, reach) = (periods * self.period, self.period / 4, self.samples.len());
        let within = at % round;
        let sample = self.sample(reach - round + within);
        match (within + quarter).checked_sub(round) {
            Some(into) => mix(sample, self.sample((reach + within).saturating_sub(2 * round)), weight(into, quarter)),
            None => sample,
        }
    }

    fn sample(&self, at: usize) -> f32 {
        self.samples.get(at).copied().unwrap_or_default()
    }

    /// Samples over which what comes again is faded in: a quarter of a period and more the longer it was gone, at most 10 ms.
    /// Nothing is needed where nothing was.
    fn overlap(&self) -> usize {
        if self.silent { 0 } else { (self.period / 4 + self.made * 4 / 10).min(10 * self.ms) }
    }

    fn fade(&self, at: usize) -> f32 {
        let ten_ms = 10 * self.ms;
        1.0 - small(at.saturating_sub(ten_ms)) / small(FADED_MS * self.ms - ten_ms)
    }
}

/// The lag within 5 to 15 ms at which the last 20 ms resemble most what was before.
fn period(samples: &[f32], ms: usize) -> usize {
    let (shortest, longest, window) = (SHORTEST_MS * ms, LONGEST_MS * ms, WINDOW_MS * ms);
    let (before, last) = samples.split_at(samples.len() - window);
    let (mut best, mut most) = (longest, 0.0);
    for lag in shortest..=longest {
        let earlier = before.get(before.len() - lag..).unwrap_or_default().iter().chain(last).take(window);
        let likeness = likeness(last.iter().zip(earlier).map(|(last, earlier)| (*last, *earlier)));
        if likeness > most {
            (best, most) = (lag, likeness);
        }
    }
    best
}

/// How much two stretches of sound resemble each other, louder or not: 1 when they are alike, 0 or less when not at all.
pub(super) fn likeness(pairs: impl Iterator<Item = (f32, f32)>) -> f32 {
    let (mut both, mut one, mut other) = (0.0, 1.0, 1.0);
    for (a, b) in pairs {
        both += a * b;
        one += a * a;
        other += b * b;
    }
    both / (one.sqrt() * other.sqrt())
}

/// From `from` to `to` as `weight` goes from 0 to 1.
pub(super) fn mix(from: f32, to: f32, weight: f32) -> f32 {
    from + (to - from) * weight
}

/// Weights of the second of two stretches that overlap.
pub(super) fn ramp(overlap: usize) -> impl Iterator<Item = f32> {
    (0..overlap).map(move |at| weight(at, overlap))
}

fn weight(at: usize, overlap: usize) -> f32 {
    small(at + 1) / small(overlap + 1)
}

/// Counts of samples are small.
fn small(count: usize) -> f32 {
    f32::from(u16::try_from(count).unwrap_or(u16::MAX))
}

/// What is remembered: three of the longest periods and a quarter.
const REACH_MS: usize = 50;
/// After 60 ms nothing is left.
const FADED_MS: usize = 60;
/// 200 Hz and 66 Hz; of a higher voice several periods are taken for one.
const SHORTEST_MS: usize = 5;
const LONGEST_MS: usize = 15;
/// What is compared.
const WINDOW_MS: usize = 20;
/// Both laws' noise about zero.
const FAINTEST: f32 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{FRAME, Law};
    use std::f32::consts::TAU;

    /// A voice of `pitch` Hz: its harmonics.
    fn voice(pitch: f32, at: usize) -> i16 {
        let phase = TAU * pitch * at as f32 / 8000.0;
        (6000.0 * phase.sin() + 3000.0 * (2.0 * phase).sin() + 1500.0 * (3.0 * phase + 1.0).sin()) as i16
    }

    fn frame(law: Law, sound: impl Fn(usize) -> i16, n: usize) -> Vec<u8> {
        (n * FRAME..(n + 1) * FRAME).map(|at| law.encode(sound(at))).collect()
    }

    /// Frames of `sound`, of which those in `lost` are made up, decoded.
    fn heard(law: Law, sound: impl Fn(usize) -> i16, frames: usize, lost: &[usize]) -> Vec<i16> {
        let mut concealer = Concealer::new(law);
        let mut heard = Vec::new();
        for n in 0..frames {
            let mut bytes = frame(law, &sound, n);
            if lost.contains(&n) {
                bytes.fill(0);
                concealer.conceal(&mut bytes);
            } else {
                concealer.heard(&mut bytes);
            }
            law.decode_into(&bytes, &mut heard);
        }
        heard
    }

    fn steepest(samples: &[i16]) -> i32 {
        samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap()
    }

    /// Noise to signal, in dB, over the samples.
    fn error(got: &[i16], wanted: impl Fn(usize) -> i16, from: usize) -> f64 {
        let (mut noise, mut signal) = (0.0, 0.0);
        for (n, sample) in got.iter().enumerate() {
            let wanted = f64::from(wanted(from + n));
            noise += (f64::from(*sample) - wanted).powi(2);
            signal += wanted * wanted;
        }
        10.0 * (noise / signal).log10()
    }

    #[test]
    fn a_voice_goes_on_through_a_lost_frame_as_if_it_had_come() {
        for law in [Law::Mu, Law::A] {
            for pitch in [80.0, 100.0, 125.0, 160.0, 200.0, 250.0] {
                let sound = |at| voice(pitch, at);
                let heard = heard(law, sound, 20, &[10]);
                let lost = error(&heard[10 * FRAME..11 * FRAME], sound, 10 * FRAME);
                assert!(lost < -12.0, "{law:?} {pitch} Hz: {lost:.1} dB");
                let after = error(&heard[12 * FRAME..], sound, 12 * FRAME);
                assert!(after < -30.0, "{law:?} {pitch} Hz: {after:.1} dB");
            }
        }
    }

    #[test]
    fn there_is_no_click_where_it_begins_goes_on_or_ends() {
        for pitch in [70.0, 110.0, 143.0, 187.0, 230.0, 333.0] {
            let sound = |at| voice(pitch, at);
            let whole = steepest(&heard(Law::Mu, sound, 30, &[]));
            for lost in [&[10][..], &[10, 11], &[10, 12, 14], &[10, 11, 12, 13, 14]] {
                let concealed = steepest(&heard(Law::Mu, sound, 30, lost));
                assert!(concealed <= whole * 13 / 10, "{pitch} Hz, {lost:?}: {concealed} against {whole}");
            }
        }
    }

    #[test]
    fn it_fades_from_10_ms_on_and_is_silence_after_60() {
        let lost: Vec<usize> = (10..20).collect();
        let heard = heard(Law::Mu, |at| voice(120.0, at), 25, &lost);
        let loudest = |range: std::ops::Range<usize>| heard[range].iter().map(|s| i32::from(*s).abs()).max().unwrap();
        let start = 10 * FRAME;
        let (before, early, late) =
            (loudest(start - 160..start), loudest(start..start + 80), loudest(start + 400..start + 480));
        assert!(early > before * 8 / 10, "{early} of {before}");
        assert!(late < before / 4, "{late} of {before}");
        assert_eq!(loudest(start + 480..20 * FRAME), 0);
    }

    #[test]
    fn what_comes_after_silence_is_not_touched() {
        let mut concealer = Concealer::new(Law::Mu);
        let mut part = [0; FRAME];
        concealer.conceal(&mut part);
        assert_eq!(part, [0xFF; FRAME]);
        let mut onset = frame(Law::Mu, |at| voice(120.0, at), 0);
        concealer.heard(&mut onset);
        assert_eq!(onset, frame(Law::Mu, |at| voice(120.0, at), 0));
        // What comes after a loss that had faded fades in: nobody knows in the midst of which word it begins.
        let mut faded = [0; FRAME];
        (0..4).for_each(|_| concealer.conceal(&mut faded));
        concealer.heard(&mut onset);
        assert_eq!(onset[80..], frame(Law::Mu, |at| voice(120.0, at), 0)[80..]);
        assert!(Law::Mu.decode(onset[0]).abs() < 200);
    }

    #[test]
    fn a_change_of_law_does_not_end_a_voice() {
        let mut concealer = Concealer::new(Law::A);
        (0..5).for_each(|n| concealer.heard(&mut frame(Law::A, |at| voice(100.0, at), n)));
        concealer.turn_to(Law::Mu);
        let mut lost = [0; FRAME];
        concealer.conceal(&mut lost);
        let mut samples = Vec::new();
        Law::Mu.decode_into(&lost, &mut samples);
        let error = error(&samples, |at| voice(100.0, at), 5 * FRAME);
        assert!(error < -12.0, "{error:.1} dB");
    }
}
