//! Changing pages in place (CACHE-7): while there are no readers, a group saves the cost of copies.
//!
//! ```text
//!   claim each page         nobody writes it out or evicts it
//!   exclude                 nobody else is pinned, can pin, or registers a snapshot
//!   look for readers        no snapshot needs the present version of a page, nobody has pinned it
//!   change, and take over   the pages are the group's own: nothing can fail any more
//!   publish                 visible = LSN; only then may others pin again
//! ```
//!
//! Until the first byte changes the group can fall back to copies, and does so if a step fails. So a
//! transaction that changes several pages first makes, with copies, the changes that may fail. Small
//! changes that are sure to fit into their leaves come last, in place.

use super::arena::Frame;
use super::epoch::Exclusion;
use super::state::Cache;
use super::table::{Claim, Word};
use super::writer::WriteGroup;
use crate::engine::mutants::mutant;
use crate::engine::space::PageId;

/// The default of [`CacheOptions::back_off`](super::CacheOptions).
pub(crate) const BACK_OFF: usize = 64;
/// Factor for the back-off after a batch: a reader waits longer for the end of a batch.
const BATCH_BACK_OFF: usize = 1 << 10;
/// The most changes that are made in place at a time: it bounds how long a reader waits.
const MAX_CHANGES: usize = 1024;

/// Whether a group may change pages in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InPlace {
    No,
    /// Once.
    IfUnread,
}

impl<'a> WriteGroup<'a> {
    /// Whether to try `changes` changes in place, with [`WriteGroup::change_in_place`] or
    /// [`WriteGroup::change_all_in_place`]. Ask once: it counts down the back-off.
    pub(crate) fn may_change_in_place(&mut self, changes: usize) -> bool {
        if self.in_place == InPlace::No || changes > MAX_CHANGES {
            return false;
        }
        let is_backing_off = self.writer.back_off > 0;
        self.writer.back_off = self.writer.back_off.saturating_sub(changes);
        !is_backing_off
    }

    /// Whether a page can probably be changed in place: checked without excluding readers.
    pub(crate) fn is_unneeded(&self, id: PageId) -> bool {
        match self.cache.table.newest(id) {
            Word::Resident(frame) => {
                self.cache.arena.lsn(frame) < self.lsn && !self.cache.is_needed(frame)
            }
            _ => false,
        }
    }

    /// Changes a leaf in place, as the only change of this group, if nobody can be reading it (CACHE-7).
    /// `change` returns `Some` if it has changed the page: then the group may change nothing else, and
    /// nothing may fail any more.
    #[allow(unsafe_code)]
    pub(crate) fn change_in_place<R>(
        &mut self,
        id: PageId,
        change: impl FnOnce(&mut [u8]) -> Option<R>,
    ) -> Option<R> {
        if !self.may_change_in_place(1) {
            return None;
        }
        debug_assert!(self.writer.superseded.is_empty(), "the only change of its group");
        self.in_place = InPlace::No;
        let cache = self.cache;
        let Word::Resident(frame) = cache.table.newest(id) else { return None };
        let exclusion = self.exclude(cache.back_off)?;
        if self.cache.is_needed(frame) {
            return None;
        }
        // Excludes write-back and eviction. Fails if the page has just been moved.
        let claim = cache.table.try_claim(id, frame)?;
        if cache.arena.is_pinned(frame) {
            return None;
        }
        assert!(cache.arena.lsn(frame) < self.lsn, "CACHE-1: the group has a copy of page {id}");
        // SAFETY: nobody reads it: no other thread holds a guard, none gets one while `exclusion`
        // lives, nobody has a pin, and no open snapshot could reach it later.
        let done = change(unsafe { cache.arena.page_mut(frame) })?;
        self.take_over(id, frame);
        // Nobody reads the versions before it.
        cache.arena.forget_previous(frame);
        drop(claim);
        self.exclusion = Some(exclusion);
        Some(done)
    }

    /// Changes leaves in place that this group has not changed yet, if nobody can be reading any of them
    /// (CACHE-7). `change` is called with the number of each. Returns whether it changed them: then the
    /// group may change nothing else, and nothing may fail any more.
    #[allow(unsafe_code)]
    pub(crate) fn change_all_in_place(
        &mut self,
        leaves: &[PageId],
        mut change: impl FnMut(usize, &mut [u8]),
    ) -> bool {
        let cache = self.cache;
        assert_eq!(self.in_place, InPlace::IfUnread, "call `may_change_in_place` first");
        self.in_place = InPlace::No;
        if self.guard.is_none() {
            self.guard = Some(cache.pin());
        }
        let Some(claims) = claim_all(cache, leaves) else { return false };
        let Some(exclusion) = self.exclude(cache.back_off * BATCH_BACK_OFF) else { return false };
        let is_needed = |frame| cache.is_needed(frame) || cache.arena.is_pinned(frame);
        if claims.iter().any(|(frame, _)| is_needed(*frame)) {
            return false;
        }
        for (at, (frame, claim)) in claims.into_iter().enumerate() {
            assert!(cache.arena.lsn(frame) < self.lsn, "CACHE-1: the group has a copy of a page");
            // SAFETY: as in `change_in_place`.
            change(at, unsafe { cache.arena.page_mut(frame) });
            self.take_over(leaves[at], frame);
            cache.arena.forget_previous(frame);
            drop(claim);
        }
        self.exclusion = Some(exclusion);
        true
    }

    /// Excludes readers, if there are none now and none had to wait for the last exclusion. Otherwise
    /// the next `back_off` changes are made to copies.
    fn exclude(&mut self, back_off: usize) -> Option<Exclusion<'a>> {
        let cache = self.cache;
        let exclusion = match cache.epoch.has_kept_waiting() {
            true => None,
            false => self.guard.as_ref().and_then(|guard| cache.epoch.exclude(guard)),
        };
        if exclusion.is_none() {
            self.writer.back_off = back_off;
        }
        exclusion
    }
}

impl Cache {
    /// Whether a snapshot needs this version, which is the newest of its page.
    fn is_needed(&self, frame: Frame) -> bool {
        mutant!(NeededPageChangedInPlace => return false);
        self.registry.newest().is_some_and(|snapshot| snapshot >= self.arena.lsn(frame))
    }
}

/// Claims all these pages, if they are in memory and no other thread has claimed one.
fn claim_all<'a>(cache: &'a Cache, ids: &[PageId]) -> Option<Vec<(Frame, Claim<'a>)>> {
    let claim = |id: &PageId| {
        let Word::Resident(frame) = cache.table.newest(*id) else { return None };
        Some((frame, cache.table.try_claim(*id, frame)?))
    };
    ids.iter().map(claim).collect()
}
