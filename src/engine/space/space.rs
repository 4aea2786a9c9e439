//! The data file as the layers above see it: pages by address, blocks, checkpoints.
//!
//! ```text
//!   allocate --> write_run --> checkpoint(taken) ...... checkpoint(released) --> allocate
//!      |                             |                          |
//!    busy                     durable superblock       durable superblock no
//!      |                      refers to it             longer refers to it
//!      `--> free, if no checkpoint ever referred to it
//! ```
//!
//! Invariants:
//!
//! - SPACE-1 the newest durable superblock, and one whose write may have reached the disk, refer only
//!   to pages that have been flushed and that nobody writes to.
//! - SPACE-2 a checkpoint that fails before it writes the superblock has changed nothing except the
//!   contents of free blocks.
//!
//! Lock order: `checkpointing`, `opening`, `growing`, `slots`, then `extents` or a lock within the
//! trees or the file, of which a thread holds one at a time. Only the first four are held while
//! waiting for the device. Reading, writing and flushing pages takes none of those four; neither does
//! allocating in a file that need not grow.
//!
//! Opening a store reads only its two superblock slots. The page map is read leaf by leaf on demand,
//! the free map at the first allocation.

use std::sync::Arc;

use super::data_file::DataFile;
use super::extents::Extents;
use super::map_page::Root;
use super::page::{FREE_MAP, PAGE_MAP, PageAddr, PageId};
use super::room::Room;
use super::slots::Slots;
use super::superblock::{Head, PAGE_SIZES, SLOT_BYTES, Superblock};
use super::word_tree::{Leaf, WordTree};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Life, LifeMark, Lsn, StoreId};
use crate::engine::base::sync::Mutex;
use crate::engine::disk::{DirLock, Disk, DiskFile};
use crate::engine::log::LogRegistry;
use crate::engine::mutants::mutant;

/// The name of the data file.
pub(crate) const DATA_FILE: &str = "data";
/// The name of a data file that is still being created.
pub(crate) const NEW_DATA_FILE: &str = "data.new";

/// Bytes of a new data file.
const FIRST_BYTES: u64 = 256 << 10;

/// The parameters of a store that are fixed at its creation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Params {
    pub(crate) store: StoreId,
    pub(crate) page_size: u32,
    pub(crate) segment_bytes: u64,
}

/// Size of the data file, and bytes written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpaceStats {
    /// Length of the file in blocks.
    pub(crate) blocks: u64,
    /// Blocks that can be allocated without growing the file; unknown until the first allocation.
    pub(crate) free: Option<u64>,
    /// Bytes written since the store was opened.
    pub(crate) bytes_written: u64,
}

/// What the log has reported about itself ([`LogRegistry::note_log`]).
#[derive(Clone, Copy, Debug)]
struct NotedLog {
    /// The life whose log it is.
    mark: LifeMark,
    newest: u64,
    durable: Lsn,
}

#[derive(Debug)]
pub(crate) struct Space {
    pub(super) file: DataFile,
    pub(super) page_map: WordTree,
    pub(super) free_map: WordTree,
    /// The newest durable superblock. Changes only under `checkpointing`.
    pub(super) superblock: Mutex<Superblock>,
    /// The bitmaps, once the free map has been read.
    pub(super) extents: Mutex<Option<Extents>>,
    /// The free blocks and how many of them are reserved, readable without a lock.
    pub(super) room: Room,
    /// Held while a superblock is written.
    pub(super) slots: Mutex<Slots>,
    /// Held while the file grows.
    pub(super) growing: Mutex<()>,
    /// Held while the free map is read.
    opening: Mutex<()>,
    /// Held while a new superblock is made.
    pub(super) checkpointing: Mutex<()>,
    /// The log's newest report, for the next superblocks. Held only briefly.
    noted: Mutex<Option<NotedLog>>,
}

impl Space {
    /// Creates and opens the data file of a new store.
    #[cfg(test)]
    pub(crate) fn create(disk: &dyn Disk, params: Params) -> Result<Space> {
        Self::make(disk, params)?;
        Self::open(disk)
    }

