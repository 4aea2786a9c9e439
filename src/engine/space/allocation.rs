//! Taking blocks of the data file, which grows where none is left, and giving them back.
//!
//! Blocks may be taken for pages that are counted as needing one (CACHE-12). Such blocks are *in
//! flight* until those pages have been written and noted: they back their pages as free blocks do.

use super::extents::{Extents, Run};
use super::page::PageAddr;
use super::room::Claim;
use super::space::Space;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::sync::MutexGuard;

/// The least by which a file that is larger than this grows, in bytes.
const GROWTH_BYTES: u64 = 8 << 20;

impl Space {
    /// Takes 1 to `want` neighbouring blocks, growing the file if none is left.
    pub(crate) fn allocate(&self, want: u32) -> Result<Run> {
        let take = |extents: &mut Extents| extents.take(want);
        self.with_extents(take)?.map_or_else(|| self.grow(want, take), Ok)
    }

    /// As [`Space::allocate`], for pages that have blocks behind them: those that are taken back them
    /// until [`Space::landed`].
    pub(crate) fn allocate_backed(&self, want: u32) -> Result<Run> {
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

    /// So many pages whose blocks were taken with [`Space::allocate_backed`] are about to be noted as
    /// written, or their blocks to be given back.
    pub(crate) fn landed(&self, pages: u64) {
        if pages == 0 {
            return; // the free map may not have been read, or not be readable
        }
        let extents = self.extents.lock();
        let extents = extents.as_ref().expect("only what was allocated is written");
        self.room.landed(pages);
        self.room.note(extents, self.file.fanout());
    }

    /// As [`Space::allocate`], but leaves a backing of `keep` blocks.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if the file cannot have so many.
    pub(crate) fn allocate_beyond(&self, want: u32, keep: u64) -> Result<Run> {
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

    /// Keeps the file from growing: what space others give back meanwhile is not for it.
    pub(crate) fn hold_growth(&self) -> MutexGuard<'_, ()> {
        self.growing.lock()
    }

    /// Sees to it that the backing is of `want` blocks, growing the file if need be. They are not set
    /// aside.
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

    /// How many blocks are free, or taken by [`Space::allocate_backed`] and not landed. 0 until the
    /// free map has been read.
    pub(crate) fn backing(&self) -> u64 {
        self.room.backing()
    }

    /// A checkpoint may have to note the counts of so many keyspaces.
    pub(crate) fn note_keyspaces(&self, keyspaces: usize) {
        self.room.note_keyspaces(keyspaces as u64);
    }

    /// How many of the free blocks a claim must leave.
    pub(crate) fn kept_from(&self, claim: Claim) -> u64 {
        self.room.kept_from(claim)
    }

    /// Gives back a block that no checkpoint refers to. Once the file is poisoned it stays taken:
    /// a superblock that refers to it may have reached the disk (SPACE-1).
    pub(crate) fn free(&self, block: u64) {
        if self.file.check_poison().is_err() {
            return;
        }
        let mut extents = self.extents.lock();
        let extents = extents.as_mut().expect("only what was allocated is freed");
        extents.release(block);
        self.room.note(extents, self.file.fanout());
    }

    /// Makes the file longer and takes the first blocks of what is new.
    fn grow(&self, want: u32, take: impl Fn(&mut Extents) -> Option<Run>) -> Result<Run> {
        let _one_at_a_time = self.growing.lock();
        if let Some(run) = self.with_extents(&take)? {
            return Ok(run);
        }
        self.lengthen(want.into(), 1)?;
        self.with_extents(|extents| take(extents).expect("the file has grown"))
    }

    /// Makes the file longer: by a good deal, or by `want` blocks, or at least by `least`. The
    /// caller holds `growing`.
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
