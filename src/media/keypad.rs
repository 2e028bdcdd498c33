//! Keys that we press, as telephone-event packets (RFC 4733 section 2.5.1): one a slot, the end three times, then a pause.

use super::rtp::SAMPLES;
use std::collections::VecDeque;

/// The keys that wait and the one that is held.
#[derive(Clone, Debug, Default)]
pub struct Keypad {
    waiting: VecDeque<u8>,
    held: Option<Held>,
    pause: u8,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    code: u8,
    timestamp: u32,
    packets: u8,
}

/// One packet of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// Of the key's first packet: all its packets bear it.
    pub timestamp: u32,
    /// Whether it is the first.
    pub first: bool,
    /// What it says.
    pub payload: [u8; 4],
}

impl Keypad {
    /// Queues a key; false when it is none, or too many wait.
    pub fn press(&mut self, key: char) -> bool {
        let code = KEYS.chars().position(|known| known.eq_ignore_ascii_case(&key));
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(code) if self.waiting.len() < MOST => {
                self.waiting.push_back(code);
                true
            }
            _ => false,
        }
    }

    /// The packet for the next slot, which begins at `timestamp`; none while no key is held.
    pub fn packet(&mut self, timestamp: u32) -> Option<Pressed> {
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let mut held = match self.held.take() {
            Some(held) => held,
            None => Held { code: self.waiting.pop_front()?, timestamp, packets: 0 },
        };
        held.packets += 1;
        let end = held.packets > LENGTH;
        let duration = u16::from(held.packets.min(LENGTH)) * u16::try_from(SAMPLES).unwrap_or(0);
        let [high, low] = duration.to_be_bytes();
        let payload = [held.code, VOLUME | if end { END } else { 0 }, high, low];
        let pressed = Pressed { timestamp: held.timestamp, first: held.packets == 1, payload };
        if held.packets < LENGTH + ENDS {
            self.held = Some(held);
        } else {
            self.pause = PAUSE;
        }
        Some(pressed)
    }
}

const KEYS: &str = "0123456789*#ABCD";
const MOST: usize = 64;
/// Slots of 20 ms that a key is held.
const LENGTH: u8 = 6;
const ENDS: u8 = 3;
/// Slots between two keys.
const PAUSE: u8 = 4;
const END: u8 = 0x80;
/// -10 dBm0.
const VOLUME: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::telephone_event::Keys;

    #[test]
    fn what_is_pressed_is_what_the_other_side_reads() {
        let (mut keypad, mut keys, mut told) = (Keypad::default(), Keys::default(), String::new());
        let now = crate::base::clock::now().at;
        assert!("0123456789*#aD55".chars().all(|key| keypad.press(key)));
        assert!(!keypad.press('x'));
        let mut slots_with_a_packet = 0;
        for slot in 0..300_u32 {
            if let Some(pressed) = keypad.packet(slot * SAMPLES) {
                slots_with_a_packet += 1;
                keys.packet(now, 1, pressed.timestamp, &pressed.payload, |key| told.push(key));
            }
        }
        assert_eq!(told, "0123456789*#AD55");
        assert_eq!(slots_with_a_packet, 16 * 9);
    }

    #[test]
    fn a_key_has_one_timestamp_a_growing_duration_and_three_ends() {
        let mut keypad = Keypad::default();
        assert!(keypad.press('5'));
        let packets: Vec<Pressed> = (0..20_u32).filter_map(|slot| keypad.packet(800 + slot * SAMPLES)).collect();
        assert!(packets.iter().all(|packet| packet.timestamp == 800));
        assert_eq!(packets.iter().filter(|packet| packet.first).count(), 1);
        assert_eq!(packets[0].payload, [5, 10, 0, 160]);
        assert_eq!(packets.iter().filter(|packet| packet.payload[1] & END != 0).count(), 3);
        assert_eq!(packets[8].payload, [5, 0x8A, 3, 0xC0]);
    }
}
