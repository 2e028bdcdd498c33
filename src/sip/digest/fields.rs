//! `Digest name=value, name="value"`: the fields of a challenge or of credentials (RFC 7235 section 2.1, RFC 3261 section 25.1).

use crate::sip::message::is_token;

/// The fields, names as written, values without quotes and escapes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    list: Vec<(String, String)>,
}

impl Fields {
    /// Reads one header value; `None` where it is of another scheme than Digest.
    pub fn parse(text: &str) -> Option<Result<Self, &'static str>> {
        let text = text.trim();
        let (scheme, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        scheme.eq_ignore_ascii_case("Digest").then(|| Self::read(rest))
    }

    fn read(mut rest: &str) -> Result<Self, &'static str> {
        let mut list: Vec<(String, String)> = Vec::new();
        loop {
            // Empty elements of a list are allowed to be there.
            rest = rest.trim_start_matches([',', ' ', '\t']);
            if rest.is_empty() {
                return Ok(Self { list });
            }
            if list.len() >= MAX_FIELDS {
                return Err("too many fields");
            }
            let (name, after) = rest.split_once('=').ok_or("a field has no value")?;
            let name = name.trim_end();
            if !is_token(name) {
                return Err("a field's name is no token");
            }
            if list.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err("a field is there twice");
            }
            let (value, after) = read_value(after.trim_start())?;
            rest = after.trim_start();
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err("fields are not separated by commas");
            }
            list.push((name.to_owned(), value));
        }
    }

    /// The value of `name`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl std::fmt::Debug for Fields {
    /// Who calls stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list.iter().map(|(name, _)| name)).finish()
    }
}

/// A token or a quoted string, and what stands behind it.
fn read_value(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t', '"']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return if value.is_empty() { Err("a field has no value") } else { Ok((value.to_owned(), rest)) };
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok((value, quoted.get(index + 1..).unwrap_or_default())),
            '\\' => value.push(characters.next().ok_or("a quoted string does not end")?.1),
            other => value.push(other),
        }
    }
    Err("a quoted string does not end")
}

/// A quoted string.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// RFC 7616 knows a dozen.
const MAX_FIELDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Fields, &'static str> {
        Fields::parse(text).expect("a digest")
    }

    #[test]
    fn fields_are_read_however_they_are_spaced_and_quoted() {
        let fields =
            read(r#"dIgEsT ,realm = "a \"b\", c\\" ,, NC=00000001,qop="auth,auth-int" , stale=FALSE,"#).unwrap();
        for (name, value) in [
            ("Realm", Some(r#"a "b", c\"#)),
            ("nc", Some("00000001")),
            ("qop", Some("auth,auth-int")),
            ("stale", Some("FALSE")),
            ("uri", None),
        ] {
            assert_eq!(fields.value(name), value, "{name}");
        }
        assert_eq!(read("Digest").unwrap(), Fields::default());
        for text in ["Basic dTpw", "", "Digestive a=b", "digest,a=b"] {
            assert_eq!(Fields::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many: String = (0..40).map(|n| format!("a{n}=b,")).collect();
        for (text, what) in [
            ("Digest a", "a field has no value"),
            ("Digest a=", "a field has no value"),
            ("Digest =b", "a field's name is no token"),
            ("Digest a b=c", "a field's name is no token"),
            ("Digest a=\"b", "a quoted string does not end"),
            ("Digest a=\"b\\", "a quoted string does not end"),
            ("Digest a=\"b\"c=d", "fields are not separated by commas"),
            ("Digest a=b c=d", "fields are not separated by commas"),
            ("Digest a=b, A=c", "a field is there twice"),
            (&format!("Digest {many}"), "too many fields"),
        ] {
            assert_eq!(read(text), Err(what), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_any_value_comes_back(text in ".{0,80}", value in "[^\r\n\0]{0,40}") {
            let _read = Fields::parse(&format!("Digest {text}"));
            let written = format!("Digest a={}, b=c", quoted(&value));
            let fields = read(&written).unwrap();
            prop_assert_eq!((fields.value("a"), fields.value("b")), (Some(value.as_str()), Some("c")));
        }
    }
}
