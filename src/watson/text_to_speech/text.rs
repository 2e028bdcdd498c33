//! What is sent to be spoken: plain text is escaped (the service reads XML), SSML goes as it is, and both are split at
//! sentence ends where they exceed one request (5 KB, Watson facts 2.3).

/// The requests that speak `text`, in order; none for text without a letter.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    if is_ssml(text) { ssml_pieces(text) } else { split(&tokens(&escape(text)), LIMIT) }
}

/// Whether the author wrote SSML: one of its elements is in the text.
fn is_ssml(text: &str) -> bool {
    text.match_indices('<').any(|(at, _)| {
        let rest = text.get(at + 1..).unwrap_or_default();
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let name: &str = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).next().unwrap_or_default();
        let closed = rest.get(name.len()..).is_some_and(|after| after.starts_with(['>', '/', ' ', '\t', '\n', '\r']));
        closed && SSML_ELEMENTS.contains(&name)
    })
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // Not a character of XML 1.0: the service would refuse the whole text.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Splits between the children of `<speak>`, which each request gets anew.
fn ssml_pieces(text: &str) -> Vec<String> {
    if text.len() <= LIMIT {
        return vec![text.to_owned()];
    }
    let whole = || -> Option<(&str, &str)> {
        let open_end = text.find('>').filter(|_| text.starts_with("<speak"))? + 1;
        Some((text.get(..open_end)?, text.get(open_end..)?.strip_suffix("</speak>")?))
    };
    let Some((open, inner)) = whole() else { return split(&tokens(text), LIMIT) };
    let room = LIMIT.saturating_sub(open.len() + "</speak>".len());
    split(&tokens(inner), room).into_iter().map(|piece| format!("{open}{piece}</speak>")).collect()
}

/// A stretch that must stay together, and how good a place its end is to split.
struct Unit<'a> {
    text: &'a str,
    ends_sentence: bool,
}

/// Words with the blanks behind them; elements with all their content; entities whole.
fn tokens(text: &str) -> Vec<Unit<'_>> {
    let mut units = Vec::new();
    let mut depth = 0_u32;
    let mut start = 0;
    let mut in_tag = false;
    let mut tag_start = 0;
    let mut previous = ' ';
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = at + c.len_utf8();
        match c {
            '<' => {
                in_tag = true;
                tag_start = at;
            }
            '>' if in_tag => {
                in_tag = false;
                let tag = text.get(tag_start..end).unwrap_or_default();
                if tag.starts_with("</") {
                    depth = depth.saturating_sub(1);
                } else if !tag.ends_with("/>") && !tag.starts_with("<!") && !tag.starts_with("<?") {
                    depth += 1;
                }
                let sentence = tag.starts_with("</s>") || tag.starts_with("</p>");
                if depth == 0 && (sentence || chars.peek().is_none_or(|(_, next)| next.is_whitespace())) {
                    units.push(Unit { text: text.get(start..end).unwrap_or_default(), ends_sentence: sentence });
                    start = end;
                }
            }
            c if depth == 0 && !in_tag => {
                let blank_run_ends = c.is_whitespace() && chars.peek().is_none_or(|(_, next)| !next.is_whitespace());
                let stands_alone = WIDE_STOPS.contains(&c);
                if blank_run_ends || stands_alone {
                    let ends_sentence = stands_alone || SENTENCE_ENDS.contains(&previous);
                    units.push(Unit { text: text.get(start..end).unwrap_or_default(), ends_sentence });
                    start = end;
                }
            }
            _ => {}
        }
        if !c.is_whitespace() {
            previous = c;
        }
    }
    if let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
        units.push(Unit { text: rest, ends_sentence: true });
    }
    units
}

/// Fills pieces of at most `limit` bytes, each as long as it can be and ending with a sentence where one ends in it.
fn split(units: &[Unit<'_>], limit: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut sentence_end = 0;
    for unit in units.iter().flat_map(|unit| fitting(unit, limit)) {
        if !piece.is_empty() && piece.len() + unit.text.len() > limit {
            let cut = if sentence_end > 0 { sentence_end } else { piece.len() };
            let rest = piece.split_off(cut);
            pieces.push(std::mem::replace(&mut piece, rest));
            sentence_end = 0;
            if piece.len() + unit.text.len() > limit && !piece.is_empty() {
                pieces.push(std::mem::take(&mut piece));
            }
        }
        piece.push_str(unit.text);
        if unit.ends_sentence {
            sentence_end = piece.len();
        }
    }
    pieces.push(piece);
    pieces.into_iter().map(|piece| piece.trim().to_owned()).filter(|piece| !piece.is_empty()).collect()
}

/// A unit in parts that fit: a word longer than a request is cut anywhere but in an entity. Elements stay whole: the service
/// says what is wrong with one that is too long.
fn fitting<'a>(unit: &Unit<'a>, limit: usize) -> Vec<Unit<'a>> {
    let mut parts = Vec::new();
    let mut rest = unit.text;
    while rest.len() > limit && limit > 0 && !rest.contains('<') {
        let mut cut = rest.floor_char_boundary(limit);
        let head = rest.get(..cut).unwrap_or_default();
        if let Some(entity) = head.rfind('&').filter(|at| *at > 0 && !head.get(*at..).unwrap_or_default().contains(';'))
        {
            cut = entity;
        }
        let (head, tail) = rest.split_at(cut);
        if head.is_empty() {
            break;
        }
        parts.push(Unit { text: head, ends_sentence: false });
        rest = tail;
    }
    parts.push(Unit { text: rest, ends_sentence: unit.ends_sentence });
    parts
}

