//! Syncline.
#![allow(dead_code, unused_imports)] // skeleton

mod cache;
mod checkpoint;
mod codec;
pub mod disk;
mod error;
mod log;
mod lsn;
mod options;
mod recovery;
mod space;
mod store;
mod sync;
mod tree;
mod txn;

pub use error::{Error, Result};
pub use lsn::{Incarnation, Lsn, StoreId};
pub use options::{CommitMode, Options};
pub use store::{
    CheckpointStats, Entry, Keyspace, Range, Receipt, RecoveryProgress, RecoverySummary, Snapshot,
    Stats, Status, Store, Value, Verification, Watermarks, WriteBatch, inspect,
};
