//! What is to be spoken, in order: prompts ordered ahead, their deadlines, keys to send, and the ending that waits behind them.

use super::contract::Act;
use super::response::Transfer;
use super::words::Who;
use crate::base::{PlayId, Tone};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What the assistant orders as the end of the conversation; carried out when all before it has been spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `connect_to_agent`.
    Transfer(Transfer),
    /// `end_session`.
    EndSession {
        /// For a BYE of ours.
        headers: Vec<(String, String)>,
    },
}

/// Words to speak.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub(super) text: String,
    pub(super) who: Who,
    /// Whether the caller's speech stops them.
    pub(super) interruptible: bool,
    /// How long they may play.
    pub(super) longest: Duration,
}

/// Words ordered from Text to Speech.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    pub(super) play: PlayId,
    pub(super) words: Words,
    /// When the first audio came from the service.
    audio: Option<Instant>,
    /// When the first packet left.
    started: Option<Instant>,
}

/// What the head prompt's deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// It played for longer than it can be; the rest goes on.
    Overrun,
    /// No audio came, or none of it was played.
    Dead,
    /// It was no prompt: keys have been sent.
    Pressed,
}

#[derive(Clone, Debug)]
enum Step {
    Say(Words),
    Press(Vec<Tone>),
    End(Ending),
}

/// The queue. At most `AHEAD` prompts are ordered at a time: the first plays while the next is made.
#[derive(Debug)]
pub(super) struct Playback {
    steps: VecDeque<Step>,
    prompts: VecDeque<Prompt>,
    head_since: Option<Instant>,
    /// Keys are being sent until then.
    pressing: Option<Instant>,
    plays: u64,
    open: bool,
    held: bool,
}

impl Words {
    /// Words whose length alone bounds how long they may play.
    pub(super) fn new(text: String, who: Who, interruptible: bool) -> Self {
        let characters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        Self { text, who, interruptible, longest: SLOWEST_START + SLOWEST_CHARACTER.saturating_mul(characters) }
    }
}

impl Playback {
    /// Nothing is ordered before `open`.
    pub(super) fn new() -> Self {
        Self {
            steps: VecDeque::new(),
            prompts: VecDeque::new(),
            head_since: None,
            pressing: None,
            plays: 0,
            open: false,
            held: false,
        }
    }

    pub(super) fn open(&mut self) {
        self.open = true;
    }

    /// Whether what is ordered can be heard.
    pub(super) fn can_speak(&self) -> bool {
        self.open && !self.held
    }

    pub(super) fn say(&mut self, words: Words) {
        self.steps.push_back(Step::Say(words));
    }

    /// Keys to send once all before them has been spoken.
    pub(super) fn press(&mut self, tones: Vec<Tone>) {
        if !tones.is_empty() {
            self.steps.push_back(Step::Press(tones));
        }
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.steps.push_back(Step::End(ending));
    }

    /// Whether anything is being spoken or waits.
    pub(super) fn busy(&self) -> bool {
        !self.prompts.is_empty() || !self.steps.is_empty() || self.pressing.is_some()
    }

