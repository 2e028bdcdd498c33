//! SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966); any other scheme is kept opaque.

use super::values::Params;
use std::fmt;
use std::net::IpAddr;

/// URI scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Anything else, lower case.
    Other(String),
}

/// A URI and its parts.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    text: String,
    /// Scheme.
    pub scheme: Scheme,
    /// User part as written, without password; for `tel:` the number.
    pub user: Option<String>,
    /// Host without brackets; empty for `tel:` and other schemes.
    pub host: String,
    /// Port.
    pub port: Option<u16>,
    /// Parameters.
    pub params: Params,
}

impl Uri {
    /// Reads a URI; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.contains(|c| cannot_stand_in_a_line(c) || matches!(c, '<' | '>' | '"')) {
            return Err("a URI holds white space, control characters, quotes or angle brackets");
        }
        let (scheme, rest) = text.split_once(':').ok_or("a URI has no scheme")?;
        let mut letters = scheme.bytes();
        let well_formed = letters.next().is_some_and(|b| b.is_ascii_alphabetic())
            && letters.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !well_formed {
            return Err("a URI has no scheme");
        }
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "sip" => Scheme::Sip,
            "sips" => Scheme::Sips,
            "tel" => Scheme::Tel,
            other => Scheme::Other(other.to_owned()),
        };
        let mut uri = Self {
            text: text.to_owned(),
            scheme,
            user: None,
            host: String::new(),
            port: None,
            params: Params::default(),
        };
        match uri.scheme {
            Scheme::Sip | Scheme::Sips => uri.read_sip(rest)?,
            Scheme::Tel => uri.read_tel(rest)?,
            Scheme::Other(_) => {}
        }
        Ok(uri)
    }

    /// Reads a Request-URI: one with an `@` must have a user in front of it.
    pub fn parse_request(text: &str) -> Result<Self, &'static str> {
        let uri = Self::parse(text)?;
        let sip = matches!(uri.scheme, Scheme::Sip | Scheme::Sips);
        if sip && uri.user.is_none() && uri.text.contains('@') {
            return Err("a SIP URI has an empty user part");
        }
        Ok(uri)
    }

    /// The URI as a Request-Line may have it: without headers and `method` (RFC 3261 section 19.1.1, table 1).
    #[must_use]
    pub fn to_request(&self) -> String {
        if !matches!(self.scheme, Scheme::Sip | Scheme::Sips) {
            return self.text.clone();
        }
        let (user_info, host_part) = match self.text.split_once('@') {
            Some((user_info, host_part)) => (format!("{user_info}@"), host_part),
            None => (String::new(), self.text.as_str()),
        };
        let host_part = host_part.split_once('?').map_or(host_part, |(before, _)| before);
        let mut parts = host_part.split(';');
        let mut text = user_info + parts.next().unwrap_or_default();
        for param in parts {
            let name = param.split_once('=').map_or(param, |(name, _)| name);
            if !name.eq_ignore_ascii_case("method") {
                text.push(';');
                text.push_str(param);
            }
        }
        text
    }

    fn read_sip(&mut self, rest: &str) -> Result<(), &'static str> {
        let host_part = match rest.split_once('@') {
            Some((user_info, host_part)) => {
                let user = user_info.split_once(':').map_or(user_info, |(user, _)| user);
                // Some gateways name a caller without a number so; only a Request-URI has to be right (`parse_request`).
                self.user = (!user.is_empty()).then(|| user.to_owned());
                host_part
            }
            None => rest,
        };
        let host_part = host_part.split_once('?').map_or(host_part, |(before, _)| before);
        let (host_port, params) = Params::behind(host_part);
        let (host, port) = host_and_port(host_port)?;
        self.host = host.to_owned();
        self.port = port;
        self.params = Params::parse(params)?;
        Ok(())
    }

    fn read_tel(&mut self, rest: &str) -> Result<(), &'static str> {
        let (number, params) = Params::behind(rest);
        if number.is_empty() {
            return Err("a tel URI has no number");
        }
        self.user = Some(number.to_owned());
        self.params = Params::parse(params)?;
        Ok(())
    }

    /// The URI as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host where it is an address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The telephone number or name in the user part: unescaped, without parameters (`sip:+1555;phone-context=x@h`), and for
    /// `tel:` without visual separators. An escape that would give a control character is left as written.
    #[must_use]
    pub fn number(&self) -> String {
        let user = self.user.as_deref().unwrap_or_default();
        let user = user.split_once(';').map_or(user, |(number, _)| number);
        let decoded = percent_encoding::percent_decode_str(user).decode_utf8().unwrap_or(user.into());
        let text = if decoded.chars().any(char::is_control) { user } else { &decoded };
        match self.scheme {
            Scheme::Tel => text.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect(),
            _ => text.to_owned(),
        }
    }

    /// Whether a proxy with this URI in a Route does loose routing (section 19.1.1).
    #[must_use]
    pub fn is_loose_router(&self) -> bool {
        self.params.contains("lr")
    }
}

