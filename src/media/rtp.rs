//! RTP packets (RFC 3550 section 5.1): a view of one that came in, and the writing of ours. Neither allocates.

use super::keypad::Pressed;
use super::rtcp::Ours;
use super::srtp::LONGEST_TAG;
use crate::audio::wideband::LONGEST_SENT;
use rtc_rtp::header::Header;
use rtc_shared::marshal::{Marshal as _, Unmarshal as _};

/// A packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Payload type.
    pub payload_type: u8,
    /// First of a talk spurt, or first of a telephone-event.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Sampling instant of its first byte.
    pub timestamp: u32,
    /// Source.
    pub ssrc: u32,
    /// Payload without padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram; `None` when it is no RTP packet of version 2.
    #[must_use]
    pub fn read(datagram: &'a [u8]) -> Option<Self> {
        let header = header_length(datagram)?;
        let (fixed, _) = datagram.split_first_chunk::<FIXED>()?;
        let [flags, ..] = *fixed;
        let rest = datagram.get(header..)?;
        let payload = match rest.split_last() {
            _ if flags & PADDING == 0 => rest,
            Some((&padding, _)) if padding > 0 => rest.get(..rest.len().checked_sub(usize::from(padding))?)?,
            _ => return None,
        };
        let mut plain = *fixed;
        if let Some(first) = plain.first_mut() {
            *first = VERSION << 6;
        }
        let header = Header::unmarshal(&mut plain.as_slice()).ok()?;
        Some(Self {
            payload_type: header.payload_type,
            marker: header.marker,
            sequence: header.sequence_number,
            timestamp: header.timestamp,
            ssrc: header.ssrc,
            payload,
        })
    }
}

/// Bytes before the payload, which SRTP leaves readable; `None` when it is no RTP packet of version 2. Contributing sources and
/// extensions mean nothing to us: they are stepped over and hidden from the library, which would allocate for them.
#[must_use]
pub fn header_length(datagram: &[u8]) -> Option<usize> {
    let &flags = datagram.first()?;
    if flags >> 6 != VERSION {
        return None;
    }
    let mut length = FIXED + 4 * usize::from(flags & 0x0F);
    if flags & EXTENSION != 0 {
        let (&[_, _, high, low], _) = datagram.get(length..)?.split_first_chunk::<4>()?;
        length += 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
    }
    (length <= datagram.len()).then_some(length)
}

/// Sequence number and source, of a packet that is long enough to have them.
pub(super) fn sequence_and_source(datagram: &[u8]) -> Option<(u16, u32)> {
    let &[_, _, high, low, _, _, _, _, ref ssrc @ ..] = datagram.first_chunk::<FIXED>()?;
    Some((u16::from_be_bytes([high, low]), u32::from_be_bytes(*ssrc)))
}

/// A packet that goes out, in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Datagram {
    /// The bytes for the socket.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Has `protect` lengthen the packet in place: it gets the room and how much of it is the packet, and gives the new length.
    /// False where it gives none.
    pub(super) fn seal(&mut self, protect: impl FnOnce(&mut [u8], usize) -> Option<usize>) -> bool {
        let length = protect(&mut self.bytes, self.length);
        self.length = length.unwrap_or(0);
        length.is_some()
    }
}

impl std::fmt::Debug for Datagram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Datagram({} bytes)", self.length)
    }
}

/// The numbering of what we send: one stream for the whole call.
#[derive(Clone, Debug)]
pub struct Numbering {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Of the clock in a slot.
    step: u32,
    /// The next packet is the first one, or the first after a pause.
    marker: bool,
    /// Packets of this source, and their bytes of payload, as sender reports count them.
    packets: u32,
    octets: u32,
}

