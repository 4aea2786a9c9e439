//! The data file as the layers above see it: pages by address, blocks, checkpoints.
//!
//! ```text
//!   allocate --> write_run --> checkpoint(taken) ...... checkpoint(released) --> allocate
//!      |                             |                          |
//!    busy                     durable superblock       durable superblock
//!      |                      refers to it             no longer does
//!      `--> free, if no checkpoint ever did
//! ```
//!
//! Invariants:
//!
//! - SPACE-1 at every moment the newest durable superblock, and one whose writing may have reached the
//!   disk, refer to pages that have been flushed and that nobody writes to.
//! - SPACE-2 a checkpoint that fails before it writes the superblock has changed nothing but the
//!   contents of free blocks.
//!
//! Locks, in the order in which they may be taken: `checkpointing`, `opening`, `growing`, `slots`,
//! then `extents` or those within the trees and the file, of which a thread holds one at a time.
//! Only the first four are held while waiting for the device, and reading, writing and flushing
//! pages takes none of these, nor does allocating in a file that need not grow.
//!
//! Opening a store reads its two superblock slots only. The page map is read leaf by leaf as the
//! caller asks, the free map at the first allocation.

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
use crate::engine::log::Witness;
use crate::engine::mutants::mutant;

/// The name of the data file.
pub(crate) const DATA_FILE: &str = "data";
/// Its name until it is whole.
pub(crate) const NEW_DATA_FILE: &str = "data.new";

/// Bytes of a new data file. It doubles until it grows by a share of itself.
const FIRST_BYTES: u64 = 256 << 10;

/// What is chosen once for a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Params {
    pub(crate) store: StoreId,
    pub(crate) page_size: u32,
    pub(crate) segment_bytes: u64,
}

/// How large the data file is, and what has been written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpaceStats {
    /// Length of the file in blocks.
    pub(crate) blocks: u64,
    /// Blocks that can be taken without growing; unknown until the first allocation.
    pub(crate) free: Option<u64>,
    /// Bytes written since the store was opened.
    pub(crate) bytes_written: u64,
}

/// What a log is known to have.
#[derive(Clone, Copy, Debug)]
struct NotedLog {
    /// The life whose log it is.
    mark: LifeMark,
    newest: u64,
    durable: Lsn,
}

/// The data file.
#[derive(Debug)]
pub(crate) struct Space {
    pub(super) file: DataFile,
    pub(super) page_map: WordTree,
    pub(super) free_map: WordTree,
    /// The newest durable superblock. Changes under `checkpointing` only.
    pub(super) superblock: Mutex<Superblock>,
    /// The bitmaps, once the free map has been read.
    pub(super) extents: Mutex<Option<Extents>>,
    /// How many blocks are free, and what of them is kept, readable without a lock.
    pub(super) room: Room,
    /// Held while a superblock is written.
    pub(super) slots: Mutex<Slots>,
    /// Held while the file grows.
    pub(super) growing: Mutex<()>,
    /// Held while the free map is read.
    opening: Mutex<()>,
    /// Held by whoever makes a new superblock.
    pub(super) checkpointing: Mutex<()>,
    /// What the log is known to have, for this superblock and later ones. Held for moments.
    noted: Mutex<Option<NotedLog>>,
}

impl Space {
    /// Makes the data file of a new store, and opens it.
    #[cfg(test)]
    pub(crate) fn create(disk: &dyn Disk, params: Params) -> Result<Space> {
        Self::make(disk, params)?;
        Self::open(disk)
    }

