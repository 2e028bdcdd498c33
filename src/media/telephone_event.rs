//! Keys as telephone-event packets (RFC 4733 section 2.5): each told once, when it begins, however many of its packets come, repeat or are lost.

use audio_codec::telephone_event::event_to_digit;

/// Recognises keys in the packets of one session. A key is told when it begins: whoever presses one wants to be heard at once.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The newest key, which may go on in a new segment.
    newest: Option<(Event, u16)>,
    /// The last keys that were told: their repeated packets and stragglers say nothing new.
    told: [Option<Event>; REMEMBERED],
    oldest: usize,
}

/// An event is known by where and when it began (RFC 4733 section 2.2.1 with RFC 3550 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    ssrc: u32,
    began: u32,
    code: u8,
}

impl Keys {
    /// Takes a packet's payload; `told` is called for each key that begins with it.
    pub fn packet(&mut self, ssrc: u32, timestamp: u32, payload: &[u8], mut told: impl FnMut(char)) {
        let mut began = timestamp;
        // Events that follow each other may share a packet (section 2.5.1.5); the timestamp is the first one's.
        for block in payload.chunks_exact(BLOCK).take(MOST_BLOCKS) {
            let &[code, _, high, low] = block else { continue };
            let duration = u16::from_be_bytes([high, low]);
            if code <= LAST_KEY {
                self.block(Event { ssrc, began, code }, duration, &mut told);
            }
            began = began.wrapping_add(u32::from(duration));
        }
    }

    fn block(&mut self, event: Event, duration: u16, told: &mut impl FnMut(char)) {
        if let Some((newest, length)) = &mut self.newest
            && *newest == event
        {
            *length = duration.max(*length);
            return;
        }
        if self.told.contains(&Some(event)) {
            return;
        }
        // A key held for more than 8 s goes on in a new segment (section 2.5.1.3).
        let goes_on = self.newest.is_some_and(|(newest, length)| newest.continued_by(event, length));
        self.newest = Some((event, duration));
        if let Some(place) = self.told.get_mut(self.oldest) {
            *place = Some(event);
        }
        self.oldest = (self.oldest + 1) % REMEMBERED;
        if !goes_on {
            told(event_to_digit(event.code));
        }
    }
}

impl Event {
    fn continued_by(self, next: Self, duration: u16) -> bool {
        duration == u16::MAX
            && self.ssrc == next.ssrc
            && self.code == next.code
            && self.began.wrapping_add(u32::from(u16::MAX)) == next.began
    }
}

const BLOCK: usize = 4;
const MOST_BLOCKS: usize = 16;
/// Codes 0 to 15 are 0-9, *, #, A-D.
const LAST_KEY: u8 = 15;
const REMEMBERED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `(timestamp, code, end, duration)` and lists the keys told.
    fn keys(packets: &[(u32, u8, bool, u16)]) -> String {
        let (mut keys, mut told) = (Keys::default(), String::new());
        for &(timestamp, code, end, duration) in packets {
            keys.packet(1, timestamp, &block(code, end, duration), |key| told.push(key));
        }
        told
    }

    fn block(code: u8, end: bool, duration: u16) -> [u8; 4] {
        let [high, low] = duration.to_be_bytes();
        [code, if end { 0x8A } else { 0x0A }, high, low]
    }

    #[test]
    fn a_key_with_its_end_sent_three_times_counts_once() {
        let packets = [(0, 5, false, 160), (0, 5, false, 320), (0, 5, true, 480), (0, 5, true, 480), (0, 5, true, 480)];
        assert_eq!(keys(&packets), "5");
    }

    #[test]
    fn the_same_key_twice_counts_twice() {
        assert_eq!(keys(&[(0, 5, true, 480), (800, 5, false, 160), (800, 5, true, 480)]), "55");
    }

    #[test]
    fn a_key_is_told_with_its_first_packet_whichever_that_is_and_whether_or_not_an_end_comes() {
        assert_eq!(keys(&[(0, 1, false, 160), (1600, 2, false, 160), (1600, 2, true, 320)]), "12");
        assert_eq!(keys(&[(0, 11, false, 160)]), "#");
    }

    #[test]
    fn stragglers_of_an_ended_key_say_nothing_new() {
        let packets = [
            (0, 10, false, 160),
            (0, 10, true, 480),
            (900, 0, false, 160),
            (0, 10, false, 320),
            (900, 0, true, 480),
            (0, 10, true, 480),
        ];
        assert_eq!(keys(&packets), "*0");
    }

    #[test]
    fn only_the_end_packet_comes_through() {
        assert_eq!(keys(&[(0, 15, true, 480)]), "D");
    }

    #[test]
    fn a_key_held_over_the_longest_duration_is_one_key() {
        let packets = [(0, 3, false, 32_000), (0, 3, false, u16::MAX), (65_535, 3, false, 160), (65_535, 3, true, 900)];
        assert_eq!(keys(&packets), "3");
    }

    #[test]
    fn several_events_in_a_packet_are_several_keys() {
        let (mut keys, mut told) = (Keys::default(), String::new());
        let payload = [block(1, true, 400), block(2, true, 400), block(3, true, 400)].concat();
        for _ in 0..3 {
            keys.packet(1, 77, &payload, |key| told.push(key));
        }
        assert_eq!(told, "123");
    }

    #[test]
    fn flash_and_line_events_are_no_keys() {
        assert_eq!(keys(&[(0, 16, true, 480), (5, 66, true, 480), (9, 255, false, 1)]), "");
    }

    proptest! {
        #[test]
        fn any_key_sequence_survives_the_loss_of_any_packets_but_one_of_each_key(
            sequence in proptest::collection::vec((0_u8..16, 1_u8..64), 1..12),
        ) {
            // Six packets a key (three of them ends); `mask` says which come through: at least one does.
            let mut packets = Vec::new();
            for (n, &(code, mask)) in sequence.iter().enumerate() {
                for part in 0..6_u16 {
                    if mask & (1 << part) != 0 {
                        packets.push((n as u32 * 1600, code, part >= 3, part.min(3) * 160));
                    }
                }
            }
            let expected: String = sequence.iter().map(|&(code, _)| event_to_digit(code)).collect();
            prop_assert_eq!(keys(&packets), expected);
        }

        #[test]
        fn any_payload_is_borne(payload in proptest::collection::vec(any::<u8>(), 0..80), timestamp: u32) {
            let mut keys = Keys::default();
            keys.packet(1, timestamp, &payload, |_| {});
        }
    }
}
