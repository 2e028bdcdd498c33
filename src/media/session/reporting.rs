//! RTCP of a session: what the peer reports, and when and where we do (RFC 3550 section 6, RFC 3711 section 3.4).

use super::{LONGEST_SECURED, Session, samples};
use crate::base::Now;
use crate::media::contract::{Output, Socket};
use crate::media::rtcp::{Compound, Ours, Unused};
use crate::media::srtp::{Refused, Secured};
use std::net::SocketAddr;
use std::time::Instant;

impl Session {
    /// A report of the peer. Garbage changes nothing and is counted.
    pub(super) fn report_in(&mut self, at: Instant, from: SocketAddr, bytes: &[u8]) {
        let (Some(control), Some(agreed)) = (&mut self.control, &self.agreed) else { return };
        let dropped = &mut self.counts.dropped;
        let mut room = [0; LONGEST_SECURED];
        let opened = match &mut self.secured {
            Some(secured) => secured.open_control(bytes, &mut room),
            None => Ok(bytes),
        };
        let streams = (self.outbound.numbering.sent(), self.source.ssrc());
        *match opened {
            Ok(bytes) => match control.receive(at, from, agreed.latch.target(), streams, bytes) {
                Ok(()) => return,
                Err(Unused::Malformed) => &mut dropped.not_rtcp,
                Err(Unused::Stranger) => &mut dropped.stranger,
                Err(Unused::Flood) => &mut dropped.flood,
            },
            Err(Refused::Malformed) => &mut dropped.not_rtcp,
            Err(Refused::Forged) => &mut dropped.forged,
            Err(Refused::Replayed) => &mut dropped.replayed,
        } += 1;
    }

    /// Our report, when it is time.
    pub(super) fn report_out(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(ours) = self.ours(now.at) else { return };
        let Some(control) = self.control.as_mut().filter(|control| control.is_due(now.at)) else { return };
        let compound = control.report(now, ours, self.source.report());
        self.send_report(compound, out);
    }

    /// Our last report.
    pub(super) fn leave(&mut self, now: Now, out: &mut Vec<Output>) {
        let (Some(ours), Some(control)) = (self.ours(now.at), &mut self.control) else { return };
        if let Some(compound) = control.leave(now, ours, self.source.report()) {
            self.send_report(compound, out);
        }
    }

    /// Our stream as it stands, once anything was agreed.
    fn ours(&self, now: Instant) -> Option<Ours> {
        let (numbering, agreed) = (&self.outbound.numbering, self.agreed.as_ref()?);
        Some(numbering.sent().by(numbering.steps(samples(now, agreed.grid.next()))))
    }

    fn send_report(&mut self, mut compound: Compound, out: &mut Vec<Output>) {
        let (Some(control), Some(agreed)) = (&self.control, &self.agreed) else { return };
        let Some(to) = control.target(agreed.latch.target()) else { return };
        let by = if control.multiplexed() { Socket::Rtp } else { Socket::Rtcp };
        let sealed = |secured: &mut Box<Secured>| compound.seal(|room, length| secured.seal_control(room, length));
        if self.secured.as_mut().is_none_or(sealed) {
            out.push(Output::Report { to, compound, by });
        }
    }
}
