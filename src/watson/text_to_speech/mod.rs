//! Text to Speech (Watson facts 2.3): each frame is passed on as it comes; WebSocket by default, HTTP where it cannot be opened.

mod attempt;
mod spare;
mod text;
pub mod wire;

use super::Coding;
use super::iam::{Token, Tokens};
use super::settings::ServiceSettings;
use super::transport::{Transport as Connections, host_of, note, note_own};
use crate::base::{Fault, FaultKind, Service, clock};
use attempt::{Failure, Line, Way};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Settings of `[text_to_speech]`.
#[derive(Clone, Debug)]
pub struct TextToSpeechSettings {
    /// Where and how to sign in.
    pub service: ServiceSettings,
    /// `voice` of the query.
    pub voice: String,
    /// `[text_to_speech.synthesize]`: further parameters.
    pub synthesize: Map<String, Value>,
    /// Which protocol.
    pub transport: Transport,
    /// Times.
    pub pace: SpeakPace,
}

/// `text_to_speech.transport`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A WebSocket per request, HTTP where its handshake is refused.
    #[default]
    Websocket,
    /// Streamed HTTP on pooled connections.
    Http,
}

/// Times of a request.
#[derive(Clone, Debug)]
pub struct SpeakPace {
    /// One handshake may take so long.
    pub open: Duration,
    /// From the request to the first audio.
    pub first_audio: Duration,
    /// Between two pieces of audio.
    pub between: Duration,
}

impl Default for SpeakPace {
    fn default() -> Self {
        let five = Duration::from_secs(5);
        Self { open: five, first_audio: five, between: five }
    }
}

/// How a request to speak ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// All audio was passed on: so many bytes. Zero for text without a letter.
    Complete(u64),
    /// The receiver of the audio went away (barge-in): the connection is closed.
    Cancelled,
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct TextToSpeech {
    shared: Arc<Shared>,
}

struct Shared {
    settings: TextToSpeechSettings,
    host: String,
    tokens: Tokens,
    connections: Connections,
    /// Handshakes were refused: HTTP until then.
    http_until: Mutex<Option<Instant>>,
    spares: spare::Spares,
}

impl TextToSpeech {
    pub(super) fn new(settings: TextToSpeechSettings, tokens: Tokens, connections: Connections) -> Self {
        let host = host_of(&settings.service.url);
        let (http_until, spares) = (Mutex::new(None), spare::Spares::default());
        Self { shared: Arc::new(Shared { settings, host, tokens, connections, http_until, spares }) }
    }

    /// Speaks `text` (plain or SSML) in `coding` into `chunks`, waiting while it is full. `started` is called at the first
    /// audio. Dropping the receiver of `chunks` ends it at once. A failure is retried once, unless audio was passed on
    /// already; what was passed on before a failure may still be played.
    pub async fn speak(
        &self,
        text: &str,
        coding: Coding,
        chunks: mpsc::Sender<Bytes>,
        started: impl FnOnce() + Send,
    ) -> Result<Spoken, Fault> {
        self.speak_with(&Map::new(), text, coding, chunks, started).await
    }

    /// The same with parameters over those of the settings (`text_to_speech` `configure` commands).
    pub async fn speak_with(
        &self,
        synthesize: &Map<String, Value>,
        text: &str,
        coding: Coding,
        chunks: mpsc::Sender<Bytes>,
        started: impl FnOnce() + Send,
    ) -> Result<Spoken, Fault> {
        let mut parameters = self.shared.settings.synthesize.clone();
        parameters.extend(synthesize.clone());
        let speech = async {
            let chunk = coding.bytes_per_second() as usize / 2;
            let mut delivery = Delivery { chunks: &chunks, chunk, started: Some(started), bytes: 0 };
            for piece in text::pieces(text) {
                self.piece(&Request { text: &piece, coding, parameters: &parameters }, &mut delivery).await?;
            }
            Ok(Spoken::Complete(delivery.bytes))
        };
        tokio::select! {
            biased;
            outcome = speech => match outcome {
                Err(Failure::Cancelled) => Ok(Spoken::Cancelled),
                Err(Failure::Fault(fault)) => Err(fault),
                Ok(spoken) => Ok(spoken),
            },
            // Dropping the speech drops its socket: the protocol has no other way to stop.
            () = chunks.closed() => Ok(Spoken::Cancelled),
        }
    }

    /// Opens a socket ahead of a request that will come within seconds: call it when the assistant is asked. A failure is
    /// not told, since the request itself will meet it. Does nothing where HTTP is used.
    pub async fn prepare(&self) {
        if self.way() == Way::Http {
            return;
        }
        let Ok(token) = self.shared.tokens.token().await else { return };
        let url = self.socket_url(&self.shared.settings.synthesize);
        let limit = self.shared.settings.pace.open;
        if let Ok(socket) = self.shared.connections.open(Service::TextToSpeech, &url, &token, limit).await {
            self.shared.spares.put(url.as_str(), socket, clock::now().at);
        }
    }

