//! Tests of the cache as a whole. This file has their shared rig: pages that hold one number each.

#[cfg(not(syncline_shuttle))]
mod checkpoints;
#[cfg(not(syncline_shuttle))]
mod eviction;
#[cfg(not(syncline_shuttle))]
mod held;
#[cfg(syncline_shuttle)]
mod interleavings;
#[cfg(not(syncline_shuttle))]
mod story;
#[cfg(not(syncline_shuttle))]
mod versions;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::engine::base::codec::{get_u64, put_u64};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Lsn, StoreId};
use crate::engine::base::sync::Mutex;
use crate::engine::disk::{Disk, SimDisk};
use crate::engine::space::{self, Head, LEAF, PAGE_HEADER, PageId, Params, Space, header};

/// The minimum number of frames of a cache.
const FRAMES: usize = 64;
const PAGE_BYTES: u32 = 4096;

/// A cache over a simulated disk, with the parts of the engine that it needs.
pub(super) struct Rig {
    pub(super) disk: SimDisk,
    pub(super) space: Arc<Space>,
    pub(super) cache: Cache,
    pub(super) state: Mutex<State>,
}

/// The state that the commit lock guards.
pub(super) struct State {
    pub(super) writer: Writer,
    lsn: Lsn,
    /// Pages freed in a checkpoint that snapshots may still read.
    unreaped: Vec<(PageId, Lsn)>,
}