    /// Makes the data file of a new store, which holds nothing.
    ///
    /// # Errors
    /// Among others [`Error::NotAStore`] if there is one, or somebody's file is in the way.
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
            // It does no harm beside a store.
            crate::engine::base::foreign::warning!(
                "{}: still says that a store is made: {error}",
                disk.path("")
            );
        }
        made
    }

    /// Writes the first superblock, and gives the file its name.
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
        // Whoever opens the store next begins again (DATAFILE-4).
        mutant!(UnnamedDataFileLeft => return disk.sync_dir());
        disk.sync_dir().inspect_err(|_| discard(disk, DATA_FILE))
    }

    /// Opens the data file at its newest superblock.
    pub(crate) fn open(disk: &dyn Disk) -> Result<Space> {
        Self::with(disk.open(DATA_FILE)?)
    }

    /// As [`Space::open`], by whoever is to write to it, with the lock on the file: taken before
    /// the first look at it, so that nobody has changed what was seen.
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

    /// How messages name the data file.
    pub(crate) fn path(&self) -> &str {
        self.file.path()
    }

    /// Reads the page `id` at `addr` into `buf`, one page long, and checks it.
    pub(crate) fn read_page(&self, addr: PageAddr, id: PageId, buf: &mut [u8]) -> Result<()> {
        self.file.read_page(addr, id, buf)
    }

    /// Writes sealed pages to neighbouring blocks that were taken with [`Self::allocate`].
    pub(crate) fn write_run(&self, block: u64, bytes: &[u8]) -> Result<()> {
        {
            let extents = self.extents.lock();
            let extents = extents.as_ref().expect("only what was allocated is written");
            for block in block..block + (bytes.len() / self.page_size()) as u64 {
                let ours = extents.is_busy(block) && !extents.is_used(block);
                assert!(ours, "EXTENTS-2: block {block} is not to be written");
            }
        }
        self.file.write_run(block, bytes)
    }

    /// Makes all pages written so far durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if it fails, and ever after: what has been written since the last good
    /// flush may be lost although it can still be read. No checkpoint succeeds from here on.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    /// Words in a leaf of the page map: leaf k is about the pages from `k * map_fanout()` on.
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

    /// Rewrites only the superblock, with another head. When it returns, that is durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a flush failed, now or before: the head may be the former or the
    /// new one.
    pub(crate) fn write_head(&self, head: Head) -> Result<()> {
        let one_at_a_time = self.checkpointing.lock();
        let former = self.superblock();
        self.store_superblock(Superblock { sequence: former.sequence + 1, head, ..former })?;
        drop(one_at_a_time);
        self.write_notes_if_possible()
    }

    /// Writes what has been noted and is not in the superblock yet. Whoever has held `checkpointing`
    /// calls this after letting go: a note that came meanwhile found the lock held and was left.
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

    /// [`Space::write_notes`], which a full disk only puts off.
    pub(super) fn write_notes_if_possible(&self) -> Result<()> {
        match self.write_notes() {
            Err(Error::DiskFull { .. }) => Ok(()),
            written => written,
        }
    }

    /// Adds to a head what has been noted of its log.
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

    /// Makes sure that the superblock that was found when the file was opened is durable (SUPERBLOCK-3).
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a flush failed, now or before.
    pub(crate) fn confirm(&self) -> Result<()> {
        self.slots.lock().confirm(&self.file)
    }

    /// Fails once a flush of the data file, or writing its superblock, has failed.
    pub(crate) fn check_poison(&self) -> Result<()> {
        self.file.check_poison()
    }

    pub(crate) fn stats(&self) -> SpaceStats {
        let free = self.extents.lock().as_ref().map(Extents::free);
        SpaceStats { blocks: self.file.blocks(), free, bytes_written: self.file.bytes_written() }
    }

    /// How many blocks are taken, and how many of them the last checkpoint uses.
    #[cfg(test)]
    pub(crate) fn busy_and_used(&self) -> (u64, u64) {
        let count = |extents: &mut Extents| {
            let all = 0..extents.blocks();
            let used = all.filter(|&block| extents.is_used(block)).count();
            (extents.blocks() - extents.free(), used as u64)
        };
        self.with_extents(count).unwrap()
    }

    /// What a word of the page map's leaf at `leaf` says of page `id`.
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

    /// The caller holds `checkpointing`.
    pub(super) fn store_superblock(&self, mut next: Superblock) -> Result<()> {
        self.raise(&mut next.head);
        self.slots.lock().store(&self.file, next)?;
        *self.superblock.lock() = next;
        Ok(())
    }

    /// Calls `then` with the bitmaps, which it reads first if need be.
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
            // Before the first page is written over a block that an older superblock needs (SUPERBLOCK-3).
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

/// Whether the file [`NEW_DATA_FILE`] is what [`Space::make`] left when it was interrupted, and no
/// file of somebody: it has a superblock, or the directory was claimed, when it may have anything.
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

impl Witness for Space {
    /// Rewrites the superblock, unless it is still that of an earlier life: then the next one has it.
    /// Waits for nobody: if a superblock is being made, whoever makes it writes the note.
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
            noted.newest = former; // the segment is given up: no later superblock may name it
        }
        written
    }

    fn check_named(&self) -> Result<()> {
        self.file.check_named()
    }
}

/// Writes the data file of a new store, and makes it durable, except for its name.
fn write_first(disk: &dyn Disk, name: &str, first: &Superblock) -> Result<()> {
    let file = disk.create(name, FIRST_BYTES)?;
    let slot = first.encode();
    file.write_at(0, &slot[..])?;
    file.write_at(SLOT_BYTES as u64, &slot[..])?;
    mutant!(DataFileUnflushed => return Ok(()));
    file.sync()
}

/// Removes what was begun and is of no use.
fn discard(disk: &dyn Disk, name: &str) {
    match disk.remove(name) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            crate::engine::base::foreign::warning!("{}: not removed: {error}", disk.path(name))
        }
        Ok(()) => {}
    }
}
