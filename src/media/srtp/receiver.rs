//! What the peer sends: RTP and RTCP checked, and only then believed (RFC 3711 sections 3.3 and 3.4).
//!
//! Nothing that is kept changes for a packet that is not authentic, whatever source and number it claims.

use super::keys::{MasterKey, Suite};
use super::protection::{CONTROL_HEADER, Parts, Place, Protection, Purpose, WORD};
use super::sender::{ENCRYPTED, LAST_REPORT, rollover};
use super::window::{Sources, Window};
use crate::media::rtp;
use std::fmt;

/// The peer's direction under one master key.
pub struct Receiver {
    rtp: Protection,
    rtcp: Protection,
    mki: usize,
    packets: Sources,
    reports: Sources,
    /// Sources under the key before this one: some peers count their rollovers on, others from 0.
    earlier: Sources,
}

/// Why a packet is not to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No RTP or RTCP, too short to be protected, or longer than any of ours.
    Malformed,
    /// Not made with the agreed key.
    Forged,
    /// Seen before, or older than the window.
    Replayed,
}

impl Receiver {
    /// `None` where the library has not the suite. `mki` bytes of a key identifier are in each packet.
    #[must_use]
    pub fn new(suite: Suite, key: &MasterKey, mki: u8) -> Option<Self> {
        Some(Self {
            rtp: Protection::new(suite, key, Purpose::Rtp)?,
            rtcp: Protection::new(suite, key, Purpose::Rtcp)?,
            mki: usize::from(mki),
            packets: Sources::default(),
            reports: Sources::default(),
            earlier: Sources::default(),
        })
    }

    /// Takes over where `before`, under the key before, had come to: RFC 3711 section 3.3.1 lets rollovers count on.
    pub(super) fn follow(&mut self, before: &Self) {
        self.earlier = before.packets.clone();
    }

    /// Decrypts an RTP packet into `room`, and says how long it is there.
    ///
    /// # Errors
    /// Why it is not to be used.
    pub fn rtp(&mut self, packet: &[u8], room: &mut [u8]) -> Result<usize, Refused> {
        let header = rtp::header_length(packet).ok_or(Refused::Malformed)?;
        let (sequence, ssrc) = rtp::sequence_and_source(packet).ok_or(Refused::Malformed)?;
        let layout = self.layout(packet.len(), header).ok_or(Refused::Malformed)?;
        if let Some(window) = self.packets.window(ssrc) {
            let index = window.index(sequence);
            if !window.wants(index) {
                return Err(Refused::Replayed);
            }
            self.decrypt(packet, room, &layout, Place { ssrc, index })?;
            self.packets.note(ssrc, index);
            return Ok(layout.end);
        }
        let from_zero = u64::from(sequence);
        let counted_on = self.earlier.window(ssrc).map(|window| window.index(sequence));
        for index in std::iter::once(from_zero).chain(counted_on.filter(|index| *index != from_zero)) {
            match self.decrypt(packet, room, &layout, Place { ssrc, index }) {
                Err(Refused::Forged) => {}
                opened => {
                    opened?;
                    self.packets.note(ssrc, index);
                    return Ok(layout.end);
                }
            }
        }
        Err(Refused::Forged)
    }

    /// Decrypts a compound RTCP packet into `room`, and says how long it is there.
    ///
    /// # Errors
    /// Why it is not to be used.
    pub fn rtcp(&mut self, packet: &[u8], room: &mut [u8]) -> Result<usize, Refused> {
        let malformed = Refused::Malformed;
        let tag_length = self.rtcp.tag();
        let end = packet.len().checked_sub(tag_length + self.mki + WORD).ok_or(malformed)?;
        let behind = packet.get(end..).ok_or(malformed)?;
        let (tag, word) = if self.rtcp.is_aead() {
            (behind.get(..tag_length), behind.get(tag_length..tag_length + WORD))
        } else {
            (behind.get(WORD + self.mki..), behind.get(..WORD))
        };
        let (tag, word) = (tag.ok_or(malformed)?, word.and_then(<[u8]>::first_chunk).ok_or(malformed)?);
        let number = u32::from_be_bytes(*word);
        let index = u64::from(number) & LAST_REPORT;
        let plain = room.get_mut(..end).ok_or(malformed)?;
        plain.copy_from_slice(packet.get(..end).ok_or(malformed)?);
        let (header, text) = plain.split_at_mut_checked(CONTROL_HEADER).ok_or(malformed)?;
        let [flags, _, _, _, ssrc @ ..] = *header.first_chunk::<CONTROL_HEADER>().ok_or(malformed)?;
        if flags >> 6 != rtp::VERSION {
            return Err(malformed);
        }
        if number & ENCRYPTED == 0 {
            // Unencrypted SRTCP is a session parameter that we never agree to.
            return Err(Refused::Forged);
        }
        let ssrc = u32::from_be_bytes(ssrc);
        if self.reports.window(ssrc).is_some_and(|window: Window| !window.wants(index)) {
            return Err(Refused::Replayed);
        }
        self.rtcp.open(Place { ssrc, index }, Parts { header, text, more: word }, tag).ok_or(Refused::Forged)?;
        self.reports.note(ssrc, index);
        Ok(end)
    }

    fn decrypt(&mut self, packet: &[u8], room: &mut [u8], layout: &Layout, place: Place) -> Result<(), Refused> {
        let plain = room.get_mut(..layout.end).ok_or(Refused::Malformed)?;
        plain.copy_from_slice(packet.get(..layout.end).ok_or(Refused::Malformed)?);
        let tag = packet.get(layout.tag..layout.tag + self.rtp.tag()).ok_or(Refused::Malformed)?;
        let (header, text) = plain.split_at_mut_checked(layout.header).ok_or(Refused::Malformed)?;
        let counter = rollover(place.index);
        let more: &[u8] = if self.rtp.is_aead() { &[] } else { &counter };
        self.rtp.open(place, Parts { header, text, more }, tag).ok_or(Refused::Forged)
    }

    /// The key identifier lies before the tag of counter mode, and behind that of GCM.
    fn layout(&self, length: usize, header: usize) -> Option<Layout> {
        let end = length.checked_sub(self.mki + self.rtp.tag()).filter(|end| *end >= header)?;
        let tag = if self.rtp.is_aead() { end } else { end + self.mki };
        Some(Layout { header, end, tag })
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("packets", &self.packets).finish_non_exhaustive()
    }
}

/// Where the parts of an SRTP packet lie.
struct Layout {
    header: usize,
    /// Of the packet without what protects it.
    end: usize,
    tag: usize,
}
