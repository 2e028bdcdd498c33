//! What sockets hand to the driver, over one queue that is bounded in entries and in bytes. Full: UDP waits in the kernel's buffer,
//! TCP stops reading.

use crate::sip::{Flow, Transport};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// From the sockets.
#[derive(Debug)]
pub(super) enum Inlet {
    Datagrams { socket: usize, batch: Vec<(SocketAddr, Bytes)> },
    Accepted { transport: Transport, local: SocketAddr, remote: SocketAddr, stream: TcpStream },
    Message { flow: Flow, bytes: Bytes },
    Broken { flow: Flow, head: Bytes },
    Closed { flow: Flow },
}

/// An inlet with the room that it takes until it is taken in.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) inlet: Inlet,
    _room: OwnedSemaphorePermit,
}

/// The sockets' end of the queue.
#[derive(Clone, Debug)]
pub(super) struct Inlets {
    queue: mpsc::Sender<Held>,
    room: Arc<Semaphore>,
}

impl Inlets {
    pub(super) fn new() -> (Self, mpsc::Receiver<Held>) {
        let (queue, receiver) = mpsc::channel(ENTRIES);
        (Self { queue, room: Arc::new(Semaphore::new(BYTES)) }, receiver)
    }

    /// Waits until the driver has ended.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Waits for room; false once the driver has ended.
    pub(super) async fn send(&self, inlet: Inlet) -> bool {
        let size = u32::try_from(inlet.size().min(BYTES)).unwrap_or(u32::MAX);
        let Ok(room) = self.room.clone().acquire_many_owned(size).await else { return false };
        self.queue.send(Held { inlet, _room: room }).await.is_ok()
    }
}

impl Inlet {
    fn size(&self) -> usize {
        match self {
            Self::Datagrams { batch, .. } => batch.iter().map(|(_, bytes)| bytes.len()).sum(),
            Self::Message { bytes, .. } | Self::Broken { head: bytes, .. } => bytes.len(),
            Self::Accepted { .. } | Self::Closed { .. } => 0,
        }
    }
}

/// Batches and messages that wait for the driver.
const ENTRIES: usize = 1024;
/// Bytes of them.
const BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_is_full_by_bytes_and_has_room_again() {
        let (inlets, mut receiver) = Inlets::new();
        let peer = "127.0.0.1:5060".parse().unwrap();
        let megabyte = Bytes::from(vec![0; 1 << 20]);
        let batch = || Inlet::Datagrams { socket: 0, batch: vec![(peer, megabyte.clone())] };
        for _ in 0..8 {
            assert!(inlets.send(batch()).await);
        }
        let mut ninth = std::pin::pin!(inlets.send(batch()));
        assert!(polled_once(&mut ninth).await.is_none(), "8 MB wait: no more");
        drop(receiver.recv().await);
        assert!(ninth.await);
        drop(receiver);
        assert!(!inlets.send(batch()).await);
    }

    /// Polls once.
    async fn polled_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
