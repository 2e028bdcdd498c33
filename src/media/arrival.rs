//! What a buffer of a peer's audio is told of a packet, and what it tells of it.

use super::extended::ExtendedTimestamp;
use std::time::Duration;

/// Our clock, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Now.
    pub now: i64,
    /// When the next frame is read.
    pub slot: i64,
}

/// An audio packet, and when it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a, T = u8> {
    /// When it came.
    pub clock: Clock,
    /// When its first sample was taken.
    pub timestamp: ExtendedTimestamp,
    /// Whether it has the number after the highest: whatever lies between them was left out by the peer.
    pub follows: bool,
    /// Its samples.
    pub payload: &'a [T],
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It will be heard.
    Kept,
    /// Its time has passed.
    Late,
}

/// What had to be done to what came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Playout {
    /// Sound that was made up for what was lost or late. Pauses of the peer are none.
    pub concealed: Duration,
    /// Sound left out to come back to real time.
    pub shortened: Duration,
    /// Sound heard once more to give late packets time.
    pub lengthened: Duration,
}
