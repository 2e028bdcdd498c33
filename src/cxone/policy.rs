//! When a signal is repeated (CXone facts 1.3): pure, so that the table is the test.

use crate::call::output::Purpose;
use std::time::Duration;

/// What one try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// No byte of the signal left: DNS, TCP or TLS failed, or the token or the API base could not be had just now.
    NotSent,
    /// No token or API base to be had at all: the credentials are refused, or the answer will not get better.
    NoAccess,
    /// Sent, and no answer: it may or may not have acted.
    Lost,
    /// An answer came.
    Answered {
        /// HTTP status.
        status: u16,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
}

/// What the tries before this one used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Retries after a wait.
    pub waits: usize,
    /// Tries that were lost: one may have acted.
    pub lost: u32,
    /// Tokens refused.
    pub refused: u32,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// CXone has it.
    Accepted,
    /// Wait so long (at most), then try again.
    Retry(Duration),
    /// Drop the token, mint another, try again at once.
    MintAndRetry,
    /// The contact is gone.
    Gone,
    /// Give up; it may have acted.
    Ambiguous,
    /// Give up; CXone does not have it.
    Failed,
}

/// The bounds of one signal.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// All of it.
    pub budget: Duration,
    /// The waits before the retries.
    pub retries: [Duration; 3],
}

