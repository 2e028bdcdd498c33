//! `dtmf` `send`: keys that the assistant wants sent (Watson facts 1.3). Authors write numbers as strings, and keys by name.

use super::json::{self, at, items};
use crate::base::Tone;
use serde_json::Value;
use std::time::Duration;

/// Reads `command_info.parameters`. What is no key is left out with a log line; the keys themselves may be secret and are not in it.
pub(super) fn tones(item: &Value) -> Vec<Tone> {
    let parameters = at(item, &["command_info", "parameters"]);
    let listed = items(parameters.and_then(|parameters| parameters.get("digits")));
    let pause = time(parameters.and_then(|parameters| parameters.get("send_interval")), Duration::ZERO);
    let mut tones = Vec::new();
    let mut whole = Duration::ZERO;
    for digit in listed {
        let code = json::text(digit.get("code").or(Some(digit))).and_then(|code| code_of(&code));
        let Some(code) = code else {
            tracing::warn!("dtmf send: a digit that is no key was left out");
            continue;
        };
        let volume = json::number(digit.get("volume")).map_or(0.0, |volume| (-volume).clamp(0.0, 63.0));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let tone = Tone { code, duration: time(digit.get("duration"), SHORTEST), volume: volume.round() as u8, pause };
        whole += tone.whole();
        if tones.len() >= MOST || whole > LONGEST {
            tracing::warn!(kept = tones.len(), "dtmf send: too many digits, the rest is left out");
            break;
        }
        tones.push(tone);
    }
    tones
}

/// 0 to 9, 10 for `*`, 11 for `#`, 12 to 15 for A to D; or the key as it stands on the phone.
fn code_of(text: &str) -> Option<u8> {
    text.parse().ok().filter(|code| *code <= 15).or_else(|| {
        let mut characters = text.chars();
        characters.next().filter(|_| characters.next().is_none()).and_then(Tone::code_of)
    })
}

/// Milliseconds, 200 by default.
fn time(value: Option<&Value>, least: Duration) -> Duration {
    let milliseconds = json::number(value).unwrap_or(200.0).clamp(0.0, 5000.0);
    Duration::from_secs_f64(milliseconds / 1000.0).max(least)
}

/// The ITU's shortest key.
const SHORTEST: Duration = Duration::from_millis(40);
const MOST: usize = 100;
/// Of all keys of one command together.
const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(parameters: Value) -> Vec<(u8, u128, u8, u128)> {
        let tones = tones(&json!({"command_info": {"type": "send", "parameters": parameters}}));
        tones.iter().map(|t| (t.code, t.duration.as_millis(), t.volume, t.pause.as_millis())).collect()
    }

    #[test]
    fn the_example_of_ibms_page_and_what_authors_make_of_it() {
        let example = json!({"digits": [{"code": "9", "volume": -8}, {"code": "11"}], "send_interval": 100});
        assert_eq!(read(example), [(9, 200, 8, 100), (11, 200, 0, 100)]);
        let odd = json!({"digits": [{"code": 15, "duration": "90", "volume": "-99"}, {"code": "*"}, {"code": "a"}, 7]});
        assert_eq!(read(odd), [(15, 90, 63, 200), (10, 200, 0, 200), (12, 200, 0, 200), (7, 200, 0, 200)]);
        assert_eq!(read(json!({"digits": [{"code": 16}, {"code": -1}, {}, {"code": "12#"}, null]})), []);
        assert_eq!(
            read(json!({"digits": [{"code": 1, "duration": 1, "volume": 8}], "send_interval": -5})),
            [(1, 40, 0, 0)]
        );
        assert_eq!(read(json!(null)), []);
    }

    #[test]
    fn keys_without_end_have_an_end() {
        assert_eq!(read(json!({"digits": vec![json!({"code": 1}); 1000]})).len(), MOST);
        assert_eq!(
            read(json!({"digits": vec![json!({"code": 1, "duration": 1e9}); 50], "send_interval": 0})).len(),
            12
        );
    }
}
