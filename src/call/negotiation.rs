//! The seam to SDP offer and answer (RFC 3264): the call decides when, `media::sdp` how.

use crate::media::sdp::Negotiated;
use bytes::Bytes;

/// Offer and answer for one call, with its local address, port and codecs inside.
pub trait Negotiation {
    /// Answers the peer's offer: our SDP, and what was agreed.
    ///
    /// # Errors
    /// The offer is no SDP, or has nothing that we can do.
    fn answer(&mut self, offer: &[u8]) -> Result<(Bytes, Negotiated), Refusal>;

    /// Our offer, for an INVITE or a re-INVITE without one.
    fn offer(&mut self) -> Bytes;

    /// Takes the peer's answer to our offer.
    ///
    /// # Errors
    /// The answer is no SDP, or is none to our offer.
    fn accept(&mut self, answer: &[u8]) -> Result<Negotiated, Refusal>;
}

/// Why an SDP body was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400 for what is no SDP, 488 for what cannot be done.
    pub code: u16,
    /// Text of the Warning header (RFC 3261 section 20.43); quotes and controls are taken out by the call.
    pub warning: String,
}
