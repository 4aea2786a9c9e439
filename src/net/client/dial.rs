//! Sockets after their handshake, for callers that exchange packets themselves: a load generator that
//! must cost less than a client.

use super::address::{Address, Socket};
use super::error::Result;
use super::greeting::open;
use super::options::ClientOptions;
use super::tls::Tls;

/// How to connect to a server.
#[derive(Clone)]
pub(crate) struct Dial {
    address: Address,
    tls: Option<Tls>,
    options: ClientOptions,
}

impl Dial {
    /// Connections to `address` as `options` say.
    ///
    /// # Errors
    /// As [`ClientOptions::connect`], except errors of the connection and of the server.
    pub(crate) fn to(address: &str, options: ClientOptions) -> Result<Dial> {
        let address: Address = address.parse()?;
        let tls = Tls::of(&options, address.host())?;
        Ok(Dial { address, tls, options })
    }

    /// A connection, and the bytes that came behind the answer to `Hello`.
    ///
    /// # Errors
    /// As [`ClientOptions::connect`].
    pub(crate) async fn socket(&self) -> Result<(Box<dyn Socket>, Vec<u8>)> {
        let (socket, _, rest) = open(&self.address, self.tls.as_ref(), &self.options).await?;
        Ok((socket, rest))
    }
}
