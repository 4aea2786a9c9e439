//! What of the free blocks is kept, and from whom.
//!
//! A full disk must not keep anybody from getting out of it: rows are deleted and a checkpoint is
//! made, which frees the blocks of the pages that changed. Both need blocks first. So the last free
//! ones are not for everybody:
//!
//! ```text
//!   free   |<-------------- commits that put -------------->|<- deletes ->|<- counts, maps ->|
//!          n                                             relief         maps                 0
//! ```
//!
//! - The maps of a checkpoint take at most as many blocks as both maps have when every page of them
//!   is written anew: one for each `fanout` pages of the store, of which there are at most as many as
//!   blocks, one for each `64 * fanout` blocks, and what is above them.
//! - What a page in memory needs to be written out is counted apart, by the cache (CACHE-12): it is not
//!   free to anybody else. While it is written its block is taken, and backs it still: in flight.

use super::extents::Extents;
use crate::engine::base::sync::atomic::{AtomicU64, Ordering};

/// Blocks for the upper levels of both maps.
const LEAST_FOR_MAPS: u64 = 8;
/// Blocks for the counts of keys that a checkpoint notes: these, and one for so many keyspaces.
const LEAST_FOR_COUNTS: u64 = 4;
const KEYSPACES_IN_PAGE: u64 = 4;
/// Blocks for deletes, and for merging what they leave: these, and a share of the file, which is
/// smaller in a large one.
const LEAST_FOR_RELIEF: u64 = 12;
const SHARE_OF_SMALL: u64 = 16;
const SMALL: u64 = 96;
const SHARE_OF_LARGE: u64 = 128;

/// What blocks are wanted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// A commit that adds something.
    #[default]
    More,
    /// A commit that only takes something away.
    Less,
    /// What a checkpoint commits before it begins.
    Checkpoint,
}

/// The free blocks as of the last change of the bitmaps.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Blocks that are taken for pages which still count as homeless. Changes with the bitmaps' lock
    /// held.
    in_flight: AtomicU64,
    /// These, and those that are free.
    backing: AtomicU64,
    /// Blocks of the file when what follows was computed.
    blocks: AtomicU64,
    maps: AtomicU64,
    relief: AtomicU64,
    counts: AtomicU64,
}

impl Room {
    /// Takes note of the bitmaps, whose lock is held.
    pub(super) fn note(&self, extents: &Extents, fanout: usize) {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        self.backing.store(extents.free() + in_flight, Ordering::SeqCst);
        let (blocks, fanout) = (extents.blocks(), fanout as u64);
        if self.blocks.swap(blocks, Ordering::Relaxed) == blocks {
            return;
        }
        // A leaf for each `fanout` words, and above it less than a tenth of that.
        let pages = |words: u64| words.div_ceil(fanout) * 11 / 10;
        let maps = pages(blocks) + pages(blocks.div_ceil(64)) + LEAST_FOR_MAPS;
        self.maps.store(maps, Ordering::Relaxed);
        let share = (blocks / SHARE_OF_SMALL).min(SMALL) + blocks / SHARE_OF_LARGE;
        self.relief.store(LEAST_FOR_RELIEF + share, Ordering::Relaxed);
    }

    /// A checkpoint may have to note the counts of so many keyspaces.
    pub(super) fn note_keyspaces(&self, keyspaces: u64) {
        self.counts.store(keyspaces / KEYSPACES_IN_PAGE, Ordering::Relaxed);
    }

    /// So many blocks more are in flight. The bitmaps' lock is held, and they are noted next.
    pub(super) fn took_off(&self, blocks: u64) {
        self.in_flight.fetch_add(blocks, Ordering::Relaxed);
    }

    /// So many are no longer. The same.
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
    fn each_claim_leaves_what_comes_after_it() {
        let room = Room::default();
        room.note(&Extents::new(4096, vec![0; 64]), 508);
        let kept = [Claim::More, Claim::Less, Claim::Checkpoint].map(|claim| room.kept_from(claim));
        assert_eq!(room.backing(), 4094);
        // Nine leaves of the page map, one of the free map, and what is above them.
        assert_eq!(kept, [18 + 4 + 140, 18 + 4, 18]);
        room.note_keyspaces(400);
        assert_eq!(room.kept_from(Claim::Less), 18 + 4 + 100);
    }
}
