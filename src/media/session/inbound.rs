//! What comes in: a datagram through SRTP, latch and flood guard to the stream, the pause or the key that it is of.

use super::{Kind, LONGEST_SECURED, Session, samples};
use crate::media::arrival::{Clock, Placed};
use crate::media::contract::{Event, Output};
use crate::media::reception::Order;
use crate::media::rtcp::is_control;
use crate::media::rtp::Packet;
use crate::media::source::Taken;
use crate::media::srtp::{Refused, Rekeyed, Secured, Srtp};
use std::net::SocketAddr;
use std::time::Instant;

impl Session {
    pub(super) fn secure(&mut self, agreed: Option<&Srtp>) {
        let Some(agreed) = agreed else {
            self.secured = None;
            return;
        };
        let rekeyed = match &mut self.secured {
            Some(secured) => secured.rekey(agreed),
            None => {
                self.secured = Some(Box::new(Secured::new(agreed.clone())));
                if self.counts.packets_out > 0 { Rekeyed::Changed } else { Rekeyed::Kept }
            }
        };
        if rekeyed == Rekeyed::Changed {
            self.outbound.numbering.renew();
        }
    }

    pub(super) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Output>) {
        if is_control(bytes) && self.control.as_ref().is_some_and(|control| control.multiplexed()) {
            return self.report_in(now, from, bytes);
        }
        let Some(secured) = &mut self.secured else { return self.packet(now, from, bytes, out) };
        // Nothing is believed, not even where it comes from, before it is authentic.
        let mut room = [0; LONGEST_SECURED];
        let refused = match secured.open(bytes, &mut room) {
            Ok(packet) => return self.packet(now, from, packet, out),
            Err(refused) => refused,
        };
        let dropped = &mut self.counts.dropped;
        *match refused {
            Refused::Malformed => &mut dropped.not_rtp,
            Refused::Forged => &mut dropped.forged,
            Refused::Replayed => &mut dropped.replayed,
        } += 1;
    }

    fn packet(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Output>) {
        let dropped = &mut self.counts.dropped;
        let Some(agreed) = &mut self.agreed else {
            dropped.stranger += 1;
            return;
        };
        let held = agreed.latch.holds(from);
        let Some(packet) = Packet::read(bytes) else {
            *(if held { &mut dropped.not_rtp } else { &mut dropped.stranger }) += 1;
            return;
        };
        let kind = agreed.kind(packet.payload_type);
        let known = kind.is_some();
        if !(held || known) || !agreed.latch.admit(now, from, packet.ssrc, packet.sequence) {
            dropped.stranger += 1;
            return;
        }
        if self.allowance == 0 {
            dropped.flood += 1;
            return;
        }
        self.allowance -= 1;
        agreed.last_packet = now;
        agreed.timeout_told = false;
        if packet.payload_type == agreed.media.payload_type && packet.payload_type != agreed.coming {
            agreed.coming = packet.payload_type;
            self.source.agree(agreed.media.codec);
        }
        let sized =
            (1..=self.source.longest_payload()).contains(&u64::try_from(packet.payload.len()).unwrap_or(u64::MAX));
        let Some(kind) = kind.filter(|_| sized) else {
            dropped.payload_type += 1;
            return;
        };
        if self.counts.packets_in == 0 {
            out.push(Output::Event(Event::FirstPacket));
        }
        self.counts.packets_in += 1;
        match kind {
            Kind::Audio => self.audio(now, &packet),
            Kind::ComfortNoise => self.pause(&packet),
            Kind::TelephoneEvent => {
                self.source.note_event(&packet);
                let before = out.len();
                let told = |key| out.push(Output::Event(Event::Digit(key)));
                self.keys.packet(packet.ssrc, packet.timestamp, packet.payload, told);
                if out.len() > before && self.outbound.prompts.key_stops() {
                    self.stop(now, out);
                }
            }
        }
    }

    /// The peer pauses and says how its silence sounds.
    fn pause(&mut self, packet: &Packet<'_>) {
        match self.source.admit(packet.ssrc, packet.sequence) {
            Order::Duplicate => self.counts.dropped.duplicate += 1,
            Order::Jump => self.counts.dropped.late += 1,
            Order::Next | Order::New | Order::Restart => self.source.pause(packet),
        }
    }

    fn audio(&mut self, now: Instant, packet: &Packet<'_>) {
        let Some(agreed) = &self.agreed else { return };
        let next = agreed.grid.next();
        let order = self.source.admit(packet.ssrc, packet.sequence);
        if order == Order::Duplicate {
            self.counts.dropped.duplicate += 1;
            return;
        }
        if order == Order::Jump {
            self.counts.dropped.late += 1;
            return;
        }
        // The reader stands still until its slot: woken too late, what waited in the socket has lost nothing by it.
        let clock = Clock { now: samples(self.origin, now.min(next)), slot: samples(self.origin, next) };
        match self.source.place(clock, order, packet) {
            Taken::Malformed => self.counts.dropped.payload_type += 1,
            Taken::Placed(placed, voiced) => {
                self.counts.dropped.late += u64::from(placed == Placed::Late);
                if voiced {
                    self.last_voiced = Some(now);
                }
            }
        }
    }
}
