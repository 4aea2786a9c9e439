//! Old versions that registered snapshots need, in memory or spilled to disk.
//!
//! ```text
//!   versions   (page, until) -> lsn, place         the version that a reader at s sees: the first
//!                                                  with until > s, if lsn <= s
//!   needed     snapshot -> (until, page) ..        heaps: each version is in that of the oldest
//!                                                  snapshot that needs it, the first to end on top
//! ```
//!
//! An entry is one version: page, `[lsn, until)`, and where it is. It goes when no snapshot in
//! that range is registered any more (CACHE-3). An entry in memory owns its frame, and owns the copy
//! on disk that the frame names, if any; an entry on disk owns its extent (CACHE-5). The exception is a
//! version whose copy on disk is the checkpoint's, which lends it: the entry owns it from the next
//! checkpoint on.
//!
//! A version that is published is in the heap of the oldest registered snapshot in its range (CACHE-10).
//! When that snapshot goes, the versions that end before the next snapshot go with it; the others are
//! the next one's: their heap is melded with its own.
//!
//! So a snapshot that goes looks at the versions that go with it and at one more, in whichever
//! order snapshots go. The lock is held for a bounded number of versions at a time
//! ([`AT_ONCE`]): commits and readers of snapshots wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::arena::{Arena, Frame};
use super::heaps::{Heap, Heaps};
use super::registry::Registry;
use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::Mutex;
use crate::engine::base::sync::atomic::{AtomicUsize, Ordering};
use crate::engine::mutants::mutant;
use crate::engine::space::{PageAddr, PageId};

/// Versions that are dealt with while the lock is held.
const AT_ONCE: usize = 256;

/// Where an old version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Resident(Frame),
    OnDisk(PageAddr),
}

#[derive(Clone, Copy, Debug)]
struct Old {
    lsn: Lsn,
    place: Place,
    /// The extent is the last checkpoint's.
    lent: bool,
}

/// A version by its page, and by where its range ends.
type Key = (PageId, Lsn);

/// A version that a group has superseded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) id: PageId,
    pub(super) frame: Frame,
    pub(super) lsn: Lsn,
    /// Where its range ends.
    pub(super) until: Lsn,
    /// Its copy on disk is the last checkpoint's.
    pub(super) lent: bool,
}

/// All old versions that are kept.
#[derive(Debug, Default)]
pub(crate) struct History {
    inner: Mutex<Inner>,
    /// How many there are, readable without the lock.
    count: AtomicUsize,
    /// How many of them are in memory.
    resident: AtomicUsize,
    /// How many of these have no copy on disk (CACHE-12).
    homeless: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    versions: BTreeMap<Key, Old>,
    /// Those in memory.
    resident: BTreeSet<Key>,
    /// Those whose extent is lent.
    lent: BTreeSet<Key>,
    /// CACHE-10
    needed: BTreeMap<Lsn, Heap>,
    heaps: Heaps,
    /// What a group that is not visible yet has superseded. In no heap.
    unpublished: Vec<Key>,
    /// Where the search for versions to be spilled goes on.
    hand: Option<Key>,
    /// How many versions have been looked at.
    #[cfg(test)]
    looked: usize,
}

