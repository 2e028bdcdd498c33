//! Typed views of header values: name-addr with parameters, Via, CSeq (RFC 3261 sections 20.10, 20.16, 20.42, 25.1).

use super::headers::is_token;
use super::method::Method;
use super::uri::{Uri, host_and_port};
use std::net::IpAddr;

/// `;name=value` parameters in order, names as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    list: Vec<(String, Option<String>)>,
}

/// From, To, Contact, Route, Record-Route, P-Asserted-Identity: a URI, perhaps with a name and parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// Display name, unquoted and unescaped; empty where there is none.
    pub display: String,
    /// The URI.
    pub uri: Uri,
    /// Parameters of the header, not of the URI.
    pub params: Params,
}

/// One Via value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Transport token as written (`UDP`, `TCP`, `TLS`, anything).
    pub transport: String,
    /// Host of sent-by, without brackets.
    pub host: String,
    /// Port of sent-by.
    pub port: Option<u16>,
    /// Parameters.
    pub params: Params,
}

/// CSeq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Sequence number.
    pub number: u32,
    /// Method.
    pub method: Method,
}

impl Params {
    /// Reads `;a=b;c`; empty text gives none, an empty parameter is an error.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut list = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            rest = rest.strip_prefix(';').ok_or("parameters are not separated by semicolons")?;
            let end = unquoted(rest, b';').ok_or("a quoted string does not end")?;
            let (one, after) = rest.split_at(end);
            rest = after;
            let (name, value) = match one.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (one.trim(), None),
            };
            if name.is_empty() {
                return Err("a parameter is empty");
            }
            list.push((name.to_owned(), value.map(str::to_owned)));
        }
        Ok(Self { list })
    }

    /// What stands in front of the first semicolon, and the parameters from there on, to be read.
    pub(crate) fn behind(text: &str) -> (&str, &str) {
        text.split_at(text.find(';').unwrap_or(text.len()))
    }

    /// Whether `name` is there, with or without a value.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.list.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }

    /// The value of `name`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).and_then(|(_, v)| v.as_deref())
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.list.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }
}

impl NameAddr {
    /// Reads one value. White space inside the angle brackets and unquoted names are forgiven (RFC 4475 3.1.2.14, 3.1.2.15).
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let open = unquoted(text, b'<').ok_or("a quoted string does not end")?;
        if open == text.len() {
            // addr-spec: without brackets every parameter, and anything behind `?`, belongs to the header.
            let end = text.find([';', '?']).unwrap_or(text.len());
            let (uri, params) = text.split_at(end);
            return Ok(Self { display: String::new(), uri: Uri::parse(uri)?, params: Params::parse(params)? });
        }
        let (display, rest) = text.split_at(open);
        let (uri, params) =
            rest.get(1..).and_then(|rest| rest.split_once('>')).ok_or("an angle bracket is not closed")?;
        Ok(Self { display: unquote(display.trim()), uri: Uri::parse(uri)?, params: Params::parse(params)? })
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.params.value("tag").filter(|tag| !tag.is_empty())
    }
}

impl Via {
    /// Reads one value; any SIP version and transport will do.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (protocol, rest) = text.split_once('/').ok_or("Via names no protocol")?;
        let (version, rest) = rest.split_once('/').ok_or("Via names no transport")?;
        let rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).ok_or("Via has no sent-by")?;
        let (transport, rest) = rest.split_at(end);
        if ![protocol.trim(), version.trim(), transport].into_iter().all(is_token) {
            return Err("Via names no protocol");
        }
        let (sent_by, params) = Params::behind(rest);
        let (host, port) = host_and_port(sent_by)?;
        Ok(Self { transport: transport.to_owned(), host: host.to_owned(), port, params: Params::parse(params)? })
    }

    /// The branch.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.params.value("branch")
    }

    /// The branch where it is unique as RFC 3261 promises: with the magic cookie and something behind it.
    #[must_use]
    pub fn unique_branch(&self) -> Option<&str> {
        self.branch()
            .filter(|b| b.len() > COOKIE.len() && b.get(..COOKIE.len()).is_some_and(|c| c.eq_ignore_ascii_case(COOKIE)))
    }

    /// The host of sent-by where it is an address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The value with `received` and `rport` as we saw them (RFC 3261 section 18.2.1, RFC 3581 section 4); what the peer wrote
    /// there itself is not believed.
    #[must_use]
    pub fn marked(&self, seen: std::net::SocketAddr) -> String {
        let mut text = self.head();
        let mut rport = false;
        for (name, value) in self.params.iter() {
            if name.eq_ignore_ascii_case("rport") {
                rport = true;
            } else if !name.eq_ignore_ascii_case("received") {
                text.push(';');
                text.push_str(name);
                if let Some(value) = value {
                    text.push('=');
                    text.push_str(value);
                }
            }
        }
        let ip = seen.ip().to_canonical();
        if rport || self.ip() != Some(ip) {
            text.push_str(&format!(";received={ip}"));
        }
        if rport {
            text.push_str(&format!(";rport={}", seen.port()));
        }
        text
    }

    fn head(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        if self.host.contains(':') {
            format!("SIP/2.0/{} [{}]{port}", self.transport, self.host)
        } else {
            format!("SIP/2.0/{} {}{port}", self.transport, self.host)
        }
    }
}

