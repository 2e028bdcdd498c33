//! `decrypt`: a sealed recording as a WAV file.

use super::terminal::{complain, say};
use super::{ConfigFile, Exit};
use crate::audio::wav::StereoWriter;
use crate::config::Config;
use crate::net::media::{RecordingKey, UnsealError, Whole, unseal};
use secrecy::ExposeSecret as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};

/// `decrypt`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Decrypt {
    #[command(flatten)]
    file: ConfigFile,
    /// The sealed recording
    recording: PathBuf,
    /// The WAV file to write; must not exist
    wav: PathBuf,
}

pub(super) fn run(decrypt: &Decrypt) -> Exit {
    let config = match Config::load(Some(&decrypt.file.path), std::env::vars()) {
        Ok(config) => config,
        Err(problems) => {
            complain(&format!("{} cannot be used:\n{problems}", decrypt.file.path.display()));
            return Exit::BadConfiguration;
        }
    };
    let key = config.media.recording_key.as_ref().and_then(|key| RecordingKey::parse(key.expose_secret()).ok());
    let Some(key) = key else {
        complain("media.recording_key: missing: the key that the recording was sealed with");
        return Exit::BadConfiguration;
    };
    match open(&decrypt.recording, &decrypt.wav, &key) {
        Ok(Whole::Yes) => Exit::Done,
        Ok(Whole::CutShort) => {
            say("the recording was cut short; what there is of it was written");
            Exit::Done
        }
        Err(error) => {
            complain(&format!("{}: {error}", decrypt.recording.display()));
            Exit::Failed
        }
    }
}

fn open(recording: &Path, wav: &Path, key: &RecordingKey) -> Result<Whole, UnsealError> {
    let from = BufReader::new(File::open(recording)?);
    let to =
        File::create_new(wav).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", wav.display())))?;
    let failed = |error| UnsealError::File(io::Error::other(error));
    // Of which rate it is, its first second says.
    let (mut to, mut writer) = (Some(BufWriter::new(to)), None);
    let whole = unseal(from, key, |rate, pcm| {
        if let Some(to) = to.take() {
            writer = Some(StereoWriter::new(to, rate).map_err(failed)?);
        }
        writer.as_mut().map_or(Ok(()), |writer| writer.append_pcm(pcm)).map_err(failed)
    })?;
    writer.map_or(Ok(()), StereoWriter::finish).map_err(failed)?;
    Ok(whole)
}
