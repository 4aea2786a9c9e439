//! Room for the changes of commits: frames in memory, and blocks of the data file behind them.
//!
//! ```text
//!   free blocks of the data file
//!   |<- kept (space::room) ->|<- promised ->|<-- unwritten --->|<---- unreserved -------->|
//!                             to the commit    pages in memory
//!                             that is applied  without a copy on disk
//! ```
//!
//! `unwritten + promised + kept <= free + in flight`: for each page in memory that has no copy on disk a
//! block is free, or taken for it already (CACHE-12). A page counts as unwritten until its write has been
//! noted. So:
//!
//! - eviction never needs a longer file, and neither does a read, which may have to evict;
//! - a checkpoint can write the changed pages;
//! - a commit that is in the log can be applied.
//!
//! A promise reserves blocks for the most pages that a commit can change. It is made under the commit
//! lock, before the record is appended. If too few blocks are free the commit is refused, and nothing has
//! changed. Values that are written ahead of their commit take only unreserved blocks. A block begins to
//! count as in flight after it was taken, and ceases before its page ceases to be unwritten: in these two
//! gaps the inequality errs on the safe side.
//!
//! Until the store is open nothing is promised: the pages that recovery changes had their blocks when the
//! store crashed, and find them free again.

use super::state::Cache;
use super::writer::Writer;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::engine::base::sync::thread;
use crate::engine::mutants::mutant;
use crate::engine::space::{BlockRun, Claim};

/// Promises of up to this many pages are not counted: unreserved writes always leave as many blocks.
const SMALL: u64 = 32;
/// Frames that a commit has in hand before it is in the log: at most this many, and one in [`SHARE`].
const STOCK: u64 = 64;
const SHARE: u64 = 8;
/// The most unreserved blocks for which the file is made longer ahead of need.
const AHEAD: u64 = 2048;
/// Attempts to find free frames, a millisecond apart after the first few.
const ATTEMPTS: usize = 2_000;
/// Frames that should be free for a commit in addition to those for its leaves.
const MARGIN: u64 = 48;

/// The blocks promised to commits.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Pages that the commit which is being applied may still change.
    pages: AtomicU64,
    /// Pages of a promise that failed, to be provided ahead.
    wanted: AtomicU64,
    is_open: AtomicBool,
}

/// Whether free blocks are reserved for pages that are about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backing {
    /// The pages count as unwritten: one block each (CACHE-12).
    Reserved,
    Unreserved,
}

/// The other writer of pages that have reserved blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherWriter {
    Eviction,
    Checkpoint,
}

impl Cache {
    /// From now on unreserved writes leave the reserved blocks alone.
    pub(crate) fn open(&self) {
        self.promises.is_open.store(true, Ordering::SeqCst);
    }

    /// Keeps blocks in which a checkpoint can write the counts of this many keyspaces.
    pub(crate) fn note_keyspaces(&self, keyspaces: usize) {
        self.space.note_keyspaces(keyspaces);
    }

    /// How many pages in memory have no copy on disk.
    pub(crate) fn unwritten(&self) -> u64 {
        let newest = self.dirty.load(Ordering::SeqCst).max(0) as u64;
        newest + self.history.unwritten() as u64
    }

    /// Whether CACHE-12 holds. Only while no page is being changed or written.
    pub(crate) fn is_backed(&self) -> bool {
        mutant!(RoomNotMade: self.unwritten() <= self.space.backing() => true)
    }

    fn has_blocks_for(&self, pages: u64, claim: Claim) -> bool {
        // A page that lands meanwhile leaves the backing first, so the backing is read last.
        let needed = self.unwritten() + pages + self.space.kept_from(claim);
        mutant!(RoomNotMade: needed <= self.space.backing() => true)
    }

    /// Makes the data file longer, if needed, so that a commit can be promised `pages` pages. Call without
    /// locks.
    ///
    /// # Errors
    /// [`Error::DiskFull`]; nothing has changed.
    pub(crate) fn provide_blocks(&self, pages: u64, claim: Claim) -> Result<()> {
        while !self.has_blocks_for(pages, claim) {
            // The number of blocks kept grows with the file.
            let needed = self.unwritten() + pages + self.space.kept_from(claim);
            self.space.provide(needed + pages / 64 + 1)?;
        }
        Ok(())
    }

