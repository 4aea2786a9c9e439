//! Writing a checkpoint's maps and its superblock.
//!
//! The pages of the trees are in the file already. The steps from there:
//!
//! 1. the changed leaves of the page map, and the pages above them, go to fresh blocks;
//! 2. the free map's bits change for the taken and the released blocks, and for those that step 1
//!    wrote and replaced;
//! 3. the changed pages of the free map need fresh blocks too, which changes more bits, perhaps on
//!    further pages. This repeats until no page is added; it ends, since each page is placed once;
//! 4. the free map's pages are written;
//! 5. everything is flushed;
//! 6. the superblock is written and flushed;
//! 7. the new maps are adopted, and the blocks that they no longer refer to are freed.
//!
//! After a failure in steps 1 to 5 the fresh blocks are freed and nothing has changed (SPACE-2). The
//! same holds if the disk has no space for the superblock (SUPERBLOCK-4). Any other failure from step 6
//! on poisons the file (DATAFILE-1): the disk may hold the former checkpoint or the new one, so no block
//! of either is freed, and there is no further checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use super::map_page::Node;
use super::space::Space;
use super::superblock::{Head, Superblock};
use super::tree_update::{Built, Update};
use crate::engine::base::error::{Error, Result};
use crate::engine::mutants::mutant;

/// Blocks that are changed or checked per hold of the bitmaps' lock.
const BATCH: usize = 1024;

/// The difference between a checkpoint and the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes<'a> {
    /// All words of each changed leaf of the page map.
    pub(crate) leaves: &'a BTreeMap<u64, Box<[u64]>>,
    /// Blocks that only the former checkpoint refers to. They become free.
    pub(crate) released: &'a [u64],
    /// Blocks that only the former checkpoint refers to, but that the caller still needs for a
    /// snapshot. The caller owns them from then on, until [`Space::free`] or a crash.
    pub(crate) kept: &'a [u64],
    /// Blocks that only this checkpoint refers to: allocated and written.
    pub(crate) taken: &'a [u64],
}

impl Space {
    /// Makes a checkpoint durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a flush or the write of the superblock failed: the store must be reopened.
    /// After any other error nothing has changed, and the same checkpoint can be tried again.
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
                assert!(
                    batch.iter().all(ours),
                    "EXTENTS-2: a block that a checkpoint takes is allocated"
                );
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

    /// Step 7 for the blocks, in batches: a commit that frees a block waits for one batch at most.
    fn adopt_blocks(&self, maps: &Maps, changes: Changes<'_>) -> Result<()> {
        for (&chunk, bits) in &maps.bits.chunks {
            self.with_extents(|extents| extents.adopt(chunk, bits))?;
        }
        for batch in changes.released.chunks(BATCH).chain(maps.replaced.chunks(BATCH)) {
            self.with_extents(|extents| batch.iter().for_each(|&block| extents.release(block)))?;
        }
        Ok(())
    }

    /// Steps 1 to 5. Adds the blocks that it allocates to `fresh`.
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

        // 5. The length covers all blocks allocated so far, and is flushed with them.
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

/// The maps that a checkpoint has written and flushed, before a superblock refers to them.
struct Maps {
    page_map: Built,
    free_map: Built,
    bits: Chunks,
    /// Blocks of the maps' former pages.
    replaced: Vec<u64>,
    blocks: u64,
}

/// The changed chunks of used bits, each the words of one page of the free map.
struct Chunks {
    chunks: BTreeMap<u64, Box<[u64]>>,
}

/// The used bits of the new checkpoint: copies of the chunks that change.
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
    /// [`Error::Corrupt`] if the page map and the free map contradict each other.
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
