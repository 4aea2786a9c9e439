//! Dropping old versions that nobody needs any more, and spilling old versions to disk.

use super::history::{Dropped, VersionLocation};
use super::room::Backing;
use super::state::Cache;
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::space::PageAddr;

/// Versions spilled at a time.
const SPILL_BATCH: usize = 128;

impl Cache {
    /// Drops the versions that only a snapshot at `gone` needed.
    pub(super) fn drop_versions_for(&self, gone: Lsn) {
        self.drop_all(|| self.history.drop_for(gone, &self.registry, &self.arena));
    }

    /// Drops the versions that only readers below a now visible group needed.
    pub(super) fn publish_versions(&self) {
        self.drop_all(|| self.history.publish(&self.registry, &self.arena));
    }

    fn drop_all(&self, mut some: impl FnMut() -> Dropped) {
        loop {
            let dropped = some();
            dropped.extents.iter().for_each(|addr| self.space.free(addr.block()));
            self.retire(dropped.frames);
            if !dropped.more {
                return;
            }
        }
    }

    /// Spills some old versions and frees their frames. Returns how many.
    pub(super) fn spill(&self) -> Result<usize> {
        let mut batch = Vec::new();
        let mut retired = Vec::new();
        for version in self.history.some_resident(SPILL_BATCH) {
            let addr = self.arena.addr(version.1);
            if addr.is_none() {
                batch.push(version);
            } else if self.history.spilled(version, addr, addr, &self.arena) {
                retired.push(version.1);
            }
        }
        let guard = self.pin();
        batch.retain(|(id, frame, lsn)| {
            self.history.find(*id, *lsn) == Some(VersionLocation::Resident(*frame))
        });
        let mut pages = self.page_buffer();
        for (id, frame, _) in &batch {
            pages.push(*id, self.page_ref(*frame, &guard).bytes());
        }
        drop(guard);
        let written = self.write_pages(&mut pages, Backing::Reserved);
        for (version, addr) in batch.into_iter().zip(written.iter().flatten()) {
            self.space.landed(1);
            if self.history.spilled(version, PageAddr::NONE, *addr, &self.arena) {
                retired.push(version.1);
            } else {
                self.space.free(addr.block());
            }
        }
        let count = retired.len();
        self.retire(retired);
        written.map(|_| count)
    }
}
