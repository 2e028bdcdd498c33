//! Kokoro-82M (<https://huggingface.co/hexgrad/Kokoro-82M>) with misaki's phonemes: text to sound, clause by clause.

use super::SpeechError;
use super::engine::{Lanes, Network, read};
use super::letters::Speller;
use super::phrase::{Phrase, phrases};
use super::resample::resample;
use super::shelf::{Key, Shelf};
use crate::sandbox::models::ModelPaths;
use misaki_rs::{G2P, Language};
use rten::NodeId;
use rten_tensor::{NdTensor, prelude::*};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The sample rate at which the network speaks.
pub const NATIVE_RATE: u32 = 24_000;

/// Speaks. Shared by all calls; each clause computes on up to two threads of its own and some 300 MB of memory, so bound
/// how many run at once.
pub struct Synthesiser {
    network: Network,
    tokens: NodeId,
    style: NodeId,
    speed: NodeId,
    audio: NodeId,
    phonemes: G2P,
    vocabulary: HashMap<char, i32>,
    styles: Vec<(Voice, Vec<f32>)>,
    lanes: Lanes,
    shelf: Shelf,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Voice {
    /// The assistant.
    Assistant,
    /// The caller of a demonstration: clearly another person.
    Caller,
}

/// A clause of a prompt, rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// The words, as they are read out.
    pub text: String,
    /// Its sound, with the silence that follows it.
    pub samples: Vec<i16>,
}

/// The clauses of a prompt, rendered one by one as they are asked for.
pub struct Clauses<'a> {
    synthesiser: &'a Synthesiser,
    voice: Voice,
    rate: u32,
    phrases: std::vec::IntoIter<Phrase>,
}

impl Voice {
    /// The voice as a blend of the network's voices and their weights. Each of these speaks Japanese of its own and English
    /// with an accent; a blend of a man's and a woman's is understood better than either (read back by the recogniser
    /// after mu-law: 24 of 24 sentences for each blend, 19 and 13 for the voices by themselves). Their shares set the pitch.
    fn blend(self) -> &'static [(&'static str, f32)] {
        match self {
            Self::Assistant => &[("jm_kumo", 0.65), ("jf_alpha", 0.35)],
            Self::Caller => &[("jm_kumo", 0.4), ("jf_alpha", 0.6)],
        }
    }

    /// Names the voice in the keys of rendered clauses.
    fn name(self) -> String {
        self.blend().iter().map(|(name, weight)| format!("{name}={weight} ")).collect()
    }
}

impl Synthesiser {
    /// Loads network, voices and phoneme lexicon (about a second).
    ///
    /// # Errors
    /// A file that is missing or not the model's.
    pub fn load(models: &ModelPaths) -> Result<Self, SpeechError> {
        let network = Network::load("synthesiser", models.file("kokoro.onnx"))?;
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS));
        Ok(Self {
            tokens: network.node("tokens")?,
            style: network.node("style")?,
            speed: network.node("speed")?,
            audio: network.node("audio")?,
            network,
            phonemes: G2P::with_fallback(Language::EnglishUS, Some(Box::new(Speller))),
            vocabulary: vocabulary(models)?,
            styles: [Voice::Assistant, Voice::Caller]
                .into_iter()
                .map(|voice| Ok((voice, style_rows(models, voice)?)))
                .collect::<Result<_, SpeechError>>()?,
            lanes: Lanes::new(threads),
            shelf: Shelf::new(models.spoken()),
        })
    }

    /// Speaks plain text at `rate` samples a second (8 to 192 kHz), clause by clause. Nothing is computed before the first
    /// clause is asked for.
    #[must_use]
    pub fn clauses(&self, voice: Voice, text: &str, rate: u32) -> Clauses<'_> {
        Clauses { synthesiser: self, voice, rate, phrases: phrases(text).into_iter() }
    }

    /// The whole of `text` in one piece.
    ///
    /// # Errors
    /// A rate outside 8 to 192 kHz; the runtime's complaint.
    pub fn synthesise(&self, voice: Voice, text: &str, rate: u32) -> Result<Vec<i16>, SpeechError> {
        let mut samples = Vec::new();
        for clause in self.clauses(voice, text, rate) {
            samples.extend(clause?.samples);
        }
        Ok(samples)
    }

    /// Renders `texts` now, so that speaking them later takes no time.
    ///
    /// # Errors
    /// The runtime's complaint.
    pub fn prerender(&self, voice: Voice, texts: &[&str]) -> Result<(), SpeechError> {
        for phrase in texts.iter().flat_map(|text| phrases(text)) {
            self.clause(voice, &phrase.text)?;
        }
        Ok(())
    }

    /// One clause, trimmed of silence, at the native rate.
    fn clause(&self, voice: Voice, text: &str) -> Result<Arc<[i16]>, SpeechError> {
        let key = Key::new(&voice.name(), text);
        if let Some(kept) = self.shelf.find(key) {
            return Ok(kept);
        }
        let tokens = self.tokens_of(text)?;
        let sound: Arc<[i16]> = match tokens.len() {
            0 => Arc::from([]),
            _ => trimmed(&self.render(voice, &tokens)?).iter().map(|s| to_i16(*s)).collect(),
        };
        self.shelf.keep(key, &sound);
        Ok(sound)
    }

    /// The phonemes of a clause as the network's tokens.
    fn tokens_of(&self, text: &str) -> Result<Vec<i32>, SpeechError> {
        let text: Vec<String> = text.split(' ').map(|word| self.split_compound(word)).collect();
        // The network swallows the first sounds of a short text: a comma before them keeps them whole.
        let (phonemes, _) = self.phonemes.g2p(&text.join(" ")).map_err(|e| self.network.failed(e))?;
        let mut tokens = std::iter::once(',').chain(phonemes.chars()).filter_map(|c| self.vocabulary.get(&c).copied());
        let tokens: Vec<i32> = tokens.by_ref().take(MOST_TOKENS).collect();
        // Nothing but punctuation is nothing to say.
        let speaks = phonemes.chars().any(char::is_alphabetic);
        Ok(if speaks { tokens } else { Vec::new() })
    }

    /// A word that the lexicon does not know as the two known words it is made of ("callcentre"), where it is.
    fn split_compound(&self, word: &str) -> String {
        let known = |part: &str| self.phonemes.lexicon.is_known(part, "");
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
        if bare.len() < 6 || !bare.bytes().all(|b| b.is_ascii_lowercase()) || known(bare) {
            return word.to_owned();
        }
        let cut = (3..=bare.len() - 3)
            .rev()
            .find(|at| word.split_at_checked(*at).is_some_and(|(a, _)| known(a) && bare.get(*at..).is_some_and(known)));
        match cut.and_then(|at| word.split_at_checked(at)) {
            Some((head, tail)) => format!("{head} {tail}"),
            None => word.to_owned(),
        }
    }

    fn render(&self, voice: Voice, phonemes: &[i32]) -> Result<Vec<f32>, SpeechError> {
        let rows = self.styles.iter().find(|(v, _)| *v == voice).map(|(_, rows)| rows.as_slice()).unwrap_or_default();
        // The voice has one style for each length of input.
        let style =
            rows.chunks_exact(STYLE_WIDTH).nth(phonemes.len()).ok_or_else(|| self.network.failed("no style"))?;
        let style = NdTensor::from_data([1, STYLE_WIDTH], style.to_vec());
        let padded: Vec<i32> = std::iter::once(PAD).chain(phonemes.iter().copied()).chain([PAD]).collect();
        let tokens = NdTensor::from_data([1, padded.len()], padded);
        let speed = NdTensor::from_data([1], vec![1.0f32]);
        let inputs = vec![(self.tokens, tokens.into()), (self.style, style.into()), (self.speed, speed.into())];
        let outputs = self.lanes.run(|lane| self.network.run(inputs, &[self.audio], lane))?;
        Ok(self.network.tensor(outputs.into_iter().next())?.to_vec())
    }
}

