//! Transactions: what a commit is made of, and the one path that every commit takes.
//!
//! ```text
//!   caller                         commit lock                        device
//!   ------                         -----------                        ------
//!   1 encode, checksum,
//!     prepare long values,
//!     touch leaves, look for
//!     what it needs (COMMIT-5)
//!   2 enter  ------------------->  3 assign LSNs, copy records into
//!                                    the mapped log: `appended`
//!                                  4 apply to the trees at the group's
//!                                    LSN: `visible`
//!   5 leave  <-------------------
//!     Async: done
//!     Sync: wait for, or lead -------------------------------------->  flush: `durable`
//! ```
//!
//! Invariants:
//!
//! - COMMIT-1 a record is in the log before anything that it says is visible (`visible <= appended`);
//! - COMMIT-2 commits become visible in the order of their LSNs, each whole;
//! - COMMIT-3 what was refused leaves no trace: nothing fails between the append and the publication
//!   except a device, where a page must be read or written for a group that the cache is too small for.
//!   That poisons the log, so that nothing later is acknowledged and recovery decides;
//! - COMMIT-4 a `Sync` commit returns only when `durable` has reached its LSN;
//! - COMMIT-5 nothing fails for want of space after the append: a group changes no more pages than it was
//!   promised before ([`needs`]);
//! - COMMIT-6 no page is read with the commit lock held, except for a group that the cache is too small for
//!   ([`missing`]).

#[cfg(feature = "server")]
mod at_once;
mod background;
mod begin;
pub(crate) mod checkpoint;
mod combine;
mod count;
mod engine;
mod group;
mod housekeeping;
mod keyspaces;
mod missing;
mod needs;
mod ops;
mod path;
mod pressure;
mod watermarks;

#[cfg(feature = "server")]
pub(crate) use at_once::Single;
pub(crate) use background::Background;
pub(crate) use begin::Older;
pub(crate) use engine::{CommitState, Engine, Live, Locks};
pub(crate) use group::{Trees, apply_entries, sort_entries};
pub(crate) use keyspaces::{Catalog, KeyspaceState, catalog_key, check_name};
pub(crate) use ops::{CLASS_COMMIT, KeyspaceId, Op, Operations, Payload, begins_with_a_count};
pub use watermarks::Watermarks;
