//! A key that comes both ways, as telephone-event (RFC 4733) and by INFO (RFC 6086), is one key.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is known of the ways of the keys of one call.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// telephone-event is agreed.
    agreed: bool,
    /// A key came as telephone-event: keys by INFO are copies.
    as_events: bool,
    /// Keys by INFO whose telephone-event may yet come.
    by_info: VecDeque<(char, Instant)>,
}

impl Keys {
    /// Media was agreed, with telephone-event or without.
    pub(super) fn agree(&mut self, telephone_event: bool) {
        self.agreed = telephone_event;
    }

    /// Whether a key by INFO counts.
    pub(super) fn info(&mut self, now: Instant, key: char) -> bool {
        if self.agreed && self.as_events {
            return false;
        }
        if self.by_info.len() >= MOST {
            self.by_info.pop_front();
        }
        self.by_info.push_back((key.to_ascii_uppercase(), now));
        true
    }

    /// Whether a key as telephone-event counts.
    pub(super) fn event(&mut self, now: Instant, key: char) -> bool {
        self.as_events = true;
        self.by_info.retain(|(_, at)| now.saturating_duration_since(*at) < TWIN);
        let twin = self.by_info.iter().position(|(known, _)| known.eq_ignore_ascii_case(&key));
        twin.and_then(|twin| self.by_info.remove(twin)).is_none()
    }
}

/// One key's two ways are not further apart.
const TWIN: Duration = Duration::from_secs(1);
/// Nobody presses more in that time.
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_both_ways_counts_once_in_either_order() {
        let (now, ms) = (crate::base::clock::now().at, Duration::from_millis);
        let mut keys = Keys::default();
        keys.agree(true);
        assert!(keys.info(now, '5'));
        assert!(keys.info(now + ms(10), '5'), "pressed twice");
        assert!(!keys.event(now + ms(200), '5'));
        assert!(!keys.event(now + ms(400), '5'));
        assert!(keys.event(now + ms(600), '5'), "the third time");
        assert!(!keys.info(now + ms(700), '5'));
        assert!(!keys.info(now + ms(60_000), '7'), "telephone-event it is");
        assert!(keys.event(now + ms(60_100), '7'));
    }

    #[test]
    fn keys_of_one_way_are_never_lost() {
        let (now, ms) = (crate::base::clock::now().at, Duration::from_millis);
        let mut keys = Keys::default();
        keys.agree(true);
        assert!((0..100).all(|_| keys.info(now, '1')), "agreed, but never used");
        assert!(keys.event(now + TWIN, '1'), "too long ago to be the same");
        keys.agree(false);
        assert!(keys.info(now + ms(2000), '1'), "no longer agreed");
    }
}