impl Clauses<'_> {
    /// Whether the next clause takes no time: it was rendered before, or there is none.
    #[must_use]
    pub fn next_is_ready(&self) -> bool {
        let next = self.phrases.as_slice().first();
        next.is_none_or(|phrase| self.synthesiser.shelf.find(Key::new(&self.voice.name(), &phrase.text)).is_some())
    }
}

impl Iterator for Clauses<'_> {
    type Item = Result<Clause, SpeechError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Phrase { text, gap } = self.phrases.next()?;
        let gap = if self.phrases.len() == 0 { Duration::ZERO } else { gap };
        let rendered = self.synthesiser.clause(self.voice, &text).and_then(|sound| {
            let sound: Vec<f32> = sound.iter().map(|s| f32::from(*s) / FULL_SCALE).collect();
            resample(&sound, NATIVE_RATE, self.rate)
        });
        Some(rendered.map(|sound| {
            let mut samples: Vec<i16> = sound.into_iter().map(to_i16).collect();
            samples.resize(samples.len() + (gap.as_millis() as usize * self.rate as usize) / 1000, 0);
            Clause { text, samples }
        }))
    }
}

/// The sound without the silence that the network puts around it.
fn trimmed(sound: &[f32]) -> &[f32] {
    let loud = |s: &f32| s.abs() > AUDIBLE;
    let (Some(first), Some(last)) = (sound.iter().position(loud), sound.iter().rposition(loud)) else { return &[] };
    sound.get(first.saturating_sub(BEFORE)..(last + AFTER).min(sound.len())).unwrap_or_default()
}

fn to_i16(sample: f32) -> i16 {
    (sample * FULL_SCALE) as i16
}

fn vocabulary(models: &ModelPaths) -> Result<HashMap<char, i32>, SpeechError> {
    #[derive(serde::Deserialize)]
    struct File {
        vocab: HashMap<char, i32>,
    }
    let path = models.file("vocab.json");
    let file: Result<File, _> = serde_json::from_slice(&read(&path)?);
    file.map(|file| file.vocab).map_err(|e| SpeechError::Load { path, detail: e.to_string() })
}

fn style_rows(models: &ModelPaths, voice: Voice) -> Result<Vec<f32>, SpeechError> {
    let mut rows = vec![0.0; STYLE_WIDTH * STYLES];
    for (name, weight) in voice.blend() {
        let path = models.file(&format!("{name}.f32"));
        let data = read(&path)?;
        let (values, rest) = data.as_chunks::<4>();
        if values.len() != rows.len() || !rest.is_empty() {
            return Err(SpeechError::Load { path, detail: format!("{} bytes are no voice", data.len()) });
        }
        for (sum, value) in rows.iter_mut().zip(values) {
            *sum += weight * f32::from_le_bytes(*value);
        }
    }
    Ok(rows)
}

/// Two threads bring the first clause a third earlier; more bring little.
const MOST_THREADS: usize = 2;
const PAD: i32 = 0;
const STYLE_WIDTH: usize = 256;
const STYLES: usize = 510;
const MOST_TOKENS: usize = STYLES - 1;
const FULL_SCALE: f32 = 32_767.0;
/// -46 dB: below is the network's noise floor.
const AUDIBLE: f32 = 0.003;
const BEFORE: usize = NATIVE_RATE as usize / 25;
const AFTER: usize = NATIVE_RATE as usize / 15;
