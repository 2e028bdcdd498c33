//! What the endpoint writes into its messages: answers made from requests (RFC 3261 section 8.2.6), and what it says of itself.

use crate::sip::message::{
    Field, Headers, Inbound, NameAddr, Request, Response, Scheme, Via, reason_phrase, response_flow, split_list,
};
use crate::sip::session_timer;
use crate::sip::settings::Settings;
use crate::sip::transport::{Flow, Transport};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

/// What of a request its answers need, and where they go.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// Via, From, To, Call-ID, CSeq as they came, Via marked.
    base: Headers,
    /// Record-Route, for answers that make a dialog.
    record_route: Vec<Field>,
    timestamp: Option<Field>,
    tagged: bool,
    /// The dialog is a `sips:` one: Contact must be too.
    pub(crate) secure: bool,
    pub(crate) flow: Flow,
}

impl Template {
    /// Of a request whose essential fields are right.
    pub(crate) fn new(inbound: &Inbound) -> Self {
        Self::salvage(&inbound.request, inbound.flow)
    }

    /// Of whatever could be read: RFC 3261 wants even a malformed request answered where that can be done.
    pub(crate) fn salvage(request: &Request, flow: Flow) -> Self {
        let headers = &request.headers;
        let mut base = Headers::default();
        let mut top = None;
        for (index, field) in headers.fields_of("Via").enumerate() {
            let via = (index == 0).then(|| split_list(&field.value)).flatten();
            match via.as_deref().and_then(|values| values.split_first()) {
                Some((first, others)) if let Ok(via) = Via::parse(first) => {
                    let marked = std::iter::once(via.marked(flow.remote)).chain(others.iter().map(|v| (*v).to_owned()));
                    base.push("Via", &marked.collect::<Vec<_>>().join(", "));
                    top = Some(via);
                }
                _ => base.push_named("Via", field),
            }
        }
        for name in ["From", "To", "Call-ID", "CSeq"] {
            for field in headers.fields_of(name).take(1) {
                base.push_named(name, field);
            }
        }
        let to = headers.first("To").unwrap_or_default();
        // Without a To there is nowhere to put a tag.
        let tagged = to.is_empty() || NameAddr::parse(to).map_or(to.contains("tag"), |to| to.params.contains("tag"));
        Self {
            base,
            record_route: headers.fields_of("Record-Route").cloned().collect(),
            timestamp: headers.fields_of("Timestamp").next().cloned(),
            tagged,
            secure: is_secure(request),
            flow: response_flow(top.as_ref(), flow),
        }
    }

    /// Whether there is a way back at all.
    pub(crate) fn is_answerable(&self) -> bool {
        self.base.first("Via").is_some()
    }

    /// An answer; `reason` empty takes the registered phrase, `tag` is put into To unless the request had one there.
    pub(crate) fn response(&self, code: u16, reason: &str, tag: Option<&str>) -> Response {
        let mut headers = Headers::default();
        for field in self.base.iter() {
            match tag {
                Some(tag) if field.name == "To" && !self.tagged => headers.push_suffixed(field, &format!(";tag={tag}")),
                _ => headers.push_field(field),
            }
        }
        if code == 100
            && let Some(timestamp) = &self.timestamp
        {
            headers.push_named("Timestamp", timestamp);
        }
        let reason = if reason.is_empty() { reason_phrase(code) } else { reason };
        Response { code, reason: reason.to_owned(), headers, body: Bytes::new() }
    }

    /// The same with Record-Route, for 101 to 299 to INVITE.
    pub(crate) fn dialog_response(&self, code: u16, tag: &str) -> Response {
        let mut response = self.response(code, "", Some(tag));
        for field in &self.record_route {
            response.headers.push_named("Record-Route", field);
        }
        response
    }
}

/// Our address for this flow, as peers shall write it.
pub(crate) fn advertised(settings: &Settings, flow: &Flow) -> SocketAddr {
    match settings.public_address {
        Some(ip) if ip.is_ipv4() == flow.local.is_ipv4() => SocketAddr::new(ip, flow.local.port()),
        _ => flow.local,
    }
}

/// Our Contact. `transport=tls` is deprecated (RFC 3261 section 26.2.2) and what every trunk writes and reads: `sips:` would ask
/// each hop behind us for TLS too (RFC 5630 section 3.1.3), so that it is only said where the peer began with it.
pub(crate) fn contact_of(settings: &Settings, flow: &Flow, secure: bool) -> String {
    let address = advertised(settings, flow);
    match flow.transport {
        _ if secure => format!("<sips:{USER}@{address}>"),
        Transport::Udp => format!("<sip:{USER}@{address}>"),
        other => format!("<sip:{USER}@{address};transport={other}>"),
    }
}

/// Whether a request that makes a dialog makes a `sips:` one (RFC 3261 section 12.1.1): by its Request-URI, and by the way that our
/// own requests will go.
pub(crate) fn is_secure(request: &Request) -> bool {
    let is_sips = |uri: &str| uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"));
    let first = |name| {
        let list = request.headers.list(name);
        list.first().and_then(|value| NameAddr::parse(value).ok()).map(|value| value.uri.scheme == Scheme::Sips)
    };
    is_sips(&request.uri) || first("Record-Route").or_else(|| first("Contact")).unwrap_or_default()
}

/// Our Via.
pub(crate) fn via_of(settings: &Settings, flow: &Flow, branch: &str) -> String {
    format!("SIP/2.0/{} {};rport;branch={branch}", flow.transport.as_via(), advertised(settings, flow))
}

