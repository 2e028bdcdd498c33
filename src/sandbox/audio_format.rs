//! Audio formats of Speech to Text and Text to Speech (Watson facts 2.2, 2.3): MIME type with parameters <-> samples.

use audio_codec::pcma::{PcmaDecoder, PcmaEncoder};
use audio_codec::pcmu::{PcmuDecoder, PcmuEncoder};
use audio_codec::{Decoder as _, Encoder as _};
use std::time::Duration;

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// G.711 µ-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
    /// 16-bit signed linear, little-endian.
    L16Little,
    /// 16-bit signed linear, big-endian.
    L16Big,
    /// RIFF/WAVE with 16-bit linear samples; only for Text to Speech, with the sizes of a stream (0) in its header.
    Wav,
}

/// A format that both sides can handle: one channel of `encoding` at `rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// How samples are written.
    pub encoding: Encoding,
    /// Samples a second.
    pub rate: u32,
}

/// Why a MIME type cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A format this program does not speak.
    #[error("unsupported format '{0}'")]
    Unsupported(String),
    /// `rate` is mandatory for it.
    #[error("'{0}' needs a sampling rate: '{0};rate=8000'")]
    RateMissing(String),
    /// A parameter has a value that makes no sense.
    #[error("'{name}={value}' in '{format}' is not valid")]
    Parameter {
        /// The whole MIME type.
        format: String,
        /// Parameter.
        name: String,
        /// Its value.
        value: String,
    },
}

