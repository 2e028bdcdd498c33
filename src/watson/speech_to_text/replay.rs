//! The audio that recognition may need again: everything since the last final result, bounded. It is also the send queue,
//! so audio that comes before the socket is open, or while it is opened again, just waits here.
//!
//! Where to cut at a final result: results carry no position unless `timestamps` was asked for. A final is given after
//! `end_of_phrase_silence_time` of silence, so all its words lie at least that long before the last byte sent when it
//! arrived. Cutting a little less than that before the last byte therefore keeps no word of the delivered final, and
//! keeps what the caller said while the result was on its way.

use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// Positions are bytes since the first audio of the call.
pub(super) struct Replay {
    chunks: VecDeque<Bytes>,
    /// Position of the first byte kept.
    start: u64,
    /// Position behind the last byte kept.
    end: u64,
    /// How many of the kept chunks have been sent on this socket.
    sent_chunks: usize,
    /// Position behind the last byte sent on this socket.
    sent: u64,
    /// Position at which this socket's own count of audio began, as seen from the bytes it hears now.
    origin: u64,
    phrase: Phrase,
    overlap: u64,
    limits: Limits,
    /// Bytes of a second.
    rate: u32,
}

/// How much is kept, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// While nothing is heard: the recogniser tells of speech within a second or so, older silence is of no use.
    pub(super) quiet: u64,
    /// While something is heard and not final yet.
    pub(super) open: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Phrase {
    Quiet,
    Open,
}

impl Replay {
    /// Of audio of `rate` bytes a second; `overlap` is what stays before the last byte sent when a final comes.
    pub(super) fn new(rate: u32, limits: Limits, overlap: Duration) -> Self {
        Self {
            chunks: VecDeque::new(),
            start: 0,
            end: 0,
            sent_chunks: 0,
            sent: 0,
            origin: 0,
            phrase: Phrase::Quiet,
            overlap: bytes_in(rate, overlap.as_secs_f64()),
            limits,
            rate,
        }
    }

    /// Takes audio in. Returns how many chunks were lost to the bound: old silence that was sent is no loss.
    pub(super) fn push(&mut self, chunk: Bytes) -> u64 {
        self.end += chunk.len() as u64;
        self.chunks.push_back(chunk);
        let (limit, sent_is_loss) = match self.phrase {
            Phrase::Quiet => (self.limits.quiet, false),
            Phrase::Open => (self.limits.open, true),
        };
        let mut lost = 0;
        while self.end - self.start > limit && self.chunks.len() > 1 {
            if self.sent_chunks == 0 || sent_is_loss {
                lost += 1;
            }
            self.drop_first();
        }
        lost
    }

    /// The next chunk to send.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.get(self.sent_chunks)?.clone();
        self.sent_chunks += 1;
        self.sent += chunk.len() as u64;
        Some(chunk)
    }

    /// A new socket: all that is kept is sent again.
    pub(super) fn rewind(&mut self) {
        self.sent_chunks = 0;
        self.sent = self.start;
        self.origin = self.start;
    }

    /// The recogniser hears something.
    pub(super) fn hear(&mut self) {
        self.phrase = Phrase::Open;
    }

    /// A final result was given; `ends_at` is where its last word ends, in seconds of this socket's audio.
    pub(super) fn settle(&mut self, ends_at: Option<f64>) {
        self.phrase = Phrase::Quiet;
        let told = ends_at
            .filter(|at| at.is_finite() && *at >= 0.0)
            .map(|at| self.origin.saturating_add(bytes_in(self.rate, at)));
        let cut = told.unwrap_or_else(|| self.sent.saturating_sub(self.overlap)).min(self.sent);
        while let Some(first) = self.chunks.front()
            && self.sent_chunks > 0
            && self.start + first.len() as u64 <= cut
        {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.chunks.pop_front() {
            self.start += first.len() as u64;
            if self.sent_chunks > 0 {
                self.sent_chunks -= 1;
            } else {
                // A gap: what the socket hears next lies that much further on.
                self.origin += self.start - self.sent;
                self.sent = self.start;
            }
        }
    }
}

/// Bytes of so many seconds.
pub(super) fn bytes_in(rate: u32, seconds: f64) -> u64 {
    (seconds * f64::from(rate)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chunks of 100 ms that carry their number.
    fn chunk(number: u8) -> Bytes {
        Bytes::from(vec![number; 800])
    }

    fn replay() -> Replay {
        Replay::new(8000, Limits { quiet: 8000, open: 24_000 }, Duration::from_millis(600))
    }

    fn send_all(replay: &mut Replay) -> Vec<u8> {
        std::iter::from_fn(|| replay.next()).map(|chunk| chunk[0]).collect()
    }

    #[test]
    fn audio_waits_for_the_socket_and_is_sent_again_on_the_next_one() {
        let mut replay = replay();
        for number in 0..3 {
            assert_eq!(replay.push(chunk(number)), 0);
        }
        assert_eq!(send_all(&mut replay), [0, 1, 2]);
        assert_eq!(send_all(&mut replay), [] as [u8; 0]);
        replay.rewind();
        replay.push(chunk(3));
        assert_eq!(send_all(&mut replay), [0, 1, 2, 3]);
    }

    #[test]
    fn a_final_cuts_all_but_the_overlap_and_never_what_was_not_sent() {
        let mut replay = replay();
        replay.hear();
        for number in 0..20 {
            replay.push(chunk(number));
        }
        send_all(&mut replay);
        replay.push(chunk(20));
        replay.settle(None);
        replay.rewind();
        assert_eq!(send_all(&mut replay), [14, 15, 16, 17, 18, 19, 20]);
    }

    #[test]
    fn timestamps_cut_exactly_also_on_the_second_socket() {
        let mut replay = replay();
        replay.hear();
        for number in 0..20 {
            replay.push(chunk(number));
        }
        send_all(&mut replay);
        replay.settle(Some(0.55));
        replay.rewind();
        assert_eq!(send_all(&mut replay)[0], 5, "the chunk in which the word ends is kept");
        replay.settle(Some(1.0));
        replay.rewind();
        assert_eq!(send_all(&mut replay)[0], 15, "one second after the fifth chunk");
        replay.settle(Some(f64::NAN));
        replay.settle(Some(1e300));
        replay.rewind();
        assert_eq!(send_all(&mut replay), [] as [u8; 0]);
    }

    #[test]
    fn old_silence_goes_without_a_word_but_lost_speech_and_unsent_audio_are_counted() {
        let mut replay = replay();
        for number in 0..10 {
            replay.push(chunk(number));
        }
        assert_eq!(replay.push(chunk(10)), 1, "never sent: lost");
        assert_eq!(send_all(&mut replay)[0], 1);
        assert_eq!(replay.push(chunk(11)), 0, "sent and silent: not missed");
        send_all(&mut replay);
        replay.hear();
        let lost: u64 = (12..42)
            .map(|number| {
                let lost = replay.push(chunk(number));
                send_all(&mut replay);
                lost
            })
            .sum();
        assert_eq!(lost, 10, "an utterance longer than the bound");
        replay.rewind();
        assert_eq!(send_all(&mut replay).len(), 30);
    }

    #[test]
    fn positions_hold_when_unsent_audio_is_lost() {
        let mut replay = replay();
        for number in 0..30 {
            replay.push(chunk(number));
        }
        send_all(&mut replay);
        replay.hear();
        replay.settle(None);
        replay.rewind();
        assert_eq!(send_all(&mut replay), [24, 25, 26, 27, 28, 29]);
    }
}
