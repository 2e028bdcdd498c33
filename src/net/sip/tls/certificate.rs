//! What an operator wants to know of a certificate (RFC 5280 sections 4.1.2.5 and 4.2.1.6).

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use x509_parser::extensions::GeneralName;

/// Our certificate: whom it names and how long it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Names and addresses of its subjectAltName: what peers compare with the host that they call (RFC 5922 section 7.1).
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
}

impl Certificate {
    pub(super) fn read(der: &[u8]) -> Result<Self, String> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).map_err(|error| error.to_string())?;
        let names = match parsed.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter().filter_map(shown).collect(),
            _ => Vec::new(),
        };
        let validity = parsed.validity();
        Ok(Self { names, not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
    }

    /// Why it cannot be used at `wall`.
    #[must_use]
    pub fn invalid_at(&self, wall: SystemTime) -> Option<String> {
        let now = seconds(wall);
        if now > self.not_after {
            Some(format!("expired on {}: renew it", day(self.not_after)))
        } else if now < self.not_before {
            Some(format!("is not valid before {}: check the clock", day(self.not_before)))
        } else {
            None
        }
    }

    /// Its names and its last day, and how soon that is when it is soon.
    #[must_use]
    pub fn describe(&self, wall: SystemTime) -> String {
        let names = if self.names.is_empty() { "nobody (no subjectAltName)".to_owned() } else { self.names.join(", ") };
        let mut text = format!("certificate for {names}, valid until {}", day(self.not_after));
        let days = (self.not_after - seconds(wall)) / DAY;
        if days < SOON {
            let _infallible = write!(text, "; note: that is in {days} days, renew it");
        }
        text
    }
}

fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|ip| IpAddr::from(ip).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|ip| IpAddr::from(ip).to_string()),
        },
        _ => None,
    }
}

fn seconds(wall: SystemTime) -> i64 {
    wall.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

fn day(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.strftime("%Y-%m-%d").to_string())
}

const DAY: i64 = 86_400;
/// Days of warning before the last.
const SOON: i64 = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn names_and_days_are_told() {
        let mut params = rcgen::CertificateParams::new(["gw.example.com".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let own = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::read(own.der()).unwrap();
        assert_eq!(read.names, ["gw.example.com", "192.0.2.1"]);
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap());
        assert_eq!(read.invalid_at(at(read.not_before)), None);
        assert_eq!(read.invalid_at(at(read.not_after + 1)).unwrap(), "expired on 2027-01-01: renew it");
        assert!(read.invalid_at(at(read.not_before - 1)).unwrap().contains("2026-01-01"));
        let told = |days: i64| read.describe(at(read.not_after - days * DAY));
        assert_eq!(told(31), "certificate for gw.example.com, 192.0.2.1, valid until 2027-01-01");
        assert!(told(7).ends_with("; note: that is in 7 days, renew it"));
        assert!(Certificate::read(b"none").is_err());
    }
}
