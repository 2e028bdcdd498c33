//! How soon the gateway reacts, as one caller hears it: it falls silent when it is interrupted, and it answers when the caller has spoken.
//! Times are microseconds of the wall clock: of sending by this process, of arrival by the kernel.

/// When it began, and what it took.
pub(crate) type Reaction = (i64, u32);

/// Of all calls.
#[derive(Default)]
pub(crate) struct Reactions {
    /// From the packet with which the recogniser has heard enough, to the last packet with sound.
    pub(crate) speech: Vec<Reaction>,
    /// From the first packet of a key to the last packet with sound.
    pub(crate) key: Vec<Reaction>,
    /// From the caller's last packet with sound to the first of the answer.
    pub(crate) answer: Vec<Reaction>,
}

/// What interrupts.
#[derive(Clone, Copy)]
pub(crate) enum Interruption {
    Speech,
    Key,
}

/// One call's.
#[derive(Default)]
pub(crate) struct Ear {
    /// The last packet had sound.
    sounding: bool,
    last_sound: i64,
    /// Packets without sound since then.
    silent: u32,
    interrupted: Option<(Interruption, i64)>,
    asked: Option<i64>,
    reactions: Reactions,
}

impl Ear {
    /// The caller interrupts, if there is something to interrupt.
    pub(crate) fn interrupt(&mut self, how: Interruption, at: i64) {
        if self.sounding && self.interrupted.is_none() {
            self.interrupted = Some((how, at));
        }
    }

    /// The caller ceases to speak: the line is silent, and an answer is due.
    pub(crate) fn ask(&mut self, at: i64) {
        self.asked = (!self.sounding).then_some(at);
    }

    /// A packet came.
    pub(crate) fn hear(&mut self, sound: bool, at: i64) {
        if !sound {
            self.silent += 1;
            self.sounding &= self.silent < SILENT;
            if let Some((how, began)) = self.interrupted.take_if(|_| self.silent == SILENT) {
                let took = (self.last_sound - began).max(0) as u32;
                match how {
                    Interruption::Speech => self.reactions.speech.push((began, took)),
                    Interruption::Key => self.reactions.key.push((began, took)),
                }
            }
            return;
        }
        if let Some(asked) = self.asked.take_if(|_| !self.sounding) {
            self.reactions.answer.push((asked, (at - asked).max(0) as u32));
        }
        (self.sounding, self.silent, self.last_sound) = (true, 0, at);
    }

    /// Hands over what was gathered. An interruption that nothing came of counts as one that took for ever.
    pub(crate) fn hand_over(&mut self, all: &mut Reactions) {
        if let Some((how, began)) = self.interrupted.take() {
            match how {
                Interruption::Speech => self.reactions.speech.push((began, u32::MAX)),
                Interruption::Key => self.reactions.key.push((began, u32::MAX)),
            }
        }
        all.speech.append(&mut self.reactions.speech);
        all.key.append(&mut self.reactions.key);
        all.answer.append(&mut self.reactions.answer);
    }
}

/// Packets without sound in a row that are a silence: the load test's assistant speaks without a pause.
const SILENT: u32 = 2;
