//! The client of a served store: the embedded interface, over a connection.
//!
//! ```text
//!   keyspace, range, write, job, admin     the operations on a store      connection
//!      |                 \- watch, job_events
//!   call                                   retries what is safe, before the deadline
//!      |
//!   client -- supervisor, backoff          keeps one connection, and makes the next one
//!      |
//!   endpoints                              one server or several
//!      |
//!    link  -- attend, wire, parts, answer  one connection, shared by many tasks
//!      |
//!   greeting, address, tls                 handshake; TCP, Unix socket, TLS
//!      |
//!   options, secret, deadline, error
//! ```
//!
//! - CLIENT-1 a request that may have been done is sent again only if it reads or carries an idempotency
//!   key. A request that never left this process, or that the server refused before it began, is always
//!   sent again. The outcome of a call is that of its most uncertain try;
//! - CLIENT-2 no lock is held while a task waits: shared state is locked only while a request is encoded;
//! - CLIENT-3 a future may be dropped at any time: its request is cancelled, and its id is not reused
//!   before the server has answered;
//! - CLIENT-4 memory is bounded: the options bound requests in flight and queued bytes, credit bounds
//!   streams and watches, the longest body bounds an answer;
//! - CLIENT-5 every waiter learns of the end of its connection, and whether its request had been sent:
//!   `taken <= queued`, and a request that begins at or above `taken` was not sent;
//! - CLIENT-6 every wait ends in time: a call and a part of a range at the deadline, an address after its
//!   share of the time, a draining connection after the time that the server gave;
//! - CLIENT-7 nothing is left when the last clone is dropped, the client is closed, or its runtime ends:
//!   no connection is put up after `Up::Over`, whatever happens at the same moment;
//! - CLIENT-8 a request goes to another store than the first one only if the caller allows it. A retry
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