    /// Creates the data file of a new, empty store.
    ///
    /// # Errors
    /// Among others [`Error::NotAStore`] if the directory holds a store or a foreign file.
    pub(crate) fn make(disk: &dyn Disk, params: Params) -> Result<()> {
        if !PAGE_SIZES.contains(&params.page_size) {
            let reason = format!("{} is none of {PAGE_SIZES:?}", params.page_size);
            return Err(Error::InvalidOption { option: "page_size", reason });
        }
        if params.segment_bytes == 0 {
            return Err(Error::InvalidOption { option: "segment_bytes", reason: "it is 0".into() });
        }
        let files = disk.list()?;
        if files.iter().any(|name| name == DATA_FILE) {
            let reason = "it already holds a store".to_owned();
            return Err(Error::NotAStore { directory: disk.path(""), reason });
        }
        if files.iter().any(|name| name == NEW_DATA_FILE) {
            if !is_unfinished(disk)? {
                return Err(Error::in_the_way(disk.path(""), NEW_DATA_FILE));
            }
            disk.remove(NEW_DATA_FILE)?;
        }
        disk.claim()?;
        let made = Self::write_first(disk, params);
        let is_half = || !disk.list().is_ok_and(|names| names.iter().all(|n| n != NEW_DATA_FILE));
        if (made.is_ok() || !is_half())
            && let Err(error) = disk.disclaim()
        {
            // A leftover claim beside a store is harmless.
            crate::engine::base::foreign::warning!(
                "{}: the claim of an unfinished creation was not removed: {error}",
                disk.path("")
            );
        }
        made
    }

    /// Writes the first superblock, and renames the file to its final name.
    fn write_first(disk: &dyn Disk, params: Params) -> Result<()> {
        let first = Superblock {
            page_size: params.page_size,
            segment_bytes: params.segment_bytes,
            store: params.store,
            sequence: 1,
            blocks: FIRST_BYTES / u64::from(params.page_size),
            page_map: Root::EMPTY,
            free_map: Root::EMPTY,
            head: Head::EMPTY,
        };
        let name = mutant!(DataFileMadeInPlace: NEW_DATA_FILE => DATA_FILE);
        write_first(disk, name, &first).inspect_err(|_| discard(disk, name))?;
        mutant!(DataFileMadeInPlace:
            disk.rename(name, DATA_FILE).inspect_err(|_| discard(disk, name))? => ());
        mutant!(DataNameUnflushed => return Ok(()));
        // The next open creates the store again (DATAFILE-4).
        mutant!(UnnamedDataFileLeft => return disk.sync_dir());
        disk.sync_dir().inspect_err(|_| discard(disk, DATA_FILE))
    }

    /// Opens the data file at its newest superblock.
    pub(crate) fn open(disk: &dyn Disk) -> Result<Space> {
        Self::with(disk.open(DATA_FILE)?)
    }

    /// Opens the data file to write to it. The file is locked before it is first read, so that no
    /// other writer changes it after that read.
    pub(crate) fn open_locked(disk: &dyn Disk) -> Result<(Space, Box<dyn DirLock>)> {
        let file = disk.open(DATA_FILE)?;
        let lock = file.lock()?;
        Ok((Self::with(file)?, lock))
    }

    fn with(file: Arc<dyn DiskFile>) -> Result<Space> {
        let found_bytes = file.bytes()?;
        let (slots, superblock) = Slots::load(&*file, found_bytes)?;
        let page_size = superblock.page_size as usize;
        let blocks = superblock.blocks;
        Ok(Space {
            file: DataFile::new(file, superblock.store, page_size, blocks, found_bytes),
            page_map: WordTree::new(PAGE_MAP, superblock.page_map),
            free_map: WordTree::new(FREE_MAP, superblock.free_map),
            superblock: Mutex::new(superblock),
            extents: Mutex::new(None),
            room: Room::default(),
            slots: Mutex::new(slots),
            growing: Mutex::new(()),
            opening: Mutex::new(()),
            checkpointing: Mutex::new(()),
            noted: Mutex::new(None),
        })
    }

    /// The newest durable superblock.
    pub(crate) fn superblock(&self) -> Superblock {
        *self.superblock.lock()
    }

    pub(crate) fn page_size(&self) -> usize {
        self.file.page_size()
    }

    pub(crate) fn store_id(&self) -> StoreId {
        self.file.store()
    }

    /// The data file's path, for messages.
    pub(crate) fn path(&self) -> &str {
        self.file.path()
    }

    /// Reads the page `id` at `addr` into `buf`, one page long, and checks it.
    pub(crate) fn read_page(&self, addr: PageAddr, id: PageId, buf: &mut [u8]) -> Result<()> {
        self.file.read_page(addr, id, buf)
    }

    /// Writes sealed pages to neighbouring blocks that [`Self::allocate`] returned.
    pub(crate) fn write_run(&self, block: u64, bytes: &[u8]) -> Result<()> {
        {
            let extents = self.extents.lock();
            let extents = extents.as_ref().expect("only allocated blocks are written");
            for block in block..block + (bytes.len() / self.page_size()) as u64 {
                let ours = extents.is_busy(block) && !extents.is_used(block);
                assert!(ours, "EXTENTS-2: block {block} is free or belongs to a checkpoint");
            }
        }
        self.file.write_run(block, bytes)
    }

