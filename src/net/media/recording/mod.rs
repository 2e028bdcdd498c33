//! Recordings: each call gathers a second of both sides and hands it to one thread that writes all files. A slow or full disk costs seconds of
//! recording, never of a call.

mod writing;

use super::sealed::RecordingKey;
use crate::audio::{FRAME, Form, Law, WIDE_PIECE};
use crate::base::metric;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use writing::Writing;

/// The way to the thread.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    queue: SyncSender<Message>,
}

/// What a call records.
pub(super) struct Tap {
    recorder: Recorder,
    path: Arc<Path>,
    form: Form,
    /// Bytes of a side that were handed over.
    done: usize,
    caller: Vec<u8>,
    assistant: Vec<u8>,
}

/// What the thread is told.
enum Message {
    Second(Second),
    /// All files end here.
    End,
}

/// Up to a second of a call.
struct Second {
    path: Arc<Path>,
    form: Form,
    /// Its place in the call, in bytes of a side.
    at: usize,
    caller: Vec<u8>,
    assistant: Vec<u8>,
    last: bool,
}

impl Recorder {
    /// With a key, what is written only the key opens.
    pub(super) fn new(key: Option<RecordingKey>) -> (Self, Writing) {
        let (send, queue) = sync_channel(QUEUE);
        (Self { queue: send }, Writing::new(queue, key))
    }

    /// Ends the thread once what was handed over before is written. Waits where the queue is full.
    pub(super) fn end(&self) {
        // Where the thread is gone, it has ended.
        let _ = self.queue.send(Message::End);
    }
}

impl Tap {
    pub(super) fn new(recorder: Recorder, path: PathBuf) -> Self {
        let form = Form::Narrow(Law::Mu);
        Self { recorder, path: path.into(), form, done: 0, caller: Vec::new(), assistant: Vec::new() }
    }

    /// What form the sound has: told before the first.
    pub(super) fn agree(&mut self, form: Form) {
        if self.done == 0 && self.caller.is_empty() {
            self.form = form;
        }
    }

    pub(super) fn frame(&mut self, caller: &[u8; FRAME], assistant: &[u8; FRAME]) {
        self.make_room();
        self.caller.extend_from_slice(caller);
        self.assistant.extend_from_slice(assistant);
        self.hand_over_second();
    }

    pub(super) fn wide(&mut self, caller: &[i16; WIDE_PIECE], assistant: &[i16; WIDE_PIECE]) {
        self.make_room();
        self.caller.extend(caller.iter().flat_map(|sample| sample.to_le_bytes()));
        self.assistant.extend(assistant.iter().flat_map(|sample| sample.to_le_bytes()));
        self.hand_over_second();
    }

    /// Bytes of a second on each side.
    const fn second(&self) -> usize {
        1000 * self.form.bytes_per_ms()
    }

    fn make_room(&mut self) {
        if self.caller.capacity() == 0 {
            self.caller.reserve_exact(self.second());
            self.assistant.reserve_exact(self.second());
        }
    }

    fn hand_over_second(&mut self) {
        if self.caller.len() >= self.second() {
            self.hand_over(false);
        }
    }

    fn hand_over(&mut self, last: bool) {
        let (caller, assistant) = (std::mem::take(&mut self.caller), std::mem::take(&mut self.assistant));
        let at = self.done;
        self.done += caller.len();
        let second = Second { path: Arc::clone(&self.path), form: self.form, at, caller, assistant, last };
        if self.recorder.queue.try_send(Message::Second(second)).is_err() {
            metrics::counter!(metric::QUEUE_DROPPED_TOTAL, "queue" => "recording").increment(1);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if self.done > 0 || !self.caller.is_empty() {
            self.hand_over(true);
        }
    }
}

const QUEUE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn samples(path: &Path) -> Vec<i16> {
        hound::WavReader::open(path).unwrap().into_samples().map(Result::unwrap).collect()
    }

