//! Reading a page as it was at an LSN, without locks.

use super::arena::Frame;
use super::epoch::Guard;
use super::history::VersionLocation;
use super::hold::PinnedPage;
use super::state::Cache;
use super::table::Word;
use crate::engine::base::lsn::Lsn;
use crate::engine::space::PageId;

/// A version of a page, protected by an epoch guard.
#[derive(Clone, Copy)]
pub(crate) struct PageRef<'g> {
    frame: Frame,
    bytes: &'g [u8],
}

/// Why a version of a page is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Absent {
    /// Its newest version must be loaded.
    Newest(PageId),
    /// The version for readers at this LSN must be loaded.
    Old(PageId, Lsn),
    /// It has been freed: an unregistered reader starts over.
    Gone(PageId),
}

impl<'g> PageRef<'g> {
    pub(crate) fn bytes(&self) -> &'g [u8] {
        self.bytes
    }

    pub(super) fn frame(&self) -> Frame {
        self.frame
    }
}

impl Cache {
    /// The version of page `id` that a reader at `at` sees (CACHE-2). The reader has registered `at`,
    /// or has read it from [`Cache::visible`] after pinning `guard`.
    #[inline]
    pub(crate) fn page<'g>(
        &'g self,
        id: PageId,
        at: Lsn,
        guard: &'g Guard,
    ) -> Result<PageRef<'g>, Absent> {
        let word = self.table.newest(id);
        if let Word::Resident(frame) = word {
            self.arena.prefetch(frame);
            if self.arena.lsn(frame) <= at {
                self.arena.visit(frame);
                return Ok(self.page_ref(frame, guard));
            }
        }
        self.older_page(id, word, at, guard)
    }

    /// Pins a page of this cache beyond its epoch guard.
    pub(crate) fn keep(&self, page: PageRef<'_>) -> PinnedPage<'_> {
        PinnedPage::new(&self.arena, page.frame)
    }

    /// Counts page accesses that found the page in memory.
    pub(crate) fn count_hits(&self, pages: u64) {
        self.counters.hit(pages);
    }

    /// Prefetches the whole page into the processor's cache, if it is in memory.
    pub(crate) fn prefetch(&self, id: PageId) {
        if let Word::Resident(frame) = self.table.newest(id) {
            self.arena.prefetch_page(frame);
        }
    }

    /// Prefetches the part of a page that a search reads first, if it is in memory.
    pub(crate) fn prefetch_start(&self, id: PageId) {
        if let Word::Resident(frame) = self.table.newest(id) {
            self.arena.prefetch(frame);
        }
    }

    #[cold]
    fn older_page<'g>(
        &'g self,
        id: PageId,
        word: Word,
        at: Lsn,
        guard: &'g Guard,
    ) -> Result<PageRef<'g>, Absent> {
        if let Some(found) = self.kept_page(id, at, guard) {
            return found;
        }
        let Word::Resident(mut frame) = word else {
            return Err(match word {
                Word::Nothing => Absent::Gone(id),
                _ => Absent::Newest(id),
            });
        };
        while let Some(previous) = self.arena.previous(frame) {
            if self.arena.lsn(previous) <= at {
                return Ok(self.page_ref(previous, guard));
            }
            frame = previous;
        }
        // The writer may have moved the version to the history after the first look, and cut the chain.
        self.kept_page(id, at, guard).unwrap_or(Err(Absent::Gone(id)))
    }

    /// The version at `at` if the history has it.
    fn kept_page<'g>(
        &'g self,
        id: PageId,
        at: Lsn,
        guard: &'g Guard,
    ) -> Option<Result<PageRef<'g>, Absent>> {
        Some(match self.history.find(id, at)? {
            VersionLocation::Resident(frame) => Ok(self.page_ref(frame, guard)),
            VersionLocation::OnDisk(_) => Err(Absent::Old(id, at)),
        })
    }

    #[allow(unsafe_code)]
    #[inline]
    pub(super) fn page_ref<'g>(&'g self, frame: Frame, _guard: &'g Guard) -> PageRef<'g> {
        // SAFETY: the frame was found under the guard at an LSN at or below `visible`, so it is
        // immutable (CACHE-1) and not freed before the guard goes (CACHE-3).
        let bytes = unsafe { self.arena.page(frame) };
        PageRef { frame, bytes }
    }
}
