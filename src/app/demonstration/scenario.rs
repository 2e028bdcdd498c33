//! What callers say and what must come of it, by name.

use super::StageError;
use crate::audio::wav;
use crate::config::Config;
use crate::sandbox::assistant::Dialog;
use crate::sandbox::script::Outcome;
use crate::sandbox::speech::{Synthesiser, Voice};
use std::time::Duration;

/// One conversation to be held.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// What the caller says, each after the assistant has finished.
    pub lines: Vec<Line>,
    /// What must come of it.
    pub expected: Expected,
}

/// Something the caller says.
#[derive(Clone, Debug)]
pub struct Line {
    /// How much speech of the assistant the caller wants to hear before: a pause after "Thank you." is not the end of an answer.
    pub after: Duration,
    /// In words, for whoever watches.
    pub words: String,
    /// How it sounds.
    pub sound: Sound,
    /// Words that must be in the transcript.
    pub heard: &'static [&'static str],
}

/// How a line sounds.
#[derive(Clone, Debug)]
pub enum Sound {
    /// Spoken by the synthesiser, in another voice than the assistant's.
    Synthesised,
    /// A recording of a person, as a WAV file.
    Recorded(&'static [u8]),
    /// Samples at 8 kHz.
    Samples(Vec<i16>),
}

/// What must come of a conversation.
#[derive(Clone, Debug)]
pub struct Expected {
    /// What the assistant must have said, in this order.
    pub assistant: &'static [&'static str],
    /// What is said before the call fails, when it has to.
    pub failure: bool,
    /// `p1` of the one signal; without it no signal may come.
    pub signal: Option<FirstParameter>,
    /// `p2` and on.
    pub custom_data: &'static [(usize, &'static str)],
    /// How CXone's script ends.
    pub outcome: Outcome,
    /// `end_reason` in the history.
    pub end_reason: &'static str,
}

/// What the first parameter of a signal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstParameter {
    /// The call's session key.
    SessionKey,
    /// The word `hangup`.
    Hangup,
}

/// Every scenario's name.
pub const SCENARIOS: [&str; 3] = ["transfer", "hangup", "error"];

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "transfer" => Some(transfer()),
            "hangup" => Some(hangup()),
            "error" => Some(error()),
            _ => None,
        }
    }

    /// A caller who plays `samples` to the assistant, hears its answer, and hangs up if the call has not ended by then.
    #[must_use]
    pub fn playing(file: &str, samples: Vec<i16>) -> Self {
        Self {
            name: "play".to_owned(),
            about: format!("{file} is played to the assistant, its answer is heard to the end"),
            lines: vec![Line {
                after: GREETED,
                words: format!("({file})"),
                sound: Sound::Samples(samples),
                heard: &[],
            }],
            expected: Expected {
                assistant: &[GREETING],
                failure: false,
                signal: None,
                custom_data: &[],
                outcome: Outcome::CallerGone,
                end_reason: "caller_hangup",
            },
        }
    }

    /// Whether the caller hangs up when there is nothing more to say.
    #[must_use]
    pub fn caller_ends(&self) -> bool {
        self.expected.outcome == Outcome::CallerGone
    }

    /// What the assistant will say in it whoever calls: worth speaking ahead.
    #[must_use]
    pub fn sentences(&self, dialog: &Dialog) -> Vec<String> {
        let known = |sentence: &String| self.expected.assistant.iter().any(|words| sentence.contains(words));
        let mut sentences: Vec<String> = dialog.fixed_sentences().into_iter().filter(known).collect();
        if self.expected.failure {
            // As the gateway of the demonstration has it: by default.
            let defaults = Config::load(None, std::iter::empty());
            sentences.extend(defaults.ok().map(|config| config.dialog.failure_message));
        }
        sentences
    }

    /// Turns what is to be said into sound. Blocks.
    ///
    /// # Errors
    /// The engine's complaint, or a file that is none.
    pub fn rehearse(mut self, synthesiser: &Synthesiser) -> Result<Self, StageError> {
        for line in &mut self.lines {
            let samples = match &line.sound {
                Sound::Samples(_) => continue,
                Sound::Synthesised => synthesiser.synthesise(Voice::Caller, &line.words, RATE)?,
                Sound::Recorded(file) => wav::read_telephone(*file)
                    .map_err(|source| StageError::Sound { what: format!("recording of {:?}", line.words), source })?,
            };
            line.sound = Sound::Samples(samples);
        }
        Ok(self)
    }
}

impl Line {
    /// The samples; none before `rehearse`.
    #[must_use]
    pub fn samples(&self) -> &[i16] {
        match &self.sound {
            Sound::Samples(samples) => samples,
            Sound::Synthesised | Sound::Recorded(_) => &[],
        }
    }

    /// The same to play.
    #[must_use]
    pub fn clip(&self) -> wav::Clip {
        wav::Clip::telephone(self.samples().to_vec())
    }
}

fn said(after: Duration, words: &str, heard: &'static [&'static str]) -> Line {
    Line { after, words: words.to_owned(), sound: Sound::Synthesised, heard }
}

fn transfer() -> Scenario {
    Scenario {
        name: "transfer".to_owned(),
        about: "the caller asks for a balance, gives the account number (a recording of a person), and wants an agent"
            .to_owned(),
        lines: vec![
            said(GREETED, "I would like to know my account balance.", &["balance"]),
            Line {
                after: Duration::from_secs(3),
                words: "Two, nine, three, four, zero.".to_owned(),
                sound: Sound::Recorded(include_bytes!("../../../tests/audio/tidigits-2934z.wav")),
                heard: &["two nine three four zero"],
            },
            said(Duration::from_secs(4), "Yes please, I would like to speak to an agent.", &["agent"]),
        ],
        expected: Expected {
            assistant: &[GREETING, "What is your account number?", "forty two dollars", "connecting you to an agent"],
            failure: false,
            signal: Some(FirstParameter::SessionKey),
            custom_data: &[
                (2, "balance"),
                (3, "29340"),
                (4, "The caller asked about the balance of account 29340 and then for an agent."),
            ],
            outcome: Outcome::WithAgent,
            end_reason: "assistant_transfer",
        },
    }
}

fn hangup() -> Scenario {
    Scenario {
        name: "hangup".to_owned(),
        about: "the caller asks one thing and says goodbye; the assistant ends the call".to_owned(),
        lines: vec![
            said(GREETED, "Can you tell me your opening hours?", &["opening"]),
            said(Duration::from_secs(3), "No, that is all, thank you. Goodbye.", &["bye"]),
        ],
        expected: Expected {
            assistant: &[GREETING, "from eight in the morning", "anything else", "Thank you for calling"],
            failure: false,
            signal: Some(FirstParameter::Hangup),
            custom_data: &[],
            outcome: Outcome::HungUp,
            end_reason: "assistant_hangup",
        },
    }
}

fn error() -> Scenario {
    Scenario {
        name: "error".to_owned(),
        about: "the assistant fails in the middle of the call; the caller reaches an agent all the same".to_owned(),
        lines: vec![said(GREETED, "The power is out in my house.", &["power is out"])],
        expected: Expected {
            assistant: &[GREETING],
            failure: true,
            signal: None,
            custom_data: &[],
            outcome: Outcome::WithAgent,
            end_reason: "failed",
        },
    }
}

const GREETING: &str = "welcome to Acme Energy";
const RATE: u32 = 8_000;
const GREETED: Duration = Duration::from_millis(1_500);
