//! The sandbox's speech for these tests: a mouth that plays a recording whatever the text, ears that keep what they get.

use super::gateway::DEADLINE;
use super::stage::eventually;
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use voice_gateway::sandbox::audio_format::AudioFormat;
use voice_gateway::sandbox::engine::{
    Cost, Heard, Recognition, RecognitionOptions, RecognitionSession, Synthesis, SynthesisFailure, Utterance,
};

/// Plays the recording, 8000 samples a second, for every text.
pub(crate) struct Reciter(pub(crate) Arc<[i16]>);

impl Synthesis for Reciter {
    fn cost(&self) -> Cost {
        Cost::Inline
    }

    fn speak(
        &self,
        utterance: &Utterance<'_>,
        hand_out: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
    ) -> Result<(), SynthesisFailure> {
        let times = utterance.rate as usize / 8_000;
        let samples: Vec<i16> = self.0.iter().flat_map(|sample| std::iter::repeat_n(*sample, times)).collect();
        let _ = hand_out(&samples);
        Ok(())
    }
}

/// Keeps every sample that Speech to Text got, of a wide band every other one, and understands nothing, so that nothing is interrupted.
#[derive(Clone, Default)]
pub(crate) struct Ears(Arc<Mutex<Vec<i16>>>);

impl Ears {
    pub(crate) fn heard(&self) -> Vec<i16> {
        self.0.lock().clone()
    }

    /// Waits until they have listened for so much longer, on the clock of the sound itself.
    pub(crate) async fn listened(&self, longer: Duration) {
        assert!(longer < DEADLINE, "no longer than a test may wait");
        let until = self.0.lock().len() + usize::try_from(longer.as_millis()).unwrap() * 8;
        eventually("Speech to Text has heard on", async || (self.0.lock().len() >= until).then_some(())).await;
    }
}

impl Recognition for Ears {
    fn cost(&self) -> Cost {
        Cost::Inline
    }

    fn open(&self, options: &RecognitionOptions) -> Box<dyn RecognitionSession> {
        assert!([8_000, 16_000].contains(&options.format.rate));
        Box::new(Listening { heard: Arc::clone(&self.0), format: options.format })
    }
}

struct Listening {
    heard: Arc<Mutex<Vec<i16>>>,
    format: AudioFormat,
}

impl RecognitionSession for Listening {
    fn audio(&mut self, bytes: &[u8]) -> Vec<Heard> {
        let times = self.format.rate as usize / 8_000;
        self.heard.lock().extend(self.format.decode(bytes).into_iter().step_by(times));
        Vec::new()
    }

    fn finish(&mut self) -> Vec<Heard> {
        Vec::new()
    }
}
