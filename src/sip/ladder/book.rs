//! All ladders of an endpoint by Call-ID, bounded in bytes. Refused INVITEs have their own share: a flood of them pushes out other
//! refusals, and no call. Calls that are over go before those that live.

use super::archive::Archive;
use super::{Direction, Ladder};
use crate::base::Now;
use crate::sip::leg::LegId;
use crate::sip::transport::Flow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The ladders of calls that live, of those that lately ended, and of INVITEs that became no call.
#[derive(Debug)]
pub struct Ladders {
    /// A tree, as in `transaction::table`. Not those in the archive.
    all: BTreeMap<Arc<str>, Entry>,
    refused: Shelf,
    live: Shelf,
    /// Of calls that are over, and of which something may come yet.
    ending: Shelf,
    over: Archive,
    legs: BTreeMap<LegId, Arc<str>>,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    ladder: Ladder,
    place: Place,
    number: u64,
    /// When it came to its place.
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// No call, or none yet.
    Refused,
    Live,
    Ending,
}

/// Ladders from the oldest to the newest, and what they cost.
#[derive(Debug, Default)]
struct Shelf {
    order: BTreeMap<u64, Arc<str>>,
    cost: usize,
}

impl Default for Ladders {
    fn default() -> Self {
        let [refused, live, ending] = [(); 3].map(|()| Shelf::default());
        Self { all: BTreeMap::new(), refused, live, ending, over: Archive::new(OVER), legs: BTreeMap::new(), last: 0 }
    }
}

impl Ladders {
    /// A message that came or goes. An INVITE begins a ladder; what else has a Call-ID that is not known is nobody's.
    pub fn record(&mut self, now: Now, direction: Direction, flow: Flow, bytes: &[u8]) {
        let Some(call_id) = call_id(bytes) else { return };
        if let Some(entry) = self.all.get_mut(call_id) {
            let before = entry.ladder.cost;
            entry.ladder.push(now, direction, flow, bytes);
            let (place, after) = (entry.place, entry.ladder.cost);
            let shelf = self.shelf(place);
            shelf.cost = shelf.cost - before + after;
        } else if bytes.trim_ascii_start().starts_with(b"INVITE ") {
            let call_id: Arc<str> = call_id.into();
            let mut ladder = Ladder::new(now);
            ladder.push(now, direction, flow, bytes);
            ladder.cost += call_id.len() + size_of::<Entry>();
            self.put(now, call_id, ladder, Place::Refused);
        } else {
            return;
        }
        self.trim(now);
    }

    /// The INVITE has become a call.
    pub fn admitted(&mut self, now: Now, call_id: &str, leg: LegId) {
        if let Some((call_id, entry)) = self.take(call_id) {
            self.legs.insert(leg, Arc::clone(&call_id));
            self.put(now, call_id, entry.ladder, Place::Live);
            self.trim(now);
        }
    }

    /// The call is over. What still comes of it is recorded, for `LATE` and while there is room.
    pub fn over(&mut self, now: Now, leg: LegId) {
        let Some(call_id) = self.legs.remove(&leg) else { return };
        if let Some((call_id, entry)) = self.take(&call_id) {
            self.put(now, call_id, entry.ladder, Place::Ending);
            self.trim(now);
        }
    }

    /// The ladder of a Call-ID.
    #[must_use]
    pub fn find(&self, call_id: &str) -> Option<Ladder> {
        self.all.get(call_id).map(|entry| entry.ladder.clone()).or_else(|| self.over.find(call_id))
    }

    /// The ladder that was begun, or moved on by `admitted` and `over`, last.
    #[must_use]
    pub fn latest(&self) -> Option<Ladder> {
        let kept = self.all.values().max_by_key(|entry| entry.number);
        let archived = self.over.latest();
        match (kept, archived) {
            (Some(entry), Some((number, ladder))) if entry.number < number => Some(ladder),
            (Some(entry), _) => Some(entry.ladder.clone()),
            (None, archived) => archived.map(|(_, ladder)| ladder),
        }
    }

    fn put(&mut self, now: Now, call_id: Arc<str>, ladder: Ladder, place: Place) {
        self.last += 1;
        let number = self.last;
        let shelf = self.shelf(place);
        shelf.cost += ladder.cost;
        shelf.order.insert(number, Arc::clone(&call_id));
        self.all.insert(call_id, Entry { ladder, place, number, since: now.at });
    }

    fn take(&mut self, call_id: &str) -> Option<(Arc<str>, Entry)> {
        let (call_id, entry) = self.all.remove_entry(call_id)?;
        let shelf = self.shelf(entry.place);
        shelf.cost -= entry.ladder.cost;
        shelf.order.remove(&entry.number);
        Some((call_id, entry))
    }

