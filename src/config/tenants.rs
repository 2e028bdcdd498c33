//! Tenants: sections that differ by the number that was called.

use super::problem::Problem;
use super::raw::{Node, Raw, Table, lay_over};
use super::reader::{Reader, Section, Setting, join};
use super::services::{Assistant, Cxone, Dialog, SpeechToText, TextToSpeech};
use super::validate;

/// `[[tenants]]`: one customer of this gateway. Its sections are whole: what it does not say is the top level's.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its name, in logs and in the admin API.
    pub name: String,
    /// Numbers (`+18882346789`) or SIP user names it answers.
    pub numbers: Vec<String>,
    /// Its assistant.
    pub assistant: Assistant,
    /// Its recogniser.
    pub speech_to_text: SpeechToText,
    /// Its voice.
    pub text_to_speech: TextToSpeech,
    /// Its contact centre.
    pub cxone: Cxone,
    /// Its conversation.
    pub dialog: Dialog,
}

/// What a call to one number is held with.
#[derive(Clone, Copy, Debug)]
pub struct TenantConfig<'a> {
    /// The tenant's name; `default` where there are no tenants.
    pub name: &'a str,
    /// Its assistant.
    pub assistant: &'a Assistant,
    /// Its recogniser.
    pub speech_to_text: &'a SpeechToText,
    /// Its voice.
    pub text_to_speech: &'a TextToSpeech,
    /// Its contact centre.
    pub cxone: &'a Cxone,
    /// Its conversation.
    pub dialog: &'a Dialog,
}

impl Tenant {
    /// Its sections by reference.
    #[must_use]
    pub fn sections(&self) -> TenantConfig<'_> {
        TenantConfig {
            name: &self.name,
            assistant: &self.assistant,
            speech_to_text: &self.speech_to_text,
            text_to_speech: &self.text_to_speech,
            cxone: &self.cxone,
            dialog: &self.dialog,
        }
    }

    fn read(table: &Table, top: &Table, path: &str, problems: &mut Vec<Problem>) -> Self {
        let mut reader = Reader::new(table, path, problems);
        let name = String::read(&mut reader, "name", String::new());
        let numbers = Vec::<String>::read(&mut reader, "numbers", Vec::new());
        if name.is_empty() {
            reader.wrong("name", "missing: the tenant's name, for logs and the admin API");
        }
        if numbers.is_empty() {
            reader.wrong("numbers", "missing: the numbers it answers, such as [\"+18882346789\"]");
        }
        for number in numbers.iter().filter(|number| digits(number).is_none() && !is_user_name(number)) {
            reader.wrong(
                "numbers",
                format!("must be numbers such as \"+18882346789\" or SIP user names, not {number:?}"),
            );
        }
        let tenant = Self {
            name,
            numbers,
            assistant: section(&mut reader, top, "assistant"),
            speech_to_text: section(&mut reader, top, "speech_to_text"),
            text_to_speech: section(&mut reader, top, "text_to_speech"),
            cxone: section(&mut reader, top, "cxone"),
            dialog: section(&mut reader, top, "dialog"),
        };
        let tenant = Self { cxone: validate::token_url_of(tenant.cxone), ..tenant };
        reader.finish();
        tenant
    }
}

impl Setting for Vec<Tenant> {
    fn read(from: &mut Reader<'_>, key: &'static str, _default: Self) -> Self {
        let Some(node) = from.take(key) else { return Self::new() };
        let Some(elements) = node.as_list() else {
            from.wrong(key, "must be written as [[tenants]]");
            return Self::new();
        };
        let mut tenants = Self::new();
        for (index, element) in elements.into_iter().enumerate() {
            let path = format!("{}[{index}]", from.path_of(key));
            match &element.raw {
                Raw::Table(table) => tenants.push(Tenant::read(table, from.table, &path, from.problems)),
                _ => from.problems.push(Problem::new(path, format!("must be a table, not {}", element.quoted()))),
            }
        }
        for (index, tenant) in tenants.iter().enumerate() {
            for (other_index, other) in tenants.iter().enumerate().take(index) {
                let path = format!("{key}[{index}]");
                if !tenant.name.is_empty() && tenant.name == other.name {
                    let message = format!("{:?} is also the name of {key}[{other_index}]", tenant.name);
                    from.problems.push(Problem::new(join(&path, "name"), message));
                }
                let shared = tenant.numbers.iter().find(|number| other.numbers.iter().any(|their| same(number, their)));
                if let Some(number) = shared {
                    let message = format!("{number:?} is also a number of {key}[{other_index}]");
                    from.problems.push(Problem::new(join(&path, "numbers"), message));
                }
            }
        }
        tenants
    }

