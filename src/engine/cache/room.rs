//! Room for what commits change: frames in memory, and blocks of the data file behind them.
//!
//! ```text
//!   free blocks of the data file
//!   |<- kept (space::room) ->|<- promised ->|<--- homeless --->|<------ anybody's ------>|
//!                             to the commit    pages in memory
//!                             that is applied  without a copy on disk
//! ```
//!
//! `homeless + promised + kept <= free + in flight`: for each page in memory that has no copy on disk a
//! block is free, or taken for it already (CACHE-12). A page counts as homeless until its write has been
//! noted. So eviction never needs a longer file, and neither does a read, which may have to evict; a
//! checkpoint writes what has changed; and a commit that is in the log can be applied.
//!
//! A commit is promised what it can change at most, before its record is appended and under the
//! commit lock. If that is not there the commit is refused and nothing has changed. Values that are
//! written ahead of their commit take only what is anybody's. A block is in flight from after it was
//! taken until before its page ceases to be homeless, so the inequality errs to the safe side between.
//!
//! Until the store is open nothing is promised: what recovery changes had its blocks when the store
//! crashed, and finds them free again.

use super::state::Cache;
use super::writer::Writer;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::engine::base::sync::thread;
use crate::engine::mutants::mutant;
use crate::engine::space::{Claim, Run};

/// Promises up to this many pages are not noted: those who take blocks leave as many.
const SMALL: u64 = 32;
/// Frames that a commit has in hand before it is in the log: so many, or this share of all.
const STOCK: u64 = 64;
const SHARE: u64 = 8;
/// Blocks that are anybody's, at most, when the file is made longer ahead of need.
const AHEAD: u64 = 2048;
/// How often frames are looked for, a millisecond apart after the first few times.
const PATIENCE: usize = 2_000;
/// Frames that commits find free beside those for the leaves they change.
const MARGIN: u64 = 48;

/// What is promised.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Pages that the commit which is being applied may still change.
    pages: AtomicU64,
    /// Pages that could not be promised at once, to be provided ahead.
    wanted: AtomicU64,
    /// The store is open.
    is_open: AtomicBool,
}

/// Whether pages that are about to be written have blocks behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// One each: they count as homeless (CACHE-12).
    Homeless,
    /// None.
    Not,
}

/// Who else writes pages that have blocks behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    Eviction,
    Checkpoint,
}

impl Cache {
    /// From now on blocks are kept.
    pub(crate) fn open(&self) {
        self.promises.is_open.store(true, Ordering::SeqCst);
    }

    /// A checkpoint may have to note the counts of so many keyspaces: it needs blocks for that.
    pub(crate) fn note_keyspaces(&self, keyspaces: usize) {
        self.space.note_keyspaces(keyspaces);
    }

    /// How many pages in memory have no copy on disk.
    pub(crate) fn homeless(&self) -> u64 {
        let newest = self.dirty.load(Ordering::SeqCst).max(0) as u64;
        newest + self.history.homeless() as u64
    }

    /// Whether CACHE-12 holds. Only while nobody is on the way to change that.
    pub(crate) fn is_backed(&self) -> bool {
        mutant!(RoomNotMade: self.homeless() <= self.space.backing() => true)
    }

    fn has_blocks_for(&self, pages: u64, claim: Claim) -> bool {
        // Pages that land meanwhile leave the backing first, so it is looked at last.
        let needed = self.homeless() + pages + self.space.kept_from(claim);
        mutant!(RoomNotMade: needed <= self.space.backing() => true)
    }

    /// Sees to it that a commit which changes `pages` pages can be promised them. No lock is held.
    ///
    /// # Errors
    /// [`Error::DiskFull`]; nothing has changed.
    pub(crate) fn provide_blocks(&self, pages: u64, claim: Claim) -> Result<()> {
        while !self.has_blocks_for(pages, claim) {
            // What is kept grows with the file.
            let needed = self.homeless() + pages + self.space.kept_from(claim);
            self.space.provide(needed + pages / 64 + 1)?;
        }
        Ok(())
    }

    /// Makes the data file longer ahead of need, so that no commit has to wait for that. Tells whether
    /// it had to.
    pub(crate) fn provide_ahead(&self) -> Result<bool> {
        let (backing, kept) = (self.space.backing(), self.space.kept_from(Claim::More));
        let wanted = self.promises.wanted.swap(0, Ordering::Relaxed);
        let share = (self.space.stats().blocks / 4).min(AHEAD);
        let ahead = if share < AHEAD { wanted } else { share.max(wanted) };
        if ahead == 0 || self.homeless() + kept + ahead <= backing {
            return Ok(false); // a small file grows fast enough, or there is enough
        }
        self.provide_blocks(ahead, Claim::More).map(|()| true)
    }

