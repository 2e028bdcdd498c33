//! What we send: RTP and RTCP protected in place (RFC 3711 sections 3.3 and 3.4).

use super::keys::{MasterKey, Suite};
use super::protection::{CONTROL_HEADER, Parts, Place, Protection, Purpose, WORD};
use super::window::Window;
use crate::media::rtp;
use std::fmt;

/// Our direction under one master key.
pub struct Sender {
    rtp: Protection,
    rtcp: Protection,
    /// Of our stream; there is one.
    sent: Option<Window>,
    /// SRTCP index of the last report.
    reports: u64,
}

impl Sender {
    /// `None` where the library has not the suite.
    #[must_use]
    pub fn new(suite: Suite, key: &MasterKey) -> Option<Self> {
        let rtp = Protection::new(suite, key, Purpose::Rtp)?;
        Some(Self { rtp, rtcp: Protection::new(suite, key, Purpose::Rtcp)?, sent: None, reports: 0 })
    }

    /// Protects the RTP packet of `length` bytes in `room`: its new length. `None` when it must not be sent.
    pub fn rtp(&mut self, room: &mut [u8], length: usize) -> Option<usize> {
        let header = rtp::header_length(room.get(..length)?)?;
        let (sequence, ssrc) = rtp::sequence_and_source(room)?;
        let index = self.sent.map_or(u64::from(sequence), |sent| sent.index(sequence));
        // The same index under the same key twice would give the text away; after 2^48 packets a key is spent (section 9.2).
        if index > LAST_INDEX || self.sent.is_some_and(|sent| !sent.wants(index)) {
            return None;
        }
        let counter = rollover(index);
        let more: &[u8] = if self.rtp.is_aead() { &[] } else { &counter };
        let (packet, behind) = room.split_at_mut_checked(length)?;
        let (header, text) = packet.split_at_mut_checked(header)?;
        let tag = behind.get_mut(..self.rtp.tag())?;
        self.rtp.seal(Place { ssrc, index }, Parts { header, text, more }, tag)?;
        self.sent.get_or_insert(Window::new(index)).note(index);
        Some(length + self.rtp.tag())
    }

    /// Protects the compound RTCP packet of `length` bytes in `room`: its new length. `None` when it must not be sent.
    pub fn rtcp(&mut self, room: &mut [u8], length: usize) -> Option<usize> {
        let index = self.reports + 1;
        if index > LAST_REPORT {
            return None;
        }
        let word = (ENCRYPTED | u32::try_from(index).ok()?).to_be_bytes();
        let (packet, behind) = room.split_at_mut_checked(length)?;
        let (header, text) = packet.split_at_mut_checked(CONTROL_HEADER)?;
        let [_, _, _, _, ssrc @ ..] = *header.first_chunk::<CONTROL_HEADER>()?;
        let place = Place { ssrc: u32::from_be_bytes(ssrc), index };
        let tag_length = self.rtcp.tag();
        let (tag_at, word_at) = if self.rtcp.is_aead() { (0, tag_length) } else { (WORD, 0) };
        behind.get_mut(word_at..word_at + WORD)?.copy_from_slice(&word);
        let tag = behind.get_mut(tag_at..tag_at + tag_length)?;
        self.rtcp.seal(place, Parts { header, text, more: &word }, tag)?;
        self.reports = index;
        Some(length + WORD + tag_length)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("sent", &self.sent).field("reports", &self.reports).finish_non_exhaustive()
    }
}

/// The rollover counter of an index, as tags take it in.
pub(super) const fn rollover(index: u64) -> [u8; 4] {
    let [_, _, a, b, c, d, _, _] = index.to_be_bytes();
    [a, b, c, d]
}

const LAST_INDEX: u64 = (1 << 48) - 1;
pub(super) const LAST_REPORT: u64 = (1 << 31) - 1;
pub(super) const ENCRYPTED: u32 = 1 << 31;
