//! One task per call: feeds `call::Call`, carries out what it asks, and owns its sockets and requests: dropping it ends them.

use super::figures::{self, Turns};
use super::measure;
use super::registry::{Inbox, Place, Question};
use super::tenants::Tenant;
use crate::audio::{Form, Law};
use crate::base::{Fault, FaultKind, Now, PlayId, Service, SessionKey, clock};
use crate::call::input::{Input, LegEvent, MediaEvent, SignalOutcome, SpeechEvent};
use crate::call::output::{Output, SignalOrder, Summary, Turn, TurnTimes};
use crate::call::{Call, LegCommand};
use crate::cxone::Signalled;
use crate::net::media::MediaControl;
use crate::net::sip::Leg;
use crate::store::{SignalId, Store};
use crate::watson::{Coding, Conversation, StreamOptions};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// What a call task is born with.
pub(super) struct CallTask {
    pub(super) call: Call,
    pub(super) leg: Leg,
    /// When the INVITE came.
    pub(super) arrived: Now,
    pub(super) media: MediaControl,
    pub(super) media_events: mpsc::Receiver<MediaEvent>,
    /// The caller's voice, until Speech to Text takes it.
    pub(super) audio: Option<mpsc::Receiver<Bytes>>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) store: Store,
    pub(super) key: SessionKey,
    pub(super) place: Place,
    pub(super) inbox: Inbox,
    /// Where the stages of each turn are told.
    pub(super) turns: broadcast::Sender<TurnTimes>,
    /// For what must outlive the call: settling its signal, deleting its assistant session.
    pub(super) tracker: TaskTracker,
}

/// Runs the call to its end.
pub(super) async fn run(task: CallTask) {
    let (sender, receiver) = mpsc::channel(INPUTS);
    let conversation = Arc::new(task.tenant.assistant.conversation());
    let running = Running {
        conversation,
        inputs: sender,
        requests: JoinSet::new(),
        asking: None,
        speech: None,
        deaf: false,
        coding: Coding::Mulaw,
        signal: CancellationToken::new(),
        barged_in: None,
        turns: Turns::default(),
        task,
    };
    running.run(receiver).await;
}

struct Running {
    task: CallTask,
    conversation: Arc<Conversation>,
    /// Where requests put what came of them.
    inputs: mpsc::Sender<Input>,
    /// Everything that dies with the call.
    requests: JoinSet<()>,
    /// The turn in flight: a newer one takes its place.
    asking: Option<AbortHandle>,
    speech: Option<mpsc::Receiver<SpeechEvent>>,
    /// Speech to Text has said that it failed.
    deaf: bool,
    coding: Coding,
    /// Ends the retries of a signal when the call is over.
    signal: CancellationToken,
    barged_in: Option<Instant>,
    /// What its turns took, for the call's record.
    turns: Turns,
}

