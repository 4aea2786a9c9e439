//! The sockets, certificates and tokens of a server, set up before its store is opened.
//!
//! A wrong configuration or an address in use fails here, before any store or directory is made.
//! Clients that connect before the store is open wait in the system's queue.

use std::net::ToSocketAddrs;

use tokio::net::TcpListener;

use super::config::Config;
use super::failure::Failure;
use super::http::HttpListener;
use super::listen;
use super::tls::Tls;
use super::tokens::Tokens;
#[cfg(unix)]
use super::unix::{self, SocketFile};

/// Bound sockets, and the means to authenticate clients.
pub(super) struct BoundSockets {
    pub(super) tcp: Vec<TcpListener>,
    pub(super) http: Option<HttpListener>,
    #[cfg(unix)]
    pub(super) unix: Option<(tokio::net::UnixListener, SocketFile)>,
    pub(super) tls: Option<Tls>,
    pub(super) tokens: Option<Tokens>,
}

impl BoundSockets {
    /// Binds the addresses of the configuration. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Failure::Config`] for a setting that is unsafe or a file that is invalid; [`Failure::Io`] for
    /// a file that cannot be read or an address that cannot be bound.
    pub(super) fn bind(config: &Config) -> Result<BoundSockets, Failure> {
        let tokens = config.tokens.as_deref().map(Tokens::load).transpose()?;
        let tls = Tls::load(config)?;
        let mut tcp = Vec::new();
        for name in &config.listen {
            let resolved = name.to_socket_addrs();
            let resolved = resolved.map_err(Failure::io(format!("find the address {name:?}")))?;
            for address in resolved {
                config.check_address(address)?;
                tcp.push(listen::bind(address)?);
            }
        }
        let http = config.metrics.map(|address| HttpListener::bind(address, config, tls.as_ref()));
        Ok(BoundSockets {
            tcp,
            http: http.transpose()?,
            #[cfg(unix)]
            unix: config.unix.as_deref().map(unix::bind).transpose()?,
            tls,
            tokens,
        })
    }
}
