//! RTCP packets (RFC 3550 section 6): what concerns us of a datagram that came in, and the writing of ours.
//!
//! Headers and report blocks are the library's. Its whole packets, which allocate for each, and its compound reader, which gives
//! up a datagram for one packet it does not understand, are not used: what lies between those two is a few fixed places.

use crate::media::srtp::LONGEST_CONTROL_TRAILER;
use rtc_rtcp::header::{Header, PacketType};
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_shared::marshal::{Marshal as _, Unmarshal as _};
use std::fmt;

/// What a datagram tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Of a sender report: whose, and when by its own clock (64 bits of NTP).
    Sender {
        /// Who sends.
        ssrc: u32,
        /// The time of the report.
        ntp: u64,
    },
    /// What somebody heard of a source.
    Report(ReceptionReport),
    /// A source is leaving.
    Goodbye(u32),
}

/// Tells what is in a datagram; false, and nothing told, when it is no RTCP. One packet or many, whichever is first: reduced size
/// (RFC 5506) is understood whether it was agreed or not. Kinds of packets that do not concern us are stepped over.
pub fn read(datagram: &[u8], mut told: impl FnMut(Item)) -> bool {
    // All of it is checked before anything of it is believed.
    if datagram.is_empty() || packets(datagram).any(|packet| packet.is_none()) {
        return false;
    }
    for (header, body) in packets(datagram).flatten() {
        let words = || body.chunks_exact(4).filter_map(|word| Some(u32::from_be_bytes(*word.first_chunk()?)));
        let blocks = match header.packet_type {
            PacketType::SenderReport => {
                let mut words = words();
                if let (Some(ssrc), Some(seconds), Some(fraction)) = (words.next(), words.next(), words.next()) {
                    told(Item::Sender { ssrc, ntp: u64::from(seconds) << 32 | u64::from(fraction) });
                }
                body.get(SENDER..)
            }
            PacketType::ReceiverReport => body.get(SOURCE..),
            PacketType::Goodbye => {
                words().take(usize::from(header.count)).for_each(|ssrc| told(Item::Goodbye(ssrc)));
                None
            }
            _ => None,
        };
        for mut block in blocks.unwrap_or_default().chunks_exact(BLOCK).take(usize::from(header.count)) {
            if let Ok(report) = ReceptionReport::unmarshal(&mut block) {
                told(Item::Report(report));
            }
        }
    }
    true
}

/// The packets of a datagram with what is behind their headers (RFC 3550 appendix A.2). A `None` is the end of what can be read.
fn packets(datagram: &[u8]) -> impl Iterator<Item = Option<(Header, &[u8])>> {
    let mut rest = Some(datagram);
    std::iter::from_fn(move || {
        let whole = rest.take().filter(|rest| !rest.is_empty())?;
        let packet = split(whole);
        rest = packet.as_ref().map(|(_, _, rest)| *rest);
        Some(packet.map(|(header, body, _)| (header, body)))
    })
}

fn split(whole: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let header = Header::unmarshal(&mut &*whole).ok()?;
    let kind = whole.get(1)?;
    let (packet, rest) = whole.split_at_checked(HEADER + 4 * usize::from(header.length))?;
    let body = packet.get(HEADER..)?;
    let count = usize::from(header.count);
    let least = match header.packet_type {
        PacketType::SenderReport => SENDER + count * BLOCK,
        PacketType::ReceiverReport => SOURCE + count * BLOCK,
        PacketType::Goodbye => count * SOURCE,
        _ => 0,
    };
    // Only the last packet is padded.
    let fits = KINDS.contains(kind) && body.len() >= least && (!header.padding || rest.is_empty());
    fits.then_some((header, body, rest))
}

/// A compound packet that goes out, in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Compound {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Compound {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self { bytes: [0; LONGEST], length: 0 }
    }

    /// A packet of `words` 32-bit words behind its header follows.
    pub(super) fn header(&mut self, packet_type: PacketType, count: u8, words: u16) {
        let header = Header { padding: false, count, packet_type, length: words };
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        // The room is made for all that we ever write: the library's only error is a short one.
        self.length += header.marshal_to(room).unwrap_or(0);
    }

    pub(super) fn report(&mut self, report: &ReceptionReport) {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        self.length += report.marshal_to(room).unwrap_or(0);
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }

    /// The bytes for the socket.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Has `protect` lengthen the packet in place, as [`crate::media::rtp::Datagram`] does it.
    pub(in crate::media) fn seal(&mut self, protect: impl FnOnce(&mut [u8], usize) -> Option<usize>) -> bool {
        let length = protect(&mut self.bytes, self.length);
        self.length = length.unwrap_or(0);
        length.is_some()
    }
}

