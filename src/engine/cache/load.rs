//! Loading pages from the disk, and allocating frames for them.

use std::time::Duration;

use super::arena::Frame;
use super::history::VersionLocation;
use super::reader::Absent;
use super::state::Cache;
use super::table::{PAGE_IDS, Word};
use super::writer::STASH;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::{atomic::Ordering, thread};
use crate::engine::mutants::mutant;
use crate::engine::space::{PageAddr, PageId, header};

/// Attempts to find a free frame, a millisecond apart after the first few, before the cache counts as
/// exhausted.
const ATTEMPTS: usize = 20_000;

/// How many of those attempts may find the disk full before that is the error. If the store has threads,
/// each attempt has waited for the other writers.
const ATTEMPTS_ON_FULL_DISK: usize = 100;

/// How often a page is read that a commit in the log needs, and the pause after a read that failed.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(10);

/// Pages that a thread evicts at a time when it finds no frame free.
const TAKE_BATCH: usize = 32;

impl Cache {
    /// Brings an absent page into memory. The caller must have no guard: this waits for the device, and
    /// for frames that a guard may keep from being freed.
    ///
    /// # Errors
    /// The error of the read, or of making room for the page.
    pub(crate) fn load(&self, absent: Absent) -> Result<()> {
        match absent {
            Absent::Newest(id) => self.load_newest(id, || self.allocate_to_read()),
            Absent::Old(id, at) => self.load_old(id, at),
            Absent::Gone(_) => Ok(()),
        }
    }

    /// Brings the newest version of `id` into memory, in a frame that `allocate` gives.
    pub(super) fn load_newest(
        &self,
        id: PageId,
        mut allocate: impl FnMut() -> Result<Frame>,
    ) -> Result<()> {
        loop {
            match self.table.newest(id) {
                Word::Resident(_) | Word::Nothing => return Ok(()),
                Word::NotLoaded => {
                    self.load_words(id)?;
                    continue;
                }
                Word::OnDisk(_) => {}
            }
            // Before the lock: the writer may wait for that lock, and this thread for the writer's frames.
            let frame = allocate()?;
            let _loading = self.loading[id.0 as usize % self.loading.len()].lock();
            let Word::OnDisk(addr) = self.table.newest(id) else {
                self.arena.give_back(frame);
                continue; // another thread has loaded it
            };
            if let Err(error) = self.read_into(frame, id, addr) {
                self.arena.give_back(frame);
                if self.table.newest(id) == Word::OnDisk(addr) {
                    return Err(error);
                }
                continue; // it was moved while it was read
            }
            self.counters.miss();
            if self.table.replace(id, Word::OnDisk(addr), Word::Resident(frame)) {
                return Ok(());
            }
            self.arena.give_back(frame);
        }
    }

    /// Brings the newest version of `id` into memory for the commit at `upto`, which is in the log. A read
    /// that fails is repeated (CACHE-14). See [`Cache::allocate_surely`] for `upto` and `stash`.
    ///
    /// # Errors
    /// The error of the last try.
    pub(super) fn load_surely(&self, id: PageId, upto: Lsn, stash: &mut Vec<Frame>) -> Result<()> {
        let mut tries = 1;
        loop {
            match self.load_newest(id, || self.allocate_surely(upto, stash)) {
                Err(Error::Io { .. }) if mutant!(ReadNotRepeated: tries < TRIES => false) => {
                    tries += 1;
                    thread::sleep(PAUSE);
                }
                loaded => return loaded,
            }
        }
    }

    fn load_old(&self, id: PageId, at: Lsn) -> Result<()> {
        let frame = self.allocate_to_read()?;
        let _loading = self.loading[id.0 as usize % self.loading.len()].lock();
        let Some(VersionLocation::OnDisk(addr)) = self.history.find(id, at) else {
            self.arena.give_back(frame);
            return Ok(());
        };
        if let Err(error) = self.read_into(frame, id, addr) {
            self.arena.give_back(frame);
            return match self.history.find(id, at) {
                Some(VersionLocation::OnDisk(now)) if now == addr => Err(error),
                _ => Ok(()),
            };
        }
        self.counters.miss();
        if !self.history.replace(id, at, addr, frame) {
            self.arena.give_back(frame);
        }
        Ok(())
    }

    #[allow(unsafe_code)]
    fn read_into(&self, frame: Frame, id: PageId, addr: PageAddr) -> Result<()> {
        // SAFETY: the frame was allocated by the caller and is not published.
        let page = unsafe { self.arena.page_mut(frame) };
        self.space.read_page(addr, id, page)?;
        self.arena.name(frame, id, header::lsn(page), None);
        self.arena.set_addr(frame, addr);
        Ok(())
    }

