//! A client for stores that are served: the embedded interface, over a connection.
//!
//! ```text
//!   keyspace, range, write, job, admin     what one does with a store     pool     connection
//!      |                 \- watch, job_events
//!   client -- call, backoff, deadline      retries what is safe, in time
//!      |
//!   supervisor -- endpoints                always a connection, or on its way back
//!      |
//!    link  -- attend, wire, parts, answer  one connection, shared by many tasks
//!      |
//!   greeting, address, secret              handshake; TCP, Unix socket, TLS; token
//! ```
//!
//! - CLIENT-1 a request that may have been done is sent again only if it reads or carries an idempotency
//!   key; one that never left this process, or that the server refused before it began, always. The
//!   outcome of a call is that of its most uncertain try;
//! - CLIENT-2 no lock is held while a task waits: what tasks share is guarded for as long as it takes to
//!   encode a request;
//! - CLIENT-3 a future may be dropped at any time: its request is cancelled, and its id not used again
//!   before the server has answered;
//! - CLIENT-4 memory is bounded: requests in flight and bytes queued by the options, streams and watches
//!   by the credit that they are given, answers by the longest body;
//! - CLIENT-5 every waiter is told when its connection ends, and whether its request had been sent:
//!   `taken <= queued`, and what begins at or above `taken` was not;
//! - CLIENT-6 what is waited for ends in time: a call with its deadline, a part of a range likewise, an
//!   address with its share of the time, a connection that drains with what the server said;
//! - CLIENT-7 nothing is left when the last clone is dropped, the client is closed, or its runtime ends:
//!   whatever crosses with it, no connection is put up after `Up::Over`;
//! - CLIENT-8 no request goes to another store than the first one unless the caller allows it, and a retry
//!   never does.
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # async fn example() -> syncline::client::Result<()> {
//! use std::time::Duration;
//! use syncline::CommitMode;
//! use syncline::client::Client;
//!
//! let client = Client::connect("127.0.0.1:7411").await?;
//! let users = client.keyspace("users").await?;
//! users.put("ada", "1815").await?; // survives a power loss when this returns
//! let job = users.put_with("alan", "1912", CommitMode::Async).await?;
//! println!("{} is {}", job.id(), job.wait(Duration::from_secs(1)).await?);
//! # Ok(())
//! # }
//! ```

mod address;
mod admin;
mod answer;
mod attend;
mod backoff;
mod call;
#[expect(clippy::module_inception, reason = "the noun of the layer")]
mod client;
mod connection;
mod deadline;
#[cfg(feature = "cli")]
mod dial;
mod endpoints;
mod error;
mod greeting;
mod job;
mod job_events;
mod keyspace;
mod link;
mod options;
mod parts;
mod range;
mod secret;
mod supervisor;
#[cfg(all(test, feature = "server"))]
mod tests;
mod tls;
mod watch;
mod wire;
mod write;

pub use crate::net::proto::{Applied, Code, Failure, JobState};
#[cfg(feature = "cli")]
pub(crate) use address::Socket;
pub use admin::{Figures, WatermarkEvents};
pub use client::Client;
pub use connection::{Connection, ConnectionEvents, ConnectionFigures};
#[cfg(feature = "cli")]
pub(crate) use dial::Dial;
pub use error::{Error, Result};
pub use job::Job;
pub use job_events::JobEvents;
pub use keyspace::Keyspace;
pub use options::ClientOptions;
pub use range::{Entries, Entry, Range};
pub use write::{Batch, Write};
