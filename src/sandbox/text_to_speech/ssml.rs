//! The text of a Text to Speech request (Watson facts 2.3): always read as XML, so that a bare `&` or `<` is an error, as it is
//! for the real service.

use std::time::Duration;

/// What is to be spoken, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Plain text, not blank.
    Text(String),
    /// Silence.
    Break(Duration),
    /// `<mark name="..."/>`.
    Mark(String),
}

/// Reads plain text or SSML, or says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut reader = Reader::default();
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        reader.text(before);
        rest = if let Some(after) = from.strip_prefix('&') {
            let (name, after) = after.split_once(';').ok_or("Invalid SSML: '&' must be written '&amp;'")?;
            reader.text(&entity(name)?);
            after
        } else if let Some(comment) = from.strip_prefix("<!--") {
            comment.split_once("-->").ok_or("Invalid SSML: a comment is not closed")?.1
        } else {
            let (tag, after) = tag(from)?;
            reader.tag(tag)?;
            after
        };
    }
    reader.text(rest);
    reader.end()
}

#[derive(Default)]
struct Reader {
    pieces: Vec<Piece>,
    open: Vec<(String, Effect)>,
    plain: String,
}

/// What an open element does to the text in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    None,
    /// `<sub>`: replaced by its alias.
    Replaced,
    /// `<say-as>` of digits or letters: spoken one by one.
    Spelled,
}

impl Reader {
    fn text(&mut self, text: &str) {
        let inside = |effect| self.open.iter().any(|(_, open)| *open == effect);
        if inside(Effect::Replaced) {
            return;
        }
        if inside(Effect::Spelled) {
            for character in text.chars().filter(|character| character.is_alphanumeric()) {
                self.plain.push(' ');
                self.plain.push(character);
            }
        } else {
            self.plain.push_str(text);
        }
    }

    fn flush(&mut self) {
        let words = self.plain.split_whitespace().collect::<Vec<_>>().join(" ");
        self.plain.clear();
        if !words.is_empty() {
            self.pieces.push(Piece::Text(words));
        }
    }

    fn tag(&mut self, tag: &str) -> Result<(), String> {
        if tag.starts_with('?') || tag.starts_with('!') {
            return Ok(());
        }
        if let Some(name) = tag.strip_prefix('/') {
            let name = name.trim();
            if self.open.pop().is_none_or(|(open, _)| open != name) {
                return Err(format!("Invalid SSML: unexpected '</{name}>'"));
            }
            if matches!(name, "p" | "s" | "paragraph" | "sentence") {
                self.plain.push(' ');
            }
            return Ok(());
        }
        let (inner, closed) = tag.strip_suffix('/').map_or((tag, false), |inner| (inner, true));
        let (name, attributes) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '_' | '.');
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(valid) {
            return Err(format!("Invalid SSML: '<{tag}>' is not an element; '<' must be written '&lt;'"));
        }
        let attributes = attributes_of(attributes, name)?;
        let value = |wanted: &str| attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let mut effect = Effect::None;
        match name {
            "break" => {
                let length = pause(value("time"), value("strength"))?;
                self.flush();
                self.pieces.push(Piece::Break(length));
            }
            "mark" => {
                let mark = value("name").ok_or("Invalid SSML: <mark> needs a name")?.to_owned();
                self.flush();
                self.pieces.push(Piece::Mark(mark));
            }
            "sub" => {
                let alias = value("alias").ok_or("Invalid SSML: <sub> needs an alias")?.to_owned();
                self.text(&alias);
                effect = Effect::Replaced;
            }
            "say-as" => {
                let how = value("interpret-as").ok_or("Invalid SSML: <say-as> needs interpret-as")?;
                if matches!(how, "digits" | "letters" | "characters" | "spell-out" | "vxml:digits") {
                    effect = Effect::Spelled;
                }
            }
            _ => {}
        }
        if !closed {
            self.open.push((name.to_owned(), effect));
        }
        Ok(())
    }

    fn end(mut self) -> Result<Vec<Piece>, String> {
        if let Some((name, _)) = self.open.pop() {
            return Err(format!("Invalid SSML: '<{name}>' is not closed"));
        }
        self.flush();
        Ok(self.pieces)
    }
}

