//! Moonshine tiny-en (Jeffries et al. 2024, <https://arxiv.org/abs/2410.15608>): greedy decoding of one utterance.

use super::SpeechError;
use super::engine::{Lanes, Network, last_row, read};
use super::transcript::plain_words;
use crate::sandbox::models::ModelPaths;
use rten::{NodeId, ThreadPool, ValueOrView};
use rten_tensor::{NdTensor, Tensor, prelude::*};
use std::path::Path;
use std::sync::Arc;

/// The sample rate that the recogniser takes.
pub const RATE: u32 = 16_000;

/// Turns utterances into words. Shared by all calls: `recognise` may be called from several threads at once, and each
/// call computes on one thread of its own.
pub struct Recogniser {
    encoder: Encoder,
    decoder: Decoder,
    tokens: Vec<Vec<u8>>,
    lanes: Lanes,
}

/// What was recognised in an utterance.
#[derive(Clone, Debug, PartialEq)]
pub struct Recognition {
    /// Lower-case words without punctuation, numbers in words; empty when no speech was found.
    pub words: String,
    /// Mean probability of the decoder's choices, 0 to 1.
    pub confidence: f32,
}

struct Encoder {
    network: Network,
    samples: NodeId,
    mask: NodeId,
    states: NodeId,
}

struct Decoder {
    network: Network,
    token: NodeId,
    states: NodeId,
    mask: Option<NodeId>,
    use_cache: NodeId,
    /// Keys and values of each layer: the input, the output that replaces it, and whose they are.
    cache: Vec<CacheEntry>,
    /// Logits, then the cache entries' outputs in their order.
    outputs: Vec<NodeId>,
}

struct CacheEntry {
    past: NodeId,
    kind: CacheKind,
}

#[derive(Clone, Copy, PartialEq)]
enum CacheKind {
    /// Of what was decoded so far: grows with every token.
    Decoder,
    /// Of the encoder's states: made by the first step, then kept.
    Encoder,
}

impl Recogniser {
    /// Loads the networks (about a tenth of a second).
    ///
    /// # Errors
    /// A file that is missing or not the model's.
    pub fn load(models: &ModelPaths) -> Result<Self, SpeechError> {
        Ok(Self {
            encoder: Encoder::load(models)?,
            decoder: Decoder::load(models)?,
            tokens: read_tokens(&models.file("tokenizer.bin"))?,
            lanes: Lanes::new(1),
        })
    }

    /// Recognises one utterance of at most [`LONGEST_SECONDS`] seconds of 16 kHz samples in ±1; what is beyond is not heard.
    ///
    /// # Errors
    /// The runtime's complaint.
    pub fn recognise(&self, pcm_16k: &[f32]) -> Result<Recognition, SpeechError> {
        let pcm = pcm_16k.get(..LONGEST).unwrap_or(pcm_16k);
        if pcm.len() < SHORTEST {
            return Ok(Recognition { words: String::new(), confidence: 0.0 });
        }
        let (tokens, confidence) = self.lanes.run(|lane| {
            let states = self.encoder.run(pcm, lane)?;
            self.decoder.run(&states, pcm.len(), lane)
        })?;
        let bytes: Vec<u8> = tokens.iter().filter_map(|t| self.tokens.get(*t as usize)).flatten().copied().collect();
        let words = plain_words(&String::from_utf8_lossy(&bytes).replace('\u{2581}', " "));
        let words = if is_invented(&words, confidence) { String::new() } else { words };
        Ok(Recognition { words, confidence })
    }
}

impl Encoder {
    fn load(models: &ModelPaths) -> Result<Self, SpeechError> {
        let network = Network::load("recogniser's encoder", models.file("encoder_model.onnx"))?;
        let (samples, mask) = (network.node("input_values")?, network.node("attention_mask")?);
        let states = network.node("last_hidden_state")?;
        Ok(Self { network, samples, mask, states })
    }

    fn run(&self, pcm: &[f32], lane: &Arc<ThreadPool>) -> Result<Tensor<f32>, SpeechError> {
        let samples = NdTensor::from_data([1, pcm.len()], pcm.to_vec());
        let mask = NdTensor::<i32, 2>::full([1, pcm.len()], 1);
        let inputs = vec![(self.samples, samples.into()), (self.mask, mask.into())];
        let outputs = self.network.run(inputs, &[self.states], lane)?;
        self.network.tensor(outputs.into_iter().next())
    }
}

impl Decoder {
    fn load(models: &ModelPaths) -> Result<Self, SpeechError> {
        let network = Network::load("recogniser's decoder", models.file("decoder_model_merged.onnx"))?;
        let mut cache = Vec::new();
        let mut outputs = vec![network.node("logits")?];
        for layer in 0..LAYERS {
            for (owner, kind) in [("decoder", CacheKind::Decoder), ("encoder", CacheKind::Encoder)] {
                for part in ["key", "value"] {
                    let past = network.node(&format!("past_key_values.{layer}.{owner}.{part}"))?;
                    outputs.push(network.node(&format!("present.{layer}.{owner}.{part}"))?);
                    cache.push(CacheEntry { past, kind });
                }
            }
        }
        let (token, states) = (network.node("input_ids")?, network.node("encoder_hidden_states")?);
        let (mask, use_cache) = (network.node("encoder_attention_mask").ok(), network.node("use_cache_branch")?);
        Ok(Self { network, token, states, mask, use_cache, cache, outputs })
    }

