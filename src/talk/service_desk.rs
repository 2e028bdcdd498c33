//! `service_desk.sip` of a transfer: to a SIP or telephone address, by REFER or by BYE (Watson facts 1.4).

use super::headers;
use super::json::{self, items, short};
use serde_json::Value;
use std::fmt;

/// A transfer to an address. `Debug` shows neither the address nor values.
#[derive(Clone, PartialEq, Eq)]
pub struct SipTransfer {
    /// How, and where to.
    pub way: Way,
    /// `transfer_headers`.
    pub headers: Vec<(String, String)>,
    /// `accept_transfer_reject_codes`: error codes that mean that the transfer succeeded.
    pub accepted_codes: Vec<u16>,
}

/// `transfer_method`.
#[derive(Clone, PartialEq, Eq)]
pub enum Way {
    /// `refer`.
    Refer {
        /// `sip:`, `sips:` or `tel:`.
        uri: String,
        /// `transfer_headers_send_method`.
        place: Place,
    },
    /// `hangup`: BYE tells whoever called us.
    Hangup {
        /// The header field `transfer_target_header` with the address, where there is one.
        target: Option<(String, String)>,
    },
}

/// `transfer_headers_send_method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `custom_header`.
    Custom,
    /// `contact_header`.
    Contact,
    /// `refer_to_header`.
    ReferTo,
}

impl fmt::Debug for SipTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let way = match &self.way {
            Way::Refer { .. } => "refer",
            Way::Hangup { .. } => "hangup",
        };
        write!(f, "SipTransfer {way} {names:?} {:?}", self.accepted_codes)
    }
}

/// Reads the object `sip`; the error says why no transfer can be made of it.
pub(super) fn read(sip: &Value) -> Result<SipTransfer, &'static str> {
    let uri = json::text(sip.get("uri")).map(|uri| address(&uri)).transpose()?;
    let way = match word(sip, "transfer_method").as_str() {
        "hangup" => Way::Hangup { target: uri.map(|uri| (target_header(sip), uri)) },
        other => {
            expect("transfer_method", other, "refer");
            Way::Refer { uri: uri.ok_or("service_desk.sip has no uri")?, place: place(sip) }
        }
    };
    Ok(SipTransfer {
        way,
        headers: headers::read(sip.get("transfer_headers")),
        accepted_codes: accepted_codes(sip.get("accept_transfer_reject_codes")),
    })
}

/// An address as a header field may hold it between angle brackets. Authors escape `@` by backslashes, which no URI has.
fn address(text: &str) -> Result<String, &'static str> {
    let uri = text.replace('\\', "");
    let lower = uri.to_ascii_lowercase();
    if !["sip:", "sips:", "tel:"].iter().any(|scheme| lower.len() > scheme.len() && lower.starts_with(scheme)) {
        return Err("service_desk.sip.uri is no sip:, sips: or tel: URI");
    }
    if uri.len() > LONGEST_URI {
        return Err("service_desk.sip.uri is too long");
    }
    // Whoever unescapes its headers must find no line break either.
    let escaped_break = ["%0d", "%0a", "%00"].iter().any(|escape| lower.contains(escape));
    if escaped_break || !uri.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b)) {
        return Err("service_desk.sip.uri holds characters that no URI may have");
    }
    Ok(uri)
}

fn target_header(sip: &Value) -> String {
    match json::text(sip.get("transfer_target_header")) {
        Some(name) if headers::may_be_set(&name) => name,
        Some(name) => {
            tracing::warn!(name = %short(&name), instead = TARGET_HEADER, "transfer_target_header cannot be set");
            TARGET_HEADER.to_owned()
        }
        None => TARGET_HEADER.to_owned(),
    }
}

fn place(sip: &Value) -> Place {
    match word(sip, "transfer_headers_send_method").as_str() {
        "contact_header" => Place::Contact,
        "refer_to_header" => Place::ReferTo,
        other => {
            expect("transfer_headers_send_method", other, "custom_header");
            Place::Custom
        }
    }
}

/// Codes as numbers or strings, in an array or between commas.
fn accepted_codes(listed: Option<&Value>) -> Vec<u16> {
    let texts = items(listed).iter().filter_map(|code| json::text(Some(code)));
    let codes = texts.flat_map(|text| text.split(',').map(|code| code.trim().parse()).collect::<Vec<_>>()).flatten();
    codes.filter(|code| (200..700).contains(code)).take(MOST_CODES).collect()
}

