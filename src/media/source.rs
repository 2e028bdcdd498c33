//! The stream that a peer sends (RFC 3550 section 8): its source, its numbers and its place in the jitter buffer.

use super::arrival::{Arrival, Clock, Placed, Playout};
use super::extended::ExtendedTimestamp;
use super::jitter_buffer::{JitterBuffer, LONGEST_PACKET};
use super::reception::{Order, Reception};
use super::rtcp::Theirs;
use super::rtp::Packet;
use super::sdp::Codec;
use super::wideband::Wideband;
use crate::audio::{FRAME, Frame, Law, Voice, WIDE_FRAME};
use std::time::Duration;

/// The stream that comes in.
#[derive(Debug)]
pub(super) struct Source {
    codec: Codec,
    ssrc: Option<u32>,
    last: Option<ExtendedTimestamp>,
    pub(super) reception: Reception,
    buffer: Buffer,
    /// Of the buffers of codecs that were agreed before.
    before: Playout,
    /// Bounds of the delay.
    least: Duration,
    longest: Duration,
    voice: Voice,
}

/// Where what came waits.
#[expect(clippy::large_enum_variant, reason = "nearly all calls have the large one")]
#[derive(Debug)]
enum Buffer {
    /// G.711, as it came.
    Narrow(JitterBuffer<Law>, Law),
    /// Decoded.
    Wide(Box<Wideband>),
}

/// What became of an audio packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It has its place, or it is too late for one; and whether there is speech in it.
    Placed(Placed, bool),
    /// The codec makes no such packets.
    Malformed,
}

impl Source {
    pub(super) fn new(least: Duration, longest: Duration) -> Self {
        let (codec, before) = (Codec::Pcmu, Playout::default());
        let buffer = Buffer::Narrow(JitterBuffer::new(Law::Mu, least, longest), Law::Mu);
        let (reception, voice) = (Reception::default(), Voice::default());
        Self { codec, ssrc: None, last: None, reception, buffer, before, least, longest, voice }
    }

    /// The codec that is agreed from now on.
    pub(super) fn agree(&mut self, codec: Codec) {
        if codec == self.codec {
            return;
        }
        // A clock of another pace begins another count.
        if codec.clock() != self.codec.clock() {
            self.last = None;
        }
        self.codec = codec;
        let (least, longest) = (self.least, self.longest);
        let law = match codec {
            Codec::Pcma => Law::A,
            _ => Law::Mu,
        };
        match (&mut self.buffer, codec.wide()) {
            (Buffer::Narrow(buffer, before), None) => {
                buffer.reset(law);
                *before = law;
            }
            (_, wide) => {
                self.before = self.counts();
                self.buffer = match wide {
                    None => Buffer::Narrow(JitterBuffer::new(law, least, longest), law),
                    Some(wide) => Buffer::Wide(Box::new(Wideband::new(wide, least, longest))),
                };
            }
        }
    }

    /// Bytes of the longest payload.
    pub(super) fn longest_payload(&self) -> u64 {
        match self.codec.clock() {
            8000 => LONGEST_PACKET,
            _ => LONGEST_OPUS,
        }
    }

    /// What the jitter buffer had to do up to now.
    pub(super) fn counts(&self) -> Playout {
        let now = match &self.buffer {
            Buffer::Narrow(buffer, _) => buffer.counts(),
            Buffer::Wide(wideband) => wideband.counts(),
        };
        Playout {
            concealed: self.before.concealed + now.concealed,
            shortened: self.before.shortened + now.shortened,
            lengthened: self.before.lengthened + now.lengthened,
        }
    }

    /// What the buffer adds to the way of the fast packets.
    pub(super) fn depth(&self) -> Duration {
        match &self.buffer {
            Buffer::Narrow(buffer, _) => buffer.depth(),
            Buffer::Wide(wideband) => wideband.depth(),
        }
    }

    /// Judges a packet by its source and number.
    pub(super) fn admit(&mut self, ssrc: u32, sequence: u16) -> Order {
        if self.ssrc.replace(ssrc).is_some_and(|before| before != ssrc) {
            self.reception.begin_anew();
            self.begin_anew();
        }
        let order = self.reception.sequence(sequence);
        if order == Order::Restart {
            self.begin_anew();
        }
        order
    }

