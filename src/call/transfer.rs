//! Transfers: history first, then by signal, REFER or BYE as the assistant's target says; and what follows a failed one.
//!
//! The caller comes first: a history that is not durable delays nothing beyond two seconds, and words that cannot be spoken
//! do not keep a transfer from being tried.

use super::ending::Cause;
use super::machine::{Call, State, Timer};
use super::output::Output;
use super::signalling::Order;
use crate::base::Now;
use crate::sip::leg::{HeaderPlace, Refer};
use crate::sip::message::Uri;
use crate::talk::Event;
use crate::talk::response::{Target, Transfer};
use crate::talk::service_desk::{self, Place, SipTransfer};
use std::fmt::Write as _;
use std::time::Duration;

/// How the call is to be transferred.
#[derive(Clone, Debug)]
pub(super) enum Means {
    /// The contact is signalled.
    Signal(Order),
    /// The peer is asked to call somebody else. The codes are failures that count as success.
    Refer(Box<Refer>, Vec<u16>),
    /// Our BYE, with these headers, is the transfer.
    Leave(Vec<(String, String)>),
}

impl Call {
    /// The assistant wants an agent, and its words have been spoken.
    pub(super) fn transfer(&mut self, now: Now, transfer: Transfer, out: &mut Vec<Output>) {
        self.unavailable = transfer.unavailable;
        let means = match transfer.target {
            Target::Cxone(parameters) => Ok(Means::Signal(Order::Transfer(parameters))),
            Target::Sip(sip) => self.means_for(*sip),
            Target::Unusable(why) => Err(Cause::UnusableTarget(why)),
            Target::Unknown(others) => Err(Cause::NoTransferTarget(others)),
        };
        let means = match means {
            Ok(means) => means,
            Err(cause) => return self.transfer_failed(now, cause, out),
        };
        let reason = transfer.reason.map_or_else(String::new, |reason| format!(": {reason}"));
        self.note(now, format!("{TRANSFER_NOTE}{reason}"), out);
        out.push(Output::CommitHistory);
        self.state = State::Committing(means);
        self.arm(Timer::Commit, now, LONGEST_COMMIT);
    }

    fn means_for(&self, sip: SipTransfer) -> Result<Means, Cause> {
        let mut headers = sip.headers;
        headers.push(self.key_header(&headers));
        match sip.way {
            service_desk::Way::Refer { uri, place } => {
                Uri::parse_request(&uri).map_err(Cause::UnusableTarget)?;
                let place = match place {
                    Place::Custom => HeaderPlace::Fields,
                    Place::Contact => HeaderPlace::Contact,
                    Place::ReferTo => HeaderPlace::ReferTo,
                };
                Ok(Means::Refer(Box::new(Refer { target: uri, headers, place }), sip.accepted_codes))
            }
            service_desk::Way::Hangup { target } => Ok(Means::Leave(target.into_iter().chain(headers).collect())),
        }
    }

    /// The session key for whoever gets the call: in User-to-User (RFC 7433), or beside the author's own (Watson facts 1.1).
    fn key_header(&self, headers: &[(String, String)]) -> (String, String) {
        let key = self.facts.session_key.as_str();
        if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(USER_TO_USER)) {
            return (KEY_HEADER.to_owned(), key.to_owned());
        }
        let hex = key.bytes().fold(String::new(), |mut hex, byte| {
            let _never_fails = write!(hex, "{byte:02x}");
            hex
        });
        (USER_TO_USER.to_owned(), format!("{hex};encoding=hex"))
    }

    /// The history is durable, or will not be.
    pub(super) fn committed(&mut self, now: Now, out: &mut Vec<Output>) {
        if let State::Committing(means) = &self.state {
            let means = means.clone();
            self.timers.stop(Timer::Commit);
            match means {
                Means::Signal(order) => self.signal(now, order, out),
                Means::Refer(refer, accepted_codes) => self.refer(now, *refer, accepted_codes, out),
                Means::Leave(_) => self.bye(now, Cause::TransferByHangup, out),
            }
        }
    }

    /// No agent could be had: the last message and BYE, or the assistant is told and the conversation goes on, where the caller
    /// can still be heard.
    pub(super) fn transfer_failed(&mut self, now: Now, cause: Cause, out: &mut Vec<Output>) {
        self.transfers_failed += 1;
        if self.settings.disconnect_on_transfer_failure || self.hurried || self.transfers_failed >= MOST_TRANSFERS {
            return self.apologise(now, cause, out);
        }
        self.note(now, cause.to_string(), out);
        if self.unheard && self.receiving {
            return self.apologise(now, Cause::RtpTimeout, out);
        }
        tracing::warn!(%cause, "transfer failed, the assistant is told");
        self.state = State::Talking;
        self.feed(now, Event::TransferFailed, out);
    }
}

const USER_TO_USER: &str = "User-to-User";
const KEY_HEADER: &str = "X-Watson-Assistant-Session-History-Key";
const LONGEST_COMMIT: Duration = Duration::from_secs(2);
/// Transfers that may fail before the call ends, where the assistant may try again.
const MOST_TRANSFERS: u32 = 3;

/// How the transcript's line of a transfer begins; the assistant's own reason, where it gives one, follows after a colon.
pub const TRANSFER_NOTE: &str = "assistant asks for an agent";
