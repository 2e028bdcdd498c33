//! The CXone contact id in the INVITE (CXone facts 2.2; interface section 2, `sip.contact_id_*`).

use crate::base::ContactId;
use regex::Regex;
use std::fmt;

/// Where the contact id is and what it looks like.
#[derive(Clone, Debug)]
pub struct ContactRule {
    headers: Vec<String>,
    pattern: Regex,
    missing: MissingContact,
}

/// What to do with a call without a usable contact id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingContact {
    /// 400 with a Warning.
    Reject,
    /// Talk; every exit is a BYE.
    Accept,
}

/// Why there is no contact id. Names the header by its configured name: what stood in it is not repeated anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoContact {
    /// None of these headers is there, or all are empty.
    Missing {
        /// The configured names.
        headers: Vec<String>,
    },
    /// The header is there, and is no contact id.
    Invalid {
        /// The configured name.
        header: String,
    },
}

impl ContactRule {
    /// `headers` in order of preference; `pattern` must match the whole value, anchored or not.
    ///
    /// # Errors
    /// The pattern is not a regular expression.
    pub fn new(headers: Vec<String>, pattern: &str, missing: MissingContact) -> Result<Self, regex::Error> {
        // Checked alone first: ")(" would close the group below and open another.
        Regex::new(pattern)?;
        let pattern = Regex::new(&format!("^(?:{pattern})$"))?;
        Ok(Self { headers, pattern, missing })
    }

    /// What to do without one.
    #[must_use]
    pub fn missing(&self) -> MissingContact {
        self.missing
    }

    /// The contact id of an INVITE: the first of the configured headers that is there and not empty, its first value, trimmed.
    /// Whatever the pattern lets through, a contact id is at most 64 letters, figures, `-` and `_`, because it becomes part of a URL.
    ///
    /// # Errors
    /// There is none, or it is none.
    pub fn find(&self, headers: &[(String, String)]) -> Result<ContactId, NoContact> {
        let present = self.headers.iter().find_map(|wanted| first_value(headers, wanted).map(|value| (wanted, value)));
        let Some((header, value)) = present else {
            return Err(NoContact::Missing { headers: self.headers.clone() });
        };
        let safe = value.len() <= LONGEST && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if safe && self.pattern.is_match(value) {
            Ok(ContactId::new(value))
        } else {
            Err(NoContact::Invalid { header: header.clone() })
        }
    }
}

impl fmt::Display for NoContact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { headers } => write!(f, "Missing contact id: no header {}", headers.join(" or ")),
            Self::Invalid { header } => write!(f, "Header {header} is not a contact id"),
        }
    }
}

/// The first value of this header that is not blank, trimmed.
fn first_value<'a>(headers: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    let mut named = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
    named.find_map(|(_, value)| Some(value.trim_matches(BLANKS)).filter(|value| !value.is_empty()))
}

/// SP and HTAB: what SIP calls white space. CR or LF inside is an attack, not padding.
const BLANKS: [char; 2] = [' ', '\t'];
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str) -> ContactRule {
        let headers = ["X-ContactID", "X-Contact-ID", "X-InContact-ContactId"].map(str::to_owned).to_vec();
        ContactRule::new(headers, pattern, MissingContact::Reject).unwrap()
    }

    fn find(headers: &[(&str, &str)]) -> Result<String, NoContact> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        rule("^[0-9]{1,19}$").find(&headers).map(|id| id.as_str().to_owned())
    }

    fn invalid(header: &str) -> Result<String, NoContact> {
        Err(NoContact::Invalid { header: header.into() })
    }

    #[test]
    fn the_table_of_the_facts() {
        let none = find(&[]);
        assert!(matches!(none, Err(NoContact::Missing { .. })));
        assert_eq!(find(&[("X-ContactID", "123456789")]), Ok("123456789".into()));
        assert_eq!(find(&[("x-contactid", " 123 ")]), Ok("123".into()));
        assert_eq!(find(&[("X-CONTACT-ID", "\t7")]), Ok("7".into()));
        assert_eq!(
            find(&[("X-InContact-ContactId", "3"), ("X-ContactID", "1")]),
            Ok("1".into()),
            "order of preference"
        );
        assert_eq!(find(&[("X-ContactID", "  "), ("X-Contact-ID", "2")]), Ok("2".into()), "empty is not present");
        assert_eq!(
            find(&[("X-ContactID", ""), ("X-ContactID", "4"), ("X-ContactID", "5")]),
            Ok("4".into()),
            "first value of repeats"
        );
        assert_eq!(
            find(&[("X-ContactID", "bad"), ("X-Contact-ID", "2")]),
            invalid("X-ContactID"),
            "the first present wins"
        );
    }

    #[test]
    fn hostile_values_are_no_contact_ids() {
        let long = "1".repeat(10_000);
        for hostile in [
            "1/../x",
            "1?p1=hangup",
            "1\r\nX-Evil: y",
            "1\n",
            "\n1",
            "-1",
            "1 2",
            "1%2f",
            "١٢٣",
            "12345678901234567890",
            &long,
        ] {
            assert_eq!(find(&[("X-ContactID", hostile)]), invalid("X-ContactID"), "{hostile:?}");
        }
    }

    #[test]
    fn a_loose_pattern_cannot_open_the_url() {
        let header = |value: &str| vec![("X-ContactID".to_owned(), value.to_owned())];
        assert!(rule(".*").find(&header("1/../x")).is_err());
        assert!(rule("[0-9]+").find(&header("1abc")).is_err(), "the whole value, though the pattern has no anchors");
        assert!(rule("[0-9]+|[a-z]+").find(&header("abc")).is_ok());
        assert!(ContactRule::new(vec![], "[", MissingContact::Accept).is_err());
        assert!(ContactRule::new(vec![], "1)|(.*", MissingContact::Accept).is_err());
    }

    #[test]
    fn the_words_name_the_header_and_not_its_value() {
        let text = find(&[("x-contactid", "1?p1=hangup")]).unwrap_err().to_string();
        assert_eq!(text, "Header X-ContactID is not a contact id");
    }
}
