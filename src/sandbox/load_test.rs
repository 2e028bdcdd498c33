//! Engines for load tests only: a recogniser that hears energy, not words, and a synthesiser that makes tones, not speech.
//! Hundreds of streams cost them next to nothing. Never used by `demo` or `sandbox`.

use super::engine::{
    Cost, Heard, Recognition, RecognitionOptions, RecognitionSession, Synthesis, SynthesisFailure, Utterance,
};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// A recogniser for load tests: a voiced stretch followed by silence is an "utterance", whose transcript is the next of a
/// fixed list.
#[derive(Clone, Debug)]
pub struct LoadTestRecognition {
    transcripts: Arc<[String]>,
}

impl LoadTestRecognition {
    /// Each stream says these in turn and then from the start again; with none it says "utterance 1", "utterance 2", ...
    #[must_use]
    pub fn new(transcripts: impl IntoIterator<Item = String>) -> Self {
        Self { transcripts: transcripts.into_iter().collect() }
    }
}

impl Recognition for LoadTestRecognition {
    fn cost(&self) -> Cost {
        Cost::Inline
    }

    fn open(&self, options: &RecognitionOptions) -> Box<dyn RecognitionSession> {
        Box::new(EnergyListener {
            transcripts: Arc::clone(&self.transcripts),
            options: options.clone(),
            rest: Vec::new(),
            heard: Duration::ZERO,
            voiced: Duration::ZERO,
            begin: Duration::ZERO,
            silent: Duration::ZERO,
            phrase: Phrase::None,
            utterances: 0,
        })
    }
}

/// A synthesiser for load tests: a burst of tone per word, 60 ms a character.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadTestSynthesis;

