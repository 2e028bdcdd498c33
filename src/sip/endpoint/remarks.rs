//! What operators read of refused INVITEs (RFC 3261 section 13.3.1.3): a line per reason and second, however many are refused.

use crate::sip::message::{Inbound, Method};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// When a line about each reason was last written, and how many were not since.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    last: HashMap<&'static str, (Instant, u64)>,
}

impl Remarks {
    /// A refusal. The source is named where an operator may have to let it in.
    pub(super) fn refused(&mut self, now: Instant, inbound: &Inbound, code: u16, reason: &'static str) {
        // A challenge is where each call begins.
        if inbound.request.method == Method::Invite && !matches!(reason, "digest_challenged" | "digest_stale") {
            self.write(now, inbound.flow.remote.ip(), code, reason);
        }
    }

    /// The same of an INVITE that could not be read.
    pub(super) fn write(&mut self, now: Instant, source: IpAddr, code: u16, reason: &'static str) {
        let Some(left_out) = self.due(now, reason) else { return };
        let source = matches!(code, 401 | 403).then(|| tracing::field::display(source.to_canonical()));
        tracing::warn!(event = "invite_refused", reason, code, source, left_out, "INVITE refused");
    }

    /// How many were left out since the last line, where the next may be written now.
    fn due(&mut self, now: Instant, reason: &'static str) -> Option<u64> {
        match self.last.get_mut(reason) {
            Some((at, left_out)) if now.saturating_duration_since(*at) < INTERVAL => {
                *left_out += 1;
                None
            }
            Some((at, left_out)) => {
                *at = now;
                Some(std::mem::take(left_out))
            }
            None => {
                self.last.insert(reason, (now, 0));
                Some(0)
            }
        }
    }
}

/// Between two lines about one reason.
const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_what_was_left_out() {
        let start = crate::base::clock::now().at;
        let mut remarks = Remarks::default();
        let lines: Vec<_> = (0..250u64)
            .filter_map(|i| remarks.due(start + Duration::from_millis(i * 10), "max_calls").map(|left| (i * 10, left)))
            .collect();
        assert_eq!(lines, [(0, 0), (1000, 99), (2000, 99)]);
        assert_eq!(remarks.due(start + Duration::from_millis(2001), "stranger"), Some(0), "each reason has its own");
    }
}
