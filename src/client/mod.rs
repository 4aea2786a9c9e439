//! A client for stores that are served: the embedded interface, over a connection.
//!
//! ```text
//!   keyspace, write, job, admin      what one does with a store
//!      |
//!   client -- call, backoff          always a connection; retries what is safe      pool
//!      |      \- deadline
//!    link  -- answer                 one connection, shared by many tasks
//!      |
//!   greeting, address, secret        handshake; TCP, Unix socket, TLS; token
//! ```
//!
//! - M1 a request that may have been done is sent again only if it reads or carries an idempotency
//!   key; one that never left this process, or that the server refused before it began, always. The
//!   outcome of a call is that of its most uncertain try;
//! - M2 no lock is held while a task waits: what tasks share is guarded for as long as it takes to
//!   encode a request;
//! - M3 a future may be dropped at any time: its request is cancelled, and its id not used again
//!   before the server has answered;
//! - M4 memory is bounded: requests in flight and bytes queued by the options, streams and watches
//!   by the credit that they are given, answers by the longest body;
//! - M5 every waiter is told when its connection ends, and whether its request had been sent:
//!   `taken <= queued`, and what begins at or above `taken` was not.
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # async fn example() -> syncline::client::Result<()> {
//! use std::time::Duration;
//! use syncline::CommitMode;
//! use syncline::client::Client;
//!
//! let client = Client::connect("127.0.0.1:7411").await?;
//! let users = client.create_keyspace("users").await?;
//! users.put("ada", "1815").await?; // survives a power loss when this returns
//! let job = users.put_with("alan", "1912", CommitMode::Async).await?;
//! println!("{} is {}", job.id(), job.wait(Duration::from_secs(1)).await?);
//! # Ok(())
//! # }
//! ```

mod address;
mod admin;
mod answer;
mod backoff;
mod call;
#[expect(clippy::module_inception, reason = "the noun of the layer")]
mod client;
mod deadline;
#[cfg(feature = "cli")]
mod dial;
mod error;
mod greeting;
mod job;
mod keyspace;
mod link;
mod options;
mod pool;
mod secret;
#[cfg(all(test, feature = "server"))]
mod tests;
mod write;

pub use crate::proto::{Applied, Code, Failure, JobState};
#[cfg(feature = "cli")]
pub(crate) use address::Socket;
pub use admin::{Figures, WatermarkEvents};
pub use client::Client;
#[cfg(feature = "cli")]
pub(crate) use dial::Dial;
pub use error::{Error, Result};
pub use job::{Job, JobEvents};
pub use keyspace::{Entries, Entry, Keyspace, Range};
pub use options::ClientOptions;
pub use pool::{Manager, Pool};
pub use write::{Batch, Write};
