//! Sessions of the assistant with their inactivity timeout (Watson facts 2.4), on given time.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The sessions that live.
#[derive(Debug)]
pub(super) struct Sessions {
    inactivity: Duration,
    live: HashMap<String, Session>,
}

/// One session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// What is kept between turns.
    pub(super) context: Value,
    /// Turns answered.
    pub(super) turns: u64,
    used: Instant,
}

impl Sessions {
    /// None yet.
    pub(super) fn new(inactivity: Duration) -> Self {
        Self { inactivity, live: HashMap::new() }
    }

    /// Opens a session; `None` when too many live.
    pub(super) fn create(&mut self, id: &str, now: Instant) -> bool {
        if self.live.len() >= MOST_SESSIONS {
            let inactivity = self.inactivity;
            self.live.retain(|_, session| now < session.used + inactivity);
        }
        if self.live.len() >= MOST_SESSIONS {
            return false;
        }
        self.live.insert(id.to_owned(), Session { context: json!({}), turns: 0, used: now });
        true
    }

    /// The session, whose inactivity counts anew; `None` when unknown or expired.
    pub(super) fn touch(&mut self, id: &str, now: Instant) -> Option<&mut Session> {
        let inactivity = self.inactivity;
        if self.live.get(id).is_some_and(|session| now >= session.used + inactivity) {
            self.live.remove(id);
        }
        let session = self.live.get_mut(id)?;
        session.used = now;
        Some(session)
    }

    /// Ends a session; false when unknown or expired.
    pub(super) fn delete(&mut self, id: &str, now: Instant) -> bool {
        self.touch(id, now).is_some() && self.live.remove(id).is_some()
    }
}

const MOST_SESSIONS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_while_it_is_used() {
        let start = crate::base::clock::now().at;
        let minute = Duration::from_secs(60);
        let mut sessions = Sessions::new(5 * minute);
        assert!(sessions.create("a", start));
        assert!(sessions.touch("a", start + 4 * minute).is_some());
        assert!(sessions.touch("a", start + 8 * minute).is_some(), "counted from the last use");
        assert!(sessions.touch("a", start + 13 * minute).is_none());
        assert!(sessions.touch("a", start + 13 * minute).is_none());
        assert!(sessions.create("b", start));
        assert!(sessions.delete("b", start));
        assert!(!sessions.delete("b", start));
        assert!(!sessions.delete("never", start));
    }
}
