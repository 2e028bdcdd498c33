//! What of a message may be shown. Header fields are shown by a list of those that hold neither numbers nor secrets; of addresses the
//! user parts are masked; what is not known is named and not shown.

use crate::sip::message::split_list;

/// How much is shown. By default: no secret, no number.
#[derive(Clone, Debug, Default)]
pub struct Disclosure {
    /// Numbers and unknown header fields too. Secrets stay hidden.
    pub everything: bool,
    /// Header fields that are shown besides the known ones.
    pub shown: Vec<String>,
    /// Header fields that never are.
    pub secret: Vec<String>,
}

impl Disclosure {
    /// A start line with its Request-URI masked.
    pub(super) fn start_line(&self, line: &str) -> String {
        if line.starts_with("SIP/") {
            return self.text(line);
        }
        match line.split_once(' ').and_then(|(method, rest)| Some((method, rest.rsplit_once(' ')?))) {
            Some((method, (uri, version))) => format!("{method} {} {version}", self.uri(uri.trim())),
            None => HIDDEN.to_owned(),
        }
    }

    /// The value of a header field.
    #[must_use]
    pub fn value(&self, name: &str, value: &str) -> String {
        let among = |list: &[&str]| list.iter().any(|one| same(one, name));
        let listed = |list: &[String]| list.iter().any(|one| same(one, name));
        if among(&SECRET) || listed(&self.secret) {
            HIDDEN.to_owned()
        } else if among(&ADDRESSES) {
            let masked =
                |values: Vec<&str>| values.into_iter().map(|one| self.address(one)).collect::<Vec<_>>().join(", ");
            split_list(value).map_or_else(|| HIDDEN.to_owned(), masked)
        } else if among(&TEXTS) {
            self.text(value)
        } else if self.everything || among(&KNOWN) || listed(&self.shown) {
            value.to_owned()
        } else {
            HIDDEN.to_owned()
        }
    }

    /// A line of a session description (RFC 8866): its keys (RFC 4568) and the ways to reach a person are taken out.
    pub(super) fn description_line(&self, line: &str) -> String {
        let hidden = |kept: &str| format!("{kept}{HIDDEN}");
        if line.split_at_checked(CRYPTO.len()).is_some_and(|(start, _)| start.eq_ignore_ascii_case(CRYPTO)) {
            return hidden(CRYPTO);
        }
        match line.get(..2) {
            Some(kind @ "k=") => hidden(kind),
            Some(kind @ ("s=" | "i=" | "u=" | "e=" | "p=")) if !self.everything => hidden(kind),
            _ => line.to_owned(),
        }
    }

    /// name-addr or addr-spec with parameters. The header fields inside a URI are never shown: REFER carries keys there.
    fn address(&self, value: &str) -> String {
        let value = value.trim();
        let Some((name, rest)) = split_outside_quotes(value, '<') else {
            let (uri, parameters) = value.split_once(';').unwrap_or((value, ""));
            return format!("{}{}", self.uri(uri), self.parameters(parameters));
        };
        let Some((uri, parameters)) = rest.split_once('>') else { return HIDDEN.to_owned() };
        let name = match name.trim() {
            "" => String::new(),
            name if self.everything => format!("{name} "),
            _ => format!("\"{HIDDEN}\" "),
        };
        format!("{name}<{}>{}", self.uri(uri), self.parameters(parameters.trim_start_matches(';')))
    }

    fn uri(&self, uri: &str) -> String {
        let (uri, fields) = uri.split_once('?').map_or((uri, String::new()), |(uri, _)| (uri, format!("?{HIDDEN}")));
        if self.everything {
            return format!("{uri}{fields}");
        }
        let Some((scheme, rest)) = uri.split_once(':') else { return if uri == "*" { uri } else { HIDDEN }.to_owned() };
        let shown = match rest.rsplit_once('@') {
            Some((user, host)) => format!("{}@{}", masked(user), digits_masked(host)),
            None if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") => digits_masked(rest),
            None => masked(rest),
        };
        format!("{scheme}:{shown}{fields}")
    }

    fn parameters(&self, parameters: &str) -> String {
        let shown = |parameter: &str| {
            let plain = self.everything || parameter.trim_start().to_ascii_lowercase().starts_with("tag=");
            if plain { parameter.to_owned() } else { digits_masked(parameter) }
        };
        parameters.split(';').filter(|one| !one.is_empty()).map(|one| format!(";{}", shown(one))).collect()
    }

    /// Text for people, which may name a number.
    fn text(&self, text: &str) -> String {
        if self.everything { text.to_owned() } else { digits_masked(text) }
    }
}

/// Splits at the first `at` that is in no quoted string.
fn split_outside_quotes(text: &str, at: char) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == at && !quoted => {
                return text.split_at_checked(index).map(|(a, b)| (a, b.get(c.len_utf8()..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    None
}

/// A user part or number: all but its last two characters.
fn masked(user: &str) -> String {
    // Extensions of three or four digits name nobody; the other is our own.
    if user.len() <= 4 || user == "voice-gateway" {
        return user.to_owned();
    }
    let length = user.chars().count();
    let shown = |(index, c): (usize, char)| if index + 2 < length && c.is_alphanumeric() { '*' } else { c };
    user.chars().enumerate().map(shown).collect()
}

/// Runs of digits that are long enough for a telephone number.
fn digits_masked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut run = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            run.push(c);
            continue;
        }
        shown.push_str(&if run.len() >= NUMBER { masked(&run) } else { std::mem::take(&mut run) });
        run.clear();
        if c != '\0' {
            shown.push(c);
        }
    }
    shown
}

fn same(a: &str, b: &str) -> bool {
    crate::sip::message::same_name(a, b)
}

