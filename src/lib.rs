//! Syncline: an embedded, transactional, ordered key-value store in which each commit chooses its
//! durability and is told the truth about it.
//!
//! *The sync line is the point in the log up to which everything survives a power loss. The whole
//! store is built around knowing, at every moment, where that point is.*
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
//! let token = receipt.token(); // any later process can ask about it
//!
//! assert_eq!(users.get("alan")?.as_deref(), Some(&b"1912"[..])); // readable already
//! receipt.wait()?; // or `receipt.await`: requests a flush at once
//! assert_eq!(store.status(&token)?, Status::Durable);
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Start with [`Store`] and [`Keyspace`]. [`Options`] has the settings, [`Error`] every way to fail.
//!
//! # What is guaranteed
//!
//! | [`CommitMode`] | acknowledged when | survives a kill of the process | survives a power loss |
//! |---|---|---|---|
//! | `Sync` | the device has confirmed a flush that covers it | yes | yes |
//! | `Async` | its record is in the operating system's cache | yes | once a flush is done that begins after at most [`Options::flush_interval`] or [`Options::max_unsynced_bytes`], whichever comes first; its [`Receipt`] says when |
//!
//! - Both modes share one log, so a `Sync` commit also makes every earlier `Async` commit durable.
//! - After a crash the store holds the first *k* commits, each whole. Every commit that was ever reported
//!   durable is among them.
//! - Commits are readable before they are durable. If you must not act on data that could still be lost,
//!   wait for [`Snapshot::receipt`].
//! - After a failed flush no commit is acknowledged until the store is reopened ([`Error::Poisoned`]).
//!
//! # Glossary
//!
//! The documents and the code use these words.
//!
//! | word | meaning |
//! |---|---|
//! | [`Lsn`] | a byte position in the endless log; names a commit, a page's version, a snapshot's point in time |
//! | `appended` | watermark: up to here the log is in the operating system's cache |
//! | `visible` | watermark: up to here commits can be read |
//! | `durable`, the sync line | watermark: up to here the device has confirmed a flush |
//! | `checkpoint` | watermark: up to here commits are in the data file and need not be replayed |
//! | [`Incarnation`] | one life of a store, from an open that wrote to the next one |
//! | segment | one file of the log; **record**: one entry in it, a commit or a part of one |
//! | page | the unit of the data file, named by its page id; **block**: a place for one in the file |
//! | frame | the memory of one version of one page |
//! | group | the commits that are applied together, by one thread, as one version |
//! | extent | a run of one or more allocated blocks |
//! | [`Receipt`], token | a commit's (incarnation, LSN), as an object and as text |
//! | poisoned | closed to commits because a flush has failed |
//!
//! # Layers
//!
//! Imports point downward only; a test checks the order. `ARCHITECTURE.md` is the guided tour.
//!
//! ```text
//!   tools    cli, bench, torture      the command line, the benchmark, the crash suite (feature `cli`)
//!            present, fuzzing         their common tables and pages; entry points of the fuzz targets
//!   ---------------------------------------------------------------------------------------------
//!   net      server, client           connections, limits, timeouts; the store's interface over one
//!            service                  the meaning of each request
//!            proto                    packets and messages between the two (PROTOCOL.md)
//!   ---------------------------------------------------------------------------------------------
//!   engine   store                    the public interface
//!            recovery                 from the log to the pages, after a crash
//!            commit                   operations, keyspaces, the commit path, checkpoints
//!            tree                     B+-trees over pages
//!            cache                    frames, page table, versions, eviction
//!            space                    the data file: superblock, page map, free map
//!            log                      segments, records, group flush, scan
//!            disk                     real files; a simulated disk that can crash
//!            options, base, mutants   settings; errors, positions, locks; deliberate mistakes
//! ```

#[cfg(not(target_pointer_width = "64"))]
compile_error!("Syncline needs a 64-bit target: it maps whole files, and counts bytes in 64 bits");

mod engine;
#[cfg(any(feature = "server", feature = "client"))]
mod net;
#[cfg(any(feature = "cli", test, fuzzing))]
mod tools;

pub use engine::base::durations::Durations;
pub use engine::base::error::{Error, Result};
pub use engine::base::lsn::{Incarnation, Lsn, StoreId};
pub use engine::disk;
#[doc(hidden)]
pub use engine::mutants;
pub use engine::options::{CommitMode, Options, RecoveryProgress};
pub use engine::store::{
    CheckpointStats, Entry, Keyspace, Range, Receipt, RecoverySummary, Snapshot, Stats, Status,
    Store, Value, Verification, Watermarks, WriteBatch, inspect,
};

#[cfg(feature = "client")]
pub use net::client;
#[cfg(any(feature = "server", feature = "client"))]
#[doc(hidden)]
pub use net::proto;
#[cfg(feature = "server")]
#[doc(hidden)]
pub use net::server;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use tools::fuzzing;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub use tools::{bench, cli, internals, torture};