    /// Who speaks.
    pub(super) const fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// For a report block; what is lost of one counts from here to the next.
    pub(super) fn report(&mut self) -> Option<Theirs> {
        let steps = self.codec.clock() / 8000;
        let report = self.reception.report(self.ssrc?)?;
        Some(Theirs { jitter: report.jitter.saturating_mul(steps), ..report })
    }

    fn begin_anew(&mut self) {
        self.last = None;
        match &mut self.buffer {
            Buffer::Narrow(buffer, law) => buffer.reset(*law),
            Buffer::Wide(wideband) => wideband.reset(),
        }
    }

    /// Puts a packet where its timestamp says. `clock` counts 8 kHz.
    pub(super) fn place(&mut self, clock: Clock, order: Order, packet: &Packet<'_>) -> Taken {
        let timestamp = self.timestamp(packet);
        let in_step = timestamp.0 / self.steps();
        self.reception.transit(clock.now, i64::try_from(in_step).unwrap_or(i64::MAX));
        let (follows, payload) = (order == Order::Next, packet.payload);
        let time = self.time(timestamp);
        match &mut self.buffer {
            Buffer::Narrow(buffer, law) => {
                let placed = buffer.put(&Arrival { clock, timestamp, follows, payload });
                Taken::Placed(placed, self.voice.voiced(*law, payload))
            }
            Buffer::Wide(wideband) => {
                let clock = Clock { now: clock.now.saturating_mul(2), slot: clock.slot.saturating_mul(2) };
                let arrival = Arrival { clock, timestamp: time, follows, payload };
                let taken = wideband.put(&arrival, &mut self.voice);
                taken.map_or(Taken::Malformed, |(placed, voiced)| Taken::Placed(placed, voiced))
            }
        }
    }

    /// The peer pauses, and says how its silence sounds.
    pub(super) fn pause(&mut self, packet: &Packet<'_>) {
        let timestamp = self.timestamp(packet);
        let time = self.time(timestamp);
        match &mut self.buffer {
            Buffer::Narrow(buffer, _) => buffer.pause(timestamp, packet.payload),
            Buffer::Wide(wideband) => wideband.pause(time, packet.payload),
        }
    }

    /// The next 20 ms, at `slot` of our clock of 8 kHz; and whether speech came to light in it.
    pub(super) fn take(&mut self, slot: i64) -> (Frame, bool) {
        match &mut self.buffer {
            Buffer::Narrow(buffer, law) => {
                let mut coded = [0; FRAME];
                buffer.take(slot, &mut coded);
                (Frame::Narrow(*law, coded), false)
            }
            Buffer::Wide(wideband) => {
                let mut samples = [0; WIDE_FRAME];
                let voiced = wideband.take(slot.saturating_mul(2), &mut self.voice, &mut samples);
                (Frame::Wide(samples), voiced)
            }
        }
    }

    fn timestamp(&mut self, packet: &Packet<'_>) -> ExtendedTimestamp {
        let first = || ExtendedTimestamp::first(packet.timestamp);
        *self.last.insert(self.last.map_or_else(first, |last| last.nearest(packet.timestamp)))
    }

    /// Steps of the codec's clock in one of 8 kHz.
    fn steps(&self) -> u64 {
        u64::from(self.codec.clock() / 8000)
    }

    /// A timestamp in samples of 16 kHz.
    fn time(&self, timestamp: ExtendedTimestamp) -> ExtendedTimestamp {
        ExtendedTimestamp(timestamp.0 * 2 / self.steps())
    }

    /// Keys share the numbers of the audio around them, unless a peer sends them as a source of their own.
    pub(super) fn note_event(&mut self, packet: &Packet<'_>) {
        if self.ssrc == Some(packet.ssrc) {
            let _ = self.reception.sequence(packet.sequence);
        }
    }
}

/// RFC 6716 section 3.4.
const LONGEST_OPUS: u64 = 1275;