fn word(sip: &Value, name: &str) -> String {
    json::text(sip.get(name)).unwrap_or_default().to_ascii_lowercase()
}

fn expect(name: &str, found: &str, taken: &str) {
    if !found.is_empty() && found != taken {
        tracing::warn!(value = %short(found), taken, "{name} is unknown");
    }
}

const TARGET_HEADER: &str = "Transfer-Target";
const LONGEST_URI: usize = 1024;
const MOST_CODES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refer(uri: &str, place: Place) -> Way {
        Way::Refer { uri: uri.into(), place }
    }

    #[test]
    fn the_table_of_the_facts() {
        let table = [
            (json!({"uri": "sip:user\\@domain.com"}), refer("sip:user@domain.com", Place::Custom)),
            (json!({"uri": "sips:u\\\\@h:5061;transport=tcp", "transfer_method": "REFER"}), {
                refer("sips:u@h:5061;transport=tcp", Place::Custom)
            }),
            (json!({"uri": " tel:+18883334444 ", "transfer_headers_send_method": "refer_to_header"}), {
                refer("tel:+18883334444", Place::ReferTo)
            }),
            (
                json!({"uri": "sip:u@h", "transfer_headers_send_method": "Contact_Header"}),
                refer("sip:u@h", Place::Contact),
            ),
            (json!({"uri": "sip:u@h", "transfer_method": "pigeon", "transfer_headers_send_method": 5}), {
                refer("sip:u@h", Place::Custom)
            }),
            (json!({"transfer_method": "hangup"}), Way::Hangup { target: None }),
            (json!({"transfer_method": "hangup", "uri": "tel:+1888"}), {
                Way::Hangup { target: Some(("Transfer-Target".into(), "tel:+1888".into())) }
            }),
            (json!({"transfer_method": "hangup", "uri": "sip:u@h", "transfer_target_header": "X-Target"}), {
                Way::Hangup { target: Some(("X-Target".into(), "sip:u@h".into())) }
            }),
            (json!({"transfer_method": "hangup", "uri": "sip:u@h", "transfer_target_header": "Via"}), {
                Way::Hangup { target: Some(("Transfer-Target".into(), "sip:u@h".into())) }
            }),
        ];
        for (sip, way) in table {
            assert!(read(&sip).is_ok_and(|transfer| transfer.way == way), "{sip}");
        }
    }

    #[test]
    fn headers_and_codes_are_read_leniently() {
        let transfer = read(&json!({"uri": "sip:u@h",
            "transfer_headers": [{"name": "X-Number", "value": 5}, {"name": "Refer-To", "value": "<sip:evil@h>"},
                {"name": "X-Evil", "value": "a\r\nVia: b"}, "nonsense"],
            "accept_transfer_reject_codes": ["410", 202, "603, 486", "x", 99999, null, 50]}))
        .unwrap();
        let headers = [("X-Number", "5"), ("X-Evil", "aVia: b")];
        assert_eq!(transfer.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(transfer.accepted_codes, [410, 202, 603, 486]);
        let one = read(
            &json!({"uri": "sip:u@h", "transfer_headers": {"name": "X", "value": "1"}, "accept_transfer_reject_codes": 410}),
        );
        assert!(one.is_ok_and(|one| one.headers.len() == 1 && one.accepted_codes == [410]));
        assert_eq!(format!("{transfer:?}"), "SipTransfer refer [\"X-Number\", \"X-Evil\"] [410, 202, 603, 486]");
    }

    #[test]
    fn an_address_that_could_do_harm_is_none() {
        let long = format!("sip:{}@h", "u".repeat(LONGEST_URI));
        for uri in [
            "http://h",
            "+1888",
            "sip:",
            "user@h",
            "sip:u@h\r\nVia: x",
            "sip:u @h",
            "sip:u@h>;x=<y",
            "sip:\"u\"@h",
            "sip:ü@h",
            "sip:u@h?X=a%0d%0ab",
            "sip:u@h?X=a%0Ab",
            "sip:u@h?X=%00",
            &long,
        ] {
            assert!(read(&json!({"uri": uri})).is_err(), "{uri}");
            assert!(read(&json!({"uri": uri, "transfer_method": "hangup"})).is_err(), "{uri}");
        }
        assert_eq!(read(&json!({})), Err("service_desk.sip has no uri"));
        assert_eq!(read(&json!("sip:u@h")), Err("service_desk.sip has no uri"));
    }
}
