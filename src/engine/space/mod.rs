//! The data file: superblock, extents, page map, and the pages themselves.
//!
//! ```text
//!            Space
//!          /   |    \
//!   slots   maps   extents         superblock; page map and free map; free blocks
//!       \    |
//!       data_file                  pages read, checked, written, flushed
//!            |
//!          disk
//! ```
//!
//! Block b of the file is the page-sized piece at `b * page size`. Blocks 0 and 1 are reserved for
//! the superblocks. Every other block is a page of a tree, of an out-of-line value, of the page map
//! or of the free map, or it is free.
//!
//! No block that a checkpoint refers to is overwritten while a crash could go back to that
//! checkpoint. The invariants behind this are in [`slots`] (SUPERBLOCK), [`extents`] (EXTENTS),
//! [`data_file`] (DATAFILE), [`word_tree`] (MAPS) and [`space`] (SPACE); the order of a checkpoint's
//! steps is in [`checkpoint`].

mod allocation;
mod checkpoint;
mod data_file;
mod extents;
pub(crate) mod map_page;
mod page;
mod room;
mod slots;
#[expect(clippy::module_inception, reason = "the layer is named as its main type")]
mod space;
pub(crate) mod superblock;
#[cfg(test)]
mod tests;
mod tree_update;
mod verify;
mod word_tree;

/// Blocks at the start of the file that are not pages.
pub(crate) const RESERVED_BLOCKS: u64 = 2;

pub(crate) use checkpoint::Changes;
pub(crate) use extents::BlockRun;
pub(crate) use page::{BLOB, BLOB_INDEX, INNER, LEAF, PAGE_HEADER, PageAddr, PageId, header};
pub(crate) use room::Claim;
pub(crate) use space::{DATA_FILE, NEW_DATA_FILE, Params, Space, is_unfinished};
pub(crate) use superblock::Head;
