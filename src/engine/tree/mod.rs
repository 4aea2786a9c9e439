//! The tree: a B+-tree over versioned pages, one for each keyspace.
//!
//! ```text
//!                 root (its page id never changes)
//!               /          |          \
//!           inner        inner        inner     separators, child page ids
//!          /  |  \      /  |  \      /  |  \
//!        leaf leaf leaf ...                     keys and values
//!                 \
//!                  out-of-line value: BLOB page, or BLOB_INDEX pages over BLOB pages
//! ```
//!
//! Nodes name their children by [`PageId`](crate::engine::space::PageId), so that moving or copying a
//! page never touches another one. One commit group at a time changes the tree; readers see it as
//! of one LSN, in which nothing moves (see [`crate::engine::cache`]).
//!
//! Invariants, checked by [`check`] in its module:
//!
//! - TREE-1 every node satisfies its layout's rules ([`node`]);
//! - TREE-2 a child's fences are the separators around it in its parent, its level is one less, and
//!   all leaves are at level 0;
//! - TREE-3 every page is reached exactly once, or is free;
//! - TREE-4 the number of keys in the leaves is the keyspace's count.
//!
//! Deleting merges a node with a neighbour when it is less than a quarter full and both fit in
//! three quarters of a page ([`merge`]). Where the neighbours are on disk it is done a little later:
//! merging is housekeeping, and not worth waiting for the disk with the commit lock held. So a leaf
//! may be empty for a while. It stays so if the process ends before, or if its keys have less in
//! common with those beside it and the neighbour has no room to write them out.
//!
//! Left out on purpose: sibling links. A cursor keeps the names of the pages on its path, which
//! cannot change under it at its LSN, and finds the neighbours through them, forward and backward
//! alike; a split or merge touches no page beside the ones it is about.

pub(crate) mod blob;
pub(crate) mod check;
mod cursor;
mod edit;
mod later;
mod lookup;
mod merge;
mod missing;
mod node;
#[cfg(feature = "server")]
mod peek;
#[cfg(test)]
mod tests;
mod trim;

pub(crate) use cursor::Cursor;
pub(crate) use edit::{Aim, Outcome, Scratch, TreeMut};
pub(crate) use lookup::{ReadAt, lookup, touch};
pub(crate) use merge::approach;
pub(crate) use missing::{leaves_of, load_visible, missing};
pub(crate) use node::{BlobRef, Node, Value, copy_used, max_inline, max_key};
#[cfg(feature = "server")]
pub(crate) use peek::peek;
pub(crate) use trim::TrimPlan;
