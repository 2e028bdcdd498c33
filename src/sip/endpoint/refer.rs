//! REFER sent within a dialog and the reports of its implicit subscription (RFC 3515, 4488, 5589 section 6.1, 6665).

use super::command::{cseq_of, push_extra};
use super::leg::Phase;
use super::verdict::Refused;
use super::{Endpoint, Turn, words};
use crate::sip::leg::{HeaderPlace, LegEvent, LegId, Refer, Referral};
use crate::sip::message::{Inbound, Method, NoSipfrag, Params, Request, Response, Scheme, Uri, sipfrag_status};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The implicit subscription that our REFER makes. It begins with the REFER: NOTIFY may overtake the 2xx.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscription {
    /// CSeq of the REFER: the `id` of its Event.
    cseq: u32,
    /// The peer is known to try.
    accepted: bool,
}

impl Endpoint {
    /// Sends REFER. A leg that is leaving refers nobody any more.
    pub(super) fn refer(&mut self, turn: &mut Turn<'_>, id: LegId, refer: &Refer) {
        let branch = self.branch();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if !matches!(leg.phase, Phase::Established) {
            return;
        }
        let Ok(target) = Uri::parse_request(&refer.target) else {
            return self.emit(turn, id, LegEvent::Referral(Referral::Refused(416)));
        };
        let flow = leg.dialog.next_hop();
        let mut request = leg.dialog.request(Method::Refer);
        leg.subscription = Some(Subscription { cseq: cseq_of(&request.headers), accepted: false });
        let contact = words::contact_of(&self.settings, &flow, words::is_secure(&request));
        let (contact, refer_to) = match refer.place {
            HeaderPlace::Fields => (contact, target.as_str().to_owned()),
            HeaderPlace::Contact => {
                let uri = contact.trim_matches(['<', '>']);
                (format!("<{uri}{}>", uri_headers('?', &refer.headers)), target.as_str().to_owned())
            }
            HeaderPlace::ReferTo if target.scheme == Scheme::Tel => {
                (contact, format!("{target}{}", tel_params(&refer.headers)))
            }
            HeaderPlace::ReferTo => {
                let first = if target.as_str().contains('?') { '&' } else { '?' };
                (contact, format!("{target}{}", uri_headers(first, &refer.headers)))
            }
        };
        request.headers.push("Contact", &contact);
        request.headers.push("Refer-To", &format!("<{refer_to}>"));
        request.headers.push("Referred-By", &format!("<{}>", words::own_uri(&self.settings, &flow)));
        if refer.place == HeaderPlace::Fields {
            push_extra(&mut request.headers, &refer.headers);
        }
        self.send_request(turn, Some(id), request, flow, &branch);
    }

    /// The final answer to the REFER with this CSeq.
    pub(super) fn refer_answered(&mut self, turn: &mut Turn<'_>, id: LegId, cseq: u32, response: &Response) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        // None: the final NOTIFY was faster.
        let Some(subscription) = leg.subscription.as_mut().filter(|known| known.cseq == cseq) else { return };
        let told = std::mem::replace(&mut subscription.accepted, true);
        let unreported = response
            .headers
            .first("Refer-Sub")
            .is_some_and(|value| value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("false"));
        let referral = match response.code {
            300.. => Referral::Refused(response.code),
            _ if unreported => Referral::Unreported,
            _ if told => return,
            _ => return self.emit(turn, id, LegEvent::Referral(Referral::Accepted)),
        };
        leg.subscription = None;
        self.emit(turn, id, LegEvent::Referral(referral));
    }

    /// No answer came to the REFER; where reports came, they count.
    pub(super) fn refer_unanswered(&mut self, turn: &mut Turn<'_>, id: LegId, refer: &Request, code: u16) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let cseq = cseq_of(&refer.headers);
        if leg.subscription.take_if(|known| known.cseq == cseq && !known.accepted).is_some() {
            self.emit(turn, id, LegEvent::Referral(Referral::Refused(code)));
        }
    }

