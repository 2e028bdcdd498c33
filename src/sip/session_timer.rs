//! The session timer as headers tell it (RFC 4028 sections 3 to 5 and 9): how long a session lasts unless it is refreshed, and by whom.

use super::message::{Headers, Params};
use std::time::Duration;

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionTimer {
    /// The session is over so long after its last refresh.
    pub(crate) interval: Duration,
    /// Whether refreshing it is our part.
    pub(crate) ours: bool,
    /// Whether the peer knows the extension: else a proxy between us asked for it.
    peer_knows: bool,
}

/// 422: the peer asks for less than [`MIN_SE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSmall;

impl SessionTimer {
    /// What we, as UAS, make of a request (section 9); `wanted` is our own interval, zero where we run no timer. The interval is the
    /// smaller one, never below Min-SE; the peer refreshes where it can and does not ask us to.
    pub(crate) fn asked(headers: &Headers, wanted: Duration) -> Result<Option<Self>, TooSmall> {
        if wanted.is_zero() {
            return Ok(None);
        }
        let peer_knows = ["Supported", "Require"]
            .iter()
            .any(|name| headers.list(name).iter().any(|tag| tag.eq_ignore_ascii_case(OPTION_TAG)));
        let floor = min_se(headers).map_or(MIN_SE, |least| least.max(MIN_SE));
        let ours = wanted.max(floor);
        let (interval, refresher) = match session_expires(headers) {
            // Only who knows the extension understands 422.
            Some((asked, _)) if asked < MIN_SE && peer_knows => return Err(TooSmall),
            Some((asked, refresher)) => (asked.max(MIN_SE).min(ours), refresher),
            None if peer_knows => (ours, None),
            // Neither the peer nor a proxy would miss a refresh.
            None => return Ok(None),
        };
        let ours = !peer_knows || refresher == Some(Refresher::Uas);
        Ok(Some(Self { interval, ours, peer_knows }))
    }

    /// What a 2xx to a request of ours says (section 7.2); `None`: no session timer.
    pub(crate) fn told(headers: &Headers) -> Option<Self> {
        let (interval, refresher) = session_expires(headers)?;
        let ours = refresher != Some(Refresher::Uas);
        Some(Self { interval: interval.max(MIN_SE), ours, peer_knows: true })
    }

    /// Into our 2xx.
    pub(crate) fn push_answer(self, headers: &mut Headers) {
        let refresher = if self.ours { "uas" } else { "uac" };
        headers.push("Session-Expires", &format!("{};refresher={refresher}", self.interval.as_secs()));
        if self.peer_knows {
            headers.push("Require", OPTION_TAG);
        }
    }

    /// Into our refresh, or another change of ours.
    pub(crate) fn push_refresh(self, headers: &mut Headers) {
        let refresher = if self.ours { "uac" } else { "uas" };
        headers.push("Session-Expires", &format!("{};refresher={refresher}", self.interval.as_secs()));
        headers.push("Min-SE", &MIN_SE.as_secs().to_string());
    }

    /// When to refresh, counted from the last refresh (section 7.2: half the interval is recommended).
    pub(crate) fn refresh_after(self) -> Duration {
        self.interval / 2
    }

    /// When to hang up, counted from the last refresh (section 10: so long before the end that BYE arrives in time).
    pub(crate) fn over_after(self) -> Duration {
        self.interval.saturating_sub((self.interval / 3).min(Duration::from_secs(32)))
    }
}

/// The Min-SE of a 422 or a request.
pub(crate) fn min_se(headers: &Headers) -> Option<Duration> {
    delta_seconds(headers.first("Min-SE")?).map(|(seconds, _)| seconds)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refresher {
    Uac,
    Uas,
}

/// Session-Expires, where it can be read: a malformed one is as good as none.
fn session_expires(headers: &Headers) -> Option<(Duration, Option<Refresher>)> {
    let (interval, params) = delta_seconds(headers.first("Session-Expires")?)?;
    let refresher = params.value("refresher").and_then(|who| match who {
        who if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
        who if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
        _ => None,
    });
    Some((interval, refresher))
}

fn delta_seconds(value: &str) -> Option<(Duration, Params)> {
    let (seconds, params) = Params::behind(value);
    let seconds = seconds.trim();
    if seconds.is_empty() || !seconds.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Larger than 136 years is 136 years.
    let seconds = seconds.parse::<u32>().unwrap_or(u32::MAX);
    Some((Duration::from_secs(seconds.into()), Params::parse(params).ok()?))
}

/// The option tag (section 12).
pub(crate) const OPTION_TAG: &str = "timer";
/// The least interval, ours and RFC 4028's (section 4).
pub(crate) const MIN_SE: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_interval_is_taken_and_the_caller_refreshes_where_it_can() {
        let timer = |seconds, ours, peer_knows| {
            Ok(Some(SessionTimer { interval: Duration::from_secs(seconds), ours, peer_knows }))
        };
        let known = ("Supported", "timer");
        for (fields, verdict) in [
            (&[][..], Ok(None)),
            (&[known], timer(1800, false, true)),
            (&[("k", "path, TIMER"), ("x", "600")], timer(600, false, true)),
            (&[("Require", "timer"), ("x", "7200 ; refresher=UAS")], timer(1800, true, true)),
            (&[known, ("x", "7200;refresher=uac"), ("Min-SE", "3600")], timer(3600, false, true)),
            (&[known, ("Min-SE", "3600;x")], timer(3600, false, true)),
            (&[known, ("x", "89")], Err(TooSmall)),
            (&[("x", "89")], timer(90, true, false)),
            (&[("x", "600;refresher=uac")], timer(600, true, false)),
            (&[known, ("x", "99999999999999")], timer(1800, false, true)),
            (&[known, ("x", "-5")], timer(1800, false, true)),
            (&[("x", "soon")], Ok(None)),
        ] {
            assert_eq!(SessionTimer::asked(&Headers::of(fields), Duration::from_secs(1800)), verdict, "{fields:?}");
            assert_eq!(SessionTimer::asked(&Headers::of(fields), Duration::ZERO), Ok(None), "off is off");
        }
    }

    #[test]
    fn the_end_is_a_third_or_32_seconds_early() {
        let after = |seconds| {
            let timer = SessionTimer { interval: Duration::from_secs(seconds), ours: true, peer_knows: true };
            (timer.refresh_after().as_secs(), timer.over_after().as_secs())
        };
        assert_eq!((after(90), after(1800)), ((45, 60), (900, 1768)));
    }
}
