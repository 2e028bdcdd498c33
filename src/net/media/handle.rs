//! The call's end of a media session: orders in, events and audio out. Dropping the control closes the session and rests its port.

use crate::base::{PlayId, Recording, Tone, metric};
use crate::call::MediaEvent;
use crate::media::{Negotiated, Settings, Statistics};
use bytes::Bytes;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What is particular to one call.
#[derive(Clone, Debug)]
pub struct MediaOptions {
    /// Where to write the stereo WAV (caller left, assistant right); nothing is recorded without it.
    pub recording: Option<PathBuf>,
    /// Without any RTP for so long: `MediaEvent::Timeout`.
    pub rtp_timeout: Duration,
    /// Length of the chunks for Speech to Text.
    pub speech_chunk: Duration,
    /// Host of the peer's signalling: the likeliest place of a peer whose media address says nothing (NAT).
    pub signalling: Option<IpAddr>,
    /// Whether keys are listened for in the sound itself.
    pub inband_dtmf: bool,
}

impl Default for MediaOptions {
    fn default() -> Self {
        let session = Settings::default();
        Self {
            recording: None,
            rtp_timeout: session.rtp_timeout,
            speech_chunk: session.chunk,
            signalling: None,
            inband_dtmf: session.inband_dtmf,
        }
    }
}

/// A media session as the call sees it.
#[derive(Debug)]
pub struct MediaHandle {
    /// Orders.
    pub control: MediaControl,
    /// What happens. Ends when the session is over.
    pub events: mpsc::Receiver<MediaEvent>,
    /// The caller's audio in the form of the codec agreed first, in real time without gaps, in chunks. Drop it where nobody listens.
    pub audio: mpsc::Receiver<Bytes>,
}

/// Orders to a media session. They take effect at its next slot, at most 20 ms later.
#[derive(Debug)]
pub struct MediaControl {
    commands: mpsc::Sender<Command>,
}

/// An order on its way.
pub(super) enum Command {
    Agree(Negotiated),
    Play { play: PlayId, chunks: mpsc::Receiver<Bytes>, keys_stop: bool },
    Stop,
    Press(Vec<Tone>),
    Record(Recording),
    Statistics(oneshot::Sender<Statistics>),
    Close(oneshot::Sender<Statistics>),
}

/// The worker's ends of a handle's channels.
pub(super) struct Wires {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<MediaEvent>,
    pub(super) audio: mpsc::Sender<Bytes>,
}

impl MediaHandle {
    pub(super) fn new() -> (Self, Wires) {
        let (order, commands) = mpsc::channel(COMMANDS);
        let (tell, events) = mpsc::channel(EVENTS);
        let (say, audio) = mpsc::channel(SHORTEST_CHUNKS);
        let handle = Self { control: MediaControl { commands: order }, events, audio };
        (handle, Wires { commands, events: tell, audio: say })
    }
}

impl MediaControl {
    /// Media is agreed, or agreed anew after a re-INVITE: send and receive by it from now on.
    pub fn agree(&self, negotiated: Negotiated) {
        self.order(Command::Agree(negotiated));
    }

    /// Queues a prompt. Its sound goes into the sender, in the form of the codec agreed now; a full one means wait; dropping it ends the
    /// prompt. A closed one means that the prompt was stopped. With `keys_stop` a key stops it, and those behind it, without an order.
    #[must_use]
    pub fn play(&self, play: PlayId, keys_stop: bool) -> mpsc::Sender<Bytes> {
        let (sound, chunks) = mpsc::channel(CHUNKS);
        self.order(Command::Play { play, chunks, keys_stop });
        sound
    }

    /// Stops the prompt that plays and all that wait.
    pub fn stop(&self) {
        self.order(Command::Stop);
    }

    /// Sends keys one after the other: as telephone-events, or as their tones where the peer has none.
    pub fn press(&self, tones: Vec<Tone>) {
        self.order(Command::Press(tones));
    }

    /// Pauses the recording, or lets it go on.
    pub fn record(&self, recording: Recording) {
        self.order(Command::Record(recording));
    }

    /// Figures up to now; `None` when the session is over.
    pub fn statistics(&self) -> impl Future<Output = Option<Statistics>> + Send + use<> {
        let (tell, told) = oneshot::channel();
        self.order(Command::Statistics(tell));
        async { told.await.ok() }
    }

    /// Closes the session and gives its final figures; `None` when it was over already.
    pub async fn close(self) -> Option<Statistics> {
        let (tell, told) = oneshot::channel();
        self.order(Command::Close(tell));
        drop(self);
        told.await.ok()
    }

    fn order(&self, command: Command) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.commands.try_send(command) {
            metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "media_commands").increment(1);
        }
    }
}

/// A second of audio at the least, in chunks of 20 ms.
const SHORTEST_CHUNKS: usize = 50;
const COMMANDS: usize = 64;
const EVENTS: usize = 64;
const CHUNKS: usize = 32;
