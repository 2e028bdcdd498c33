//! The scripted CXone caller: Studio's script with a phone in its hand and a voice. It places the call as Placecall does, speaks when
//! it hears that the assistant has finished, and lets the script decide what a signal or a BYE means.

use super::performance::{Moment, Performance};
use super::scenario::Scenario;
use super::{Stage, StageError};
use crate::app::phone::{self, Ear, Noticed, Phone, PhoneCall, PhoneEvent, Placing};
use crate::audio::level::mean_square;
use crate::audio::{Converter, FRAME, Form, Frame, Law};
use crate::base::{PlayId, clock};
use crate::call::output::TurnTimes;
use crate::sandbox::cxone::Contact;
use crate::sandbox::events::SandboxEvent;
use crate::sandbox::script::{Script, ScriptInput, ScriptOutput};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::{self, error::RecvError};

pub(super) async fn perform(
    stage: &Stage,
    scenario: &Scenario,
    told: &mut (dyn FnMut(Moment) + Send),
) -> Result<Performance, StageError> {
    let uri = stage.sip_uri();
    let phone = Phone::towards(&uri).await?;
    let contact_id = fastrand::u64(100_000_000_000..1_000_000_000_000).to_string();
    let contact = stage.sandbox.contacts.place_contact(contact_id.clone());
    let mut settings = stage.sandbox.script_settings(contact_id.clone());
    settings.agent_url = stage.agent_url();
    let (events, turns) = (stage.sandbox.events.subscribe(), stage.gateway.turns());
    let mut script = Script::new(settings);
    let mut out = Vec::new();
    script.step(ScriptInput::Begin, &mut out);
    let headers = out.iter().filter_map(|output| match output {
        ScriptOutput::PlaceCall { header } => Some(header.clone()),
        _ => None,
    });
    let began = clock::now().at;
    // The trunk's word for who calls: the agent's page shows it.
    let who = ("P-Asserted-Identity".to_owned(), format!("<sip:{CALLER}@127.0.0.1>"));
    let headers = headers.chain([who]).collect();
    let call = phone.call(Placing { uri, headers, ..Placing::default() }).await?;
    let mut caller = Caller {
        scenario,
        script,
        call,
        contact,
        ear: Ear::default(),
        converter: Converter::default(),
        speaking: None,
        spoken: 0,
        meter: Meter::default(),
        waiting_since: began,
        agent_at: None,
        leg: Leg::Up,
        began,
        done: Performance { contact_id, heard: vec![Vec::new()], ..Performance::default() },
        told,
    };
    caller.carry_out(out).await;
    caller.run(events, turns).await;
    let mut done = caller.done;
    done.elapsed = clock::now().at.duration_since(began);
    done.statistics = caller.call.close().await;
    phone.put_away().await;
    Ok(done)
}

struct Caller<'a> {
    scenario: &'a Scenario,
    script: Script,
    call: PhoneCall,
    contact: Contact,
    ear: Ear,
    /// To what the ear hears.
    converter: Converter,
    /// What the caller is saying.
    speaking: Option<PlayId>,
    /// Samples of it that must have been sent by now.
    spoken: usize,
    meter: Meter,
    /// When something last happened that a patient caller waits for.
    waiting_since: Instant,
    /// When an agent takes the call.
    agent_at: Option<Instant>,
    leg: Leg,
    began: Instant,
    done: Performance,
    told: &'a mut (dyn FnMut(Moment) + Send),
}

