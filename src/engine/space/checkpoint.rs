//! Writing a checkpoint's maps and its superblock.
//!
//! The pages of the trees are in the file already. What follows:
//!
//! 1. the changed leaves of the page map, and what is above them, go to fresh blocks;
//! 2. the free map's bits change: what is taken, what is released, what 1 wrote and replaced;
//! 3. the changed pages of the free map need fresh blocks too, which changes more bits, perhaps
//!    on further pages: until no page is added. Each page is placed once, so this ends;
//! 4. the free map's pages are written;
//! 5. everything is flushed;
//! 6. the superblock is written and flushed;
//! 7. the new maps count, and what they no longer refer to is free.
//!
//! Up to 5 a failure gives the fresh blocks back, and nothing has happened (SPACE-2). So does a superblock
//! for which the disk has no space (SUPERBLOCK-4). From 6 on any other failure leaves both the former
//! checkpoint and the new one possible; no block of either is given away, and no other checkpoint can be
//! made: the file is poisoned (DATAFILE-1).

use std::collections::{BTreeMap, BTreeSet};

use super::map_page::Node;
use super::space::Space;
use super::superblock::{Head, Superblock};
use super::tree_update::{Built, Update};
use crate::engine::base::error::{Error, Result};
use crate::engine::mutants::mutant;

/// Blocks that are dealt with in one hold of the lock over the bitmaps.
const BATCH: usize = 1024;

/// In what a checkpoint differs from the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes<'a> {
    /// The full new words of each changed leaf of the page map.
    pub(crate) leaves: &'a BTreeMap<u64, Box<[u64]>>,
    /// Blocks that only the former checkpoint refers to. They become free.
    pub(crate) released: &'a [u64],
    /// Blocks that only the former checkpoint refers to, but the caller still needs, for a
    /// snapshot. They are the caller's from then on, until [`Space::free`] or a crash.
    pub(crate) kept: &'a [u64],
    /// Blocks that only this checkpoint refers to: allocated and written.
    pub(crate) taken: &'a [u64],
}

impl Space {
    /// Makes a checkpoint durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a flush or the writing of the superblock
    /// failed: the store can only be reopened. After any other error all is as before, and the
    /// same checkpoint can be tried again.
    pub(crate) fn checkpoint(&self, changes: Changes<'_>, head: Head) -> Result<()> {
        self.checkpoint_alone(changes, head)?;
        self.write_notes_if_possible()
    }

    fn checkpoint_alone(&self, changes: Changes<'_>, head: Head) -> Result<()> {
        let _one_at_a_time = self.checkpointing.lock();
        self.file.check_poison()?;
        for batch in changes.taken.chunks(BATCH) {
            self.with_extents(|extents| {
                let ours = |&block: &u64| extents.is_busy(block) && !extents.is_used(block);
                assert!(batch.iter().all(ours), "EXTENTS-2: what a checkpoint takes was allocated");
            })?;
        }
        let mut fresh = Vec::new();
        let maps = match self.write_maps(changes, head, &mut fresh) {
            Ok(maps) => maps,
            Err(error) => {
                fresh.iter().for_each(|&block| self.free(block));
                return Err(error);
            }
        };
        let former = self.superblock();
        mutant!(ExtentsFreedEarly => self.adopt_blocks(&maps, changes)?);
        let stored = self.store_superblock(Superblock {
            sequence: former.sequence + 1,
            blocks: mutant!(FileLengthStale: maps.blocks => former.blocks),
            page_map: maps.page_map.root,
            free_map: maps.free_map.root,
            head,
            ..former
        });
        if let Err(full @ Error::DiskFull { .. }) = stored {
            fresh.iter().for_each(|&block| self.free(block)); // SUPERBLOCK-4
            return Err(full);
        }
        stored?;
        mutant!(ExtentsFreedEarly: self.adopt_blocks(&maps, changes)? => ());
        self.page_map.adopt(maps.page_map);
        self.free_map.adopt(maps.free_map);
        Ok(())
    }

    /// Step 7 for the blocks, in pieces: commits that free a block wait for one of them at most.
    fn adopt_blocks(&self, maps: &Maps, changes: Changes<'_>) -> Result<()> {
        for (&chunk, bits) in &maps.bits.chunks {
            self.with_extents(|extents| extents.adopt(chunk, bits))?;
        }
        for batch in changes.released.chunks(BATCH).chain(maps.replaced.chunks(BATCH)) {
            self.with_extents(|extents| batch.iter().for_each(|&block| extents.release(block)))?;
        }
        Ok(())
    }

