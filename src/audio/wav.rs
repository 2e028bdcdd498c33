//! WAV in and out: a stereo recording that a crash leaves readable, and a mono file as a telephone would hear it.

use super::{Form, RATE, WIDE_RATE, resample};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use std::io::{Read, Seek, Write};
use thiserror::Error;

/// Why a WAV file could not be read or written.
#[derive(Debug, Error)]
pub enum WavError {
    /// Not a WAV file, or cut off, or the disk failed.
    #[error("WAV: {0}")]
    File(#[from] hound::Error),
    /// A WAV file of a kind that is not taken.
    #[error(
        "WAV: {channels} channel(s) of {bits} bits at {rate} Hz; wanted is mono PCM of 16 bits at 8000, 16000, 24000 or 48000 Hz"
    )]
    Kind {
        /// Channels of the file.
        channels: u16,
        /// Bits of a sample.
        bits: u16,
        /// Samples a second.
        rate: u32,
    },
    /// Longer than is held in memory.
    #[error("WAV: {seconds} s long; at most {LONGEST_SECONDS} s are taken")]
    Long {
        /// Length of the file.
        seconds: u32,
    },
}

/// A mono sound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clip {
    /// Samples a second: 8000, 16000, 24000 or 48000.
    rate: u32,
    samples: Vec<i16>,
}

impl Clip {
    /// Sound of 8 kHz.
    #[must_use]
    pub const fn telephone(samples: Vec<i16>) -> Self {
        Self { rate: RATE, samples }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Its samples at 8 kHz.
    #[must_use]
    pub fn narrow(&self) -> Vec<i16> {
        resample::resample(&self.samples, 1, usize::try_from(self.rate / RATE).unwrap_or(1))
    }

    /// Its samples at 16 kHz.
    #[must_use]
    pub fn wide(&self) -> Vec<i16> {
        match self.rate {
            WIDE_RATE => self.samples.clone(),
            RATE => resample::resample(&self.samples, 2, 1),
            rate => resample::resample(&self.samples, 2, usize::try_from(rate / RATE).unwrap_or(1)),
        }
    }
}

/// Reads a mono PCM16 file as samples of 8 kHz.
///
/// # Errors
/// When it is no WAV file, or not mono PCM16 of a rate that divides to 8 kHz, or longer than an hour.
pub fn read_telephone(from: impl Read) -> Result<Vec<i16>, WavError> {
    Ok(read(from)?.narrow())
}

/// Reads a mono PCM16 file.
///
/// # Errors
/// As `read_telephone`.
pub fn read(from: impl Read) -> Result<Clip, WavError> {
    let reader = WavReader::new(from)?;
    let WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format } = reader.spec();
    let known = matches!(rate, 8_000 | 16_000 | 24_000 | 48_000);
    if !known || channels != 1 || bits != 16 || sample_format != SampleFormat::Int {
        return Err(WavError::Kind { channels, bits, rate });
    }
    let seconds = reader.duration() / rate;
    if seconds > LONGEST_SECONDS {
        return Err(WavError::Long { seconds });
    }
    let samples = reader.into_samples::<i16>().collect::<Result<Vec<i16>, _>>()?;
    Ok(Clip { rate, samples })
}

/// A recording: caller left, assistant right, 16 bits. `checkpoint` makes what is written so far a valid file.
pub struct StereoWriter<W: Write + Seek> {
    writer: WavWriter<W>,
}

impl<W: Write + Seek> StereoWriter<W> {
    /// Begins a file of `rate` samples a second in `to`; the header is valid from the start.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn new(to: W, rate: u32) -> Result<Self, WavError> {
        let spec = WavSpec { channels: 2, sample_rate: rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = WavWriter::new(to, spec)?;
        writer.flush()?;
        Ok(Self { writer })
    }

    /// Appends the bytes of both sides, whose rate is the file's; the shorter side is filled up with silence.
    ///
    /// # Errors
    /// When the disk refuses, or the file has reached the 4 GiB of its format.
    pub fn append(&mut self, form: Form, caller: &[u8], assistant: &[u8]) -> Result<(), WavError> {
        interleaved(form, caller, assistant).try_for_each(|sample| Ok(self.writer.write_sample(sample)?))
    }

