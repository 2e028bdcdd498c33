//! CXone client: token, discovery, Signal a contact. One `Cxone` per tenant: tokens and API bases are never shared.

pub mod policy;
pub mod settings;
pub mod wire;

mod access;
mod endpoint;
mod http;
mod probe;
mod signal;

pub use probe::Probe;
pub use settings::{Auth, CxoneError, ParametersIn, Problem, Settings, Timeouts};
pub use signal::Signalled;

use access::Access;
use http::Http;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One tenant's CXone. Cheap to clone; clones share the token and the connections.
#[derive(Clone)]
pub struct Cxone {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    contact_id: regex::Regex,
    http: Http,
    access: Access,
}

impl Cxone {
    /// Checks the settings and makes the HTTP client; sends nothing. A rustls provider must have been installed.
    ///
    /// # Errors
    /// Every problem of the settings at once, or the HTTP client could not be built.
    pub fn new(settings: Settings) -> Result<Self, CxoneError> {
        let checked = settings.checked().map_err(CxoneError::Settings)?;
        let http = Http::new(&settings, &checked).map_err(CxoneError::Client)?;
        let access = Access::new(&settings, checked.endpoints, http.clone());
        Ok(Self { inner: Arc::new(Inner { settings, contact_id: checked.contact_id, http, access }) })
    }

    /// Mints the token and discovers the API base now, and renews both at 80 % of the token's life until `stop`, so that
    /// no call waits for them. Failures are logged and tried again; calls that need a token meanwhile mint it themselves.
    pub fn start(&self, tasks: &TaskTracker, stop: CancellationToken) {
        let cxone = self.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = cxone.inner.access.keep_fresh() => {}
            }
        });
    }
}
