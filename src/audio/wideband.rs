//! Codecs of 16 kHz sound: G.722 (ITU-T G.722 at 64 kbit/s; RFC 3551 section 4.5.2) and, with the feature `opus`, Opus (RFC 6716).

use super::WIDE_FRAME;
use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};

/// Which codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WideCodec {
    /// A byte for two samples.
    G722,
    /// Packets of any size.
    #[cfg(feature = "opus")]
    Opus,
}

/// Makes packets of one stream.
pub struct Encoder(Encoding);

enum Encoding {
    G722(Box<G722Encoder>),
    #[cfg(feature = "opus")]
    Opus(Option<Box<opus_rs::OpusEncoder>>),
}

/// Reads packets of one stream, in their order.
pub struct Decoder(Decoding);

enum Decoding {
    G722(Box<G722Decoder>),
    #[cfg(feature = "opus")]
    Opus(Option<Box<opus_rs::OpusDecoder>>),
}

impl Encoder {
    /// An encoder that has heard nothing.
    #[must_use]
    pub fn new(codec: WideCodec) -> Self {
        Self(match codec {
            WideCodec::G722 => Encoding::G722(Box::default()),
            #[cfg(feature = "opus")]
            WideCodec::Opus => Encoding::Opus(opus_encoder().map(Box::new)),
        })
    }

    /// The next 20 ms as a packet; how much of `packet` it is.
    pub fn encode(&mut self, samples: &[i16; WIDE_FRAME], packet: &mut [u8; LONGEST_SENT]) -> usize {
        // The codecs' only errors are a short buffer and an odd frame.
        match &mut self.0 {
            Encoding::G722(encoder) => encoder.encode_into(samples, packet).unwrap_or(0),
            #[cfg(feature = "opus")]
            Encoding::Opus(encoder) => {
                let encoded = encoder.as_mut().and_then(|encoder| encoder.encode_i16(samples, WIDE_FRAME, packet).ok());
                encoded.unwrap_or(0)
            }
        }
    }
}

impl Decoder {
    /// A decoder that has heard nothing.
    #[must_use]
    pub fn new(codec: WideCodec) -> Self {
        Self(match codec {
            WideCodec::G722 => Decoding::G722(Box::default()),
            #[cfg(feature = "opus")]
            WideCodec::Opus => Decoding::Opus(opus_rs::OpusDecoder::new(RATE, 1).ok().map(Box::new)),
        })
    }

    /// The samples of the next packet; `None` where it is none of the codec's.
    pub fn decode<'a>(&mut self, payload: &[u8], room: &'a mut [i16; LONGEST_HEARD]) -> Option<&'a [i16]> {
        let count = match &mut self.0 {
            Decoding::G722(decoder) => decoder.decode_into(payload, room).ok()?,
            #[cfg(feature = "opus")]
            Decoding::Opus(decoder) => {
                let mut floats = [0.0; LONGEST_HEARD];
                let count = decoder.as_mut()?.decode(payload, LONGEST_HEARD, &mut floats).ok()?;
                linear(&floats, room);
                count
            }
        };
        room.get(..count).filter(|samples| !samples.is_empty())
    }

    /// What the codec makes up for `missing` samples before the packet `next`, which itself may say how they were. `None` where it
    /// has no means of its own.
    pub fn mend<'a>(&mut self, missing: usize, next: &[u8], room: &'a mut [i16; LONGEST_HEARD]) -> Option<&'a [i16]> {
        match &mut self.0 {
            Decoding::G722(_) => {
                let _ = (missing, next, room);
                None
            }
            #[cfg(feature = "opus")]
            Decoding::Opus(decoder) => {
                let mut floats = [0.0; LONGEST_HEARD];
                let count = decoder.as_mut()?.decode_fec(next, missing, floats.get_mut(..missing)?).ok()?;
                linear(&floats, room);
                room.get(..count)
            }
        }
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoder")
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

#[cfg(feature = "opus")]
fn opus_encoder() -> Option<opus_rs::OpusEncoder> {
    // The library refuses other rates and numbers of channels only. Its high-pass filter for `Voip` turns the phases of a voice: what
    // is heard of one has a correlation of 0.78 with what was said, and of 0.997 without it.
    let mut encoder = opus_rs::OpusEncoder::new(RATE, 1, opus_rs::Application::Audio).ok()?;
    encoder.bitrate_bps = 32_000;
    encoder.complexity = 5;
    encoder.use_cbr = true;
    Some(encoder)
}

#[cfg(feature = "opus")]
fn linear(floats: &[f32; LONGEST_HEARD], room: &mut [i16; LONGEST_HEARD]) {
    room.iter_mut().zip(floats).for_each(|(sample, float)| *sample = super::sound::rounded(float * 32_768.0));
}