    /// Steps 1 to 5. The blocks that it takes are added to `fresh`.
    fn write_maps(&self, changes: Changes<'_>, head: Head, fresh: &mut Vec<u64>) -> Result<Maps> {
        let Changes { leaves, released, kept, taken } = changes;
        // 1
        let mut pages = Update::new(&self.page_map, &self.file);
        for (&leaf, words) in leaves {
            assert_eq!(words.len(), self.map_fanout());
            pages.touch(leaf)?;
            mutant!(OneMapLeafWritten => break);
        }
        let mut replaced = pages.replaced().to_vec();
        let page_map =
            pages.build(head.checkpoint, &|leaf| &leaves[&leaf], &mut |_, words| match words
                .iter()
                .all(|&word| word == 0)
            {
                true => Ok(None),
                false => self.take_one(fresh).map(Some),
            })?;

        // 2
        let mut bits = Bits { space: self, chunks: BTreeMap::new() };
        for &block in released.iter().chain(kept).chain(&replaced) {
            bits.mark(block, Used::No)?;
        }
        for &block in mutant!(TakenBlocksUnmarked: taken => &[]).iter().chain(&*fresh) {
            bits.mark(block, Used::Yes)?;
        }

        // 3
        let mut chunks = Update::new(&self.free_map, &self.file);
        let mut touched = BTreeSet::new();
        let mut places: BTreeMap<Node, u64> = BTreeMap::new();
        while let Some(chunk) = bits.chunks.keys().copied().find(|chunk| !touched.contains(chunk)) {
            touched.insert(chunk);
            let known = chunks.replaced().len();
            for node in chunks.touch(chunk)? {
                let block = self.take_one(fresh)?;
                places.insert(node, block);
                bits.mark(block, Used::Yes)?;
            }
            for &block in &chunks.replaced()[known..] {
                bits.mark(block, Used::No)?;
            }
        }
        replaced.extend(chunks.replaced());

        // 4
        let free_map =
            chunks.build(head.checkpoint, &|chunk| &bits.chunks[&chunk], &mut |node, _| {
                Ok(Some(places[&node]))
            })?;

        // 5. The length covers all that was allocated so far, and is durable with the rest.
        let blocks = self.with_extents(|extents| extents.blocks())?;
        mutant!(SuperblockBeforePages: self.file.sync()? => ());
        let bits = Chunks { chunks: bits.chunks };
        Ok(Maps { page_map, free_map, bits, replaced, blocks })
    }

    fn take_one(&self, fresh: &mut Vec<u64>) -> Result<u64> {
        let block = self.allocate(1)?.block;
        fresh.push(block);
        Ok(block)
    }
}

/// What a checkpoint has written and flushed, and no superblock refers to yet.
struct Maps {
    page_map: Built,
    free_map: Built,
    bits: Chunks,
    /// Blocks of the maps' former pages.
    replaced: Vec<u64>,
    blocks: u64,
}

/// Changed groups of used bits, each the words of one page of the free map.
struct Chunks {
    chunks: BTreeMap<u64, Box<[u64]>>,
}

/// The used bits as the new checkpoint will have them: copies of those groups that change.
struct Bits<'a> {
    space: &'a Space,
    chunks: BTreeMap<u64, Box<[u64]>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Used {
    Yes,
    No,
}

impl Bits<'_> {
    /// # Errors
    /// Corrupt, if the page map and the free map contradict each other.
    fn mark(&mut self, block: u64, used: Used) -> Result<()> {
        let words = self.space.map_fanout();
        let (word, bit) = (block / 64, 1 << (block % 64));
        let (chunk, at) = (word / words as u64, (word % words as u64) as usize);
        let bits = match self.chunks.entry(chunk) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let first = chunk * words as u64;
                entry.insert(self.space.with_extents(|all| all.used_words(first, words))?)
            }
        };
        let was = if bits[at] & bit != 0 { Used::Yes } else { Used::No };
        if was == used {
            let (expected, found) = match used {
                Used::Yes => ("a free block", "one in use in the free map"),
                Used::No => ("a block in use", "one free in the free map"),
            };
            return Err(self.space.file.corrupt(block, expected.into(), found.into()));
        }
        bits[at] ^= bit;
        Ok(())
    }
}
