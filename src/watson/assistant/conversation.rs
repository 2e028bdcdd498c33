//! One call's conversation: its session, created early or with the first turn, and created anew when the service has lost it.

use super::super::transport::note;
use super::{Assistant, SessionId, Unanswered, wire};
use crate::base::{Fault, clock};
use crate::call::input::Reply;
use crate::call::output::Turn;
use tokio::sync::Mutex;

/// A conversation with the assistant. Turns are meant to be asked one after the other; a superseded one may just be dropped.
pub struct Conversation {
    assistant: Assistant,
    /// Held across the creation of a session, so that `open` at ringing and the first turn make one session between them.
    session: Mutex<Option<SessionId>>,
}

impl Conversation {
    pub(super) fn new(assistant: Assistant) -> Self {
        Self { assistant, session: Mutex::new(None) }
    }

    /// Creates the session ahead of the first turn.
    pub async fn open(&self) -> Result<(), Fault> {
        self.session().await.map(drop)
    }

    /// The session's id, once there is one.
    pub async fn session_id(&self) -> Option<SessionId> {
        self.session.lock().await.clone()
    }

    /// Asks one turn. Where the session is gone (it expires after an hour of silence, five minutes on small plans) the turn is
    /// asked once more in a new one, with the same context. `Reply::took` spans all of it.
    pub async fn ask(&self, turn: &Turn) -> Result<Reply, Fault> {
        let asked = clock::now().at;
        let mut body = wire::message(turn);
        let session = self.session().await?;
        let reply = match self.assistant.turn(&session, turn, &body).await {
            Err(Unanswered::NoSession(fault)) => {
                tracing::info!(detail = fault.detail, "the assistant lost the session, making a new one");
                self.forget(&session).await;
                let session = self.session().await?;
                wire::forget_session(&mut body);
                let again = self.assistant.turn(&session, turn, &body).await;
                if let Err(Unanswered::NoSession(fault)) = &again {
                    note(fault);
                }
                again
            }
            outcome => outcome,
        };
        match reply {
            Ok(reply) => Ok(Reply { took: clock::now().at.duration_since(asked), ..reply }),
            Err(Unanswered::NoSession(fault) | Unanswered::Failed(fault)) => Err(fault),
        }
    }

    /// Deletes the session, where there is one.
    pub async fn end(&self) -> Result<(), Fault> {
        let session = self.session.lock().await.take();
        match session {
            Some(session) => self.assistant.delete_session(&session).await,
            None => Ok(()),
        }
    }

    async fn session(&self) -> Result<SessionId, Fault> {
        let mut session = self.session.lock().await;
        if let Some(session) = &*session {
            return Ok(session.clone());
        }
        let created = self.assistant.create_session().await?;
        Ok(session.insert(created).clone())
    }

    async fn forget(&self, gone: &SessionId) {
        let mut session = self.session.lock().await;
        if session.as_ref() == Some(gone) {
            *session = None;
        }
    }
}
