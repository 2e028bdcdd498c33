//! A WebSocket of the sandbox: JSON out, closing, and the ordered faults that only a session can suffer.

use super::plan::Plan;
use axum::Error;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// A socket with what befalls it.
#[derive(Debug)]
pub(super) struct Wire {
    socket: WebSocket,
    plan: Plan,
    shutdown: CancellationToken,
}

impl Wire {
    /// Takes a socket over.
    pub(super) fn new(socket: WebSocket, plan: Plan, shutdown: CancellationToken) -> Self {
        Self { socket, plan, shutdown }
    }

    /// What befalls this socket.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The next message. Safe to cancel.
    pub(super) async fn recv(&mut self) -> Option<Result<Message, Error>> {
        self.socket.recv().await
    }

    /// Sends a text message: late, broken or not at all when so ordered.
    pub(super) async fn send_json(&mut self, message: &Value) -> Result<(), Error> {
        if self.plan.hangs() {
            return Ok(());
        }
        self.plan.wait(&self.shutdown).await;
        self.socket.send(Message::text(self.plan.spoil(message.to_string()))).await
    }

    /// Sends a binary message, unless silence is ordered.
    pub(super) async fn send_bytes(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        if self.plan.hangs() {
            return Ok(());
        }
        self.socket.send(Message::binary(bytes)).await
    }

    /// Closes the socket because the sandbox ends, without waiting for the other side.
    pub(super) async fn leave(mut self) {
        if !self.plan.hangs() {
            let frame = CloseFrame { code: 1001, reason: "going away".into() };
            let _ = self.socket.send(Message::Close(Some(frame))).await;
        }
    }

    /// Closes the socket; when silence is ordered it is kept open until the other side goes, because a reset would speak.
    pub(super) async fn close(mut self, code: u16, reason: &'static str) {
        if self.plan.hangs() {
            let gone = async { while let Some(Ok(_)) = self.socket.recv().await {} };
            tokio::select! {
                () = gone => {}
                () = self.shutdown.cancelled() => {}
            }
            return;
        }
        let frame = CloseFrame { code, reason: reason.into() };
        if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
            // The other side's close frame, so that the TCP connection does not end in a reset that overtakes ours.
            let _ =
                tokio::time::timeout(CLOSE_WAIT, async { while let Some(Ok(_)) = self.socket.recv().await {} }).await;
        }
    }
}

const CLOSE_WAIT: std::time::Duration = std::time::Duration::from_secs(2);
