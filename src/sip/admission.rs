//! Who may send, and how many calls are let in: all that is decided before a call exists. Bounded in memory, cheap when refusing.

use super::rate::Rate;
use super::recent::Recent;
use super::settings::Settings;
use super::sources::{Bucket, Grant};
use secrecy::ExposeSecret as _;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;
use subtle::ConstantTimeEq as _;

use super::message::Headers;

/// Why an INVITE is refused. `reason` is the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The process drains.
    Draining,
    /// `max_calls` calls are up.
    Full,
    /// `max_calls_per_second` were let in within the last second, or the source's share of them.
    Rate,
    /// This source has too many INVITEs without ACK.
    HalfOpen,
    /// The required header is missing or wrong.
    RequiredHeader,
}

impl Refusal {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::RequiredHeader => 403,
            _ => 503,
        }
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Full => "max_calls",
            Self::Rate => "max_calls_per_second",
            Self::HalfOpen => "half_open",
            Self::RequiredHeader => "required_header",
        }
    }

    /// Seconds for Retry-After: a full second where the rate was the matter, longer where calls must end first.
    pub(crate) fn retry_after(self) -> Option<u32> {
        match self {
            Self::RequiredHeader => None,
            Self::Rate | Self::HalfOpen => Some(1),
            Self::Full => Some(5),
            Self::Draining => Some(30),
        }
    }
}

/// The gate.
#[derive(Debug)]
pub(crate) struct Gate {
    strangers: Bucket,
    rate: Rate,
    /// INVITEs without ACK, by source. Only sources with one are in it.
    half_open: HashMap<IpAddr, usize>,
    /// Refused INVITEs by transaction, so that a retransmission is refused again and not let in.
    refused: Recent<String, Refusal>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            strangers: Bucket::full(STRANGERS),
            rate: Rate::default(),
            half_open: HashMap::new(),
            refused: Recent::new(MAX_REFUSED),
        }
    }

    /// Whether one more stranger gets an answer: a flood of them does not make us a source of 403s.
    pub(crate) fn answers_stranger(&mut self, now: Instant) -> bool {
        self.strangers.take(now)
    }

    /// Whether this INVITE's transaction was refused before.
    pub(crate) fn refused_before(&mut self, now: Instant, transaction: &String) -> Option<Refusal> {
        self.refused.decided(now, transaction)
    }

    pub(crate) fn remember_refused(&mut self, until: Instant, transaction: String, refusal: Refusal) {
        self.refused.remember(until, transaction, refusal);
    }

    /// Whether one more INVITE from `source` fits into what may wait for its ACK.
    pub(crate) fn half_open_fits(&self, source: IpAddr, settings: &Settings) -> bool {
        let cap = (settings.max_calls_per_second as usize).saturating_mul(4).max(MIN_HALF_OPEN);
        self.half_open.get(&source.to_canonical()).is_none_or(|open| *open < cap)
    }

    /// Counts an INVITE that waits for its ACK.
    pub(crate) fn opened(&mut self, source: IpAddr) {
        *self.half_open.entry(source.to_canonical()).or_default() += 1;
    }

    /// It waits no more.
    pub(crate) fn settled(&mut self, source: IpAddr) {
        let source = source.to_canonical();
        if let Some(open) = self.half_open.get_mut(&source) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.half_open.remove(&source);
            }
        }
    }

    /// Lets one call of `source` in, as far as `max_calls_per_second` and the other sources allow.
    pub(crate) fn admit(&mut self, now: Instant, source: IpAddr, settings: &Settings) -> bool {
        self.rate.admit(now, source, settings.max_calls_per_second)
    }
}

/// Whether the request carries the secret that the operator requires, compared in constant time.
pub(crate) fn carries_secret(settings: &Settings, headers: &Headers) -> bool {
    let Some(required) = &settings.required_header else { return true };
    let sent = headers.first(&required.name).unwrap_or_default();
    sent.as_bytes().ct_eq(required.value.expose_secret().as_bytes()).into()
}

/// 403s to strangers.
pub(crate) const STRANGERS: Grant = Grant { burst: 20, per_second: 20 };
/// Refused INVITEs remembered: at 64*T1 that is 512 refusals a second, beyond which a retransmission may be judged anew.
const MAX_REFUSED: usize = 16_384;
/// Even at a low call rate a source may have so many INVITEs ringing.
const MIN_HALF_OPEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(allow: &[&str]) -> Settings {
        let allow_from = allow.iter().map(|net| net.parse().unwrap()).collect();
        Settings { allow_from, ..Settings::default() }
    }

    #[test]
    fn an_empty_list_means_loopback_and_mapped_addresses_count_as_what_they_are() {
        let [four, six, mapped, far]: [IpAddr; 4] =
            ["127.0.0.9", "::1", "::ffff:10.1.2.3", "10.2.0.1"].map(|ip| ip.parse().unwrap());
        let loopback = settings(&[]);
        assert!(loopback.allows(four) && loopback.allows(six) && !loopback.allows(far));
        let ten = settings(&["10.1.0.0/16", "2001:db8::/32"]);
        assert!(ten.allows(mapped) && ten.allows("2001:db8::7".parse().unwrap()));
        assert!(!ten.allows(far) && !ten.allows(four));
    }

    #[test]
    fn half_open_invites_of_one_source_are_bounded() {
        let settings = Settings { max_calls_per_second: 1, ..Settings::default() };
        let source: IpAddr = "127.0.0.1".parse().unwrap();
        let mut gate = Gate::new();
        for _ in 0..MIN_HALF_OPEN {
            assert!(gate.half_open_fits(source, &settings));
            gate.opened(source);
        }
        assert!(!gate.half_open_fits(source, &settings));
        assert!(gate.half_open_fits("127.0.0.2".parse().unwrap(), &settings));
        for _ in 0..MIN_HALF_OPEN {
            gate.settled(source);
        }
        assert!(gate.half_open.is_empty());
    }
}