    fn write(&self, key: &str, out: &mut toml::Table) {
        if self.is_empty() {
            return;
        }
        let tables = self.iter().map(|tenant| {
            let mut table = toml::Table::new();
            tenant.name.write("name", &mut table);
            tenant.numbers.write("numbers", &mut table);
            Setting::write(&tenant.assistant, "assistant", &mut table);
            Setting::write(&tenant.speech_to_text, "speech_to_text", &mut table);
            Setting::write(&tenant.text_to_speech, "text_to_speech", &mut table);
            Setting::write(&tenant.cxone, "cxone", &mut table);
            Setting::write(&tenant.dialog, "dialog", &mut table);
            toml::Value::Table(table)
        });
        out.insert(key.to_owned(), toml::Value::Array(tables.collect()));
    }

    fn keys(&self, path: &str, out: &mut Vec<String>) {
        out.extend(["name", "numbers"].map(|key| format!("{path}.{key}")));
    }
}

/// Whether two ways of writing a number mean the same one: punctuation aside, with `+` or `00` before it or not, and a
/// North American number with its country code or without.
pub(super) fn same(a: &str, b: &str) -> bool {
    match (digits(a), digits(b)) {
        (Some(a), Some(b)) => a.digits == b.digits || a.is_national_form_of(&b) || b.is_national_form_of(&a),
        (None, None) => a.trim() == b.trim(),
        _ => false,
    }
}

struct Number {
    international: bool,
    digits: String,
}

impl Number {
    fn is_national_form_of(&self, other: &Self) -> bool {
        !self.international && self.digits.len() == 10 && other.digits.strip_prefix('1') == Some(self.digits.as_str())
    }
}

fn digits(text: &str) -> Option<Number> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace() && !"-.()".contains(*c)).collect();
    let (international, digits) = match bare.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => bare.strip_prefix("00").map_or((false, bare.as_str()), |rest| (true, rest)),
    };
    let right = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    right.then(|| Number { international, digits: digits.to_owned() })
}

/// The user part of a SIP URI (RFC 3261 section 25.1), without escapes.
fn is_user_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&b))
}

/// Reads section `key` of the tenant laid over the top level's.
fn section<S: Section>(reader: &mut Reader<'_>, top: &Table, key: &str) -> S {
    let mut merged = match top.get(key).map(|node| &node.raw) {
        Some(Raw::Table(table)) => table.clone(),
        _ => Table::new(),
    };
    match reader.take(key) {
        Some(Node { raw: Raw::Table(over), .. }) => lay_over(&mut merged, over),
        Some(node) => reader.wrong(key, format!("must be a table, not {}", node.quoted())),
        None => {}
    }
    let path = reader.path_of(key);
    let mut inner = Reader::new(&merged, path, reader.problems);
    let section = S::read(&mut inner);
    inner.finish();
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        for written in
            ["+18882346789", "18882346789", "0018882346789", "8882346789", "+1 (888) 234-6789", "888.234.6789"]
        {
            assert!(same("+18882346789", written), "{written}");
            assert!(same(written, "+18882346789"), "{written}");
        }
        for other in ["+8882346789", "+18882346780", "118882346789", "+4418882346789", "", "alice"] {
            assert!(!same("+18882346789", other), "{other}");
        }
        assert!(same("alice", "alice") && !same("alice", "Alice"));
    }
}