impl Running {
    /// The assistant's session is made as soon as the peer has shown that it is there, and not for a call that is refused or
    /// an INVITE that nobody means. A failure is left for the first turn to meet.
    fn prepare(&mut self) {
        let conversation = Arc::clone(&self.conversation);
        self.requests.spawn(async move { drop(conversation.open().await) }.in_current_span());
    }

    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut input = Input::Tick;
        let mut out = Vec::new();
        loop {
            let now = clock::now();
            self.note(now, &input);
            let next = self.task.call.step(now, input, &mut out);
            for output in out.drain(..) {
                if let Some(summary) = self.perform(now, output).await {
                    self.end(clock::now(), summary).await;
                    return;
                }
            }
            let Some(next) = next else { return };
            input = self.await_input(&mut inputs, next).await;
        }
    }

    /// Whatever happens first. Nothing is lost when another branch wins: every source is a channel.
    async fn await_input(&mut self, inputs: &mut mpsc::Receiver<Input>, next: Instant) -> Input {
        loop {
            let speech = async {
                match &mut self.speech {
                    Some(events) => events.recv().await,
                    None => std::future::pending().await,
                }
            };
            return tokio::select! {
                // In this order: what ends the call, then what requests say, so that the failure of a prompt is known before
                // media tells of its end.
                biased;
                event = self.task.leg.event() => match event {
                    Some(event) => Input::Leg(event),
                    // The endpoint has let go of the leg, and said BYE where there was a dialog: its queue was full, or it stops.
                    None => Input::Leg(LegEvent::Ended),
                },
                Some(why) = self.task.inbox.orders.recv() => Input::EndNow(why),
                Some(input) = inputs.recv() => input,
                Some(event) = self.task.media_events.recv() => Input::Media(event),
                event = speech => match event {
                    Some(event) => {
                        self.deaf = matches!(event, SpeechEvent::Failed(_));
                        Input::Speech(event)
                    }
                    None => {
                        self.speech = None;
                        if self.deaf {
                            continue;
                        }
                        // Without this a stream that ended without a word would leave a call that hears nothing.
                        let fault = Fault::new(Service::SpeechToText, FaultKind::Closed, "the stream has ended");
                        Input::Speech(SpeechEvent::Failed(fault))
                    }
                },
                Some(question) = self.task.inbox.questions.recv() => {
                    self.tell(question);
                    continue;
                }
                () = tokio::time::sleep_until(next.into()) => Input::Tick,
                Some(_) = self.requests.join_next() => continue,
            };
        }
    }

    /// Measures what only the rim sees.
    fn note(&mut self, now: Now, input: &Input) {
        if let Input::Media(MediaEvent::PlayFinished { complete: false, .. }) = input
            && let Some(began) = self.barged_in.take()
        {
            measure::barge_in(now.at.duration_since(began));
        }
    }

    /// Carries out one output; the summary when it was the last.
    async fn perform(&mut self, now: Now, output: Output) -> Option<Summary> {
        match output {
            Output::Leg(command) => {
                if matches!(command, LegCommand::Answer { .. }) {
                    self.task.place.answered(now);
                    measure::answered(now.at.saturating_duration_since(self.task.arrived.at));
                }
                self.task.leg.command(command).await;
            }
            Output::MediaAgreed(agreed) => {
                self.coding = match agreed.codec.form() {
                    Form::Narrow(Law::Mu) => Coding::Mulaw,
                    Form::Narrow(Law::A) => Coding::Alaw,
                    Form::Wide => Coding::L16,
                };
                self.task.media.agree(agreed);
            }
            Output::Listen => {
                self.prepare();
                self.listen();
            }
            Output::Speak { play, text, keys_stop } => self.speak(play, text, keys_stop),
            Output::StopSpeaking => self.task.media.stop(),
            Output::Keep(recording) => self.task.media.record(recording),
            Output::Press(tones) => self.task.media.press(tones),
            Output::Ask(turn) => self.ask(turn),
            Output::EndAssistant => self.end_assistant(),
            Output::Record(entry) => self.task.store.append(&self.task.key, entry).await,
            Output::CommitHistory => self.commit(),
            Output::Signal(order) => self.signal(order),
            Output::Timed(times) => {
                measure::turn(&times);
                self.turns.note(times);
                // Nobody listening is the rule.
                let _ = self.task.turns.send(times);
            }
            Output::BargedIn => self.barged_in = Some(now.at),
            Output::Ended(summary) => return Some(summary),
        }
        None
    }

    fn listen(&mut self) {
        let Some(audio) = self.task.audio.take() else { return };
        // The form that was agreed first stays that of the stream: what comes in another one is brought to it.
        let recognize = match self.coding {
            Coding::L16 => self.task.tenant.broadband_recognize.clone(),
            Coding::Mulaw | Coding::Alaw => serde_json::Map::new(),
        };
        let options = StreamOptions { coding: self.coding, recognize };
        let stream = self.task.tenant.speech_to_text.stream(options, audio);
        self.speech = Some(stream.events);
        self.requests.spawn(stream.driver.in_current_span());
    }

    fn speak(&mut self, play: PlayId, text: String, keys_stop: bool) {
        let chunks: mpsc::Sender<Bytes> = self.task.media.play(play, keys_stop);
        let (client, coding, inputs) = (self.task.tenant.text_to_speech.clone(), self.coding, self.inputs.clone());
        self.requests.spawn(
            async move {
                let (started, hold) = (inputs.clone(), chunks.clone());
                // A full queue of inputs only delays the measurement of this turn.
                let first = move || drop(started.try_send(Input::SpeakStarted(play)));
                if let Err(fault) = client.speak(&text, coding, chunks, first).await {
                    let _ = inputs.send(Input::SpeakFailed(play, fault)).await;
                }
                // Only now may the prompt end: its failure must be known before its end is told.
                drop(hold);
            }
            .in_current_span(),
        );
    }

    fn ask(&mut self, turn: Turn) {
        self.task.place.turn();
        measure::asked(turn.cause);
        if let Some(older) = self.asking.take() {
            older.abort();
        }
        let (conversation, inputs) = (Arc::clone(&self.conversation), self.inputs.clone());
        let asking = async move {
            let input = match conversation.ask(&turn).await {
                Ok(reply) => Input::Reply(turn.id, reply),
                Err(fault) => Input::ReplyFailed(turn.id, fault),
            };
            let _ = inputs.send(input).await;
        };
        self.asking = Some(self.requests.spawn(asking.in_current_span()));
        // While the assistant thinks there is time for the handshakes of the voice that will speak its answer.
        let voice = self.task.tenant.text_to_speech.clone();
        self.requests.spawn(async move { voice.prepare().await }.in_current_span());
    }

    fn end_assistant(&self) {
        let conversation = Arc::clone(&self.conversation);
        self.task.tracker.spawn(
            async move {
                // Left alone the session would expire by itself: not worth a retry, nor a place in the call's ending.
                if tokio::time::timeout(FAREWELL, conversation.end()).await.is_err() {
                    tracing::debug!("the assistant session was left to expire");
                }
            }
            .in_current_span(),
        );
    }

    fn commit(&mut self) {
        let (store, key, inputs) = (self.task.store.clone(), self.task.key.clone(), self.inputs.clone());
        self.requests.spawn(
            async move {
                let input = match store.commit(&key).await {
                    Ok(()) => Input::HistoryCommitted,
                    Err(fault) => Input::HistoryFailed(fault),
                };
                let _ = inputs.send(input).await;
            }
            .in_current_span(),
        );
    }

    /// The signal outlives the call's other requests, because its place in the ledger must be settled whatever happens.
    fn signal(&mut self, order: SignalOrder) {
        let (tenant, store, key) = (Arc::clone(&self.task.tenant), self.task.store.clone(), self.task.key.clone());
        let (inputs, over) = (self.inputs.clone(), self.signal.clone());
        self.task.tracker.spawn(
            async move {
                // Without a place in the ledger the caller still comes first: the signal goes all the same. The place is settled
                // even then, for the order may reach the disk late.
                let place = SignalId::new();
                if let Err(fault) = store.order_signal_as(place, &key, &order).await {
                    tracing::error!(event = "upstream_failed", %fault, "signal not in the ledger");
                }
                let signalled = tokio::select! {
                    // First: a call that is over is not signalled any more.
                    biased;
                    () = over.cancelled() => Signalled { outcome: overtaken(), attempts: 0 },
                    signalled = tenant.cxone.signal(&order) => signalled,
                };
                // The caller waits for this, the ledger does not.
                let _ = inputs.send(Input::Signalled(signalled.outcome.clone())).await;
                store.settle_signal(place, &signalled.outcome, signalled.attempts).await;
            }
            .in_current_span(),
        );
    }

    /// Tells the figures up to now. The call does not wait for its media worker meanwhile.
    fn tell(&mut self, question: Question) {
        let (media, latency) = (self.task.media.statistics(), self.turns.json());
        self.requests.spawn(
            async move {
                // Whoever asked may have gone.
                let _ = question.send(figures::json(media.await.as_ref(), latency));
            }
            .in_current_span(),
        );
    }

    async fn end(self, now: Now, summary: Summary) {
        self.signal.cancel();
        measure::ended(&summary);
        // The media worker tells the metrics itself; closing waits for its last packet and frees the port.
        let media = self.task.media.close().await;
        let figures = figures::json(media.as_ref(), self.turns.json()).to_string();
        self.task.store.measure(&self.task.key, &figures).await;
        self.task.store.finish(&summary).await;
        self.task.place.ended(now, &summary, figures.into());
    }
}

/// What the ledger keeps of a signal whose call was over before its answer: the BYE came first, as it should.
fn overtaken() -> SignalOutcome {
    SignalOutcome::Ambiguous(Fault::new(Service::Cxone, FaultKind::Closed, "the call was over before the answer"))
}

/// What requests have to say at once: each call has a handful in flight, and they wait when it is full.
const INPUTS: usize = 32;
/// For deleting the assistant's session after a call.
const FAREWELL: Duration = Duration::from_secs(5);
