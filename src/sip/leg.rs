//! What a call and its SIP leg say to each other: the words that leave the `sip` layer. `call` uses them as they are.

use super::digest::Credentials;
use bytes::Bytes;
use std::fmt;
use std::net::SocketAddr;

/// One leg of one endpoint; never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

/// The INVITE as the call sees it (parsed, admitted; RFC 3261 section 13.3.1).
#[derive(Clone, Default)]
pub struct Invite {
    /// Call-ID.
    pub call_id: String,
    /// Request-URI as sent.
    pub request_uri: String,
    /// URI of From.
    pub from_uri: String,
    /// URI of To.
    pub to_uri: String,
    /// The caller's number: P-Asserted-Identity, else Remote-Party-ID, else From; user part, empty when withheld.
    pub caller_number: String,
    /// The dialled number: user part of the Request-URI, else of To.
    pub called_number: String,
    /// Of a diverted call the number that was dialled first (Diversion, else History-Info); empty otherwise.
    pub original_called_number: String,
    /// All header fields in order, names as sent, values unfolded and trimmed.
    pub headers: Vec<(String, String)>,
    /// The body where its type is application/sdp; `None` is a late offer (RFC 3264 in RFC 3261 section 14).
    pub sdp: Option<Bytes>,
    /// Where the request came from.
    pub source: Option<SocketAddr>,
}

impl fmt::Debug for Invite {
    /// Numbers, URIs and header values stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Invite")
            .field("call_id", &self.call_id)
            .field("headers", &names)
            .field("sdp_bytes", &self.sdp.as_ref().map(Bytes::len))
            .finish_non_exhaustive()
    }
}

/// What the SIP leg tells. After `Ended` nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegEvent {
    /// ACK for our 2xx came, with the answer in it where our 2xx carried the offer.
    Acknowledged {
        /// application/sdp body of the ACK.
        sdp: Option<Bytes>,
    },
    /// CANCEL before our final answer; the leg has sent 487 by itself.
    Cancelled,
    /// BYE from the peer, answered 200 by the leg.
    Bye {
        /// Reason header (RFC 3326) as sent.
        reason: Option<String>,
    },
    /// re-INVITE or UPDATE with an offer: answer with `LegCommand::AnswerReinvite` or `RejectReinvite`.
    Reinvite {
        /// The offer; `None` asks us for one.
        sdp: Option<Bytes>,
    },
    /// DTMF by INFO (application/dtmf-relay or application/dtmf): one key.
    InfoDigit(char),
    /// What became of our REFER.
    Referral(Referral),
    /// The answer to a re-INVITE of ours that only refreshed the session: what we said last, offered again.
    Refreshed {
        /// The answer.
        sdp: Bytes,
    },
    /// The session timer (RFC 4028) ran out, or its refresh found nobody: the leg has sent BYE.
    Expired,
    /// No ACK within 64*T1 of our 2xx: the leg has sent BYE (RFC 3261 section 13.3.1.4).
    NeverAcknowledged,
    /// Our BYE was answered or timed out, or the transport failed: the dialog is gone.
    Ended,
}

/// How a REFER fares (RFC 3515). After one of the last three nothing more comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Referral {
    /// The peer tries: a 2xx, or its first NOTIFY.
    Accepted,
    /// A 2xx that announces no reports (`Refer-Sub: false`, RFC 4488).
    Unreported,
    /// A final error to the REFER itself; 408 when no answer came, 503 when the transport failed.
    Refused(u16),
    /// What came of the peer's try: 200 to 699.
    Tried(u16),
    /// The peer reports no more, and has not told what came of it.
    Unfinished,
}

/// A REFER. `Debug` shows no numbers and no values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Refer {
    /// SIP, SIPS or tel URI of whom the peer shall call.
    pub target: String,
    /// Header fields for that call.
    pub headers: Vec<(String, String)>,
    /// Where they stand.
    pub place: HeaderPlace,
}

/// Where the header fields of a REFER stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderPlace {
    /// Among its own.
    #[default]
    Fields,
    /// As headers of the URI in its Contact.
    Contact,
    /// As headers of the URI in its Refer-To; as parameters where that is a tel URI.
    ReferTo,
}

impl fmt::Debug for Refer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        write!(f, "Refer {names:?} {:?}", self.place)
    }
}

