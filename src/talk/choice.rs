//! Options and suggestions by voice: how they are spoken, and which one the caller chose (Watson facts 1.5).

use super::json;
use serde_json::Value;

/// One thing to choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// As spoken behind its number.
    pub label: String,
    /// `value.input.text`: what choosing it says to the assistant.
    pub text: String,
    /// `value.input`, whole.
    pub input: Value,
}

impl Choice {
    /// Reads one of `options` or `suggestions`. Without a label there is nothing to speak; without `value.input.text` the label is said.
    pub(super) fn read(item: &Value) -> Option<Self> {
        let label = json::text(item.get("label"))?;
        let input = json::at(item, &["value", "input"]).cloned().unwrap_or(Value::Null);
        let text = json::text(input.get("text")).unwrap_or_else(|| label.clone());
        Some(Self { label, text, input })
    }
}

/// What is spoken: title, description, then the labels with their numbers, each ended like a sentence.
pub(super) fn spoken(title: Option<&str>, description: Option<&str>, choices: &[Choice]) -> String {
    let heads = [title, description].into_iter().flatten().map(str::to_owned);
    let labels = choices.iter().enumerate().map(|(index, choice)| format!("{}. {}", index + 1, choice.label));
    heads.chain(labels).map(sentence).collect::<Vec<_>>().join(" ")
}

/// Which of `choices` the caller means: by its label, else by its number, said alone or behind "option" or "number". Number words are
/// English; other languages choose by label, figure or key.
#[must_use]
pub fn choose<'a>(choices: &'a [Choice], heard: &str) -> Option<&'a Choice> {
    let heard = fold(heard);
    if let Some(choice) = choices.iter().find(|choice| fold(&choice.label) == heard) {
        return Some(choice);
    }
    let words: Vec<&str> = heard.split(' ').collect();
    let number = match words.as_slice() {
        [number] | ["option" | "number", number] | ["option", "number", number] => *number,
        _ => return None,
    };
    let index =
        NUMBERS.iter().position(|word| *word == number).map(|index| index + 1).or_else(|| number.parse().ok())?;
    choices.get(index.checked_sub(1)?)
}

/// Lower case, letters and figures only, single blanks.
fn fold(text: &str) -> String {
    let signs = |c: char| if c.is_alphanumeric() { c } else { ' ' };
    text.to_lowercase().chars().map(signs).collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn sentence(mut text: String) -> String {
    if !text.ends_with(['.', '!', '?', ':', ',', ';', '>']) {
        text.push('.');
    }
    text
}

const NUMBERS: [&str; 12] =
    ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn choices() -> Vec<Choice> {
        ["Billing", "Sales & more", "Two"]
            .iter()
            .filter_map(|label| {
                Choice::read(&json!({"label": label, "value": {"input": {"text": format!("go {label}")}}}))
            })
            .collect()
    }

    #[test]
    fn options_are_spoken_as_title_description_and_numbered_labels() {
        let spoken = spoken(Some("What shall it be?"), Some("Say a number"), &choices());
        assert_eq!(spoken, "What shall it be? Say a number. 1. Billing. 2. Sales & more. 3. Two.");
    }

    #[test]
    fn a_choice_is_made_by_number_word_or_label() {
        let choices = choices();
        let table = [
            ("1", Some("go Billing")),
            ("One.", Some("go Billing")),
            ("option 1", Some("go Billing")),
            ("number one", Some("go Billing")),
            ("billing", Some("go Billing")),
            ("sales more", Some("go Sales & more")),
            ("two", Some("go Two")),
            ("option two", Some("go Sales & more")),
            ("three", Some("go Two")),
            ("4", None),
            ("0", None),
            ("-1", Some("go Billing")),
            ("99999999999999999999999", None),
            ("one of these", None),
            ("", None),
        ];
        for (heard, expected) in table {
            assert_eq!(choose(&choices, heard).map(|choice| choice.text.as_str()), expected, "{heard}");
        }
    }

    #[test]
    fn an_option_without_input_says_its_label() {
        assert_eq!(Choice::read(&json!({"label": 5})).map(|choice| choice.text), Some("5".into()));
        assert_eq!(Choice::read(&json!({"value": {}})), None);
    }
}
