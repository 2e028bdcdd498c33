//! The call machine. Every state has its deadline, so that silence has a bound in every failure:
//!
//! | state | means | ends at the latest |
//! |---|---|---|
//! | Arrived | made, not stepped | first step |
//! | Talking | the conversation runs | by the conversation's own deadlines (turn limit, prompt, post-response); no ACK: 40 s; on hold: 10 min; then the error path |
//! | Apologising | the last message plays | 10 s, then BYE |
//! | Committing | the history is being made durable before a transfer | 2 s, then the transfer goes all the same |
//! | Signalling | the signal is under way, silence is sent | `signal_budget` + 3 s, then as if ambiguous |
//! | Releasing | signalled; CXone's BYE is awaited | `after_transfer`, `after_hangup`, or 3 s when ambiguous; then our BYE |
//! | Referring | REFER is out, silence is sent | 8 s for its answer, then as refused; `refer_timeout` for what came of it, or 5 s where no report will tell; then our BYE |
//! | Closing | our BYE is sent, or waits for the ACK that must come before it | 40 s, then Ended |
//! | Over | `Ended` is out | - |

use super::ending::Cause;
use super::input::{EndNow, Input, MediaEvent};
use super::keys::{Keys, Way};
use super::negotiation::Negotiation;
use super::output::Output;
use super::settings::{CallFacts, CallSettings};
use super::signalling::Order;
use super::transfer::Means;
use crate::base::{ContactId, Deadlines, Now};
use crate::media::sdp::Negotiated;
use crate::talk::{Act, Ending, Entry, Event, Failure, PhoneFacts, Talk, Who, extract_headers};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One call. Made when an INVITE was admitted; the first `step`, with `Input::Tick`, answers it.
pub struct Call {
    pub(super) settings: Arc<CallSettings>,
    pub(super) facts: CallFacts,
    pub(super) negotiation: Box<dyn Negotiation + Send>,
    pub(super) talk: Talk,
    pub(super) state: State,
    pub(super) timers: Deadlines<Timer>,
    pub(super) began: Now,
    pub(super) answered: Option<Instant>,
    /// Our 2xx carried an offer, and its answer has not come.
    pub(super) offered: bool,
    /// The ACK of the first 2xx is here: BYE is allowed (RFC 3261 section 15).
    pub(super) acknowledged: bool,
    /// The peer's ACK or RTP is here: it may be sent to.
    pub(super) open: bool,
    /// What was agreed before that.
    pub(super) withheld: Option<Negotiated>,
    pub(super) keys: Keys,
    /// `Listen` is out.
    pub(super) listening: bool,
    /// The peer is to send RTP.
    pub(super) receiving: bool,
    /// RTP that was due did not come, and nothing of the caller since: a talk that resumes would be deaf.
    pub(super) unheard: bool,
    pub(super) contact_id: Option<ContactId>,
    /// The end was ordered from outside: no waiting for CXone.
    pub(super) hurried: bool,
    /// Transfers that failed.
    pub(super) transfers_failed: u32,
    /// The assistant's own words for a failed transfer.
    pub(super) unavailable: Option<String>,
    /// The transcript has why the call ends.
    pub(super) told: bool,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Arrived,
    Talking,
    Apologising(Cause),
    Committing(Means),
    Signalling(Order),
    /// The cause is what our BYE would mean.
    Releasing(Order, Cause),
    /// The cause is what the end of our patience would mean.
    Referring {
        accepted_codes: Vec<u16>,
        cause: Cause,
    },
    Closing {
        cause: Cause,
        /// The BYE that waits for the ACK.
        bye: Option<Vec<(String, String)>>,
    },
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Acknowledge,
    Hold,
    Apology,
    Commit,
    Signal,
    Release,
    Refer,
    Close,
}

