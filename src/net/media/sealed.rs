//! Recordings at rest that only the key opens: AES-256-GCM in chunks, so that a crash costs the last second and no more.
//!
//! A file is `VGREC1\n` (8 kHz) or `VGREC2\n` (16 kHz) and a NUL, 16 bytes of salt, then chunks: 4 bytes of length (big-endian; the top bit marks the last chunk) and
//! as many sealed bytes. The key of a file is HKDF-SHA256 of the recording key with the file's salt; the nonce of a chunk is its mark
//! and its number, and the file's head is authenticated with each, so that no chunk can be moved, left out or taken from another file
//! unseen. Inside is PCM of 16 bits little-endian, caller and assistant in turn.

use crate::audio::wav::interleaved;
use crate::audio::{Form, RATE, WIDE_RATE};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use std::io::{self, Read, Write};
use thiserror::Error;

/// `media.recording_key`.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordingKey([u8; 32]);

/// Why a sealed recording could not be read.
#[derive(Debug, Error)]
pub enum UnsealError {
    /// Not a sealed recording.
    #[error("not a sealed recording of this gateway")]
    NotSealed,
    /// The wrong key, or the file was changed.
    #[error("the key does not open it: another key, or the file was changed")]
    Refused,
    /// Read or write failed.
    #[error(transparent)]
    File(#[from] io::Error),
}

/// How a sealed recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// With its last chunk.
    Yes,
    /// Before it: the writer was stopped or its disk was full. All that is there was read.
    CutShort,
}

impl RecordingKey {
    /// Reads a key: 32 bytes as base64.
    ///
    /// # Errors
    /// In words, what it should be.
    pub fn parse(text: &str) -> Result<Self, String> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok();
        let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        key.map(Self).ok_or_else(|| "must be 32 random bytes as base64, as `openssl rand -base64 32` prints".to_owned())
    }

    fn of_file(&self, salt: &[u8; SALT]) -> Result<LessSafeKey, UnsealError> {
        let extracted = Salt::new(HKDF_SHA256, salt).extract(&self.0);
        let info = [INFO];
        let expanded = extracted.expand(&info, &AES_256_GCM).map_err(|_| UnsealError::Refused)?;
        Ok(LessSafeKey::new(UnboundKey::from(expanded)))
    }
}

impl std::fmt::Debug for RecordingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordingKey(secret)")
    }
}

/// Writes a sealed recording.
pub(super) struct SealedWriter<W: Write> {
    to: W,
    key: LessSafeKey,
    head: [u8; HEAD],
    chunks: u64,
    pcm: Vec<u8>,
}

impl<W: Write> SealedWriter<W> {
    /// Begins a file of `rate` samples a second in `to`.
    pub(super) fn new(mut to: W, rate: u32, key: &RecordingKey) -> io::Result<Self> {
        let magic = if rate == WIDE_RATE { MAGIC_WIDE } else { MAGIC };
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let key = key.of_file(&salt).map_err(io::Error::other)?;
        let mut head = [0; HEAD];
        for (place, byte) in head.iter_mut().zip(magic.iter().chain(&salt)) {
            *place = *byte;
        }
        to.write_all(&head)?;
        to.flush()?;
        Ok(Self { to, key, head, chunks: 0, pcm: Vec::new() })
    }

    /// Appends the bytes of both sides; the shorter side is filled up with silence.
    pub(super) fn append(&mut self, form: Form, caller: &[u8], assistant: &[u8]) {
        self.pcm.extend(interleaved(form, caller, assistant).flat_map(i16::to_le_bytes));
    }

    /// Seals what was appended.
    pub(super) fn checkpoint(&mut self) -> io::Result<()> {
        self.seal(0)
    }

    /// Seals the rest and ends the file.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.seal(LAST)
    }

    fn seal(&mut self, mark: u32) -> io::Result<()> {
        let nonce = nonce(mark, self.chunks);
        let sealed = self.key.seal_in_place_append_tag(nonce, Aad::from(&self.head), &mut self.pcm);
        sealed.map_err(|_| io::Error::other("sealing failed"))?;
        let length = u32::try_from(self.pcm.len()).ok().filter(|length| *length <= LONGEST);
        let length = length.ok_or_else(|| io::Error::other("too long a chunk"))?;
        self.to.write_all(&(length | mark).to_be_bytes())?;
        self.to.write_all(&self.pcm)?;
        self.to.flush()?;
        self.pcm.clear();
        self.chunks += 1;
        Ok(())
    }
}

