//! Old versions that registered snapshots need, in memory or spilled to disk.
//!
//! An entry is one version: page, `[lsn, until)`, and where it is. It goes when no snapshot in
//! that range is registered any more (V3). An entry in memory owns its frame, and owns the copy
//! on disk that the frame names, if any; an entry on disk owns its extent (V5). The exception is a
//! version that was spilled while a checkpoint placed it: its extent is the checkpoint's, which
//! lends it, and the entry owns it from the next checkpoint on.

use std::collections::{BTreeMap, BTreeSet};

use super::arena::{Arena, Frame};
use super::registry::Registry;
use super::state::Cache;
use crate::error::Result;
use crate::lsn::{Lsn, Watermark};
use crate::mutants::{Mutant, broken};
use crate::space::{PageAddr, PageId};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Versions written out at a time.
const SPILL_BATCH: usize = 128;

/// Where an old version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Resident(Frame),
    OnDisk(PageAddr),
}

#[derive(Clone, Copy, Debug)]
struct Old {
    lsn: Lsn,
    until: Lsn,
    place: Place,
    /// The extent is the last checkpoint's.
    lent: bool,
}

/// All old versions that are kept.
#[derive(Debug, Default)]
pub(crate) struct History {
    inner: Mutex<Inner>,
    /// How many there are, readable without the lock.
    count: AtomicUsize,
    /// How many of them are in memory.
    resident: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    pages: BTreeMap<PageId, Vec<Old>>,
    /// The same entries by the end of their range.
    by_end: BTreeSet<(Lsn, PageId)>,
}

/// What comes free when versions go.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    pub(super) frames: Vec<Frame>,
    pub(super) extents: Vec<PageAddr>,
}

impl History {
    /// How many versions are kept.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// How many of them are in memory.
    pub(super) fn resident(&self) -> usize {
        self.resident.load(Ordering::Relaxed)
    }

    /// Where the version of `id` is that a reader at `at` sees, if it is here.
    pub(crate) fn find(&self, id: PageId, at: Lsn) -> Option<Place> {
        if self.len() == 0 {
            return None;
        }
        let inner = self.inner.lock();
        let is_at_end = |old: &Old| broken(Mutant::HistoryRangeInclusive) && at == old.until;
        let sees = |old: &&Old| old.lsn <= at && at < old.until || is_at_end(old);
        let old = inner.pages.get(&id)?.iter().find(sees)?;
        Some(old.place)
    }

    /// Keeps each of `versions` (page, frame, LSN, end) for which `keep` says so; returns the
    /// rest. The lock is held over both, so that a snapshot which goes meanwhile finds the entry.
    /// It is counted before `keep` looks, so that the snapshot knows to look for it.
    pub(super) fn insert(
        &self,
        versions: impl Iterator<Item = (PageId, Frame, Lsn, Lsn)>,
        keep: impl Fn(Lsn, Lsn) -> bool,
        mut rest: impl FnMut(PageId, Frame),
    ) {
        let mut inner = self.inner.lock();
        for (id, frame, lsn, until) in versions {
            self.count.fetch_add(1, Ordering::Release);
            if keep(lsn, until) {
                let old = Old { lsn, until, place: Place::Resident(frame), lent: false };
                inner.pages.entry(id).or_default().push(old);
                inner.by_end.insert((until, id));
                self.resident.fetch_add(1, Ordering::Relaxed);
            } else {
                self.count.fetch_sub(1, Ordering::Release);
                rest(id, frame);
            }
        }
    }