    #[test]
    fn both_sides_are_written_in_their_places_and_a_lost_second_is_silent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/call.wav");
        let (recorder, writing) = Recorder::new(None);
        let mut tap = Tap::new(recorder.clone(), path.clone());
        tap.agree(Form::Narrow(Law::A));
        let (loud, quiet) = (Law::A.encode(8000), Law::A.encode(-100));
        for n in 0..120 {
            if n == 50 {
                // The second second is lost.
                tap.done += 8000;
            }
            tap.frame(&[loud; FRAME], &[quiet; FRAME]);
        }
        drop((tap, recorder));
        writing.run();
        let samples = samples(&path);
        assert_eq!(samples.len(), 2 * (120 * 160 + 8000));
        let pair = |at: usize| (samples[2 * at], samples[2 * at + 1]);
        let sound = (Law::A.decode(loud), Law::A.decode(quiet));
        assert_eq!((pair(0), pair(7999), pair(16_000)), (sound, sound, sound));
        let (left, right) = pair(12_000);
        assert!(left.abs() <= 8 && right.abs() <= 8);
    }

    #[test]
    fn a_place_that_cannot_be_written_costs_the_recording_only() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, writing) = Recorder::new(None);
        let mut tap = Tap::new(recorder.clone(), folder.path().to_owned());
        (0..60).for_each(|_| tap.frame(&[0; FRAME], &[0; FRAME]));
        let mut good = Tap::new(recorder, folder.path().join("good.wav"));
        good.frame(&[0; FRAME], &[0; FRAME]);
        drop((tap, good));
        writing.run();
        assert_eq!(samples(&folder.path().join("good.wav")).len(), 320);
    }

    #[test]
    fn a_full_disk_costs_the_recording_only() {
        let (recorder, writing) = Recorder::new(None);
        for path in ["/dev/full", "/dev/full"] {
            let mut tap = Tap::new(recorder.clone(), PathBuf::from(path));
            (0..500).for_each(|_| tap.frame(&[0; FRAME], &[0; FRAME]));
        }
        let folder = tempfile::tempdir().unwrap();
        let mut good = Tap::new(recorder, folder.path().join("good.wav"));
        good.frame(&[0; FRAME], &[0; FRAME]);
        drop(good);
        writing.run();
        assert_eq!(samples(&folder.path().join("good.wav")).len(), 320);
    }

    #[test]
    fn with_a_key_the_file_is_sealed() {
        let key = RecordingKey::parse(&format!("{}=", "A".repeat(43))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.wav.sealed");
        let (recorder, writing) = Recorder::new(Some(key.clone()));
        let mut tap = Tap::new(recorder, path.clone());
        (0..75).for_each(|_| tap.frame(&[Law::Mu.encode(4000); FRAME], &[Law::Mu.silence(); FRAME]));
        drop(tap);
        writing.run();
        let mut samples = Vec::new();
        let file = File::open(path).unwrap();
        super::super::sealed::unseal(file, &key, |_, pcm| {
            samples.extend_from_slice(pcm);
            Ok(())
        })
        .unwrap();
        assert_eq!((samples.len(), samples[0], samples[1]), (2 * 75 * 160, Law::Mu.decode(Law::Mu.encode(4000)), 0));
    }

    #[test]
    fn a_full_queue_loses_seconds_and_blocks_nobody() {
        let (recorder, writing) = Recorder::new(None);
        let mut tap = Tap::new(recorder, PathBuf::from("/nowhere"));
        (0..50 * (QUEUE + 10)).for_each(|_| tap.frame(&[0; FRAME], &[0; FRAME]));
        assert_eq!(writing.queue.try_iter().count(), QUEUE);
    }

    #[test]
    fn a_wide_band_is_recorded_at_its_rate_in_the_open_and_sealed() {
        let key = RecordingKey::parse(&format!("{}=", "A".repeat(43))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for sealing in [None, Some(key.clone())] {
            let path = folder.path().join("wide.wav");
            let (recorder, writing) = Recorder::new(sealing.clone());
            let mut tap = Tap::new(recorder, path.clone());
            tap.agree(Form::Wide);
            (0..300).for_each(|n| {
                if n == 200 {
                    // The second second is lost.
                    tap.done += 32_000;
                }
                tap.wide(&[1234; WIDE_PIECE], &[-77; WIDE_PIECE]);
            });
            drop(tap);
            writing.run();
            let (mut rate, mut samples) = (0, Vec::new());
            match sealing {
                Some(key) => {
                    super::super::sealed::unseal(File::open(&path).unwrap(), &key, |of_file, pcm| {
                        rate = of_file;
                        samples.extend_from_slice(pcm);
                        Ok(())
                    })
                    .unwrap();
                }
                None => {
                    let reader = hound::WavReader::open(&path).unwrap();
                    rate = reader.spec().sample_rate;
                    samples.extend(reader.into_samples::<i16>().map(Result::unwrap));
                }
            }
            assert_eq!((rate, samples.len()), (16_000, 2 * (150 * 160 + 16_000)));
            let pair = |at: usize| (samples[2 * at], samples[2 * at + 1]);
            assert_eq!((pair(0), pair(20_000), pair(32_000)), ((1234, -77), (0, 0), (1234, -77)));
        }
    }
}
