//! The stage: one call, its clock, and a rim that does what it is told only when the story says so.

use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use voice_gateway::base::{Fault, FaultKind, Now, PlayId, Service, SessionKey, TurnId};
use voice_gateway::call::input::{Reply, SignalOutcome};
use voice_gateway::call::output::{Entry, Purpose, SignalOrder, Summary, Turn, TurnTimes, Who};
use voice_gateway::call::{
    Call, CallFacts, CallSettings, ContactRule, Input, Invite, LegCommand, LegEvent, MediaEvent, MissingContact,
    Negotiation, Output, Refusal, SpeechEvent,
};
use voice_gateway::media::sdp::{Codec, Negotiated};

/// The prompt is stopped.
pub(crate) const STOP: fn(&Output) -> bool = |output| matches!(output, Output::StopSpeaking);

/// SDP for tests: the body says what becomes of it.
pub(crate) struct Words;

impl Words {
    fn agree(body: &[u8]) -> Result<Negotiated, Refusal> {
        let (send, receive) = match body {
            b"media" => (true, true),
            b"hold" => (false, true),
            b"mute" => (true, false),
            b"video" => return Err(Refusal { code: 488, warning: "No common codec".into() }),
            _ => return Err(Refusal { code: 400, warning: "Not \"SDP\"\r\nX-Evil: 1".into() }),
        };
        let remote = "127.0.0.1:4000".parse().unwrap();
        Ok(Negotiated { send, receive, ..Negotiated::usual(remote, Codec::Pcmu) })
    }
}

impl Negotiation for Words {
    fn answer(&mut self, offer: &[u8]) -> Result<(Bytes, Negotiated), Refusal> {
        Self::agree(offer).map(|agreed| (Bytes::from_static(b"our answer"), agreed))
    }
    fn offer(&mut self) -> Bytes {
        Bytes::from_static(b"our offer")
    }
    fn accept(&mut self, answer: &[u8]) -> Result<Negotiated, Refusal> {
        Self::agree(answer)
    }
}

/// What a turn says of the telephone.
pub(crate) fn voice(input: &Value, name: &str) -> Value {
    input[name].clone()
}

pub(crate) fn settings() -> CallSettings {
    settings_with(MissingContact::Reject)
}

pub(crate) fn settings_with(missing: MissingContact) -> CallSettings {
    let headers = ["X-ContactID", "X-Contact-ID"].map(str::to_owned).to_vec();
    CallSettings::new(ContactRule::new(headers, "^[0-9]{1,19}$", missing).unwrap())
}

pub(crate) fn key() -> SessionKey {
    SessionKey::from_random([7; 20])
}

pub(crate) fn invite() -> Invite {
    Invite {
        call_id: "call-1".into(),
        request_uri: "sip:+18885556789@gw".into(),
        from_uri: "sip:+18595553456@nice".into(),
        to_uri: "sip:+18885556789@nice".into(),
        caller_number: "+18595553456".into(),
        called_number: "+18885556789".into(),
        original_called_number: "+18885550000".into(),
        headers: vec![("Via".into(), "SIP/2.0/UDP x".into()), ("X-ContactID".into(), "123456789".into())],
        sdp: Some(Bytes::from_static(b"media")),
        source: None,
    }
}

