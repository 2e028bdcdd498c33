//! PEM files to what rustls works with. Everything that can be wrong with them is named by its configuration key.

use super::Certificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The PEM files of `[sip.tls]`.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Our certificate, and behind it those that lead to an authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// Authorities of which callers must show a certificate.
    pub client_ca: Option<PathBuf>,
}

/// Whose certificates are believed where we connect.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The web's authorities (Mozilla's list) and those of `TlsFiles::client_ca`.
    #[default]
    Authorities,
    /// The authorities of this PEM file only.
    File(PathBuf),
    /// Everybody, whoever it may be: for tests by hand.
    Anybody,
}

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{key} {path}: {source}")]
    Read {
        /// Configuration key.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{key} {path}: {what}")]
    Content {
        /// Configuration key.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// Key and certificate are not of one pair.
    #[error(
        "sip.tls.private_key_file {private_key} does not belong to sip.tls.certificate_file {certificate}: take both from one order"
    )]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        private_key: PathBuf,
    },
    /// The certificate is not valid now.
    #[error("sip.tls.certificate_file {path} {wrong}")]
    NotValid {
        /// Which file.
        path: PathBuf,
        /// Why.
        wrong: String,
    },
    /// Anything else that rustls refuses.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// What handshakes use.
#[derive(Debug)]
pub(in super::super) struct Material {
    /// For connections that come in; `None` without a certificate.
    pub(in super::super) server: Option<Arc<ServerConfig>>,
    /// For connections that we open. It shows our certificate where the peer asks for one.
    pub(in super::super) client: Arc<ClientConfig>,
    pub(super) certificate: Option<Certificate>,
    /// Of the files as they were read.
    pub(super) fingerprint: [u8; 32],
}

impl TlsFiles {
    /// Reads and tries the files; gives our certificate, and how many authorities of clients there are.
    ///
    /// # Errors
    /// What is wrong with them, by configuration key.
    pub fn check(&self) -> Result<(Certificate, Option<usize>), TlsError> {
        let mut sum = Sha256::new();
        let (chain, _) = self.pair(&mut sum)?;
        let clients = self.client_ca.as_deref().map(|path| authorities(CLIENT_CA, path, &mut sum)).transpose()?;
        Material::load(Some(self), &Trust::Authorities)?;
        Ok((self.own(&chain)?, clients.map(|roots| roots.len())))
    }

    fn pair(&self, sum: &mut Sha256) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let chain = certificates(CERTIFICATE, &self.certificate, sum)?;
        let text = read(PRIVATE_KEY, &self.private_key, sum)?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::Content {
            key: PRIVATE_KEY,
            path: self.private_key.clone(),
            what: "holds no unencrypted private key in PEM (BEGIN PRIVATE KEY)".to_owned(),
        })?;
        Ok((chain, key))
    }

    fn own(&self, chain: &[CertificateDer<'_>]) -> Result<Certificate, TlsError> {
        let wrong = |what| TlsError::Content { key: CERTIFICATE, path: self.certificate.clone(), what };
        let first = chain.first().ok_or_else(|| wrong(NO_CERTIFICATE.to_owned()))?;
        Certificate::read(first).map_err(|what| wrong(format!("is no X.509 certificate: {what}")))
    }

    fn refused(&self, error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { certificate: self.certificate.clone(), private_key: self.private_key.clone() }
            }
            rustls::Error::InvalidCertificate(why) => TlsError::Content {
                key: CERTIFICATE,
                path: self.certificate.clone(),
                what: format!("cannot be used: {why:?}"),
            },
            other => TlsError::Content {
                key: PRIVATE_KEY,
                path: self.private_key.clone(),
                what: format!("cannot be used: {other}"),
            },
        }
    }
}

