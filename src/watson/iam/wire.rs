//! IAM token request and answer (Watson facts 2.1): a form, and JSON.

use secrecy::SecretString;
use std::time::Duration;

/// A token as minted.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The bearer token.
    pub access_token: SecretString,
    /// How long it lives from now.
    pub expires_in: Duration,
}

/// The form fields that exchange an API key for a token.
#[must_use]
pub fn form(api_key: &str) -> [(&'static str, &str); 3] {
    [("grant_type", "urn:ibm:params:oauth:grant-type:apikey"), ("apikey", api_key), ("response_type", "cloud_iam")]
}

/// Reads the answer. The error names what is missing, and shows nothing of the body.
pub fn parse(body: &[u8]) -> Result<Minted, &'static str> {
    #[derive(serde::Deserialize)]
    struct Answer {
        access_token: Option<SecretString>,
        expires_in: Option<serde_json::Value>,
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "not a JSON token answer")?;
    let access_token = answer.access_token.ok_or("no access_token")?;
    let seconds = match answer.expires_in {
        Some(serde_json::Value::Number(number)) => number.as_u64(),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let expires_in = seconds.map_or(UNSTATED_LIFETIME, Duration::from_secs).min(LONGEST_LIFETIME);
    Ok(Minted { access_token, expires_in })
}

/// IAM always states a lifetime; one that does not is asked again soon.
const UNSTATED_LIFETIME: Duration = Duration::from_secs(600);
/// IAM gives at most an hour; a figure beyond this is not one to do sums with.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn the_documented_answer_is_read() {
        let minted = parse(
            br#"{"access_token":"eyJ.x","refresh_token":"r","token_type":"Bearer","expires_in":3600,"expiration":1473188353,"scope":"ibm openid"}"#,
        )
        .unwrap();
        assert_eq!(minted.access_token.expose_secret(), "eyJ.x");
        assert_eq!(minted.expires_in, Duration::from_secs(3600));
        assert!(!format!("{minted:?}").contains("eyJ"));
        let endless = parse(br#"{"access_token":"a","expires_in":18446744073709551615}"#).unwrap();
        assert_eq!(endless.expires_in, LONGEST_LIFETIME);
        assert_eq!(parse(br#"{"access_token":"a","expires_in":"60"}"#).unwrap().expires_in, Duration::from_secs(60));
    }

    #[test]
    fn garbage_is_named() {
        assert_eq!(parse(b"<html>").unwrap_err(), "not a JSON token answer");
        assert_eq!(parse(br#"{"access_tok"#).unwrap_err(), "not a JSON token answer");
        assert_eq!(parse(br#"{"expires_in":3600}"#).unwrap_err(), "no access_token");
    }
}
