//! TLS to a server: the certificates that the client trusts, and its own.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::{Error, Result};
use super::options::ClientOptions;

/// The TLS configuration, made once for all connections.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// The configuration for TLS to `host`, if the options ask for it.
    ///
    /// # Errors
    /// [`Error::Option`]: a file cannot be read or holds no certificate or key, or TLS options are set
    /// without roots, so that nothing would be encrypted.
    pub(super) fn of(options: &ClientOptions, host: &str) -> Result<Option<Tls>> {
        if options.tls_roots.is_none() && !options.tls_system_roots {
            let set = match (&options.tls_name, &options.client_certificate) {
                (Some(name), _) => format!("the name {name:?} is set"),
                (None, Some(_)) => "a certificate of the client is set".to_owned(),
                (None, None) => return Ok(None),
            };
            return Err(wrong(format!("{set}, but no roots are: nothing would be encrypted")));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_root_certificates(roots(options)?);
        let config = match &options.client_certificate {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let private = PrivateKeyDer::from_pem_file(key).map_err(|error| of(key, error))?;
                let certified = config.with_client_auth_cert(certificates(chain)?, private);
                certified.map_err(|error| of(chain, error))?
            }
        };
        let name = options.tls_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(wrong)?;
        Ok(Some(Tls { connector: TlsConnector::from(Arc::new(config)), name }))
    }

    /// Shakes hands over TLS on a socket.
    pub(super) async fn connect<S>(&self, socket: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.connector.connect(self.name.clone(), socket).await
    }
}

/// The roots that the client trusts.
fn roots(options: &ClientOptions) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &options.tls_roots {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| of(file, error))?;
        }
    }
    if options.tls_system_roots {
        let found = rustls_native_certs::load_native_certs();
        // Some certificates of a system can no longer be parsed.
        let (taken, _) = roots.add_parsable_certificates(found.certs);
        if taken == 0 {
            let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
            return Err(wrong(format!("the system trusts no certificate{why}")));
        }
    }
    Ok(roots)
}

/// The certificates in a file, at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| of(file, error))?;
    match found.is_empty() {
        true => Err(of(file, "it holds no certificate (PEM)")),
        false => Ok(found),
    }
}

fn of(file: &Path, what: impl ToString) -> Error {
    wrong(format!("{}: {}", file.display(), what.to_string()))
}

fn wrong(what: impl ToString) -> Error {
    Error::Option(format!("TLS: {}", what.to_string()))
}
