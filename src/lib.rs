//! Syncline.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod bench;

mod options;

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
mod error;
mod lsn;
#[cfg(all(test, not(syncline_shuttle)))]
mod stories;
mod sync;

pub use error::{Error, Result};
pub use lsn::{Incarnation, Lsn, StoreId};
pub use options::{CommitMode, Options};
pub use store::{
    CheckpointStats, Entry, Keyspace, Range, Receipt, RecoveryProgress, RecoverySummary, Snapshot,
    Stats, Status, Store, Value, Verification, Watermarks, WriteBatch, inspect,
};
