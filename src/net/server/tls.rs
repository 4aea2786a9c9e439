//! TLS for clients on other machines.

use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::config::Config;
use super::failure::Failure;

/// The certificate in use. It can be replaced; open connections keep theirs.
#[derive(Clone)]
pub(super) struct Tls(Arc<RwLock<TlsAcceptor>>);

impl Tls {
    /// Loads the configured files; `None` if TLS is off.
    pub(super) fn load(config: &Config) -> Result<Option<Tls>, Failure> {
        let acceptor = acceptor(config)?;
        Ok(acceptor.map(|acceptor| Tls(Arc::new(RwLock::new(acceptor)))))
    }

    /// The acceptor for a new connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.0.read().clone()
    }

    /// Takes over the certificate of `other`.
    pub(super) fn replace(&self, other: &Tls) {
        let acceptor = other.acceptor();
        *self.0.write() = acceptor;
    }
}

fn acceptor(config: &Config) -> Result<Option<TlsAcceptor>, Failure> {
    let (cert, key) = match (&config.tls_cert, &config.tls_key) {
        (None, None) if config.tls_client_ca.is_some() => {
            return Err(Failure::Config("tls_client_ca needs tls_cert and tls_key".into()));
        }
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        _ => return Err(Failure::Config("tls_cert and tls_key must be set together".into())),
    };
    let chain = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unread(key, error))?;
    let unfit =
        |error: rustls::Error| Failure::Config(format!("tls_cert {}: {error}", cert.display()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_client_cert_verifier(verifier(config.tls_client_ca.as_deref())?)
        .with_single_cert(chain, key)
        .map_err(unfit)?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// The verifier of client certificates. Without `authorities` clients need none.
fn verifier(authorities: Option<&Path>) -> Result<Arc<dyn ClientCertVerifier>, Failure> {
    let Some(file) = authorities else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let unfit = |what: String| Failure::Config(format!("tls_client_ca {}: {what}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| unfit(error.to_string()))?;
    }
    let provider = Arc::new(default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| unfit(error.to_string()))
}

/// The certificates in a file in PEM.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unread(file, error))
}

fn unread(path: &Path, error: Error) -> Failure {
    Failure::Config(format!("{}: {error}", path.display()))
}
