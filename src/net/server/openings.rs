//! What a server listens on and whom it lets in, before there is a store.
//!
//! Whatever can be wrong with the configuration, and an address that somebody else has, is found out
//! here: nothing has been made then, no store and no directory. Clients that come before the store is
//! open wait in the system's queue.

use std::net::ToSocketAddrs;

use tokio::net::TcpListener;

use super::config::Config;
use super::failure::Failure;
use super::http::Opening;
use super::listen;
use super::tls::Tls;
use super::tokens::Tokens;
#[cfg(unix)]
use super::unix::{self, SocketFile};

/// Everything that is open.
pub(super) struct Openings {
    pub(super) tcp: Vec<TcpListener>,
    pub(super) http: Option<Opening>,
    #[cfg(unix)]
    pub(super) unix: Option<(tokio::net::UnixListener, SocketFile)>,
    pub(super) tls: Option<Tls>,
    pub(super) tokens: Option<Tokens>,
}

impl Openings {
    /// Opens what the configuration says. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Failure::Config`] for what is not safe or cannot be read, [`Failure::Io`] for an address that
    /// cannot be had.
    pub(super) fn bind(config: &Config) -> Result<Openings, Failure> {
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
        let http = config.metrics.map(|address| Opening::bind(address, config, tls.as_ref()));
        Ok(Openings {
            tcp,
            http: http.transpose()?,
            #[cfg(unix)]
            unix: config.unix.as_deref().map(unix::bind).transpose()?,
            tls,
            tokens,
        })
    }
}
