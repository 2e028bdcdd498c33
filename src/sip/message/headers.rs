//! Header fields (RFC 3261 sections 7.3 and 20): in order, names as sent, found by full or compact name in any case.

use super::values::split_list;
use bytes::Bytes;

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name as sent.
    pub name: String,
    /// The value, unfolded and trimmed. Bytes that are no UTF-8 are read as Latin-1.
    pub value: String,
    /// The bytes as sent where they are no UTF-8, so that a peer gets its own bytes back.
    raw: Option<Bytes>,
}

/// The header fields of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<Field>,
}

impl Field {
    /// The value's bytes for the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.value.as_bytes())
    }
}

impl Headers {
    /// Appends a field. CR, LF and NUL never get into a header: they are taken out of the value; a name that is no token is
    /// refused and false returned.
    pub fn push(&mut self, name: &str, value: &str) -> bool {
        if !is_token(name) {
            return false;
        }
        let value = if value.contains(['\r', '\n', '\0']) {
            value.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')).collect()
        } else {
            value.to_owned()
        };
        self.fields.push(Field { name: name.to_owned(), value, raw: None });
        true
    }

    /// The same in front of all others.
    pub fn push_front(&mut self, name: &str, value: &str) -> bool {
        let pushed = self.push(name, value);
        if pushed {
            self.fields.rotate_right(1);
        }
        pushed
    }

    /// Puts another value into the first field.
    pub(crate) fn replace_front(&mut self, value: String) {
        if let Some(first) = self.fields.first_mut() {
            first.value = value;
            first.raw = None;
        }
    }

    /// Appends a field as the parser read it: unfolded, trimmed, without CR and LF.
    pub(super) fn push_read(&mut self, name: &str, value: Vec<u8>) {
        let (value, raw) = match String::from_utf8(value) {
            Ok(text) => (text, None),
            Err(error) => {
                let bytes = Bytes::from(error.into_bytes());
                (bytes.iter().map(|b| char::from(*b)).collect(), Some(bytes))
            }
        };
        self.fields.push(Field { name: name.to_owned(), value, raw });
    }

    /// Appends a field of another message byte for byte, NUL excepted.
    pub fn push_field(&mut self, field: &Field) {
        self.push_named(&field.name, field);
    }

    /// The same under another spelling of its name.
    pub fn push_named(&mut self, name: &str, field: &Field) {
        match &field.raw {
            Some(raw) if !raw.contains(&0) => self.fields.push(Field { name: name.to_owned(), ..field.clone() }),
            _ => {
                self.push(name, &field.value);
            }
        }
    }

    /// The same with more behind its value.
    pub fn push_suffixed(&mut self, field: &Field, suffix: &str) {
        self.push_field(field);
        if let Some(last) = self.fields.last_mut() {
            last.value.push_str(suffix);
            last.raw = last.raw.take().map(|raw| Bytes::from([&raw, suffix.as_bytes()].concat()));
        }
    }

    /// These, for tests.
    #[cfg(test)]
    pub(crate) fn of(fields: &[(&str, &str)]) -> Self {
        let mut headers = Self::default();
        for (name, value) in fields {
            headers.push(name, value);
        }
        headers
    }

    /// Appends what the application asks for. Fields that transactions and dialogs own are refused, and false returned.
    pub fn push_extra(&mut self, name: &str, value: &str) -> bool {
        !OWNED.iter().any(|owned| same_name(owned, name)) && self.push(name, value)
    }

    /// The first value of `name`.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.fields_of(name).next().map(|field| field.value.as_str())
    }

    /// All fields called `name`, in order.
    pub fn fields_of<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a Field> + use<'a, 'n> {
        self.fields.iter().filter(move |field| same_name(&field.name, name))
    }

    /// All values of a comma-separated header, over all its fields. Values behind an unbalanced quote are left out.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.fields_of(name).filter_map(|field| split_list(&field.value)).flatten().filter(|v| !v.is_empty()).collect()
    }

    /// How many fields are called `name`.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.fields_of(name).count()
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter()
    }

    /// Names and values in order, as a call wants them.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// Whether two names mean one header: any case, full or compact form.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || full_name(a).eq_ignore_ascii_case(full_name(b))
}

/// RFC 3261's `token`.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

fn full_name(name: &str) -> &str {
    let [letter] = name.as_bytes() else { return name };
    match letter.to_ascii_lowercase() {
        b'a' => "Accept-Contact",
        b'b' => "Referred-By",
        b'c' => "Content-Type",
        b'd' => "Request-Disposition",
        b'e' => "Content-Encoding",
        b'f' => "From",
        b'i' => "Call-ID",
        b'j' => "Reject-Contact",
        b'k' => "Supported",
        b'l' => "Content-Length",
        b'm' => "Contact",
        b'n' => "Identity-Info",
        b'o' => "Event",
        b'r' => "Refer-To",
        b's' => "Subject",
        b't' => "To",
        b'u' => "Allow-Events",
        b'v' => "Via",
        b'x' => "Session-Expires",
        b'y' => "Identity",
        _ => name,
    }
}

/// What transactions and dialogs write themselves.
const OWNED: [&str; 12] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Route",
    "Record-Route",
    "Max-Forwards",
    "Content-Length",
    "Content-Type",
    "RSeq",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_in_any_case_and_form() {
        let mut headers = Headers::default();
        headers.push("v", "one, two");
        headers.push("VIA", "three");
        headers.push("X-ContactID", "5");
        assert_eq!(headers.list("Via"), ["one", "two", "three"]);
        assert_eq!(headers.first("x-contactid"), Some("5"));
        assert_eq!(headers.count("Via"), 2);
        assert_eq!(headers.first("Contact"), None);
    }

    #[test]
    fn nothing_can_be_injected_through_a_value_or_a_name() {
        let mut headers = Headers::default();
        assert!(headers.push_extra("X-A", "1\r\nVia: evil\0"));
        assert_eq!(headers.first("X-A"), Some("1Via: evil"));
        assert!(!headers.push_extra("X-B: 1\r\nX-C", "2"));
        assert!(!headers.push_extra("via", "SIP/2.0/UDP evil"));
        assert!(!headers.push_extra("l", "0"));
        assert!(!headers.push_extra("", "0"));
        assert_eq!(headers.len(), 1);
    }
}
