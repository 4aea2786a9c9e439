//! The stores that people would use instead of Syncline, behind the traits of its benchmarks.
//!
//! ```text
//!   peers (main.rs)   the options of `syncline bench`, the engines handed to its harness
//!     engines         those that were built in, one file for each
//!       turn          reads that need no new transaction
//!       flushes       how far a store is on the device
//!       common        versions, errors
//! ```
//!
//! `README.md` beside this package's manifest says for each engine which settings are used and
//! why, and what each mode loses.
//!
//! - PEERS-1 A [`Guarantee`] is what an acknowledged commit survives, whatever the engine calls it. The
//!   test `kill` ends a process with SIGKILL and looks for every acknowledged commit, in every
//!   mode that claims to survive that.
//! - PEERS-2 A session sees every commit that was acknowledged before its call began, of whichever
//!   session. An engine may keep a read transaction open as long as that holds ([`turn`]).
//! - PEERS-3 Settings are the same in all modes of an engine, except those that make the mode, and
//!   SQLite's checkpoints, whose best size is not the same with and without a flush at each commit.
//!
//! Left out: compression, since the values measured are random bytes; engines' own batching of
//! independent commits, unless it is their documented way to commit.
//!
//! [`Guarantee`]: syncline::bench::engine::Guarantee

mod common;
mod flushes;
#[cfg(any(
    feature = "canopydb",
    feature = "lmdb",
    feature = "lmdb1",
    feature = "redb",
    feature = "sqlite"
))]
mod turn;

#[cfg(feature = "canopydb")]
mod canopydb;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(any(feature = "lmdb", feature = "lmdb1"))]
mod lmdb;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sled")]
mod sled;
#[cfg(feature = "sqlite")]
mod sqlite;

// Two C libraries with functions of the same names: a program would have those of only one, which
// the bindings of both would call.
#[cfg(all(feature = "lmdb", feature = "lmdb1"))]
compile_error!("build either `lmdb` or `lmdb1`: both C libraries have functions of the same names");

use syncline::bench::engine::Engine;

/// The engines that were built in, in the order of the alphabet.
#[must_use]
pub fn engines() -> Vec<Box<dyn Engine>> {
    vec![
        #[cfg(feature = "canopydb")]
        Box::new(canopydb::Canopydb),
        #[cfg(feature = "fjall")]
        Box::new(fjall::Fjall),
        #[cfg(any(feature = "lmdb", feature = "lmdb1"))]
        Box::new(lmdb::Lmdb),
        #[cfg(feature = "redb")]
        Box::new(redb::Redb),
        #[cfg(feature = "rocksdb")]
        Box::new(rocksdb::RocksDb),
        #[cfg(feature = "sled")]
        Box::new(sled::Sled),
        #[cfg(feature = "sqlite")]
        Box::new(sqlite::Sqlite),
    ]
}