impl fmt::Debug for Compound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compound({} bytes)", self.length)
    }
}

/// Packet types that are RTCP's (RFC 5761 section 4).
pub(super) const KINDS: std::ops::RangeInclusive<u8> = 192..=223;
const HEADER: usize = 4;
const SOURCE: usize = 4;
/// A source and what it says of its sending.
const SENDER: usize = 24;
const BLOCK: usize = 24;
/// Of SDES with a CNAME of 16 characters: header, source, item, and the zeros that end the list.
const DESCRIPTION: usize = HEADER + SOURCE + 2 + 16 + 2;
const LONGEST: usize = HEADER + SENDER + BLOCK + DESCRIPTION + HEADER + SOURCE + LONGEST_CONTROL_TRAILER;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(datagram: &[u8]) -> Option<Vec<Item>> {
        let mut items = Vec::new();
        read(datagram, |item| items.push(item)).then_some(items)
    }

    fn block(ssrc: u32) -> ReceptionReport {
        ReceptionReport {
            ssrc,
            fraction_lost: 25,
            total_lost: 3,
            last_sequence_number: 0x1_0005,
            jitter: 80,
            last_sender_report: 0xAABB_CCDD,
            delay: 65_536,
        }
    }

    /// SR with a block, SDES, an application's packet of a kind that nobody knows, and BYE.
    fn compound() -> Vec<u8> {
        let mut bytes = vec![0x81, 200, 0, 12, 0, 0, 0, 7];
        bytes.extend(0x1122_3344_5566_7788_u64.to_be_bytes());
        bytes.extend([0; 12]);
        let mut room = [0; 24];
        block(9).marshal_to(&mut room).unwrap();
        bytes.extend(room);
        bytes.extend([0x81, 202, 0, 2, 0, 0, 0, 7, 1, 1, b'x', 0]);
        bytes.extend([0x80, 210, 0, 1, 1, 2, 3, 4]);
        bytes.extend([0x81, 203, 0, 1, 0, 0, 0, 7]);
        bytes
    }

    #[test]
    fn a_compound_packet_tells_sender_blocks_and_goodbye() {
        let told = items(&compound()).unwrap();
        let sender = Item::Sender { ssrc: 7, ntp: 0x1122_3344_5566_7788 };
        assert_eq!(told, [sender, Item::Report(block(9)), Item::Goodbye(7)]);
    }

    #[test]
    fn each_packet_may_stand_alone_which_is_reduced_size() {
        assert_eq!(items(&compound()[52..64]).unwrap(), []);
        assert_eq!(items(&compound()[72..]).unwrap(), [Item::Goodbye(7)]);
    }

    #[test]
    fn what_is_cut_anywhere_is_refused_whole() {
        let whole = compound();
        let ends = [52, 64, 72, 80];
        for length in 0..=whole.len() {
            assert_eq!(items(&whole[..length]).is_some(), ends.contains(&length), "{length}");
        }
    }

    #[test]
    fn counts_that_claim_more_than_there_is_padding_in_the_middle_and_other_kinds_are_refused() {
        for (at, byte) in [(0, 0x82), (0, 0xA1), (0, 0x41), (1, 127), (1, 191), (3, 0xFF), (72, 0x82)] {
            let mut bytes = compound();
            bytes[at] = byte;
            assert_eq!(items(&bytes), None, "{at} {byte:#x}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_what_the_library_reads_we_read(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            kind in 200_u8..=203,
        ) {
            let _ = items(&bytes);
            // A datagram of one packet whose length is right.
            let mut one = bytes;
            one.resize(4 + one.len() / 4 * 4, 0);
            let words = u16::try_from(one.len() / 4 - 1).unwrap().to_be_bytes();
            one[1..4].copy_from_slice(&[kind, words[0], words[1]]);
            one[0] = 0x80 | one[0] & 0x1F;
            if rtc_rtcp::packet::unmarshal(&mut &one[..]).is_ok() {
                prop_assert!(items(&one).is_some());
            }
        }
    }
}
