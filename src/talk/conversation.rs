//! The conversation machine: Waiting -> Conversing -> Silent, with announcements of the gateway's own in between.
//!
//! While conversing one deadline is always armed, so that silence has a bound:
//! a turn in flight (`Timer::Turn`), a prompt ordered or playing (`Timer::Prompt`), or else the caller's time to speak
//! (`Timer::PostResponse`). The exceptions are the call's to bound: on hold, and before the first packet may be sent.

use super::choice::Choice;
use super::context::Context;
use super::contract::{Act, Event, Failure};
use super::playback::{Expiry, Playback, Words};
use super::settings::{PhoneFacts, TalkSettings};
use super::timing::Timing;
use super::words::{Entry, TurnCause, Who};
use crate::base::{Deadlines, Fault, FaultKind, Now, PlayId, Recording, Service, TurnId};
use std::time::Instant;

/// One conversation.
#[derive(Debug)]
pub struct Talk {
    pub(super) settings: TalkSettings,
    pub(super) context: Context,
    pub(super) mode: Mode,
    pub(super) playback: Playback,
    pub(super) timers: Deadlines<Timer>,
    /// The turn that waits for its answer.
    pub(super) in_flight: Option<InFlight>,
    pub(super) turns: u64,
    pub(super) timing: Option<Timing>,
    /// Whether the words spoken now answer the greeting turn.
    pub(super) greeting: bool,
    pub(super) choices: Vec<Choice>,
    /// Whether prompts planned from here on may be interrupted by speech.
    pub(super) barge_in: bool,
    /// Whether the caller interrupted since the last turn.
    pub(super) barged_in: bool,
    pub(super) utterance: Option<Utterance>,
    /// Recognition is lost: the talk cannot be taken up again.
    pub(super) deaf: Option<Fault>,
    /// The prompt that was stopped while it played, until its `PlayFinished` tells how much was heard.
    pub(super) interrupted: Option<PlayId>,
    /// Whether what is said is kept, in the transcript too.
    pub(super) recording: Recording,
    held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Waiting,
    Conversing,
    Announcing,
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The assistant's answer.
    Turn,
    /// The head prompt.
    Prompt,
    /// The caller's time to speak.
    PostResponse,
    /// The final result of what is being said.
    FinalUtterance,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) id: TurnId,
    pub(super) cause: TurnCause,
    pub(super) caused: Instant,
}

/// What the caller is saying, until its final result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Utterance {
    pub(super) last: Instant,
    /// It began while speech was not to be listened to.
    pub(super) ignored: bool,
}

impl Talk {
    /// A conversation that has not begun.
    #[must_use]
    pub fn new(settings: TalkSettings, phone: PhoneFacts) -> Self {
        let barge_in = settings.barge_in;
        Self {
            settings,
            context: Context::new(phone),
            mode: Mode::Waiting,
            playback: Playback::new(),
            timers: Deadlines::default(),
            in_flight: None,
            turns: 0,
            timing: None,
            greeting: false,
            choices: Vec::new(),
            barge_in,
            barged_in: false,
            utterance: None,
            deaf: None,
            interrupted: None,
            recording: Recording::Running,
            held: false,
        }
    }

    /// Assistant turns so far.
    #[must_use]
    pub fn turns(&self) -> u32 {
        u32::try_from(self.turns).unwrap_or(u32::MAX)
    }

    /// Whether an announcement could be heard.
    #[must_use]
    pub fn can_speak(&self) -> bool {
        self.playback.can_speak()
    }

