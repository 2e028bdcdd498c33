//! Lenient reading of the assistant's JSON: authors write numbers as strings and strings as numbers (Watson facts 1.3).

use serde_json::Value;

/// The value at `path`, member by member.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// A string, or a number or boolean as text. Blank text is none.
pub(super) fn text(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// A number, or a number written as a string. Never infinite, never NaN.
pub(super) fn number(value: Option<&Value>) -> Option<f64> {
    let number = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// The items of an array, or the one value that stands where an array belongs; nothing for null.
pub(super) fn items(value: Option<&Value>) -> &[Value] {
    match value {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items,
        Some(one) => std::slice::from_ref(one),
    }
}

/// A name from the outside, cut so that a log line stays a line.
pub(super) fn short(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Bytes of `value` as compact JSON, without writing it anywhere.
pub(super) fn size(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_texts_are_read_either_way_round() {
        assert_eq!(number(Some(&json!("1500"))), Some(1500.0));
        assert_eq!(number(Some(&json!(7))), Some(7.0));
        assert_eq!(number(Some(&json!("inf"))), None);
        assert_eq!(number(Some(&json!(true))), None);
        assert_eq!(text(Some(&json!(12))), Some("12".into()));
        assert_eq!(text(Some(&json!("  "))), None);
        assert_eq!(text(Some(&json!({}))), None);
    }

    #[test]
    fn the_size_is_that_of_the_written_json() {
        let value = json!({"a": [1, 2, "drei"], "b": null});
        assert_eq!(size(&value), value.to_string().len());
    }
}
