//! Old page versions that registered snapshots need, in memory or spilled to disk.
//!
//! ```text
//!   versions   (page, until) -> lsn, location      the version that a reader at s sees: the first
//!                                                  with until > s, if lsn <= s
//!   needed     snapshot -> (until, page) ..        heaps: each version is in that of the oldest
//!                                                  snapshot that needs it, the first to end on top
//! ```
//!
//! An entry is one version: page, `[lsn, until)`, and where it is. It is dropped when no snapshot in
//! that range is registered any more (CACHE-3). An entry in memory owns its frame and the copy on disk
//! that the frame names, if any; an entry on disk owns its extent (CACHE-5). The exception is a copy
//! on disk that belongs to the last checkpoint, which lends it: the next checkpoint gives it to the entry.
//!
//! A published version is in the heap of the oldest registered snapshot in its range (CACHE-10). When
//! that snapshot is dropped, its versions that end at or before the next snapshot are dropped too. The
//! others are needed by the next snapshot: their heap is melded with its heap. For example:
//!
//! ```text
//!   snapshots 20, 50; heap of 20: page 3 of [10, 30), page 7 of [15, 90)
//!   20 is dropped: page 3 goes, since 30 <= 50; page 7 moves to the heap of 50
//! ```
//!
//! So dropping a snapshot looks at the versions that go with it and at one more, in any order of
//! snapshots. Commits and snapshot reads wait for the lock, so it is held for at most [`AT_ONCE`]
//! versions.

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

/// How many versions are handled before the lock is released.
const AT_ONCE: usize = 256;

/// Where a version of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionLocation {
    Resident(Frame),
    OnDisk(PageAddr),
}

#[derive(Clone, Copy, Debug)]
struct OldVersion {
    lsn: Lsn,
    location: VersionLocation,
    /// The last checkpoint owns the extent.
    lent: bool,
}

/// A version's page, and the end of its range.
type Key = (PageId, Lsn);

/// A version that a group has superseded.
#[derive(Clone, Copy, Debug)]
pub(super) struct SupersededVersion {
    pub(super) id: PageId,
    pub(super) frame: Frame,
    pub(super) lsn: Lsn,
    /// The end of its range.
    pub(super) until: Lsn,
    /// The last checkpoint owns its copy on disk.
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
    unwritten: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    versions: BTreeMap<Key, OldVersion>,
    /// The versions in memory.
    resident: BTreeSet<Key>,
    /// The versions whose extent is lent.
    lent: BTreeSet<Key>,
    /// CACHE-10
    needed: BTreeMap<Lsn, Heap>,
    heaps: Heaps,
    /// Versions superseded by a group that is not visible yet. In no heap.
    unpublished: Vec<Key>,
    /// Where the next search for versions to spill begins.
    hand: Option<Key>,
    /// How many versions have been looked at.
    #[cfg(test)]
    looked: usize,
}

/// The frames and extents of dropped versions.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    pub(super) frames: Vec<Frame>,
    pub(super) extents: Vec<PageAddr>,
    /// The lock was released before all versions were handled: call again.
    pub(super) more: bool,
}

impl History {
    /// How many versions are kept.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// How many versions are in memory.
    pub(super) fn resident(&self) -> usize {
        self.resident.load(Ordering::Relaxed)
    }