/// What stands for what is not shown.
const HIDDEN: &str = "…";
const CRYPTO: &str = "a=crypto:";
/// Digits of the shortest number that is masked in free text: above a port, an extension and a year.
const NUMBER: usize = 6;
/// Credentials, and what carries the session key to another system.
const SECRET: [&str; 4] =
    ["Authorization", "Proxy-Authorization", "User-to-User", "X-Watson-Assistant-Session-History-Key"];
const ADDRESSES: [&str; 13] = [
    "From",
    "To",
    "Contact",
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "P-Called-Party-ID",
    "Remote-Party-ID",
    "Diversion",
    "History-Info",
    "Refer-To",
    "Referred-By",
    "Route",
    "Record-Route",
];
const TEXTS: [&str; 2] = ["Reason", "Warning"];
const KNOWN: [&str; 36] = [
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Allow",
    "Allow-Events",
    "Call-ID",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "CSeq",
    "Date",
    "Event",
    "Expires",
    "Max-Forwards",
    "MIME-Version",
    "Min-Expires",
    "Min-SE",
    "P-Early-Media",
    "Priority",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Require",
    "RAck",
    "Require",
    "Retry-After",
    "RSeq",
    "Server",
    "Session-Expires",
    "Subscription-State",
    "Supported",
    "Timestamp",
    "Unsupported",
    "User-Agent",
    "Via",
    "WWW-Authenticate",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, value: &str) -> String {
        let disclosure = Disclosure {
            everything: false,
            shown: vec!["X-ContactID".to_owned()],
            secret: vec!["X-Session-Key".to_owned(), "X-Secret".to_owned()],
        };
        disclosure.value(name, value)
    }

    #[test]
    fn addresses_keep_their_hosts_and_tags_and_lose_their_numbers() {
        for (name, value, expected) in [
            (
                "From",
                "\"Ann \\\"<sip:no>\\\" Lee\" <sip:+15551234567@192.0.2.9:5060>;tag=12345678",
                "\"…\" <sip:+*********67@192.0.2.9:5060>;tag=12345678",
            ),
            ("f", "Ann Lee <sip:+15551234567@h>", "\"…\" <sip:+*********67@h>"),
            ("To", "sip:+18882346789@h;user=phone;tag=a", "sip:+*********89@h;user=phone;tag=a"),
            ("To", "<tel:+1-555-123-4567;phone-context=+1555>", "<tel:+*-***-***-****;*****-*******=+**55>"),
            (
                "P-Asserted-Identity",
                "<sip:+15551234567@h>, <tel:+15551234567>",
                "<sip:+*********67@h>, <tel:+*********67>",
            ),
            (
                "Diversion",
                "<sip:ann.lee@h>;reason=no-answer;x=15551234567",
                "<sip:***.*ee@h>;reason=no-answer;x=*********67",
            ),
            ("Contact", "<sip:voice-gateway@192.0.2.1:5060>", "<sip:voice-gateway@192.0.2.1:5060>"),
            ("Contact", "*", "*"),
            ("Refer-To", "<sip:100@h?User-to-User=secret>", "<sip:100@h?…>"),
            ("From", "\"broken <sip:+15551234567@h>", "…"),
            ("From", "<sip:+15551234567@h", "…"),
            (
                "Via",
                "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK123456789",
                "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK123456789",
            ),
            ("Reason", "SIP;cause=480;text=\"15551234567 is busy\"", "SIP;cause=480;text=\"*********67 is busy\""),
        ] {
            assert_eq!(shown(name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn secrets_and_what_is_not_known_are_named_only() {
        for name in [
            "Authorization",
            "proxy-authorization",
            "User-to-User",
            "X-Session-Key",
            "x-secret",
            "X-Anything",
            "Subject",
        ] {
            assert_eq!(shown(name, "hunter2"), "…", "{name}");
        }
        assert_eq!(shown("X-ContactID", "123456789"), "123456789");
        let all = Disclosure { everything: true, secret: vec!["X-Secret".to_owned()], ..Disclosure::default() };
        assert_eq!(all.value("From", "\"Ann\" <sip:+1555@h?A=b>;tag=1"), "\"Ann\" <sip:+1555@h?…>;tag=1");
        assert_eq!(all.value("X-Anything", "told"), "told");
        assert_eq!((all.value("X-Secret", "no"), all.value("Authorization", "no")), ("…".to_owned(), "…".to_owned()));
        assert_eq!(all.description_line("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:key"), "a=crypto:…");
        assert_eq!(all.description_line("A=Crypto:1 AES_CM_128_HMAC_SHA1_80 inline:key"), "a=crypto:…");
    }

    #[test]
    fn start_lines_and_descriptions_lose_numbers_and_keys() {
        let disclosure = Disclosure::default();
        for (line, expected) in [
            ("INVITE sip:+18882346789@h;transport=udp SIP/2.0", "INVITE sip:+*********89@h;transport=udp SIP/2.0"),
            ("INVITE tel:+18882346789 SIP/2.0", "INVITE tel:+*********89 SIP/2.0"),
            ("SIP/2.0 200 OK", "SIP/2.0 200 OK"),
            ("SIP/2.0 404 +18882346789 unknown", "SIP/2.0 404 +*********89 unknown"),
            ("INVITE +18882346789", "…"),
            ("INVITE +18882346789 SIP/2.0", "INVITE … SIP/2.0"),
            ("", "…"),
        ] {
            assert_eq!(disclosure.start_line(line), expected);
        }
        assert_eq!(disclosure.description_line("c=IN IP4 192.0.2.1"), "c=IN IP4 192.0.2.1");
        assert_eq!(disclosure.description_line("p=+15551234567"), "p=…");
        assert_eq!(disclosure.description_line("k=clear:key"), "k=…");
    }
}
