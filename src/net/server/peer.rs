//! The other end of a connection, for the log.

use std::fmt;
use std::net::SocketAddr;

/// The client's address, as far as the system knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Peer {
    #[default]
    Unknown,
    Address(SocketAddr),
    /// A process on this machine, through a Unix socket.
    Local,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Unknown => f.write_str("unknown"),
            Peer::Address(address) => address.fmt(f),
            Peer::Local => f.write_str("the Unix socket"),
        }
    }
}