    /// Makes the data file longer ahead of need, so that no commit has to wait for that. Returns whether
    /// it was needed.
    pub(crate) fn provide_ahead(&self) -> Result<bool> {
        let (backing, kept) = (self.space.backing(), self.space.kept_from(Claim::More));
        let wanted = self.promises.wanted.swap(0, Ordering::Relaxed);
        let share = (self.space.stats().blocks / 4).min(AHEAD);
        let ahead = if share < AHEAD { wanted } else { share.max(wanted) };
        if ahead == 0 || self.unwritten() + kept + ahead <= backing {
            return Ok(false); // a small file grows fast enough, or there is enough
        }
        self.provide_blocks(ahead, Claim::More).map(|()| true)
    }

    /// `pages` pages could not be promised to a commit that does not wait: the next call of
    /// [`Cache::provide_ahead`] provides them.
    #[cfg(feature = "server")]
    pub(crate) fn want_ahead(&self, pages: u64) {
        self.promises.wanted.fetch_max(pages, Ordering::Relaxed);
    }

    /// Promises a commit that is about to be appended, and those before it in its group, that they can
    /// change `pages` pages together; those before it were promised `already`. Call under the commit lock,
    /// and end with [`Cache::end_promise`]. False, and nothing promised, if frames or blocks are too few.
    #[inline]
    pub(crate) fn promise(
        &self,
        writer: &mut Writer,
        already: u64,
        pages: u64,
        claim: Claim,
    ) -> bool {
        if pages > SMALL {
            // Before the check: a thread that takes blocks meanwhile sees this, or the check sees it.
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

    /// The commit or group that was promised `pages` pages has been applied.
    #[inline]
    pub(crate) fn end_promise(&self, pages: u64) {
        if pages > SMALL {
            self.promises.pages.store(0, Ordering::SeqCst);
        }
    }

    /// Takes blocks for pages that are about to be written: a run of 1 to `want`.
    pub(super) fn take_blocks(&self, want: u32, backing: Backing) -> Result<BlockRun> {
        match backing {
            Backing::Reserved => self.space.allocate_backed(want),
            Backing::Unreserved => self.allocate_unreserved(want),
        }
    }

    fn allocate_unreserved(&self, want: u32) -> Result<BlockRun> {
        if !self.promises.is_open.load(Ordering::SeqCst) {
            return self.space.allocate(want);
        }
        let kept = self.space.kept_from(Claim::More) + SMALL;
        let promised = self.promises.pages.load(Ordering::SeqCst);
        self.space.allocate_beyond(want, self.unwritten() + promised + kept)
    }

    /// Writes pages that have reserved blocks. A checkpoint and an eviction may write the same page at the
    /// same time, and take two blocks where one is reserved. If `write` then finds the disk full, it is
    /// called again while the `other` writer is locked out (CACHE-12). Without threads of the store, the
    /// other writer may be a caller of this: then it is not waited for.
    pub(crate) fn write_alone_if_full<T>(
        &self,
        other: OtherWriter,
        mut write: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let full = match write() {
            Err(full @ Error::DiskFull { .. }) => full,
            done => return done,
        };
        let other = match other {
            OtherWriter::Eviction => &self.writing,
            OtherWriter::Checkpoint => &self.placing,
        };
        let alone = match self.cleaner.get() {
            Some(_) => Some(other.lock()),
            None => other.try_lock(),
        };
        alone.map_or(Err(full), |_alone| write())
    }

    /// Evicts pages until a commit that changes `leaves` leaves, and at most `pages` pages, finds frames
    /// free: it need not write any page to the disk once it is in the log. Call without locks.
    ///
    /// # Errors
    /// The error that kept dirty pages from being written; [`Error::CacheExhausted`] if running calls and
    /// users' holds leave too few frames.
    pub(crate) fn make_room_for(&self, leaves: usize, pages: u64) -> Result<()> {
        let least = self.least_frames(pages);
        for attempt in 0..ATTEMPTS {
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

    /// Whether a commit that changes `leaves` leaves finds enough frames free now.
    pub(crate) fn has_room_for(&self, leaves: usize) -> bool {
        self.arena.available() >= self.room_for(leaves)
    }

    /// How many frames a commit that changes `pages` pages has in hand before it is appended. For more it
    /// evicts pages, which needs no space on disk.
    fn least_frames(&self, pages: u64) -> u32 {
        pages.min(STOCK).min(self.frames() / SHARE) as u32
    }

    /// How many frames should be free for a commit that changes `leaves` leaves.
    fn room_for(&self, leaves: usize) -> u32 {
        (MARGIN + 2 * leaves as u64).min(self.frames() / 4) as u32
    }
}