    /// Makes all pages written so far durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if this or an earlier flush failed: writes since the last good flush may be
    /// lost although they can still be read. No checkpoint succeeds from then on.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    /// Words in a leaf of the page map: leaf k covers the pages from `k * map_fanout()` on.
    pub(crate) fn map_fanout(&self) -> usize {
        self.file.fanout()
    }

    /// The words of leaf `leaf` of the page map, each 0 or a [`PageAddr`], as of the newest
    /// durable superblock. `None` if they are all 0.
    pub(crate) fn map_leaf(&self, leaf: u64) -> Result<Option<Box<[u64]>>> {
        let Some(Leaf { addr, words }) = self.page_map.leaf(&self.file, leaf)? else {
            return Ok(None);
        };
        let first = leaf.saturating_mul(self.map_fanout() as u64);
        for (id, &word) in (first..).zip(words.iter()) {
            self.map_word(addr, PageId(id), word)?;
        }
        Ok(Some(words))
    }

    /// Rewrites only the superblock, with another head, which is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if this or an earlier flush failed: the disk may have either head.
    pub(crate) fn write_head(&self, head: Head) -> Result<()> {
        let one_at_a_time = self.checkpointing.lock();
        let former = self.superblock();
        self.store_superblock(Superblock { sequence: former.sequence + 1, head, ..former })?;
        drop(one_at_a_time);
        self.write_notes_if_possible()
    }

    /// Writes a note of the log that is not in the superblock yet. Each holder of `checkpointing` calls
    /// this after releasing it, because a note that finds the lock held is left to the holder.
    pub(super) fn write_notes(&self) -> Result<()> {
        loop {
            let Some(_one_at_a_time) = self.checkpointing.try_lock() else { return Ok(()) };
            let former = self.superblock();
            let mut head = former.head;
            self.raise(&mut head);
            if head == former.head {
                return Ok(());
            }
            let next = Superblock { sequence: former.sequence + 1, head, ..former };
            self.slots.lock().store(&self.file, next)?;
            *self.superblock.lock() = next;
        }
    }

    /// Calls [`Space::write_notes`]; on a full disk the note is left for the next superblock.
    pub(super) fn write_notes_if_possible(&self) -> Result<()> {
        match self.write_notes() {
            Err(Error::DiskFull { .. }) => Ok(()),
            written => written,
        }
    }

    /// Adds the noted state of its log to a head.
    fn raise(&self, head: &mut Head) {
        let noted = *self.noted.lock();
        if let Some(NotedLog { mark, newest, durable }) = noted
            && head.mark == mark
            && !head.clean
        {
            head.newest_segment = head.newest_segment.max(newest);
            head.durable = head.durable.max(durable);
        }
    }

    /// Makes the superblock that was found at open durable (SUPERBLOCK-3).
    ///
    /// # Errors
    /// [`Error::Poisoned`] if this or an earlier flush failed.
    pub(crate) fn confirm(&self) -> Result<()> {
        self.slots.lock().confirm(&self.file)
    }

    /// Gives up the operating system's clean copies of the data file (DATAFILE-5).
    pub(crate) fn forget_cached(&self) {
        self.file.forget_cached();
    }

    /// Fails once a flush of the data file, or a write of its superblock, has failed.
    pub(crate) fn check_poison(&self) -> Result<()> {
        self.file.check_poison()
    }

    pub(crate) fn stats(&self) -> SpaceStats {
        let free = self.extents.lock().as_ref().map(Extents::free);
        SpaceStats { blocks: self.file.blocks(), free, bytes_written: self.file.bytes_written() }
    }

    /// How many blocks are allocated, and how many of them the last checkpoint uses.
    #[cfg(test)]
    pub(crate) fn busy_and_used(&self) -> (u64, u64) {
        let count = |extents: &mut Extents| {
            let all = 0..extents.blocks();
            let used = all.filter(|&block| extents.is_used(block)).count();
            (extents.blocks() - extents.free(), used as u64)
        };
        self.with_extents(count).unwrap()
    }

    /// The address that `word`, in the page map's leaf at `leaf`, gives for page `id`.
    pub(super) fn map_word(&self, leaf: PageAddr, id: PageId, word: u64) -> Result<PageAddr> {
        match PageAddr::from_word(word) {
            Some(PageAddr::NONE) => Ok(PageAddr::NONE),
            Some(addr) if id != PageId::NONE && addr.block() < self.file.blocks() => Ok(addr),
            _ => {
                let expected = format!("an address of page {id} in the page map");
                Err(self.file.corrupt(leaf.block(), expected, format!("{word:#018x}")))
            }
        }
    }

