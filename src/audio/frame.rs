//! 20 ms of sound in the form that a call has it: G.711 as it is on the wire, or linear at 16 kHz for what is decoded.

use super::{FRAME, Law, WIDE_FRAME};
use bytes::{BufMut as _, BytesMut};

/// How sound lies in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// G.711, 8 kHz.
    Narrow(Law),
    /// Linear, 16 bits little-endian, 16 kHz.
    Wide,
}

/// 20 ms.
#[expect(clippy::large_enum_variant, reason = "lives on the stack for a slot: nothing is allocated for a frame")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// G.711.
    Narrow(Law, [u8; FRAME]),
    /// Linear samples of 16 kHz.
    Wide([i16; WIDE_FRAME]),
}

impl Form {
    /// Bytes of a millisecond.
    #[must_use]
    pub const fn bytes_per_ms(self) -> usize {
        match self {
            Self::Narrow(_) => 8,
            Self::Wide => 32,
        }
    }

    /// Bytes of 20 ms.
    #[must_use]
    pub const fn frame_bytes(self) -> usize {
        self.bytes_per_ms() * 20
    }

    /// Samples a second.
    #[must_use]
    pub const fn rate(self) -> u32 {
        match self {
            Self::Narrow(_) => super::RATE,
            Self::Wide => super::WIDE_RATE,
        }
    }

    /// 20 ms without a sound.
    #[must_use]
    pub const fn silence(self) -> Frame {
        match self {
            Self::Narrow(law) => Frame::Narrow(law, [law.silence(); FRAME]),
            Self::Wide => Frame::Wide([0; WIDE_FRAME]),
        }
    }

    /// Appends the samples that `bytes` stand for to `samples`; half a sample at the end is left out.
    pub fn decode_into(self, bytes: &[u8], samples: &mut Vec<i16>) {
        match self {
            Self::Narrow(law) => law.decode_into(bytes, samples),
            Self::Wide => samples.extend(bytes.chunks_exact(2).map(linear)),
        }
    }

    /// The bytes of samples at the form's own rate.
    #[must_use]
    pub fn encode_all(self, samples: &[i16]) -> Vec<u8> {
        match self {
            Self::Narrow(law) => law.encode_all(samples),
            Self::Wide => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        }
    }
}

impl Frame {
    /// Its form.
    #[must_use]
    pub const fn form(&self) -> Form {
        match self {
            Self::Narrow(law, _) => Form::Narrow(*law),
            Self::Wide(_) => Form::Wide,
        }
    }

    /// Appends its bytes.
    pub fn put_into(&self, bytes: &mut BytesMut) {
        match self {
            Self::Narrow(_, coded) => bytes.extend_from_slice(coded),
            Self::Wide(samples) => samples.iter().for_each(|sample| bytes.put_i16_le(*sample)),
        }
    }

    /// Puts the sound of `bytes`, which are of its form, over its beginning.
    pub fn overwrite(&mut self, bytes: &[u8]) {
        match self {
            Self::Narrow(_, coded) => coded.iter_mut().zip(bytes).for_each(|(sample, byte)| *sample = *byte),
            Self::Wide(samples) => {
                samples.iter_mut().zip(bytes.chunks_exact(2)).for_each(|(sample, pair)| *sample = linear(pair));
            }
        }
    }
}

fn linear(pair: &[u8]) -> i16 {
    pair.try_into().map_or(0, i16::from_le_bytes)
}
