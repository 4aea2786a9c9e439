//! The free-space bitmaps: which blocks of the data file are free.
//!
//! ```text
//!   block     0 1 2 3 4 5 6 7 8 9
//!   used      1 1 1 0 1 0 0 1 0 0    the last durable checkpoint refers to it
//!   busy      1 1 1 0 1 1 1 1 0 0    not available for allocation
//!                       ^ ^ allocated since that checkpoint
//! ```
//!
//! The bitmaps in memory have one bit per block; the free map on the disk is a copy of `used`.
//! Allocation makes a block `busy`, before a page is written to it. The checkpoint that refers to the
//! page makes the block `used`. The first later checkpoint without it frees it, but only once that
//! checkpoint is durable: until then a crash goes back to the one before.
//!
//! Invariants:
//!
//! - EXTENTS-1 `used` is a subset of `busy`.
//! - EXTENTS-2 a block in `busy` is never allocated, and nobody writes to a block in `used`.
//! - EXTENTS-3 blocks 0 and 1, which hold the superblocks, are always used.
//!
//! The search is next-fit: from the end of the last run, the first run that is long enough, or the
//! longest of the next few. So neighbours in a batch are neighbours on the disk. There is no index of
//! free runs, but a bit for each 64 blocks that are all busy: one comparison skips 4,096 blocks, and a
//! walk over the map of a terabyte of 8 KiB pages takes 20 microseconds. Commits that free a block
//! wait that long.

#[cfg(test)]
use std::cell::Cell;

use super::RESERVED_BLOCKS;

/// How many too short runs a search looks at before it takes the longest of them.
const RUNS_TRIED: u32 = 32;
/// How far past the first too short run a search looks for a longer one, in blocks.
const BLOCKS_TRIED: u64 = 1 << 17;

/// Neighbouring blocks of the data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockRun {
    /// The first block.
    pub(crate) block: u64,
    /// At least 1.
    pub(crate) count: u32,
}

/// The bitmaps.
#[derive(Debug)]
pub(crate) struct Extents {
    busy: Vec<u64>,
    used: Vec<u64>,
    /// One bit per word of `busy`: whether all of its blocks are busy.
    full: Vec<u64>,
    /// Length of the file in blocks. Bits from here on are 0 and mean nothing.
    blocks: u64,
    /// How many blocks are not busy.
    free: u64,
    /// Where the next search starts.
    cursor: u64,
    /// How many words searches have looked at.
    #[cfg(test)]
    looked: Cell<u64>,
}

impl Extents {
    /// The bitmaps of a file of `blocks` blocks, of which `used` and the reserved ones are used.
    pub(crate) fn new(blocks: u64, mut used: Vec<u64>) -> Self {
        assert!(blocks >= RESERVED_BLOCKS);
        assert_eq!(used.len() as u64, blocks.div_ceil(64));
        used[0] |= (1 << RESERVED_BLOCKS) - 1;
        let taken: u64 = used.iter().map(|word| u64::from(word.count_ones())).sum();
        let mut full = vec![0; used.len().div_ceil(64)];
        let all_busy = (0..).zip(&used).filter(|&(_, &word)| word == u64::MAX);
        all_busy.for_each(|(at, _)| set(&mut full, at));
        #[cfg(test)]
        let looked = Cell::new(0);
        Extents {
            busy: used.clone(),
            used,
            full,
            blocks,
            free: blocks - taken,
            cursor: 0,
            #[cfg(test)]
            looked,
        }
    }

    /// Allocates up to `want` neighbouring blocks, or returns `None` if none is free.
    pub(crate) fn take(&mut self, want: u32) -> Option<BlockRun> {
        assert!(want > 0);
        if self.free == 0 {
            return None;
        }
        let start = self.cursor;
        let run = match self.search(start, self.blocks, want) {
            Some(run) if run.count == want => run,
            short => match (short, self.search(RESERVED_BLOCKS, start, want)) {
                (Some(a), Some(b)) if b.count > a.count => b,
                (Some(a), _) => a,
                (None, b) => b?,
            },
        };
        for block in run.block..run.block + u64::from(run.count) {
            set(&mut self.busy, block);
            if self.busy[(block / 64) as usize] == u64::MAX {
                set(&mut self.full, block / 64);
            }
        }
        self.free -= u64::from(run.count);
        self.cursor = run.block + u64::from(run.count);
        Some(run)
    }

