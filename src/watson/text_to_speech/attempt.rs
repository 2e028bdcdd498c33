//! One request to Text to Speech, over a WebSocket of its own or over HTTP.

use super::super::iam::Token;
use super::super::transport::{
    Socket, clip, content_type, discreet, http_fault, http_url, passing, socket_fault, socket_url, status_fault, told,
};
use super::wire::{self, Incoming};
use super::{Delivery, Request, TextToSpeech};
use crate::base::{Fault, FaultKind, Service, clock};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};
use url::Url;

/// Which protocol an attempt uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Socket,
    Http,
}

/// Which socket an attempt may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// One that waits, or else a new one.
    Prepared,
    /// A new one: what waits may be as dead as the last.
    Fresh,
}

/// Why an attempt ended early.
pub(super) enum Failure {
    /// Nobody takes the audio any more.
    Cancelled,
    Fault(Fault),
}

/// The same for a WebSocket, which may be replaced by HTTP.
pub(super) enum SocketFailure {
    /// The handshake was answered, but not with a WebSocket.
    NotPossible(Fault),
    Failed(Failure),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<E: Into<Failure>> From<E> for SocketFailure {
    fn from(failure: E) -> Self {
        Self::Failed(failure.into())
    }
}

impl TextToSpeech {
    pub(super) async fn by_socket<F: FnOnce() + Send>(
        &self,
        request: &Request<'_>,
        line: Line,
        token: &Token,
        delivery: &mut Delivery<'_, F>,
    ) -> Result<(), SocketFailure> {
        let settings = &self.shared.settings;
        let mut socket = self.socket(request, line, token).await?;
        let message = wire::request(request.text, request.coding, request.parameters);
        let first = Instant::now() + settings.pace.first_audio;
        let sent = timeout_at(first, socket.send(Message::text(message))).await;
        sent.map_err(|_| self.late("no room for the request", settings.pace.first_audio))?
            .map_err(|error| socket_fault(Service::TextToSpeech, &self.shared.host, &error))?;
        let before = delivery.bytes;
        loop {
            let silent = delivery.bytes == before;
            let deadline = if silent { first } else { Instant::now() + settings.pace.between };
            let message = timeout_at(deadline, socket.next()).await.map_err(|_| {
                let limit = if silent { settings.pace.first_audio } else { settings.pace.between };
                self.late(if silent { "no audio" } else { "no more audio" }, limit)
            })?;
            let heard = delivery.bytes - before;
            match message {
                Some(Ok(Message::Binary(audio))) => delivery.pass(audio).await?,
                Some(Ok(Message::Text(text))) => self.told(wire::parse(&text), request)?,
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map_or(CloseCode::Status, |frame| frame.code);
                    return self.closed(&mut socket, code, heard).await.map_err(Into::into);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => {
                    let fault = socket_fault(Service::TextToSpeech, &self.shared.host, &error);
                    let detail = format!("{} after {heard} bytes of audio", fault.detail);
                    return Err(Fault { detail, ..fault }.into());
                }
                None => return Err(self.cut_short(heard).into()),
            }
        }
    }

    pub(super) async fn by_http<F: FnOnce() + Send>(
        &self,
        request: &Request<'_>,
        token: &Token,
        delivery: &mut Delivery<'_, F>,
    ) -> Result<(), Failure> {
        let settings = &self.shared.settings;
        let host = &self.shared.host;
        let url = http_url(&settings.service.url, &["v1", "synthesize"]);
        let url = wire::with_query(url, &settings.voice, request.parameters);
        let post = self
            .shared
            .connections
            .http()
            .post(url)
            .header("authorization", token.bearer().clone())
            .header("accept", request.coding.content_type())
            .json(&wire::body(request.text));
        let first = Instant::now() + settings.pace.first_audio;
        let failed = |error| http_fault(Service::TextToSpeech, host, &error);
        let no_audio = |_| self.late("no audio", settings.pace.first_audio);
        let mut response = timeout_at(first, post.send()).await.map_err(no_audio)?.map_err(failed)?;
        if !response.status().is_success() {
            return Err(self.refused(response, request, first).await.into());
        }
        let kind = content_type(&response);
        if !request.coding.matches(&kind) {
            return Err(self.wrong_type(&kind, request).into());
        }
        let mut heard = 0;
        loop {
            let (deadline, limit) = if heard == 0 {
                (first, settings.pace.first_audio)
            } else {
                (Instant::now() + settings.pace.between, settings.pace.between)
            };
            let part = timeout_at(deadline, response.chunk()).await.map_err(|_| self.late("no audio", limit))?;
            match part.map_err(|error| {
                let fault = failed(error);
                Fault { detail: format!("{} after {heard} bytes of audio", fault.detail), ..fault }
            })? {
                Some(audio) => {
                    heard += audio.len() as u64;
                    delivery.pass(audio).await?;
                }
                None if heard == 0 => return Err(self.fault(FaultKind::Protocol, "an answer without audio").into()),
                None => return Ok(()),
            }
        }
    }

