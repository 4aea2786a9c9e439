//! Commits: their operations, and the one path that every commit takes.
//!
//! ```text
//!   caller                         commit lock                        device
//!   ------                         -----------                        ------
//!   1 encode, checksum,
//!     write long values,
//!     touch leaves, reserve
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
//! - COMMIT-1 a record is in the log before its changes are visible (`visible <= appended`);
//! - COMMIT-2 commits become visible in the order of their LSNs, each whole;
//! - COMMIT-3 a refused commit leaves no trace. Between the append and the publication only a device can
//!   fail, when a page must be read or written for a group that the cache is too small for. Such a failure
//!   poisons the log: nothing later is acknowledged, and recovery decides;
//! - COMMIT-4 a `Sync` commit returns only when `durable` has reached its LSN;
//! - COMMIT-5 no commit fails for want of space after the append: a group changes no more pages than it was
//!   promised before ([`needs`]);
//! - COMMIT-6 no page is read with the commit lock held, except for a group that the cache is too small for
//!   ([`missing`]).

mod background;
mod backpressure;
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
#[cfg(feature = "server")]
mod nonblocking;
mod ops;
mod path;
mod watermarks;

pub(crate) use background::Background;
pub(crate) use begin::OlderSegments;
pub(crate) use engine::{CommitState, Engine, LiveLog, Locks};
pub(crate) use group::{Trees, apply_entries, sort_entries};
pub(crate) use keyspaces::{Catalog, KeyspaceState, catalog_key, check_name};
#[cfg(feature = "server")]
pub(crate) use nonblocking::GatheredCommit;
pub(crate) use ops::{CLASS_COMMIT, KeyspaceId, Op, Operations, Payload, begins_with_a_count};
pub use watermarks::Watermarks;
