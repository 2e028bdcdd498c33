//! Keys that we press, slot by slot: as telephone-event packets (RFC 4733 section 2.5.1), the end three times, or, for a peer without
//! them, as the two tones themselves (ITU-T Q.23).

use super::rtp::SAMPLES;
use crate::audio::{FRAME, Law};
use crate::base::Tone;
use std::collections::VecDeque;
use std::f32::consts::TAU;
use std::time::Duration;

/// The keys that wait and the one that is held.
#[derive(Clone, Debug, Default)]
pub struct Keypad {
    waiting: VecDeque<Tone>,
    held: Option<Held>,
    pause: u32,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    tone: Tone,
    timestamp: u32,
    slots: u32,
}

/// How keys go to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// telephone-event.
    Events,
    /// Sound in this law.
    Tones(Law),
}

/// What a slot has of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A packet.
    Event(Pressed),
    /// 20 ms of the tones.
    Sound([u8; FRAME]),
    /// The silence between two keys: whatever else is to be sent waits.
    Pause,
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
    /// Queues a key; false when too many wait.
    pub fn press(&mut self, tone: Tone) -> bool {
        let room = self.waiting.len() < MOST;
        if room {
            self.waiting.push_back(tone);
        }
        room
    }

    /// What the next slot, which begins at `timestamp`, has of the keys; `None` when there are none.
    pub fn slot(&mut self, timestamp: u32, way: Way) -> Option<Key> {
        if self.held.is_none() && self.pause > 0 {
            self.pause -= 1;
            return Some(Key::Pause);
        }
        let mut held = match self.held.take() {
            Some(held) => held,
            None => Held { tone: self.waiting.pop_front()?, timestamp, slots: 0 },
        };
        held.slots += 1;
        let length = slots(held.tone.duration).max(1);
        let ends = if way == Way::Events { ENDS } else { 0 };
        if held.slots < length + ends {
            self.held = Some(held);
        } else {
            // The ends are sent in the pause.
            self.pause = slots(held.tone.pause).max(ends + 1) - ends;
        }
        Some(match way {
            Way::Events => Key::Event(held.event(length)),
            Way::Tones(law) => Key::Sound(held.sound(law)),
        })
    }
}

impl Held {
    fn event(&self, length: u32) -> Pressed {
        let whole = u32::try_from(self.tone.duration.as_millis()).unwrap_or(u32::MAX).saturating_mul(SAMPLES / SLOT_MS);
        let so_far = if self.slots < length { self.slots * SAMPLES } else { whole };
        let [high, low] = u16::try_from(so_far).unwrap_or(u16::MAX).to_be_bytes();
        let end = if self.slots > length { END } else { 0 };
        let payload = [self.tone.code, self.tone.volume.min(LEAST) | end, high, low];
        Pressed { timestamp: self.timestamp, first: self.slots == 1, payload }
    }

    fn sound(&self, law: Law) -> [u8; FRAME] {
        let code = usize::from(self.tone.code);
        let (row, column) = PLACES.get(code).copied().unwrap_or_default();
        let [low, high] = [ROWS.get(row), COLUMNS.get(column)].map(|hertz| hertz.copied().unwrap_or(0.0) * TAU / RATE);
        // Two tones of more than half of the full scale each would clip.
        let amplitude = (FULL_SCALE * 10_f32.powf((-f32::from(self.tone.volume) - SINE) / 20.0)).min(LOUDEST);
        let whole = self.tone.duration.as_secs_f32() * RATE;
        let mut n = f32::from(u16::try_from((self.slots - 1) * SAMPLES).unwrap_or(u16::MAX));
        std::array::from_fn(|_| {
            let sample = if n < whole { amplitude * ((low * n).sin() + (high * n).sin()) } else { 0.0 };
            n += 1.0;
            #[expect(clippy::cast_possible_truncation, reason = "within the range of a sample by LOUDEST")]
            law.encode(sample as i16)
        })
    }
}

/// Slots that `time` takes, the last one perhaps in part.
fn slots(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).div_ceil(SLOT_MS)
}