/// Reads a sealed recording; `pcm` takes its rate and its samples, caller and assistant in turn, as they come.
///
/// # Errors
/// When it is none, the key is another, or it was changed.
pub fn unseal(
    mut from: impl Read,
    key: &RecordingKey,
    mut pcm: impl FnMut(u32, &[i16]) -> Result<(), UnsealError>,
) -> Result<Whole, UnsealError> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head).map_err(|_| UnsealError::NotSealed)?;
    let rate = if head.starts_with(MAGIC_WIDE) { WIDE_RATE } else { RATE };
    let salt = head.strip_prefix(MAGIC).or_else(|| head.strip_prefix(MAGIC_WIDE));
    let salt = salt.and_then(|salt| <&[u8; SALT]>::try_from(salt).ok());
    let key = key.of_file(salt.ok_or(UnsealError::NotSealed)?)?;
    let mut chunk = Vec::new();
    for number in 0.. {
        let mut length = [0; 4];
        if from.read_exact(&mut length).is_err() {
            return if number == 0 { Err(UnsealError::NotSealed) } else { Ok(Whole::CutShort) };
        }
        let length = u32::from_be_bytes(length);
        let (mark, length) = (length & LAST, length & !LAST);
        if length > LONGEST {
            return Err(UnsealError::Refused);
        }
        chunk.clear();
        from.by_ref().take(u64::from(length)).read_to_end(&mut chunk)?;
        if chunk.len() < usize::try_from(length).unwrap_or(usize::MAX) {
            return Ok(Whole::CutShort);
        }
        let opened = key.open_in_place(nonce(mark, number), Aad::from(&head), &mut chunk);
        let opened = opened.map_err(|_| UnsealError::Refused)?;
        let samples: Vec<i16> = opened
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair.first().copied().unwrap_or(0), pair.last().copied().unwrap_or(0)]))
            .collect();
        pcm(rate, &samples)?;
        if mark == LAST {
            break;
        }
    }
    Ok(Whole::Yes)
}

fn nonce(mark: u32, number: u64) -> Nonce {
    let mut nonce = [0; 12];
    let bytes = mark.to_be_bytes().into_iter().chain(number.to_be_bytes());
    for (place, byte) in nonce.iter_mut().zip(bytes) {
        *place = byte;
    }
    Nonce::assume_unique_for_key(nonce)
}

const MAGIC: &[u8] = b"VGREC1\n\0";
const MAGIC_WIDE: &[u8] = b"VGREC2\n\0";
const SALT: usize = 16;
const HEAD: usize = 8 + SALT;
const INFO: &[u8] = b"voice-gateway recording";
const LAST: u32 = 1 << 31;
/// Of a chunk: far beyond the second that is written at a time.
const LONGEST: u32 = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Law;

    fn key(byte: u8) -> RecordingKey {
        RecordingKey([byte; 32])
    }

    /// Three seconds, each of its own level.
    fn sealed() -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = SealedWriter::new(&mut file, RATE, &key(1)).unwrap();
        for second in 1..=3_i16 {
            writer.append(
                Form::Narrow(Law::Mu),
                &[Law::Mu.encode(second * 1000); 8000],
                &[Law::Mu.encode(-second * 1000); 8000],
            );
            writer.checkpoint().unwrap();
        }
        writer.finish().unwrap();
        file
    }

    fn open(file: &[u8], key: &RecordingKey) -> Result<(Vec<i16>, Whole), UnsealError> {
        let mut samples = Vec::new();
        let whole = unseal(file, key, |_, pcm| {
            samples.extend_from_slice(pcm);
            Ok(())
        })?;
        Ok((samples, whole))
    }

    #[test]
    fn the_key_opens_it_and_no_sample_lies_open() {
        let file = sealed();
        let (samples, whole) = open(&file, &key(1)).unwrap();
        assert_eq!((samples.len(), whole), (3 * 16_000, Whole::Yes));
        for second in 0..3_i16 {
            let at = usize::try_from(second).unwrap() * 16_000;
            let level = |sample: i16| (f32::from(sample) / 1000.0).round() as i16;
            assert_eq!((level(samples[at]), level(samples[at + 1])), (second + 1, -second - 1));
        }
        let loud = Law::Mu.decode(Law::Mu.encode(1000)).to_le_bytes();
        assert!(!file.windows(8).any(|window| window.chunks(4).all(|pair| pair[..2] == loud)), "PCM in the open");
        assert_ne!(sealed(), file, "each file has its own salt");
    }

    #[test]
    fn another_key_a_changed_byte_or_moved_chunks_are_refused() {
        let file = sealed();
        assert!(matches!(open(&file, &key(2)), Err(UnsealError::Refused)));
        for at in [8, HEAD, HEAD + 10, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(open(&changed, &key(1)).is_err(), "byte {at}");
        }
        let chunk = 4 + 32_000 + 16;
        let swapped = [&file[..HEAD], &file[HEAD + chunk..HEAD + 2 * chunk], &file[HEAD..HEAD + chunk]].concat();
        assert!(matches!(open(&swapped, &key(1)), Err(UnsealError::Refused)));
        assert!(matches!(open(b"RIFF....", &key(1)), Err(UnsealError::NotSealed)));
        assert!(matches!(open(&[0xff; 100], &key(1)), Err(UnsealError::NotSealed)));
    }

    #[test]
    fn what_a_crash_left_is_read_and_said_to_be_short() {
        let file = sealed();
        for (cut, seconds) in [(file.len() - 1, 3), (HEAD + 4 + 32_016 + 3, 1), (HEAD + 4 + 32_016 + 900, 1)] {
            let (samples, whole) = open(&file[..cut], &key(1)).unwrap();
            assert_eq!((samples.len(), whole), (seconds * 16_000, Whole::CutShort), "{cut}");
        }
    }

    #[test]
    fn a_key_is_32_bytes_of_base64_and_does_not_show() {
        let text = format!(" {}=\n", "A".repeat(43));
        assert_eq!(RecordingKey::parse(&text), Ok(key(0)));
        for wrong in ["", "AAAA", "not base64 at all, but as long as a key would be"] {
            assert!(RecordingKey::parse(wrong).unwrap_err().contains("openssl rand"), "{wrong}");
        }
        assert_eq!(format!("{:?}", key(65)), "RecordingKey(secret)");
    }
}