impl Material {
    pub(super) fn load(files: Option<&TlsFiles>, trust: &Trust) -> Result<Self, TlsError> {
        // The provider is named rather than taken from the process, so that this can never panic.
        let provider = Arc::new(ring::default_provider());
        let mut sum = Sha256::new();
        let own = files.map(|files| files.pair(&mut sum)).transpose()?;
        let clients = files.and_then(|files| files.client_ca.as_deref());
        let clients = clients.map(|path| authorities(CLIENT_CA, path, &mut sum)).transpose()?;
        let server = match (files, &own) {
            (Some(files), Some((chain, key))) => Some(Arc::new(server(&provider, files, chain, key, clients.clone())?)),
            _ => None,
        };
        let certificate = match (files, &own) {
            (Some(files), Some((chain, _))) => Some(files.own(chain)?),
            _ => None,
        };
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = match trust {
            Trust::Authorities => {
                let mut roots = clients.unwrap_or_else(RootCertStore::empty);
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
                builder.with_root_certificates(roots)
            }
            Trust::File(path) => {
                builder.with_root_certificates(authorities("the file of authorities", path, &mut sum)?)
            }
            Trust::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody { provider: Arc::clone(&provider) })),
        };
        let client = match (files, own) {
            (Some(files), Some((chain, key))) => {
                builder.with_client_auth_cert(chain, key).map_err(|error| files.refused(error))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self { server, client: Arc::new(client), certificate, fingerprint: sum.finalize().into() })
    }
}

fn server(
    provider: &Arc<CryptoProvider>,
    files: &TlsFiles,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    clients: Option<RootCertStore>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let builder = match (clients, &files.client_ca) {
        (Some(roots), Some(path)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| TlsError::Content {
                key: CLIENT_CA,
                path: path.clone(),
                what: error.to_string(),
            })?)
        }
        _ => builder.with_no_client_auth(),
    };
    builder.with_single_cert(chain.to_vec(), key.clone_key()).map_err(|error| files.refused(error))
}

fn read(key: &'static str, path: &Path, sum: &mut Sha256) -> Result<Vec<u8>, TlsError> {
    let text = std::fs::read(path).map_err(|source| TlsError::Read { key, path: path.to_owned(), source })?;
    sum.update(text.len().to_be_bytes());
    sum.update(&text);
    Ok(text)
}

fn certificates(key: &'static str, path: &Path, sum: &mut Sha256) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(key, path, sum)?;
    let wrong = |what: String| TlsError::Content { key, path: path.to_owned(), what };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(NO_CERTIFICATE.to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(format!("is no PEM file: {error}"))),
    }
}

fn authorities(key: &'static str, path: &Path, sum: &mut Sha256) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, path, sum)? {
        roots.add(certificate).map_err(|error| TlsError::Content {
            key,
            path: path.to_owned(),
            what: format!("holds what is no authority's certificate: {error}"),
        })?;
    }
    Ok(roots)
}

/// Believes every certificate; the signatures of the handshake are checked all the same.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

const CERTIFICATE: &str = "sip.tls.certificate_file";
const PRIVATE_KEY: &str = "sip.tls.private_key_file";
const CLIENT_CA: &str = "sip.tls.client_ca_file";
const NO_CERTIFICATE: &str = "holds no certificate in PEM (BEGIN CERTIFICATE)";

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair for `gw.example.com`, as PEM.
    fn pair() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["gw.example.com".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_with_the_files_is_named_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let ((certificate, private_key), (_, other_key)) = (pair(), pair());
        let (good, key) = (file("crt", &certificate), file("key", &private_key));
        let files = |certificate: &Path, private_key: &Path, client_ca: Option<&Path>| TlsFiles {
            certificate: certificate.to_owned(),
            private_key: private_key.to_owned(),
            client_ca: client_ca.map(Path::to_owned),
        };
        let (own, clients) = files(&good, &key, Some(&good)).check().unwrap();
        assert_eq!((own.names, clients), (vec!["gw.example.com".to_owned()], Some(1)));
        let (missing, empty) = (folder.path().join("missing"), file("empty", ""));
        let (other, broken) = (
            file("other", &other_key),
            file("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        );
        for (wrong, told) in [
            (files(&missing, &key, None), "sip.tls.certificate_file"),
            (files(&empty, &key, None), "holds no certificate in PEM"),
            (files(&broken, &key, None), "sip.tls.certificate_file"),
            (files(&good, &missing, None), "sip.tls.private_key_file"),
            (files(&good, &good, None), "holds no unencrypted private key"),
            (files(&good, &other, None), "does not belong to sip.tls.certificate_file"),
            (files(&good, &key, Some(&empty)), "sip.tls.client_ca_file"),
            (files(&good, &key, Some(&broken)), "sip.tls.client_ca_file"),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(told), "{told}: {error}");
        }
    }
}