    /// Frees a block that no checkpoint refers to.
    pub(crate) fn release(&mut self, block: u64) {
        assert!(self.is_busy(block), "block {block} is freed, but it was not taken");
        assert!(!bit(&self.used, block), "block {block} is freed, but the checkpoint needs it");
        clear(&mut self.busy, block);
        clear(&mut self.full, block / 64);
        self.free += 1;
    }

    /// Takes note that the file is `blocks` blocks long now.
    pub(crate) fn grow(&mut self, blocks: u64) {
        assert!(blocks >= self.blocks, "the data file never shrinks");
        self.free += blocks - self.blocks;
        self.blocks = blocks;
        self.busy.resize(blocks.div_ceil(64) as usize, 0);
        self.used.resize(blocks.div_ceil(64) as usize, 0);
        self.full.resize(self.busy.len().div_ceil(64), 0);
    }

    /// Words `at..at + count` of `used`, with zeros after the end.
    pub(crate) fn used_words(&self, at: u64, count: usize) -> Box<[u64]> {
        let len = self.used.len();
        let from = usize::try_from(at).map_or(len, |at| at.min(len));
        let mut words = self.used[from..len.min(from + count)].to_vec();
        words.resize(count, 0);
        words.into_boxed_slice()
    }

    /// Takes chunk `chunk` of `used` from a checkpoint that is durable now. The blocks that it no longer
    /// uses are released afterwards, one by one (EXTENTS-1).
    pub(crate) fn adopt(&mut self, chunk: u64, bits: &[u64]) {
        let from = usize::try_from(chunk).expect("a chunk in memory") * bits.len();
        let len = bits.len().min(self.used.len() - from);
        self.used[from..from + len].copy_from_slice(&bits[..len]);
    }

    pub(crate) fn is_busy(&self, block: u64) -> bool {
        block < self.blocks && bit(&self.busy, block)
    }