impl Call {
    /// A call that has not been stepped. `now` is when the INVITE came.
    #[must_use]
    pub fn new(
        now: Now,
        settings: Arc<CallSettings>,
        facts: CallFacts,
        negotiation: Box<dyn Negotiation + Send>,
    ) -> Self {
        let invite = &facts.invite;
        let shown: Vec<_> = invite
            .headers
            .iter()
            .filter(|(name, _)| !settings.withheld_headers.iter().any(|withheld| withheld.eq_ignore_ascii_case(name)))
            .cloned()
            .collect();
        let phone = PhoneFacts {
            call_id: invite.call_id.clone(),
            caller_number: invite.caller_number.clone(),
            called_number: invite.called_number.clone(),
            original_called_number: invite.original_called_number.clone(),
            request_uri: invite.request_uri.clone(),
            from_uri: invite.from_uri.clone(),
            to_uri: invite.to_uri.clone(),
            invite_headers: extract_headers(&shown, &settings.extract_headers),
        };
        Self {
            talk: Talk::new(settings.talk.clone(), phone),
            settings,
            facts,
            negotiation,
            state: State::Arrived,
            timers: Deadlines::default(),
            began: now,
            answered: None,
            offered: false,
            acknowledged: false,
            open: false,
            withheld: None,
            keys: Keys::default(),
            listening: false,
            receiving: true,
            unheard: false,
            contact_id: None,
            hurried: false,
            transfers_failed: 0,
            unavailable: None,
            told: false,
        }
    }

