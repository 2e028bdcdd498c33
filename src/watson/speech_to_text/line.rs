//! One open socket: sends what the replay holds as fast as the peer takes it, and reads, in one poll, so that a peer that
//! does not read cannot keep us from hearing it.

use super::super::transport::Socket;
use super::replay::Replay;
use futures_util::{SinkExt as _, StreamExt as _};
use std::collections::VecDeque;
use std::task::{Context, Poll};
use tokio_tungstenite::tungstenite::{Error, Message};

/// A socket with the control messages that wait for it.
pub(super) struct Line {
    socket: Socket,
    /// Sent before any audio.
    first: VecDeque<Message>,
    /// Sent once all audio is.
    last: VecDeque<Message>,
    flushed: bool,
}

impl Line {
    /// `start` goes out before anything else.
    pub(super) fn new(socket: Socket, start: String) -> Self {
        Self { socket, first: VecDeque::from([Message::text(start)]), last: VecDeque::new(), flushed: true }
    }

    /// Queues a message before the audio that waits.
    pub(super) fn soon(&mut self, message: Message) {
        self.first.push_back(message);
    }

    /// Queues a message behind the audio that waits.
    pub(super) fn last(&mut self, message: Message) {
        self.last.push_back(message);
    }

    /// Sends what there is to send and is ready with what was received; `None` when the socket has ended. Losing the
    /// future loses nothing.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, replay: &mut Replay) -> Poll<Option<Result<Message, Error>>> {
        if let Err(error) = self.poll_send(cx, replay) {
            // What the service said before it went away says why: that comes first.
            return match self.socket.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(message))) => Poll::Ready(Some(Ok(message))),
                _ => Poll::Ready(Some(Err(error))),
            };
        }
        self.socket.poll_next_unpin(cx)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, replay: &mut Replay) -> Result<(), Error> {
        while let Poll::Ready(ready) = self.socket.poll_ready_unpin(cx) {
            ready?;
            let next = self.first.pop_front().or_else(|| replay.next().map(Message::Binary));
            let Some(message) = next.or_else(|| self.last.pop_front()) else { break };
            self.flushed = false;
            self.socket.start_send_unpin(message)?;
        }
        if !self.flushed
            && let Poll::Ready(flushed) = self.socket.poll_flush_unpin(cx)
        {
            flushed?;
            self.flushed = true;
        }
        Ok(())
    }
}
