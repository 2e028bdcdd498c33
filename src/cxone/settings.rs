//! What the CXone client must be told (`[cxone]` of the configuration), and what is wrong with it.

use super::endpoint::{self, Endpoints};
use secrecy::{ExposeSecret as _, SecretString};
use std::fmt;
use std::time::Duration;

/// Settings of one tenant's CXone.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How a token is got: `cxone.auth` and its credentials.
    pub auth: Auth,
    /// Where it is got: `cxone.token_url`.
    pub token_url: String,
    /// Where the API base is asked for: `cxone.discovery_url`. `tenantId` is appended.
    pub discovery_url: String,
    /// The API base, when it is not to be discovered: `cxone.api_url`.
    pub api_url: Option<String>,
    /// `cxone.api_version`, the path segment after `services`.
    pub api_version: String,
    /// Where p1..p9 go: `cxone.parameters_in`.
    pub parameters_in: ParametersIn,
    /// What a contact id looks like (`sip.contact_id_pattern`): it goes into a URL path, so nothing else is ever sent.
    pub contact_id_pattern: String,
    /// Hosts, and parents of hosts, that discovery may name as the API base: `cxone.allowed_hosts`.
    pub allowed_hosts: Vec<String>,
    /// Lets `http:` in for hosts other than loopback: `cxone.allow_insecure`.
    pub allow_insecure: bool,
    /// A signal is accepted, or given up, within this: `cxone.signal_budget`. The caller is waiting.
    pub signal_budget: Duration,
    /// The waits inside that budget.
    pub timeouts: Timeouts,
}

/// Which of CXone's two ways to a token.
#[derive(Clone, Debug)]
pub enum Auth {
    /// JSON with the access key pair to the access-key endpoint.
    AccessKey {
        /// `cxone.access_key_id`.
        id: String,
        /// `cxone.access_key_secret`.
        secret: SecretString,
    },
    /// OAuth 2 password grant (RFC 6749 section 4.3) with the key pair as user and the registered app as client.
    OauthPassword {
        /// `cxone.access_key_id`.
        id: String,
        /// `cxone.access_key_secret`.
        secret: SecretString,
        /// `cxone.client_id`.
        client_id: String,
        /// `cxone.client_secret`.
        client_secret: SecretString,
    },
}

impl Auth {
    fn credentials(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::AccessKey { id, secret } => {
                vec![("access_key_id", id.as_str()), ("access_key_secret", secret.expose_secret())]
            }
            Self::OauthPassword { id, secret, client_id, client_secret } => vec![
                ("access_key_id", id),
                ("access_key_secret", secret.expose_secret()),
                ("client_id", client_id),
                ("client_secret", client_secret.expose_secret()),
            ],
        }
    }
}

/// Where the parameters of a signal are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParametersIn {
    /// All in the query, no body: what NICE's OpenAPI says.
    #[default]
    Query,
    /// All in a JSON body: keeps custom data out of proxy logs.
    Body,
    /// `p1` in the query, the rest in a JSON body.
    Split,
}

/// Waits of the client. Only tests have a reason to change them.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// DNS, TCP and TLS of one connection. Shorter than `attempt`, so that a connection that never came is told from a
    /// request that was sent and not answered.
    pub connect: Duration,
    /// One signal request.
    pub attempt: Duration,
    /// One token or discovery request.
    pub access: Duration,
    /// Waits before the retries of a signal.
    pub retries: [Duration; 3],
    /// How long an unused connection is kept. Short: a request on one that the server has just closed may or may not
    /// have been read, and a transfer is not repeated then.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            attempt: Duration::from_secs(2),
            access: Duration::from_secs(5),
            retries: [Duration::from_millis(200), Duration::from_millis(600), Duration::from_millis(1200)],
            idle: Duration::from_secs(15),
        }
    }
}

impl Settings {
    /// The defaults of `interface.md` with these credentials.
    #[must_use]
    pub fn new(auth: Auth) -> Self {
        Self {
            auth,
            token_url: TOKEN_URL.into(),
            discovery_url: DISCOVERY_URL.into(),
            api_url: None,
            api_version: API_VERSION.into(),
            parameters_in: ParametersIn::default(),
            contact_id_pattern: CONTACT_ID_PATTERN.into(),
            allowed_hosts: ALLOWED_HOSTS.iter().map(ToString::to_string).collect(),
            allow_insecure: false,
            signal_budget: Duration::from_secs(5),
            timeouts: Timeouts::default(),
        }
    }

