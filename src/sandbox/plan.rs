//! What of the ordered faults befalls one request (`faults.rs`).

use super::faults::{Fault, Garbage};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What befalls one request; travels with it as an extension so that WebSocket sessions can act on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Added before the answer, or before each text message.
    pub(super) latency: Duration,
    /// The one fault that decides, if any.
    pub(super) outcome: Option<Fault>,
}

impl Plan {
    /// Waits out the ordered latency, or until the sandbox ends. Without one it takes no time at all, where a sleep of zero
    /// would take a millisecond.
    pub(super) async fn wait(&self, shutdown: &CancellationToken) {
        if !self.latency.is_zero() {
            let _ = tokio::time::timeout(self.latency, shutdown.cancelled()).await;
        }
    }

    /// Whether nothing but latency befalls the request.
    pub(super) fn is_clear(&self) -> bool {
        self.outcome.is_none()
    }

    /// Whether tokens count as expired (or are handed out expired).
    pub(super) fn expires_tokens(&self) -> bool {
        self.outcome == Some(Fault::ExpiredTokens)
    }

    /// Whether nothing is ever to be answered.
    pub(super) fn hangs(&self) -> bool {
        self.outcome == Some(Fault::Hang)
    }

    /// Whether audio ends early, on an odd byte.
    pub(super) fn truncates_audio(&self) -> bool {
        self.outcome == Some(Fault::Garbage { what: Garbage::TruncatedAudio })
    }

    /// The error message ordered for a WebSocket.
    pub(super) fn error_message(&self) -> Option<&str> {
        match &self.outcome {
            Some(Fault::ErrorMessage { text }) => Some(text),
            _ => None,
        }
    }

    /// A text message of a WebSocket as it goes out.
    pub(super) fn spoil(&self, mut text: String) -> String {
        if self.outcome == Some(Fault::Garbage { what: Garbage::BrokenJson }) {
            let half = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(half);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_json_is_cut_between_characters() {
        let plan = Plan { outcome: Some(Fault::Garbage { what: Garbage::BrokenJson }), ..Plan::default() };
        assert_eq!(plan.spoil("{\"ä\":1}".to_owned()), "{\"ä");
        assert_eq!(Plan::default().spoil("{}".to_owned()), "{}");
    }
}