    /// How many versions have no copy on disk.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten.load(Ordering::SeqCst)
    }

    /// How many versions the operations that search have looked at so far.
    #[cfg(test)]
    pub(super) fn looked(&self) -> usize {
        self.inner.lock().looked
    }

    /// Where the version of `id` is that a reader at `at` sees, if the history has it.
    pub(crate) fn find(&self, id: PageId, at: Lsn) -> Option<VersionLocation> {
        if self.len() == 0 {
            return None;
        }
        let mut inner = self.inner.lock();
        inner.seen(id, at).map(|(_, old)| old.location)
    }

    /// Keeps each of `versions` that a snapshot needs, and calls `rest` with the others. The lock is
    /// held from the search for a snapshot until the entry is added, so that a snapshot which is dropped
    /// meanwhile finds it. The version is counted before that search, so that the snapshot looks here.
    pub(super) fn insert(
        &self,
        versions: impl Iterator<Item = SupersededVersion>,
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
                    inner.add_need(snapshot, (version.id, version.until));
                } else {
                    self.count.fetch_sub(1, Ordering::Release);
                    rest(version.id, version.frame);
                }
            }
        }
    }

    /// Keeps the versions that a group which is not visible yet has superseded until
    /// [`History::publish`]: all readers still need them.
    pub(super) fn insert_unpublished(
        &self,
        versions: impl Iterator<Item = SupersededVersion>,
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

    fn add(&self, inner: &mut Inner, version: SupersededVersion, arena: &Arena) {
        let SupersededVersion { id, frame, lsn, until, lent } = version;
        inner
            .add((id, until), OldVersion { lsn, location: VersionLocation::Resident(frame), lent });
        self.resident.fetch_add(1, Ordering::Relaxed);
        if arena.addr(frame).is_none() {
            self.unwritten.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The group is visible: the versions that it superseded stay only if a snapshot needs them.
    pub(super) fn publish(&self, registry: &Registry, arena: &Arena) -> Dropped {
        let mut dropped = Dropped::default();
        let mut inner = self.inner.lock();
        for _ in 0..AT_ONCE {
            let Some(key) = inner.unpublished.pop() else { return dropped };
            match registry.oldest_in(inner.versions[&key].lsn, key.1) {
                Some(snapshot) => inner.add_need(snapshot, key),
                None => self.remove(&mut inner, key, arena, &mut dropped),
            }
        }
        dropped.more = true;
        dropped
    }

    /// Drops some of the versions that only the dropped snapshot at `gone` needed (CACHE-10).
    pub(super) fn drop_for(&self, gone: Lsn, registry: &Registry, arena: &Arena) -> Dropped {
        let mut dropped = Dropped::default();
        if self.len() == 0 {
            return dropped;
        }
        let mut inner = self.inner.lock();
        if registry.is_open(gone) {
            return dropped; // another snapshot at this LSN is open: its drop comes here later
        }
        let Some(mut heap) = inner.needed.remove(&gone) else { return dropped };
        // A snapshot registered later is above all ends. One that is dropped meanwhile comes here next.
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
                "CACHE-10: page {id} of [{lsn}, {until}) is in the heap of snapshot {gone}"
            );
            self.remove(&mut inner, (id, until), arena, &mut dropped);
        }
        inner.needed.insert(gone, heap);
        dropped.more = true;
        dropped
    }

    fn remove(&self, inner: &mut Inner, key: Key, arena: &Arena, dropped: &mut Dropped) {
        let old = inner.versions.remove(&key).expect("a heap names only versions that are kept");
        self.count.fetch_sub(1, Ordering::Release);
        let addr = match old.location {
            VersionLocation::Resident(frame) => {
                inner.resident.remove(&key);
                self.resident.fetch_sub(1, Ordering::Relaxed);
                dropped.frames.push(frame);
                if arena.addr(frame).is_none() {
                    self.unwritten.fetch_sub(1, Ordering::SeqCst);
                }
                arena.addr(frame)
            }
            VersionLocation::OnDisk(addr) => addr,
        };
        if old.lent {
            inner.lent.remove(&key);
        } else if !addr.is_none() {
            dropped.extents.push(addr);
        }
    }

    /// Up to `count` versions in memory (page, frame, LSN): the next ones at each call, round robin.
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
            OldVersion { location: VersionLocation::Resident(frame), lsn, .. } => {
                (key.0, frame, lsn)
            }
            old => unreachable!("{old:?} is not in memory"),
        };
        keys.iter().map(version).collect()
    }

    /// Notes that the version for readers at `at` was loaded from `addr` into `frame`, which names the
    /// extent from now on. False if that version is not there any more.
    pub(super) fn replace(&self, id: PageId, at: Lsn, addr: PageAddr, frame: Frame) -> bool {
        let mut inner = self.inner.lock();
        let Some((key, old)) = inner.seen(id, at) else { return false };
        if old.location != VersionLocation::OnDisk(addr) {
            return false;
        }
        old.location = VersionLocation::Resident(frame);
        inner.resident.insert(key);
        self.resident.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Notes that a version (page, frame, LSN) was spilled to `addr`, and is no longer in memory. False if
    /// the version is gone, or if the frame's address is not `owned` any more.
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
        old.location = VersionLocation::OnDisk(addr);
        inner.resident.remove(&key);
        self.resident.fetch_sub(1, Ordering::Relaxed);
        if owned.is_none() {
            self.unwritten.fetch_sub(1, Ordering::SeqCst);
        }
        true
    }

    /// Notes that a version (page, frame, LSN) has a copy at `addr`, which it owns from now on. False if
    /// the version is gone or has a copy already.
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
        self.unwritten.fetch_sub(1, Ordering::SeqCst);
        true
    }

    /// The checkpoint owns the extent `addr` from now on, and lends it to the version for readers at `at`.
    pub(super) fn disown(&self, id: PageId, at: Lsn, addr: PageAddr, arena: &Arena) {
        if self.len() == 0 {
            return;
        }
        let mut inner = self.inner.lock();
        let Some((key, old)) = inner.seen(id, at) else { return };
        if old.location.addr(arena) == addr && !addr.is_none() {
            old.lent = true;
            inner.lent.insert(key);
        }
    }

    /// Whether the last checkpoint lends `addr` to a version of `id`.
    pub(super) fn is_lent(&self, id: PageId, addr: PageAddr, arena: &Arena) -> bool {
        self.len() > 0 && self.inner.lock().lent_at(id, addr, arena).is_some()
    }

    /// Gives `addr` to the version that it was lent to. False if that version is gone.
    pub(super) fn give_lent(&self, id: PageId, addr: PageAddr, arena: &Arena) -> bool {
        let mut inner = self.inner.lock();
        let Some(key) = inner.lent_at(id, addr, arena) else { return false };
        inner.lent.remove(&key);
        inner.versions.get_mut(&key).expect("a borrower is kept").lent = false;
        true
    }
}

