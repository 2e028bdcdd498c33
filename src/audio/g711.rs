//! G.711 mu-law and A-law by table (ITU-T G.711; RFC 3551 section 4.5.14).

use audio_codec::{Decoder as _, Encoder as _, pcma, pcmu};
use std::sync::LazyLock;

/// Which of the two laws a byte is coded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// mu-law (PCMU).
    Mu,
    /// A-law (PCMA).
    A,
}

impl Law {
    /// The byte for a sample of zero: what silence looks like on the wire.
    #[must_use]
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xFF,
            Self::A => 0xD5,
        }
    }

    /// The sample that `byte` stands for.
    #[must_use]
    pub fn decode(self, byte: u8) -> i16 {
        at(&self.tables().samples, byte)
    }

    /// The byte nearest to `sample`.
    #[must_use]
    pub fn encode(self, sample: i16) -> u8 {
        let mut byte = [self.silence()];
        // One sample into one byte: the codec's only error is a short buffer.
        let _ = match self {
            Self::Mu => pcmu::PcmuEncoder::new().encode_into(&[sample], &mut byte),
            Self::A => pcma::PcmaEncoder::new().encode_into(&[sample], &mut byte),
        };
        let [byte] = byte;
        byte
    }

    /// Appends the samples of `bytes` to `samples`.
    pub fn decode_into(self, bytes: &[u8], samples: &mut Vec<i16>) {
        let table = &self.tables().samples;
        samples.extend(bytes.iter().map(|&byte| at(table, byte)));
    }

    /// The bytes of `samples`.
    #[must_use]
    pub fn encode_all(self, samples: &[i16]) -> Vec<u8> {
        samples.iter().map(|&sample| self.encode(sample)).collect()
    }

    /// Turns `bytes` of this law into `wanted` in place.
    pub fn translate(self, wanted: Self, bytes: &mut [u8]) {
        if self == wanted {
            return;
        }
        let table = &self.tables().other_law;
        for byte in bytes {
            *byte = at(table, *byte);
        }
    }

    /// Sum of the squares of the samples that `bytes` stand for.
    pub(super) fn energy(self, bytes: &[u8]) -> u64 {
        let table = &self.tables().squares;
        bytes.iter().map(|&byte| u64::from(at(table, byte))).sum()
    }

    fn tables(self) -> &'static Tables {
        match self {
            Self::Mu => &MU,
            Self::A => &A,
        }
    }
}

/// All that is ever asked of a byte, by its value.
struct Tables {
    samples: [i16; 256],
    squares: [u32; 256],
    other_law: [u8; 256],
}

impl Tables {
    fn new(law: Law) -> Self {
        let bytes: [u8; 256] = std::array::from_fn(|value| u8::try_from(value).unwrap_or(u8::MAX));
        let mut samples = [0_i16; 256];
        // 256 bytes into 256 samples: the codec's only error is a short buffer.
        let (_, other) = match law {
            Law::Mu => (pcmu::PcmuDecoder::new().decode_into(&bytes, &mut samples), Law::A),
            Law::A => (pcma::PcmaDecoder::new().decode_into(&bytes, &mut samples), Law::Mu),
        };
        Self {
            samples,
            squares: samples.map(|sample| i32::from(sample).unsigned_abs().pow(2)),
            other_law: samples.map(|sample| other.encode(sample)),
        }
    }
}

fn at<T: Copy + Default>(table: &[T; 256], byte: u8) -> T {
    table.get(usize::from(byte)).copied().unwrap_or_default()
}

static MU: LazyLock<Tables> = LazyLock::new(|| Tables::new(Law::Mu));
static A: LazyLock<Tables> = LazyLock::new(|| Tables::new(Law::A));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_a_round_trip() {
        for law in [Law::Mu, Law::A] {
            for byte in 0..=u8::MAX {
                let sample = law.decode(byte);
                let again = law.decode(law.encode(sample));
                // Both sides of zero are silence: the codec takes them for one.
                assert!(again == sample || (again.abs() <= 8 && sample.abs() <= 8), "{law:?} {byte:#x}: {again}");
            }
        }
    }

    #[test]
    fn known_values_of_the_standard() {
        assert_eq!(Law::Mu.decode(0x00), -32124);
        assert_eq!(Law::Mu.decode(0x80), 32124);
        assert_eq!(Law::A.decode(0x2A), -32256);
        assert_eq!(Law::A.decode(0xAA), 32256);
        for law in [Law::Mu, Law::A] {
            assert_eq!(law.encode(0), law.silence());
            assert!(law.decode(law.silence()).unsigned_abs() <= 8);
        }
    }

    #[test]
    fn translating_keeps_the_sound_within_a_quantisation_step() {
        for (from, to) in [(Law::Mu, Law::A), (Law::A, Law::Mu)] {
            for byte in 0..=u8::MAX {
                let mut bytes = [byte];
                from.translate(to, &mut bytes);
                let (before, after) = (i32::from(from.decode(byte)), i32::from(to.decode(bytes[0])));
                assert!(
                    (before - after).abs() <= 16 + before.abs() / 16,
                    "{from:?} {byte:#x}: {before} became {after}"
                );
            }
        }
        let mut silence = [Law::Mu.silence(); 4];
        Law::Mu.translate(Law::A, &mut silence);
        assert_eq!(silence, [Law::A.silence(); 4]);
    }

    #[test]
    fn energy_is_the_sum_of_squares() {
        let bytes = [0x00, 0x80, 0xFF];
        assert_eq!(Law::Mu.energy(&bytes), 2 * 32124 * 32124);
    }
}