    pub(crate) fn is_used(&self, block: u64) -> bool {
        block < self.blocks && bit(&self.used, block)
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    pub(crate) fn free(&self) -> u64 {
        self.free
    }

    /// The first run of `want` free blocks within `from..to`, or else the longest run seen.
    fn search(&self, from: u64, to: u64, want: u32) -> Option<BlockRun> {
        let mut best: Option<BlockRun> = None;
        let (mut at, mut tried) = (from, 0);
        while let Some(block) = self.next(at, to, 0) {
            let end = self.next(block, to.min(block + u64::from(want)), u64::MAX);
            let end = end.unwrap_or(to.min(block + u64::from(want)));
            let run = BlockRun { block, count: (end - block) as u32 };
            if best.is_none_or(|best| run.count > best.count) {
                best = Some(run);
            }
            let first = best.map_or(block, |best| best.block.min(block));
            tried += 1;
            if run.count == want || tried == RUNS_TRIED || block - first > BLOCKS_TRIED {
                break;
            }
            at = end;
        }
        best
    }

    /// The first block in `from..to` that is free (`skip` 0) or busy (`skip` all ones).
    fn next(&self, from: u64, to: u64, skip: u64) -> Option<u64> {
        let mut at = from;
        while at < to {
            #[cfg(test)]
            self.looked.set(self.looked.get() + 1);
            let rest = (!self.busy[(at / 64) as usize] ^ skip) >> (at % 64);
            if rest != 0 {
                let block = at + u64::from(rest.trailing_zeros());
                return (block < to).then_some(block);
            }
            at = (at / 64 + 1) * 64;
            if skip == 0 && at < to {
                at = self.past_full(at / 64) * 64;
            }
        }
        None
    }

    /// The first word of `busy` from `word` on that is not all ones; past the end if there is none.
    fn past_full(&self, mut word: u64) -> u64 {
        while let Some(&full) = self.full.get((word / 64) as usize) {
            #[cfg(test)]
            self.looked.set(self.looked.get() + 1);
            let ones = u64::from((full >> (word % 64)).trailing_ones());
            word += ones;
            if ones == 0 || !word.is_multiple_of(64) {
                break;
            }
        }
        word
    }
}

fn bit(words: &[u64], block: u64) -> bool {
    words[(block / 64) as usize] >> (block % 64) & 1 == 1
}

fn set(words: &mut [u64], block: u64) {
    words[(block / 64) as usize] |= 1 << (block % 64);
}

fn clear(words: &mut [u64], block: u64) {
    words[(block / 64) as usize] &= !(1 << (block % 64));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::base::random::SplitMix64;

    fn extents(blocks: u64) -> Extents {
        Extents::new(blocks, vec![0; blocks.div_ceil(64) as usize])
    }

    #[test]
    fn allocation_goes_forward_and_wraps_around() {
        let mut extents = extents(100);
        assert_eq!(extents.take(50), Some(BlockRun { block: 2, count: 50 }));
        assert_eq!(extents.take(40), Some(BlockRun { block: 52, count: 40 }));
        (10..20).for_each(|block| extents.release(block));
        assert_eq!(
            extents.take(10),
            Some(BlockRun { block: 10, count: 10 }),
            "rather than 92..100"
        );
        assert_eq!(extents.take(10), Some(BlockRun { block: 92, count: 8 }));
        assert_eq!((extents.take(1), extents.free()), (None, 0));
        extents.grow(130);
        assert_eq!(extents.take(64), Some(BlockRun { block: 100, count: 30 }));
        assert_eq!(extents.take(64), None);
    }

    #[test]
    fn among_runs_that_are_too_short_the_longest_is_taken() {
        let mut extents = extents(200);
        while extents.take(64).is_some() {}
        for block in [5, 6, 50, 51, 52, 53, 54, 70, 199] {
            extents.release(block);
        }
        assert_eq!(extents.take(9), Some(BlockRun { block: 50, count: 5 }));
        assert_eq!(extents.take(2), Some(BlockRun { block: 5, count: 2 }));
    }

    #[test]
    fn random_takes_and_releases_match_a_set() {
        let mut random = SplitMix64::new(5);
        let mut random = |below| random.below(below);
        let mut extents = extents(500);
        let mut taken = std::collections::BTreeSet::from([0, 1]);
        for _ in 0..20_000 {
            if random(2) == 0 {
                match extents.take(1 + random(20) as u32) {
                    Some(run) => {
                        for block in run.block..run.block + u64::from(run.count) {
                            assert!(block < 500 && taken.insert(block), "{block} given twice");
                        }
                    }
                    None => assert_eq!(taken.len(), 500),
                }
            } else if let Some(&block) = taken.range(2 + random(498)..).next() {
                taken.remove(&block);
                extents.release(block);
            }
            assert_eq!(extents.free(), 500 - taken.len() as u64);
        }
    }

    /// A search holds the bitmaps' lock.
    #[test]
    fn a_search_in_a_full_terabyte_looks_at_few_words() {
        let blocks = 1 << 27;
        let mut extents = Extents::new(blocks, vec![u64::MAX; (blocks / 64) as usize]);
        extents.used.fill(0);
        let last = blocks - 1;
        extents.release(last);
        assert_eq!(extents.take(9), Some(BlockRun { block: last, count: 1 }));
        for block in [5, last] {
            extents.release(block);
        }
        assert_eq!(extents.take(1), Some(BlockRun { block: 5, count: 1 }), "it comes round again");
        assert_eq!(extents.take(1), Some(BlockRun { block: last, count: 1 }));
        assert_eq!((extents.take(1), extents.free()), (None, 0));
        let words = blocks / 64 / 64;
        assert!(extents.looked.get() < 5 * words, "{} words", extents.looked.get());
    }

    #[test]
    #[should_panic(expected = "the checkpoint needs it")]
    fn a_used_block_is_not_released() {
        Extents::new(10, vec![0b1000]).release(3);
    }

    #[test]
    #[should_panic(expected = "was not taken")]
    fn a_free_block_is_not_released() {
        extents(10).release(3);
    }
}
