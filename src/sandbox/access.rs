//! Bearer tokens and who may come in (Watson facts 2.1; CXone facts 1.1): tokens look like JWTs and are known by heart, not by signature.

use super::faults::SandboxService;
use super::plan::Plan;
use super::reply;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The tokens one issuer has handed out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    valid_until: Mutex<HashMap<String, Instant>>,
}

impl Tokens {
    /// Hands out a token of the form of a JWT with these claims, valid for `lifetime` from `now`.
    pub(super) fn issue(&self, claims: &Value, lifetime: Duration, now: Instant) -> String {
        let token = shaped_like_jwt(claims);
        let mut valid_until = self.valid_until.lock();
        if valid_until.len() >= MOST_TOKENS {
            valid_until.retain(|_, until| *until > now);
        }
        if valid_until.len() < MOST_TOKENS {
            valid_until.insert(token.clone(), now + lifetime);
        }
        token
    }

    /// Whether `token` was handed out here and is still valid.
    pub(super) fn valid(&self, token: &str, now: Instant) -> bool {
        self.valid_until.lock().get(token).is_some_and(|until| *until > now)
    }

    /// Ends the life of every token.
    pub(super) fn revoke_all(&self) {
        self.valid_until.lock().clear();
    }
}

/// `header.claims.signature`, base64url; the signature is random.
pub(super) fn shaped_like_jwt(claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "typ": "JWT"}).to_string());
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    let mut signature = [0u8; 32];
    fastrand::fill(&mut signature);
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Who may use the Watson services: a bearer token of our IAM, or the API key by HTTP Basic.
#[derive(Clone, Debug)]
pub(super) struct WatsonAccess {
    pub(super) tokens: Arc<Tokens>,
    pub(super) api_key: SecretString,
}

impl WatsonAccess {
    /// Lets a request in, or says 401 in the words of `service`. `access_token` is the query parameter of the WebSockets.
    pub(super) fn check(
        &self,
        service: SandboxService,
        headers: &HeaderMap,
        access_token: Option<&str>,
        plan: &Plan,
        now: Instant,
    ) -> Result<(), Box<Response>> {
        let allowed = match credentials(headers, access_token) {
            Some(Credentials::Bearer(token)) => self.tokens.valid(token, now),
            Some(Credentials::Basic(user, password)) => user == "apikey" && password == self.api_key.expose_secret(),
            None => false,
        };
        if allowed && !plan.expires_tokens() { Ok(()) } else { Err(Box::new(reply::unauthorized(service))) }
    }
}

/// What a request shows at the door.
pub(super) enum Credentials<'a> {
    Bearer(&'a str),
    Basic(String, String),
}

/// Reads `Authorization` (Bearer or Basic), else the `access_token` parameter.
pub(super) fn credentials<'a>(headers: &'a HeaderMap, access_token: Option<&'a str>) -> Option<Credentials<'a>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return access_token.map(Credentials::Bearer) };
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Bearer(rest));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credentials::Basic(user.to_owned(), password.to_owned()))
}

const MOST_TOKENS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn access() -> WatsonAccess {
        WatsonAccess { tokens: Arc::default(), api_key: "key".into() }
    }

    fn authorization(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn a_token_is_good_until_it_expires_and_the_key_by_basic_always() {
        let access = access();
        let now = crate::base::clock::now().at;
        let token = access.tokens.issue(&json!({"sub": "x"}), Duration::from_secs(60), now);
        let check = |headers: &HeaderMap, query: Option<&str>, at: Instant| {
            access.check(SandboxService::SpeechToText, headers, query, &Plan::default(), at).is_ok()
        };
        assert!(check(&authorization(&format!("Bearer {token}")), None, now));
        assert!(check(&HeaderMap::new(), Some(&token), now));
        assert!(!check(&authorization(&format!("Bearer {token}")), None, now + Duration::from_secs(60)));
        assert!(!check(&authorization("Bearer stranger"), None, now));
        assert!(!check(&HeaderMap::new(), None, now));
        assert!(check(&authorization(&format!("Basic {}", STANDARD.encode("apikey:key"))), None, now));
        assert!(!check(&authorization(&format!("Basic {}", STANDARD.encode("apikey:other"))), None, now));
        access.tokens.revoke_all();
        assert!(!check(&authorization(&format!("Bearer {token}")), None, now));
    }

    #[test]
    fn a_token_carries_its_claims_as_a_jwt_does() {
        let token = shaped_like_jwt(&json!({"tenantId": "t"}));
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&claims).unwrap(), json!({"tenantId": "t"}));
    }
}
