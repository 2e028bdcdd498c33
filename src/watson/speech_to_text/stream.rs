//! The driver of one stream: audio in, events out, the socket opened again when it drops, silence where audio is missing.

use super::super::transport::{clip, note, note_own, passing, socket_fault};
use super::feed::{self, Feed};
use super::line::Line;
use super::outage::Outage;
use super::replay::{Limits, Replay, bytes_in};
use super::wire::{self, Incoming, Item, ServiceError};
use super::{Pause, SpeechToText, StreamOptions};
use crate::base::{Fault, FaultKind, Service, clock, metric};
use crate::call::SpeechEvent;
use bytes::Bytes;
use std::future::poll_fn;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame, protocol::frame::coding::CloseCode};
use url::Url;

/// One stream from answer to hang-up.
pub(super) struct Driver {
    client: SpeechToText,
    url: Url,
    start: String,
    feed: Feed,
    events: mpsc::Sender<SpeechEvent>,
    outage: Outage,
    /// The call knows that recognition is interrupted.
    interrupted: bool,
    /// Sockets that were opened.
    opened: u32,
    /// Errors in a row that came before the service listened.
    refusals: u32,
}

/// How one socket ended.
enum End {
    /// The call is over.
    Done,
    /// Worth another socket.
    Lost(Fault),
    /// Another socket would meet the same.
    Hopeless(Fault),
}

/// The state of one socket.
struct Session {
    opened: Instant,
    heard: Instant,
    pinged: bool,
    /// The service listens, since then.
    listening: Option<Instant>,
    garbage: u32,
    /// The audio has ended, at that time.
    stopped: Option<Instant>,
}

impl Driver {
    pub(super) fn new(
        client: SpeechToText,
        options: StreamOptions,
        audio: mpsc::Receiver<Bytes>,
        events: mpsc::Sender<SpeechEvent>,
        pause: Pause,
    ) -> Self {
        let settings = &client.shared.settings;
        let mut recognize = settings.recognize.clone();
        recognize.extend(options.recognize);
        let (url, start) = wire::open(client.url(), &settings.model, &recognize, options.coding);
        let (pace, rate) = (&settings.pace, options.coding.bytes_per_second());
        let bytes = |time: Duration| bytes_in(rate, time.as_secs_f64());
        let limits = Limits { quiet: bytes(pace.keep_quiet), open: bytes(pace.keep_open) };
        let feed = Feed {
            audio,
            replay: Replay::new(rate, limits, overlap(&recognize)),
            pause,
            silence: feed::silence(options.coding),
            hush: pace.hush,
            filled_to: clock::now().at,
        };
        Self { client, url, start, feed, events, outage: Outage::default(), interrupted: false, opened: 0, refusals: 0 }
    }