/// A URI of ours for From.
pub(crate) fn own_uri(settings: &Settings, flow: &Flow) -> String {
    let address = advertised(settings, flow);
    match address.ip() {
        IpAddr::V4(ip) => format!("sip:{USER}@{ip}"),
        IpAddr::V6(ip) => format!("sip:{USER}@[{ip}]"),
    }
}

/// What we understand, said truthfully.
pub(crate) fn push_capabilities(settings: &Settings, headers: &mut Headers) {
    headers.push("Allow", ALLOW);
    headers.push("Supported", &supported(settings).join(", "));
}

/// Why, where nobody has said so yet (RFC 3326).
pub(crate) fn push_reason(headers: &mut Headers, reason: &str) {
    if headers.count("Reason") == 0 {
        headers.push("Reason", reason);
    }
}

/// Option tags (RFC 3261 section 19.2) that may stand in Require.
pub(crate) fn supported(settings: &Settings) -> &'static [&'static str] {
    if settings.session_expires.is_zero() { &[RELIABLE] } else { &[RELIABLE, session_timer::OPTION_TAG] }
}

pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, NOTIFY";
/// Reason of a BYE that needs none.
pub(crate) const NORMAL_CLEARING: &str = "Q.850;cause=16;text=\"normal call clearing\"";
/// RFC 3262's option tag.
pub(crate) const RELIABLE: &str = "100rel";
pub(crate) const ACCEPT: &str = "application/sdp";
pub(crate) const ACCEPT_INFO: &str = "application/dtmf-relay, application/dtmf";
pub(crate) const ACCEPT_NOTIFY: &str = "message/sipfrag";
pub(crate) const SERVER: &str = concat!("voice-gateway/", env!("CARGO_PKG_VERSION"));
const USER: &str = "voice-gateway";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Method;

    fn flow() -> Flow {
        Flow {
            transport: Transport::Udp,
            socket: 0,
            connection: 0,
            local: "127.0.0.1:5060".parse().unwrap(),
            remote: "192.0.2.9:40000".parse().unwrap(),
        }
    }

    fn request(fields: &[(&str, &str)]) -> Request {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name, value);
        }
        Request { method: Method::Invite, uri: "sip:a@h".into(), headers, body: Bytes::new() }
    }

    #[test]
    fn an_answer_carries_every_via_and_our_tag_once() {
        let request = request(&[
            ("v", "SIP/2.0/UDP a;branch=z9hG4bK1;rport, SIP/2.0/TCP b"),
            ("Via", "SIP/2.0/TCP c;received=6.6.6.6"),
            ("f", "sip:a@h;tag=1"),
            ("t", "<sip:b@h>"),
            ("i", "c"),
            ("CSeq", "1 INVITE"),
            ("Record-Route", "<sip:p;lr>"),
            ("Timestamp", "5"),
        ]);
        let template = Template::salvage(&request, flow());
        let answer = template.dialog_response(180, "us");
        assert_eq!(
            answer.headers.list("Via"),
            [
                "SIP/2.0/UDP a;branch=z9hG4bK1;received=192.0.2.9;rport=40000",
                "SIP/2.0/TCP b",
                "SIP/2.0/TCP c;received=6.6.6.6"
            ]
        );
        assert_eq!(answer.headers.first("To"), Some("<sip:b@h>;tag=us"));
        assert_eq!(answer.headers.first("Record-Route"), Some("<sip:p;lr>"));
        let trying = template.response(100, "", None);
        assert_eq!((trying.headers.first("To"), trying.headers.first("Timestamp")), (Some("<sip:b@h>"), Some("5")));
    }

    #[test]
    fn a_dialog_is_secure_when_the_peer_says_sips() {
        let secure = |uri: &str, fields: &[(&str, &str)]| is_secure(&Request { uri: uri.into(), ..request(fields) });
        let (plain, sips) = (("Contact", "<sip:a@h;transport=tls>"), ("Contact", "<sips:a@h>"));
        assert!(secure("SIPS:b@h", &[plain]) && secure("sip:b@h", &[sips]));
        assert!(!secure("sip:b@h", &[plain]) && !secure("sip:b@h", &[]));
        assert!(secure("sip:b@h", &[("Record-Route", "<sips:p;lr>"), plain]));
        assert!(
            !secure("sip:b@h", &[("Record-Route", "<sip:p;lr>"), sips]),
            "the top Record-Route decides where there is one"
        );
    }

    #[test]
    fn a_public_address_is_written_where_the_family_fits() {
        let settings = Settings { public_address: Some("203.0.113.5".parse().unwrap()), ..Settings::default() };
        assert_eq!(contact_of(&settings, &flow(), false), "<sip:voice-gateway@203.0.113.5:5060>");
        let six = Flow { transport: Transport::Tcp, local: "[::1]:5070".parse().unwrap(), ..flow() };
        assert_eq!(contact_of(&settings, &six, false), "<sip:voice-gateway@[::1]:5070;transport=tcp>");
        let tls = Flow { transport: Transport::Tls, ..six };
        assert_eq!(contact_of(&settings, &tls, false), "<sip:voice-gateway@[::1]:5070;transport=tls>");
        assert_eq!(contact_of(&settings, &tls, true), "<sips:voice-gateway@[::1]:5070>");
        assert_eq!(via_of(&settings, &six, "z9hG4bKx"), "SIP/2.0/TCP [::1]:5070;rport;branch=z9hG4bKx");
    }
}
