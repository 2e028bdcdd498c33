//! How calls end: one table from cause to SIP answer or BYE, signal, end reason, label, log level and spoken message
//! (CXone facts 2.4, Watson facts 1.10; Reason: RFC 3326).

use super::contact::NoContact;
use super::input::EndNow;
use super::negotiation::Refusal;
use super::output::{EndReason, Purpose};
use crate::base::{Fault, TurnId};
use std::fmt;
use tracing::Level;

/// Why a call ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The INVITE has no usable contact id.
    NoContact(NoContact),
    /// The INVITE's offer was refused.
    OfferRefused(Refusal),
    /// The end was ordered before the call began.
    NotBegun(EndNow),
    /// CANCEL.
    Cancelled,
    /// BYE of the peer while talking.
    CallerBye,
    /// No ACK: the leg has sent BYE by itself.
    NeverAcknowledged,
    /// The session timer found nobody (RFC 4028): the leg has sent BYE by itself.
    SessionExpired,
    /// The dialog went away under the call.
    LegLost,
    /// The ACK of a late offer has no usable answer.
    AnswerRefused(Refusal),
    /// The assistant did not answer.
    AssistantFailed(TurnId, Fault),
    /// Recognition is lost.
    SpeechToTextFailed(Fault),
    /// Nothing can be said.
    TextToSpeechFailed(Fault),
    /// No RTP from the caller.
    RtpTimeout,
    /// On hold for too long.
    HeldTooLong,
    /// Operator, drain or overload.
    Ordered(EndNow),
    /// Transfer signalled, and CXone sent BYE.
    Transferred,
    /// Transfer signalled, and CXone did not send BYE in time.
    TransferNotReleased,
    /// The transfer signal may or may not have arrived, and no BYE came.
    TransferUnknown(Fault),
    /// The transfer signal was refused or could not be sent.
    TransferFailed(Fault),
    /// The assistant named no target that the gateway knows, but these.
    NoTransferTarget(Vec<String>),
    /// The assistant named an address that cannot be transferred to.
    UnusableTarget(&'static str),
    /// The peer told that our REFER came to a good end, or took it and will tell no more.
    Referred,
    /// BYE of the peer while our REFER was under way: the far end has taken the call.
    ReferReleased,
    /// REFER was refused, or what the peer tried was: the status.
    ReferFailed(u16),
    /// The peer took our REFER and did not tell in time what came of it.
    ReferUnknown,
    /// `transfer_method` hangup: the BYE is the transfer.
    TransferByHangup,
    /// A transfer in a call without contact id: the BYE is the transfer.
    TransferWithoutContact,
    /// Hangup signalled, and CXone sent BYE.
    HungUp,
    /// Hangup signalled, and CXone did not send BYE in time.
    HangupNotReleased,
    /// The hangup signal may or may not have arrived, and no BYE came.
    HangupUnknown(Fault),
    /// The hangup signal was refused or could not be sent.
    HangupFailed(Fault),
    /// An end of session in a call without contact id: the BYE is the hangup.
    HangupWithoutContact,
    /// The contact is gone; what for it was signalled.
    ContactGone(Purpose, Fault),
}

/// What a cause means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// IBM's reason: metric label and CDR.
    pub end_reason: EndReason,
    /// How the SIP side ends.
    pub exit: Exit,
    /// What has been signalled, or was to be.
    pub signal: Option<Purpose>,
    /// What is spoken before the exit.
    pub message: Message,
    /// Stable word for logs.
    pub label: &'static str,
    /// error: an operator must act; warn: a call suffered; info: as it should be.
    pub level: Level,
}

/// How the SIP side ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A final answer to the INVITE.
    Reject(u16),
    /// BYE with Reason: cause code of SIP, of Q.850, and text.
    Bye(u16, u8, &'static str),
    /// The peer or the leg has ended it.
    Nothing,
}

/// What is spoken before the exit, where speech still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Nothing.
    None,
    /// `dialog.failure_message`.
    Failure,
    /// `dialog.transfer_failure_message`.
    TransferFailure,
}

