//! Where a server is, and the socket to it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
#[cfg(test)]
use tokio::io::DuplexStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
#[cfg(test)]
use tokio::sync::mpsc::UnboundedSender;
use tokio_rustls::TlsConnector;

use super::error::Error;
use super::options::ClientOptions;

/// `host:port`, or `unix:PATH`.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Tcp(String),
    Unix(PathBuf),
    /// Servers in the same test, as a name may have several addresses: with them the tests need no
    /// real time.
    #[cfg(test)]
    Memory(Vec<UnboundedSender<DuplexStream>>),
}

/// One of the places that an address stands for: a name may have several.
pub(super) enum Target<'a> {
    Tcp(SocketAddr),
    Unix(&'a Path),
    #[cfg(test)]
    Memory(&'a UnboundedSender<DuplexStream>),
}

/// A socket, with or without TLS.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// What speaks TLS, made once for all connections.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => f.write_str(address),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            #[cfg(test)]
            Address::Memory(_) => f.write_str("memory"),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address, Error> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(Error::Option(format!("{text:?} is no address: the path is missing")))
            } else {
                Ok(Address::Unix(path.into()))
            };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Address::Tcp(text.to_owned()))
            }
            _ => Err(Error::Option(format!("{text:?} is no address: HOST:PORT or unix:PATH"))),
        }
    }
}

impl Address {
    /// What TLS needs, if the options ask for it.
    pub(super) fn tls(&self, options: &ClientOptions) -> Result<Option<Tls>, Error> {
        let wrong = |what: String| Error::Option(format!("TLS: {what}"));
        let Some(file) = &options.tls_roots else {
            return match &options.tls_name {
                None => Ok(None),
                Some(name) => Err(wrong(format!(
                    "the name {name:?} is set, but no roots are: nothing would be encrypted"
                ))),
            };
        };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(format!("{}: {error}", file.display())))?;
        for certificate in certificates {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong(format!("{} holds no certificate (PEM)", file.display())));
        }
        let host = match (&options.tls_name, self) {
            (Some(name), _) => name.clone(),
            (None, Address::Tcp(address)) => {
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                host.trim_matches(['[', ']']).to_owned()
            }
            (None, _) => "localhost".to_owned(),
        };
        let name = ServerName::try_from(host).map_err(|error| wrong(error.to_string()))?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(Tls { connector: TlsConnector::from(Arc::new(config)), name }))
    }

    /// The places that it stands for.
    pub(super) async fn targets(&self) -> io::Result<Vec<Target<'_>>> {
        Ok(match self {
            Address::Tcp(address) => lookup_host(address).await?.map(Target::Tcp).collect(),
            Address::Unix(path) => vec![Target::Unix(path)],
            #[cfg(test)]
            Address::Memory(servers) => servers.iter().map(Target::Memory).collect(),
        })
    }
}

impl Target<'_> {
    /// Opens a socket.
    pub(super) async fn open(&self, tls: Option<&Tls>) -> io::Result<Box<dyn Socket>> {
        let socket: Box<dyn Socket> = match self {
            Target::Tcp(address) => {
                let socket = TcpStream::connect(address).await?;
                // Packets are batched here; nothing is gained by the kernel's waiting for more.
                socket.set_nodelay(true)?;
                Box::new(socket)
            }
            #[cfg(unix)]
            Target::Unix(path) => Box::new(tokio::net::UnixStream::connect(path).await?),
            #[cfg(not(unix))]
            Target::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
            #[cfg(test)]
            Target::Memory(server) => {
                let (socket, theirs) = tokio::io::duplex(64 << 10);
                server.send(theirs).map_err(|_| io::ErrorKind::ConnectionRefused)?;
                Box::new(socket)
            }
        };
        match tls {
            None => Ok(socket),
            Some(Tls { connector, name }) => {
                Ok(Box::new(connector.connect(name.clone(), socket).await?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_ports_or_paths() {
        for text in ["127.0.0.1:7411", "[::1]:7411", "localhost:1", "unix:/run/s.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "localhost", ":7411", "host:port", "host:70000", "unix:", "/run/s.sock"] {
            assert!(matches!(text.parse::<Address>(), Err(Error::Option(_))), "{text}");
        }
    }
}
