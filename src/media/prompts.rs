//! Prompts in the order they were asked for, cut into frames: what the paced sender takes from, with its progress told sample by sample.

use crate::audio::{Converter, Form, Frame};
use crate::base::PlayId;
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;

/// The prompts that play or wait.
#[derive(Clone, Debug, Default)]
pub struct Prompts {
    queue: VecDeque<Prompt>,
    /// For what was made for another band than the one that is spoken.
    converter: Converter,
}

#[derive(Clone, Debug)]
struct Prompt {
    play: PlayId,
    form: Form,
    keys_stop: bool,
    chunks: VecDeque<Bytes>,
    buffered: usize,
    sent: usize,
    ended: bool,
}

/// How far a prompt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its first sample is in this frame.
    Began(PlayId),
    /// Its last sample is in this frame, or it was stopped.
    Finished {
        /// Which prompt.
        play: PlayId,
        /// Milliseconds of it that were sent.
        sent_ms: u32,
        /// False when it was stopped before its end.
        complete: bool,
    },
}

impl Prompts {
    /// Puts a prompt behind the others; its bytes will be of `form`. False when too many wait already.
    #[must_use]
    pub fn queue(&mut self, play: PlayId, form: Form, keys_stop: bool) -> bool {
        let room = self.queue.len() < MOST;
        if room {
            let chunks = VecDeque::new();
            self.queue.push_back(Prompt { play, form, keys_stop, chunks, buffered: 0, sent: 0, ended: false });
        }
        room
    }

    /// Whether a key stops the first of them.
    #[must_use]
    pub fn key_stops(&self) -> bool {
        self.queue.front().is_some_and(|prompt| prompt.keys_stop)
    }

    /// Appends to a prompt; nothing happens where it was stopped.
    pub fn push(&mut self, play: PlayId, bytes: Bytes) {
        if let Some(prompt) = self.open(play)
            && !bytes.is_empty()
        {
            prompt.buffered += bytes.len();
            prompt.chunks.push_back(bytes);
        }
    }

    /// Nothing more is appended to a prompt.
    pub fn end(&mut self, play: PlayId) {
        if let Some(prompt) = self.open(play) {
            prompt.ended = true;
        }
    }

    /// The prompt that more bytes are wanted for, while less than 200 ms lie ready.
    #[must_use]
    pub fn hungry(&self) -> Option<PlayId> {
        let ready: usize = self.queue.iter().map(|prompt| prompt.buffered * WIDE / prompt.form.bytes_per_ms()).sum();
        self.queue.iter().find(|prompt| !prompt.ended).filter(|_| ready < READY).map(|prompt| prompt.play)
    }

    /// Whether one sounds, or will as soon as it has bytes.
    #[must_use]
    pub fn sound(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Puts sound into the next frame, which is silence or noise and stays it where there is none. A prompt whose bytes come too
    /// slowly waits for a whole frame.
    pub fn fill(&mut self, frame: &mut Frame, mut told: impl FnMut(Progress)) {
        while let Some(prompt) = self.queue.front_mut() {
            if prompt.buffered < prompt.form.frame_bytes() && !prompt.ended {
                return;
            }
            let sounds = prompt.buffered > 0;
            if sounds && prompt.sent == 0 {
                told(Progress::Began(prompt.play));
            }
            if sounds {
                // The codec may have been agreed anew since the prompt was asked for.
                let form = frame.form();
                if form != prompt.form {
                    *frame = prompt.form.silence();
                }
                prompt.cut(frame);
                self.converter.turn(frame, form);
            }
            if prompt.ended && prompt.buffered == 0 {
                told(prompt.finished(true));
                self.queue.pop_front();
            }
            if sounds {
                return;
            }
        }
    }

    /// Drops all prompts.
    pub fn stop(&mut self, mut told: impl FnMut(Progress)) {
        for prompt in self.queue.drain(..) {
            told(prompt.finished(false));
        }
    }

    fn open(&mut self, play: PlayId) -> Option<&mut Prompt> {
        self.queue.iter_mut().find(|prompt| prompt.play == play && !prompt.ended)
    }
}

impl Prompt {
    fn cut(&mut self, frame: &mut Frame) {
        let wanted = self.form.frame_bytes().min(self.buffered);
        match frame {
            Frame::Narrow(_, coded) => self.take(coded.get_mut(..wanted).unwrap_or_default()),
            Frame::Wide(_) => {
                let mut room = [0; WIDE_BYTES];
                let bytes = room.get_mut(..wanted).unwrap_or_default();
                self.take(bytes);
                frame.overwrite(bytes);
            }
        }
    }

