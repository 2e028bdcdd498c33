//! Where a Watson service is and how to sign in: `url`, `api_key` or `bearer_token`, `iam_url`, `allow_insecure`.

use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

/// How to sign in to a service.
#[derive(Clone, Debug)]
pub enum Auth {
    /// An IBM Cloud API key, exchanged for tokens at `iam_url`.
    ApiKey(SecretString),
    /// A token that somebody else renews.
    BearerToken(SecretString),
}

/// What every Watson service needs to be reached.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// Instance URL (`https://…/instances/…`). WebSockets use the same with `wss`.
    pub url: Url,
    /// How to sign in.
    pub auth: Auth,
    /// IAM token endpoint, used with an API key.
    pub iam_url: Url,
    /// Allows `http:` and `ws:` to hosts other than loopback: tokens and speech then travel in the clear.
    pub allow_insecure: bool,
}

/// What is wrong with settings. Names the key.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL cannot carry the service.
    #[error("{key}: {wrong}")]
    Url {
        /// Full key, as `speech_to_text.url`.
        key: String,
        /// What is wrong and what would be right.
        wrong: String,
    },
    /// A key or token that cannot be sent.
    #[error("{key}: must be visible ASCII without spaces or line breaks")]
    Credential {
        /// Full key.
        key: String,
    },
    /// TLS could not be set up.
    #[error("TLS setup: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client could not be built.
    #[error("HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

impl ServiceSettings {
    /// All that is wrong, with full keys (`section` is `speech_to_text`, `text_to_speech` or `assistant`).
    #[must_use]
    pub fn problems(&self, section: &str) -> Vec<SettingsError> {
        let mut problems = Vec::new();
        problems.extend(self.url_problem(
            format!("{section}.url"),
            section,
            &self.url,
            &["https", "http", "wss", "ws"],
        ));
        match &self.auth {
            Auth::ApiKey(key) => {
                problems.extend(self.url_problem(
                    format!("{section}.iam_url"),
                    section,
                    &self.iam_url,
                    &["https", "http"],
                ));
                problems.extend(credential_problem(format!("{section}.api_key"), key));
            }
            Auth::BearerToken(token) => problems.extend(credential_problem(format!("{section}.bearer_token"), token)),
        }
        problems
    }

    /// The first problem as an error.
    pub(super) fn check(&self, section: &str) -> Result<(), SettingsError> {
        self.problems(section).into_iter().next().map_or(Ok(()), Err)
    }

    fn url_problem(&self, key: String, section: &str, url: &Url, schemes: &[&str]) -> Option<SettingsError> {
        let clear = match url.scheme() {
            other if !schemes.contains(&other) => {
                let wrong = format!("{other}: is not a scheme of this service, use https:");
                return Some(SettingsError::Url { key, wrong });
            }
            "https" | "wss" => false,
            _ => true,
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Some(SettingsError::Url {
                key,
                wrong: format!("no user name or password here, use {section}.api_key"),
            });
        }
        if clear && !self.allow_insecure && !loopback(url) {
            let scheme = url.scheme();
            let wrong = format!("{scheme}: is for loopback only; use https:, or set {section}.allow_insecure = true");
            return Some(SettingsError::Url { key, wrong });
        }
        None
    }
}

fn credential_problem(key: String, secret: &SecretString) -> Option<SettingsError> {
    let text = secret.expose_secret();
    let sendable = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    (!sendable).then_some(SettingsError::Credential { key })
}

fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, iam_url: &str) -> ServiceSettings {
        ServiceSettings {
            url: url.parse().unwrap(),
            auth: Auth::ApiKey("key".into()),
            iam_url: iam_url.parse().unwrap(),
            allow_insecure: false,
        }
    }

    #[test]
    fn clear_text_is_for_loopback_unless_allowed_and_the_key_is_named() {
        assert!(settings("http://127.0.0.1:1/x", "http://[::1]:2/identity/token").problems("assistant").is_empty());
        assert!(
            settings("wss://api.example.com/instances/1", "https://iam.example.com/t").problems("assistant").is_empty()
        );
        let mut bad = settings("ws://api.example.com", "http://iam.example.com/t");
        let told: Vec<String> = bad.problems("assistant").iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("assistant.url: ws: is for loopback only"), "{}", told[0]);
        assert!(told[1].starts_with("assistant.iam_url: http:"), "{}", told[1]);
        assert!(told[1].contains("assistant.allow_insecure = true"));
        bad.allow_insecure = true;
        assert!(bad.problems("assistant").is_empty());
    }

    #[test]
    fn other_schemes_user_names_and_unsendable_keys_are_refused_without_showing_the_secret() {
        let mut bad = settings("ftp://localhost/", "https://me:pw@iam.example.com/");
        bad.auth = Auth::ApiKey("se cret\n".into());
        let told: Vec<String> = bad.problems("text_to_speech").iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[2].starts_with("text_to_speech.api_key:"));
        let socket = settings("wss://api.example.com", "wss://iam.example.com/").problems("assistant");
        assert_eq!(socket.len(), 1, "IAM is plain HTTP: {socket:?}");
        assert!(!format!("{told:?}{bad:?}").contains("se cret"));
    }
}