    /// Writes the superblock, with the log's newest note. The caller holds `checkpointing`.
    pub(super) fn store_superblock(&self, mut next: Superblock) -> Result<()> {
        self.raise(&mut next.head);
        self.slots.lock().store(&self.file, next)?;
        *self.superblock.lock() = next;
        Ok(())
    }

    /// Calls `then` with the bitmaps, after reading them if this is the first use.
    pub(super) fn with_extents<T>(&self, then: impl FnOnce(&mut Extents) -> T) -> Result<T> {
        let with = |extents: &mut Extents| {
            let done = then(extents);
            self.room.note(extents, self.file.fanout());
            done
        };
        if let Some(extents) = &mut *self.extents.lock() {
            return Ok(with(extents));
        }
        let _one_at_a_time = self.opening.lock();
        if self.extents.lock().is_none() {
            // SUPERBLOCK-3: the first allocation may overwrite a block that an older superblock needs.
            self.slots.lock().confirm(&self.file)?;
            let loaded = self.load_extents()?;
            *self.extents.lock() = Some(loaded);
        }
        Ok(with(self.extents.lock().as_mut().expect("just loaded")))
    }

    fn load_extents(&self) -> Result<Extents> {
        let (blocks, fanout) = (self.superblock().blocks, self.map_fanout() as u64);
        let words = blocks.div_ceil(64);
        let mut used = Vec::new();
        for chunk in 0..words.div_ceil(fanout) {
            let leaf = self.free_map.leaf(&self.file, chunk)?;
            let len = fanout.min(words - chunk * fanout) as usize;
            match leaf {
                None => used.resize(used.len() + len, 0),
                Some(Leaf { addr, words: leaf }) => {
                    let tail = leaf[len..].iter().any(|&word| word != 0);
                    used.extend_from_slice(&leaf[..len]);
                    let past = blocks % 64;
                    let last = chunk * fanout + len as u64 == words && past != 0;
                    if tail || (last && used.last().is_some_and(|word| word >> past != 0)) {
                        let expected = format!("a free map of {blocks} blocks");
                        return Err(self.file.corrupt(
                            addr.block(),
                            expected,
                            "bits beyond".into(),
                        ));
                    }
                }
            }
        }
        Ok(Extents::new(blocks, used))
    }
}

/// Whether [`NEW_DATA_FILE`] is left over from an interrupted [`Space::make`], and not a foreign file:
/// it has a superblock, or the directory was claimed and the file is no longer than a new one.
///
/// # Errors
/// The file could not be read.
pub(crate) fn is_unfinished(disk: &dyn Disk) -> Result<bool> {
    let file = disk.open(NEW_DATA_FILE)?;
    let bytes = file.bytes()?;
    let mut slots = vec![0; bytes.min(2 * SLOT_BYTES as u64) as usize];
    file.read_at(0, &mut slots)?;
    let has_superblock = |slot: &[u8]| Superblock::decode(slot).is_ok();
    Ok(slots.chunks_exact(SLOT_BYTES).any(has_superblock)
        || bytes <= FIRST_BYTES && disk.is_claimed()?)
}

impl LogRegistry for Space {
    /// Rewrites the superblock. While that is still of an earlier life, the note waits for the next
    /// one. If another thread is making a superblock, it writes the note, and this call does not wait.
    fn note_log(&self, life: &Life, newest: u64, durable: Lsn) -> Result<()> {
        let former = {
            let mut noted = self.noted.lock();
            let before = noted.filter(|noted| noted.mark == life.mark);
            let (newest, durable) = before.map_or((newest, durable), |noted| {
                (noted.newest.max(newest), noted.durable.max(durable))
            });
            *noted = Some(NotedLog { mark: life.mark, newest, durable });
            before.map_or(0, |noted| noted.newest)
        };
        let written = self.write_notes();
        if matches!(written, Err(Error::DiskFull { .. }))
            && let Some(noted) = &mut *self.noted.lock()
        {
            noted.newest = former; // the caller abandons the segment: no superblock may name it
        }
        written
    }

    fn check_named(&self) -> Result<()> {
        self.file.check_named()
    }
}

/// Writes the data file of a new store, and flushes it; its name is not durable yet.
fn write_first(disk: &dyn Disk, name: &str, first: &Superblock) -> Result<()> {
    let file = disk.create(name, FIRST_BYTES)?;
    let slot = first.encode();
    file.write_at(0, &slot[..])?;
    file.write_at(SLOT_BYTES as u64, &slot[..])?;
    mutant!(DataFileUnflushed => return Ok(()));
    file.sync()
}

/// Removes an unfinished data file.
fn discard(disk: &dyn Disk, name: &str) {
    match disk.remove(name) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            crate::engine::base::foreign::warning!("{}: not removed: {error}", disk.path(name))
        }
        Ok(()) => {}
    }
}
