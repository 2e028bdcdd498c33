//! Who is to blame when something outside fails, in words that logs, metrics and `check` share.

use std::fmt;

/// A service the gateway depends on. `as_str` is the `service` label of metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// IBM Cloud IAM token service.
    Iam,
    /// Watson Speech to Text.
    SpeechToText,
    /// Watson Text to Speech.
    TextToSpeech,
    /// Watson Assistant v2.
    Assistant,
    /// CXone: token, discovery or signal.
    Cxone,
    /// The history store.
    Store,
}

impl Service {
    /// Label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Iam => "iam",
            Self::SpeechToText => "speech_to_text",
            Self::TextToSpeech => "text_to_speech",
            Self::Assistant => "assistant",
            Self::Cxone => "cxone",
            Self::Store => "store",
        }
    }
}

/// What kind of failure it was. `as_str` is the `kind` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// DNS, TCP or TLS failed before any request byte was sent.
    Connect,
    /// No answer in time, after the request was sent.
    Timeout,
    /// 401 or 403.
    Auth,
    /// 429 or 503: the service is there and busy.
    Busy,
    /// Another error status or an error message of the service.
    Status,
    /// An answer that is not what the protocol says (HTML with 200, broken JSON, wrong type).
    Protocol,
    /// The connection went away in the middle.
    Closed,
}

impl FaultKind {
    /// Label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Auth => "auth",
            Self::Busy => "busy",
            Self::Status => "status",
            Self::Protocol => "protocol",
            Self::Closed => "closed",
        }
    }
}

/// A failure of an outside service, for logs, metrics and the ending of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which service.
    pub service: Service,
    /// What kind of failure.
    pub kind: FaultKind,
    /// What happened, naming the host or the field that was wrong. Never a secret, never what a caller said.
    pub detail: String,
}

impl Fault {
    /// A fault with its detail.
    #[must_use]
    pub fn new(service: Service, kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { service, kind, detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.service.as_str(), self.kind.as_str(), self.detail)
    }
}

impl std::error::Error for Fault {}