impl Cause {
    /// The table.
    #[must_use]
    pub fn ending(&self) -> Ending {
        use EndReason::{AssistantHangup, AssistantTransfer, CallerHangup, Failed};
        use Exit::{Bye, Nothing, Reject};
        use Message::{Failure, None as Quiet, TransferFailure};
        use Purpose::{Hangup, Transfer};
        const ERROR: Level = Level::ERROR;
        const WARN: Level = Level::WARN;
        const INFO: Level = Level::INFO;
        let no = None;
        let to = Some(Transfer);
        let off = Some(Hangup);
        #[rustfmt::skip]
        let (end_reason, exit, signal, message, label, level) = match self {
            Self::NoContact(_)             => (Failed,            Reject(400),                                    no,  Quiet,           "no_contact_id",            WARN),
            Self::OfferRefused(refusal)    => (Failed,            Reject(refusal.code),                           no,  Quiet,           "offer_refused",            WARN),
            Self::NotBegun(_)              => (Failed,            Reject(503),                                    no,  Quiet,           "not_begun",                WARN),
            Self::Cancelled                => (CallerHangup,      Nothing,                                        no,  Quiet,           "cancelled",                INFO),
            Self::CallerBye                => (CallerHangup,      Nothing,                                        no,  Quiet,           "caller_bye",               INFO),
            Self::NeverAcknowledged        => (Failed,            Nothing,                                        no,  Quiet,           "never_acknowledged",       WARN),
            Self::SessionExpired           => (Failed,            Nothing,                                        no,  Quiet,           "session_expired",          WARN),
            Self::LegLost                  => (Failed,            Nothing,                                        no,  Quiet,           "leg_lost",                 WARN),
            Self::AnswerRefused(refusal)   => (Failed,            Bye(refusal.code, 41, "no usable SDP answer"),  no,  Quiet,           "answer_refused",           WARN),
            Self::AssistantFailed(..)      => (Failed,            Bye(500, 41, "assistant failed"),               no,  Failure,         "assistant_failed",         ERROR),
            Self::SpeechToTextFailed(_)    => (Failed,            Bye(500, 41, "speech to text failed"),          no,  Failure,         "speech_to_text_failed",    ERROR),
            Self::TextToSpeechFailed(_)    => (Failed,            Bye(500, 41, "text to speech failed"),          no,  Quiet,           "text_to_speech_failed",    ERROR),
            Self::RtpTimeout               => (Failed,            Bye(500, 41, "no RTP received"),                no,  Failure,         "rtp_timeout",              WARN),
            Self::HeldTooLong              => (Failed,            Bye(500, 41, "on hold too long"),               no,  Quiet,           "held_too_long",            WARN),
            Self::Ordered(EndNow::Operator) => (Failed,           Bye(500, 41, "ended by the operator"),          no,  Failure,         "operator",                 INFO),
            Self::Ordered(EndNow::Drain)   => (Failed,            Bye(500, 41, "gateway is draining"),            no,  Failure,         "drain",                    INFO),
            Self::Ordered(EndNow::Overload) => (Failed,           Bye(500, 41, "gateway is overloaded"),          no,  Failure,         "overload",                 ERROR),
            Self::Transferred              => (AssistantTransfer, Nothing,                                        to,  Quiet,           "transferred",              INFO),
            Self::TransferNotReleased      => (AssistantTransfer, Bye(200, 16, "transfer signalled"),             to,  Quiet,           "transfer_not_released",    WARN),
            Self::TransferUnknown(_)       => (Failed,            Bye(500, 41, "signal outcome unknown"),         to,  Quiet,           "transfer_unknown",         WARN),
            Self::TransferFailed(_)        => (Failed,            Bye(500, 41, "signal failed"),                  to,  TransferFailure, "transfer_failed",          ERROR),
            Self::NoTransferTarget(_)      => (Failed,            Bye(500, 41, "no transfer target"),             no,  TransferFailure, "no_transfer_target",       ERROR),
            Self::UnusableTarget(_)        => (Failed,            Bye(500, 41, "unusable transfer target"),       no,  TransferFailure, "unusable_target",          ERROR),
            Self::Referred                 => (AssistantTransfer, Bye(200, 16, "transferred"),                    no,  Quiet,           "referred",                 INFO),
            Self::ReferReleased            => (AssistantTransfer, Nothing,                                        no,  Quiet,           "refer_released",           INFO),
            Self::ReferFailed(_)           => (Failed,            Bye(500, 41, "REFER failed"),                   no,  TransferFailure, "refer_failed",             WARN),
            Self::ReferUnknown             => (Failed,            Bye(500, 41, "REFER outcome unknown"),          no,  Quiet,           "refer_unknown",            WARN),
            Self::TransferByHangup         => (AssistantTransfer, Bye(200, 16, "transfer by hangup"),             no,  Quiet,           "transfer_by_hangup",       INFO),
            Self::TransferWithoutContact   => (AssistantTransfer, Bye(200, 16, "transfer without contact id"),    no,  Quiet,           "transfer_without_contact", INFO),
            Self::HungUp                   => (AssistantHangup,   Nothing,                                        off, Quiet,           "hung_up",                  INFO),
            Self::HangupNotReleased        => (AssistantHangup,   Bye(200, 16, "hangup signalled"),               off, Quiet,           "hangup_not_released",      WARN),
            Self::HangupUnknown(_)         => (Failed,            Bye(500, 41, "signal outcome unknown"),         off, Quiet,           "hangup_unknown",           WARN),
            Self::HangupFailed(_)          => (Failed,            Bye(500, 41, "signal failed"),                  off, Quiet,           "hangup_failed",            ERROR),
            Self::HangupWithoutContact     => (AssistantHangup,   Bye(200, 16, "hangup without contact id"),      no,  Quiet,           "hangup_without_contact",   INFO),
            Self::ContactGone(Transfer, _) => (Failed,            Bye(500, 41, "contact gone"),                   to,  Quiet,           "contact_gone",             WARN),
            Self::ContactGone(Hangup, _)   => (AssistantHangup,   Bye(200, 16, "contact gone"),                   off, Quiet,           "contact_gone",             INFO),
        };
        Ending { end_reason, exit, signal, message, label, level }
    }

