//! Allocating and freeing blocks of the data file, which grows when no block is free.
//!
//! Some blocks are allocated for pages that the cache already counts as needing one (CACHE-12). Such
//! blocks are *in flight* until their pages have been written and noted: until then they back those
//! pages as free blocks do.

use super::extents::{BlockRun, Extents};
use super::page::PageAddr;
use super::room::Claim;
use super::space::Space;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::sync::MutexGuard;

/// A file larger than this grows by at least as much at a time, in bytes.
const GROWTH_BYTES: u64 = 8 << 20;

impl Space {
    /// Allocates 1 to `want` neighbouring blocks, growing the file if none is free.
    pub(crate) fn allocate(&self, want: u32) -> Result<BlockRun> {
        let take = |extents: &mut Extents| extents.take(want);
        self.with_extents(take)?.map_or_else(|| self.grow(want, take), Ok)
    }

    /// As [`Space::allocate`], for pages that are backed by free blocks: the allocated blocks are in
    /// flight, and back the pages, until [`Space::landed`].
    pub(crate) fn allocate_backed(&self, want: u32) -> Result<BlockRun> {
        let take = |extents: &mut Extents| {
            let run = extents.take(want)?;
            self.room.took_off(run.count.into());
            Some(run)
        };
        match self.with_extents(take)? {
            Some(run) => Ok(run),
            None => self.grow(want, take),
        }
    }

    /// Ends the flight of `pages` blocks of [`Space::allocate_backed`]. The caller then notes their pages
    /// as written, or frees the blocks.
    pub(crate) fn landed(&self, pages: u64) {
        if pages == 0 {
            return; // the free map may not have been read, or not be readable
        }
        let extents = self.extents.lock();
        let extents = extents.as_ref().expect("only allocated blocks are written");
        self.room.landed(pages);
        self.room.note(extents, self.file.fanout());
    }

    /// As [`Space::allocate`], but leaves a backing of `keep` blocks.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if the file cannot grow by enough for that.
    pub(crate) fn allocate_beyond(&self, want: u32, keep: u64) -> Result<BlockRun> {
        let take = |extents: &mut Extents| match self.backing().saturating_sub(keep) {
            0 => None,
            more => extents.take(want.min(u32::try_from(more).unwrap_or(want))),
        };
        if let Some(run) = self.with_extents(take)? {
            return Ok(run);
        }
        self.provide(keep + u64::from(want))?;
        let needed = u64::from(want) * self.page_size() as u64;
        let full = || Error::DiskFull { file: self.path().to_owned(), needed };
        self.with_extents(take)?.ok_or_else(full)
    }

    /// Keeps the file from growing into space that others free while the guard is held.
    pub(crate) fn hold_growth(&self) -> MutexGuard<'_, ()> {
        self.growing.lock()
    }

    /// Raises the backing to at least `want` blocks, growing the file if necessary. The blocks are not
    /// reserved.
    ///
    /// # Errors
    /// [`Error::DiskFull`]; nothing has changed.
    pub(crate) fn provide(&self, want: u64) -> Result<()> {
        if self.with_extents(|_| ()).map(|()| self.backing())? >= want {
            return Ok(());
        }
        let _one_at_a_time = self.growing.lock();
        match want.checked_sub(self.backing()) {
            None | Some(0) => Ok(()),
            Some(more) => self.lengthen(more, more),
        }
    }

    /// How many blocks are free or in flight. 0 until the free map has been read.
    pub(crate) fn backing(&self) -> u64 {
        self.room.backing()
    }

    /// Sets how many keyspaces' counts a checkpoint may have to note.
    pub(crate) fn note_keyspaces(&self, keyspaces: usize) {
        self.room.note_keyspaces(keyspaces as u64);
    }

    /// How many of the free blocks a claim must leave.
    pub(crate) fn kept_from(&self, claim: Claim) -> u64 {
        self.room.kept_from(claim)
    }

    /// Frees a block that no checkpoint refers to. Once the file is poisoned the block stays allocated:
    /// a superblock that refers to it may have reached the disk (SPACE-1).
    pub(crate) fn free(&self, block: u64) {
        if self.file.check_poison().is_err() {
            return;
        }
        let mut extents = self.extents.lock();
        let extents = extents.as_mut().expect("only allocated blocks are freed");
        extents.release(block);
        self.room.note(extents, self.file.fanout());
    }

    /// Makes the file longer and allocates its first new blocks.
    fn grow(&self, want: u32, take: impl Fn(&mut Extents) -> Option<BlockRun>) -> Result<BlockRun> {
        let _one_at_a_time = self.growing.lock();
        if let Some(run) = self.with_extents(&take)? {
            return Ok(run);
        }
        self.lengthen(want.into(), 1)?;
        self.with_extents(|extents| take(extents).expect("the file has grown"))
    }

    /// Makes the file longer by one growth step; if the disk is too full for that, by `want` blocks, and
    /// else by `least`. The caller holds `growing`.
    fn lengthen(&self, want: u64, least: u64) -> Result<()> {
        let (blocks, page) = (self.file.blocks(), self.page_size() as u64);
        let step = (blocks * page / 8).max(GROWTH_BYTES).min(blocks * page) / page;
        let mut result =
            Err(Error::DiskFull { file: self.path().to_owned(), needed: least * page });
        for step in [step.max(want), want, least] {
            if blocks + step > PageAddr::BLOCKS {
                continue;
            }
            result = self.file.grow(blocks + step).map(|()| blocks + step);
            if !matches!(result, Err(Error::DiskFull { .. })) {
                break;
            }
        }
        let blocks = result?;
        self.with_extents(|extents| extents.grow(blocks))
    }
}
