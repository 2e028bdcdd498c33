//! TLS of SIP streams (RFC 3261 section 26.3.1, RFC 5922): our certificate, whom we believe, and the handshakes.

mod certificate;
mod handshake;
mod material;
mod watch;

pub use certificate::Certificate;
pub(super) use handshake::{Handshake, Handshakes, accept, connect, server_name};
pub use material::{TlsError, TlsFiles, Trust};
pub(super) use watch::watch;

use crate::base::{clock, metric};
use material::Material;
use parking_lot::RwLock;
use std::sync::Arc;
use tokio::sync::Notify;

/// What handshakes use now; replaced as a whole when files change, while connections that are up keep what they have.
#[derive(Debug)]
pub(super) struct Tls {
    files: Option<TlsFiles>,
    trust: Trust,
    current: RwLock<Arc<Material>>,
    /// Somebody asks for the files to be read again (SIGHUP).
    pub(super) asked: Notify,
}

impl Tls {
    pub(super) fn load(files: Option<TlsFiles>, trust: Trust) -> Result<Self, TlsError> {
        let material = Material::load(files.as_ref(), &trust)?;
        if let Some(wrong) = material.certificate.as_ref().and_then(|own| own.invalid_at(clock::now().wall)) {
            tracing::error!(
                event = "tls_certificate_invalid",
                "sip.tls.certificate_file {wrong}; peers will refuse it"
            );
        }
        tell_expiry(&material);
        Ok(Self { files, trust, current: RwLock::new(Arc::new(material)), asked: Notify::new() })
    }

    /// Whether there is anything to read again.
    pub(super) fn has_files(&self) -> bool {
        self.files.is_some()
    }

    pub(super) fn current(&self) -> Arc<Material> {
        Arc::clone(&self.current.read())
    }

    /// Reads the files again. `None`: they hold what they held. What cannot be used, or is not valid now, changes nothing.
    fn reload(&self) -> Option<Result<Arc<Material>, TlsError>> {
        let material = match Material::load(self.files.as_ref(), &self.trust) {
            Ok(material) => Arc::new(material),
            Err(error) => return Some(Err(error)),
        };
        if material.fingerprint == self.current().fingerprint {
            return None;
        }
        if let (Some(files), Some(wrong)) =
            (&self.files, material.certificate.as_ref().and_then(|own| own.invalid_at(clock::now().wall)))
        {
            return Some(Err(TlsError::NotValid { path: files.certificate.clone(), wrong }));
        }
        tell_expiry(&material);
        *self.current.write() = Arc::clone(&material);
        Some(Ok(material))
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
fn tell_expiry(material: &Material) {
    if let Some(certificate) = &material.certificate {
        metrics::gauge!(metric::SIP_TLS_CERTIFICATE_NOT_AFTER).set(certificate.not_after as f64);
    }
}
