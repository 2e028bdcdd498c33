//! "Test connection" for `check`: token, then discovery, nothing signalled.

use super::Cxone;
use crate::base::Fault;
use std::time::Duration;

/// What each step came to.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The life of the token that was minted.
    pub token: Result<Duration, Fault>,
    /// The API base; `None` when there was no token to ask with.
    pub api: Option<Result<String, Fault>>,
}

impl Cxone {
    /// Mints a token and finds the API base, past the cache, once and without retries.
    pub async fn probe(&self) -> Probe {
        let (token, api) = self.inner.access.probe().await;
        Probe {
            token: token.map(|token| token.lifetime),
            api: api.map(|base| base.map(|url| url.as_str().trim_end_matches('/').to_owned())),
        }
    }
}