    /// The next bytes, of which there are so many at least.
    fn take(&mut self, bytes: &mut [u8]) {
        self.buffered -= bytes.len();
        self.sent += bytes.len();
        let mut left = bytes;
        while let Some(chunk) = self.chunks.front_mut() {
            let length = chunk.len().min(left.len());
            let (part, rest) = left.split_at_mut(length);
            chunk.copy_to_slice(part);
            left = rest;
            if !chunk.is_empty() {
                break;
            }
            self.chunks.pop_front();
        }
    }

    fn finished(&self, complete: bool) -> Progress {
        let sent_ms = u32::try_from(self.sent / self.form.bytes_per_ms()).unwrap_or(u32::MAX);
        Progress::Finished { play: self.play, sent_ms, complete }
    }
}

const MOST: usize = 64;
/// Bytes of a millisecond of a wide band, and of 200 ms.
const WIDE: usize = 32;
const READY: usize = 200 * WIDE;
/// Bytes of 20 ms of a wide band.
const WIDE_BYTES: usize = 640;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{FRAME, Law};

    const MU: Form = Form::Narrow(Law::Mu);

    fn fill(prompts: &mut Prompts) -> ([u8; FRAME], Vec<Progress>) {
        let (mut frame, mut told) = (MU.silence(), Vec::new());
        prompts.fill(&mut frame, |progress| told.push(progress));
        let Frame::Narrow(Law::Mu, coded) = frame else { panic!("{:?}", frame.form()) };
        (coded, told)
    }

    fn finished(play: u64, sent_ms: u32, complete: bool) -> Progress {
        Progress::Finished { play: PlayId(play), sent_ms, complete }
    }

    #[test]
    fn a_prompt_is_cut_into_frames_whatever_its_chunks_and_its_last_frame_is_filled_up() {
        let mut prompts = Prompts::default();
        assert!(prompts.queue(PlayId(1), MU, false));
        let sound: Vec<u8> = (0..200).collect();
        for chunk in sound.chunks(7) {
            prompts.push(PlayId(1), Bytes::copy_from_slice(chunk));
        }
        let (frame, told) = fill(&mut prompts);
        assert_eq!((&frame[..], told), (&sound[..160], vec![Progress::Began(PlayId(1))]));
        // 40 bytes are no frame and the prompt has not ended: silence until there is more.
        assert_eq!(fill(&mut prompts), ([0xFF; FRAME], vec![]));
        prompts.end(PlayId(1));
        let (frame, told) = fill(&mut prompts);
        assert_eq!(frame[..40], sound[160..]);
        assert_eq!(frame[40..], [0xFF; 120]);
        assert_eq!(told, [finished(1, 25, true)]);
        assert_eq!(fill(&mut prompts), ([0xFF; FRAME], vec![]));
    }

    #[test]
    fn prompts_play_in_order_and_an_empty_one_finishes_without_a_sound() {
        let mut prompts = Prompts::default();
        for play in 1..=3 {
            assert!(prompts.queue(PlayId(play), MU, false));
        }
        prompts.push(PlayId(3), Bytes::from_static(&[3; FRAME]));
        prompts.push(PlayId(1), Bytes::from_static(&[1; FRAME]));
        (1..=3).for_each(|play| prompts.end(PlayId(play)));
        assert_eq!(fill(&mut prompts), ([1; FRAME], vec![Progress::Began(PlayId(1)), finished(1, 20, true)]));
        let told = vec![finished(2, 0, true), Progress::Began(PlayId(3)), finished(3, 20, true)];
        assert_eq!(fill(&mut prompts), ([3; FRAME], told));
    }