    /// The same cause where the contact was signalled and the peer's BYE came: the script has acted.
    #[must_use]
    pub(super) fn released(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Transfer => Self::Transferred,
            Purpose::Hangup => Self::HungUp,
        }
    }

    /// Hint for whoever reads the log, where one helps.
    #[must_use]
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TransferNotReleased | Self::HangupNotReleased => Some(
                "the signal was accepted and the script did not end the leg: it has no Hangup on the spawned contact",
            ),
            Self::ReferFailed(405 | 501) => {
                Some("the peer takes no REFER: the trunk must allow it, or transfer_method must be hangup")
            }
            Self::NoContact(_) => {
                Some("the script must run Sipputheader before Placecall, and the trunk group must let X- headers pass")
            }
            Self::HangupFailed(_) | Self::HangupUnknown(_) => {
                Some("a BYE without the hangup signal makes the usual script queue the caller to an agent")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoContact(why) => write!(f, "{why}"),
            Self::OfferRefused(refusal) => write!(f, "offer refused: {}", refusal.warning),
            Self::NotBegun(why) => write!(f, "ended before it began: {why:?}"),
            Self::Cancelled => f.write_str("caller gave up before the answer"),
            Self::CallerBye => f.write_str("caller hung up"),
            Self::NeverAcknowledged => f.write_str("our answer was never acknowledged"),
            Self::SessionExpired => f.write_str("the caller's side no longer answers: session timer"),
            Self::LegLost => f.write_str("the SIP dialog was lost"),
            Self::AnswerRefused(refusal) => write!(f, "answer in ACK refused: {}", refusal.warning),
            Self::AssistantFailed(turn, fault) => write!(f, "assistant did not answer turn {}: {fault}", turn.0),
            Self::SpeechToTextFailed(fault) => write!(f, "recognition lost: {fault}"),
            Self::TextToSpeechFailed(fault) => write!(f, "speech lost: {fault}"),
            Self::RtpTimeout => f.write_str("no RTP from the caller"),
            Self::HeldTooLong => f.write_str("on hold too long"),
            Self::Ordered(EndNow::Operator) => f.write_str("ended by the operator"),
            Self::Ordered(EndNow::Drain) => f.write_str("the gateway is shutting down"),
            Self::Ordered(EndNow::Overload) => f.write_str("the gateway is overloaded"),
            Self::Transferred => f.write_str("transferred to an agent"),
            Self::TransferNotReleased => f.write_str("transferred to an agent, leg not released by CXone"),
            Self::TransferUnknown(fault) => write!(f, "transfer signal may not have arrived: {fault}"),
            Self::TransferFailed(fault) => write!(f, "transfer failed: {fault}"),
            Self::NoTransferTarget(others) if others.is_empty() => f.write_str("transfer failed: no target"),
            Self::NoTransferTarget(others) => {
                write!(f, "transfer failed: no nice_cxone or service_desk.sip target, but {}", others.join(", "))
            }
            Self::UnusableTarget(why) => write!(f, "transfer failed: {why}"),
            Self::Referred => f.write_str("transferred by REFER"),
            Self::ReferReleased => f.write_str("transferred by REFER, leg released by the peer"),
            Self::ReferFailed(code) => {
                write!(f, "transfer by REFER failed: {code} {}", crate::sip::message::reason_phrase(*code))
            }
            Self::ReferUnknown => f.write_str("transfer by REFER may have failed: the peer has not told"),
            Self::TransferByHangup => f.write_str("transferred by BYE, as the assistant asked"),
            Self::TransferWithoutContact => f.write_str("transferred by BYE: no contact id to signal"),
            Self::HungUp => f.write_str("ended by the assistant"),
            Self::HangupNotReleased => f.write_str("ended by the assistant, leg not released by CXone"),
            Self::HangupUnknown(fault) => write!(f, "hangup signal may not have arrived: {fault}"),
            Self::HangupFailed(fault) => write!(f, "hangup signal failed: {fault}"),
            Self::HangupWithoutContact => f.write_str("ended by the assistant by BYE: no contact id to signal"),
            Self::ContactGone(purpose, fault) => {
                write!(f, "contact gone before the {} signal: {fault}", purpose.as_str())
            }
        }
    }
}

