//! Prompt text on its way out: SSML taken off for the transcript, long text cut for Text to Speech (Watson facts 2.3: 5 KB a request).

/// What the words of a prompt are, for people to read: tags off, the five XML entities resolved, blanks folded.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let (before, tag) = rest.split_at(open);
        bare.push_str(before);
        match tag_length(tag) {
            Some(length) => {
                bare.push(' ');
                rest = tag.get(length..).unwrap_or_default();
            }
            None => {
                bare.push('<');
                rest = tag.get(1..).unwrap_or_default();
            }
        }
    }
    bare.push_str(rest);
    let words = bare.split_whitespace().collect::<Vec<_>>().join(" ");
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
        .iter()
        .fold(words, |text, (entity, character)| text.replace(entity, character))
}

/// Cuts plain text that is too long for one request at the ends of sentences, else of words. SSML is left whole: cut anywhere it
/// would be invalid, and the service's own refusal names the reason.
#[must_use]
pub fn pieces(text: &str) -> Vec<String> {
    if text.len() <= PIECE || is_ssml(text) {
        return vec![text.to_owned()];
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > PIECE {
        let mut limit = PIECE;
        while !rest.is_char_boundary(limit) {
            limit -= 1;
        }
        let (window, _) = rest.split_at(limit);
        let cut = ['.', '!', '?', '\n']
            .iter()
            .filter_map(|end| window.rfind(*end))
            .max()
            .filter(|end| *end > limit / 4)
            .map(|end| end + 1)
            .or_else(|| window.rfind(char::is_whitespace).filter(|blank| *blank > 0))
            .unwrap_or(limit);
        let (piece, after) = rest.split_at(cut);
        pieces.push(piece.trim().to_owned());
        rest = after.trim_start();
    }
    pieces.push(rest.trim().to_owned());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Bytes of a tag that starts `text`; none where the `<` is only a sign.
fn tag_length(text: &str) -> Option<usize> {
    let second = text.chars().nth(1)?;
    if !(second.is_ascii_alphabetic() || matches!(second, '/' | '!' | '?')) {
        return None;
    }
    text.find('>').map(|end| end + 1)
}

fn is_ssml(text: &str) -> bool {
    text.match_indices('<').any(|(at, _)| text.get(at..).and_then(tag_length).is_some())
}

/// Bytes of plain text in one request: under 5 KB with room for the escapes of `&`, `<` and quotes.
const PIECE: usize = 4000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssml_leaves_the_transcript_and_signs_stay() {
        assert_eq!(plain("<speak>Hello <break time=\"1s\"/>you &amp; me</speak>"), "Hello you & me");
        assert_eq!(plain("1 < 2 and 3 > 2"), "1 < 2 and 3 > 2");
        assert_eq!(plain("open <"), "open <");
        assert_eq!(plain("<prosody rate=\"fast\">unclosed"), "unclosed");
        assert_eq!(plain("&amp;lt;"), "&lt;");
    }

    #[test]
    fn long_text_is_cut_at_sentences_and_nothing_is_lost() {
        let text = "Hello dear caller. ".repeat(600);
        let pieces = pieces(&text);
        assert!(pieces.len() >= 3);
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE && piece.ends_with('.')));
        assert_eq!(pieces.join(" "), text.trim());
    }

    #[test]
    fn text_without_blanks_is_cut_between_characters() {
        let text = "ü".repeat(5000);
        assert_eq!(pieces(&text).concat(), text);
    }

    #[test]
    fn ssml_is_never_cut() {
        let text = format!("<speak>{}</speak>", "word ".repeat(2000));
        assert_eq!(pieces(&text), vec![text]);
    }
}