    #[test]
    fn stopping_tells_of_every_prompt_and_later_bytes_are_ignored() {
        let mut prompts = Prompts::default();
        assert!(prompts.queue(PlayId(1), MU, false) && prompts.queue(PlayId(2), MU, false));
        prompts.push(PlayId(1), Bytes::from(vec![1; 1600]));
        fill(&mut prompts);
        let mut told = Vec::new();
        prompts.stop(|progress| told.push(progress));
        assert_eq!(told, [finished(1, 20, false), finished(2, 0, false)]);
        prompts.push(PlayId(1), Bytes::from(vec![1; 1600]));
        assert_eq!(fill(&mut prompts), ([0xFF; FRAME], vec![]));
    }

    #[test]
    fn more_is_wanted_while_less_than_200_ms_lie_ready_also_from_the_next_prompt() {
        let mut prompts = Prompts::default();
        assert_eq!(prompts.hungry(), None);
        assert!(prompts.queue(PlayId(1), MU, false) && prompts.queue(PlayId(2), MU, false));
        assert_eq!(prompts.hungry(), Some(PlayId(1)));
        prompts.push(PlayId(1), Bytes::from(vec![1; 1599]));
        assert_eq!(prompts.hungry(), Some(PlayId(1)));
        prompts.end(PlayId(1));
        assert_eq!(prompts.hungry(), Some(PlayId(2)));
        prompts.push(PlayId(2), Bytes::from(vec![1; 1]));
        assert_eq!(prompts.hungry(), None);
    }

    #[test]
    fn a_prompt_made_for_another_law_is_translated() {
        let mut prompts = Prompts::default();
        assert!(prompts.queue(PlayId(1), Form::Narrow(Law::A), false));
        prompts.push(PlayId(1), Bytes::from(vec![Law::A.encode(8000); FRAME]));
        let (frame, _) = fill(&mut prompts);
        let sample = Law::Mu.decode(frame[0]);
        assert!((7600..8400).contains(&sample), "{sample}");
    }

    #[test]
    fn a_prompt_made_for_the_other_band_is_brought_to_it() {
        let sine = |rate: f32, n: usize| (8000.0 * (n as f32 * 400.0 * std::f32::consts::TAU / rate).sin()) as i16;
        let loudest = |samples: &[i16]| samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        let mut prompts = Prompts::default();
        assert!(prompts.queue(PlayId(1), Form::Wide, false));
        let bytes: Vec<u8> = (0..960).flat_map(|n| sine(16_000.0, n).to_le_bytes()).collect();
        // A chunk may end in the midst of a sample.
        for chunk in bytes.chunks(333) {
            prompts.push(PlayId(1), Bytes::copy_from_slice(chunk));
        }
        prompts.end(PlayId(1));
        let _ = fill(&mut prompts);
        let (frame, told) = fill(&mut prompts);
        assert!((7500..8500).contains(&loudest(&frame.map(|byte| Law::Mu.decode(byte)))) && told.is_empty());
        assert_eq!(fill(&mut prompts).1, [finished(1, 60, true)]);

        assert!(prompts.queue(PlayId(2), MU, false));
        prompts.push(PlayId(2), Law::Mu.encode_all(&(0..480).map(|n| sine(8000.0, n)).collect::<Vec<_>>()).into());
        let mut frame = Form::Wide.silence();
        (0..2).for_each(|_| prompts.fill(&mut frame, |_| {}));
        let Frame::Wide(samples) = frame else { panic!("{:?}", frame.form()) };
        assert!((7500..8500).contains(&loudest(&samples)), "{}", loudest(&samples));
    }
}