impl Exit {
    /// Header fields of the BYE that tell why: one Reason for SIP, one for Q.850.
    #[must_use]
    pub fn reasons(&self) -> Vec<(String, String)> {
        match self {
            Self::Bye(sip, q850, text) => vec![
                ("Reason".to_owned(), format!("SIP;cause={sip};text=\"{text}\"")),
                ("Reason".to_owned(), format!("Q.850;cause={q850};text=\"{text}\"")),
            ],
            Self::Reject(_) | Self::Nothing => Vec::new(),
        }
    }
}

/// `Warning: 399` (RFC 3261 section 20.43) with `text` made safe for a quoted string.
pub(super) fn warning(text: &str) -> (String, String) {
    let safe: String = text.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).take(200).collect();
    ("Warning".to_owned(), format!("399 voice-gateway \"{safe}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_whole_headers() {
        let reasons = Cause::TransferUnknown(fault()).ending().exit.reasons();
        assert_eq!(reasons[0], ("Reason".to_owned(), "SIP;cause=500;text=\"signal outcome unknown\"".to_owned()));
        assert_eq!(reasons[1].1, "Q.850;cause=41;text=\"signal outcome unknown\"");
    }

    #[test]
    fn a_warning_cannot_break_out_of_its_quotes() {
        assert_eq!(warning("a\"b\\c\r\nd").1, "399 voice-gateway \"abcd\"");
    }

    fn fault() -> Fault {
        Fault::new(crate::base::Service::Cxone, crate::base::FaultKind::Timeout, "x")
    }
}