    /// Greedy search. Returns the tokens and the mean probability with which they were chosen.
    fn run(
        &self,
        states: &Tensor<f32>,
        samples: usize,
        lane: &Arc<ThreadPool>,
    ) -> Result<(Vec<u32>, f32), SpeechError> {
        let mask = NdTensor::<i32, 2>::full([1, samples], 1);
        let mut cache: Vec<Tensor<f32>> =
            self.cache.iter().map(|_| Tensor::zeros(&[1, HEADS, 0, HEAD_WIDTH])).collect();
        let (mut tokens, mut probabilities) = (Vec::new(), 0.0);
        let most = (samples * TOKENS_PER_10_SECONDS / (10 * RATE as usize)).max(FEWEST_TOKENS);
        let mut token = START;
        for step in 0..most {
            let input = NdTensor::from_data([1, 1], vec![token as i32]);
            let use_cache = NdTensor::from_data([1], vec![i32::from(step > 0)]);
            let mut inputs: Vec<(NodeId, ValueOrView<'_>)> = vec![
                (self.token, input.into()),
                (self.states, states.view().into()),
                (self.use_cache, use_cache.into()),
            ];
            inputs.extend(self.mask.map(|id| (id, mask.view().into())));
            inputs.extend(self.cache.iter().zip(&cache).map(|(entry, past)| (entry.past, past.view().into())));
            let mut outputs = self.network.run(inputs, &self.outputs, lane)?.into_iter();
            let logits = last_row(&self.network.tensor(outputs.next())?, VOCABULARY);
            for ((entry, past), present) in self.cache.iter().zip(&mut cache).zip(outputs) {
                if step == 0 || entry.kind == CacheKind::Decoder {
                    *past = self.network.tensor(Some(present))?;
                }
            }
            let (best, probability) = choose(&logits).ok_or_else(|| self.network.failed("no logits"))?;
            probabilities += probability;
            if best == END {
                return Ok((tokens, probabilities / (step + 1) as f32));
            }
            tokens.push(best);
            token = best;
        }
        Ok((tokens, probabilities / most as f32))
    }
}

/// Whether the words are what the network makes of noise: it has learnt from captions, and something always comes out.
fn is_invented(words: &str, confidence: f32) -> bool {
    confidence < UNSURE || INVENTED.contains(&words)
}

/// The most probable token and its probability.
fn choose(logits: &[f32]) -> Option<(u32, f32)> {
    let (best, highest) = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let sum: f32 = logits.iter().map(|l| (l - highest).exp()).sum();
    Some((best as u32, 1.0 / sum))
}

/// The table of tokens: each is a length (two bytes, seven bits in the first, when it is 128 or more) and its bytes.
fn read_tokens(path: &Path) -> Result<Vec<Vec<u8>>, SpeechError> {
    let data = read(path)?;
    parse_tokens(&data)
        .ok_or_else(|| SpeechError::Load { path: path.to_owned(), detail: "it ends within a token".to_owned() })
}

fn parse_tokens(mut rest: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut tokens = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        let (length, after) = match usize::from(*first) {
            short @ ..128 => (short, after),
            low => {
                let (high, after) = after.split_first()?;
                (usize::from(*high) * 128 + low - 128, after)
            }
        };
        let (token, after) = after.split_at_checked(length)?;
        tokens.push(token.to_vec());
        rest = after;
    }
    Some(tokens)
}

/// Accuracy falls off beyond: the listener cuts before.
pub const LONGEST_SECONDS: usize = 15;
const LONGEST: usize = LONGEST_SECONDS * RATE as usize;
/// The encoder's convolutions need some input; what is shorter holds no word.
const SHORTEST: usize = RATE as usize / 10;
const LAYERS: usize = 6;
const HEADS: usize = 8;
const HEAD_WIDTH: usize = 36;
const VOCABULARY: usize = 32_768;
const START: u32 = 1;
const END: u32 = 2;
/// Nobody speaks faster: a decoder that goes on has lost its way.
const TOKENS_PER_10_SECONDS: usize = 65;
const FEWEST_TOKENS: usize = 4;
/// Speech that was understood has 0.6 and more (recorded people 0.78 and more), noise mostly less than this.
const UNSURE: f32 = 0.45;
/// What noise and tones become with some confidence, and nobody says all by itself.
const INVENTED: &[&str] = &["you", "thank you for watching"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_table_is_read_and_a_cut_one_is_refused() {
        let mut data = vec![0, 2, b'a', b'b', 130, 1];
        data.extend([b'x'; 130]);
        let tokens = parse_tokens(&data).unwrap();
        assert_eq!(tokens, [vec![], b"ab".to_vec(), vec![b'x'; 130]]);
        assert_eq!(parse_tokens(&data[..data.len() - 1]), None);
        assert_eq!(parse_tokens(&[200]), None);
    }

    #[test]
    fn the_highest_logit_wins_with_its_probability() {
        let (best, probability) = choose(&[0.0, 2.0_f32.ln(), 0.0]).unwrap();
        assert_eq!(best, 1);
        assert!((probability - 0.5).abs() < 1e-6);
        assert_eq!(choose(&[]), None);
    }
}
