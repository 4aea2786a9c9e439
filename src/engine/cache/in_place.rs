//! Changing pages where they are (CACHE-7): what a copy costs is saved while there are no readers.
//!
//! ```text
//!   claim each page         nobody writes it out or evicts it
//!   exclude                 nobody else is pinned, or comes to be, or registers a snapshot
//!   look for readers        no snapshot needs one of the pages as it is, nobody uses a value in it
//!   change, and take over   the pages are the group's own: nothing can fail any more
//!   publish                 visible = LSN; only then may others pin again
//! ```
//!
//! Until the first byte changes the group can still go on with copies, and does so if anything is
//! in the way. So a transaction that changes more than one page does first, with copies, what may
//! fail: it tells which leaves it only changes a little, and comes to those last.

use super::arena::Frame;
use super::epoch::Alone;
use super::state::Cache;
use super::table::{Claim, Word};
use super::writer::WriteGroup;
use crate::engine::mutants::mutant;
use crate::engine::space::PageId;

/// After a reader was met, so many changes are made to copies without looking again, as a rule: see
/// [`CacheOptions::patience`](super::CacheOptions).
pub(crate) const PATIENCE: usize = 64;
/// So many times as many after a batch: a reader waits longer for the end of one.
const OF_BATCHES: usize = 1 << 10;
/// More changes than this are made to copies: so long may a reader have to wait.
const MOST: usize = 1024;

/// Whether a group may change pages in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InPlace {
    No,
    /// It may, once.
    IfUnread,
}

impl<'a> WriteGroup<'a> {
    /// Whether it is worth a try to make `changes` changes in place, with
    /// [`WriteGroup::change_in_place`] or [`WriteGroup::change_all_in_place`]. To be asked once.
    pub(crate) fn may_change_in_place(&mut self, changes: usize) -> bool {
        if self.in_place == InPlace::No || changes > MOST {
            return false;
        }
        let is_patient = self.writer.patience > 0;
        self.writer.patience = self.writer.patience.saturating_sub(changes);
        !is_patient
    }

    /// Whether a page can be changed in place, as far as can be told without keeping readers away.
    pub(crate) fn is_unneeded(&self, id: PageId) -> bool {
        match self.cache.table.newest(id) {
            Word::Resident(frame) => {
                self.cache.arena.lsn(frame) < self.lsn && !self.cache.is_needed(frame)
            }
            _ => false,
        }
    }

    /// Changes a leaf of this group, which has changed nothing else, in place, if nobody can be
    /// reading it (CACHE-7). `change` says whether it has changed the page: then nothing else may be
    /// changed in this group, and nothing may fail any more.
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
        let alone = self.exclude(cache.patience)?;
        if self.cache.is_needed(frame) {
            return None;
        }
        // Keeps those away who write pages out, and may have put it elsewhere just now.
        let claim = cache.table.try_claim(id, frame)?;
        if cache.arena.is_pinned(frame) {
            return None; // a value in it is in use
        }
        assert!(
            cache.arena.lsn(frame) < self.lsn,
            "CACHE-1: a version is superseded by a later group"
        );
        // SAFETY: nobody reads it: no other thread holds a guard, none gets one before `alone`
        // goes, nobody has a pin, and no snapshot is open that could get at it later.
        let done = change(unsafe { cache.arena.page_mut(frame) })?;
        self.take_over(id, frame);
        // No reader is left for what was before that.
        cache.arena.forget_previous(frame);
        drop(claim);
        self.alone = Some(alone);
        Some(done)
    }

    /// Changes leaves that this group has not changed yet in place, if nobody can be reading any
    /// of them (CACHE-7); `change` is called with the number of each. Tells whether it did: then
    /// nothing else may be changed in this group, and nothing may fail any more.
    #[allow(unsafe_code)]
    pub(crate) fn change_all_in_place(
        &mut self,
        leaves: &[PageId],
        mut change: impl FnMut(usize, &mut [u8]),
    ) -> bool {
        let cache = self.cache;
        assert_eq!(self.in_place, InPlace::IfUnread, "it was asked whether this may be");
        self.in_place = InPlace::No;
        if self.guard.is_none() {
            self.guard = Some(cache.pin());
        }
        let Some(claims) = claim_all(cache, leaves) else { return false };
        let Some(alone) = self.exclude(cache.patience * OF_BATCHES) else { return false };
        let is_needed = |frame| cache.is_needed(frame) || cache.arena.is_pinned(frame);
        if claims.iter().any(|(frame, _)| is_needed(*frame)) {
            return false;
        }
        for (at, (frame, claim)) in claims.into_iter().enumerate() {
            assert!(cache.arena.lsn(frame) < self.lsn, "CACHE-1: the group has no copy of its own");
            // SAFETY: as in `change_in_place`.
            change(at, unsafe { cache.arena.page_mut(frame) });
            self.take_over(leaves[at], frame);
            cache.arena.forget_previous(frame);
            drop(claim);
        }
        self.alone = Some(alone);
        true
    }

    /// Keeps readers away, if there are none. If there are, or were not long ago, so many changes
    /// are made to copies first.
    fn exclude(&mut self, patience: usize) -> Option<Alone<'a>> {
        let cache = self.cache;
        let alone = match cache.epoch.has_kept_waiting() {
            true => None,
            false => self.guard.as_ref().and_then(|guard| cache.epoch.exclude(guard)),
        };
        if alone.is_none() {
            self.writer.patience = patience;
        }
        alone
    }
}

impl Cache {
    /// Whether a snapshot needs this version, which is the newest of its page.
    fn is_needed(&self, frame: Frame) -> bool {
        mutant!(NeededPageChangedInPlace => return false);
        self.registry.newest().is_some_and(|snapshot| snapshot >= self.arena.lsn(frame))
    }
}

/// Claims all these pages, if they are in memory and nobody else has claimed one.
fn claim_all<'a>(cache: &'a Cache, ids: &[PageId]) -> Option<Vec<(Frame, Claim<'a>)>> {
    let claim = |id: &PageId| {
        let Word::Resident(frame) = cache.table.newest(*id) else { return None };
        Some((frame, cache.table.try_claim(*id, frame)?))
    };
    ids.iter().map(claim).collect()
}
