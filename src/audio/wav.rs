//! WAV in and out: a stereo recording that a crash leaves readable, and a mono file as a telephone would hear it.

use super::{Law, RATE, decimate};
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

/// Reads a mono PCM16 file as samples of 8 kHz.
///
/// # Errors
/// When it is no WAV file, or not mono PCM16 of a rate that divides to 8 kHz, or longer than an hour.
pub fn read_telephone(from: impl Read) -> Result<Vec<i16>, WavError> {
    let reader = WavReader::new(from)?;
    let WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format } = reader.spec();
    let factor = match rate {
        8_000 | 16_000 | 24_000 | 48_000 => usize::try_from(rate / RATE).unwrap_or(1),
        _ => 0,
    };
    if factor == 0 || channels != 1 || bits != 16 || sample_format != SampleFormat::Int {
        return Err(WavError::Kind { channels, bits, rate });
    }
    let seconds = reader.duration() / rate;
    if seconds > LONGEST_SECONDS {
        return Err(WavError::Long { seconds });
    }
    let samples = reader.into_samples::<i16>().collect::<Result<Vec<i16>, _>>()?;
    Ok(decimate::to_telephone_rate(&samples, factor))
}

/// A recording: caller left, assistant right, 8 kHz, 16 bits. `checkpoint` makes what is written so far a valid file.
pub struct StereoWriter<W: Write + Seek> {
    writer: WavWriter<W>,
}

impl<W: Write + Seek> StereoWriter<W> {
    /// Begins a file in `to`; the header is valid from the start.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn new(to: W) -> Result<Self, WavError> {
        let spec = WavSpec { channels: 2, sample_rate: RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = WavWriter::new(to, spec)?;
        writer.flush()?;
        Ok(Self { writer })
    }

    /// Appends G.711 of both sides; the shorter side is filled up with silence.
    ///
    /// # Errors
    /// When the disk refuses, or the file has reached the 4 GiB of its format.
    pub fn append(&mut self, law: Law, caller: &[u8], assistant: &[u8]) -> Result<(), WavError> {
        let silence = law.silence();
        for n in 0..caller.len().max(assistant.len()) {
            for side in [caller, assistant] {
                self.writer.write_sample(law.decode(side.get(n).copied().unwrap_or(silence)))?;
            }
        }
        Ok(())
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

const LONGEST_SECONDS: u32 = 3600;

#[cfg(test)]
mod tests {
    use super::*;
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
        let mut writer = StereoWriter::new(file.try_clone().unwrap()).unwrap();
        writer.append(Law::Mu, &[0x00; 160], &[0xFF; 80]).unwrap();
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