    /// Puts a version that was loaded from `addr` into `frame`; the frame then names the extent.
    pub(super) fn replace(&self, id: PageId, addr: PageAddr, frame: Frame) -> bool {
        let mut inner = self.inner.lock();
        let old = inner
            .pages
            .get_mut(&id)
            .and_then(|all| all.iter_mut().find(|old| old.place == Place::OnDisk(addr)));
        if let Some(old) = old {
            old.place = Place::Resident(frame);
            self.resident.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// Takes out the versions that nobody needs since `gone` went. What a group that is not
    /// visible yet has superseded is what everybody reads: it stays.
    fn drop_for(
        &self,
        gone: Lsn,
        visible: &Watermark,
        registry: &Registry,
        arena: &Arena,
    ) -> Dropped {
        let mut dropped = Dropped::default();
        if self.len() == 0 {
            return dropped;
        }
        let mut inner = self.inner.lock();
        let Inner { pages, by_end } = &mut *inner;
        let after = (Lsn::new(gone.get().saturating_add(1)), PageId::NONE);
        // Read with the lock held: a group that becomes visible later comes by itself.
        let end = (Lsn::new(visible.load().get().saturating_add(1)), PageId::NONE);
        if end <= after {
            return dropped;
        }
        let candidates: Vec<_> = by_end.range(after..end).copied().collect();
        for (until, id) in candidates {
            let all = pages.get_mut(&id).expect("by_end names what is in pages");
            let at = all.iter().position(|old| old.until == until).expect("the same entry");
            let old = all[at];
            let is_needed = || registry.any_in(old.lsn, until);
            if old.lsn > gone || !broken(Mutant::OthersVersionsDropped) && is_needed() {
                continue;
            }
            all.swap_remove(at);
            if all.is_empty() {
                pages.remove(&id);
            }
            by_end.remove(&(until, id));
            self.count.fetch_sub(1, Ordering::Release);
            let addr = match old.place {
                Place::Resident(frame) => {
                    self.resident.fetch_sub(1, Ordering::Relaxed);
                    dropped.frames.push(frame);
                    arena.addr(frame)
                }
                Place::OnDisk(addr) => addr,
            };
            if !addr.is_none() && !old.lent {
                dropped.extents.push(addr);
            }
        }
        dropped
    }

    /// Some versions in memory, with the frame each is in.
    fn some_resident(&self, count: usize) -> Vec<(PageId, Frame, Lsn)> {
        let inner = self.inner.lock();
        let resident = inner.pages.iter().flat_map(|(id, all)| {
            all.iter().filter_map(|old| match old.place {
                Place::Resident(frame) => Some((*id, frame, old.lsn)),
                Place::OnDisk(_) => None,
            })
        });
        resident.take(count).collect()
    }

    /// Notes that a version (page, frame, LSN) has its copy at `addr`, and is no longer in memory.
    /// False if it is gone, or if the frame does not own `owned` any more.
    fn spilled(
        &self,
        version: (PageId, Frame, Lsn),
        owned: PageAddr,
        addr: PageAddr,
        arena: &Arena,
    ) -> bool {
        let (id, frame, lsn) = version;
        let mut inner = self.inner.lock();
        let old = inner.pages.get_mut(&id).and_then(|all| {
            all.iter_mut().find(|old| old.place == Place::Resident(frame) && old.lsn == lsn)
        });
        if let Some(old) = old
            && arena.addr(frame) == owned
        {
            old.place = Place::OnDisk(addr);
            self.resident.fetch_sub(1, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// Takes from a version its claim on the extent `addr`, which the checkpoint owns from now on.
    pub(super) fn disown(&self, id: PageId, at: Lsn, addr: PageAddr, arena: &Arena) {
        let mut inner = self.inner.lock();
        let all = inner.pages.get_mut(&id).into_iter().flatten();
        for old in all.filter(|old| old.lsn <= at && at < old.until) {
            match old.place {
                Place::Resident(frame) if arena.addr(frame) == addr => {
                    arena.set_addr(frame, PageAddr::NONE);
                }
                Place::OnDisk(place) if place == addr => old.lent = true,
                _ => {}
            }
        }
    }

    /// Whether a version of `id` is at `addr`, which the last checkpoint lends it.
    pub(super) fn is_lent(&self, id: PageId, addr: PageAddr, arena: &Arena) -> bool {
        self.lent(&mut self.inner.lock(), id, addr, arena).is_some()
    }

    /// Gives `addr` to the version that it was lent to. False if that is gone.
    pub(super) fn give_lent(&self, id: PageId, addr: PageAddr, arena: &Arena) -> bool {
        let mut inner = self.inner.lock();
        let old = self.lent(&mut inner, id, addr, arena);
        old.map(|old| old.lent = false).is_some()
    }

    fn lent<'i>(
        &self,
        inner: &'i mut Inner,
        id: PageId,
        addr: PageAddr,
        arena: &Arena,
    ) -> Option<&'i mut Old> {
        inner.pages.get_mut(&id)?.iter_mut().find(|old| {
            let place = match old.place {
                Place::Resident(frame) => arena.addr(frame),
                Place::OnDisk(place) => place,
            };
            old.lent && place == addr
        })
    }
}

impl Cache {
    /// Drops the versions that only a snapshot at `gone` needed.
    pub(super) fn drop_versions_for(&self, gone: Lsn) {
        let dropped = self.history.drop_for(gone, &self.visible, &self.registry, &self.arena);
        dropped.extents.iter().for_each(|addr| self.space.free(addr.block()));
        self.retire(dropped.frames);
    }

    /// Writes some old versions out and frees their frames. Returns how many.
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
            self.history.find(*id, *lsn) == Some(Place::Resident(*frame))
        });
        let mut pages = self.page_buffer();
        for (id, frame, _) in &batch {
            pages.push(*id, self.page_ref(*frame, &guard).bytes());
        }
        drop(guard);
        let written = self.write_pages(&mut pages);
        for (version, addr) in batch.into_iter().zip(written.iter().flatten()) {
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