const MOST: usize = 128;
const SLOT_MS: u32 = 20;
const ENDS: u32 = 3;
const END: u8 = 0x80;
/// The least power that a packet can say, in -dBm0.
const LEAST: u8 = 63;
const RATE: f32 = 8000.0;
const FULL_SCALE: f32 = 32_767.0;
/// Power of a sine of full scale, in dBm0 (G.711 table 5).
const SINE: f32 = 3.17;
const LOUDEST: f32 = 15_500.0;
const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// Row and column of each event code.
const PLACES: [(usize, usize); 16] = [
    (3, 1),
    (0, 0),
    (0, 1),
    (0, 2),
    (1, 0),
    (1, 1),
    (1, 2),
    (2, 0),
    (2, 1),
    (2, 2),
    (3, 0),
    (3, 2),
    (0, 3),
    (1, 3),
    (2, 3),
    (3, 3),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::dual_tone::DualTone;
    use crate::media::telephone_event::Keys;

    fn tone(code: u8, milliseconds: u64, volume: u8, pause: u64) -> Tone {
        let [duration, pause] = [milliseconds, pause].map(Duration::from_millis);
        Tone { code, duration, volume, pause }
    }

    /// All slots until the keypad has nothing more.
    fn all(keypad: &mut Keypad, way: Way) -> Vec<Key> {
        (0..).map_while(|slot: u32| keypad.slot(800 + slot * SAMPLES, way)).collect()
    }

    #[test]
    fn what_is_pressed_is_what_the_other_side_reads() {
        let pressed = "0123456789*#aD55";
        let mut keypad = Keypad::default();
        assert!(pressed.chars().filter_map(Tone::pressed).all(|tone| keypad.press(tone)));
        assert_eq!(Tone::pressed('x'), None);
        let (mut keys, mut told) = (Keys::default(), String::new());
        for key in all(&mut keypad.clone(), Way::Events) {
            if let Key::Event(pressed) = key {
                keys.packet(1, pressed.timestamp, &pressed.payload, |key| told.push(key));
            }
        }
        assert_eq!(told, pressed.to_uppercase());
        let (mut ear, mut told) = (DualTone::default(), String::new());
        for key in all(&mut keypad, Way::Tones(Law::A)) {
            let frame = if let Key::Sound(frame) = key { frame } else { [Law::A.silence(); FRAME] };
            ear.frame(Law::A, &frame, |key| told.push(key));
        }
        assert_eq!(told, pressed.to_uppercase());
    }

    #[test]
    fn a_key_has_one_timestamp_a_growing_duration_three_ends_and_its_pause() {
        let mut keypad = Keypad::default();
        assert!(keypad.press(tone(5, 110, 8, 200)) && keypad.press(tone(11, 40, 0, 60)));
        let keys = all(&mut keypad, Way::Events);
        let said: Vec<Option<(u32, [u8; 4])>> = keys
            .iter()
            .map(|key| if let Key::Event(pressed) = key { Some((pressed.timestamp, pressed.payload)) } else { None })
            .collect();
        let five = |flags: u8, duration: u16| {
            let [high, low] = duration.to_be_bytes();
            Some((800, [5, flags, high, low]))
        };
        let growing = [160, 320, 480, 640, 800, 880].map(|duration| five(8, duration));
        assert_eq!(said[..6], growing);
        assert_eq!(said[6..9], [five(0x88, 880); 3]);
        assert_eq!(said[9..16], [None; 7], "200 ms from the key's last slot, the ends among them");
        let pound = 800 + 16 * SAMPLES;
        assert_eq!(said[16], Some((pound, [11, 0, 0, 160])));
        assert_eq!(said[20], Some((pound, [11, END, 1, 64])));
        assert_eq!(said[21..], [None], "one slot at least between two keys");
    }

    #[test]
    fn tones_are_as_loud_and_as_long_as_ordered() {
        let mut keypad = Keypad::default();
        assert!(keypad.press(tone(1, 50, 13, 40)));
        let sound: Vec<i16> = all(&mut keypad, Way::Tones(Law::Mu))
            .into_iter()
            .filter_map(|key| if let Key::Sound(frame) = key { Some(frame) } else { None })
            .flat_map(|frame| frame.map(|byte| Law::Mu.decode(byte)))
            .collect();
        assert_eq!(sound.len(), 3 * FRAME);
        assert!(sound[400..].iter().all(|sample| *sample == 0), "50 ms");
        let power = sound[..400].iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>() / 400.0;
        // Two tones of -13 dBm0 are -10 dBm0 together.
        let dbm0 = 10.0 * (power / (FULL_SCALE.powi(2) / 2.0)).log10() + SINE;
        assert!((-10.6..-9.4).contains(&dbm0), "{dbm0}");
    }
}
