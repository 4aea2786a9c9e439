//! The tree: a B+-tree over versioned pages, one per keyspace.
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
//! Nodes refer to their children by [`PageId`](crate::engine::space::PageId), so that moving or copying a
//! page never touches another one. One commit group at a time changes the tree. Readers see it as of one
//! LSN, at which it does not change (see [`crate::engine::cache`]).
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
//! three quarters of a page ([`merge`]). If the neighbours are on disk, housekeeping merges the node
//! later: a delete does not read from the disk with the commit lock held. So a leaf may be empty for a
//! while. It stays empty if the process ends before. It also does if the merged node would have a shorter
//! prefix, and no room for the longer suffixes.
//!
//! Left out on purpose: sibling links. A cursor keeps the ids of the pages on its path, which cannot
//! change under it at its LSN, and finds the neighbours through them in both directions. A split or merge
//! touches only the nodes concerned and their parents.

pub(crate) mod blob;
pub(crate) mod check;
mod cursor;
mod deferred;
mod edit;
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
pub(crate) use edit::{Aim, PriorValue, Scratch, TreeMut};
pub(crate) use lookup::{ReadAt, lookup, touch};
pub(crate) use merge::load_for_tidy;
pub(crate) use missing::{leaves_of, load_visible, missing};
pub(crate) use node::{BlobRef, Node, Value, copy_used, max_inline, max_key};
#[cfg(feature = "server")]
pub(crate) use peek::peek;
pub(crate) use trim::TrimPlan;
