//! Bytes of CXone's HTTP interfaces as plain values, both ways: token (RFC 6749, JSON web tokens RFC 7519), discovery,
//! Signal parameters, error bodies. No sockets.

use super::settings::ParametersIn;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// A token answer, leniently read: only `access_token` must be there.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenAnswer {
    /// The bearer token.
    pub access_token: String,
    /// `expires_in`, else what the token itself says, else an hour.
    pub lifetime: Duration,
    /// `tenantId` of `id_token`, else of `access_token`.
    pub tenant_id: Option<String>,
}

impl TokenAnswer {
    /// Reads the body of a 200. `wall` dates tokens that say when they end and not when they began.
    ///
    /// # Errors
    /// What is not as it should be; never a part of the body.
    pub fn parse(body: &[u8], wall: SystemTime) -> Result<Self, String> {
        let answer = json(body)?;
        let access_token = answer
            .get("access_token")
            .and_then(Value::as_str)
            .filter(|token| !token.is_empty())
            .ok_or("no access_token in the answer")?
            .to_owned();
        let of_access = claims(&access_token);
        let of_id = answer.get("id_token").and_then(Value::as_str).and_then(claims);
        let tenant_id = [of_id.as_ref(), of_access.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|claims| claims.get("tenantId").and_then(Value::as_str))
            .map(str::trim)
            .filter(|tenant| !tenant.is_empty())
            .map(str::to_owned);
        let lifetime = answer
            .get("expires_in")
            .and_then(seconds)
            .or_else(|| of_access.as_ref().and_then(|claims| stated_lifetime(claims, wall)))
            .unwrap_or(ASSUMED_LIFETIME)
            .min(LONGEST_LIFETIME);
        Ok(Self { access_token, lifetime, tenant_id })
    }
}

/// `api_endpoint` of a discovery answer.
///
/// # Errors
/// What is not as it should be.
pub fn api_endpoint(body: &[u8]) -> Result<String, String> {
    let answer = json(body)?;
    let endpoint = answer.get("api_endpoint").and_then(Value::as_str).map(str::trim).unwrap_or_default();
    match endpoint.trim_end_matches('/') {
        "" => Err("no api_endpoint in the answer".into()),
        base => Ok(base.to_owned()),
    }
}

/// Body of the access-key token request.
#[must_use]
pub fn access_key_body(id: &str, secret: &str) -> Value {
    serde_json::json!({ "accessKeyId": id, "accessKeySecret": secret })
}

/// Body of the password-grant token request. The key pair ends in `====`, which a form must carry as `%3D`.
#[must_use]
pub fn password_body(id: &str, secret: &str) -> String {
    format!("grant_type=password&username={}&password={}", encode(id), encode(secret))
}

/// A signal's parameters as they go on the wire: the query (without `?`), and the JSON body.
#[must_use]
pub fn signal_parameters(parameters: &[(String, String)], places: ParametersIn) -> (Option<String>, Option<Value>) {
    let in_query = |name: &str| match places {
        ParametersIn::Query => true,
        ParametersIn::Body => false,
        ParametersIn::Split => name == "p1",
    };
    let (query, body): (Vec<_>, Vec<_>) = parameters.iter().partition(|(name, _)| in_query(name));
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let body: serde_json::Map<String, Value> =
        body.into_iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    ((!query.is_empty()).then(|| query.join("&")), (!body.is_empty()).then_some(Value::Object(body)))
}

/// `encodeURIComponent` (ECMA-262), which CXone's own clients use: a space is `%20`.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// What an error body says for people, on one line, at most 200 characters, with `secrets` cut out.
#[must_use]
pub fn error_text(body: &[u8], secrets: &[&str]) -> Option<String> {
    let answer = json(body).ok()?;
    let mut said: Vec<&str> = ["error", "error_description", "errorDescription", "message", "Message"]
        .iter()
        .filter_map(|field| answer.get(field).and_then(Value::as_str))
        .filter(|text| !text.trim().is_empty())
        .collect();
    said.dedup();
    let mut text = said.join(": ");
    for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST_SECRET) {
        text = text.replace(secret, "[…]").replace(&encode(secret), "[…]");
    }
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_ERROR).collect();
    (!text.is_empty()).then_some(text)
}

