//! SIP header fields that authors write (`end_session`, `transfer_headers`), made safe for a SIP message.

use super::custom_data;
use super::json::{self, items, short};
use serde_json::Value;

/// Reads `[{name, value}]`: names are tokens that are not among the dialog's own header fields, values one line of at most 1 KiB.
pub(super) fn read(listed: Option<&Value>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for header in items(listed).iter().take(MOST_HEADERS) {
        let name = json::text(header.get("name")).unwrap_or_default();
        if !may_be_set(&name) {
            tracing::warn!(name = %short(&name), "header ignored: not a name that can be set");
            continue;
        }
        headers.push((name, value(&json::text(header.get("value")).unwrap_or_default())));
    }
    headers
}

/// Whether an author may write a header field of this name.
pub(super) fn may_be_set(name: &str) -> bool {
    is_token(name) && !RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

fn value(text: &str) -> String {
    let line: String = text.chars().filter(|c| !c.is_control()).collect();
    let cut = custom_data::head(&line, HEADER_VALUE);
    if cut.len() < line.len() {
        tracing::warn!(bytes = line.len(), kept = cut.len(), "header value cut");
    }
    cut.to_owned()
}

/// RFC 3261 section 25.1, `token`.
fn is_token(name: &str) -> bool {
    let sign = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(sign)
}

/// Header fields that make the dialog, the message or the transfer: not an author's to set.
const RESERVED: [&str; 30] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Max-Forwards",
    "Route",
    "Record-Route",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Require",
    "Proxy-Require",
    "Supported",
    "Authorization",
    "Proxy-Authorization",
    "Refer-To",
    "Refer-Sub",
    "Event",
    "v",
    "f",
    "t",
    "i",
    "m",
    "l",
    "c",
    "k",
    "r",
    "o",
];
const MOST_HEADERS: usize = 16;
/// Bytes (Watson facts 1.1).
const HEADER_VALUE: usize = 1024;
