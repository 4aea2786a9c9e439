//! Bringing pages into memory.

use std::time::Duration;

use super::arena::Frame;
use super::history::Place;
use super::reader::Absent;
use super::state::Cache;
use super::table::{PAGE_IDS, Word};
use super::writer::STASH;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::{atomic::Ordering, thread};
use crate::engine::mutants::mutant;
use crate::engine::space::{PageAddr, PageId, header};

/// How often a frame is looked for, a millisecond apart after the first few times, before the
/// cache counts as exhausted.
const PATIENCE: usize = 20_000;

/// How often pages are tried to be written before a full disk is the answer. Where the store has
/// threads, whoever finds the disk full has waited for the others.
const PATIENCE_WITH_DISK: usize = 100;

/// How often a page is read that a commit in the log needs, and the pause after a read that failed.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(10);

/// Frames that are freed at a time by whoever finds none free.
const TAKE_BATCH: usize = 32;

impl Cache {
    /// Brings what was absent into memory. Must not be called with a guard in hand: it waits for
    /// the device, and for frames that guards may hold up.
    ///
    /// # Errors
    /// What reading the page met; [`Error::Corrupt`] if a registered snapshot's page is gone.
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
            // Before taking the turn: the writer may wait for it, and we for the writer's frames.
            let frame = allocate()?;
            let _turn = self.loading[id.0 as usize % self.loading.len()].lock();
            let Word::OnDisk(addr) = self.table.newest(id) else {
                self.arena.give_back(frame);
                continue; // somebody else has loaded it
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

    /// Brings the newest version of `id` into memory for the commit at `upto`, which is in the log: a read
    /// that the device fails is repeated (CACHE-14). See [`Cache::allocate_surely`] for `upto` and `stash`.
    ///
    /// # Errors
    /// What the last try met.
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
        let _turn = self.loading[id.0 as usize % self.loading.len()].lock();
        let Some(Place::OnDisk(addr)) = self.history.find(id, at) else {
            self.arena.give_back(frame);
            return Ok(());
        };
        if let Err(error) = self.read_into(frame, id, addr) {
            self.arena.give_back(frame);
            return match self.history.find(id, at) {
                Some(Place::OnDisk(now)) if now == addr => Err(error),
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
        // The last leaf has words for more pages than there can be.
        let known = fanout.min(PAGE_IDS - first);
        for at in 0..known {
            self.table.load(PageId(first + at), addr(at));
        }
        let free = (0..known).filter(|at| addr(*at).is_none()).map(|at| PageId(first + at));
        self.harvest(leaf, free);
        Ok(())
    }

    /// A free frame. Evicts settled pages to get one, and may wait for the device.
    pub(super) fn allocate(&self) -> Result<Frame> {
        self.allocate_with(self.settled.load(), PATIENCE_WITH_DISK)
    }

    /// A free frame for a page that is read: one beyond those of the cache if no page can be evicted
    /// (CACHE-13). Those who read next evict that page.
    fn allocate_to_read(&self) -> Result<Frame> {
        let frame = self.allocate_with(self.settled.load(), 0);
        frame.or_else(|error| self.arena.take_beyond().ok_or(error))
    }

    /// A free frame for the commit at `upto`, which is in the log: one beyond those of the cache if no
    /// page can be evicted (CACHE-13). `stash` gets more of these.
    ///
    /// # Errors
    /// What kept pages from being evicted, if the system has no memory either.
    pub(super) fn allocate_surely(&self, upto: Lsn, stash: &mut Vec<Frame>) -> Result<Frame> {
        if let Some(frame) = stash.pop_if(|frame| self.arena.is_beyond(*frame)) {
            return Ok(frame);
        }
        self.allocate_with(upto, 0).or_else(|error| {
            mutant!(RoomNotMade | BatchNeedsDisk => return Err(error));
            // Each attempt looks at all frames: the next ones come with this one.
            stash.extend((0..STASH).map_while(|_| self.arena.take_beyond()));
            stash.pop().ok_or(error)
        })
    }

    /// A free frame. Evicts pages at or below `upto` to get one, and bears with a full disk so often.
    fn allocate_with(&self, upto: Lsn, patience_with_disk: usize) -> Result<Frame> {
        for attempt in 0..PATIENCE {
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
                    // Others have blocks for a moment that they will give back (CACHE-12).
                    Err(Error::DiskFull { .. }) if attempt < patience_with_disk => 0,
                    evicted => evicted?,
                };
            }
            // Frames just retired come free once the epoch has passed twice.
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

    /// How many frames eviction keeps free.
    pub(super) fn low_water(&self) -> u32 {
        (self.arena.frames() / 32).clamp(16, 4096)
    }

    /// Pages without a copy on disk, as a share of the cache in percent.
    pub(crate) fn dirty_percent(&self) -> u64 {
        let dirty = self.dirty.load(Ordering::Relaxed).max(0) as u64;
        dirty * 100 / u64::from(self.arena.frames())
    }
}