    pub(super) async fn run(mut self) {
        self.feed.filled_to = clock::now().at;
        loop {
            let fault = match self.session().await {
                End::Done => return,
                End::Hopeless(fault) => {
                    note_own(&fault);
                    return self.tell(SpeechEvent::Failed(fault)).await;
                }
                End::Lost(fault) => fault,
            };
            note_own(&fault);
            let Some(pause) = self.outage.failed(clock::now().at, self.client.shared.settings.pace.outage) else {
                return self.tell(SpeechEvent::Failed(fault)).await;
            };
            if !self.interrupted {
                self.interrupted = true;
                self.tell(SpeechEvent::Reconnecting(fault)).await;
            }
            // All calls of a service that restarts come back at once otherwise.
            let pause = pause.mul_f64(0.75 + fastrand::f64() * 0.5);
            if self.feed.meanwhile(&self.events, sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// One socket, from handshake to its end.
    async fn session(&mut self) -> End {
        let client = self.client.clone();
        let connect = Box::pin(client.connect(&self.url));
        let socket = match self.feed.meanwhile(&self.events, connect).await {
            None => return End::Done,
            Some(Ok(socket)) => socket,
            Some(Err(refused)) => {
                let lasting = refused.fault.kind == FaultKind::Auth
                    || refused.status.is_some_and(|status| (400..500).contains(&status) && !passing(status));
                return if lasting { End::Hopeless(refused.fault) } else { End::Lost(refused.fault) };
            }
        };
        if self.opened > 0 {
            metrics::counter!(metric::STT_RECONNECTS_TOTAL).increment(1);
        }
        self.opened += 1;
        self.feed.replay.rewind();
        let mut line = Line::new(socket, self.start.clone());
        let now = clock::now().at;
        let mut session =
            Session { opened: now, heard: now, pinged: false, listening: None, garbage: 0, stopped: None };
        let end = self.converse(&mut line, &mut session).await;
        if matches!(end, End::Done) {
            farewell(&mut line).await;
        }
        // What was last heard counts, not the end: a peer that fell silent is left long after it was any good.
        let listened = session.listening.map(|since| session.heard.saturating_duration_since(since));
        if listened.is_some_and(|listened| listened >= self.client.shared.settings.pace.steady) {
            self.outage.over();
        }
        end
    }

    async fn converse(&mut self, line: &mut Line, session: &mut Session) -> End {
        let mut timer = pin!(sleep_until(self.next_tick(session).into()));
        loop {
            let feed = &mut self.feed;
            tokio::select! {
                biased;
                message = poll_fn(|cx| line.poll(cx, &mut feed.replay)) => {
                    let message = match message {
                        None if session.stopped.is_some() => return End::Done,
                        None => return End::Lost(self.client.fault(FaultKind::Closed, "the socket ended")),
                        Some(Err(_)) if session.stopped.is_some() => return End::Done,
                        Some(Err(error)) => {
                            return End::Lost(socket_fault(Service::SpeechToText, &self.client.shared.host, &error));
                        }
                        Some(Ok(message)) => message,
                    };
                    session.heard = clock::now().at;
                    session.pinged = false;
                    if let Some(end) = self.received(message, session).await {
                        return end;
                    }
                }
                chunk = feed.audio.recv(), if session.stopped.is_none() => match chunk {
                    Some(chunk) => feed.take(chunk),
                    None => {
                        session.stopped = Some(clock::now().at);
                        line.last(Message::text(wire::STOP));
                    }
                },
                () = self.events.closed() => return End::Done,
                () = timer.as_mut() => {
                    if let Some(end) = self.tick(line, session) {
                        return end;
                    }
                    timer.as_mut().reset(self.next_tick(session).into());
                }
            }
        }
    }

    /// Timers, checked against the clock: silence, life of the socket, deadlines.
    fn tick(&mut self, line: &mut Line, session: &mut Session) -> Option<End> {
        let now = clock::now().at;
        let pace = &self.client.shared.settings.pace;
        if let Some(stopped) = session.stopped {
            return (now >= stopped + pace.farewell).then_some(End::Done);
        }
        self.feed.fill(now);
        if session.listening.is_none() && now >= session.opened + pace.listening {
            let detail = format!("not listening within {:?}", pace.listening);
            return Some(End::Lost(self.client.fault(FaultKind::Timeout, detail)));
        }
        if now >= session.heard + 2 * pace.ping {
            let detail = format!("no sign of life for {:?}", 2 * pace.ping);
            return Some(End::Lost(self.client.fault(FaultKind::Timeout, detail)));
        }
        if !session.pinged && now >= session.heard + pace.ping {
            session.pinged = true;
            line.soon(Message::Ping(Bytes::new()));
        }
        None
    }

    fn next_tick(&self, session: &Session) -> Instant {
        let pace = &self.client.shared.settings.pace;
        if let Some(stopped) = session.stopped {
            return stopped + pace.farewell;
        }
        let life = session.heard + if session.pinged { 2 * pace.ping } else { pace.ping };
        let listening = if session.listening.is_some() { life } else { session.opened + pace.listening };
        (self.feed.filled_to + pace.hush).min(life).min(listening)
    }

    async fn received(&mut self, message: Message, session: &mut Session) -> Option<End> {
        let incoming = match message {
            Message::Text(text) => wire::parse(&text),
            Message::Close(frame) => return Some(self.closed(frame.as_ref(), session)),
            Message::Ping(_) | Message::Pong(_) => return None,
            Message::Binary(_) | Message::Frame(_) => None,
        };
        let Some(incoming) = incoming else {
            session.garbage += 1;
            let fault = self.client.fault(FaultKind::Protocol, "a message that is not of the protocol");
            if session.garbage >= GARBAGE_LIMIT {
                return Some(End::Lost(fault));
            }
            note(&fault);
            return None;
        };
        session.garbage = 0;
        self.understood(incoming, session).await
    }

    async fn understood(&mut self, incoming: Incoming, session: &mut Session) -> Option<End> {
        if let Some(warning) = &incoming.warning {
            tracing::warn!(host = self.client.shared.host, warning = clip(warning), "speech to text warns");
        }
        for item in incoming.items {
            // Less proves nothing: a service that dies of the same audio every time has an interim result for each replay.
            if matches!(item, Item::Final { .. }) {
                self.outage.over();
            }
            self.heard(item, incoming.raw.as_ref()).await;
        }
        if incoming.listening {
            if session.stopped.is_some() && session.listening.is_some() {
                return Some(End::Done);
            }
            session.listening.get_or_insert(clock::now().at);
            self.refusals = 0;
            self.interrupted = false;
            self.tell(SpeechEvent::Listening).await;
        }
        let error = incoming.error?;
        if session.stopped.is_some() {
            return Some(End::Done);
        }
        Some(self.errored(&error, session))
    }

    async fn heard(&mut self, item: Item, raw: Option<&serde_json::Value>) {
        match item {
            Item::Began => {
                self.feed.replay.hear();
                self.tell_if_room(SpeechEvent::Began);
            }
            Item::Interim { transcript } => {
                self.feed.replay.hear();
                let interim = SpeechEvent::Hypothesis { transcript, is_final: false, confidence: None, raw: None };
                self.tell_if_room(interim);
            }
            Item::Final { transcript, confidence, ends_at } => {
                self.feed.replay.settle(ends_at);
                let raw = raw.cloned();
                self.tell(SpeechEvent::Hypothesis { transcript, is_final: true, confidence, raw }).await;
            }
        }
    }

    /// `{"error":…}`: a session that ran out is opened again; a start message that is refused twice is refused for good.
    fn errored(&mut self, error: &ServiceError, session: &Session) -> End {
        let kind = match error.code {
            Some(401 | 403) => FaultKind::Auth,
            Some(429 | 503) => FaultKind::Busy,
            _ => FaultKind::Status,
        };
        let fault = self.client.fault(kind, clip(&error.text));
        let refused = error.code.is_some_and(|code| (400..500).contains(&code) && !passing(code));
        if session.listening.is_none() {
            self.refusals += 1;
        }
        if refused || self.refusals >= REFUSAL_LIMIT { End::Hopeless(fault) } else { End::Lost(fault) }
    }

    fn closed(&self, frame: Option<&CloseFrame>, session: &Session) -> End {
        if session.stopped.is_some() {
            return End::Done;
        }
        let code = frame.map_or(1005, |frame| u16::from(frame.code));
        End::Lost(self.client.fault(FaultKind::Closed, format!("closed with {code}")))
    }

    /// For what the call must not miss: waits for room.
    async fn tell(&self, event: SpeechEvent) {
        // A receiver that is gone ends the driver at its next select.
        let _ = self.events.send(event).await;
    }

    /// For what the next of its kind replaces.
    fn tell_if_room(&self, event: SpeechEvent) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "stt_events").increment(1);
        }
    }
}

