//! A key that comes several ways, as telephone-event (RFC 4733), by INFO (RFC 6086) and as sound, is one key.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How a key came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Event,
    Info,
    Sound,
}

/// What is known of the ways of the keys of one call.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// telephone-event is agreed.
    agreed: bool,
    /// A key came as telephone-event: what comes by the other ways are copies.
    as_events: bool,
    /// Keys that were counted lately, with the ways they have come.
    recent: VecDeque<Recent>,
}

#[derive(Clone, Copy, Debug)]
struct Recent {
    key: char,
    at: Instant,
    ways: [bool; 3],
}

impl Keys {
    /// Media was agreed, with telephone-event or without.
    pub(super) fn agree(&mut self, telephone_event: bool) {
        self.agreed = telephone_event;
    }

    /// Whether a key that was counted may still come as telephone-event, too.
    pub(super) fn copy_may_come(&self, now: Instant) -> bool {
        let young = |recent: &Recent| now.saturating_duration_since(recent.at) < TWIN;
        self.recent.iter().any(|recent| matches!(recent.ways, [false, ..]) && young(recent))
    }

    /// Whether a key counts.
    pub(super) fn counts(&mut self, now: Instant, key: char, way: Way) -> bool {
        if way != Way::Event && self.agreed && self.as_events {
            return false;
        }
        self.as_events |= way == Way::Event;
        let key = key.to_ascii_uppercase();
        self.recent.retain(|recent| now.saturating_duration_since(recent.at) < TWIN);
        let [event, info, sound] = [Way::Event, Way::Info, Way::Sound].map(|one| one == way);
        let came = |ways: &[bool; 3]| ways.iter().zip([event, info, sound]).any(|(came, comes)| *came && comes);
        if let Some(twin) = self.recent.iter_mut().find(|recent| recent.key == key && !came(&recent.ways)) {
            for (came, comes) in twin.ways.iter_mut().zip([event, info, sound]) {
                *came |= comes;
            }
            return false;
        }
        if self.recent.len() >= MOST {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { key, at: now, ways: [event, info, sound] });
        true
    }
}

/// One key's ways are not further apart.
const TWIN: Duration = Duration::from_secs(1);
/// Nobody presses more in that time.
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `(milliseconds, key, way)` with telephone-event agreed, and lists the keys that counted.
    fn counted(pressed: &[(u64, char, Way)]) -> String {
        let now = crate::base::clock::now().at;
        let mut keys = Keys::default();
        keys.agree(true);
        let counts = pressed.iter().filter(|(ms, key, way)| keys.counts(now + Duration::from_millis(*ms), *key, *way));
        counts.map(|(_, key, _)| *key).collect()
    }

    #[test]
    fn a_key_that_comes_several_ways_counts_once_in_any_order() {
        use Way::{Event, Info, Sound};
        assert_eq!(counted(&[(0, '5', Info), (90, '5', Event)]), "5");
        assert_eq!(counted(&[(0, '5', Info), (10, '5', Info), (200, '5', Event), (400, '5', Event)]), "55", "twice");
        assert_eq!(counted(&[(0, '5', Event), (90, '5', Info), (60_000, '7', Info), (60_100, '7', Event)]), "57");
        assert_eq!(counted(&[(0, '5', Sound), (20, '5', Info), (90, '5', Event), (100, '5', Sound)]), "5", "all three");
        assert_eq!(counted(&[(0, 'a', Info), (90, 'A', Sound)]), "a");
        assert_eq!(counted(&[(0, '1', Sound), (10, '2', Event), (20, '1', Event)]), "12");
    }

    #[test]
    fn keys_of_one_way_are_never_lost() {
        let (now, ms) = (crate::base::clock::now().at, Duration::from_millis);
        for way in [Way::Event, Way::Info, Way::Sound] {
            let mut keys = Keys::default();
            keys.agree(true);
            assert!((0..100).all(|_| keys.counts(now, '1', way)), "{way:?}");
        }
        let mut keys = Keys::default();
        keys.agree(true);
        assert!(keys.counts(now, '1', Way::Info) && keys.counts(now + TWIN, '1', Way::Event), "too long ago");
        keys.agree(false);
        assert!(keys.counts(now + ms(2500), '1', Way::Info), "no longer agreed");
    }
}
