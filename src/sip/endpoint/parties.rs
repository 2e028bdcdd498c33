//! Who calls, and whom they called first (RFC 3325, RFC 5806, RFC 7044). Only peers of `sip.allow_from` are read: they are trusted.

use crate::sip::message::{Headers, NameAddr, split_list};

/// P-Asserted-Identity, else the calling party of Remote-Party-ID, else From; empty when the caller withholds it.
pub(super) fn caller_number(headers: &Headers, from: &NameAddr) -> String {
    let withheld = |privacy: &str| privacy.split(';').any(|one| one.trim().eq_ignore_ascii_case("id"));
    if headers.first("Privacy").is_some_and(withheld) {
        return String::new();
    }
    let asserted = addresses(headers, "P-Asserted-Identity").map(|one| one.uri.number()).find(|one| !one.is_empty());
    let remote = || addresses(headers, "Remote-Party-ID").find(is_calling_party);
    let number = match asserted {
        Some(number) => number,
        None => match remote() {
            Some(party) if is_private(&party) => return String::new(),
            Some(party) if !party.uri.number().is_empty() => party.uri.number(),
            _ => from.uri.number(),
        },
    };
    let withheld = number.eq_ignore_ascii_case("anonymous") || from.uri.host.eq_ignore_ascii_case("anonymous.invalid");
    if withheld { String::new() } else { number }
}

/// Of a diverted call the number that was called first: the last Diversion, as each new one stands in front, else the first
/// History-Info that has another behind it. Empty where the call was not diverted, or the number is withheld.
pub(super) fn original_called_number(headers: &Headers) -> String {
    let diversion = addresses(headers, "Diversion").last();
    let history = || {
        let mut entries = addresses(headers, "History-Info");
        let first = entries.next()?;
        entries.next().map(|_| first)
    };
    match diversion.or_else(history) {
        Some(first) if !is_private(&first) => first.uri.number(),
        _ => String::new(),
    }
}

fn addresses<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = NameAddr> + 'a {
    let values = headers.fields_of(name).filter_map(|field| split_list(&field.value)).flatten();
    values.filter_map(|value| NameAddr::parse(value).ok())
}

/// Without `party` it is the caller's, in a request (draft-ietf-sip-privacy-04 section 5.1).
fn is_calling_party(party: &NameAddr) -> bool {
    party.params.value("party").is_none_or(|party| party.eq_ignore_ascii_case("calling"))
}

/// `privacy` of Remote-Party-ID and Diversion.
fn is_private(party: &NameAddr) -> bool {
    party.params.value("privacy").is_some_and(|privacy| {
        let privacy = privacy.trim_matches('"');
        ["full", "uri"].iter().any(|hidden| privacy.eq_ignore_ascii_case(hidden))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_number_is_the_asserted_one_unless_withheld() {
        for (fields, from, number) in [
            (&[][..], "sip:+1555@h;tag=1", "+1555"),
            (&[("P-Asserted-Identity", "\"A\" <sip:+1777@h>, <tel:+1-777>")], "sip:+1555@h", "+1777"),
            (&[("P-Asserted-Identity", "<sip:trunk.example.com>, <tel:+1-777>")], "sip:+1555@h", "+1777"),
            (&[("P-Asserted-Identity", "\"broken <sip:x>")], "<tel:+1-555>", "+1555"),
            (&[("Privacy", "header; id")], "sip:+1555@h", ""),
            (&[], "\"Anonymous\" <sip:anonymous@anonymous.invalid>", ""),
            (&[], "sip:pbx.example.com", ""),
            (&[("Remote-Party-ID", "<sip:+1888@h>;party=calling;screen=yes")], "sip:+1555@h", "+1888"),
            (&[("Remote-Party-ID", "<sip:+1888@h>;party=called")], "sip:+1555@h", "+1555"),
            (&[("Remote-Party-ID", "<sip:+1888@h>;party=calling;privacy=full")], "sip:+1555@h", ""),
            (
                &[("Remote-Party-ID", "<sip:+1888@h>;privacy=full"), ("P-Asserted-Identity", "<sip:+1777@h>")],
                "sip:a@h",
                "+1777",
            ),
        ] {
            assert_eq!(
                caller_number(&Headers::of(fields), &NameAddr::parse(from).unwrap()),
                number,
                "{fields:?} {from}"
            );
        }
    }

    #[test]
    fn a_diverted_call_tells_who_was_called_first() {
        let early = ("Diversion", "<tel:+1-222>;reason=no-answer, <sip:+1111@h>;reason=unconditional;counter=1");
        let history = "<sip:+1333@h>;index=1, <sip:+1444@h;cause=302>;index=1.1";
        for (fields, number) in [
            (&[][..], ""),
            (&[early], "+1111"),
            (&[early, ("Diversion", "<sip:+1000@h>;reason=user-busy")], "+1000"),
            (&[("Diversion", "<sip:+1111@h>;privacy=full")], ""),
            (&[("History-Info", history)], "+1333"),
            (&[("History-Info", "<sip:+1333@h>;index=1")], ""),
            (&[("History-Info", history), early], "+1111"),
            (&[("Diversion", "\"open <sip:x>")], ""),
        ] {
            assert_eq!(original_called_number(&Headers::of(fields)), number, "{fields:?}");
        }
    }
}
