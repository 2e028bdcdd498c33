//! Keys that we press, slot by slot: as telephone-event packets (RFC 4733 section 2.5.1), the end three times, or, for a peer without
//! them, as the two tones themselves (ITU-T Q.23).

use crate::audio::{Form, Frame, Linear, Sound};
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
    /// telephone-event, of a clock that makes so many steps in a slot.
    Events(u32),
    /// Sound in this form.
    Tones(Form),
}

/// What a slot has of the keys.
#[expect(clippy::large_enum_variant, reason = "lives on the stack for a slot: nothing is allocated for a frame")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A packet.
    Event(Pressed),
    /// 20 ms of the tones.
    Sound(Frame),
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
        let ends = if matches!(way, Way::Events(_)) { ENDS } else { 0 };
        if held.slots < length + ends {
            self.held = Some(held);
        } else {
            // The ends are sent in the pause.
            self.pause = slots(held.tone.pause).max(ends + 1) - ends;
        }
        Some(match way {
            Way::Events(step) => Key::Event(held.event(length, step)),
            Way::Tones(form) => Key::Sound(held.sound(form)),
        })
    }
}

impl Held {
    fn event(&self, length: u32, step: u32) -> Pressed {
        let whole = u32::try_from(self.tone.duration.as_millis()).unwrap_or(u32::MAX).saturating_mul(step / SLOT_MS);
        let so_far = if self.slots < length { self.slots.saturating_mul(step) } else { whole };
        // What is longer than a packet can say goes on in a new segment, after a packet that says so (section 2.5.1.3).
        let before = (self.slots.min(length) - 1).saturating_mul(step);
        let segment = before / LONGEST * LONGEST;
        let [high, low] = u16::try_from(so_far.saturating_sub(segment)).unwrap_or(u16::MAX).to_be_bytes();
        let end = if self.slots > length { END } else { 0 };
        let payload = [self.tone.code, self.tone.volume.min(LEAST) | end, high, low];
        Pressed { timestamp: self.timestamp.wrapping_add(segment), first: self.slots == 1, payload }
    }

    fn sound(&self, form: Form) -> Frame {
        let mut frame = form.silence();
        match &mut frame {
            Frame::Narrow(law, coded) => self.fill(*law, coded),
            Frame::Wide(samples) => self.fill(Linear, samples),
        }
        frame
    }

    fn fill<S: Sound>(&self, sound: S, samples: &mut [S::Sample]) {
        let rate = 1000.0 * small(S::PER_MS);
        let code = usize::from(self.tone.code);
        let (row, column) = PLACES.get(code).copied().unwrap_or_default();
        let [low, high] = [ROWS.get(row), COLUMNS.get(column)].map(|hertz| hertz.copied().unwrap_or(0.0) * TAU / rate);
        // Two tones of more than half of the full scale each would clip.
        let amplitude = (FULL_SCALE * 10_f32.powf((-f32::from(self.tone.volume) - SINE) / 20.0)).min(LOUDEST);
        let whole = self.tone.duration.as_secs_f32() * rate;
        let mut n = small(usize::try_from(self.slots - 1).unwrap_or(0)) * small(samples.len());
        samples.fill_with(|| {
            let sample = if n < whole { amplitude * ((low * n).sin() + (high * n).sin()) } else { 0.0 };
            n += 1.0;
            sound.nearest(sample)
        });
    }
}

fn small(count: usize) -> f32 {
    f32::from(u16::try_from(count).unwrap_or(u16::MAX))
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
/// The longest duration of a packet.
const LONGEST: u32 = 0xFFFF;
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
    use crate::audio::{FRAME, Law};
    use crate::media::dual_tone::DualTone;
    use crate::media::telephone_event::Keys;

    fn tone(code: u8, milliseconds: u64, volume: u8, pause: u64) -> Tone {
        let [duration, pause] = [milliseconds, pause].map(Duration::from_millis);
        Tone { code, duration, volume, pause }
    }

    const SAMPLES: u32 = 160;
    const EVENTS: Way = Way::Events(SAMPLES);

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
        for key in all(&mut keypad.clone(), EVENTS) {
            if let Key::Event(pressed) = key {
                keys.packet(1, pressed.timestamp, &pressed.payload, |key| told.push(key));
            }
        }
        assert_eq!(told, pressed.to_uppercase());
        for form in [Form::Narrow(Law::A), Form::Wide] {
            let (mut ear, mut told) = (DualTone::default(), String::new());
            for key in all(&mut keypad.clone(), Way::Tones(form)) {
                let frame = if let Key::Sound(frame) = key { frame } else { form.silence() };
                ear.frame(&frame, |key| told.push(key));
            }
            assert_eq!(told, pressed.to_uppercase(), "{form:?}");
        }
    }

    #[test]
    fn a_key_has_one_timestamp_a_growing_duration_three_ends_and_its_pause() {
        let mut keypad = Keypad::default();
        assert!(keypad.press(tone(5, 110, 8, 200)) && keypad.press(tone(11, 40, 0, 60)));
        let keys = all(&mut keypad, EVENTS);
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
        let sound: Vec<i16> = all(&mut keypad, Way::Tones(Form::Narrow(Law::Mu)))
            .into_iter()
            .filter_map(|key| if let Key::Sound(Frame::Narrow(_, frame)) = key { Some(frame) } else { None })
            .flat_map(|frame| frame.map(|byte| Law::Mu.decode(byte)))
            .collect();
        assert_eq!(sound.len(), 3 * FRAME);
        assert!(sound[400..].iter().all(|sample| *sample == 0), "50 ms");
        let power = sound[..400].iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>() / 400.0;
        // Two tones of -13 dBm0 are -10 dBm0 together.
        let dbm0 = 10.0 * (power / (FULL_SCALE.powi(2) / 2.0)).log10() + SINE;
        assert!((-10.6..-9.4).contains(&dbm0), "{dbm0}");
    }

    #[test]
    fn by_a_clock_of_48_khz_durations_are_six_times_as_long_and_what_no_packet_can_say_goes_on_in_segments() {
        let mut keypad = Keypad::default();
        assert!(keypad.press(tone(7, 3000, 10, 40)));
        let (mut keys, mut told, mut packets) = (Keys::default(), String::new(), Vec::new());
        let slots = (0..).map_while(|slot: u32| keypad.slot(800 + slot * 960, Way::Events(960)));
        for key in slots {
            if let Key::Event(pressed) = key {
                keys.packet(1, pressed.timestamp, &pressed.payload, |key| told.push(key));
                let [_, flags, high, low] = pressed.payload;
                packets.push((pressed.timestamp, flags & END != 0, u16::from_be_bytes([high, low]), pressed.first));
            }
        }
        assert_eq!(told, "7", "one key");
        assert_eq!(packets[..2], [(800, false, 960, true), (800, false, 1920, false)]);
        // 68 slots are 65,280 steps, 69 more than a packet can say.
        assert_eq!(
            packets[67..70],
            [(800, false, 65_280, false), (800, false, u16::MAX, false), (800 + LONGEST, false, 1665, false),]
        );
        let whole = 3 * 48_000;
        assert_eq!(packets.last(), Some(&(800 + 2 * LONGEST, true, (whole - 2 * LONGEST) as u16, false)));
    }
}