    /// So many pages could not be promised to those who do not wait: the next call to
    /// [`Cache::provide_ahead`] provides them.
    #[cfg(feature = "server")]
    pub(crate) fn want_ahead(&self, pages: u64) {
        self.promises.wanted.fetch_max(pages, Ordering::Relaxed);
    }

    /// Promises a commit that is about to be appended, and those before it in its group, that they can
    /// change `pages` pages; those had been promised `already`. To be called under the commit lock, and taken back
    /// with [`Cache::end_promise`]. False, and nothing promised, if there are too few frames or blocks.
    #[inline]
    pub(crate) fn promise(
        &self,
        writer: &mut Writer,
        already: u64,
        pages: u64,
        claim: Claim,
    ) -> bool {
        if pages > SMALL {
            // Before looking: whoever takes blocks meanwhile sees this, or is seen.
            self.promises.pages.store(pages, Ordering::SeqCst);
        }
        let frames = self.least_frames(pages);
        let is_kept = self.has_blocks_for(pages, claim) && writer.stock(self, frames as usize);
        mutant!(RoomNotMade => return true);
        if !is_kept && pages > SMALL {
            self.promises.pages.store(already, Ordering::SeqCst);
        }
        is_kept
    }

    /// The commit, or the group of them, that was promised `pages` pages has been applied.
    #[inline]
    pub(crate) fn end_promise(&self, pages: u64) {
        if pages > SMALL {
            self.promises.pages.store(0, Ordering::SeqCst);
        }
    }

    /// Takes blocks for pages that are about to be written: 1 to `want`, neighbours.
    pub(super) fn take_blocks(&self, want: u32, counted: Counted) -> Result<Run> {
        match counted {
            Counted::Homeless => self.space.allocate_backed(want),
            Counted::Not => self.allocate_beyond(want),
        }
    }

    /// Takes blocks for pages that no promise covers.
    fn allocate_beyond(&self, want: u32) -> Result<Run> {
        if !self.promises.is_open.load(Ordering::SeqCst) {
            return self.space.allocate(want);
        }
        let kept = self.space.kept_from(Claim::More) + SMALL;
        let promised = self.promises.pages.load(Ordering::SeqCst);
        self.space.allocate_beyond(want, self.homeless() + promised + kept)
    }

    /// Writes what has blocks behind it. A checkpoint and an eviction may write the same page at a time,
    /// and take two blocks where one is needed: who then finds none keeps the `others` away and tries
    /// again (CACHE-12). Without threads of the store the others may be what called this.
    pub(crate) fn write_alone_if_full<T>(
        &self,
        others: Others,
        mut write: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let full = match write() {
            Err(full @ Error::DiskFull { .. }) => full,
            done => return done,
        };
        let others = match others {
            Others::Eviction => &self.writing,
            Others::Checkpoint => &self.placing,
        };
        let alone = match self.cleaner.get() {
            Some(_) => Some(others.lock()),
            None => others.try_lock(),
        };
        alone.map_or(Err(full), |_alone| write())
    }

    /// Sees to it that a commit which changes `leaves` leaves, and at most `pages` pages, finds
    /// frames free, so that it need not write any page to the disk once it is in the log. No lock is
    /// held.
    ///
    /// # Errors
    /// What kept dirty pages from being written; [`Error::CacheExhausted`] if what users hold leaves
    /// too few frames.
    pub(crate) fn make_room_for(&self, leaves: usize, pages: u64) -> Result<()> {
        let least = self.least_frames(pages);
        for attempt in 0..PATIENCE {
            if self.has_room_for(leaves) {
                return Ok(());
            }
            let evicted = self.evict(self.room_for(leaves) as usize);
            for _ in 0..3 {
                self.pin().flush();
            }
            if self.has_room_for(leaves) {
                return Ok(());
            }
            let is_enough = self.arena.available() >= least;
            match evicted {
                Ok(0) | Err(_) if is_enough => return Ok(()),
                Ok(0) if attempt > 16 => thread::sleep(std::time::Duration::from_millis(1)),
                Ok(_) => thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        match self.arena.available() >= least {
            true => Ok(()),
            false => Err(Error::CacheExhausted { frames: self.frames() }),
        }
    }

    /// Whether a commit that changes `leaves` leaves finds frames free as it is.
    pub(crate) fn has_room_for(&self, leaves: usize) -> bool {
        self.arena.available() >= self.room_for(leaves)
    }

    /// How many frames a commit that changes `pages` pages has in hand before it is appended. If it
    /// changes more it evicts, which needs no space.
    fn least_frames(&self, pages: u64) -> u32 {
        pages.min(STOCK).min(self.frames() / SHARE) as u32
    }

    /// How many frames should be free for a commit that changes `leaves` leaves.
    fn room_for(&self, leaves: usize) -> u32 {
        (MARGIN + 2 * leaves as u64).min(self.frames() / 4) as u32
    }
}