impl AudioFormat {
    /// Parses `audio/mulaw;rate=8000` and the like, case-insensitively, blanks allowed around parameters.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut rate = None;
        let mut big_endian = false;
        for parameter in parts.filter(|part| !part.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let wrong = || FormatError::Parameter {
                format: text.to_owned(),
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
            };
            match (name.trim().to_ascii_lowercase().as_str(), value.trim().trim_matches('"')) {
                ("rate", value) => match value.parse::<u32>() {
                    Ok(number) if (8_000..=192_000).contains(&number) => rate = Some(number),
                    _ => return Err(wrong()),
                },
                ("channels", "1") | ("q" | "codecs", _) => {}
                ("endianness", "big-endian") => big_endian = true,
                ("endianness", "little-endian") => big_endian = false,
                _ => return Err(wrong()),
            }
        }
        let with_rate = |encoding| match rate {
            Some(rate) => Ok(Self { encoding, rate }),
            None => Err(FormatError::RateMissing(kind.clone())),
        };
        match kind.as_str() {
            "audio/mulaw" => with_rate(Encoding::Mulaw),
            "audio/alaw" => with_rate(Encoding::Alaw),
            "audio/l16" => with_rate(if big_endian { Encoding::L16Big } else { Encoding::L16Little }),
            "audio/basic" => Ok(Self { encoding: Encoding::Mulaw, rate: 8_000 }),
            "audio/wav" => Ok(Self { encoding: Encoding::Wav, rate: rate.unwrap_or(22_050) }),
            _ => Err(FormatError::Unsupported(text.to_owned())),
        }
    }

    /// Bytes of one sample.
    #[must_use]
    pub fn sample_bytes(self) -> usize {
        match self.encoding {
            Encoding::Mulaw | Encoding::Alaw => 1,
            Encoding::L16Little | Encoding::L16Big | Encoding::Wav => 2,
        }
    }

    /// How long so many bytes sound.
    #[must_use]
    pub fn duration(self, bytes: usize) -> Duration {
        let samples = u64::try_from(bytes / self.sample_bytes()).unwrap_or(u64::MAX);
        Duration::from_nanos(samples.saturating_mul(1_000_000_000) / u64::from(self.rate))
    }

    /// Samples of whole bytes; an odd last byte of a 16-bit format is dropped.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Vec<i16> {
        match self.encoding {
            Encoding::Mulaw => PcmuDecoder::new().decode(bytes),
            Encoding::Alaw => PcmaDecoder::new().decode(bytes),
            Encoding::L16Little | Encoding::Wav => pairs(bytes).map(i16::from_le_bytes).collect(),
            Encoding::L16Big => pairs(bytes).map(i16::from_be_bytes).collect(),
        }
    }

    /// Bytes of samples, without a header.
    #[must_use]
    pub fn encode(self, samples: &[i16]) -> Vec<u8> {
        match self.encoding {
            Encoding::Mulaw => PcmuEncoder::new().encode(samples),
            Encoding::Alaw => PcmaEncoder::new().encode(samples),
            Encoding::L16Little | Encoding::Wav => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
            Encoding::L16Big => samples.iter().flat_map(|sample| sample.to_be_bytes()).collect(),
        }
    }

    /// What goes before the first sample: the header of a streamed WAV, whose data size is 0 because nobody knows it yet.
    #[must_use]
    pub fn header(self) -> Vec<u8> {
        if self.encoding != Encoding::Wav {
            return Vec::new();
        }
        let mut header = Vec::with_capacity(44);
        header.extend_from_slice(b"RIFF");
        header.extend_from_slice(&36u32.to_le_bytes());
        header.extend_from_slice(b"WAVEfmt ");
        header.extend_from_slice(&16u32.to_le_bytes());
        header.extend_from_slice(&1u16.to_le_bytes());
        header.extend_from_slice(&1u16.to_le_bytes());
        header.extend_from_slice(&self.rate.to_le_bytes());
        header.extend_from_slice(&(self.rate.saturating_mul(2)).to_le_bytes());
        header.extend_from_slice(&2u16.to_le_bytes());
        header.extend_from_slice(&16u16.to_le_bytes());
        header.extend_from_slice(b"data");
        header.extend_from_slice(&0u32.to_le_bytes());
        header
    }
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = [u8; 2]> {
    bytes.chunks_exact(2).filter_map(|pair| pair.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_as_the_service_documents_them() {
        let mulaw = AudioFormat { encoding: Encoding::Mulaw, rate: 8_000 };
        assert_eq!(AudioFormat::parse("audio/mulaw;rate=8000"), Ok(mulaw));
        assert_eq!(AudioFormat::parse("Audio/MULAW; Rate=8000; channels=1"), Ok(mulaw));
        assert_eq!(AudioFormat::parse("audio/basic"), Ok(mulaw));
        let l16 = |encoding| Ok(AudioFormat { encoding, rate: 16_000 });
        assert_eq!(AudioFormat::parse("audio/l16;rate=16000"), l16(Encoding::L16Little));
        assert_eq!(AudioFormat::parse("audio/l16;rate=16000;endianness=big-endian"), l16(Encoding::L16Big));
        assert_eq!(AudioFormat::parse("audio/wav").map(|format| format.rate), Ok(22_050));
        assert_eq!(AudioFormat::parse("audio/mulaw"), Err(FormatError::RateMissing("audio/mulaw".to_owned())));
        assert!(matches!(AudioFormat::parse("audio/mulaw;rate=8"), Err(FormatError::Parameter { .. })));
        assert!(matches!(AudioFormat::parse("audio/mulaw;rate"), Err(FormatError::Parameter { .. })));
        assert!(matches!(AudioFormat::parse("audio/ogg;codecs=opus"), Err(FormatError::Unsupported(_))));
        assert!(matches!(AudioFormat::parse(""), Err(FormatError::Unsupported(_))));
    }

    #[test]
    fn samples_survive_the_way_there_and_back() {
        let samples = [0i16, 100, -100, 8_000, -8_000, 32_000, -32_000];
        for (format, tolerance) in [
            ("audio/l16;rate=8000", 0),
            ("audio/l16;rate=8000;endianness=big-endian", 0),
            ("audio/mulaw;rate=8000", 1_100),
            ("audio/alaw;rate=8000", 1_100),
        ] {
            let format = AudioFormat::parse(format).unwrap();
            let back = format.decode(&format.encode(&samples));
            assert_eq!(back.len(), samples.len());
            for (there, back) in samples.iter().zip(&back) {
                assert!((i32::from(*there) - i32::from(*back)).abs() <= tolerance, "{format:?}: {there} became {back}");
            }
        }
        assert_eq!(AudioFormat::parse("audio/l16;rate=8000;endianness=big-endian").unwrap().encode(&[0x0102]), [1, 2]);
        assert_eq!(AudioFormat::parse("audio/l16;rate=8000").unwrap().decode(&[1, 0, 9]), [1]);
    }

    #[test]
    fn a_streamed_wav_header_says_zero_bytes() {
        let header = AudioFormat::parse("audio/wav;rate=8000").unwrap().header();
        assert_eq!(header.len(), 44);
        assert_eq!(&header[24..28], &8_000u32.to_le_bytes());
        assert_eq!(&header[40..44], &[0; 4]);
    }

    #[test]
    fn bytes_have_a_length_in_time() {
        assert_eq!(AudioFormat::parse("audio/mulaw;rate=8000").unwrap().duration(160), Duration::from_millis(20));
        assert_eq!(AudioFormat::parse("audio/l16;rate=16000").unwrap().duration(640), Duration::from_millis(20));
    }
}
