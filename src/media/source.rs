//! The stream that a peer sends (RFC 3550 section 8): its source, its numbers and its place in the jitter buffer.

use super::extended::ExtendedTimestamp;
use super::jitter_buffer::{Arrival, Clock, JitterBuffer, Placed};
use super::reception::{Order, Reception};
use super::rtcp::Theirs;
use super::rtp::Packet;
use crate::audio::Law;

/// The stream that comes in.
#[derive(Debug)]
pub(super) struct Source {
    ssrc: Option<u32>,
    last: Option<ExtendedTimestamp>,
    pub(super) reception: Reception,
    pub(super) buffer: JitterBuffer,
}

impl Source {
    pub(super) fn new(buffer: JitterBuffer) -> Self {
        Self { ssrc: None, last: None, reception: Reception::default(), buffer }
    }

    /// Judges a packet by its source and number.
    pub(super) fn admit(&mut self, ssrc: u32, sequence: u16, law: Law) -> Order {
        if self.ssrc.replace(ssrc).is_some_and(|before| before != ssrc) {
            self.reception.begin_anew();
            self.begin_anew(law);
        }
        let order = self.reception.sequence(sequence);
        if order == Order::Restart {
            self.begin_anew(law);
        }
        order
    }

    /// Who speaks.
    pub(super) const fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// For a report block; what is lost of one counts from here to the next.
    pub(super) fn report(&mut self) -> Option<Theirs> {
        self.reception.report(self.ssrc?)
    }

    fn begin_anew(&mut self, law: Law) {
        self.last = None;
        self.buffer.reset(law);
    }

    /// Puts a packet where its timestamp says.
    pub(super) fn place(&mut self, clock: Clock, order: Order, packet: &Packet<'_>) -> Placed {
        let timestamp = self.timestamp(packet);
        self.reception.transit(clock.now, i64::try_from(timestamp.0).unwrap_or(i64::MAX));
        self.buffer.put(&Arrival { clock, timestamp, follows: order == Order::Next, payload: packet.payload })
    }

    /// The peer pauses, and says how its silence sounds.
    pub(super) fn pause(&mut self, packet: &Packet<'_>) {
        let timestamp = self.timestamp(packet);
        self.buffer.pause(timestamp, packet.payload);
    }

    fn timestamp(&mut self, packet: &Packet<'_>) -> ExtendedTimestamp {
        let first = || ExtendedTimestamp::first(packet.timestamp);
        *self.last.insert(self.last.map_or_else(first, |last| last.nearest(packet.timestamp)))
    }

    /// Keys share the numbers of the audio around them, unless a peer sends them as a source of their own.
    pub(super) fn note_event(&mut self, packet: &Packet<'_>) {
        if self.ssrc == Some(packet.ssrc) {
            let _ = self.reception.sequence(packet.sequence);
        }
    }
}
