//! The thread that writes all recordings: a file for each call, every second in its place, and each file ended once.

use super::super::sealed::{RecordingKey, SealedWriter};
use super::{Message, Second};
use crate::audio::wav::{StereoWriter, WavError};
use crate::audio::{FRAME, Form};
use crate::base::{clock, metric};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The thread's own.
pub(in super::super) struct Writing {
    pub(super) queue: Receiver<Message>,
    key: Option<RecordingKey>,
    files: HashMap<Arc<Path>, Option<Open>>,
    touched: HashMap<Arc<Path>, Instant>,
}

struct Open {
    sink: Sink,
    /// Bytes of a side.
    written: usize,
}

/// How a file is written.
enum Sink {
    Plain(StereoWriter<BufWriter<File>>),
    Sealed(Box<SealedWriter<BufWriter<File>>>),
}

impl Writing {
    pub(super) fn new(queue: Receiver<Message>, key: Option<RecordingKey>) -> Self {
        Self { queue, key, files: HashMap::new(), touched: HashMap::new() }
    }

    /// Writes until it is told to end, or the last recorder is gone.
    pub(in super::super) fn run(mut self) {
        loop {
            match self.queue.recv_timeout(ABANDONED) {
                Ok(Message::Second(second)) => self.write(second),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => break,
            }
            self.finish_abandoned();
        }
        for (path, file) in self.files {
            finish(&path, file);
        }
    }

    fn write(&mut self, second: Second) {
        let Second { path, last, .. } = &second;
        self.touched.insert(Arc::clone(path), clock::now().at);
        let file = self.files.entry(Arc::clone(path)).or_insert_with(|| open(path, second.form, self.key.as_ref()));
        if let Some(open) = file
            && let Err(error) = open.append(&second)
        {
            failed(path, &error, "recording stops here");
            *file = None;
        }
        if *last {
            self.touched.remove(path);
            if let Some((path, file)) = self.files.remove_entry(path) {
                finish(&path, file);
            }
        }
    }

    /// A call hands over something every second; where the last hand-over was lost, its file ends by itself.
    fn finish_abandoned(&mut self) {
        let now = clock::now().at;
        let files = &mut self.files;
        self.touched.retain(|path, last| {
            let alive = now.saturating_duration_since(*last) < ABANDONED;
            if !alive && let Some(file) = files.remove(path) {
                finish(path, file);
            }
            alive
        });
    }
}

impl Open {
    fn append(&mut self, second: &Second) -> Result<(), WavError> {
        let silence = match second.form {
            Form::Narrow(law) => [law.silence(); FRAME],
            Form::Wide => [0; FRAME],
        };
        // Seconds that were lost on the way stay silent, so that what follows is in its place.
        while self.written < second.at {
            self.sink.append(second.form, &silence, &silence)?;
            self.written += silence.len();
        }
        self.sink.append(second.form, &second.caller, &second.assistant)?;
        self.written += second.caller.len();
        self.sink.checkpoint()
    }
}

impl Sink {
    fn append(&mut self, form: Form, caller: &[u8], assistant: &[u8]) -> Result<(), WavError> {
        match self {
            Self::Plain(writer) => writer.append(form, caller, assistant)?,
            Self::Sealed(writer) => writer.append(form, caller, assistant),
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), WavError> {
        match self {
            Self::Plain(writer) => writer.checkpoint(),
            Self::Sealed(writer) => writer.checkpoint().map_err(disk),
        }
    }

    fn finish(self) -> Result<(), WavError> {
        match self {
            Self::Plain(writer) => writer.finish(),
            Self::Sealed(writer) => writer.finish().map_err(disk),
        }
    }
}

fn disk(error: std::io::Error) -> WavError {
    WavError::File(error.into())
}

fn open(path: &Path, form: Form, key: Option<&RecordingKey>) -> Option<Open> {
    match create(path, form.rate(), key) {
        Ok(sink) => Some(Open { sink, written: 0 }),
        Err(error) => {
            failed(path, &error, "no recording of this call");
            None
        }
    }
}

fn failed(path: &Path, error: &WavError, what: &str) {
    metrics::counter!(metric::RECORDINGS_TOTAL, "outcome" => "failed").increment(1);
    tracing::warn!(event = "recording_failed", path = %path.display(), %error, "{what}");
}

/// A new file that only its owner reads.
fn create(path: &Path, rate: u32, key: Option<&RecordingKey>) -> Result<Sink, WavError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = (|| {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
    })();
    let file = BufWriter::new(made.map_err(disk)?);
    Ok(match key {
        None => Sink::Plain(StereoWriter::new(file, rate)?),
        Some(key) => Sink::Sealed(Box::new(SealedWriter::new(file, rate, key).map_err(disk)?)),
    })
}

fn finish(path: &Path, file: Option<Open>) {
    let Some(open) = file else { return };
    match open.sink.finish() {
        Ok(()) => metrics::counter!(metric::RECORDINGS_TOTAL, "outcome" => "complete").increment(1),
        Err(error) => failed(path, &error, "recording cut short"),
    }
}

const ABANDONED: Duration = Duration::from_secs(10);
