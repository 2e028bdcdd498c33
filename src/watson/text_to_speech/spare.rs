//! Sockets opened ahead of their request. The protocol has one request per connection, so a prompt otherwise begins with
//! three round trips of handshakes; while the assistant thinks there is time for them.

use super::super::transport::Socket;
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Sockets that wait for a request, oldest first.
#[derive(Default)]
pub(super) struct Spares(Mutex<Vec<Spare>>);

struct Spare {
    url: String,
    opened: Instant,
    socket: Socket,
}

impl Spares {
    /// Keeps a socket for a request to `url`. Closes those that have waited too long, and the oldest where there are too many.
    pub(super) fn put(&self, url: &str, socket: Socket, now: Instant) {
        let mut spares = self.0.lock();
        spares.retain(|spare| spare.fresh(now));
        if spares.len() >= MOST {
            spares.remove(0);
        }
        spares.push(Spare { url: url.to_owned(), opened: now, socket });
    }

    /// A socket for a request to `url` that is still open.
    pub(super) fn take(&self, url: &str, now: Instant) -> Option<Socket> {
        let mut spares = self.0.lock();
        spares.retain(|spare| spare.fresh(now));
        while let Some(at) = spares.iter().position(|spare| spare.url == url) {
            let mut spare = spares.remove(at);
            // Nothing may come before a request: a close frame, an error or a word means that the peer is done with it.
            if spare.socket.next().now_or_never().is_none() {
                return Some(spare.socket);
            }
        }
        None
    }
}

impl Spare {
    fn fresh(&self, now: Instant) -> bool {
        now.duration_since(self.opened) < LONGEST_WAIT
    }
}

/// Well below the 30 s after which the speech services end idle sessions.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
const MOST: usize = 64;