pub(crate) fn fault(service: Service) -> Fault {
    Fault::new(service, FaultKind::Timeout, "test")
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn text(words: &str) -> Value {
    json!({"response_type": "text", "text": words})
}

/// A call and all that came out of it since the last look.
pub(crate) struct Stage {
    pub(crate) call: Call,
    pub(crate) now: Now,
    pub(crate) next: Option<Instant>,
    pub(crate) out: Vec<Output>,
    pub(crate) ended: Option<Summary>,
    /// How often the call had to be woken.
    pub(crate) ticks: u32,
}

impl Stage {
    /// A call that has not been stepped.
    pub(crate) fn arrived(settings: CallSettings, invite: Invite) -> Self {
        let now = voice_gateway::base::clock::now();
        let facts = CallFacts { invite, session_key: key() };
        let call = Call::new(now, Arc::new(settings), facts, Box::new(Words));
        Self { call, now, next: None, out: Vec::new(), ended: None, ticks: 0 }
    }

    /// An answered and acknowledged call whose greeting turn waits for its answer.
    pub(crate) fn greeting(settings: CallSettings) -> Self {
        let mut stage = Self::arrived(settings, invite());
        stage.wait(ms(5));
        stage.feed(Input::Tick);
        stage.feed(Input::Leg(LegEvent::Acknowledged { sdp: None }));
        stage
    }

    /// A call whose greeting "Hello." has been spoken: the caller's turn.
    pub(crate) fn listening(settings: CallSettings) -> Self {
        let mut stage = Self::greeting(settings);
        stage.reply(vec![text("Hello.")]);
        stage.play_all();
        stage.out.clear();
        stage
    }

    pub(crate) fn feed(&mut self, input: Input) {
        assert!(self.ended.is_none() || self.call.is_over());
        let over = self.call.is_over();
        let before = self.out.len();
        self.next = self.call.step(self.now, input, &mut self.out);
        assert!(!over || self.out.len() == before, "output after Ended");
        for (index, output) in self.out.iter().enumerate().skip(before) {
            if let Output::Ended(summary) = output {
                assert!(self.ended.replace(summary.clone()).is_none(), "Ended twice");
                assert_eq!(index + 1, self.out.len(), "Ended is not the last output");
            }
        }
        assert_eq!(self.next.is_none(), self.call.is_over(), "a living call without a deadline");
        assert_eq!(self.ended.is_some(), self.call.is_over());
    }

    /// Lets time pass, waking the call whenever it asked for it.
    pub(crate) fn wait(&mut self, by: Duration) {
        let until = self.now.at + by;
        while let Some(at) = self.next.filter(|at| *at <= until) {
            self.now = self.now.after(at.saturating_duration_since(self.now.at));
            self.ticks += 1;
            assert!(self.ticks < 10_000, "the call spins");
            self.feed(Input::Tick);
        }
        self.now = self.now.after(until.saturating_duration_since(self.now.at));
    }

    /// Lets time pass until the call has ended, at most `limit`.
    pub(crate) fn wait_for_end(&mut self, limit: Duration) -> Summary {
        let start = self.now.at;
        while self.ended.is_none() {
            let at = self.next.expect("deadline");
            assert!(at.saturating_duration_since(start) <= limit, "still alive after {limit:?}: {:?}", self.out.last());
            self.now = self.now.after(at.saturating_duration_since(self.now.at));
            self.feed(Input::Tick);
        }
        self.ended.clone().expect("ended")
    }

    /// Answers the newest turn asked.
    pub(crate) fn reply(&mut self, generic: Vec<Value>) {
        self.reply_with(generic, None);
    }

    pub(crate) fn reply_with(&mut self, generic: Vec<Value>, context: Option<Value>) {
        let id = self.turns().last().expect("a turn asked").id;
        self.feed(Input::Reply(id, Reply { generic, context, took: ms(300) }));
    }

    /// Lets every prompt that is ordered be made and played to its end.
    pub(crate) fn play_all(&mut self) {
        let mut at = 0;
        while at < self.out.len() {
            if let Output::Speak { play, .. } = self.out[at] {
                self.start(play);
                self.finish(play);
            }
            at += 1;
        }
    }

    pub(crate) fn start(&mut self, play: PlayId) {
        self.wait(ms(100));
        self.feed(Input::SpeakStarted(play));
        self.wait(ms(20));
        let at = self.now.at;
        self.feed(Input::Media(MediaEvent::PlayStarted { play, at, last_voiced: None }));
    }

    pub(crate) fn finish(&mut self, play: PlayId) {
        self.wait(ms(1000));
        self.feed(Input::Media(MediaEvent::PlayFinished { play, sent_ms: 1000, complete: true }));
    }

    pub(crate) fn interim(&mut self, words: &str) {
        self.feed(Input::Speech(SpeechEvent::Hypothesis {
            transcript: words.into(),
            is_final: false,
            confidence: None,
            raw: None,
        }));
    }

    pub(crate) fn say(&mut self, words: &str) {
        self.say_surely(words, 0.9);
    }

    pub(crate) fn say_surely(&mut self, words: &str, confidence: f64) {
        let raw = json!({"results": [{"final": true, "alternatives": [{"transcript": words}]}]});
        let confidence = Some(confidence);
        self.feed(Input::Speech(SpeechEvent::Hypothesis {
            transcript: words.into(),
            is_final: true,
            confidence,
            raw: Some(raw),
        }));
    }

    pub(crate) fn press(&mut self, key: char) {
        self.feed(Input::Media(MediaEvent::Digit(key)));
    }

    pub(crate) fn bye(&mut self) {
        self.feed(Input::Leg(LegEvent::Bye { reason: None }));
    }

    pub(crate) fn gone(&mut self) {
        self.feed(Input::Leg(LegEvent::Ended));
    }

    pub(crate) fn signalled(&mut self, outcome: SignalOutcome) {
        self.feed(Input::Signalled(outcome));
    }

    pub(crate) fn turns(&self) -> Vec<&Turn> {
        self.out.iter().filter_map(|output| if let Output::Ask(turn) = output { Some(turn) } else { None }).collect()
    }

    pub(crate) fn last_turn(&self) -> &Turn {
        self.turns().last().copied().expect("a turn")
    }

    pub(crate) fn last_id(&self) -> TurnId {
        self.last_turn().id
    }

    pub(crate) fn spoken(&self) -> Vec<(PlayId, &str)> {
        self.out
            .iter()
            .filter_map(
                |output| {
                    if let Output::Speak { play, text, .. } = output { Some((*play, text.as_str())) } else { None }
                },
            )
            .collect()
    }

    pub(crate) fn said(&self) -> Vec<&str> {
        self.spoken().into_iter().map(|(_, text)| text).collect()
    }

    pub(crate) fn last_play(&self) -> PlayId {
        self.spoken().last().expect("a prompt").0
    }

    pub(crate) fn signals(&self) -> Vec<&SignalOrder> {
        self.out
            .iter()
            .filter_map(|output| if let Output::Signal(order) = output { Some(order) } else { None })
            .collect()
    }

    pub(crate) fn transfers(&self) -> usize {
        self.signals().iter().filter(|order| order.purpose == Purpose::Transfer).count()
    }

    pub(crate) fn legs(&self) -> Vec<&LegCommand> {
        self.out
            .iter()
            .filter_map(|output| if let Output::Leg(command) = output { Some(command) } else { None })
            .collect()
    }

    pub(crate) fn byes(&self) -> Vec<&[(String, String)]> {
        let headers = |command: &&LegCommand| matches!(command, LegCommand::Bye { .. });
        self.legs()
            .into_iter()
            .filter(headers)
            .map(|command| if let LegCommand::Bye { headers } = command { headers.as_slice() } else { &[] })
            .collect()
    }

    /// Values of the Reason headers of the one BYE.
    pub(crate) fn reasons(&self) -> Vec<&str> {
        let byes = self.byes();
        assert_eq!(byes.len(), 1, "one BYE");
        byes[0].iter().filter(|(name, _)| name == "Reason").map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn records(&self, who: Who) -> Vec<&str> {
        let of = |entry: &&Entry| entry.who == who;
        self.out
            .iter()
            .filter_map(|output| if let Output::Record(entry) = output { Some(entry) } else { None })
            .filter(of)
            .map(|entry| entry.text.as_str())
            .collect()
    }

    pub(crate) fn timed(&self) -> Vec<TurnTimes> {
        self.out
            .iter()
            .filter_map(|output| if let Output::Timed(times) = output { Some(*times) } else { None })
            .collect()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Output) -> bool) -> usize {
        self.out.iter().filter(|output| wanted(output)).count()
    }

    /// Where the first output of this kind stands.
    pub(crate) fn index(&self, wanted: impl Fn(&Output) -> bool) -> usize {
        self.out.iter().position(wanted).expect("such an output")
    }
}
