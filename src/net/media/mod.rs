//! The RTP media plane: a few worker threads that own the sockets of all calls and drive one `media::Session` each, on a grid.
//!
//! | queue | size | when full |
//! |---|---|---|
//! | commands of a call | 64 | the command is lost and counted (`media_commands`): the worker is dead or stalled |
//! | events to a call | 64 | the event is lost and counted (`media_events`): the call no longer reads |
//! | audio to Speech to Text | 50 chunks: 1 s of 20 ms, 5 s of 100 ms | the newest chunk is lost and counted (`speech_to_text`) |
//! | bytes of a prompt | 32 chunks | the producer waits |
//! | new sessions of a worker | 256 | `open` fails |
//! | recording | 1024 s of call | the second is lost and counted (`recording`), the file has silence there |

mod control;
mod handle;
mod lateness;
mod leg;
mod recording;
mod scheduling;
mod sealed;
mod worker;

pub use handle::{MediaControl, MediaHandle, MediaOptions};
pub use sealed::{RecordingKey, UnsealError, Whole, unseal};

use super::ports::{PortError, PortPool, ReservedPort};
use crate::media::rtp::Numbering;
use crate::media::{Control, Negotiated, Settings, Silence};
use leg::Opening;
use parking_lot::Mutex;
use recording::{Recorder, Tap};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use thiserror::Error;
use worker::Worker;

/// How the plane is built.
#[derive(Clone, Debug)]
pub struct MediaSettings {
    /// Address that the sockets are bound to.
    pub bind_address: IpAddr,
    /// Ports: RTP even, RTCP odd.
    pub port_range: RangeInclusive<u16>,
    /// How long a used port rests.
    pub port_rest: Duration,
    /// Threads; without it one for each of `worker_cores`, or where none are named a quarter of the cores, at least one.
    pub workers: Option<NonZeroUsize>,
    /// Cores that the threads stay on, one after the other and then from the first again; where none are named the system places them.
    pub worker_cores: Vec<u16>,
    /// Least delay of the jitter buffer (`media.jitter_buffer.min`).
    pub jitter_least: Duration,
    /// Its greatest delay (`media.jitter_buffer.max`).
    pub jitter_longest: Duration,
    /// What is sent while nothing plays (`media.silence`).
    pub silence: Silence,
    /// What recordings are sealed with; without it they are plain WAV.
    pub recording_key: Option<RecordingKey>,
}

impl Default for MediaSettings {
    fn default() -> Self {
        let session = Settings::default();
        Self {
            bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port_range: 20_000..=29_999,
            port_rest: Duration::from_secs(2),
            workers: None,
            worker_cores: Vec::new(),
            jitter_least: session.least,
            jitter_longest: session.longest,
            silence: session.silence,
            recording_key: None,
        }
    }
}

