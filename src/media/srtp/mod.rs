//! SRTP and SRTCP of one session (RFC 3711, 6188, 7714), keyed by SDP (RFC 4568): datagrams in and out, in place.
//!
//! The ciphers are webrtc-rs' (`rtc-crypto`); the framing around them is ours, see ADR 0007.

mod keys;
mod protection;
mod receiver;
mod sender;
mod window;

pub use keys::{KeySource, MasterKey, Srtp, Suite};
pub use receiver::{Receiver, Refused};
pub use sender::Sender;

use super::rtp::Datagram;

/// Both directions of a session.
#[derive(Debug)]
pub struct Secured {
    agreed: Srtp,
    /// None where the library cannot do it: then nothing is sent.
    sender: Option<Sender>,
    /// None where the library cannot do it: then nothing is authentic.
    receiver: Option<Receiver>,
    /// Before the last change of the peer's key: what was on its way under it is still read, until the first packet under the new.
    before: Option<Receiver>,
}

/// Whether our key has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rekeyed {
    /// The stream goes on as it was.
    Kept,
    /// The stream must begin anew: a new source, whose rollover counter nobody can be wrong about.
    Changed,
}

impl Secured {
    /// Keys as agreed.
    #[must_use]
    pub fn new(agreed: Srtp) -> Self {
        let sender = Sender::new(agreed.suite, &agreed.ours);
        let receiver = Receiver::new(agreed.suite, &agreed.theirs, agreed.mki);
        Self { agreed, sender, receiver, before: None }
    }

    /// Keys agreed anew: what did not change goes on with its counters.
    pub fn rekey(&mut self, agreed: &Srtp) -> Rekeyed {
        let before = std::mem::replace(&mut self.agreed, agreed.clone());
        let same_suite = before.suite == agreed.suite;
        if !(same_suite && before.theirs == agreed.theirs && before.mki == agreed.mki) {
            let mut receiver = Receiver::new(agreed.suite, &agreed.theirs, agreed.mki);
            if let (Some(receiver), Some(before)) = (&mut receiver, &self.receiver) {
                receiver.follow(before);
            }
            self.before = std::mem::replace(&mut self.receiver, receiver);
        }
        if same_suite && before.ours == agreed.ours {
            return Rekeyed::Kept;
        }
        self.sender = Sender::new(agreed.suite, &agreed.ours);
        Rekeyed::Changed
    }

    /// Encrypts an RTP packet. False when it must not be sent.
    #[must_use]
    pub fn seal(&mut self, datagram: &mut Datagram) -> bool {
        datagram.seal(|room, length| self.sender.as_mut()?.rtp(room, length))
    }

    /// Checks and decrypts an RTP packet into `room`.
    ///
    /// # Errors
    /// Why it is not to be used.
    pub fn open<'a>(&mut self, datagram: &[u8], room: &'a mut [u8]) -> Result<&'a [u8], Refused> {
        let receiver = self.receiver.as_mut().ok_or(Refused::Forged)?;
        let length = match (receiver.rtp(datagram, room), &mut self.before) {
            (Err(Refused::Forged), Some(before)) => before.rtp(datagram, room)?,
            (opened, before) => {
                let length = opened?;
                *before = None;
                length
            }
        };
        Ok(room.get(..length).unwrap_or_default())
    }

    /// Encrypts a compound RTCP packet of `length` bytes in `room`; the length with what protects it, `None` when it must not be
    /// sent.
    #[must_use]
    pub fn seal_control(&mut self, room: &mut [u8], length: usize) -> Option<usize> {
        self.sender.as_mut()?.rtcp(room, length)
    }

    /// Checks and decrypts a compound RTCP packet into `room`.
    ///
    /// # Errors
    /// Why it is not to be used.
    pub fn open_control<'a>(&mut self, datagram: &[u8], room: &'a mut [u8]) -> Result<&'a [u8], Refused> {
        let receiver = self.receiver.as_mut().ok_or(Refused::Forged)?;
        let length = match (receiver.rtcp(datagram, room), &mut self.before) {
            (Err(Refused::Forged), Some(before)) => before.rtcp(datagram, room)?,
            (opened, _) => opened?,
        };
        Ok(room.get(..length).unwrap_or_default())
    }
}

/// Longest tag behind an SRTP packet, of all suites.
pub const LONGEST_TAG: usize = 16;
/// What SRTCP adds at most: the longest tag and the index.
pub const LONGEST_CONTROL_TRAILER: usize = LONGEST_TAG + 4;
