//! Speech to Text over WebSocket (Watson facts 2.2): one stream per call, opened at answer and kept, opened again when it drops.

mod feed;
mod line;
mod outage;
mod replay;
mod stream;
pub mod wire;

pub use stream::end_of_phrase_silence;

use super::Coding;
use super::iam::{Token, Tokens};
use super::settings::ServiceSettings;
use super::transport::{Refused, Socket, Transport, host_of, note, socket_url};
use crate::base::{Fault, FaultKind, Service};
use crate::call::SpeechEvent;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use url::Url;

/// Settings of `[speech_to_text]`.
#[derive(Clone, Debug)]
pub struct SpeechToTextSettings {
    /// Where and how to sign in.
    pub service: ServiceSettings,
    /// `model` of the query.
    pub model: String,
    /// `[speech_to_text.recognize]`: further parameters.
    pub recognize: Map<String, Value>,
    /// Times.
    pub pace: StreamPace,
}

/// Times of a stream. The defaults are for production; tests shorten them.
#[derive(Clone, Debug)]
pub struct StreamPace {
    /// One handshake may take so long.
    pub open: Duration,
    /// `listening` must come so soon after start.
    pub listening: Duration,
    /// An outage may last so long before recognition is lost for the call.
    pub outage: Duration,
    /// Without audio for so long, silence is sent in its place, in real time.
    pub hush: Duration,
    /// A ping is sent after so long without a message; twice as long without one, and the socket is dead.
    pub ping: Duration,
    /// After the end of the audio, the remaining results may take so long.
    pub farewell: Duration,
    /// A socket that listened so long without trouble counts as recovered.
    pub steady: Duration,
    /// Audio kept for a replay while nothing is heard.
    pub keep_quiet: Duration,
    /// Audio kept for a replay while an utterance is open.
    pub keep_open: Duration,
}

impl Default for StreamPace {
    fn default() -> Self {
        Self {
            open: Duration::from_secs(5),
            listening: Duration::from_secs(5),
            outage: Duration::from_secs(10),
            hush: Duration::from_millis(200),
            ping: Duration::from_secs(4),
            farewell: Duration::from_secs(2),
            steady: Duration::from_secs(5),
            keep_quiet: Duration::from_secs(10),
            keep_open: Duration::from_secs(30),
        }
    }
}

/// What one call asks for.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// The coding of the audio that will be fed.
    pub coding: Coding,
    /// Parameters of this call over those of the settings (`speech_to_text` `configure` commands); usually empty.
    pub recognize: Map<String, Value>,
}

/// A stream to be driven by its call.
pub struct SpeechStream {
    /// Does all the work; ends when the audio ends, when nobody receives the events, or after `Failed`.
    pub driver: BoxFuture<'static, ()>,
    /// What was heard. Bounded: interim results are dropped and counted when it is full, everything else waits.
    pub events: mpsc::Receiver<SpeechEvent>,
    /// Replaces what the caller says by silence.
    pub pause: Pause,
}

/// A switch that keeps the caller's voice from the recogniser while the session goes on. Clones are the same switch.
#[derive(Clone, Debug, Default)]
pub struct Pause(Arc<AtomicBool>);

impl Pause {
    /// Pauses or resumes.
    pub fn set(&self, paused: bool) {
        self.0.store(paused, Ordering::Relaxed);
    }

    /// Whether it is paused.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct SpeechToText {
    shared: Arc<Shared>,
}

struct Shared {
    settings: SpeechToTextSettings,
    host: String,
    tokens: Tokens,
    transport: Transport,
}

impl SpeechToText {
    pub(super) fn new(settings: SpeechToTextSettings, tokens: Tokens, transport: Transport) -> Self {
        let host = host_of(&settings.service.url);
        Self { shared: Arc::new(Shared { settings, host, tokens, transport }) }
    }

    /// A stream fed by `audio`: raw samples in the coding of the options, in chunks (100 ms is a good size: each becomes one
    /// message). Chunks are kept for a replay, so they should own no more memory than they show. Nothing happens before
    /// the driver is polled.
    #[must_use]
    pub fn stream(&self, options: StreamOptions, audio: mpsc::Receiver<Bytes>) -> SpeechStream {
        let (sender, events) = mpsc::channel(EVENTS);
        let pause = Pause::default();
        let driver = stream::Driver::new(self.clone(), options, audio, sender, pause.clone());
        SpeechStream { driver: Box::pin(driver.run()), events, pause }
    }

    /// For `check`: opens a session, sends a moment of silence, waits until it listens, stops. Says what was seen.
    pub async fn probe(&self) -> Result<String, Fault> {
        let (feed, audio) = mpsc::channel(1);
        let options = StreamOptions { coding: Coding::Mulaw, recognize: Map::new() };
        let SpeechStream { driver, mut events, .. } = self.stream(options, audio);
        let watch = async move {
            let mut feed = Some(feed);
            while let Some(event) = events.recv().await {
                match event {
                    // Ending the audio ends the session, and with it the events.
                    SpeechEvent::Listening => feed = None,
                    SpeechEvent::Failed(fault) | SpeechEvent::Reconnecting(fault) => return Err(fault),
                    _ => {}
                }
            }
            Ok(feed.is_none())
        };
        match tokio::join!(watch, driver).0? {
            true => Ok(format!("{} listens with model {}", self.shared.host, self.shared.settings.model)),
            false => Err(self.fault(FaultKind::Closed, "the stream ended before it listened")),
        }
    }

    /// Opens the socket, with a second try under a new token where the first was refused.
    async fn connect(&self, url: &Url) -> Result<Socket, Refused> {
        let token = self.shared.tokens.token().await?;
        match self.open(url, &token).await {
            Err(refused) if refused.fault.kind == FaultKind::Auth => {
                note(&refused.fault);
                let token = self.shared.tokens.renewed(&token).await?;
                self.open(url, &token).await
            }
            outcome => outcome,
        }
    }

    async fn open(&self, url: &Url, token: &Token) -> Result<Socket, Refused> {
        self.shared.transport.open(Service::SpeechToText, url, token, self.shared.settings.pace.open).await
    }

    fn url(&self) -> Url {
        socket_url(&self.shared.settings.service.url, &["v1", "recognize"])
    }

    fn fault(&self, kind: FaultKind, what: impl std::fmt::Display) -> Fault {
        Fault::new(Service::SpeechToText, kind, format!("{}: {what}", self.shared.host))
    }
}

/// Events that wait for the call. A call that is this far behind has other troubles.
const EVENTS: usize = 32;
