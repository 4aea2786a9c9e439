//! TLS for those who come from elsewhere.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::config::Config;
use super::failure::Failure;

/// What TLS needs, if it is to be spoken.
pub(crate) fn acceptor(config: &Config) -> Result<Option<TlsAcceptor>, Failure> {
    let (cert, key) = match (&config.tls_cert, &config.tls_key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        _ => return Err(Failure::Config("tls_cert and tls_key go together".into())),
    };
    let unread =
        |path: &Path, error: Error| Failure::Config(format!("{}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unread(cert, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unread(key, error))?;
    let unfit = |error: rustls::Error| Failure::Config(format!("TLS: {error}"));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unfit)?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