/// To the SIP leg.
#[derive(Clone, PartialEq, Eq)]
pub enum LegCommand {
    /// 180 Ringing.
    Ring,
    /// 200 OK with this SDP (answer, or offer when the INVITE had none) and these extra headers.
    Answer {
        /// application/sdp body.
        sdp: Bytes,
        /// Extra headers.
        headers: Vec<(String, String)>,
    },
    /// A final error answer to the INVITE.
    Reject {
        /// 4xx, 5xx or 6xx.
        code: u16,
        /// Reason phrase; empty takes the RFC's.
        reason: String,
        /// Extra headers (Warning, Retry-After, Reason).
        headers: Vec<(String, String)>,
    },
    /// 200 to a re-INVITE or UPDATE.
    AnswerReinvite {
        /// application/sdp body.
        sdp: Bytes,
    },
    /// An error to a re-INVITE or UPDATE; the call goes on as before.
    RejectReinvite {
        /// 4xx or 5xx.
        code: u16,
        /// Extra headers.
        headers: Vec<(String, String)>,
    },
    /// re-INVITE with this offer, in a call of our own; `DialEvent::Changed` tells what came of it.
    Offer {
        /// application/sdp body.
        sdp: Bytes,
    },
    /// ACK with the answer to the offer of the 2xx, in a call of our own whose INVITE had none.
    Acknowledge {
        /// application/sdp body.
        sdp: Bytes,
    },
    /// REFER: the peer shall call somebody else instead. What becomes of it comes as `LegEvent::Referral`.
    Refer(Refer),
    /// BYE with these extra headers (`Reason`, custom headers of `end_session`).
    Bye {
        /// Extra headers.
        headers: Vec<(String, String)>,
    },
}

impl fmt::Debug for LegCommand {
    /// Header values stay out of logs: one of them is the session key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |headers: &[(String, String)]| headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        match self {
            Self::Ring => f.write_str("Ring"),
            Self::Answer { headers, .. } => write!(f, "Answer {:?}", names(headers)),
            Self::Reject { code, headers, .. } => write!(f, "Reject {code} {:?}", names(headers)),
            Self::AnswerReinvite { .. } => f.write_str("AnswerReinvite"),
            Self::Offer { .. } => f.write_str("Offer"),
            Self::Acknowledge { .. } => f.write_str("Acknowledge"),
            Self::RejectReinvite { code, headers } => write!(f, "RejectReinvite {code} {:?}", names(headers)),
            Self::Refer(refer) => refer.fmt(f),
            Self::Bye { headers } => write!(f, "Bye {:?}", names(headers)),
        }
    }
}

/// A call of our own: the test phone's INVITE.
#[derive(Clone, Debug, Default)]
pub struct Dial {
    /// Request-URI and To.
    pub uri: String,
    /// From URI; empty takes `sip:voice-gateway@` and our address.
    pub from: String,
    /// Extra headers, in order.
    pub headers: Vec<(String, String)>,
    /// The offer; empty sends none: then the 2xx brings one, and `LegCommand::Acknowledge` must answer it.
    pub sdp: Bytes,
    /// What a 401 or 407 is answered with; without them it is a refusal.
    pub credentials: Option<Credentials>,
}

/// What a leg of our own calling tells. After `Ended` nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialEvent {
    /// A 1xx.
    Provisional {
        /// 100 to 199.
        code: u16,
        /// Its reason phrase.
        reason: String,
        /// Early media's description.
        sdp: Option<Bytes>,
    },
    /// A 2xx; the ACK has been sent, unless the INVITE had no offer.
    Answered {
        /// The answer; the offer where the INVITE had none.
        sdp: Option<Bytes>,
        /// All header fields in order, names as sent.
        headers: Vec<(String, String)>,
    },
    /// A final error; 408 when nobody answered, 503 when the transport failed.
    Refused {
        /// 300 to 699.
        code: u16,
        /// Its reason phrase.
        reason: String,
        /// All header fields in order, names as sent; none where no answer came.
        headers: Vec<(String, String)>,
    },
    /// The final answer to our re-INVITE: 408 when none came, 491 when it could not be sent now.
    Changed {
        /// 200 to 699.
        code: u16,
        /// The answer to our offer.
        sdp: Option<Bytes>,
    },
    /// BYE from the peer, answered 200 by the leg.
    Bye {
        /// All header fields in order, names as sent.
        headers: Vec<(String, String)>,
    },
    /// re-INVITE or UPDATE with an offer: answer with `LegCommand::AnswerReinvite` or `RejectReinvite`.
    Reinvite {
        /// The offer; `None` asks us for one.
        sdp: Option<Bytes>,
    },
    /// The dialog is gone.
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_numbers_nor_keys_show_in_debug() {
        let headers = vec![("X-Session-Key".to_owned(), "secret".to_owned())];
        let invite = Invite { caller_number: "+1555".into(), headers: headers.clone(), ..Invite::default() };
        let answer = LegCommand::Answer { sdp: Bytes::new(), headers };
        let shown = format!("{invite:?} {answer:?}");
        assert!(shown.contains("X-Session-Key") && !shown.contains("secret") && !shown.contains("1555"), "{shown}");
    }
}