#[cfg(feature = "opus")]
const RATE: i32 = 16_000;
/// Bytes of the longest packet that is made.
pub const LONGEST_SENT: usize = 160;
/// Samples of the longest packet that is read: 120 ms (RFC 6716 section 2.1.4).
pub const LONGEST_HEARD: usize = 1920;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f32::consts::TAU;

    const CODECS: &[WideCodec] = &[
        WideCodec::G722,
        #[cfg(feature = "opus")]
        WideCodec::Opus,
    ];

    fn tone(hertz: f32, n: usize) -> [i16; WIDE_FRAME] {
        std::array::from_fn(|at| (8000.0 * (TAU * hertz * (n * WIDE_FRAME + at) as f32 / 16_000.0).sin()) as i16)
    }

    /// Share of the power of `samples` that is not a tone of this frequency, in dB.
    fn beside(samples: &[i16], hertz: f32) -> f32 {
        let (mut sine, mut cosine, mut power) = (0.0, 0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            let (phase, sample) = (TAU * hertz * n as f32 / 16_000.0, f32::from(*sample));
            sine += sample * phase.sin();
            cosine += sample * phase.cos();
            power += sample * sample;
        }
        let of_tone = 2.0 * (sine * sine + cosine * cosine) / samples.len() as f32;
        10.0 * ((power - of_tone).max(1.0) / power).log10()
    }

    #[test]
    fn what_is_encoded_is_what_is_decoded_over_the_whole_wide_band() {
        for &codec in CODECS {
            for hertz in [300.0, 1000.0, 3000.0, 5000.0, 6500.0] {
                let (mut encoder, mut decoder) = (Encoder::new(codec), Decoder::new(codec));
                let (mut packet, mut room, mut heard) = ([0; LONGEST_SENT], [0; LONGEST_HEARD], Vec::new());
                for n in 0..100 {
                    let length = encoder.encode(&tone(hertz, n), &mut packet);
                    heard.extend_from_slice(decoder.decode(&packet[..length], &mut room).unwrap());
                }
                assert_eq!(heard.len(), 100 * WIDE_FRAME, "{codec:?}");
                let beside = beside(&heard[16_000..], hertz);
                assert!(beside < -12.0, "{codec:?} at {hertz} Hz: {beside:.1} dB beside the tone");
            }
        }
    }

    #[test]
    fn g722_takes_packets_of_any_length() {
        let (mut encoder, mut packet) = (Encoder::new(WideCodec::G722), [0; LONGEST_SENT]);
        let (mut whole, mut parts) = (Decoder::new(WideCodec::G722), Decoder::new(WideCodec::G722));
        let mut room = [0; LONGEST_HEARD];
        assert_eq!(encoder.encode(&tone(1000.0, 0), &mut packet), 160);
        let wanted = whole.decode(&packet, &mut room).unwrap().to_vec();
        let mut got = Vec::new();
        for part in packet.chunks(7) {
            got.extend_from_slice(parts.decode(part, &mut room).unwrap());
        }
        assert_eq!(got, wanted);
        assert!(parts.decode(&[], &mut room).is_none() && parts.decode(&[0; 1200], &mut room).is_none());
    }

    #[cfg(feature = "opus")]
    #[test]
    fn opus_makes_up_what_is_lost_from_what_it_knows() {
        let (mut encoder, mut decoder) = (Encoder::new(WideCodec::Opus), Decoder::new(WideCodec::Opus));
        let (mut packet, mut room) = ([0; LONGEST_SENT], [0; LONGEST_HEARD]);
        for n in 0..20 {
            let length = encoder.encode(&tone(400.0, n), &mut packet);
            if n == 15 {
                continue;
            }
            if n == 16 {
                let made_up = decoder.mend(WIDE_FRAME, &packet[..length], &mut room).unwrap();
                let power = made_up.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>() / 320.0;
                assert!(power > 8000_f32.powi(2) / 8.0, "{power}");
            }
            assert_eq!(decoder.decode(&packet[..length], &mut room).unwrap().len(), WIDE_FRAME);
        }
        assert!(decoder.mend(LONGEST_HEARD + 1, &packet, &mut room).is_none());
    }

    proptest! {
        #[test]
        fn any_payload_is_borne(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1300), 1..20)) {
            for &codec in CODECS {
                let (mut decoder, mut room) = (Decoder::new(codec), [0; LONGEST_HEARD]);
                for payload in &payloads {
                    let _ = decoder.mend(WIDE_FRAME, payload, &mut room);
                    let _ = decoder.decode(payload, &mut room);
                }
            }
        }
    }
}
