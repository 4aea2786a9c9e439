//! The engine: a store in one process, from its public interface down to the files.
//!
//! ```text
//!   store       the public interface
//!   recovery    from the log to the pages, after a crash
//!   commit      operations, keyspaces, the commit path, checkpoints
//!   tree        B+-trees over pages
//!   cache       frames, page table, versions, eviction
//!   space       the data file: superblock, page map, free map
//!   log         segments, records, group flush, scan
//!   disk        real files; a simulated disk that can crash
//!   options     what a user may choose
//!   base        errors, positions in the log, encodings, locks: used by all of these
//!   mutants     deliberate mistakes (feature `mutants`)
//! ```
//!
//! Imports point downward only, and never to [`net`](crate::net) or [`tools`](crate::tools). The engine
//! needs no feature and no async runtime.

pub(crate) mod base;
pub(crate) mod cache;
pub(crate) mod commit;
pub mod disk;
pub(crate) mod log;
pub mod mutants;
pub(crate) mod options;
pub(crate) mod recovery;
pub(crate) mod space;
pub(crate) mod store;
#[cfg(all(test, not(syncline_shuttle)))]
pub(crate) mod stories;
pub(crate) mod tree;