    /// Whether `Ended` is out; nothing comes any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Takes one input; `out` receives all there is to do, the return value is when to call again with `Tick`: always, until the
    /// call is over.
    #[must_use]
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        if matches!(self.state, State::Arrived) {
            self.begin(now, &input, out);
            if self.is_over() {
                return None;
            }
        }
        self.take(now, input, out);
        while let Some(timer) = self.timers.expired(now.at) {
            self.expire(now, timer, out);
        }
        let talk = self.converse(now, Event::Tick, out);
        if self.is_over() {
            return None;
        }
        [talk, self.timers.next()].into_iter().flatten().min()
    }

    fn take(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Tick => {}
            Input::Leg(event) => {
                let before = out.len();
                self.leg(now, event, out);
                // What did not come by the old agreement says nothing of the new one.
                if out.iter().skip(before).any(|output| matches!(output, Output::MediaAgreed(_))) {
                    self.unheard = false;
                }
            }
            Input::Media(event) => self.media(now, event, out),
            Input::Speech(event) => self.feed(now, Event::Speech(event), out),
            Input::SpeakStarted(play) => self.feed(now, Event::SpeakStarted(play), out),
            Input::SpeakFailed(play, fault) => self.feed(now, Event::SpeakFailed(play, fault), out),
            Input::Reply(turn, reply) => self.feed(now, Event::Reply(turn, reply), out),
            Input::ReplyFailed(turn, fault) => self.feed(now, Event::ReplyFailed(turn, fault), out),
            Input::HistoryCommitted => self.committed(now, out),
            Input::HistoryFailed(fault) => {
                tracing::warn!(%fault, "history not durable, the agent's page may be late");
                self.committed(now, out);
            }
            Input::Signalled(outcome) => self.signalled(now, outcome, out),
            Input::EndNow(why) => self.end_now(now, why, out),
        }
    }

    fn media(&mut self, now: Now, event: MediaEvent, out: &mut Vec<Output>) {
        match event {
            MediaEvent::FirstPacket => {
                // With an offer of ours on its way nothing is agreed yet: the answer opens.
                if self.answered.is_some() && !self.offered && matches!(self.state, State::Talking) {
                    self.open(now, out);
                }
            }
            MediaEvent::Digit(key) => self.key(now, key, Way::Event, out),
            MediaEvent::InBandDigit(key) => self.key(now, key, Way::Sound, out),
            MediaEvent::PlayStarted { play, at, last_voiced } => {
                self.feed(now, Event::PlayStarted { play, at, last_voiced }, out);
            }
            MediaEvent::PlayVoiced { play, at } => self.feed(now, Event::PlayVoiced { play, at }, out),
            MediaEvent::PlayFinished { play, sent_ms, complete } => {
                self.feed(now, Event::PlayFinished { play, sent_ms, complete }, out);
            }
            MediaEvent::Timeout => {
                if self.receiving {
                    // It is told once: where the failure is ignored for now, it counts when the talk resumes.
                    self.unheard = true;
                    self.fail(now, Cause::RtpTimeout, out);
                }
            }
        }
    }

    fn key(&mut self, now: Now, key: char, way: Way, out: &mut Vec<Output>) {
        self.unheard = false;
        if self.keys.counts(now.at, key, way) {
            self.feed(now, Event::Digit(key), out);
        }
    }

    fn expire(&mut self, now: Now, timer: Timer, out: &mut Vec<Output>) {
        match timer {
            Timer::Acknowledge => {
                self.acknowledged = true;
                self.bye(now, Cause::NeverAcknowledged, out);
            }
            Timer::Hold => {
                // Where the failure is ignored for now, it is due again should the talk resume, still on hold.
                self.arm(Timer::Hold, now, STILL_HELD);
                self.fail(now, Cause::HeldTooLong, out);
            }
            Timer::Apology => self.apologised(now, out),
            Timer::Commit => {
                tracing::warn!("history not durable in time, transferring all the same");
                self.committed(now, out);
            }
            Timer::Signal => self.unsettled(now, out),
            Timer::Release => self.not_released(now, out),
            Timer::Refer => self.not_referred(now, out),
            Timer::Close => self.closed(now, out),
        }
    }

    /// Steps the conversation and drops when it wants to be called again: `step` asks at its end.
    pub(super) fn feed(&mut self, now: Now, event: Event, out: &mut Vec<Output>) {
        let _later = self.converse(now, event, out);
    }

    fn converse(&mut self, now: Now, event: Event, out: &mut Vec<Output>) -> Option<Instant> {
        let mut acts = Vec::new();
        let mut next = self.talk.step(now, event, &mut acts);
        for act in acts {
            match act {
                Act::Speak { play, text, keys_stop } => {
                    // The copy of a key that is known must not stop what answers it.
                    let keys_stop = keys_stop && !self.keys.copy_may_come(now.at);
                    out.push(Output::Speak { play, text, keys_stop });
                }
                Act::StopSpeaking => out.push(Output::StopSpeaking),
                Act::Keep(recording) => out.push(Output::Keep(recording)),
                Act::Press(tones) => out.push(Output::Press(tones)),
                Act::Ask(turn) => out.push(Output::Ask(turn)),
                Act::Record(entry) => out.push(Output::Record(entry)),
                Act::Timed(times) => out.push(Output::Timed(times)),
                Act::BargedIn => out.push(Output::BargedIn),
                Act::End(ending) => {
                    self.end(now, ending, out);
                    next = self.converse(now, Event::Tick, out);
                }
                Act::Announced => self.apologised(now, out),
                Act::Failed(failure) => {
                    self.fail(now, cause_of(failure), out);
                    next = self.converse(now, Event::Tick, out);
                }
            }
        }
        next
    }

    fn end(&mut self, now: Now, ending: Ending, out: &mut Vec<Output>) {
        if matches!(self.state, State::Talking) {
            match ending {
                Ending::Transfer(transfer) => self.transfer(now, transfer, out),
                Ending::EndSession { headers } => self.hang_up(now, headers, out),
            }
        }
    }

    /// Operator, drain, overload. While the contact is being signalled the signal is let come to its end, and CXone's BYE is not
    /// awaited; a BYE of ours in the middle could undo a transfer.
    fn end_now(&mut self, now: Now, why: EndNow, out: &mut Vec<Output>) {
        self.hurried = true;
        match self.state {
            State::Talking => self.fail(now, Cause::Ordered(why), out),
            State::Apologising(_) => self.apologised(now, out),
            State::Committing(_) => self.committed(now, out),
            State::Releasing(..) => self.not_released(now, out),
            State::Referring { .. } => self.hasten_referral(now, out),
            State::Arrived | State::Signalling(_) | State::Closing { .. } | State::Over => {}
        }
    }

    /// A line of the gateway's own in the transcript.
    pub(super) fn note(&self, now: Now, text: String, out: &mut Vec<Output>) {
        out.push(Output::Record(Entry { who: Who::Gateway, at: now.wall, text }));
    }

    /// Why the call ends, in the transcript once.
    pub(super) fn tell(&mut self, now: Now, cause: &Cause, out: &mut Vec<Output>) {
        if self.answered.is_some() && !std::mem::replace(&mut self.told, true) {
            self.note(now, cause.to_string(), out);
        }
    }

    pub(super) fn arm(&mut self, timer: Timer, now: Now, after: Duration) {
        self.timers.set(timer, now.at + after);
    }
}

/// A hold that was too long already is looked at again so soon.
const STILL_HELD: Duration = Duration::from_secs(5);

fn cause_of(failure: Failure) -> Cause {
    match failure {
        Failure::Assistant(turn, fault) => Cause::AssistantFailed(turn, fault),
        Failure::TextToSpeech(fault) => Cause::TextToSpeechFailed(fault),
        Failure::SpeechToText(fault) => Cause::SpeechToTextFailed(fault),
    }
}