    /// Everything that is wrong, each with its key. Empty means `Cxone::new` will take them.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.checked().err().unwrap_or_default()
    }

    pub(super) fn checked(&self) -> Result<Checked, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut keep =
            |key, result: Result<_, String>| result.map_err(|what| problems.push(Problem { key, what })).ok();
        let token = keep("token_url", endpoint::configured(&self.token_url, self.allow_insecure));
        // Discovery is not used where the base is given: a wrong URL there hurts nobody.
        let api = match &self.api_url {
            Some(text) => keep("api_url", endpoint::configured(text, self.allow_insecure)).map(endpoint::Api::Fixed),
            None => keep("discovery_url", endpoint::configured(&self.discovery_url, self.allow_insecure))
                .map(endpoint::Api::Discovered),
        };
        let contact_id = regex::Regex::new(&self.contact_id_pattern)
            .map_err(|_| {
                let what = format!("not a regular expression: {}", self.contact_id_pattern);
                problems.push(Problem { key: "contact_id_pattern", what });
            })
            .ok();
        let version_fits = !self.api_version.is_empty()
            && self.api_version != ".."
            && self.api_version != "."
            && self.api_version.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
        if !version_fits {
            let what = format!("\"{}\" is not a version like \"{API_VERSION}\"", self.api_version);
            problems.push(Problem { key: "api_version", what });
        }
        for (key, value) in self.auth.credentials() {
            if value.is_empty() {
                problems.push(Problem { key, what: "is empty: CXone's administrator issues it".into() });
            }
        }
        if self.signal_budget.is_zero() {
            problems.push(Problem { key: "signal_budget", what: "must be longer than nothing, like \"5s\"".into() });
        }
        match (token, api, contact_id) {
            (Some(token), Some(api), Some(contact_id)) if problems.is_empty() => {
                Ok(Checked { endpoints: Endpoints { token, api }, contact_id })
            }
            _ => Err(problems),
        }
    }
}

/// Settings that have been looked at: parsed once.
pub(super) struct Checked {
    pub(super) endpoints: Endpoints,
    pub(super) contact_id: regex::Regex,
}

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key within `[cxone]`.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cxone.{}: {}", self.key, self.what)
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum CxoneError {
    /// The settings are wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Settings(Vec<Problem>),
    /// The HTTP client could not be made (TLS roots, most likely).
    #[error("cxone: the HTTP client could not be made: {0}")]
    Client(#[source] reqwest::Error),
}

const TOKEN_URL: &str = "https://na1.nice-incontact.com/authentication/v1/token/access-key";
const DISCOVERY_URL: &str = "https://cxone.niceincontact.com/.well-known/cxone-configuration";
const API_VERSION: &str = "v30.0";
const CONTACT_ID_PATTERN: &str = "^[0-9]{1,19}$";
/// Both spellings are live; the others are the sovereign clouds.
const ALLOWED_HOSTS: [&str; 5] =
    ["niceincontact.com", "nice-incontact.com", "nicecxone.com", "nicecxone-sov1.au", "nicecxone-sov1.eu"];

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new(Auth::AccessKey { id: "id".into(), secret: "secret".into() })
    }

    #[test]
    fn the_defaults_have_no_problems_and_every_wrong_key_is_named_at_once() {
        assert_eq!(settings().problems(), []);
        let wrong = Settings {
            token_url: "http://example.com/token".into(),
            discovery_url: "nonsense".into(),
            api_version: "v30.0/../..".into(),
            contact_id_pattern: "[".into(),
            signal_budget: Duration::ZERO,
            ..settings()
        };
        let keys: Vec<&str> = wrong.problems().iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["token_url", "discovery_url", "contact_id_pattern", "api_version", "signal_budget"]);
    }

    #[test]
    fn debug_shows_no_secret() {
        let auth = Auth::OauthPassword {
            id: "id".into(),
            secret: "very-secret".into(),
            client_id: "app".into(),
            client_secret: "hush-hush".into(),
        };
        let text = format!("{:?}", Settings::new(auth));
        assert!(!text.contains("very-secret") && !text.contains("hush-hush"), "{text}");
    }
}