/// Closes politely, without waiting for a peer that does not.
async fn farewell(line: &mut Line) {
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    line.last(Message::Close(Some(normal)));
    let mut nothing = Replay::new(8000, Limits { quiet: 0, open: 0 }, Duration::ZERO);
    let closed = async { while let Some(Ok(_)) = poll_fn(|cx| line.poll(cx, &mut nothing)).await {} };
    let _ = timeout(CLOSE_LIMIT, closed).await;
}

/// How much audio before the last byte sent stays for a replay when a final comes: less than the silence that ended the phrase.
fn overlap(recognize: &serde_json::Map<String, serde_json::Value>) -> Duration {
    end_of_phrase_silence(recognize).saturating_sub(OVERLAP_MARGIN).min(LONGEST_OVERLAP)
}

/// Silence after which the service takes a phrase for ended: 0.8 s where the parameters say nothing.
#[must_use]
pub fn end_of_phrase_silence(recognize: &serde_json::Map<String, serde_json::Value>) -> Duration {
    let stated = recognize.get("end_of_phrase_silence_time").and_then(serde_json::Value::as_f64);
    let silence = stated.filter(|seconds| *seconds > 0.0).map(|seconds| seconds.min(LONGEST_PHRASE_SILENCE));
    Duration::from_secs_f64(silence.unwrap_or(DEFAULT_PHRASE_SILENCE))
}

const GARBAGE_LIMIT: u32 = 3;
const REFUSAL_LIMIT: u32 = 2;
const CLOSE_LIMIT: Duration = Duration::from_millis(500);
/// `end_of_phrase_silence_time` where nothing is set.
const DEFAULT_PHRASE_SILENCE: f64 = 0.8;
/// The longest that it may be set to, in seconds.
const LONGEST_PHRASE_SILENCE: f64 = 120.0;
const OVERLAP_MARGIN: Duration = Duration::from_millis(200);
const LONGEST_OVERLAP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_overlap_stays_below_the_silence_that_ends_a_phrase() {
        let overlap_of = |value: serde_json::Value| overlap(value.as_object().unwrap()).as_millis();
        assert_eq!(overlap_of(json!({})), 600);
        assert_eq!(overlap_of(json!({"end_of_phrase_silence_time": 0.5})), 300);
        assert_eq!(overlap_of(json!({"end_of_phrase_silence_time": 0.1})), 0);
        assert_eq!(overlap_of(json!({"end_of_phrase_silence_time": 0})), 600);
        assert_eq!(overlap_of(json!({"end_of_phrase_silence_time": 120})), 1000);
    }
}