/// What comes free when versions go.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    pub(super) frames: Vec<Frame>,
    pub(super) extents: Vec<PageAddr>,
    /// The lock was let go of before all were dealt with: call again.
    pub(super) more: bool,
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

    /// How many versions have no copy on disk.
    pub(super) fn homeless(&self) -> usize {
        self.homeless.load(Ordering::SeqCst)
    }

    /// How many versions were looked at so far, where it could be more than are asked for.
    #[cfg(test)]
    pub(super) fn looked(&self) -> usize {
        self.inner.lock().looked
    }

    /// Where the version of `id` is that a reader at `at` sees, if it is here.
    pub(crate) fn find(&self, id: PageId, at: Lsn) -> Option<Place> {
        if self.len() == 0 {
            return None;
        }
        let mut inner = self.inner.lock();
        inner.seen(id, at).map(|(_, old)| old.place)
    }

    /// Keeps each of `versions` that a snapshot needs; hands the rest to `rest`. The lock is held
    /// from the look for a snapshot until the entry is there, so that a snapshot which goes
    /// meanwhile finds it. It is counted before that look, so that the snapshot knows to look.
    pub(super) fn insert(
        &self,
        versions: impl Iterator<Item = Version>,
        registry: &Registry,
        arena: &Arena,
        mut rest: impl FnMut(PageId, Frame),
    ) {
        let mut versions = versions.peekable();
        while versions.peek().is_some() {
            let mut inner = self.inner.lock();
            for version in versions.by_ref().take(AT_ONCE) {
                self.count.fetch_add(1, Ordering::Release);
                if let Some(snapshot) = registry.oldest_in(version.lsn, version.until) {
                    self.add(&mut inner, version, arena);
                    inner.need(snapshot, (version.id, version.until));
                } else {
                    self.count.fetch_sub(1, Ordering::Release);
                    rest(version.id, version.frame);
                }
            }
        }
    }

    /// Keeps what a group that is not visible yet has superseded, which is what everybody reads,
    /// until [`History::publish`].
    pub(super) fn insert_unpublished(
        &self,
        versions: impl Iterator<Item = Version>,
        arena: &Arena,
    ) {
        let mut versions = versions.peekable();
        while versions.peek().is_some() {
            let mut inner = self.inner.lock();
            for version in versions.by_ref().take(AT_ONCE) {
                self.count.fetch_add(1, Ordering::Release);
                self.add(&mut inner, version, arena);
                inner.unpublished.push((version.id, version.until));
            }
        }
    }

    fn add(&self, inner: &mut Inner, version: Version, arena: &Arena) {
        let Version { id, frame, lsn, until, lent } = version;
        inner.add((id, until), Old { lsn, place: Place::Resident(frame), lent });
        self.resident.fetch_add(1, Ordering::Relaxed);
        if arena.addr(frame).is_none() {
            self.homeless.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The group is visible: what it superseded stays only if a snapshot needs it.
    pub(super) fn publish(&self, registry: &Registry, arena: &Arena) -> Dropped {
        let mut dropped = Dropped::default();
        let mut inner = self.inner.lock();
        for _ in 0..AT_ONCE {
            let Some(key) = inner.unpublished.pop() else { return dropped };
            match registry.oldest_in(inner.versions[&key].lsn, key.1) {
                Some(snapshot) => inner.need(snapshot, key),
                None => self.remove(&mut inner, key, arena, &mut dropped),
            }
        }
        dropped.more = true;
        dropped
    }

    /// Takes out some of the versions that nobody needs since the snapshot at `gone` went (CACHE-10).
    pub(super) fn drop_for(&self, gone: Lsn, registry: &Registry, arena: &Arena) -> Dropped {
        let mut dropped = Dropped::default();
        if self.len() == 0 {
            return dropped;
        }
        let mut inner = self.inner.lock();
        if registry.is_open(gone) {
            return dropped; // there is another one, which comes by later
        }
        let Some(mut heap) = inner.needed.remove(&gone) else { return dropped };
        // One that registers later is above all ends; one that goes comes by after this.
        let next = registry.next_above(gone).unwrap_or(Lsn::MAX);
        for _ in 0..AT_ONCE {
            #[cfg(test)]
            (inner.looked += 1);
            let first = inner.heaps.first(&heap);
            let Some((until, id)) =
                first.filter(|(until, _)| mutant!(OthersVersionsDropped: *until <= next => true))
            else {
                if !heap.is_empty() {
                    let Inner { needed, heaps, .. } = &mut *inner;
                    heaps.meld(needed.entry(next).or_insert_with(Heap::new), heap);
                }
                return dropped;
            };
            inner.heaps.pop(&mut heap);
            let lsn = inner.versions[&(id, until)].lsn;
            assert!(
                lsn <= gone && gone < until,
                "CACHE-10: page {id} of [{lsn}, {until}) for {gone}"
            );
            self.remove(&mut inner, (id, until), arena, &mut dropped);
        }
        inner.needed.insert(gone, heap);
        dropped.more = true;
        dropped
    }

    fn remove(&self, inner: &mut Inner, key: Key, arena: &Arena, dropped: &mut Dropped) {
        let old = inner.versions.remove(&key).expect("a heap names what is there");
        self.count.fetch_sub(1, Ordering::Release);
        let addr = match old.place {
            Place::Resident(frame) => {
                inner.resident.remove(&key);
                self.resident.fetch_sub(1, Ordering::Relaxed);
                dropped.frames.push(frame);
                if arena.addr(frame).is_none() {
                    self.homeless.fetch_sub(1, Ordering::SeqCst);
                }
                arena.addr(frame)
            }
            Place::OnDisk(addr) => addr,
        };
        if old.lent {
            inner.lent.remove(&key);
        } else if !addr.is_none() {
            dropped.extents.push(addr);
        }
    }

    /// Some versions in memory (page, frame, LSN), others at each call.
    pub(super) fn some_resident(&self, count: usize) -> Vec<(PageId, Frame, Lsn)> {
        let mut inner = self.inner.lock();
        let from = inner.hand.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut keys: Vec<Key> =
            inner.resident.range((from, Bound::Unbounded)).take(count).copied().collect();
        if keys.len() < count {
            let (seen, left) = (keys.first().copied(), count - keys.len());
            let others = inner.resident.iter().take_while(|key| Some(**key) != seen);
            keys.extend(others.take(left));
        }
        inner.hand = keys.last().copied();
        #[cfg(test)]
        (inner.looked += keys.len());
        let version = |key: &Key| match inner.versions[key] {
            Old { place: Place::Resident(frame), lsn, .. } => (key.0, frame, lsn),
            old => unreachable!("{old:?} is not in memory"),
        };
        keys.iter().map(version).collect()
    }

    /// Puts the version for readers at `at`, which was loaded from `addr`, into `frame`; the frame
    /// then names the extent. False if it is not there any more.
    pub(super) fn replace(&self, id: PageId, at: Lsn, addr: PageAddr, frame: Frame) -> bool {
        let mut inner = self.inner.lock();
        let Some((key, old)) = inner.seen(id, at) else { return false };
        if old.place != Place::OnDisk(addr) {
            return false;
        }
        old.place = Place::Resident(frame);
        inner.resident.insert(key);
        self.resident.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Notes that a version (page, frame, LSN) has its copy at `addr`, and is no longer in memory.
    /// False if it is gone, or if the frame does not own `owned` any more.
    pub(super) fn spilled(
        &self,
        (id, frame, lsn): (PageId, Frame, Lsn),
        owned: PageAddr,
        addr: PageAddr,
        arena: &Arena,
    ) -> bool {
        let mut inner = self.inner.lock();
        let Some((key, old)) = inner.in_frame(id, frame, lsn) else { return false };
        if arena.addr(frame) != owned {
            return false;
        }
        old.place = Place::OnDisk(addr);
        inner.resident.remove(&key);
        self.resident.fetch_sub(1, Ordering::Relaxed);
        if owned.is_none() {
            self.homeless.fetch_sub(1, Ordering::SeqCst);
        }
        true
    }

    /// Notes that a version (page, frame, LSN) has its copy at `addr`, which is its own from now on.
    /// False if it is gone or has one already.
    pub(super) fn note_written(
        &self,
        (id, frame, lsn): (PageId, Frame, Lsn),
        addr: PageAddr,
        arena: &Arena,
    ) -> bool {
        let mut inner = self.inner.lock();
        if inner.in_frame(id, frame, lsn).is_none() || !arena.addr(frame).is_none() {
            return false;
        }
        arena.set_addr(frame, addr);
        self.homeless.fetch_sub(1, Ordering::SeqCst);
        true
    }

    /// Takes from the version for readers at `at` its claim on the extent `addr`, which the
    /// checkpoint owns from now on and lends it.
    pub(super) fn disown(&self, id: PageId, at: Lsn, addr: PageAddr, arena: &Arena) {
        if self.len() == 0 {
            return;
        }
        let mut inner = self.inner.lock();
        let Some((key, old)) = inner.seen(id, at) else { return };
        let place = match old.place {
            Place::Resident(frame) => arena.addr(frame),
            Place::OnDisk(place) => place,
        };
        if place == addr && !addr.is_none() {
            old.lent = true;
            inner.lent.insert(key);
        }
    }

    /// Whether a version of `id` is at `addr`, which the last checkpoint lends it.
    pub(super) fn is_lent(&self, id: PageId, addr: PageAddr, arena: &Arena) -> bool {
        self.len() > 0 && self.inner.lock().lent_at(id, addr, arena).is_some()
    }

    /// Gives `addr` to the version that it was lent to. False if that is gone.
    pub(super) fn give_lent(&self, id: PageId, addr: PageAddr, arena: &Arena) -> bool {
        let mut inner = self.inner.lock();
        let Some(key) = inner.lent_at(id, addr, arena) else { return false };
        inner.lent.remove(&key);
        inner.versions.get_mut(&key).expect("what is lent is there").lent = false;
        true
    }
}

impl Inner {
    /// The version of `id` that a reader at `at` sees.
    fn seen(&mut self, id: PageId, at: Lsn) -> Option<(Key, &mut Old)> {
        let from = mutant!(
            HistoryRangeInclusive: Bound::Excluded((id, at)) => Bound::Included((id, at))
        );
        let (&key, old) = self.versions.range_mut((from, Bound::Unbounded)).next()?;
        (key.0 == id && old.lsn <= at).then_some((key, old))
    }

    /// The version of `id` as of `lsn`, if it is in `frame`.
    fn in_frame(&mut self, id: PageId, frame: Frame, lsn: Lsn) -> Option<(Key, &mut Old)> {
        let is_it = |old: &Old| old.place == Place::Resident(frame) && old.lsn == lsn;
        self.seen(id, lsn).filter(|(_, old)| is_it(old))
    }

    /// Adds a version in memory.
    fn add(&mut self, key: Key, old: Old) {
        if old.lent {
            self.lent.insert(key);
        }
        let former = self.versions.insert(key, old);
        assert!(former.is_none(), "page {} has two versions up to {}", key.0, key.1);
        self.resident.insert(key);
    }

    /// `snapshot` is the oldest that needs the version.
    fn need(&mut self, snapshot: Lsn, (id, until): Key) {
        #[cfg(test)]
        (self.looked += 1);
        let heap = self.needed.entry(snapshot).or_insert_with(Heap::new);
        self.heaps.push(heap, (until, id));
    }

    fn lent_at(&self, id: PageId, addr: PageAddr, arena: &Arena) -> Option<Key> {
        let mut lent = self.lent.range((id, Lsn::ZERO)..).take_while(|key| key.0 == id);
        let key = lent.find(|key| match self.versions[key].place {
            Place::Resident(frame) => arena.addr(frame) == addr,
            Place::OnDisk(place) => place == addr,
        });
        key.copied()
    }
}