    /// Where a request with `parameters` goes.
    pub(super) fn socket_url(&self, parameters: &Map<String, Value>) -> Url {
        let settings = &self.shared.settings;
        let url = socket_url(&settings.service.url, &["v1", "synthesize"]);
        wire::with_query(url, &settings.voice, parameters)
    }

    async fn socket(&self, request: &Request<'_>, line: Line, token: &Token) -> Result<Socket, SocketFailure> {
        let url = self.socket_url(request.parameters);
        if line == Line::Prepared
            && let Some(socket) = self.shared.spares.take(url.as_str(), clock::now().at)
        {
            return Ok(socket);
        }
        let limit = self.shared.settings.pace.open;
        let opened = self.shared.connections.open(Service::TextToSpeech, &url, token, limit).await;
        opened.map_err(|refused| match refused.status {
            // Something on the way, or the service, does not do WebSockets here. Busy services and refused tokens do.
            Some(status) if !passing(status) && !matches!(status, 401 | 403) => {
                SocketFailure::NotPossible(refused.fault)
            }
            _ => refused.fault.into(),
        })
    }

    async fn refused(&self, mut response: reqwest::Response, request: &Request<'_>, until: Instant) -> Fault {
        let status = response.status().as_u16();
        // The first part of the body is enough to read why.
        let body = timeout_at(until, response.chunk()).await;
        let body = body.ok().and_then(Result::ok).flatten().unwrap_or_default();
        status_fault(Service::TextToSpeech, &self.shared.host, status, &discreet(told(&body), request.text))
    }

    fn told(&self, incoming: Option<Incoming>, request: &Request<'_>) -> Result<(), Fault> {
        let incoming =
            incoming.ok_or_else(|| self.fault(FaultKind::Protocol, "a message that is not of the protocol"))?;
        if let Some(warning) = incoming.warning {
            tracing::warn!(
                host = self.shared.host,
                warning = discreet(clip(&warning), request.text),
                "text to speech warns"
            );
        }
        if let Some(error) = incoming.error {
            let reason = match discreet(clip(&error), request.text) {
                told if told.is_empty() => "an error that repeats the prompt".to_owned(),
                told => told,
            };
            return Err(self.fault(FaultKind::Status, reason));
        }
        match incoming.content_type {
            Some(kind) if !request.coding.matches(&kind) => Err(self.wrong_type(&clip(&kind), request)),
            _ => Ok(()),
        }
    }

    async fn closed(&self, socket: &mut Socket, code: CloseCode, heard: u64) -> Result<(), Fault> {
        // The answer to the close frame; a peer that does not take it is none of our business any more.
        let _ = timeout(CLOSE_LIMIT, socket.flush()).await;
        match code {
            CloseCode::Normal | CloseCode::Status if heard > 0 => Ok(()),
            CloseCode::Normal | CloseCode::Status => Err(self.fault(FaultKind::Protocol, "closed without audio")),
            code => {
                let code = u16::from(code);
                Err(self.fault(FaultKind::Closed, format!("closed with {code} after {heard} bytes of audio")))
            }
        }
    }

    fn cut_short(&self, heard: u64) -> Fault {
        self.fault(FaultKind::Closed, format!("the socket ended after {heard} bytes of audio"))
    }

    fn wrong_type(&self, kind: &str, request: &Request<'_>) -> Fault {
        self.fault(FaultKind::Protocol, format!("answered {kind} instead of {}", request.coding.content_type()))
    }

    fn late(&self, what: &str, limit: Duration) -> Fault {
        self.fault(FaultKind::Timeout, format!("{what} within {limit:?}"))
    }
}

const CLOSE_LIMIT: Duration = Duration::from_millis(100);