impl Numbering {
    /// A stream that begins with these random values (RFC 3550 section 5.1).
    #[must_use]
    pub const fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self { ssrc, sequence, timestamp, step: SAMPLES, marker: true, packets: 0, octets: 0 }
    }

    /// Slots that pass without a packet: the timestamp goes on, and the packet after it is marked (RFC 3551 section 4.1).
    pub fn pause(&mut self, slots: u32) {
        self.timestamp = self.timestamp.wrapping_add(slots.wrapping_mul(self.step));
        self.marker = true;
    }

    /// Goes on by a clock of so many steps in a slot: another one is another source (RFC 7160 section 4.1).
    pub fn turn_to(&mut self, step: u32) {
        if std::mem::replace(&mut self.step, step) != step {
            self.renew();
        }
    }

    /// Steps of the clock in so many samples of 8 kHz.
    pub(super) fn steps(&self, samples: i64) -> i64 {
        samples.saturating_mul(i64::from(self.step / SAMPLES))
    }

    /// Steps of the clock in a slot.
    #[must_use]
    pub const fn step(&self) -> u32 {
        self.step
    }

    /// Begins anew as another source, for a stream under another key: no two peers count rollovers over that alike. The sequence
    /// number begins in the lower half: far from its rollover, about which a peer could be wrong (RFC 3711 section 3.3.1).
    pub fn renew(&mut self) {
        self.ssrc = self.ssrc.wrapping_add(ANOTHER);
        self.sequence &= EARLY;
        self.marker = true;
        (self.packets, self.octets) = (0, 0);
    }

    /// The packet for the next 20 ms.
    #[must_use]
    pub fn packet(&mut self, payload_type: u8, payload: &[u8]) -> Datagram {
        let datagram = self.write(payload_type, self.marker, self.timestamp, payload);
        self.marker = false;
        datagram
    }

    /// The packet of a key that takes the place of the next 20 ms.
    #[must_use]
    pub fn event(&mut self, payload_type: u8, pressed: Pressed) -> Datagram {
        self.write(payload_type, pressed.first, pressed.timestamp, &pressed.payload)
    }

    /// Of the next 20 ms.
    #[must_use]
    pub const fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// The stream as it stands: `timestamp` is of the next 20 ms.
    #[must_use]
    pub(super) const fn sent(&self) -> Ours {
        Ours { ssrc: self.ssrc, packets: self.packets, octets: self.octets, timestamp: self.timestamp }
    }

    fn write(&mut self, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) -> Datagram {
        let header = Header {
            version: VERSION,
            marker,
            payload_type,
            sequence_number: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            ..Header::default()
        };
        let mut datagram = Datagram { bytes: [0; LONGEST], length: 0 };
        // The buffer is made for exactly this header: the library's only error is a short buffer.
        let written = header.marshal_to(&mut datagram.bytes).unwrap_or(0);
        if let Some(room) = datagram.bytes.get_mut(written..written + payload.len()) {
            room.copy_from_slice(payload);
            datagram.length = written + payload.len();
        }
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.step);
        datagram
    }
}

pub(super) const VERSION: u8 = 2;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const FIXED: usize = 12;
const LONGEST: usize = FIXED + LONGEST_SENT + LONGEST_TAG;
/// The lower half of all sequence numbers.
const EARLY: u16 = 0x7FFF;
/// Odd: every step leads to another source.
const ANOTHER: u32 = 0x9E37_79B9;
/// Steps of a clock of 8 kHz in a slot.
pub const SAMPLES: u32 = 160;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::FRAME;
    use proptest::prelude::*;

    #[test]
    fn what_we_write_we_read_and_the_numbers_go_on() {
        let mut numbering = Numbering::new(7, 65_535, u32::MAX - 159);
        let first = numbering.packet(8, &[0x55; FRAME]);
        let second = numbering.packet(8, &[0xAA; FRAME]);
        let read = Packet::read(first.bytes()).unwrap();
        assert_eq!(
            (read.payload_type, read.marker, read.sequence, read.timestamp, read.ssrc),
            (8, true, 65_535, u32::MAX - 159, 7)
        );
        assert_eq!(read.payload, [0x55; FRAME]);
        let read = Packet::read(second.bytes()).unwrap();
        assert_eq!((read.marker, read.sequence, read.timestamp), (false, 0, 0));
        numbering.pause(1);
        let read = numbering.packet(8, &[0; FRAME]);
        let read = Packet::read(read.bytes()).unwrap();
        assert_eq!((read.marker, read.sequence, read.timestamp), (true, 1, 320));
    }

    #[test]
    fn the_packet_that_breaks_other_readers_is_refused_or_read_but_never_fatal() {
        // A one-byte extension that claims more than the packet has.
        let packet = [0x90, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xBE, 0xDE, 0, 1, 0x1A, 1, 2, 3];
        assert_eq!(Packet::read(&packet).unwrap().payload, b"");
        assert!(Packet::read(&packet[..19]).is_none());
    }

    #[test]
    fn sources_extension_and_padding_are_stepped_over() {
        let mut packet = vec![0x80 | PADDING | EXTENSION | 2, 0x80, 0, 5, 0, 0, 0, 9, 0, 0, 0, 1];
        packet.extend([1; 8]);
        packet.extend([0xAB, 0xCD, 0, 1, 9, 9, 9, 9]);
        packet.extend([0x11, 0x22, 0x33, 0, 0, 3]);
        let read = Packet::read(&packet).unwrap();
        assert_eq!((read.payload, read.marker, read.sequence), (&[0x11, 0x22, 0x33][..], true, 5));
        *packet.last_mut().unwrap() = 200;
        assert!(Packet::read(&packet).is_none());
        *packet.last_mut().unwrap() = 0;
        assert!(Packet::read(&packet).is_none());
    }

    #[test]
    fn other_protocols_are_no_rtp() {
        assert!(Packet::read(b"").is_none());
        assert!(Packet::read(b"OPTIONS sip:a SIP/2.0").is_none());
        assert!(Packet::read(&[0x80; 11]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Packet::read(&bytes);
        }

        #[test]
        fn where_the_library_reads_a_plain_packet_we_read_the_same(mut bytes in proptest::collection::vec(any::<u8>(), 12..200)) {
            bytes[0] = 0x80;
            let ours = Packet::read(&bytes).unwrap();
            let theirs = rtc_rtp::packet::Packet::unmarshal(&mut &bytes[..]).unwrap();
            prop_assert_eq!(ours.payload, &theirs.payload[..]);
            prop_assert_eq!(ours.timestamp, theirs.header.timestamp);
            prop_assert_eq!(ours.sequence, theirs.header.sequence_number);
        }
    }
}