impl Synthesis for LoadTestSynthesis {
    fn cost(&self) -> Cost {
        Cost::Inline
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a tone below the range of i16")]
    fn speak(
        &self,
        utterance: &Utterance<'_>,
        hand_out: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
    ) -> Result<(), SynthesisFailure> {
        let character = utterance.rate as usize * 60 / 1_000;
        let period = (utterance.rate / TONE_HERTZ).max(2);
        let wave = (0..period).map(|n| ((std::f32::consts::TAU * n as f32 / period as f32).sin() * 8_000.0) as i16);
        let wave: Vec<i16> = wave.collect();
        for word in utterance.text.split_whitespace() {
            let mut samples: Vec<i16> = wave.iter().copied().cycle().take(word.chars().count() * character).collect();
            samples.extend(std::iter::repeat_n(0, character));
            if hand_out(&samples).is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phrase {
    None,
    Begun,
    Guessed,
}

struct EnergyListener {
    transcripts: Arc<[String]>,
    options: RecognitionOptions,
    rest: Vec<u8>,
    heard: Duration,
    voiced: Duration,
    begin: Duration,
    silent: Duration,
    phrase: Phrase,
    utterances: usize,
}

impl EnergyListener {
    fn frame(&mut self, frame: &[u8], told: &mut Vec<Heard>) {
        let samples = self.options.format.decode(frame);
        let energy: u64 = samples.iter().map(|sample| u64::from(sample.unsigned_abs())).sum();
        let voiced = energy / (samples.len().max(1) as u64) > VOICED_LEVEL;
        self.heard += FRAME;
        if voiced {
            self.voiced += FRAME;
            self.silent = Duration::ZERO;
        } else {
            self.silent += FRAME;
            if self.phrase == Phrase::None {
                self.voiced = Duration::ZERO;
            }
        }
        match self.phrase {
            Phrase::None if self.voiced >= SHORTEST => {
                self.phrase = Phrase::Begun;
                self.begin = self.heard.saturating_sub(self.voiced);
                told.push(Heard::Began { at: self.begin });
            }
            Phrase::Begun if self.voiced >= GUESS_AFTER => {
                self.phrase = Phrase::Guessed;
                if self.options.interim_results {
                    let transcript = self.transcript();
                    let first = transcript.split_whitespace().next().unwrap_or_default().to_owned();
                    told.push(Heard::Interim { transcript: first });
                }
            }
            Phrase::Begun | Phrase::Guessed if self.silent >= self.options.end_of_phrase_silence => self.end(told),
            _ => {}
        }
    }

    fn transcript(&self) -> String {
        let index = self.utterances.checked_rem(self.transcripts.len());
        match index.and_then(|index| self.transcripts.get(index)) {
            Some(transcript) => transcript.clone(),
            None => format!("utterance {}", self.utterances + 1),
        }
    }

    fn end(&mut self, told: &mut Vec<Heard>) {
        let end = self.heard.saturating_sub(self.silent);
        told.push(Heard::Final { transcript: self.transcript(), confidence: 0.9, begin: self.begin, end });
        self.utterances += 1;
        self.voiced = Duration::ZERO;
        self.phrase = Phrase::None;
    }
}

impl RecognitionSession for EnergyListener {
    fn audio(&mut self, bytes: &[u8]) -> Vec<Heard> {
        let mut told = Vec::new();
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let per_second = self.options.format.sample_bytes() * self.options.format.rate as usize;
        let frame_bytes = (per_second / FRAMES_A_SECOND).max(1);
        let frames = rest.chunks_exact(frame_bytes);
        self.rest = frames.remainder().to_vec();
        for frame in frames {
            self.frame(frame, &mut told);
        }
        told
    }

    fn finish(&mut self) -> Vec<Heard> {
        let mut told = Vec::new();
        if self.phrase != Phrase::None {
            self.end(&mut told);
        }
        told
    }
}

const FRAMES_A_SECOND: usize = 50;
const FRAME: Duration = Duration::from_millis(20);
const VOICED_LEVEL: u64 = 300;
const SHORTEST: Duration = Duration::from_millis(100);
const GUESS_AFTER: Duration = Duration::from_millis(200);
const TONE_HERTZ: u32 = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::audio_format::AudioFormat;

    fn options() -> RecognitionOptions {
        RecognitionOptions {
            format: AudioFormat::parse("audio/mulaw;rate=8000").unwrap(),
            end_of_phrase_silence: Duration::from_millis(800),
            interim_results: true,
        }
    }

    fn spoken(text: &str) -> Vec<u8> {
        let mut samples = Vec::new();
        let utterance = Utterance { text, voice: "any", rate: 8_000 };
        let spoken = LoadTestSynthesis.speak(&utterance, &mut |chunk| {
            samples.extend_from_slice(chunk);
            ControlFlow::Continue(())
        });
        assert_eq!(spoken, Ok(()));
        options().format.encode(&samples)
    }

    #[test]
    fn each_voiced_stretch_followed_by_silence_is_the_next_transcript() {
        let engine = LoadTestRecognition::new(["speak to an agent".to_owned(), "goodbye".to_owned()]);
        let mut session = engine.open(&options());
        let silence = vec![0xffu8; 8_000];
        for expected in ["speak to an agent", "goodbye", "speak to an agent"] {
            assert_eq!(session.audio(&silence), []);
            let mut heard = Vec::new();
            for piece in spoken("hello there").chunks(150) {
                heard.extend(session.audio(piece));
            }
            assert!(matches!(heard.first(), Some(Heard::Began { .. })), "{heard:?}");
            assert!(matches!(heard.get(1), Some(Heard::Interim { .. })), "{heard:?}");
            assert_eq!(heard.len(), 2);
            let ended = session.audio(&silence);
            let Some(Heard::Final { transcript, begin, end, .. }) = ended.first() else { panic!("{ended:?}") };
            assert_eq!((transcript.as_str(), ended.len()), (expected, 1));
            let length = (*end - *begin).as_millis();
            assert!((650..=720).contains(&length), "eleven characters and a pause of one between: {length} ms");
        }
    }

    #[test]
    fn the_end_of_the_stream_ends_the_phrase_and_silence_is_never_one() {
        let mut session = LoadTestRecognition::new([]).open(&options());
        session.audio(&spoken("hello"));
        let told = session.finish();
        assert!(matches!(&told[..], [Heard::Final { transcript, .. }] if transcript == "utterance 1"), "{told:?}");
        assert_eq!(session.finish(), []);
        assert_eq!(session.audio(&[0xd5; 80]), []);
    }
}