    /// Reads the leaf of the page map that has `id`.
    pub(super) fn load_words(&self, id: PageId) -> Result<()> {
        let fanout = self.space.map_fanout() as u64;
        let leaf = id.0 / fanout;
        let first = leaf * fanout;
        let words = self.space.map_leaf(leaf)?;
        let addr = |at: u64| {
            let word = words.as_ref().map_or(0, |words| words[at as usize]);
            PageAddr::from_word(word).unwrap_or(PageAddr::NONE)
        };
        // The last leaf has words for page ids beyond the table.
        let words_used = fanout.min(PAGE_IDS - first);
        for at in 0..words_used {
            self.table.load(PageId(first + at), addr(at));
        }
        let free = (0..words_used).filter(|at| addr(*at).is_none()).map(|at| PageId(first + at));
        self.add_free_ids(leaf, free);
        Ok(())
    }

    /// A free frame. Evicts settled pages to get one, and may wait for the device.
    pub(super) fn allocate(&self) -> Result<Frame> {
        self.allocate_with(self.settled.load(), ATTEMPTS_ON_FULL_DISK)
    }

    /// A free frame for a page that is read: one beyond the cache if no page can be evicted (CACHE-13).
    /// Later reads evict that page.
    fn allocate_to_read(&self) -> Result<Frame> {
        let frame = self.allocate_with(self.settled.load(), 0);
        frame.or_else(|error| self.arena.take_beyond().ok_or(error))
    }

    /// A free frame for the commit at `upto`, which is in the log: one beyond the cache if no page can be
    /// evicted (CACHE-13). `stash` gets more such frames.
    ///
    /// # Errors
    /// The error that kept pages from being evicted, if no frames beyond the cache are left either.
    pub(super) fn allocate_surely(&self, upto: Lsn, stash: &mut Vec<Frame>) -> Result<Frame> {
        if let Some(frame) = stash.pop_if(|frame| self.arena.is_beyond(*frame)) {
            return Ok(frame);
        }
        self.allocate_with(upto, 0).or_else(|error| {
            mutant!(RoomNotMade | BatchNeedsDisk => return Err(error));
            // A failed sweep has looked at all frames. To save the next ones, take several frames at once.
            stash.extend((0..STASH).map_while(|_| self.arena.take_beyond()));
            stash.pop().ok_or(error)
        })
    }

    /// A free frame. Evicts pages at or below `upto` to get one. The first `attempts_on_full_disk` attempts
    /// ignore a full disk.
    fn allocate_with(&self, upto: Lsn, attempts_on_full_disk: usize) -> Result<Frame> {
        for attempt in 0..ATTEMPTS {
            if let Some(frame) = self.arena.take() {
                self.call_cleaner();
                return Ok(frame);
            }
            // A clean page serves without a wait for the device (CACHE-11).
            let mut evicted = 0;
            if self.call_cleaner() {
                evicted = self.sweep_clean(upto, TAKE_BATCH);
            }
            if evicted == 0 {
                evicted = match self.sweep(upto, TAKE_BATCH) {
                    // Other writers may have blocks that they will give back soon (CACHE-12).
                    Err(Error::DiskFull { .. }) if attempt < attempts_on_full_disk => 0,
                    evicted => evicted?,
                };
            }
            // Frames just retired are free once the epoch has advanced twice.
            for _ in 0..3 {
                self.epoch.pin().flush();
            }
            if evicted == 0 && attempt > 16 {
                thread::sleep(Duration::from_millis(1));
            } else {
                thread::yield_now();
            }
        }
        Err(Error::CacheExhausted { frames: u64::from(self.arena.frames()) })
    }

    /// Whether so few frames are free that eviction should begin.
    pub(crate) fn is_short_of_frames(&self) -> bool {
        self.arena.available() < self.low_water()
    }

    /// The low-water mark: how many frames the cleaner keeps free.
    pub(super) fn low_water(&self) -> u32 {
        (self.arena.frames() / 32).clamp(16, 4096)
    }

    /// Pages without a copy on disk, as a share of the cache in percent.
    pub(crate) fn dirty_percent(&self) -> u64 {
        let dirty = self.dirty.load(Ordering::Relaxed).max(0) as u64;
        dirty * 100 / u64::from(self.arena.frames())
    }
}
