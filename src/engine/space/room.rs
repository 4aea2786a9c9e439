//! How many of the free blocks are reserved, and for what.
//!
//! A user must be able to make space on a full disk: delete rows, then make a checkpoint, which frees
//! the blocks of the changed pages. Both need blocks first, so the last free blocks are reserved:
//!
//! ```text
//!   free   |<-------------- commits that put -------------->|<- deletes ->|<- counts, maps ->|
//!          n                                             relief         maps                 0
//! ```
//!
//! For example, a file of 4,096 blocks of 4 KiB reserves 18 blocks for maps, 4 for counts and 140 for
//! deletes. So a put must leave 162 blocks free, a delete 22.
//!
//! - A checkpoint's maps take at most the blocks of two maps rewritten in full: one per `fanout` pages
//!   (a store has no more pages than blocks), one per `64 * fanout` blocks, and the levels above.
//! - The cache counts the block that each page in memory needs for its write-back separately (CACHE-12).
//!   During the write that block is allocated and still backs the page: it is in flight.

use super::extents::Extents;
use crate::engine::base::sync::atomic::{AtomicU64, Ordering};

/// Blocks for the upper levels of both maps.
const LEAST_FOR_MAPS: u64 = 8;
/// Blocks for the counts of keys that a checkpoint notes: these, and one per 4 keyspaces.
const LEAST_FOR_COUNTS: u64 = 4;
const KEYSPACES_IN_PAGE: u64 = 4;
/// Blocks for deletes and the merges of pages after them: these, and a share of the file, which is
/// smaller in a large file.
const LEAST_FOR_RELIEF: u64 = 12;
const SHARE_OF_SMALL: u64 = 16;
const SMALL: u64 = 96;
const SHARE_OF_LARGE: u64 = 128;

/// The purpose of a request for blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// A commit that adds something.
    #[default]
    More,
    /// A commit that only removes something.
    Less,
    /// The commit that a checkpoint makes before it begins.
    Checkpoint,
}

/// The free blocks as of the last change of the bitmaps.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Blocks allocated for pages that still count as needing one. Changes with the bitmaps' lock held.
    in_flight: AtomicU64,
    /// Blocks that are free or in flight.
    backing: AtomicU64,
    /// Blocks of the file when `maps` and `relief` were computed.
    blocks: AtomicU64,
    maps: AtomicU64,
    relief: AtomicU64,
    counts: AtomicU64,
}

impl Room {
    /// Copies the state of the bitmaps, whose lock the caller holds.
    pub(super) fn note(&self, extents: &Extents, fanout: usize) {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        self.backing.store(extents.free() + in_flight, Ordering::SeqCst);
        let (blocks, fanout) = (extents.blocks(), fanout as u64);
        if self.blocks.swap(blocks, Ordering::Relaxed) == blocks {
            return;
        }
        // A leaf per `fanout` words, and above the leaves less than a tenth of that.
        let pages = |words: u64| words.div_ceil(fanout) * 11 / 10;
        let maps = pages(blocks) + pages(blocks.div_ceil(64)) + LEAST_FOR_MAPS;
        self.maps.store(maps, Ordering::Relaxed);
        let share = (blocks / SHARE_OF_SMALL).min(SMALL) + blocks / SHARE_OF_LARGE;
        self.relief.store(LEAST_FOR_RELIEF + share, Ordering::Relaxed);
    }

    /// Sets how many keyspaces' counts a checkpoint may have to note.
    pub(super) fn note_keyspaces(&self, keyspaces: u64) {
        self.counts.store(keyspaces / KEYSPACES_IN_PAGE, Ordering::Relaxed);
    }

    /// Adds `blocks` to those in flight. The caller holds the bitmaps' lock and calls `note` next.
    pub(super) fn took_off(&self, blocks: u64) {
        self.in_flight.fetch_add(blocks, Ordering::Relaxed);
    }

    /// Takes `blocks` off those in flight, under the same conditions.
    pub(super) fn landed(&self, blocks: u64) {
        let before = self.in_flight.fetch_sub(blocks, Ordering::Relaxed);
        debug_assert!(before >= blocks, "CACHE-12: {blocks} of {before} blocks in flight landed");
    }

    /// Blocks that are free or in flight.
    pub(super) fn backing(&self) -> u64 {
        self.backing.load(Ordering::SeqCst)
    }

    pub(super) fn kept_from(&self, claim: Claim) -> u64 {
        let maps = self.maps.load(Ordering::Relaxed);
        if claim == Claim::Checkpoint {
            return maps;
        }
        let counts = maps + LEAST_FOR_COUNTS + self.counts.load(Ordering::Relaxed);
        match claim {
            Claim::Less => counts,
            _ => counts + self.relief.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_leaves_the_blocks_reserved_for_the_claims_after_it() {
        let room = Room::default();
        room.note(&Extents::new(4096, vec![0; 64]), 508);
        let kept = [Claim::More, Claim::Less, Claim::Checkpoint].map(|claim| room.kept_from(claim));
        assert_eq!(room.backing(), 4094);
        // Nine leaves of the page map, one of the free map, and the levels above them.
        assert_eq!(kept, [18 + 4 + 140, 18 + 4, 18]);
        room.note_keyspaces(400);
        assert_eq!(room.kept_from(Claim::Less), 18 + 4 + 100);
    }
}