/// A checkpoint that has begun.
pub(super) struct Begun {
    pub(super) at: Lsn,
    changes: Changes,
    placed: Vec<Placed>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Rig::with(FRAMES)
    }

    pub(super) fn with(frames: usize) -> Self {
        let disk = SimDisk::new();
        Rig::on(disk.clone(), &disk, frames)
    }

    /// A new store on `disk`, which is accessed through `seen`.
    pub(super) fn on(disk: SimDisk, seen: &dyn Disk, frames: usize) -> Self {
        let params =
            Params { store: StoreId([7; 16]), page_size: PAGE_BYTES, segment_bytes: 1 << 20 };
        let space = Arc::new(Space::create(seen, params).unwrap());
        Rig::over(disk, space, frames)
    }

    /// The same store, opened again.
    pub(super) fn reopen(&self) -> Self {
        let space = Arc::new(Space::open(&self.disk as &dyn Disk).unwrap());
        Rig::over(self.disk.clone(), space, FRAMES)
    }

    fn over(disk: SimDisk, space: Arc<Space>, frames: usize) -> Self {
        let head = space.superblock().head;
        let options = CacheOptions {
            cache_bytes: frames as u64 * (u64::from(PAGE_BYTES) + 64),
            memory: MemorySource::System,
            visible: head.checkpoint,
            next_page_id: head.next_page_id.0.max(1),
            copy_page: |from, to| to.copy_from_slice(from),
            back_off: 0,
        };
        let cache = Cache::new(Arc::clone(&space), options).unwrap();
        let writer = Writer::new(head.checkpoint);
        let state = State { writer, lsn: head.checkpoint, unreaped: Vec::new() };
        Rig { disk, space, cache, state: Mutex::new(state) }
    }

    /// Commits a group of the changes of `change`; returns its LSN, 10 above the previous one.
    pub(super) fn group<R>(&self, change: impl FnOnce(&mut WriteGroup<'_>) -> R) -> (Lsn, R) {
        let mut state = self.state.lock();
        let lsn = Lsn::new(state.lsn.get() + 10);
        let mut group = WriteGroup::begin(&self.cache, &mut state.writer, lsn);
        let result = change(&mut group);
        group.publish();
        state.lsn = lsn;
        (lsn, result)
    }

    /// Puts `value` into `id`, the only change of its group: in place if nobody reads it. Returns whether
    /// it was in place.
    pub(super) fn put_alone(&self, id: PageId, value: u64) -> (Lsn, bool) {
        let mut state = self.state.lock();
        let lsn = Lsn::new(state.lsn.get() + 10);
        let mut group = WriteGroup::begin_single(&self.cache, &mut state.writer, lsn);
        group.page(id).unwrap();
        let in_place = group.change_in_place(id, |page| {
            // A concurrent reader would find a number that no group has put there.
            set_value(page, u64::MAX);
            crate::engine::base::sync::step();
            set_value(page, value);
            Some(())
        });
        if in_place.is_none() {
            put(&mut group, id, value);
        }
        crate::engine::base::sync::step();
        group.publish();
        state.lsn = lsn;
        (lsn, in_place.is_some())
    }

    /// Puts `value` into each of `ids`, in one group: with copies if a snapshot needs the old version,
    /// then in place if nobody reads the others. Returns whether any was changed in place.
    pub(super) fn put_all_alone(&self, ids: &[PageId], value: u64) -> (Lsn, bool) {
        let mut state = self.state.lock();
        let lsn = Lsn::new(state.lsn.get() + 10);
        let mut group = WriteGroup::begin_single(&self.cache, &mut state.writer, lsn);
        let may = group.may_change_in_place(ids.len());
        let (mut deferred, mut now) = (Vec::new(), Vec::new());
        for &id in ids {
            group.page(id).unwrap();
            if may && group.is_unneeded(id) { &mut deferred } else { &mut now }.push(id);
        }
        now.iter().for_each(|id| put(&mut group, *id, value));
        let in_place = !deferred.is_empty()
            && group.change_all_in_place(&deferred, |_, page| {
                set_value(page, u64::MAX);
                crate::engine::base::sync::step();
                set_value(page, value);
            });
        if !in_place {
            deferred.iter().for_each(|id| put(&mut group, *id, value));
        }
        crate::engine::base::sync::step();
        group.publish();
        state.lsn = lsn;
        (lsn, in_place)
    }

    /// Makes `count` pages that hold 0.
    pub(super) fn create(&self, count: usize) -> Vec<PageId> {
        self.group(|group| (0..count).map(|_| create(group)).collect()).1
    }

    /// Puts `value` into each of `ids`, in one group.
    pub(super) fn put(&self, ids: &[PageId], value: u64) -> Lsn {
        self.group(|group| ids.iter().for_each(|id| put(group, *id, value))).0
    }

    pub(super) fn free(&self, id: PageId) {
        self.group(|group| group.free(id));
    }

    /// The number in `id` as of `at`, which is registered or `visible`.
    pub(super) fn get(&self, id: PageId, at: Lsn) -> Result<u64> {
        loop {
            let absent = {
                let guard = self.cache.pin();
                match self.cache.page(id, at, &guard) {
                    Ok(page) => return Ok(value(page.bytes())),
                    Err(Absent::Gone(id)) => panic!("page {id} as of {at} is gone"),
                    Err(absent) => absent,
                }
            };
            self.cache.load(absent)?;
        }
    }

    /// How reading `id` at `at` fails without loading anything.
    pub(super) fn absent(&self, id: PageId, at: Lsn) -> Option<Absent> {
        let guard = self.cache.pin();
        self.cache.page(id, at, &guard).err()
    }

    /// Frees all retired frames.
    pub(super) fn settle(&self) {
        for _ in 0..8 {
            self.cache.pin().flush();
        }
    }

    /// Steps 1 and 3 of a checkpoint.
    pub(super) fn begin_checkpoint(&self) -> Result<Begun> {
        let (at, mut changes) = {
            let mut state = self.state.lock();
            let at = self.cache.snapshot().into_lsn();
            (at, state.writer.take_changes(at))
        };
        let freed: BTreeSet<PageId> = changes.freed.iter().map(|(id, _)| *id).collect();
        changes.written.sort_unstable();
        changes.written.dedup();
        let ids: Vec<_> =
            changes.written.iter().copied().filter(|id| !freed.contains(id)).collect();
        match self.cache.place(&ids, at, &|| (), &mut |_| Ok(())) {
            Ok(placed) => Ok(Begun { at, changes, placed }),
            Err(error) => {
                self.cache.unregister(at);
                self.state.lock().writer.restore_changes(changes);
                Err(error)
            }
        }
    }

    /// Steps 4 to 7.
    pub(super) fn finish_checkpoint(&self, begun: Begun) -> Result<()> {
        let Begun { at, changes, mut placed } = begun;
        let result = self.write_checkpoint(at, &changes, &mut placed);
        if result.is_err() {
            self.cache.unplace(&placed);
        }
        self.cache.unregister(at);
        if let Err(error) = result {
            self.state.lock().writer.restore_changes(changes);
            return Err(error);
        }
        let mut unreaped = std::mem::take(&mut self.state.lock().unreaped);
        unreaped.extend(changes.freed);
        unreaped.retain(|(id, lsn)| {
            let is_read = self.cache.has_snapshot_below(*lsn);
            if !is_read {
                self.cache.remove(*id).unwrap();
            }
            is_read
        });
        self.state.lock().unreaped = unreaped;
        Ok(())
    }

    fn write_checkpoint(&self, at: Lsn, changes: &Changes, placed: &mut Vec<Placed>) -> Result<()> {
        let freed: Vec<PageId> = changes.freed.iter().map(|(id, _)| *id).collect();
        let (released, kept, taken) = self.cache.hand_over(placed, &freed)?;
        let leaves = self.cache.map_leaves(placed)?;
        let next_page_id = PageId(self.cache.next_page_id());
        let head = Head { checkpoint: at, durable: at, next_page_id, ..Head::EMPTY };
        let changes =
            space::Changes { leaves: &leaves, released: &released, kept: &kept, taken: &taken };
        self.space.checkpoint(changes, head)?;
        let _no_commits = self.state.lock();
        self.cache.adopt_placed(placed, at);
        Ok(())
    }

    pub(super) fn checkpoint(&self) {
        let begun = self.begin_checkpoint().unwrap();
        self.finish_checkpoint(begun).unwrap();
    }

    /// Fails the test unless the last checkpoint is sound, and the blocks taken in the data file are
    /// those that it uses and `more` others (CACHE-5).
    pub(super) fn assert_blocks(&self, more: u64) {
        self.settle();
        let mut pages = Vec::new();
        let found = self.space.verify(&mut |id, addr| pages.push((id, addr))).unwrap();
        assert_eq!(found.problems.into_list(), Vec::<String>::new());
        let mut page = vec![0; PAGE_BYTES as usize];
        for (id, addr) in pages {
            self.space.read_page(addr, id, &mut page).unwrap();
        }
        let (busy, used) = self.space.busy_and_used();
        assert_eq!(busy - used, more, "blocks that no checkpoint uses");
    }
}

pub(super) fn create(group: &mut WriteGroup<'_>) -> PageId {
    let (id, lsn) = (group.create().unwrap(), group.lsn());
    let page = group.page_mut(id).unwrap();
    page.fill(0);
    header::init(page, LEAF, 0, lsn, id);
    id
}

pub(super) fn put(group: &mut WriteGroup<'_>, id: PageId, value: u64) {
    set_value(group.page_mut(id).unwrap(), value);
}

fn set_value(page: &mut [u8], value: u64) {
    put_u64(page, PAGE_HEADER, value);
    put_u64(page, PAGE_BYTES as usize - 8, value);
}

/// The number that a page holds, at its start and at its end.
pub(super) fn value(page: &[u8]) -> u64 {
    let value = get_u64(page, PAGE_HEADER);
    assert_eq!(value, get_u64(page, PAGE_BYTES as usize - 8), "a torn page");
    value
}

/// Whether reading failed because of damage.
pub(super) fn is_corrupt<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Corrupt { .. }))
}