impl CSeq {
    /// Reads `4711 INVITE`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (number, method) = text.trim().split_once(char::is_whitespace).ok_or("CSeq has no method")?;
        let method = method.trim();
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err("CSeq is not a number");
        }
        let number = number.parse().map_err(|_| "CSeq is out of range")?;
        if !is_token(method) {
            return Err("CSeq has no method");
        }
        Ok(Self { number, method: Method::new(method) })
    }
}

/// Splits a list at commas that stand outside quotes and angle brackets; `None` when a quote does not end.
#[must_use]
pub fn split_list(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let end = unquoted(rest, b',')?;
        let (part, after) = rest.split_at(end);
        parts.push(part.trim());
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Some(parts),
        }
    }
}

/// Where `wanted` first stands outside quoted strings (and, unless it is `<`, outside angle brackets), or the length; `None`
/// when a quoted string does not end.
fn unquoted(text: &str, wanted: u8) -> Option<usize> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !bracketed => quoted = !quoted,
            _ if quoted => {}
            b if b == wanted && !bracketed => return Some(index),
            b'<' => bracketed = true,
            b'>' => bracketed = false,
            _ => {}
        }
    }
    (!quoted).then_some(text.len())
}

/// A quoted string's content, escapes undone; other text as it is.
fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else { return text.to_owned() };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        plain.push(if c == '\\' { characters.next().unwrap_or(c) } else { c });
    }
    plain
}

/// RFC 3261 section 8.1.1.7.
pub(crate) const COOKIE: &str = "z9hG4bK";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_tags_are_read() {
        for (text, display, uri, tag) in [
            ("sip:a@h;tag=1", "", "sip:a@h", Some("1")),
            ("<sip:a@h;x=y>;tag=2", "", "sip:a@h;x=y", Some("2")),
            (r#""J \"R\" <x>, y" <sip:a@h>  ;  tag = 3"#, r#"J "R" <x>, y"#, "sip:a@h", Some("3")),
            ("caller<sip:a@h>", "caller", "sip:a@h", None),
            ("Bell, Alexander <sip:a@h>;tag=43", "Bell, Alexander", "sip:a@h", Some("43")),
            (r#""W" < sip:a@h >"#, "W", "sip:a@h", None),
            ("<tel:+1555>;tag=", "", "tel:+1555", None),
            (r#"x <sip:a@h>;p="a;b";tag=_~1'"#, "x", "sip:a@h", Some("_~1'")),
        ] {
            let read = NameAddr::parse(text).unwrap();
            assert_eq!((read.display.as_str(), read.uri.as_str(), read.tag()), (display, uri, tag), "{text}");
        }
        for text in ["", "\"open <sip:a@h>", "<sip:a@h", "<sip:a@h>;;tag=1", "<sip:a@h>x", "joe", "sip:u@h?Route=x"] {
            assert!(NameAddr::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn via_is_read_however_it_is_spaced_and_marked_with_what_we_saw() {
        let via =
            Via::parse("SIP  / 2.0  / TCP     spindle.example.com : 99  ;  branch  =   z9hG4bK9ikj8 ; rport").unwrap();
        assert_eq!((via.transport.as_str(), via.host.as_str(), via.port), ("TCP", "spindle.example.com", Some(99)));
        assert_eq!(via.unique_branch(), Some("z9hG4bK9ikj8"));
        assert_eq!(
            via.marked("192.0.2.7:4444".parse().unwrap()),
            "SIP/2.0/TCP spindle.example.com:99;branch=z9hG4bK9ikj8;received=192.0.2.7;rport=4444"
        );
        let six = Via::parse("SIP/2.0/UDP [2001:db8::9]:5070;branch=z9hG4bK;received=6.6.6.6").unwrap();
        assert_eq!(six.unique_branch(), None);
        assert_eq!(six.marked("[2001:db8::9]:5070".parse().unwrap()), "SIP/2.0/UDP [2001:db8::9]:5070;branch=z9hG4bK");
        for text in
            ["", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/UDP 192.0.2.15;;,;,,", "SIP/2.0/UDP h:99999", "nonsense h"]
        {
            assert!(Via::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cseq_stays_in_range() {
        assert_eq!(CSeq::parse("0009   INVITE").unwrap(), CSeq { number: 9, method: Method::Invite });
        for text in ["", "9", "9 ", "x INVITE", "-1 INVITE", "36893488147419103232 REGISTER", "1 IN VITE"] {
            assert!(CSeq::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_split_outside_quotes_and_brackets() {
        assert_eq!(
            split_list(r#"<sip:a,b@h>, "x, \"y" <sip:c@h> ,d"#).unwrap(),
            ["<sip:a,b@h>", r#""x, \"y" <sip:c@h>"#, "d"]
        );
        assert_eq!(split_list("\"open, a"), None);
    }
}