    /// Appends samples, caller and assistant in turn.
    ///
    /// # Errors
    /// When the disk refuses, or the file has reached the 4 GiB of its format.
    pub fn append_pcm(&mut self, samples: &[i16]) -> Result<(), WavError> {
        samples.iter().try_for_each(|sample| Ok(self.writer.write_sample(*sample)?))
    }

    /// Writes the length into the header: a crash from here on loses only what comes later.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn checkpoint(&mut self) -> Result<(), WavError> {
        Ok(self.writer.flush()?)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(self) -> Result<(), WavError> {
        Ok(self.writer.finalize()?)
    }
}

/// The samples of both sides in turn; the shorter side is filled up with silence.
pub fn interleaved(form: Form, caller: &[u8], assistant: &[u8]) -> impl Iterator<Item = i16> {
    let [caller, assistant] = [caller, assistant].map(|side| {
        let mut samples = Vec::with_capacity(side.len());
        form.decode_into(side, &mut samples);
        samples
    });
    (0..caller.len().max(assistant.len()))
        .flat_map(move |n| [caller.get(n).copied().unwrap_or(0), assistant.get(n).copied().unwrap_or(0)])
}

const LONGEST_SECONDS: u32 = 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Law;
    use std::io::Cursor;

    fn mono(rate: u32, samples: &[i16]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let spec = WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        samples.iter().for_each(|&s| writer.write_sample(s).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn mono_files_come_out_at_8_khz() {
        assert_eq!(read_telephone(&mono(8000, &[1, 2, 3])[..]).unwrap(), [1, 2, 3]);
        assert_eq!(read_telephone(&mono(16000, &[0; 320])[..]).unwrap().len(), 160);
    }

    #[test]
    fn a_clip_is_had_at_either_rate_whatever_its_own() {
        for rate in [8000, 16_000, 24_000, 48_000] {
            let step = std::f64::consts::TAU * 1000.0 / f64::from(rate);
            let samples: Vec<i16> = (0..rate).map(|n| (10_000.0 * (step * f64::from(n)).sin()) as i16).collect();
            let clip = read(&mono(rate, &samples)[..]).unwrap();
            let (narrow, wide) = (clip.narrow(), clip.wide());
            assert_eq!((narrow.len(), wide.len()), (8000, 16_000), "{rate}");
            let off = |samples: &[i16], rate: f64| {
                let step = std::f64::consts::TAU * 1000.0 / rate;
                let off = |(n, sample): (usize, &i16)| (f64::from(*sample) - 10_000.0 * (step * n as f64).sin()).abs();
                samples.iter().enumerate().skip(400).take(4000).map(off).fold(0.0, f64::max)
            };
            assert!(off(&narrow, 8000.0) < 200.0 && off(&wide, 16_000.0) < 200.0, "{rate}");
        }
    }

    #[test]
    fn other_kinds_are_refused_with_what_was_wrong() {
        let error = read_telephone(&mono(44_100, &[0; 10])[..]).unwrap_err().to_string();
        assert!(error.contains("44100 Hz"), "{error}");
        assert!(read_telephone(&b"RIFF nonsense"[..]).is_err());
        assert!(read_telephone(&b""[..]).is_err());
        let cut = &mono(8000, &[0; 100])[..60];
        assert!(read_telephone(cut).is_err());
    }

    #[test]
    fn a_recording_is_readable_up_to_its_last_checkpoint_without_being_finished() {
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = StereoWriter::new(file.try_clone().unwrap(), RATE).unwrap();
        writer.append(Form::Narrow(Law::Mu), &[0x00; 160], &[0xFF; 80]).unwrap();
        writer.checkpoint().unwrap();
        std::mem::forget(writer);
        file.rewind().unwrap();
        let reader = WavReader::new(&mut file).unwrap();
        assert_eq!((reader.spec().channels, reader.duration()), (2, 160));
        let samples: Vec<i16> = reader.into_samples().map(Result::unwrap).collect();
        assert_eq!(samples[..2], [-32124, 0]);
        assert_eq!(samples.len(), 320);
    }
}
