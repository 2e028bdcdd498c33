//! What a call is told when it is born.

use super::contact::ContactRule;
use super::input::Invite;
use crate::base::SessionKey;
use crate::talk::TalkSettings;
use std::time::Duration;

/// Settings of the calls of one tenant (interface section 2).
#[derive(Clone, Debug)]
pub struct CallSettings {
    /// 180 before 200 (`sip.ringing`). Default true.
    pub ringing: bool,
    /// `sip.contact_id_headers`, `sip.contact_id_pattern`, `sip.missing_contact_id`.
    pub contact: ContactRule,
    /// Header of the 200 that carries the session key (`sip.session_key_header`); empty is off. Default `X-Session-Key`.
    pub session_key_header: String,
    /// More headers of the 200.
    pub answer_headers: Vec<(String, String)>,
    /// INVITE headers for the assistant (`sip.extract_headers`): names, or beginnings and `*`. Default `X-*`.
    pub extract_headers: Vec<String>,
    /// INVITE headers that the assistant never gets, whatever `extract_headers` says: the shared secret of
    /// `sip.required_header`. Names compare without case.
    pub withheld_headers: Vec<String>,
    /// The conversation (`dialog.*`).
    pub talk: TalkSettings,
    /// Spoken before the error BYE where speech still works (`dialog.failure_message`); empty is none.
    pub failure_message: String,
    /// Spoken after a failed transfer (`dialog.transfer_failure_message`); empty takes the assistant's `agent_unavailable`.
    pub transfer_failure_message: String,
    /// After a failed transfer: BYE, or a new turn (`dialog.disconnect_on_transfer_failure`). Default true.
    pub disconnect_on_transfer_failure: bool,
    /// What came of a transfer by REFER is waited for so long once the peer tries it (`dialog.refer_timeout`). Default 60 s.
    pub refer_timeout: Duration,
    /// The CXone client's budget for a signal (`cxone.signal_budget`). Three seconds above it, an outcome that has not come is
    /// taken as ambiguous. Default 5 s.
    pub signal_budget: Duration,
    /// CXone's BYE after a transfer signal is waited for so long (`cxone.after_transfer`). Default 30 s; zero is our BYE at once.
    pub after_transfer: Duration,
    /// The same after a hangup signal (`cxone.after_hangup`). Default 5 s.
    pub after_hangup: Duration,
}

/// What is particular to one call.
#[derive(Clone, Debug)]
pub struct CallFacts {
    /// The INVITE.
    pub invite: Invite,
    /// The key of its history, from fresh random bits.
    pub session_key: SessionKey,
}

impl CallSettings {
    /// The defaults of the interface, with this rule for contact ids.
    #[must_use]
    pub fn new(contact: ContactRule) -> Self {
        Self {
            ringing: true,
            contact,
            session_key_header: "X-Session-Key".into(),
            answer_headers: Vec::new(),
            extract_headers: vec!["X-*".into()],
            withheld_headers: Vec::new(),
            talk: TalkSettings::default(),
            failure_message: "Call being transferred to an agent due to a technical problem. Good bye.".into(),
            transfer_failure_message: "Call transfer to an agent failed. Please try again later. Good bye.".into(),
            disconnect_on_transfer_failure: true,
            refer_timeout: Duration::from_secs(60),
            signal_budget: Duration::from_secs(5),
            after_transfer: Duration::from_secs(30),
            after_hangup: Duration::from_secs(5),
        }
    }
}
