//! What is wrong with a request that could be read: the checks of RFC 3261 section 8.2, in its order.

use super::words;
use crate::sip::admission::Refusal;
use crate::sip::message::{Headers, NoDescription, Request, Scheme, Uri, session_description};
use crate::sip::session_timer::{MIN_SE, SessionTimer};
use crate::sip::settings::Settings;
use bytes::Bytes;

/// Header fields to put into an answer.
pub(super) type Extra = Vec<(&'static str, String)>;

/// A refusal.
#[derive(Debug)]
pub(super) struct Refused {
    /// Status.
    pub(super) code: u16,
    /// Reason phrase; empty takes the registered one.
    pub(super) phrase: String,
    /// The metric's label.
    pub(super) reason: &'static str,
    /// What the peer can learn from it.
    pub(super) headers: Extra,
}

impl Refused {
    pub(super) fn new(code: u16, reason: &'static str) -> Self {
        Self { code, phrase: String::new(), reason, headers: Vec::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn method(code: u16) -> Self {
        Self::new(code, "method").with("Allow", words::ALLOW)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let refused = Self::new(refusal.code(), refusal.reason());
        match refusal.retry_after() {
            Some(seconds) => refused.with("Retry-After", seconds.to_string()),
            None => refused,
        }
    }
}

/// Of any request outside a dialog: Request-URI, then extensions.
pub(super) fn check(request: &Request, settings: &Settings) -> Result<(), Refused> {
    match Uri::parse_request(&request.uri).map(|uri| uri.scheme) {
        Err(what) => {
            let phrase = format!("Bad Request: Request-URI: {what}");
            Err(Refused { phrase, ..Refused::new(400, "request_uri") })
        }
        Ok(Scheme::Other(_)) => Err(Refused::new(416, "uri_scheme")),
        Ok(Scheme::Sip | Scheme::Sips | Scheme::Tel) => check_extensions(request, settings),
    }
}

/// Extensions that the peer requires and we do not have (section 8.2.2.3).
pub(super) fn check_extensions(request: &Request, settings: &Settings) -> Result<(), Refused> {
    let mut unknown = request.headers.list("Require");
    unknown.retain(|tag| !words::supported(settings).iter().any(|known| known.eq_ignore_ascii_case(tag)));
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(Refused::new(420, "extension").with("Unsupported", unknown.join(", ")))
    }
}

/// The offer in an INVITE or UPDATE; `None` is a late one.
pub(super) fn offer(request: &Request) -> Result<Option<Bytes>, Refused> {
    let headers = &request.headers;
    let takes_sdp = |range: &&str| {
        let range: String = range.chars().take_while(|c| *c != ';').filter(|c| !c.is_whitespace()).collect();
        ["application/sdp", "application/*", "*/*"].iter().any(|ours| range.eq_ignore_ascii_case(ours))
    };
    if headers.count("Accept") > 0 && !headers.list("Accept").iter().any(takes_sdp) {
        return Err(Refused::new(406, "accept").with("Accept", words::ACCEPT));
    }
    if request.body.len() > MAX_DESCRIPTION {
        return Err(Refused::new(413, "body"));
    }
    session_description(headers, &request.body).map_err(|why| match why {
        NoDescription::UnsupportedType => Refused::new(415, "content_type").with("Accept", words::ACCEPT),
        NoDescription::Encoded => Refused::new(415, "content_encoding").with("Accept-Encoding", "identity"),
    })
}

/// The session timer that a request asks for (RFC 4028 section 9).
pub(super) fn session_timer(request: &Request, settings: &Settings) -> Result<Option<SessionTimer>, Refused> {
    SessionTimer::asked(&request.headers, settings.session_expires)
        .map_err(|_| Refused::new(422, "session_timer").with("Min-SE", MIN_SE.as_secs().to_string()))
}

/// Whether a peer knows UPDATE, where it says so (Allow); `None` where it says nothing.
pub(super) fn allows_update(headers: &Headers) -> Option<bool> {
    (headers.count("Allow") > 0).then(|| headers.list("Allow").contains(&"UPDATE"))
}

/// What a 200 to OPTIONS tells.
pub(super) fn capabilities(settings: &Settings) -> Extra {
    vec![
        ("Allow", words::ALLOW.to_owned()),
        ("Accept", words::ACCEPT.to_owned()),
        ("Accept-Encoding", "identity".to_owned()),
        ("Accept-Language", "en".to_owned()),
        ("Supported", words::supported(settings).join(", ")),
    ]
}

/// Longest body of an INVITE or UPDATE: descriptions of a few kilobytes exist.
const MAX_DESCRIPTION: usize = 16_384;