/// Why the plane, or a session on it, could not be started.
#[derive(Debug, Error)]
pub enum MediaPlaneError {
    /// No ports.
    #[error(transparent)]
    Ports(#[from] PortError),
    /// The system gave no thread.
    #[error("thread {name}: {source}")]
    Thread {
        /// Which one.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// A core that this process may not use.
    #[error("media.worker_cores: this process may not run on core {core}: {source}")]
    Core {
        /// Which one.
        core: u16,
        /// What the system said.
        source: nix::Error,
    },
    /// More sessions at once than a worker takes in.
    #[error("media worker overloaded: it does not take in new sessions")]
    Overloaded,
}

/// The plane. Dropping it lets the sessions that live go on; `stop` ends them.
#[derive(Debug)]
pub struct MediaPlane {
    settings: MediaSettings,
    ports: Arc<PortPool>,
    lanes: Vec<Lane>,
    stop: Arc<AtomicBool>,
    recorder: Recorder,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The way to one worker.
#[derive(Debug)]
struct Lane {
    openings: SyncSender<Opening>,
    sessions: Arc<AtomicUsize>,
}

impl MediaPlane {
    /// Checks the address and the ports, and starts the threads.
    ///
    /// # Errors
    /// When the range holds no port, the address or a core is not of this machine, or the system gives no thread.
    pub fn start(settings: MediaSettings) -> Result<Self, MediaPlaneError> {
        let ports = PortPool::new(settings.bind_address, settings.port_range.clone(), settings.port_rest)?;
        settings.worker_cores.iter().try_for_each(|core| scheduling::permitted(*core))?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let (recorder, writing) = Recorder::new(settings.recording_key.clone());
        threads.push(spawn("media-recorder".to_owned(), move || writing.run())?);
        let mut lanes = Vec::new();
        let workers = settings.workers.or(NonZeroUsize::new(settings.worker_cores.len()));
        let mut cores = settings.worker_cores.iter().copied().cycle();
        for n in 0..workers.map_or_else(default_workers, NonZeroUsize::get) {
            let core = cores.next();
            let (openings, incoming) = sync_channel(OPENINGS);
            let sessions = Arc::new(AtomicUsize::new(0));
            let worker = Worker::new(incoming, Arc::clone(&sessions), Arc::clone(&stop));
            let run = move || {
                // Permitted a moment ago; a worker that floats all the same does its work.
                if let Some(Err(error)) = core.map(scheduling::pin) {
                    tracing::warn!(worker = n, "{error}");
                }
                if let (0, Err(error)) = (n, scheduling::hurry()) {
                    tracing::info!("media threads have no priority (allow a niceness of -10, LimitNICE=-10): {error}");
                }
                worker.run();
            };
            threads.push(spawn(format!("media-{n}"), run)?);
            lanes.push(Lane { openings, sessions });
        }
        Ok(Self { settings, ports, lanes, stop, recorder, threads: Mutex::new(threads) })
    }

    /// The address that the sockets are bound to, unless it is unspecified: then each call says where.
    #[must_use]
    pub const fn bind_address(&self) -> IpAddr {
        self.settings.bind_address
    }

    /// A bound pair of ports for a call at `address`, or at the plane's where that is specified; `None` when there is none left:
    /// answer 503 before a 200 is sent. Dropped, it rests.
    #[must_use]
    pub fn reserve_at(&self, address: IpAddr) -> Option<ReservedPort> {
        self.ports.reserve_at(address)
    }

    /// A bound pair of ports at the plane's address.
    #[must_use]
    pub fn reserve(&self) -> Option<ReservedPort> {
        self.ports.reserve()
    }

    /// The port pool.
    #[must_use]
    pub fn ports(&self) -> &Arc<PortPool> {
        &self.ports
    }

    /// Sessions that live.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.lanes.iter().map(|lane| lane.sessions.load(Ordering::Relaxed)).sum()
    }

    /// Starts a session on `port`. Without `negotiated` it waits for [`MediaControl::agree`].
    ///
    /// # Errors
    /// When no worker takes it in.
    pub fn open(
        &self,
        port: ReservedPort,
        options: MediaOptions,
        negotiated: Option<Negotiated>,
    ) -> Result<MediaHandle, MediaPlaneError> {
        let settings = Settings {
            least: self.settings.jitter_least,
            longest: self.settings.jitter_longest,
            silence: self.settings.silence,
            rtp_timeout: options.rtp_timeout,
            chunk: options.speech_chunk,
            signalling: options.signalling,
            record: options.recording.is_some(),
            inband_dtmf: options.inband_dtmf,
        };
        let (handle, wires) = MediaHandle::new();
        let tap = options.recording.map(|path| Tap::new(self.recorder.clone(), path));
        // Far from the first rollover, about which a peer of SRTP could be wrong (RFC 3711 section 3.3.1).
        let numbering = Numbering::new(fastrand::u32(..), fastrand::u16(..1 << 15), fastrand::u32(..));
        let control = Control::new(fastrand::u128(..));
        let opening = Opening { port, settings, numbering, control, negotiated, wires, tap };
        let lane = self
            .lanes
            .iter()
            .min_by_key(|lane| lane.sessions.load(Ordering::Relaxed))
            .ok_or(MediaPlaneError::Overloaded)?;
        lane.sessions.fetch_add(1, Ordering::Relaxed);
        lane.openings.try_send(opening).map_err(|_| {
            lane.sessions.fetch_sub(1, Ordering::Relaxed);
            MediaPlaneError::Overloaded
        })?;
        Ok(handle)
    }

    /// Ends all sessions and threads, and the files of the recordings. Blocks for up to a quarter of a second and for the disk:
    /// not for an async task.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut threads = std::mem::take(&mut *self.threads.lock());
        // The recorder was started first and ends last: what the workers hand over at their end is still written.
        let recorder = (!threads.is_empty()).then(|| threads.remove(0));
        threads.into_iter().for_each(join);
        if let Some(recorder) = recorder {
            self.recorder.end();
            join(recorder);
        }
    }
}

fn join(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    if thread.join().is_err() {
        tracing::error!(thread = name, "media thread had panicked");
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, MediaPlaneError> {
    thread::Builder::new().name(name.clone()).spawn(run).map_err(|source| MediaPlaneError::Thread { name, source })
}

fn default_workers() -> usize {
    thread::available_parallelism().map_or(1, |cores| (cores.get() / 4).max(1))
}

const OPENINGS: usize = 256;