    fn shelf(&mut self, place: Place) -> &mut Shelf {
        match place {
            Place::Refused => &mut self.refused,
            Place::Live => &mut self.live,
            Place::Ending => &mut self.ending,
        }
    }

    fn trim(&mut self, now: Now) {
        while self.refused.cost > REFUSED {
            let Some(oldest) = self.refused.oldest() else { break };
            self.take(&oldest);
        }
        while let Some(oldest) = self.ending.oldest() {
            let due = self.all.get(&oldest).is_none_or(|entry| now.at.saturating_duration_since(entry.since) >= LATE);
            if !due && self.ending.cost <= ENDING {
                break;
            }
            let Some((call_id, entry)) = self.take(&oldest) else { break };
            self.over.push(entry.number, &call_id, &entry.ladder);
        }
        while self.live.cost + self.ending.cost + self.over.cost() > CALLS {
            if self.over.shrink() {
                continue;
            }
            let Some(oldest) = self.ending.oldest().or_else(|| self.live.oldest()) else { break };
            self.take(&oldest);
        }
    }
}

impl Shelf {
    fn oldest(&self) -> Option<Arc<str>> {
        self.order.first_key_value().map(|(_, call_id)| Arc::clone(call_id))
    }
}

/// The Call-ID, found without reading the rest of the message: this runs for every message.
fn call_id(bytes: &[u8]) -> Option<&str> {
    let head = bytes.trim_ascii_start();
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        if line.is_empty() || line == b"\r" {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i") {
            let value = value.get(1..)?.trim_ascii();
            let fits = !value.is_empty() && value.len() <= LONGEST_CALL_ID;
            return fits.then(|| std::str::from_utf8(value).ok()).flatten();
        }
    }
    None
}