#[derive(Default)]
struct Meter {
    frames: u32,
    caller: u32,
    assistant: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leg {
    Up,
    Gone,
}

impl Caller<'_> {
    async fn run(&mut self, mut events: broadcast::Receiver<SandboxEvent>, mut turns: broadcast::Receiver<TurnTimes>) {
        while !(self.script.ended() && self.leg == Leg::Gone) {
            let gives_up = self.waiting_since + PATIENCE;
            tokio::select! {
                event = self.call.event() => self.phone(event).await,
                signal = self.contact.signalled() => {
                    self.tell(|at| Moment::Signalled(at, signal.clone()));
                    self.done.signals.push(signal.clone());
                    self.feed(ScriptInput::Signalled(signal)).await;
                }
                event = events.recv() => match event {
                    Ok(event) => self.seen(event),
                    Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "the transcript has gaps"),
                    Err(RecvError::Closed) => return self.give_up("the sandbox has stopped").await,
                },
                Ok(times) = turns.recv() => {
                    self.tell(|at| Moment::Turn(at, times));
                    self.done.turns.push(times);
                }
                () = at(self.agent_at) => {
                    self.agent_at = None;
                    self.feed(ScriptInput::AgentAnswered).await;
                }
                () = tokio::time::sleep_until(gives_up.into()) => {
                    return self.give_up(&format!("nothing happened for {} s", PATIENCE.as_secs())).await;
                }
            }
        }
        // What was sent before the end may still lie in the queues.
        while let Ok(event) = events.try_recv() {
            self.seen(event);
        }
        while let Ok(times) = turns.try_recv() {
            self.tell(|at| Moment::Turn(at, times));
            self.done.turns.push(times);
        }
    }

    async fn phone(&mut self, event: PhoneEvent) {
        match event {
            PhoneEvent::Progress { code: 180, .. } => self.tell(Moment::Ringing),
            PhoneEvent::Progress { .. } => {}
            PhoneEvent::Answered { headers, .. } => {
                let session_key = phone::header(&headers, "X-Session-Key").map(str::to_owned);
                self.tell(|at| Moment::Answered(at, session_key.clone()));
                self.done.session_key.clone_from(&session_key);
                self.waited();
                self.feed(ScriptInput::Answered { session_key }).await;
            }
            PhoneEvent::Refused { code, reason, .. } => {
                self.leg = Leg::Gone;
                self.tell(|at| Moment::Refused(at, code, reason.clone()));
                self.feed(ScriptInput::Refused { code }).await;
            }
            PhoneEvent::Heard { form, frame } => self.hear(form, &frame).await,
            PhoneEvent::Played(play) if self.speaking == Some(play) => {
                self.speaking = None;
                self.done.heard.push(Vec::new());
                self.ear.settle();
                self.waited();
            }
            PhoneEvent::Played(_) | PhoneEvent::Changed { .. } => {}
            PhoneEvent::Silence => self.give_up("no RTP came from the gateway for 30 s").await,
            PhoneEvent::Bye { .. } => {
                self.done.bye_received = true;
                self.tell(Moment::ByeReceived);
            }
            PhoneEvent::Ended => {
                self.leg = Leg::Gone;
                self.waited();
                self.feed(ScriptInput::Released).await;
            }
        }
    }

    /// Listens, and speaks when the assistant has finished.
    async fn hear(&mut self, form: Form, bytes: &[u8]) {
        let mut frame = form.silence();
        frame.overwrite(bytes);
        self.converter.turn(&mut frame, Form::Narrow(Law::Mu));
        let Frame::Narrow(law, sound) = frame else { return };
        if let Some(segment) = self.done.heard.last_mut() {
            segment.extend_from_slice(&sound);
        }
        self.measure(law, &sound);
        let noticed = self.ear.hear(law, &sound);
        match noticed {
            Some(Noticed::Began) => self.waited(),
            Some(Noticed::Quiet(silence)) if self.speaking.is_none() && self.has_finished(silence) => {
                self.speak().await
            }
            _ => {}
        }
    }

    /// For whoever watches: how loud it is.
    fn measure(&mut self, law: Law, frame: &[u8]) {
        self.meter.assistant = self.meter.assistant.max(mean_square(law, frame));
        if self.speaking.is_some()
            && let Some(line) = self.done.said.checked_sub(1).and_then(|last| self.scenario.lines.get(last))
        {
            let saying = line.samples().get(self.spoken..).unwrap_or_default();
            let saying = saying.get(..FRAME).unwrap_or(saying);
            self.spoken += saying.len();
            self.meter.caller = self.meter.caller.max(mean_square(Law::Mu, &Law::Mu.encode_all(saying)));
        }
        self.meter.frames += 1;
        if self.meter.frames == METER_FRAMES {
            let Meter { caller, assistant, .. } = std::mem::take(&mut self.meter);
            self.tell(|at| Moment::Loudness { at, caller, assistant });
        }
    }

    /// Whether the assistant has said what it has to say, as far as can be heard.
    fn has_finished(&self, silence: Duration) -> bool {
        let enough = self.scenario.lines.get(self.done.said).map_or(Duration::ZERO, |line| line.after);
        silence >= if self.ear.listened() >= enough { POLITE } else { PUZZLED }
    }

    async fn speak(&mut self) {
        match self.scenario.lines.get(self.done.said) {
            Some(line) => {
                self.ear.settle();
                self.tell(|at| Moment::Caller(at, line.words.clone()));
                self.speaking = Some(self.call.play(&line.clip()));
                self.done.said += 1;
                self.spoken = 0;
                self.waited();
            }
            None if self.scenario.caller_ends() && !self.script.ended() => {
                self.ear.settle();
                self.feed(ScriptInput::CallerGone).await;
            }
            None => {}
        }
    }

    /// What the sandbox saw on its side of the wires.
    fn seen(&mut self, event: SandboxEvent) {
        match event {
            SandboxEvent::Transcribed { transcript } => {
                self.tell(|at| Moment::Recognised(at, transcript.clone()));
                self.done.recognised.push(transcript);
                self.waited();
            }
            SandboxEvent::Synthesizing { text } => {
                let text = unescaped(&text);
                self.tell(|at| Moment::Assistant(at, text.clone()));
                self.done.assistant.push(text);
                self.waited();
            }
            SandboxEvent::Turn { text, .. } => self.done.understood.push(text),
            SandboxEvent::Signalled { .. } | SandboxEvent::TokenIssued { .. } | SandboxEvent::Listening { .. } => {}
        }
    }

    async fn feed(&mut self, input: ScriptInput) {
        let mut out = Vec::new();
        self.script.step(input, &mut out);
        self.carry_out(out).await;
    }

    async fn carry_out(&mut self, out: Vec<ScriptOutput>) {
        for output in out {
            match output {
                ScriptOutput::Action(action) => {
                    self.tell(|at| Moment::Studio(at, action));
                    self.done.actions.push(action);
                }
                // Placed before the first step; a script places one call.
                ScriptOutput::PlaceCall { .. } => {}
                ScriptOutput::SendBye => {
                    self.tell(Moment::ByeSent);
                    self.call.hang_up().await;
                }
                ScriptOutput::Queued(cause) => {
                    self.tell(|at| Moment::Queued(at, cause));
                    self.agent_at = Some(clock::now().at + AGENT_TAKES);
                }
                ScriptOutput::PopUrl(url) => {
                    self.tell(|at| Moment::PopUrl(at, url.clone()));
                    self.done.pop_url = Some(url);
                }
                ScriptOutput::Ended(outcome) => {
                    self.tell(|at| Moment::Ended(at, outcome));
                    self.done.outcome = Some(outcome);
                }
            }
        }
    }

    async fn give_up(&mut self, why: &str) {
        self.tell(|at| Moment::GaveUp(at, why.to_owned()));
        self.done.gave_up = Some(why.to_owned());
        self.leg = Leg::Gone;
        self.call.hang_up().await;
        if !self.script.ended() {
            self.feed(ScriptInput::CallerGone).await;
        }
    }

    fn waited(&mut self) {
        self.waiting_since = clock::now().at;
    }

    fn tell(&mut self, moment: impl FnOnce(Duration) -> Moment) {
        let at = clock::now().at.duration_since(self.began);
        (self.told)(moment(at));
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// What is sent to be spoken is escaped as XML text.
fn unescaped(text: &str) -> String {
    let entities = [("&apos;", "'"), ("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

/// Silence after which a polite caller takes the assistant to have finished.
const POLITE: Duration = Duration::from_millis(1_000);
/// Silence after which even a caller who expected to hear more says something.
const PUZZLED: Duration = Duration::from_secs(5);
/// A caller to whom nothing happens for so long hangs up: longer than all of the gateway's own patience.
const PATIENCE: Duration = Duration::from_secs(45);
/// Frames of 20 ms between two readings of the meter.
const METER_FRAMES: u32 = 5;
/// How soon an agent takes a waiting call.
const AGENT_TAKES: Duration = Duration::from_millis(1_500);

/// The demonstration's caller: a number that is kept free for fiction.
const CALLER: &str = "+18595550100";
