//! How typed settings are read from raw values: every problem is noted, nothing stops at the first one.

use super::problem::Problem;
use super::raw::{Node, Raw, Table};
use secrecy::SecretString;
use std::path::Path;

/// Reads the keys of one table.
pub(super) struct Reader<'a> {
    pub(super) table: &'a Table,
    pub(super) path: String,
    known: Vec<String>,
    pub(super) problems: &'a mut Vec<Problem>,
}

/// One value of a key.
pub(super) trait Scalar: Sized {
    /// Reads it; the error says what would be right.
    fn parse(node: &Node) -> Result<Self, String>;
    /// Writes it.
    fn show(&self) -> toml::Value;
}

/// Anything that can stand under a key: a scalar, an optional one, a list, a secret, a section.
pub(super) trait Setting: Sized {
    /// Reads it; `default` where the key is absent or wrong.
    fn read(from: &mut Reader<'_>, key: &'static str, default: Self) -> Self;
    /// Writes it, secrets as `***`, absent ones not at all.
    fn write(&self, key: &str, out: &mut toml::Table);
    /// Appends the paths of all its keys.
    fn keys(&self, path: &str, out: &mut Vec<String>);
}

/// A table of settings; made by the `settings!` macro.
pub(super) trait Section: Default {
    /// Reads all keys.
    fn read(from: &mut Reader<'_>) -> Self;
    /// Writes all keys.
    fn write(&self) -> toml::Table;
    /// Appends the paths of all keys.
    fn keys(&self, prefix: &str, out: &mut Vec<String>);
}

impl<'a> Reader<'a> {
    /// A reader of `table`, which is found at `path` (empty for the root).
    pub(super) fn new(table: &'a Table, path: impl Into<String>, problems: &'a mut Vec<Problem>) -> Self {
        Self { table, path: path.into(), known: Vec::new(), problems }
    }

    /// Reads `key`, then checks it.
    pub(super) fn setting<T: Setting>(
        &mut self,
        key: &'static str,
        default: impl Fn() -> T,
        checks: &[Check<'_, T>],
    ) -> T {
        let value = T::read(self, key, default());
        if !self.table.contains_key(key) {
            return value;
        }
        match checks.iter().find_map(|check| check(&value).err()) {
            Some(message) => {
                self.wrong(key, message);
                default()
            }
            None => value,
        }
    }

    /// The raw value of `key`, which is known from now on.
    pub(super) fn take(&mut self, key: &str) -> Option<&'a Node> {
        self.known.push(key.to_owned());
        self.table.get(key)
    }

    /// The full path of `key`.
    pub(super) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Notes a problem at `key`, with the variable that set it where one did.
    pub(super) fn wrong(&mut self, key: &str, message: impl Into<String>) {
        let mut message = message.into();
        if let Some(variable) = self.table.get(key).and_then(|node| node.variable.as_deref()) {
            message = format!("{message} (set by {variable})");
        }
        self.problems.push(Problem::new(self.path_of(key), message));
    }

    /// Reads the table at `key` with `read`; `None` when there is none.
    pub(super) fn table<T>(&mut self, key: &str, read: impl FnOnce(&mut Reader<'_>) -> T) -> Option<T> {
        let node = self.take(key)?;
        let Raw::Table(table) = &node.raw else {
            self.wrong(key, format!("must be a table, not {}", node.quoted()));
            return None;
        };
        let mut inner = Reader::new(table, join(&self.path, key), self.problems);
        let value = read(&mut inner);
        inner.finish();
        Some(value)
    }

    /// Reads a secret from `key` or from the file that `{key}_file` names.
    pub(super) fn secret(&mut self, key: &str) -> Option<SecretString> {
        let twin = format!("{key}_file");
        let direct = self.take(key);
        let file = self.take(&twin);
        match (direct, file) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.wrong(key, format!("given together with {twin}: give one of the two"));
                None
            }
            (Some(node), None) => match &node.raw {
                Raw::Text(text) if !text.trim().is_empty() => Some(SecretString::from(text.trim())),
                Raw::Text(_) if node.variable.is_some() => None,
                Raw::Text(_) => {
                    self.wrong(key, "must not be empty; leave the key out where there is no such secret");
                    None
                }
                _ => {
                    self.wrong(key, "must be text in quotes");
                    None
                }
            },
            (None, Some(node)) => match String::parse(node).and_then(|file| read_secret(&file)) {
                Ok(secret) => Some(secret),
                Err(message) => {
                    self.wrong(&twin, message);
                    None
                }
            },
        }
    }

    /// Notes the keys that nobody asked for.
    pub(super) fn finish(self) {
        for (key, node) in self.table {
            if self.known.iter().any(|known| known == key) {
                continue;
            }
            let near = self.known.iter().map(|known| (distance(known, key), known)).min();
            let hint = match near {
                Some((edits, known)) if edits <= 3.min(key.len() / 2) => format!("did you mean {known}?"),
                _ if self.known.len() == 1 => format!("the only key here is {}", self.known.concat()),
                _ => format!("the keys here are {}", self.known.join(", ")),
            };
            let by = node.variable.as_ref().map(|variable| format!(" (set by {variable})")).unwrap_or_default();
            self.problems.push(Problem::new(join(&self.path, key), format!("unknown key; {hint}{by}")));
        }
    }
}

/// A check of a value that was read.
pub(super) type Check<'c, T> = &'c dyn Fn(&T) -> Result<(), String>;

