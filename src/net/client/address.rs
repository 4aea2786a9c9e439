//! Addresses of servers, and the sockets to them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[cfg(test)]
use tokio::io::DuplexStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
#[cfg(test)]
use tokio::sync::mpsc::UnboundedSender;

use super::error::Error;
use super::tls::Tls;

/// `host:port`, or `unix:PATH`.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Tcp(String),
    Unix(PathBuf),
    /// Servers in the same test, several as a name may have several addresses. With them the tests
    /// need no real time.
    #[cfg(test)]
    Memory(Vec<UnboundedSender<DuplexStream>>),
}

/// One target of an address: a name may stand for several.
pub(super) enum Target<'a> {
    Tcp(SocketAddr),
    Unix(&'a Path),
    #[cfg(test)]
    Memory(&'a UnboundedSender<DuplexStream>),
}

/// A socket, with or without TLS.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

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
                Err(Error::Option(format!(
                    "{text:?} is no address: the path after unix: is missing"
                )))
            } else {
                Ok(Address::Unix(path.into()))
            };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Address::Tcp(text.to_owned()))
            }
            _ => {
                Err(Error::Option(format!("{text:?} is no address: write HOST:PORT or unix:PATH")))
            }
        }
    }
}

impl Address {
    /// The server's name in the address, for TLS.
    pub(super) fn host(&self) -> &str {
        match self {
            Address::Tcp(address) => {
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                host.trim_matches(['[', ']'])
            }
            _ => "localhost",
        }
    }

    /// The targets that the address stands for.
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
                // Packets are batched already; it gains nothing if the kernel waits for more.
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
            Some(tls) => Ok(Box::new(tls.connect(socket).await?)),
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