/// The inside of the tag that `from` begins with, and what follows it. Quotes may hold `>`.
fn tag(from: &str) -> Result<(&str, &str), String> {
    let mut quote = None;
    for (at, c) in from.char_indices() {
        match (quote, c) {
            (None, '>') => return Ok((from.get(1..at).unwrap_or_default(), from.get(at + 1..).unwrap_or_default())),
            (None, '"' | '\'') => quote = Some(c),
            (None, '<') if at > 0 => break,
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    Err("Invalid SSML: a tag is not closed; '<' must be written '&lt;'".to_owned())
}

fn attributes_of(mut text: &str, element: &str) -> Result<Vec<(String, String)>, String> {
    let wrong = || format!("Invalid SSML: the attributes of '<{element}>' are not well formed");
    let mut found = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return Ok(found);
        }
        let (name, after) = text.split_once('=').ok_or_else(wrong)?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or_else(wrong)?;
        let (value, rest) = after.get(1..).and_then(|inner| inner.split_once(quote)).ok_or_else(wrong)?;
        found.push((name.trim().to_owned(), value.to_owned()));
        text = rest;
    }
}

fn entity(name: &str) -> Result<String, String> {
    let code = match name {
        "amp" => return Ok("&".to_owned()),
        "lt" => return Ok("<".to_owned()),
        "gt" => return Ok(">".to_owned()),
        "quot" => return Ok("\"".to_owned()),
        "apos" => return Ok("'".to_owned()),
        _ => match name.strip_prefix("#x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => name.strip_prefix('#').and_then(|digits| digits.parse().ok()),
        },
    };
    let character = code.and_then(char::from_u32);
    character.map(String::from).ok_or_else(|| {
        let name: String = name.chars().take(16).collect();
        format!("Invalid SSML: '&{name};' is not an entity; '&' must be written '&amp;'")
    })
}

fn pause(time: Option<&str>, strength: Option<&str>) -> Result<Duration, String> {
    let Some(time) = time else {
        return Ok(Duration::from_millis(match strength {
            Some("none") => 0,
            Some("x-weak") => 100,
            Some("weak") => 200,
            Some("strong") => 700,
            Some("x-strong") => 1_000,
            _ => 400,
        }));
    };
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && (0.0..=60_000.0).contains(n));
    let seconds = match time.strip_suffix("ms") {
        Some(text) => number(text).map(|n| n / 1_000.0),
        None => time.strip_suffix('s').and_then(number).filter(|n| *n <= 60.0),
    };
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("Invalid SSML: <break time='{time}'> is not a time up to 60s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    #[test]
    fn plain_text_and_entities() {
        assert_eq!(parse("Hello,  \n there."), Ok(vec![text("Hello, there.")]));
        assert_eq!(
            parse("Black &amp; Decker &lt; &#65;&#x42; &quot;q&apos;"),
            Ok(vec![text("Black & Decker < AB \"q'")])
        );
        assert_eq!(parse("it's > that"), Ok(vec![text("it's > that")]));
        assert_eq!(parse("  "), Ok(vec![]));
    }

    #[test]
    fn elements_that_matter_and_elements_that_do_not() {
        let ssml = "<?xml version='1.0'?><speak version=\"1.0\"><p>One<!-- <no> -->.</p><p>Two</p><break time=\"500ms\"/>\
                    <prosody rate='slow'>three</prosody> <mark name=\"here\"/><sub alias=\"World Health\">WHO</sub> \
                    <say-as interpret-as=\"digits\">29340</say-as> <say-as interpret-as=\"date\">today</say-as> <break strength=\"weak\"/></speak>";
        assert_eq!(
            parse(ssml),
            Ok(vec![
                text("One. Two"),
                Piece::Break(Duration::from_millis(500)),
                text("three"),
                Piece::Mark("here".to_owned()),
                text("World Health 2 9 3 4 0 today"),
                Piece::Break(Duration::from_millis(200)),
            ])
        );
    }

    #[test]
    fn what_xml_forbids_is_an_error_that_says_how_to_write_it() {
        for (wrong, hint) in [
            ("AT&T", "&amp;"),
            ("fish & chips; peas", "&amp;"),
            ("&nbsp;", "&amp;"),
            ("1 < 2", "&lt;"),
            ("a <b", "&lt;"),
            ("1 <2> 3", "&lt;"),
            ("<speak>hello", "not closed"),
            ("hello</speak>", "unexpected"),
            ("<a><b></a></b>", "unexpected"),
            ("<mark/>", "name"),
            ("<break time=\"long\"/>", "long"),
            ("<break time=\"1e9s\"/>", "1e9s"),
            ("<voice name=x>hi</voice>", "attributes"),
            ("<!-- hello", "comment"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.starts_with("Invalid SSML") && error.contains(hint), "{wrong}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~<>&;/\"'=a-zé\\n]{0,60}") {
            let _ = parse(&text);
        }
    }
}
