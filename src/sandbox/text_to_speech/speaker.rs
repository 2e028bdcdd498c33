//! Speaks a request: pieces of text through the engine, written in the format asked for, in frames of half a second at most.

use super::request::Request;
use super::ssml::Piece;
use crate::sandbox::engine::{Cost, Synthesis, SynthesisFailure, Utterance};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// A stretch of the answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Spoken {
    /// Encoded audio; the first begins with the header of the format.
    Audio(Vec<u8>),
    /// A mark and the time of the audio that follows it.
    Mark(String, Duration),
}

/// A frame, or why there are no more.
pub(super) type Frame = Result<Spoken, SynthesisFailure>;

/// The answer to a request, as it comes into being.
pub(super) enum Speech {
    /// A cheap engine made it at once.
    Made(VecDeque<Frame>),
    /// Made on a thread of its own, at most 32 frames ahead of the socket: then it waits. Dropping this ends the thread at its
    /// next frame.
    Threaded(mpsc::Receiver<Frame>),
}

impl Speech {
    /// Begins to speak.
    pub(super) fn begin(engine: Arc<dyn Synthesis>, request: &Request, tracker: &TaskTracker) -> Self {
        if engine.cost() == Cost::Inline {
            let mut made = VecDeque::new();
            speak(&*engine, request, &mut |frame| {
                made.push_back(frame);
                ControlFlow::Continue(())
            });
            return Self::Made(made);
        }
        let (frames, receiver) = mpsc::channel(AHEAD);
        let request = request.clone();
        tracker.spawn_blocking(move || {
            speak(&*engine, &request, &mut |frame| match frames.blocking_send(frame) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            });
        });
        Self::Threaded(receiver)
    }

    /// The next stretch; `None` at the end. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        match self {
            Self::Made(frames) => frames.pop_front(),
            Self::Threaded(frames) => frames.recv().await,
        }
    }
}

/// Speaks all pieces in order, until nobody listens.
fn speak(engine: &dyn Synthesis, request: &Request, send: &mut dyn FnMut(Frame) -> ControlFlow<()>) {
    let mut writer = Writer { request, send, header: request.format.header(), samples: 0 };
    for piece in &request.pieces {
        let flow = match piece {
            Piece::Text(text) => writer.text(engine, text),
            Piece::Break(length) => writer.silence(*length),
            Piece::Mark(name) => writer.mark(name),
        };
        if flow.is_break() {
            return;
        }
    }
}

/// Writes samples as frames.
struct Writer<'a> {
    request: &'a Request,
    send: &'a mut dyn FnMut(Frame) -> ControlFlow<()>,
    /// What goes before the first sample.
    header: Vec<u8>,
    samples: u64,
}

impl Writer<'_> {
    fn text(&mut self, engine: &dyn Synthesis, text: &str) -> ControlFlow<()> {
        let utterance = Utterance { text, voice: &self.request.voice, rate: self.request.format.rate };
        let mut flow = ControlFlow::Continue(());
        let spoken = engine.speak(&utterance, &mut |samples| {
            flow = self.write(samples);
            flow
        });
        match spoken {
            Ok(()) => flow,
            Err(failure) => {
                let _ = (self.send)(Err(failure));
                ControlFlow::Break(())
            }
        }
    }

    fn silence(&mut self, length: Duration) -> ControlFlow<()> {
        let samples = length.as_millis() * u128::from(self.request.format.rate) / 1_000;
        self.write(&vec![0; usize::try_from(samples).unwrap_or(0)])
    }

    fn mark(&mut self, name: &str) -> ControlFlow<()> {
        let at = self.samples.saturating_mul(1_000_000_000) / u64::from(self.request.format.rate);
        (self.send)(Ok(Spoken::Mark(name.to_owned(), Duration::from_nanos(at))))
    }

    fn write(&mut self, samples: &[i16]) -> ControlFlow<()> {
        for samples in samples.chunks(FRAME_SAMPLES) {
            let mut frame = std::mem::take(&mut self.header);
            frame.extend(self.request.format.encode(samples));
            self.samples += samples.len() as u64;
            (self.send)(Ok(Spoken::Audio(frame)))?;
        }
        ControlFlow::Continue(())
    }
}

const AHEAD: usize = 32;
/// Half a second at 8 kHz.
const FRAME_SAMPLES: usize = 4_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// So many samples in one stretch, and then perhaps a failure.
    struct Beep(usize, Option<SynthesisFailure>);

    impl Synthesis for Beep {
        fn cost(&self) -> Cost {
            Cost::Inline
        }

        fn speak(
            &self,
            _utterance: &Utterance<'_>,
            hand_out: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
        ) -> Result<(), SynthesisFailure> {
            let _ = hand_out(&vec![1_000; self.0]);
            self.1.clone().map_or(Ok(()), Err)
        }
    }

    fn frames(engine: &Beep, text: &str, accept: &str, most: usize) -> Vec<Frame> {
        let request = Request::new(text, None, Some(accept)).unwrap();
        let mut frames = Vec::new();
        speak(engine, &request, &mut |frame| {
            frames.push(frame);
            if frames.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        frames
    }

    fn bytes(frames: &[Frame]) -> usize {
        frames.iter().map(|frame| if let Ok(Spoken::Audio(bytes)) = frame { bytes.len() } else { 0 }).sum()
    }

    #[test]
    fn pieces_are_spoken_in_order_with_marks_at_their_time() {
        let text = "one <break time='250ms'/> two <mark name='here'/> three";
        let frames = frames(&Beep(8_000, None), text, "audio/mulaw;rate=8000", 100);
        assert_eq!(bytes(&frames), 26_000);
        let mark = frames.iter().position(|item| matches!(item, Ok(Spoken::Mark(..)))).unwrap();
        assert_eq!(frames[mark], Ok(Spoken::Mark("here".to_owned(), Duration::from_millis(2_250))));
        assert_eq!(bytes(&frames[..mark]), 18_000);
        assert!(frames.iter().all(|item| !matches!(item, Ok(Spoken::Audio(bytes)) if bytes.len() > 4_000)));
    }

    #[test]
    fn a_header_goes_before_the_first_sample_only() {
        assert_eq!(
            bytes(&frames(&Beep(8_000, None), "one <break time='1s'/>", "audio/wav;rate=8000", 100)),
            44 + 32_000
        );
    }

    #[test]
    fn a_failing_engine_ends_the_speech_with_its_failure_and_so_does_a_lost_listener() {
        let failure = SynthesisFailure("out of breath".to_owned());
        let engine = Beep(800, Some(failure.clone()));
        let failed = frames(&engine, "one <break/> two", "audio/mulaw;rate=8000", 100);
        assert_eq!(bytes(&failed), 800);
        assert_eq!(failed.last(), Some(&Err(failure)));
        assert_eq!(frames(&Beep(80_000, None), "one <break/> two", "audio/mulaw;rate=8000", 3).len(), 3);
    }
}
