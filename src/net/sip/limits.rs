//! What peers may cost on streams.

use std::time::Duration;

/// Bounds of stream connections. The defaults are what the daemon runs with; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one source (an address, or an IPv6 /64).
    pub connections_per_source: usize,
    /// TLS handshakes under way in all: each costs a signature.
    pub handshakes: usize,
    /// TLS handshakes under way with one source.
    pub handshakes_per_source: usize,
    /// For a TLS handshake of a peer.
    pub handshake: Duration,
    /// For a connection of ours to be opened; then as much again for its TLS handshake.
    pub connect: Duration,
    /// Until the first message has come.
    pub first: Duration,
    /// From a message's first byte to its last.
    pub partial: Duration,
    /// Between messages: a long call says nothing for its whole length, and dead peers are found by TCP's own keep-alive.
    pub idle: Duration,
    /// For one message to leave.
    pub write: Duration,
    /// Between looks at the TLS files.
    pub tls_files: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_source: 256,
            handshakes: 256,
            handshakes_per_source: 32,
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            first: Duration::from_secs(30),
            partial: Duration::from_secs(30),
            idle: Duration::from_secs(2 * 60 * 60),
            write: Duration::from_secs(10),
            tls_files: Duration::from_secs(5),
        }
    }
}