/// Decides after a try. `elapsed` is since the signal was ordered.
#[must_use]
pub fn decide(purpose: Purpose, used: Used, tried: Try, elapsed: Duration, bounds: &Bounds) -> Decision {
    let left = bounds.budget.saturating_sub(elapsed);
    let next_wait = bounds.retries.get(used.waits).copied();
    let again = |wait: Option<Duration>| wait.filter(|wait| *wait < left).map(Decision::Retry);
    let give_up = match used.lost {
        0 => Decision::Failed,
        // An earlier try of this signal may have acted, whatever the later ones came to.
        _ => Decision::Ambiguous,
    };
    match tried {
        Try::NotSent => again(next_wait).unwrap_or(give_up),
        Try::NoAccess => give_up,
        Try::Lost => match purpose {
            // A second Onsignal restarts the script's branch and may lose the place in the queue.
            Purpose::Transfer => Decision::Ambiguous,
            Purpose::Hangup if used.lost == 0 => again(next_wait).unwrap_or(Decision::Ambiguous),
            Purpose::Hangup => Decision::Ambiguous,
        },
        Try::Answered { status: 200..=299, .. } => Decision::Accepted,
        Try::Answered { status: 401 | 403, .. } => match used.refused {
            0 if !left.is_zero() => Decision::MintAndRetry,
            _ => give_up,
        },
        Try::Answered { status: 404 | 410, .. } => Decision::Gone,
        // The table's choice, for transfers too, and a risk that it takes: a 408, 500, 502 or 504 may be the word of a gateway in
        // between that had passed the signal on, and a second Onsignal restarts the script's branch. Giving up instead would
        // lose the caller whenever CXone is merely busy.
        Try::Answered { status: 408 | 425 | 429 | 500..=599, retry_after } => {
            // One that does not fit is no help to a caller who waits: our own pace then.
            let asked = retry_after.filter(|wait| *wait < left);
            again(next_wait.map(|wait| asked.unwrap_or(wait))).unwrap_or(give_up)
        }
        Try::Answered { .. } => give_up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Decision::{Accepted, Ambiguous, Failed, Gone, MintAndRetry, Retry};
    use Purpose::{Hangup, Transfer};

    const BOUNDS: Bounds = Bounds { budget: ms(5000), retries: [ms(200), ms(600), ms(1200)] };
    const FRESH: Used = Used { waits: 0, lost: 0, refused: 0 };

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn answered(status: u16) -> Try {
        Try::Answered { status, retry_after: None }
    }

    fn asking(status: u16, seconds: u64) -> Try {
        Try::Answered { status, retry_after: Some(Duration::from_secs(seconds)) }
    }

    #[test]
    fn the_table() {
        let waited = |waits| Used { waits, ..FRESH };
        let lost = Used { lost: 1, ..FRESH };
        let refused = Used { refused: 1, ..FRESH };
        let rows: Vec<(Purpose, Used, Try, u64, Decision)> = vec![
            // Nothing was sent: three retries within the budget.
            (Transfer, FRESH, Try::NotSent, 0, Retry(ms(200))),
            (Transfer, waited(1), Try::NotSent, 300, Retry(ms(600))),
            (Transfer, waited(2), Try::NotSent, 1000, Retry(ms(1200))),
            (Transfer, waited(3), Try::NotSent, 2300, Failed),
            (Transfer, waited(2), Try::NotSent, 3800, Failed),
            (Hangup, FRESH, Try::NotSent, 5000, Failed),
            (Hangup, lost, Try::NotSent, 5000, Ambiguous),
            (Transfer, FRESH, Try::NoAccess, 10, Failed),
            (Hangup, lost, Try::NoAccess, 10, Ambiguous),
            // Sent and not answered.
            (Transfer, FRESH, Try::Lost, 2000, Ambiguous),
            (Transfer, waited(1), Try::Lost, 100, Ambiguous),
            (Hangup, FRESH, Try::Lost, 2000, Retry(ms(200))),
            (Hangup, Used { waits: 1, ..lost }, Try::Lost, 4200, Ambiguous),
            (Hangup, FRESH, Try::Lost, 4900, Ambiguous),
            // Tokens: once.
            (Transfer, FRESH, answered(401), 50, MintAndRetry),
            (Hangup, FRESH, answered(403), 50, MintAndRetry),
            (Transfer, refused, answered(401), 90, Failed),
            (Transfer, refused, answered(403), 90, Failed),
            (Hangup, Used { refused: 1, ..lost }, answered(403), 90, Ambiguous),
            (Transfer, FRESH, answered(401), 5000, Failed),
            // Busy or broken: in the budget, at the service's pace where it fits.
            (Transfer, FRESH, asking(429, 1), 0, Retry(ms(1000))),
            (Transfer, FRESH, asking(503, 60), 0, Retry(ms(200))),
            (Transfer, FRESH, asking(503, 5), 0, Retry(ms(200))),
            (Transfer, FRESH, asking(503, 0), 0, Retry(ms(0))),
            (Transfer, waited(3), asking(503, 1), 0, Failed),
            (Hangup, Used { waits: 1, ..lost }, answered(503), 4500, Ambiguous),
            // The contact is gone; also when the first try may have ended it.
            (Transfer, FRESH, answered(404), 0, Gone),
            (Hangup, FRESH, answered(410), 0, Gone),
            (Hangup, lost, answered(404), 0, Gone),
        ];
        for (purpose, used, tried, elapsed, expected) in rows {
            let decision = decide(purpose, used, tried, ms(elapsed), &BOUNDS);
            assert_eq!(decision, expected, "{purpose:?} {used:?} {tried:?} at {elapsed} ms");
        }
    }

    #[test]
    fn every_status_has_its_row() {
        for purpose in [Transfer, Hangup] {
            for status in 100..=999 {
                let expected = match status {
                    200..=299 => Accepted,
                    401 | 403 => MintAndRetry,
                    404 | 410 => Gone,
                    408 | 425 | 429 | 500..=599 => Retry(ms(200)),
                    _ => Failed,
                };
                assert_eq!(decide(purpose, FRESH, answered(status), ms(0), &BOUNDS), expected, "{status}");
            }
        }
    }

    #[test]
    fn no_story_outlives_the_budget_or_repeats_a_lost_transfer() {
        let tries = [Try::NotSent, Try::Lost, answered(503), answered(401), asking(429, 2)];
        for seed in 0..5000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let purpose = if random.bool() { Transfer } else { Hangup };
            let (mut used, mut elapsed, mut sent) = (FRESH, ms(0), 0);
            loop {
                let tried = *random.choice(&tries).unwrap();
                sent += 1;
                elapsed += ms(random.u64(0..2000)).min(BOUNDS.budget.saturating_sub(elapsed));
                let decision = decide(purpose, used, tried, elapsed, &BOUNDS);
                used.lost += u32::from(tried == Try::Lost);
                match decision {
                    Retry(wait) => {
                        elapsed += wait;
                        used.waits += 1;
                    }
                    MintAndRetry => used.refused += 1,
                    _ => break,
                }
                assert!(elapsed < BOUNDS.budget, "a retry was ordered that cannot run");
                assert!(purpose == Hangup || used.lost == 0, "a transfer was repeated that may have acted");
            }
            assert!(sent <= 5, "three waits and one mint, so five tries: {sent}");
        }
    }
}