/// What would end or part the line of a request.
pub(super) fn cannot_stand_in_a_line(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Uri {
    /// A URI mostly holds a number: only its scheme and host are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({:?} …@{})", self.scheme, self.host)
    }
}

/// `host[:port]`, IPv6 in brackets; white space around the colon is allowed as in Via.
pub(super) fn host_and_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let text = text.trim();
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("an IPv6 address has no closing bracket")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("an IPv6 address is malformed");
        }
        let rest = rest.trim();
        if rest.is_empty() {
            (host, None)
        } else {
            (host, Some(rest.strip_prefix(':').ok_or("a host is followed by something other than a port")?))
        }
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host.trim_end(), Some(port)),
            None => (text, None),
        };
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            return Err("a host name is malformed");
        }
        (host, port)
    };
    let port = match port.map(str::trim) {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| "a port is out of range")?)
        }
        Some(_) => return Err("a port is not a number"),
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_sip_uris_are_found() {
        let uri = Uri::parse("sips:alice:secret@[2001:db8::9]:5071;transport=tcp;lr?X=1").unwrap();
        assert_eq!(uri.scheme, Scheme::Sips);
        assert_eq!(uri.user.as_deref(), Some("alice"));
        assert_eq!((uri.host.as_str(), uri.port), ("2001:db8::9", Some(5071)));
        assert_eq!(uri.params.value("Transport"), Some("tcp"));
        assert!(uri.is_loose_router());
        let odd = "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com";
        assert_eq!(Uri::parse(odd).unwrap().host, "example.com");
        let semi = Uri::parse("sip:user;par=u%40example.net@example.com").unwrap();
        assert_eq!((semi.number().as_str(), semi.host.as_str()), ("user", "example.com"));
        assert_eq!(Uri::parse("sip:gw.example.com").unwrap().user, None);
    }

    #[test]
    fn numbers_are_read_from_sip_and_tel() {
        for (text, number) in [
            ("tel:+1-(888)-234.6789;phone-context=x", "+18882346789"),
            ("sip:%2B18882346789@h", "+18882346789"),
            ("sip:+1888;npdi;rn=+1777@h;user=phone", "+1888"),
            ("sip:null-%00-null@h", "null-%00-null"),
            ("sip:a%0d%0ab@h", "a%0d%0ab"),
            ("sip:host", ""),
        ] {
            assert_eq!(Uri::parse(text).unwrap().number(), number, "{text}");
        }
    }

    #[test]
    fn an_empty_user_is_none_and_wrong_in_a_request_line_only() {
        for text in ["sip:@10.1.1.1", "sip::secret@10.1.1.1"] {
            let uri = Uri::parse(text).unwrap();
            assert_eq!((uri.user.as_deref(), uri.number().as_str(), uri.host.as_str()), (None, "", "10.1.1.1"));
            assert!(Uri::parse_request(text).is_err(), "{text}");
        }
        for text in ["sip:h", "sip:u@h", "tel:+1555", "mailto:@h"] {
            assert!(Uri::parse_request(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_request_line_has_no_headers_and_no_method() {
        for (text, request) in [
            ("sip:a@h:5080;transport=tcp;METHOD=INVITE;lr?Subject=x&Route=y", "sip:a@h:5080;transport=tcp;lr"),
            ("sips:a?b;method=c@h;methods=x;method", "sips:a?b;method=c@h;methods=x"),
            ("sip:h?x=y", "sip:h"),
            ("sip:[::1]:5060", "sip:[::1]:5060"),
            ("tel:+1555;phone-context=x", "tel:+1555;phone-context=x"),
        ] {
            assert_eq!(Uri::parse(text).unwrap().to_request(), request);
        }
    }

    #[test]
    fn malformed_uris_are_refused_and_foreign_schemes_kept() {
        for text in [
            "",
            "user@host",
            ":x",
            "sip:",
            "sip:@",
            "sip:u@",
            "sip:u@h:65536",
            "sip:u@h:x",
            "sip:u@[::1",
            "sip:u@h;;x",
            "<sip:u@h>",
            "sip:u@h; lr",
            "tel:",
            "sip:u@h\u{1}",
            "sip:u@h;x=\u{9a}",
            "mailto:a\u{a0}b",
        ] {
            assert!(Uri::parse(text).is_err(), "{text}");
        }
        let other = Uri::parse("soap.beep://192.0.2.103:3002").unwrap();
        assert_eq!(other.scheme, Scheme::Other("soap.beep".into()));
        assert_eq!(other.as_str(), "soap.beep://192.0.2.103:3002");
    }
}