/// A path with one more key.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<T: Scalar> Setting for T {
    fn read(from: &mut Reader<'_>, key: &'static str, default: Self) -> Self {
        let Some(node) = from.take(key) else { return default };
        T::parse(node).unwrap_or_else(|message| {
            from.wrong(key, message);
            default
        })
    }

    fn write(&self, key: &str, out: &mut toml::Table) {
        out.insert(key.to_owned(), self.show());
    }

    fn keys(&self, path: &str, out: &mut Vec<String>) {
        out.push(path.to_owned());
    }
}

impl<T: Scalar> Setting for Option<T> {
    fn read(from: &mut Reader<'_>, key: &'static str, default: Self) -> Self {
        let Some(node) = from.take(key) else { return default };
        if matches!(&node.raw, Raw::Text(text) if text.is_empty() && node.variable.is_some()) {
            return None;
        }
        T::parse(node).map_or_else(
            |message| {
                from.wrong(key, message);
                default
            },
            Some,
        )
    }

    fn write(&self, key: &str, out: &mut toml::Table) {
        if let Some(value) = self {
            out.insert(key.to_owned(), value.show());
        }
    }

    fn keys(&self, path: &str, out: &mut Vec<String>) {
        out.push(path.to_owned());
    }
}

impl<T: Scalar> Setting for Vec<T> {
    fn read(from: &mut Reader<'_>, key: &'static str, default: Self) -> Self {
        let Some(node) = from.take(key) else { return default };
        let split: Vec<Node>;
        let elements = match &node.raw {
            Raw::Text(text) if node.variable.is_some() => {
                split = split_list(text, node.variable.as_ref());
                split.iter().collect()
            }
            _ => match node.as_list() {
                Some(elements) => elements,
                None => {
                    from.wrong(key, format!("must be a list in brackets, not {}", node.quoted()));
                    return default;
                }
            },
        };
        let (mut values, mut right) = (Vec::with_capacity(elements.len()), true);
        for (index, element) in elements.into_iter().enumerate() {
            match T::parse(element) {
                Ok(value) => values.push(value),
                Err(message) => {
                    from.wrong(key, format!("element {}: {message}", index + 1));
                    right = false;
                }
            }
        }
        if right { values } else { default }
    }

    fn write(&self, key: &str, out: &mut toml::Table) {
        out.insert(key.to_owned(), toml::Value::Array(self.iter().map(Scalar::show).collect()));
    }

    fn keys(&self, path: &str, out: &mut Vec<String>) {
        out.push(path.to_owned());
    }
}

impl Setting for Option<SecretString> {
    fn read(from: &mut Reader<'_>, key: &'static str, _default: Self) -> Self {
        from.secret(key)
    }

    fn write(&self, key: &str, out: &mut toml::Table) {
        if self.is_some() {
            out.insert(key.to_owned(), REDACTED.into());
        }
    }

    fn keys(&self, path: &str, out: &mut Vec<String>) {
        out.extend([path.to_owned(), format!("{path}_file")]);
    }
}

/// Elements of a comma-separated list.
pub(super) fn split_list(text: &str, variable: Option<&String>) -> Vec<Node> {
    let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
    elements.map(|element| Node { raw: Raw::Text(element.to_owned()), variable: variable.cloned() }).collect()
}

fn read_secret(file: &str) -> Result<SecretString, String> {
    let size = std::fs::metadata(Path::new(file)).map(|data| data.len());
    if size.is_ok_and(|size| size > LONGEST_SECRET_FILE) {
        return Err(format!("{file} is larger than {LONGEST_SECRET_FILE} bytes: that is no secret"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file} cannot be read: {error}"))?;
    match text.trim() {
        "" => Err(format!("{file} is empty")),
        secret => Ok(SecretString::from(secret)),
    }
}

/// Levenshtein distance, for "did you mean".
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            left = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, left);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Declares a section: a documented struct with public fields, its defaults, how it is read, written and listed.
macro_rules! settings {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr $(, $check:expr)?;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::config::reader::Section for $name {
            fn read(from: &mut $crate::config::reader::Reader<'_>) -> Self {
                Self { $($field: from.setting::<$type>(stringify!($field), || $default, &[$(&$check)?]),)* }
            }

            fn write(&self) -> toml::Table {
                let mut out = toml::Table::new();
                $($crate::config::reader::Setting::write(&self.$field, stringify!($field), &mut out);)*
                out
            }

            fn keys(&self, prefix: &str, out: &mut Vec<String>) {
                $($crate::config::reader::Setting::keys(
                    &self.$field,
                    &$crate::config::reader::join(prefix, stringify!($field)),
                    out,
                );)*
            }
        }

        impl $crate::config::reader::Setting for $name {
            fn read(from: &mut $crate::config::reader::Reader<'_>, key: &'static str, default: Self) -> Self {
                from.table(key, <Self as $crate::config::reader::Section>::read).unwrap_or(default)
            }

            fn write(&self, key: &str, out: &mut toml::Table) {
                out.insert(key.to_owned(), toml::Value::Table($crate::config::reader::Section::write(self)));
            }

            fn keys(&self, path: &str, out: &mut Vec<String>) {
                $crate::config::reader::Section::keys(self, path, out);
            }
        }
    };
}
pub(super) use settings;

/// What stands for a secret in print.
pub(super) const REDACTED: &str = "***";
const LONGEST_SECRET_FILE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_keys_are_near() {
        assert_eq!(distance("listen", "listne"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("url", "url"), 0);
    }
}
