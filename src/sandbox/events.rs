//! What happens in the sandbox, told in process: for the demo's terminal and for tests.

use super::cxone::Signal;
use super::faults::SandboxService;
use serde_json::Value;
use tokio::sync::broadcast;

/// One thing that happened on the other side of a wire. Carries what callers and the assistant said: for the sandbox's own
/// terminal, never for a log.
#[derive(Clone, Debug)]
pub enum SandboxEvent {
    /// A token was handed out.
    TokenIssued {
        /// By whom: `Iam` or `Cxone`.
        service: SandboxService,
    },
    /// A Speech to Text session began to listen.
    Listening {
        /// The model asked for.
        model: String,
    },
    /// A final transcript goes out.
    Transcribed {
        /// Without the trailing blank.
        transcript: String,
    },
    /// A Text to Speech request came in.
    Synthesizing {
        /// Text or SSML as sent.
        text: String,
    },
    /// The assistant answered a turn.
    Turn {
        /// Session of the assistant.
        session_id: String,
        /// `input.text`.
        text: String,
        /// The rule that answered; empty when none did.
        rule: String,
        /// `output.generic`.
        generic: Vec<Value>,
    },
    /// CXone was signalled.
    Signalled {
        /// Whom.
        contact_id: String,
        /// p1 to p9.
        signal: Signal,
    },
}

/// Where events are told. Bounded at 1024: a listener that lags loses the oldest and is told how many
/// (`broadcast::error::RecvError::Lagged`).
#[derive(Clone, Debug)]
pub struct Events(broadcast::Sender<SandboxEvent>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(MOST_EVENTS))
    }
}

impl Events {
    /// Listens from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<SandboxEvent> {
        self.0.subscribe()
    }

    /// Tells whoever listens; nobody listening is fine.
    pub(super) fn tell(&self, event: SandboxEvent) {
        let _ = self.0.send(event);
    }
}

const MOST_EVENTS: usize = 1024;