    /// Whether the assistant has ordered the end, and only prompts are before it.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.playback.ending()
    }

    /// Takes one event; `out` receives all there is to do, the return value is when to call again.
    #[must_use]
    pub fn step(&mut self, now: Now, event: Event, out: &mut Vec<Act>) -> Option<Instant> {
        self.take(now, event, out);
        while let Some(timer) = self.timers.expired(now.at) {
            self.expire(now, timer, out);
            self.advance(now, out);
        }
        self.advance(now, out);
        self.arm(now.at);
        self.timers.next()
    }

    fn take(&mut self, now: Now, event: Event, out: &mut Vec<Act>) {
        match event {
            Event::Tick => {}
            Event::Start => {
                if self.mode == Mode::Waiting {
                    self.mode = Mode::Conversing;
                    self.ask(now, TurnCause::Start, "", None, None, out);
                }
            }
            Event::Open => self.playback.open(),
            Event::Hold(held) => {
                if held != self.held {
                    self.held = held;
                    self.playback.hold(held, out);
                }
            }
            Event::Speech(speech) => self.listen(now, speech, out),
            Event::Digit(key) => self.key(now, key, out),
            Event::SpeakStarted(play) => {
                self.playback.audio(now.at, play);
                if let Some(timing) = &mut self.timing {
                    timing.audio(play, now.at);
                }
            }
            Event::SpeakFailed(play, fault) => {
                if self.playback.is_dead(play) {
                    self.unheard(fault, out);
                } else {
                    tracing::warn!(%fault, "Text to Speech failed within a prompt, what came of it still plays");
                }
            }
            Event::PlayStarted { play, at, last_voiced } => self.play_started(now, play, at, last_voiced, out),
            Event::PlayVoiced { play, at } => self.timed(play, Some(at), out),
            Event::PlayFinished { play, sent_ms, complete } => {
                self.timed(play, None, out);
                self.playback.finished(now.at, play);
                if self.interrupted.take_if(|stopped| *stopped == play).is_some() && !complete {
                    let seconds = f64::from(sent_ms) / 1000.0;
                    self.record(now, Who::Gateway, format!("interrupted by the caller after {seconds:.1} s"), out);
                }
            }
            Event::Reply(turn, reply) => self.replied(now, turn, reply, out),
            Event::ReplyFailed(turn, fault) => self.unanswered(turn, fault, out),
            Event::TransferFailed => match self.deaf.clone() {
                Some(fault) => self.fail(Failure::SpeechToText(fault), out),
                None => {
                    self.mode = Mode::Conversing;
                    self.ask(now, TurnCause::TransferFailed, "vgwCallTransferFailed", None, None, out);
                }
            },
            Event::Hasten => {
                if self.is_ending() {
                    self.playback.cut(out);
                }
            }
            Event::Announce(text) => {
                self.silence(out);
                self.mode = Mode::Announcing;
                for piece in super::script::pieces(&text) {
                    self.playback.say(Words::new(piece, Who::Gateway, false));
                }
            }
            Event::Silence => self.silence(out),
        }
    }

    fn expire(&mut self, now: Now, timer: Timer, out: &mut Vec<Act>) {
        match timer {
            Timer::Turn => {
                if let Some(turn) = self.in_flight.map(|in_flight| in_flight.id) {
                    let fault = Fault::new(Service::Assistant, FaultKind::Timeout, "no answer within the turn limit");
                    self.unanswered(turn, fault, out);
                }
            }
            Timer::Prompt => match self.playback.expire(out) {
                Expiry::Pressed => {}
                Expiry::Overrun => tracing::warn!("a prompt played longer than it can be, stopped"),
                Expiry::Dead => {
                    let fault = Fault::new(
                        Service::TextToSpeech,
                        FaultKind::Timeout,
                        "a prompt was ordered and not heard in time",
                    );
                    self.unheard(fault, out);
                }
            },
            Timer::PostResponse => {
                self.ask(now, TurnCause::PostResponseTimeout, "vgwPostResponseTimeout", None, None, out);
            }
            Timer::FinalUtterance => {
                self.utterance = None;
                if !self.playback.busy() {
                    self.ask(now, TurnCause::FinalUtteranceTimeout, "vgwFinalUtteranceTimeout", None, None, out);
                }
            }
        }
    }

    /// Orders what is due next, and notices when the ending or the end of an announcement has come.
    fn advance(&mut self, now: Now, out: &mut Vec<Act>) {
        let keys_stop = self.mode == Mode::Conversing;
        if let Some(ending) = self.playback.advance(now.at, keys_stop, out) {
            self.silence(out);
            out.push(Act::End(ending));
        }
        if let (Some(timing), Some(head)) = (&mut self.timing, self.playback.head()) {
            timing.ordered(head.play, now.at);
        }
        if self.mode == Mode::Announcing && !self.playback.busy() {
            self.silence(out);
            out.push(Act::Announced);
        }
        match self.playback.deadline() {
            Some(at) => self.timers.set(Timer::Prompt, at),
            None => {
                self.timers.stop(Timer::Prompt);
            }
        }
    }

    /// The caller's time to speak runs while nothing else does.
    fn arm(&mut self, now: Instant) {
        let idle = self.mode == Mode::Conversing && self.in_flight.is_none() && !self.playback.busy() && !self.held;
        if !idle {
            self.timers.stop(Timer::PostResponse);
        } else if self.timers.armed(Timer::PostResponse).is_none() {
            self.timers.set(Timer::PostResponse, now + self.context.post_response_timeout(&self.settings));
        }
    }

    fn play_started(&mut self, now: Now, play: PlayId, at: Instant, last_voiced: Option<Instant>, out: &mut Vec<Act>) {
        let Some(prompt) = self.playback.started(now.at, play) else { return };
        let (who, words) = (prompt.words.who, super::script::plain(&prompt.words.text));
        if self.logs_words() {
            tracing::info!(words = %words, "prompt");
        }
        self.record(now, who, words, out);
        if let Some(timing) = self.timing.as_mut().filter(|timing| timing.is_of(play)) {
            timing.started(at, last_voiced);
        }
    }

    /// The caller hears a voice, or the prompt is over without one.
    fn timed(&mut self, play: PlayId, voiced: Option<Instant>, out: &mut Vec<Act>) {
        let silence = self.settings.end_of_phrase_silence;
        let timing = self.timing.take_if(|timing| timing.is_of(play));
        out.extend(timing.and_then(|timing| timing.done(voiced, silence)).map(Act::Timed));
    }

    /// Text to Speech is of no use. An ending that waits does without its words.
    fn unheard(&mut self, fault: Fault, out: &mut Vec<Act>) {
        if self.is_ending() {
            tracing::warn!(%fault, "Text to Speech failed before an ending, which goes on without words");
            self.playback.cut(out);
        } else if self.mode == Mode::Announcing {
            tracing::warn!(%fault, "announcement not heard");
            self.playback.cut(out);
        } else {
            self.fail(Failure::TextToSpeech(fault), out);
        }
    }

    pub(super) fn fail(&mut self, failure: Failure, out: &mut Vec<Act>) {
        self.silence(out);
        out.push(Act::Failed(failure));
    }

    fn silence(&mut self, out: &mut Vec<Act>) {
        self.playback.clear(out);
        self.mode = Mode::Silent;
        self.timers.clear();
        self.in_flight = None;
        self.timing = None;
        self.utterance = None;
        self.interrupted = None;
        self.choices.clear();
    }

    /// Whether words may be in the log.
    pub(super) fn logs_words(&self) -> bool {
        self.settings.log_transcripts && self.recording == Recording::Running
    }

    pub(super) fn record(&self, now: Now, who: Who, text: String, out: &mut Vec<Act>) {
        if !text.is_empty() {
            let kept = self.recording == Recording::Running || who == Who::Gateway;
            let text = if kept { text } else { WITHHELD.to_owned() };
            out.push(Act::Record(Entry { who, at: now.wall, text }));
        }
    }
}

/// What the transcript has of words that are not to be kept.
const WITHHELD: &str = "(not kept)";