    /// Whether an ending waits.
    pub(super) fn ending(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::End(_)))
    }

    /// Whether the caller hears something now.
    pub(super) fn audible(&self) -> bool {
        self.prompts.front().is_some_and(|head| head.started.is_some())
    }

    /// Whether what is spoken now, or comes next, is not to be stopped by speech.
    pub(super) fn blocks_speech(&self) -> bool {
        let next = self.prompts.front().map(|prompt| &prompt.words).or(match self.steps.front() {
            Some(Step::Say(words)) => Some(words),
            _ => None,
        });
        next.is_some_and(|words| !words.interruptible)
    }

    pub(super) fn head(&self) -> Option<&Prompt> {
        self.prompts.front()
    }

    /// Stops what is spoken and forgets what is left to say; an ending stays.
    pub(super) fn cut(&mut self, out: &mut Vec<Act>) {
        self.stop(out);
        self.prompts.clear();
        self.steps.retain(|step| matches!(step, Step::End(_)));
    }

    /// Stops and forgets everything.
    pub(super) fn clear(&mut self, out: &mut Vec<Act>) {
        self.cut(out);
        self.steps.clear();
        self.pressing = None;
    }

    /// On hold nothing is spoken; what was cut by it is said from its beginning when the hold ends.
    pub(super) fn hold(&mut self, held: bool, out: &mut Vec<Act>) {
        self.held = held;
        if held && !self.prompts.is_empty() {
            self.rewind(out);
        }
    }

    /// Orders what can be ordered. Gives out the ending whose turn has come; on hold nobody hears what is before it, so it comes at
    /// once.
    pub(super) fn advance(&mut self, now: Instant, keys_stop: bool, out: &mut Vec<Act>) -> Option<Ending> {
        if self.held && self.ending() {
            self.cut(out);
        }
        self.pressing.take_if(|until| *until <= now);
        if self.pressing.is_some() {
            return None;
        }
        while self.can_speak() && self.prompts.len() < AHEAD {
            let Some(Step::Say(words)) = self.steps.pop_front_if(|step| matches!(step, Step::Say(_))) else { break };
            self.plays += 1;
            let play = PlayId(self.plays);
            out.push(Act::Speak { play, text: words.text.clone(), keys_stop });
            if self.prompts.is_empty() {
                self.head_since = Some(now);
            }
            self.prompts.push_back(Prompt { play, words, audio: None, started: None });
        }
        if !self.prompts.is_empty() {
            return None;
        }
        match self.steps.pop_front_if(|step| match step {
            Step::End(_) => true,
            Step::Press(_) => self.open && !self.held,
            Step::Say(_) => false,
        }) {
            Some(Step::End(ending)) => Some(ending),
            Some(Step::Press(tones)) => {
                self.pressing = Some(now + tones.iter().map(Tone::whole).sum::<Duration>());
                out.push(Act::Press(tones));
                None
            }
            _ => None,
        }
    }

    /// The first audio of `play` came.
    pub(super) fn audio(&mut self, now: Instant, play: PlayId) {
        if let Some(prompt) = self.prompts.iter_mut().find(|prompt| prompt.play == play) {
            prompt.audio.get_or_insert(now);
        }
    }

    /// The first packet of `play` left. What was before it is over, whether that was told or not.
    pub(super) fn started(&mut self, now: Instant, play: PlayId) -> Option<&Prompt> {
        let index = self.prompts.iter().position(|prompt| prompt.play == play)?;
        self.prompts.drain(..index);
        let head = self.prompts.front_mut()?;
        if head.started.is_some() {
            return None;
        }
        head.audio.get_or_insert(now);
        head.started = Some(now);
        Some(head)
    }

    /// `play` is over.
    pub(super) fn finished(&mut self, now: Instant, play: PlayId) {
        if let Some(index) = self.prompts.iter().position(|prompt| prompt.play == play) {
            self.prompts.drain(..=index);
            self.head_since = Some(now);
        }
    }

    /// Whether the failure of `play` means that nothing of it will be heard.
    pub(super) fn is_dead(&self, play: PlayId) -> bool {
        self.prompts.iter().any(|prompt| prompt.play == play && prompt.audio.is_none())
    }

    /// When to call `expire`.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.pressing.is_some() {
            return self.pressing;
        }
        let head = self.prompts.front()?;
        let since = self.head_since?;
        Some(match (head.started, head.audio) {
            (Some(started), _) => started + head.words.longest,
            (None, Some(audio)) => audio.max(since) + PLAY_START,
            (None, None) => since + FIRST_AUDIO,
        })
    }

    /// The head prompt's deadline has come.
    pub(super) fn expire(&mut self, out: &mut Vec<Act>) -> Expiry {
        if self.pressing.take().is_some() {
            return Expiry::Pressed;
        }
        if !self.audible() {
            return Expiry::Dead;
        }
        self.prompts.pop_front();
        self.rewind(out);
        Expiry::Overrun
    }

    /// Takes every ordered prompt back, to be ordered again.
    fn rewind(&mut self, out: &mut Vec<Act>) {
        out.push(Act::StopSpeaking);
        while let Some(prompt) = self.prompts.pop_back() {
            self.steps.push_front(Step::Say(prompt.words));
        }
    }

    fn stop(&self, out: &mut Vec<Act>) {
        if !self.prompts.is_empty() {
            out.push(Act::StopSpeaking);
        }
    }
}

/// Prompts ordered from Text to Speech at a time.
const AHEAD: usize = 2;
/// From a prompt's turn to its first audio.
const FIRST_AUDIO: Duration = Duration::from_secs(8);
/// From first audio to first packet.
const PLAY_START: Duration = Duration::from_secs(5);
/// How long words may play: so much, and so much a character; twice what slow speech takes.
const SLOWEST_START: Duration = Duration::from_secs(10);
const SLOWEST_CHARACTER: Duration = Duration::from_millis(150);