    /// For `check`: has one word synthesised. Says what was seen.
    pub async fn probe(&self) -> Result<String, Fault> {
        let (chunks, mut audio) = mpsc::channel::<Bytes>(4);
        let drain = async { while audio.recv().await.is_some() {} };
        let (spoken, ()) = tokio::join!(self.speak("test", Coding::Mulaw, chunks, || {}), drain);
        let bytes = match spoken? {
            Spoken::Complete(bytes) => bytes,
            Spoken::Cancelled => 0,
        };
        let Shared { settings, host, .. } = &*self.shared;
        Ok(format!("{host} speaks with voice {}: {} ms of audio", settings.voice, bytes / 8))
    }

    async fn piece<F: FnOnce() + Send>(
        &self,
        request: &Request<'_>,
        delivery: &mut Delivery<'_, F>,
    ) -> Result<(), Failure> {
        let before = delivery.bytes;
        let mut retried = false;
        loop {
            let line = if retried { Line::Fresh } else { Line::Prepared };
            match self.signed_in(request, line, delivery).await {
                Err(Failure::Fault(fault)) => {
                    note_own(&fault);
                    if retried || delivery.bytes > before || !worth_retrying(&fault) {
                        return Err(Failure::Fault(fault));
                    }
                    retried = true;
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// One attempt, with a second one under a new token where the first was refused.
    async fn signed_in<F: FnOnce() + Send>(
        &self,
        request: &Request<'_>,
        line: Line,
        delivery: &mut Delivery<'_, F>,
    ) -> Result<(), Failure> {
        let token = self.shared.tokens.token().await?;
        match self.attempt(request, line, &token, delivery).await {
            Err(Failure::Fault(fault)) if fault.kind == FaultKind::Auth => {
                note(&fault);
                let token = self.shared.tokens.renewed(&token).await?;
                self.attempt(request, Line::Fresh, &token, delivery).await
            }
            outcome => outcome,
        }
    }

    async fn attempt<F: FnOnce() + Send>(
        &self,
        request: &Request<'_>,
        line: Line,
        token: &Token,
        delivery: &mut Delivery<'_, F>,
    ) -> Result<(), Failure> {
        if self.way() == Way::Socket {
            match self.by_socket(request, line, token, delivery).await {
                Err(attempt::SocketFailure::NotPossible(fault)) => {
                    note(&fault);
                    *self.shared.http_until.lock() = Some(clock::now().at + HTTP_AFTER_REFUSAL);
                }
                Err(attempt::SocketFailure::Failed(failure)) => return Err(failure),
                Ok(()) => return Ok(()),
            }
        }
        self.by_http(request, token, delivery).await
    }

    fn way(&self) -> Way {
        let refused = self.shared.http_until.lock().is_some_and(|until| clock::now().at < until);
        if refused || self.shared.settings.transport == Transport::Http { Way::Http } else { Way::Socket }
    }

    fn fault(&self, kind: FaultKind, what: impl std::fmt::Display) -> Fault {
        Fault::new(Service::TextToSpeech, kind, format!("{}: {what}", self.shared.host))
    }
}

/// One request: text that fits, as it is sent.
struct Request<'a> {
    text: &'a str,
    coding: Coding,
    parameters: &'a Map<String, Value>,
}

/// Where the audio goes.
struct Delivery<'a, F> {
    chunks: &'a mpsc::Sender<Bytes>,
    /// Bytes of half a second of sound.
    chunk: usize,
    started: Option<F>,
    bytes: u64,
}

impl<F: FnOnce() + Send> Delivery<'_, F> {
    /// Passes a frame on in parts of half a second, so that a full queue holds seconds of sound and not whatever a service sends.
    async fn pass(&mut self, mut frame: Bytes) -> Result<(), Failure> {
        while !frame.is_empty() {
            if let Some(started) = self.started.take() {
                started();
            }
            let part = frame.split_to(frame.len().min(self.chunk));
            self.bytes += part.len() as u64;
            self.chunks.send(part).await.map_err(|_| Failure::Cancelled)?;
        }
        Ok(())
    }
}

/// What a second try may mend. A refused token had its second try already.
fn worth_retrying(fault: &Fault) -> bool {
    !matches!((fault.service, fault.kind), (Service::Iam, _) | (_, FaultKind::Auth | FaultKind::Protocol))
}

const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long HTTP is used after a refused handshake, before WebSockets get another chance.
const HTTP_AFTER_REFUSAL: Duration = Duration::from_secs(60);
