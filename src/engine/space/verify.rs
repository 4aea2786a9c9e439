//! Checking the data file against itself.
//!
//! Each block that a durable superblock uses is used exactly once: as a superblock, as a page of one of
//! the maps, or as a page whose address is in the page map. The free map must mark these blocks as used,
//! and no others.

use super::RESERVED_BLOCKS;
use super::page::{PageAddr, PageId};
use super::space::Space;
use super::word_tree::WordTree;
use crate::engine::base::error::Result;
use crate::engine::base::problems::Problems;

/// The result of a check of the data file.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) problems: Problems,
    /// Blocks that the newest superblock does not use; unknown if the free map is damaged.
    pub(crate) free_blocks: Option<u64>,
}

impl Space {
    /// Reads both slots of the superblock and both maps, and compares them. Calls `on_page` with each
    /// page of the trees and its address, in the order of the ids, without reading the page. No
    /// checkpoint runs meanwhile.
    pub(crate) fn verify(&self, on_page: &mut dyn FnMut(PageId, PageAddr)) -> Result<Found> {
        let found = self.verify_alone(on_page)?;
        self.write_notes_if_possible()?;
        Ok(found)
    }

    fn verify_alone(&self, on_page: &mut dyn FnMut(PageId, PageAddr)) -> Result<Found> {
        let _no_checkpoint = self.checkpointing.lock();
        let superblock = self.superblock();
        let mut check = Check {
            seen: vec![0; superblock.blocks.div_ceil(64) as usize],
            blocks: superblock.blocks,
            problems: Problems::default(),
        };
        for problem in self.slots.lock().damage(&self.file)? {
            check.problem(problem);
        }
        for block in 0..RESERVED_BLOCKS {
            check.see(block, &|| "superblocks".into());
        }
        let fanout = self.map_fanout() as u64;
        let next = superblock.head.next_page_id;
        self.check_tree(&self.page_map, &mut check, &mut |check, leaf, words| {
            for (id, &word) in (leaf.index.saturating_mul(fanout)..).zip(words) {
                match self.map_word(leaf.addr, PageId(id), word) {
                    Ok(PageAddr::NONE) => {}
                    Ok(addr) => {
                        if PageId(id) >= next {
                            check.problem(format!("page {id} exists, but the next id is {next}"));
                        }
                        check.see(addr.block(), &|| format!("page {id}"));
                        on_page(PageId(id), addr);
                    }
                    Err(error) => check.problem(error.to_string()),
                }
            }
        })?;
        let before = check.problems.count();
        // The superblocks' bits, in case the first page of the free map is not stored yet.
        let mut used = vec![0; check.seen.len()];
        used[0] = (1 << RESERVED_BLOCKS) - 1;
        self.check_tree(&self.free_map, &mut check, &mut |check, chunk, words| {
            for (at, &word) in (chunk.index.saturating_mul(fanout)..).zip(words) {
                match used.get_mut(usize::try_from(at).unwrap_or(usize::MAX)) {
                    Some(slot) => *slot = word,
                    None if word == 0 => {}
                    None => check.problem("the free map has bits beyond the file".into()),
                }
            }
        })?;
        let is_known = check.problems.count() == before;
        let taken: u64 = used.iter().map(|word| u64::from(word.count_ones())).sum();
        let free_blocks = is_known.then(|| superblock.blocks.saturating_sub(taken));
        check.compare(&used);
        Ok(Found { problems: check.problems, free_blocks })
    }

    fn check_tree(&self, tree: &WordTree, check: &mut Check, on_leaf: OnLeaf<'_>) -> Result<()> {
        let leaves = tree.root().leaves;
        tree.visit(&self.file, &mut |node, addr, words| {
            let name = || format!("page {} on level {} of a map", node.index, node.level);
            let is_new = check.see(addr.block(), &name);
            match words {
                Err(error) => check.problem(error.to_string()),
                Ok(_) if node.level > 0 || !is_new => {}
                Ok(_) if node.index >= leaves => {
                    check.problem(format!("{}, which has {leaves} leaves", name()));
                }
                Ok(words) => on_leaf(check, LeafPage { index: node.index, addr }, words),
            }
            // A page met twice is visited once, so that a damaged map cannot make this endless.
            is_new
        })
    }
}

/// Called with the words of each leaf.
type OnLeaf<'a> = &'a mut dyn FnMut(&mut Check, LeafPage, &[u64]);

/// A leaf of a map: its index and its address.
struct LeafPage {
    index: u64,
    addr: PageAddr,
}

/// The state of a check.
struct Check {
    /// One bit per block: whether it has been met.
    seen: Vec<u64>,
    blocks: u64,
    problems: Problems,
}

impl Check {
    /// Marks the block as met. Returns whether it exists and was not met before.
    fn see(&mut self, block: u64, name: &dyn Fn() -> String) -> bool {
        if block >= self.blocks {
            self.problem(format!("{} in block {block} beyond the file", name()));
            return false;
        }
        let (word, bit) = (&mut self.seen[(block / 64) as usize], 1 << (block % 64));
        if *word & bit != 0 {
            self.problem(format!("{} in block {block}, which is something else", name()));
            return false;
        }
        *word |= bit;
        true
    }

    fn compare(&mut self, used: &[u64]) {
        for (word, (&seen, &used)) in std::mem::take(&mut self.seen).iter().zip(used).enumerate() {
            for bit in (0..64).filter(|bit| (seen ^ used) >> bit & 1 == 1) {
                let block = word * 64 + bit;
                self.problem(match used >> bit & 1 {
                    0 => format!("block {block} is in use, but free in the free map"),
                    _ => format!("block {block} is lost: nothing refers to it, but it is not free"),
                });
            }
        }
    }

    fn problem(&mut self, problem: String) {
        self.problems.add(problem);
    }
}