impl VersionLocation {
    /// The address of the copy on disk, if there is one.
    pub(super) fn addr(self, arena: &Arena) -> PageAddr {
        match self {
            VersionLocation::Resident(frame) => arena.addr(frame),
            VersionLocation::OnDisk(addr) => addr,
        }
    }
}

impl Inner {
    /// The version of `id` that a reader at `at` sees.
    fn seen(&mut self, id: PageId, at: Lsn) -> Option<(Key, &mut OldVersion)> {
        let from = mutant!(
            HistoryRangeInclusive: Bound::Excluded((id, at)) => Bound::Included((id, at))
        );
        let (&key, old) = self.versions.range_mut((from, Bound::Unbounded)).next()?;
        (key.0 == id && old.lsn <= at).then_some((key, old))
    }

    /// The version of `id` as of `lsn`, if it is in `frame`.
    fn in_frame(&mut self, id: PageId, frame: Frame, lsn: Lsn) -> Option<(Key, &mut OldVersion)> {
        let location = VersionLocation::Resident(frame);
        self.seen(id, lsn).filter(|(_, old)| old.location == location && old.lsn == lsn)
    }

    /// Adds a version in memory.
    fn add(&mut self, key: Key, old: OldVersion) {
        if old.lent {
            self.lent.insert(key);
        }
        let former = self.versions.insert(key, old);
        assert!(former.is_none(), "page {} has two versions up to {}", key.0, key.1);
        self.resident.insert(key);
    }

    /// Adds a version to the heap of `snapshot`, the oldest that needs it.
    fn add_need(&mut self, snapshot: Lsn, (id, until): Key) {
        #[cfg(test)]
        (self.looked += 1);
        let heap = self.needed.entry(snapshot).or_insert_with(Heap::new);
        self.heaps.push(heap, (until, id));
    }

    fn lent_at(&self, id: PageId, addr: PageAddr, arena: &Arena) -> Option<Key> {
        let mut lent = self.lent.range((id, Lsn::ZERO)..).take_while(|key| key.0 == id);
        lent.find(|key| self.versions[key].location.addr(arena) == addr).copied()
    }
}