/// The service takes 5 KB; the JSON around the text, which escapes quotes and line breaks anew, needs a little.
const LIMIT: usize = 4800;
const SENTENCE_ENDS: &[char] = &['.', '!', '?', '…', ':', ';'];
/// Sentence ends that no blank follows.
const WIDE_STOPS: &[char] = &['。', '！', '？'];
/// Elements that tell SSML from a plain text with a less-than sign.
const SSML_ELEMENTS: &[&str] = &[
    "speak",
    "break",
    "prosody",
    "say-as",
    "phoneme",
    "sub",
    "emphasis",
    "express-as",
    "p",
    "s",
    "voice",
    "mark",
    "paragraph",
    "sentence",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_escaped_and_ssml_is_not() {
        assert_eq!(pieces("Tom & \"Jerry\" <3 5 > 4"), ["Tom &amp; &quot;Jerry&quot; &lt;3 5 &gt; 4"]);
        assert_eq!(pieces("a <b>bold</b> word"), ["a &lt;b&gt;bold&lt;/b&gt; word"]);
        let ssml = "Wait <break time=\"1s\"/> & go";
        assert_eq!(pieces(ssml), [ssml]);
        assert_eq!(pieces("<p>One.</p>"), ["<p>One.</p>"]);
        assert_eq!(pieces("<party>"), ["&lt;party&gt;"]);
        assert_eq!(pieces("bell\u{7}"), ["bell"]);
    }

    #[test]
    fn nothing_to_say_is_no_request() {
        assert!(pieces("").is_empty());
        assert!(pieces(" \r\n").is_empty());
    }

    #[test]
    fn long_text_is_split_at_sentence_ends_and_nothing_is_lost() {
        let sentence = "This is sentence number seven, and it is not short. ";
        let text = sentence.repeat(300);
        let pieces = pieces(&text);
        assert!(pieces.len() > 3);
        for piece in &pieces {
            assert!(piece.len() <= LIMIT);
            assert!(piece.ends_with("short."), "{piece}");
        }
        assert_eq!(pieces.join(" "), text.trim());
    }

    #[test]
    fn text_without_sentence_ends_is_split_at_blanks_and_entities_stay_whole() {
        let text = "a&b ".repeat(2000);
        let pieces = pieces(&text);
        assert!(pieces.iter().all(|piece| piece.len() <= LIMIT && piece.ends_with("a&amp;b")));
        assert_eq!(pieces.join(" ").matches("a&amp;b").count(), 2000);
        let endless = "x&".repeat(4000);
        let cut = super::pieces(&endless);
        assert!(cut.iter().all(|piece| piece.len() <= LIMIT && !piece.starts_with("amp;")));
        assert_eq!(cut.concat().matches("x&amp;").count(), 4000);
        let wide = "これは文です。".repeat(400);
        assert!(super::pieces(&wide).iter().all(|piece| piece.len() <= LIMIT && piece.ends_with('。')));
    }

    #[test]
    fn long_ssml_is_split_between_elements_and_each_piece_is_whole() {
        let element = "<prosody rate=\"slow\">Not so fast. Slowly.</prosody> Then on. ";
        let text = format!("<speak version=\"1.0\">{}</speak>", element.repeat(300));
        let pieces = pieces(&text);
        assert!(pieces.len() > 3);
        for piece in &pieces {
            assert!(piece.len() <= LIMIT);
            assert!(piece.starts_with("<speak version=\"1.0\">") && piece.ends_with("</speak>"), "{piece}");
            assert_eq!(piece.matches("<prosody").count(), piece.matches("</prosody>").count());
        }
        assert_eq!(pieces.iter().map(|piece| piece.matches("<prosody").count()).sum::<usize>(), 300);
    }

    proptest::proptest! {
        #[test]
        fn any_text_survives(text in "[a-z<>&/.! \"sp\\n]{0,400}") {
            let units = tokens(&text);
            let joined: String = units.iter().map(|unit| unit.text).collect();
            proptest::prop_assert_eq!(&joined, &text);
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            let split: String = split(&units, 40).concat();
            proptest::prop_assert_eq!(squeezed(&split), squeezed(&text));
        }
    }
}