/// `Retry-After` (RFC 9110 section 10.2.3) in seconds. The date form is not worth a clock comparison here.
#[must_use]
pub fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

fn json(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|_| match body.trim_ascii_start().first() {
        Some(b'<') => "the answer is HTML, not JSON".into(),
        Some(_) => "the answer is not JSON".into(),
        None => "the answer is empty".into(),
    })
}

/// Payload of a JSON web token. Decoded only: it came over TLS from the issuer, and nothing is decided by it but where
/// discovery is asked.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&BASE64URL.decode(payload).ok()?).ok()
}

/// How long the token says it lives. Its own two stamps are better than one of them and our clock, which may be wrong.
fn stated_lifetime(claims: &Value, wall: SystemTime) -> Option<Duration> {
    let ends = claims.get("exp").and_then(seconds)?;
    let began = match claims.get("iat").and_then(seconds) {
        Some(issued) => issued,
        None => wall.duration_since(SystemTime::UNIX_EPOCH).ok()?,
    };
    ends.checked_sub(began).filter(|life| !life.is_zero())
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

const ASSUMED_LIFETIME: Duration = Duration::from_secs(3600);
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);
const LONGEST_ERROR: usize = 200;
/// Shorter ones are words like "1" that would only make holes in the text.
const SHORTEST_SECRET: usize = 3;
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// What `encodeURIComponent` leaves alone, but for `'`, which URL parsers encode in a query anyway.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'(')
    .remove(b')');

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(claims: &Value) -> String {
        let payload = BASE64URL.encode(claims.to_string());
        format!("eyJhbGciOiJIUzI1NiJ9.{payload}.c2ln")
    }

    fn parse(answer: &Value) -> Result<TokenAnswer, String> {
        TokenAnswer::parse(answer.to_string().as_bytes(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
    }

    #[test]
    fn only_the_access_token_is_needed() {
        let answer = parse(&serde_json::json!({ "access_token": "opaque" })).unwrap();
        assert_eq!((answer.lifetime, answer.tenant_id), (Duration::from_secs(3600), None));
        for bad in [serde_json::json!({}), serde_json::json!({ "access_token": 7 }), serde_json::json!([])] {
            assert_eq!(parse(&bad).err().unwrap(), "no access_token in the answer");
        }
    }

    #[test]
    fn the_lifetime_is_the_answers_then_the_tokens_then_an_hour() {
        let dated = token(&serde_json::json!({ "iat": 500, "exp": 1100 }));
        let lifetime = |answer: Value| parse(&answer).unwrap().lifetime.as_secs();
        assert_eq!(lifetime(serde_json::json!({ "access_token": dated, "expires_in": 90 })), 90);
        assert_eq!(lifetime(serde_json::json!({ "access_token": dated, "expires_in": "90" })), 90);
        assert_eq!(lifetime(serde_json::json!({ "access_token": dated })), 600);
        assert_eq!(lifetime(serde_json::json!({ "access_token": dated, "expires_in": 0 })), 600);
        let undated = token(&serde_json::json!({ "exp": 1_000_300 }));
        assert_eq!(lifetime(serde_json::json!({ "access_token": undated })), 300);
        let over = token(&serde_json::json!({ "exp": 900_000 }));
        assert_eq!(lifetime(serde_json::json!({ "access_token": over })), 3600);
        assert_eq!(lifetime(serde_json::json!({ "access_token": over, "expires_in": -4 })), 3600);
        assert_eq!(lifetime(serde_json::json!({ "access_token": over, "expires_in": 1e300 })), 3600);
        assert_eq!(lifetime(serde_json::json!({ "access_token": over, "expires_in": 1e9 })), 86400);
    }

    #[test]
    fn the_tenant_is_the_id_tokens_else_the_access_tokens() {
        let access = token(&serde_json::json!({ "tenantId": "of-access" }));
        let id = token(&serde_json::json!({ "tenantId": "of-id" }));
        let tenant = |answer: Value| parse(&answer).unwrap().tenant_id;
        assert_eq!(tenant(serde_json::json!({ "access_token": access, "id_token": id })).unwrap(), "of-id");
        assert_eq!(tenant(serde_json::json!({ "access_token": access, "id_token": null })).unwrap(), "of-access");
        assert_eq!(tenant(serde_json::json!({ "access_token": access, "id_token": "x.y" })).unwrap(), "of-access");
        assert_eq!(tenant(serde_json::json!({ "access_token": "a.!!.c" })), None);
    }

    #[test]
    fn an_html_page_is_named_and_nothing_of_a_body_is_repeated() {
        assert_eq!(api_endpoint(b" <html>secret</html>").unwrap_err(), "the answer is HTML, not JSON");
        assert_eq!(api_endpoint(b"secret").unwrap_err(), "the answer is not JSON");
        assert_eq!(api_endpoint(b"").unwrap_err(), "the answer is empty");
        assert_eq!(api_endpoint(br#"{"api_endpoint":"https://api-na1.x.com//"}"#).unwrap(), "https://api-na1.x.com");
        assert_eq!(api_endpoint(br#"{"api_endpoint":"/"}"#).unwrap_err(), "no api_endpoint in the answer");
    }

    #[test]
    fn error_bodies_speak_without_secrets() {
        let body = br#"{"error":"invalid_grant","errorDescription":"key abc=def\r\nis not known"}"#;
        assert_eq!(error_text(body, &["abc=def"]).unwrap(), "invalid_grant: key […]  is not known");
        assert_eq!(error_text(br#"{"message":"bad value a%20b"}"#, &["a b"]).unwrap(), "bad value […]");
        assert_eq!(error_text(b"<html>", &[]), None);
        let long = serde_json::json!({ "message": "é".repeat(999) }).to_string();
        assert_eq!(error_text(long.as_bytes(), &[]).unwrap().chars().count(), 200);
    }

    #[test]
    fn a_key_pair_is_form_encoded() {
        assert_eq!(password_body("a b==", "c&d"), "grant_type=password&username=a%20b%3D%3D&password=c%26d");
    }

    #[test]
    fn parameters_go_where_they_are_told() {
        let parameters = [("p1".to_owned(), "a b".to_owned()), ("p2".to_owned(), "{\"x\":1}".to_owned())];
        let (query, body) = signal_parameters(&parameters, ParametersIn::Query);
        assert_eq!((query.as_deref(), body), (Some("p1=a%20b&p2=%7B%22x%22%3A1%7D"), None));
        let (query, body) = signal_parameters(&parameters, ParametersIn::Split);
        assert_eq!((query.as_deref(), body), (Some("p1=a%20b"), Some(serde_json::json!({ "p2": "{\"x\":1}" }))));
        let (query, body) = signal_parameters(&parameters, ParametersIn::Body);
        assert_eq!((query, body), (None, Some(serde_json::json!({ "p1": "a b", "p2": "{\"x\":1}" }))));
        assert_eq!(signal_parameters(&parameters[..1], ParametersIn::Split).1, None);
    }

    #[test]
    fn retry_after_is_read_in_seconds_only() {
        assert_eq!(retry_after(" 3 "), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(retry_after("-1"), None);
    }

    proptest! {
        #[test]
        fn a_value_survives_the_query(value in "\\PC*|[\\x00-\\x7f]*") {
            let (query, _) = signal_parameters(&[("p2".to_owned(), value.clone())], ParametersIn::Query);
            let mut url = url::Url::parse("https://api.example/x").unwrap();
            url.set_query(query.as_deref());
            prop_assert!(!query.unwrap().contains('+'));
            let read: Vec<_> = url.query_pairs().into_owned().collect();
            prop_assert_eq!(read, vec![("p2".to_owned(), value)]);
        }

        #[test]
        fn no_token_answer_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = TokenAnswer::parse(&body, SystemTime::UNIX_EPOCH);
            let _ = api_endpoint(&body);
            let _ = error_text(&body, &["x"]);
        }
    }
}
