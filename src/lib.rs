//! Syncline: an embedded, transactional, ordered key-value store in which each commit chooses its
//! durability and is told the truth about it.
//!
//! *The sync line is the point in the log up to which everything survives a power loss. The whole
//! store is built around knowing, at every moment, where it is.*
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! use syncline::{CommitMode, Status, Store, WriteBatch};
//!
//! let store = Store::open(dir.path())?;
//! let users = store.keyspace("users")?;
//! users.put("ada", "1815")?; // survives a power loss when this returns
//!
//! let mut batch = WriteBatch::new(); // all of it or nothing of it
//! batch.put(&users, "alan", "1912");
//! batch.delete(&users, "ada");
//! let receipt = store.write_with(batch, CommitMode::Async)?; // survives a kill of the process
//! let token = receipt.token(); // any later process may ask about it
//!
//! assert_eq!(users.get("alan")?.as_deref(), Some(&b"1912"[..])); // readable already
//! receipt.wait()?; // or `receipt.await`: asks for a flush at once
//! assert_eq!(store.status(&token)?, Status::Durable);
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is guaranteed
//!
//! | [`CommitMode`] | acknowledged when | survives a kill of the process | survives a power loss |
//! |---|---|---|---|
//! | `Sync` | the device has confirmed a flush that covers it | yes | yes |
//! | `Async` | its record is in the operating system's cache | yes | once a flush is done that begins after at most [`Options::flush_interval`] or [`Options::max_unsynced_bytes`], whichever comes first; its [`Receipt`] says when |
//!
//! Both kinds share one log, so a `Sync` commit also makes every earlier `Async` one durable.
//! After a crash the store holds the first k commits, each whole, with every one among them that
//! was ever reported durable. Commits are readable before they are durable; who must not act on
//! what could still be lost waits for [`Snapshot::receipt`]. After a failed flush nothing is
//! acknowledged any more until the store has been opened anew ([`Error::Poisoned`]).
//!
//! # Glossary
//!
//! One word for each idea, here and in the code.
//!
//! | word | meaning |
//! |---|---|
//! | [`Lsn`] | a byte position in the endless log; names a commit, a page's version, a snapshot's point in time |
//! | `appended` | watermark: up to here the log is in the operating system's cache |
//! | `visible` | watermark: up to here commits can be read |
//! | `durable`, the sync line | watermark: up to here the device has confirmed a flush |
//! | `checkpoint` | watermark: up to here everything is in the data file and need not be replayed |
//! | [`Incarnation`] | one life of a store, from an open that wrote to the next one |
//! | segment | one file of the log; **record**: one entry in it, a commit or a part of one |
//! | page | the unit of the data file, named by its page id; **block**: a place for one in the file |
//! | frame | the memory of one version of one page |
//! | group | the commits that are applied together, by one thread, as one version |
//! | extent | a block, or a run of them, that somebody owns |
//! | [`Receipt`], token | a commit's (incarnation, LSN), as an object and as text |
//! | poisoned | closed to commits because a flush has failed |
//!
//! # Layers
//!
//! Imports point downward only; a test holds the order. `ARCHITECTURE.md` is the guided tour.
//!
//! ```text
//!   cli, bench, torture     the command line, the crash suite (feature `cli`)
//!   present                 what their tables and pages share
//!   server                  connections, limits, times (feature `server`)
//!   client                  the embedded interface over a connection (feature `client`)
//!   service                 what a request means
//!   proto                   packets and messages between server and client (PROTOCOL.md)
//!   store                   the public interface
//!   recovery, checkpoint    from the log to the pages, after a crash and all along
//!   txn                     operations, keyspaces, the commit path
//!   tree                    B+-trees over pages
//!   cache                   frames, page table, versions, eviction
//!   space                   the data file: superblock, page map, free map
//!   log                     segments, records, group flush, scan
//!   disk                    real files; a simulated disk that can crash
//!   lsn, codec, durations, error, sync; mutants (mistakes made on purpose, feature `mutants`)
//! ```

#[cfg(not(target_pointer_width = "64"))]
compile_error!("Syncline maps files and counts bytes as 64-bit systems can");

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod bench;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod torture;

#[cfg(feature = "cli")]
mod present;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod internals;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

mod options;
mod problems;

#[cfg(feature = "server")]
#[doc(hidden)]
pub mod server;

#[cfg(feature = "server")]
mod service;

#[cfg(feature = "client")]
pub mod client;

#[cfg(any(feature = "server", feature = "client"))]
#[doc(hidden)]
pub mod proto;

mod store;

mod checkpoint;
mod recovery;

mod txn;

mod tree;

mod cache;

mod space;

mod log;

pub mod disk;

mod codec;
mod course;
mod durations;
mod error;
mod foreign;
mod lsn;
#[doc(hidden)]
pub mod mutants;
mod process;
#[cfg(all(test, not(syncline_shuttle)))]
mod stories;
mod sync;

pub use durations::Durations;
pub use error::{Error, Result};
pub use lsn::{Incarnation, Lsn, StoreId};
pub use options::{CommitMode, Options};
pub use store::{
    CheckpointStats, Entry, Keyspace, Range, Receipt, RecoveryProgress, RecoverySummary, Snapshot,
    Stats, Status, Store, Value, Verification, Watermarks, WriteBatch, inspect,
};
