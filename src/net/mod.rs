//! Stores over a network: the protocol, the server, the client.
//!
//! ```text
//!   server (feature `server`)     client (feature `client`)
//!   connections, limits, times    the embedded interface over a connection
//!      |                             |
//!   service                          |
//!   what a request means             |
//!      |                             |
//!      +------------ proto ----------+
//!            packets and messages (PROTOCOL.md)
//! ```

#[cfg(feature = "client")]
pub mod client;
pub mod proto;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub(crate) mod service;