/// Bytes for the ladders of calls: some three and a half thousand of a plain call's.
const CALLS: usize = 16 << 20;
/// Of these at most for calls that have just ended.
const ENDING: usize = 2 << 20;
/// And for those that are over. What is left is for some hundreds of live calls; more of them take from those that are over.
const OVER: usize = 12 << 20;
/// As long as a BYE is sent again, and its answer may come (RFC 3261 17.1.2.2, timer F), and a second.
const LATE: Duration = Duration::from_secs(33);
/// Bytes for those of refused INVITEs.
const REFUSED: usize = 2 << 20;
/// Those who name their calls at greater length go without a ladder.
const LONGEST_CALL_ID: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::sip::Transport;

    fn flow() -> Flow {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.2:5060"].map(|address| address.parse().unwrap());
        Flow { transport: Transport::Udp, socket: 0, connection: 0, local, remote }
    }

    fn message(first: &str, call_id: &str, padding: usize) -> Vec<u8> {
        format!("{first}\r\nX: {}\r\nCall-ID: {call_id}\r\n\r\n", "x".repeat(padding)).into_bytes()
    }

    fn record(ladders: &mut Ladders, first: &str, call_id: &str, padding: usize) {
        ladders.record(clock::now(), Direction::In, flow(), &message(first, call_id, padding));
    }

    fn kept(ladders: &Ladders, call_id: &str) -> Option<usize> {
        ladders.find(call_id).map(|ladder| ladder.rungs().count())
    }

    /// What the shelves say they cost is what is there.
    fn balanced(ladders: &Ladders) -> bool {
        let cost = |place| ladders.all.values().filter(|e| e.place == place).map(|e| e.ladder.cost).sum::<usize>();
        [(&ladders.refused, Place::Refused), (&ladders.live, Place::Live), (&ladders.ending, Place::Ending)]
            .iter()
            .all(|(shelf, place)| shelf.cost == cost(*place))
    }

    #[test]
    fn an_invite_begins_a_ladder_and_nothing_else_does() {
        let mut ladders = Ladders::default();
        for first in ["OPTIONS sip:a@h SIP/2.0", "BYE sip:a@h SIP/2.0", "SIP/2.0 200 OK", "garbage"] {
            record(&mut ladders, first, "a", 0);
        }
        assert_eq!(kept(&ladders, "a"), None);
        record(&mut ladders, "INVITE sip:a@h SIP/2.0", "a", 0);
        record(&mut ladders, "SIP/2.0 403 Forbidden", "a", 0);
        assert_eq!(kept(&ladders, "a"), Some(2), "a refusal is found too");
        let odd = b"\r\nINVITE sip:a@h SIP/2.0\r\nX: y\r\n i: not this\r\ni : b@h \r\n\r\nCall-ID: nor this\r\n";
        ladders.record(clock::now(), Direction::In, flow(), odd);
        assert_eq!(ladders.all.len(), 2);
        let no_call_id = b"INVITE sip:a@h SIP/2.0\r\nX: y\r\n\r\nCall-ID: c\r\n";
        ladders.record(clock::now(), Direction::In, flow(), no_call_id);
        record(&mut ladders, "INVITE sip:a@h SIP/2.0", &"x".repeat(LONGEST_CALL_ID + 1), 0);
        assert_eq!(ladders.all.len(), 2);
    }

    #[test]
    fn a_flood_of_refusals_pushes_out_refusals_and_no_call() {
        let mut ladders = Ladders::default();
        record(&mut ladders, "INVITE sip:a@h SIP/2.0", "call", 0);
        ladders.admitted(clock::now(), "call", LegId(1));
        for number in 0..10_000 {
            record(&mut ladders, "INVITE sip:a@h SIP/2.0", &format!("flood-{number}"), 900);
            assert!(ladders.refused.cost <= REFUSED);
        }
        assert_eq!(kept(&ladders, "call"), Some(1));
        assert_eq!(kept(&ladders, "flood-0"), None);
        assert_eq!(kept(&ladders, "flood-9999"), Some(1));
        assert!(balanced(&ladders));
    }

    #[test]
    fn calls_that_are_over_go_before_those_that_live_and_all_are_bounded() {
        let mut ladders = Ladders::default();
        let now = clock::now();
        for number in 0..3_000 {
            let call_id = format!("call-{number}");
            record(&mut ladders, "INVITE sip:a@h SIP/2.0", &call_id, 3_000);
            ladders.admitted(now, &call_id, LegId(number));
            for _ in 0..3 {
                record(&mut ladders, "SIP/2.0 200 OK", &call_id, 3_000);
            }
            if number >= 10 {
                ladders.over(now, LegId(number));
            }
            assert!(bounded(&ladders));
        }
        assert_eq!(kept(&ladders, "call-0"), Some(4), "it lives");
        assert_eq!(kept(&ladders, "call-10"), None);
        assert_eq!(kept(&ladders, "call-2600"), Some(4), "in the archive");
        assert_eq!(kept(&ladders, "call-2999"), Some(4));
        record(&mut ladders, "BYE sip:a@h SIP/2.0", "call-2999", 0);
        assert_eq!(kept(&ladders, "call-2999"), Some(5), "late messages too");
        assert_eq!(ladders.legs.len(), 10);
        assert!(balanced(&ladders));
        for number in 3_000..10_000 {
            let call_id = format!("call-{number}");
            record(&mut ladders, "INVITE sip:a@h SIP/2.0", &call_id, 3_000);
            ladders.admitted(now, &call_id, LegId(number));
            assert!(bounded(&ladders), "nor may those that live grow without bound");
        }
        assert!(balanced(&ladders));
        assert_eq!(kept(&ladders, "call-0"), None);
        assert_eq!(kept(&ladders, "call-2600"), None);
    }

    fn bounded(ladders: &Ladders) -> bool {
        let calls = ladders.live.cost + ladders.ending.cost + ladders.over.cost();
        calls <= CALLS && ladders.ending.cost <= ENDING && ladders.over.cost() <= OVER
    }

    #[test]
    fn a_call_that_is_over_goes_to_the_archive_when_nothing_more_can_come() {
        let mut ladders = Ladders::default();
        let start = clock::now();
        let at = |seconds| Now { at: start.at + Duration::from_secs(seconds), ..start };
        let say = |ladders: &mut Ladders, seconds, first: &str, call_id: &str| {
            ladders.record(at(seconds), Direction::In, flow(), &message(first, call_id, 0));
        };
        for (call_id, leg) in [("a", LegId(1)), ("b", LegId(2))] {
            say(&mut ladders, 0, "INVITE sip:a@h SIP/2.0", call_id);
            ladders.admitted(at(0), call_id, leg);
        }
        ladders.over(at(100), LegId(1));
        say(&mut ladders, 132, "SIP/2.0 200 OK", "a");
        assert_eq!((kept(&ladders, "a"), ladders.all.len()), (Some(2), 2));
        say(&mut ladders, 133, "SIP/2.0 200 OK", "b");
        assert_eq!((kept(&ladders, "a"), ladders.all.len()), (Some(2), 1), "archived, and found");
        say(&mut ladders, 134, "SIP/2.0 200 OK", "a");
        assert_eq!(kept(&ladders, "a"), Some(2), "too late");
        assert_eq!(ladders.latest().unwrap().rungs().count(), 2, "a, which moved on last");
        ladders.over(at(135), LegId(2));
        say(&mut ladders, 136, "INVITE sip:a@h SIP/2.0", "a");
        assert_eq!(kept(&ladders, "a"), Some(1), "a new call of the same Call-ID");
        assert_eq!(ladders.latest().unwrap().rungs().count(), 1);
    }
}