    /// NOTIFY within the dialog (RFC 6665 section 4.1.3): the peer reports on our REFER, or on nothing we asked for.
    pub(super) fn notified(&mut self, turn: &mut Turn<'_>, id: LegId, inbound: &Inbound) {
        let request = &inbound.request;
        let (package, params) = token_and_params(request.headers.first("Event").unwrap_or_default());
        if package != "refer" {
            let refused = Refused::new(489, "event").with("Allow-Events", "refer");
            return self.refuse_within(turn, id, inbound, &refused);
        }
        let of_another = |known: &Subscription| {
            params.value("id").is_some_and(|id| id.parse::<u32>().is_ok_and(|cseq| cseq != known.cseq))
        };
        let known = self.legs.get(&id).and_then(|leg| leg.subscription).filter(|known| !of_another(known));
        let Some(known) = known else {
            return self.refuse_within(turn, id, inbound, &Refused::new(481, "no_subscription"));
        };
        let status = match sipfrag_status(&request.headers, &request.body) {
            Ok(status) => status,
            Err(NoSipfrag::UnsupportedType) => {
                let refused = Refused::new(415, "content_type").with("Accept", words::ACCEPT_NOTIFY);
                return self.refuse_within(turn, id, inbound, &refused);
            }
            Err(NoSipfrag::Malformed) => {
                let phrase = "Bad Request: the body of NOTIFY has no status line".to_owned();
                return self.refuse(turn, inbound, &Refused { phrase, ..Refused::new(400, "sipfrag") });
            }
        };
        self.answer_within(turn, id, inbound, 200, &[]);
        let (state, _) = token_and_params(request.headers.first("Subscription-State").unwrap_or_default());
        tracing::debug!(status, state = %state.chars().take(32).collect::<String>(), "NOTIFY of a REFER");
        let referral = match status {
            // Some peers leave the subscription open behind the final status: it is no less final.
            Some(code @ 200..) => Referral::Tried(code),
            _ if state == "terminated" => Referral::Unfinished,
            _ if known.accepted => return,
            _ => Referral::Accepted,
        };
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.subscription = (referral == Referral::Accepted).then_some(Subscription { accepted: true, ..known });
        }
        self.emit(turn, id, LegEvent::Referral(referral));
    }
}

/// A token in lower case, and the parameters behind it; broken ones are none.
fn token_and_params(value: &str) -> (String, Params) {
    let (token, params) = Params::behind(value);
    (token.trim().to_ascii_lowercase(), Params::parse(params).unwrap_or_default())
}

/// Headers of a SIP URI (RFC 3261 section 19.1.1): `?A=b&C=d`.
fn uri_headers(first: char, headers: &[(String, String)]) -> String {
    let mut text = String::new();
    for (index, (name, value)) in headers.iter().enumerate() {
        text.push(if index == 0 { first } else { '&' });
        push_pair(&mut text, name, value);
    }
    text
}

/// Parameters of a tel URI (RFC 3966): `;A=b;C=d`.
fn tel_params(headers: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in headers {
        text.push(';');
        push_pair(&mut text, name, value);
    }
    text
}

fn push_pair(text: &mut String, name: &str, value: &str) {
    text.extend(utf8_percent_encode(name, ESCAPED));
    text.push('=');
    // An escaped CR LF is one again for whoever makes a header of it.
    let line: String = value.chars().filter(|c| !c.is_control()).collect();
    text.extend(utf8_percent_encode(&line, ESCAPED));
}

/// All but what RFC 3261 calls `unreserved`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_a_uri_cannot_break_out_of_it() {
        let headers =
            [("User-to-User".to_owned(), "6375;encoding=hex".to_owned()), ("X".to_owned(), "a b&c=ü>\r\n".to_owned())];
        assert_eq!(uri_headers('?', &headers), "?User-to-User=6375%3Bencoding%3Dhex&X=a%20b%26c%3D%C3%BC%3E");
        assert_eq!(tel_params(&headers[..1]), ";User-to-User=6375%3Bencoding%3Dhex");
        assert_eq!(uri_headers('?', &[]), "");
    }
}
