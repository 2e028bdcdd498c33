//! What a conversation is told when it is born: settings of its tenant, and what the INVITE said.

use std::fmt;
use std::time::Duration;

/// Settings of a conversation (interface section 2, `dialog.*`, `sip.extract_headers`, `log.transcripts`).
#[derive(Clone, Debug)]
pub struct TalkSettings {
    /// Silence after the last prompt, then a turn `vgwPostResponseTimeout`. Default 7 s. The assistant overrides it by
    /// `post_response_timeout_count`. Kept within 0.5 s and 1 h: zero would spin turns.
    pub post_response_timeout: Duration,
    /// First hypothesis without a final result for so long: a turn `vgwFinalUtteranceTimeout`. Default off. The assistant overrides
    /// it by `final_utterance_timeout_count`.
    pub final_utterance_timeout: Option<Duration>,
    /// Final results with a confidence below are dropped. Default 0.0: none.
    pub confidence_threshold: f64,
    /// Whether the caller's speech stops a prompt, at call start. Default true.
    pub barge_in: bool,
    /// An assistant turn that the rim has not settled by then is taken as failed, so that a lost answer cannot mean silence. Must be
    /// above twice the assistant client's timeout (one retry). Default 30 s; stretched to twice the assistant's own
    /// `turn_settings.timeout_count` and 5 s where that is more.
    pub turn_limit: Duration,
    /// Silence that the recogniser waits for before it takes a phrase for ended: the end-pointing of a turn's latency. Default 0.8 s.
    pub end_of_phrase_silence: Duration,
    /// Lets what is said into the log. Default false.
    pub log_transcripts: bool,
}

impl Default for TalkSettings {
    fn default() -> Self {
        Self {
            post_response_timeout: Duration::from_secs(7),
            final_utterance_timeout: None,
            confidence_threshold: 0.0,
            barge_in: true,
            turn_limit: Duration::from_secs(30),
            end_of_phrase_silence: Duration::from_millis(800),
            log_transcripts: false,
        }
    }
}

/// What the assistant is told of the call (Watson facts 1.8). `Debug` shows no numbers.
#[derive(Clone, Default)]
pub struct PhoneFacts {
    /// `sip_call_id`.
    pub call_id: String,
    /// `private.user_phone_number`, `channel.private.user`, `user_id`; empty when withheld.
    pub caller_number: String,
    /// `assistant_phone_number`.
    pub called_number: String,
    /// `private.original_called_number`, of diverted calls only: ours, IBM has none. Else empty.
    pub original_called_number: String,
    /// `private.sip_request_uri`.
    pub request_uri: String,
    /// `private.sip_from_uri`.
    pub from_uri: String,
    /// `private.sip_to_uri`.
    pub to_uri: String,
    /// `sip_custom_invite_headers`, as `extract_headers` made it.
    pub invite_headers: serde_json::Map<String, serde_json::Value>,
}

impl fmt::Debug for PhoneFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhoneFacts").field("call_id", &self.call_id).finish_non_exhaustive()
    }
}
