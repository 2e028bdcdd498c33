//! The engine of one session: called in place when it is cheap, on a thread of its own when it decodes.

use crate::sandbox::engine::{Cost, Heard, Recognition, RecognitionOptions, RecognitionSession};
use axum::body::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// The engine's side of a session.
pub(super) enum Recogniser {
    /// No stream is open.
    None,
    /// Cheap.
    Inline(Box<dyn RecognitionSession>),
    /// On its own thread.
    Threaded(Threaded),
}

/// Queues to and from the thread. To it: 64 messages; when full they wait in `waiting` and the socket is not read, so that
/// TCP slows the client, as it does before the real service.
pub(super) struct Threaded {
    jobs: mpsc::Sender<Job>,
    waiting: VecDeque<Job>,
    told: mpsc::Receiver<Told>,
}

/// What the engine tells the session.
pub(super) enum Told {
    /// Something was heard.
    Heard(Heard),
    /// All was told after the end of the stream, or the engine died.
    Finished,
}

/// What came of waiting for the engine.
pub(super) enum Progress {
    /// It tells.
    Told(Told),
    /// It took what was waiting.
    Taken,
}

enum Job {
    Audio(Bytes),
    Finish,
}

impl Recogniser {
    /// Opens a stream.
    pub(super) fn open(engine: &Arc<dyn Recognition>, options: RecognitionOptions, tracker: &TaskTracker) -> Self {
        if engine.cost() == Cost::Inline {
            return Self::Inline(engine.open(&options));
        }
        let (jobs, jobs_in) = mpsc::channel(QUEUE);
        let (told_out, told) = mpsc::channel(QUEUE);
        let engine = Arc::clone(engine);
        tracker.spawn_blocking(move || decode(&*engine, &options, jobs_in, &told_out));
        Self::Threaded(Threaded { jobs, waiting: VecDeque::new(), told })
    }

    /// Whether more audio may be taken from the socket.
    pub(super) fn has_room(&self) -> bool {
        !matches!(self, Self::Threaded(threaded) if !threaded.waiting.is_empty())
    }

    /// Gives audio; a cheap engine answers at once.
    pub(super) fn audio(&mut self, bytes: Bytes) -> Vec<Told> {
        match self {
            Self::None => Vec::new(),
            Self::Inline(session) => session.audio(&bytes).into_iter().map(Told::Heard).collect(),
            Self::Threaded(threaded) => threaded.give(Job::Audio(bytes)),
        }
    }

    /// Ends the stream.
    pub(super) fn finish(&mut self) -> Vec<Told> {
        match self {
            Self::None => vec![Told::Finished],
            Self::Inline(session) => {
                let told = session.finish().into_iter().map(Told::Heard).chain([Told::Finished]).collect();
                *self = Self::None;
                told
            }
            Self::Threaded(threaded) => threaded.give(Job::Finish),
        }
    }

    /// Waits until the engine's thread tells something or takes what waits. Safe to cancel.
    pub(super) async fn progress(&mut self) -> Progress {
        let Self::Threaded(threaded) = self else { return std::future::pending().await };
        tokio::select! {
            told = threaded.told.recv() => Progress::Told(told.unwrap_or(Told::Finished)),
            permit = threaded.jobs.reserve(), if !threaded.waiting.is_empty() => {
                if let (Ok(permit), Some(job)) = (permit, threaded.waiting.pop_front()) {
                    permit.send(job);
                }
                Progress::Taken
            }
        }
    }
}

impl Threaded {
    fn give(&mut self, job: Job) -> Vec<Told> {
        if !self.waiting.is_empty() {
            self.waiting.push_back(job);
            return Vec::new();
        }
        match self.jobs.try_send(job) {
            Ok(()) => Vec::new(),
            Err(mpsc::error::TrySendError::Full(job)) => {
                self.waiting.push_back(job);
                Vec::new()
            }
            Err(mpsc::error::TrySendError::Closed(_)) => vec![Told::Finished],
        }
    }
}

/// The thread: takes all that waits as one piece, so that a decoder that fell behind catches up.
fn decode(
    engine: &dyn Recognition,
    options: &RecognitionOptions,
    mut jobs: mpsc::Receiver<Job>,
    told: &mpsc::Sender<Told>,
) {
    let mut session = engine.open(options);
    while let Some(first) = jobs.blocking_recv() {
        let mut piece = Vec::new();
        let mut finish = false;
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Job::Audio(bytes) => piece.extend_from_slice(&bytes),
                Job::Finish => finish = true,
            }
            if !finish {
                next = jobs.try_recv().ok();
            }
        }
        let mut heard = if piece.is_empty() { Vec::new() } else { session.audio(&piece) };
        if finish {
            heard.extend(session.finish());
        }
        for item in heard {
            if told.blocking_send(Told::Heard(item)).is_err() {
                return;
            }
        }
        if finish {
            let _ = told.blocking_send(Told::Finished);
            return;
        }
    }
}

const QUEUE: usize = 64;
