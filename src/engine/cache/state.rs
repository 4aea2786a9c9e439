//! The cache's state, its page ids, and the snapshots that keep versions in it.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use super::arena::{Arena, Frame};
use super::counters::{CacheStats, Counters};
use super::epoch::{Epoch, Guard};
use super::evict::{Cleaner, Hand};
use super::history::History;
use super::memory::MemorySource;
use super::registry::Registry;
use super::room::Promises;
use super::table::{PAGE_IDS, PageTable, Word};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Lsn, Watermark};
use crate::engine::base::process::Process;
use crate::engine::base::sync::Mutex;
use crate::engine::base::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use crate::engine::space::{PageAddr, PageId, Space};

/// Locks for loading pages. Many, since loads of two pages that share a lock run one after the other.
const LOADERS: usize = 1024;

#[derive(Debug)]
pub(crate) struct CacheOptions {
    /// Memory for frames, in bytes.
    pub(crate) cache_bytes: u64,
    /// Where that memory comes from.
    pub(crate) memory: MemorySource,
    /// The visible LSN at the start.
    pub(crate) visible: Lsn,
    /// Page ids from here on were never used.
    pub(crate) next_page_id: u64,
    /// Copies a page, and may leave out its unused part.
    pub(crate) copy_page: fn(&[u8], &mut [u8]),
    /// How many changes are made to copies after a writer met a reader.
    pub(crate) back_off: usize,
}

/// The pages of a store, in memory and on disk.
#[derive(Debug)]
pub(crate) struct Cache {
    pub(super) arena: Arc<Arena>,
    pub(super) table: PageTable,
    pub(super) space: Arc<Space>,
    pub(super) epoch: Epoch,
    /// Readable up to here. Advanced by the writer.
    pub(super) visible: Watermark,
    /// The writer has kept or freed all versions that commits up to here superseded. Not above `visible`.
    pub(super) settled: Watermark,
    pub(super) registry: Registry,
    pub(super) history: History,
    pub(super) hand: Hand,
    /// Held by the thread that writes dirty pages to evict them, also while it waits for the device.
    /// Only the locks with which `space` allocates are taken under it.
    pub(super) writing: Mutex<()>,
    /// Held while pages of a checkpoint are written. Taken after `writing`.
    pub(super) placing: Mutex<()>,
    pub(super) cleaner: OnceLock<Cleaner>,
    pub(super) loading: Box<[Mutex<()>]>,
    pub(super) counters: Counters,
    /// How many newest versions have no copy on disk.
    pub(super) dirty: AtomicI64,
    /// Whether a page was ever evicted or left unread: then a page may be missing.
    pub(super) partial: AtomicBool,
    /// Whether a value was ever written past the cache.
    pub(super) bypassed: AtomicBool,
    pub(super) copy_page: fn(&[u8], &mut [u8]),
    pub(super) back_off: usize,
    pub(super) promises: Promises,
    ids: Arc<Mutex<PageIds>>,
    process: Process,
}

/// The allocator of page ids.
#[derive(Debug)]
struct PageIds {
    /// Ids that can be reused.
    free: Vec<PageId>,
    /// Ids from here on were never used.
    next: u64,
    /// `next` when the store was opened: below it the page map tells which ids are free.
    opened_at: u64,
    /// Leaves of the page map that have been read, and whose free ids were added to `free`.
    leaves_read: HashSet<u64>,
}

impl Cache {
    /// An empty cache over the pages in `space`.
    pub(crate) fn new(space: Arc<Space>, options: CacheOptions) -> Result<Self> {
        let page_bytes = space.page_size();
        let frames = (options.cache_bytes / (page_bytes as u64 + 64)).clamp(64, 1 << 31);
        let next = options.next_page_id;
        Ok(Cache {
            arena: Arc::new(Arena::new(frames as u32, page_bytes, options.memory)?),
            table: PageTable::new(),
            space,
            epoch: Epoch::new(),
            visible: Watermark::new(options.visible),
            settled: Watermark::new(options.visible),
            registry: Registry::default(),
            history: History::default(),
            hand: Hand::default(),
            writing: Mutex::new(()),
            placing: Mutex::new(()),
            cleaner: OnceLock::new(),
            loading: (0..LOADERS).map(|_| Mutex::new(())).collect(),
            counters: Counters::default(),
            dirty: AtomicI64::new(0),
            partial: AtomicBool::new(next > 1),
            bypassed: AtomicBool::new(false),
            copy_page: options.copy_page,
            back_off: options.back_off,
            promises: Promises::default(),
            process: Process::current(),
            ids: Arc::new(Mutex::new(PageIds {
                free: Vec::new(),
                next,
                opened_at: next,
                leaves_read: HashSet::new(),
            })),
        })
    }

    pub(crate) fn page_bytes(&self) -> usize {
        self.arena.page_bytes()
    }

    /// How many pages fit in memory.
    pub(crate) fn frames(&self) -> u64 {
        u64::from(self.arena.frames())
    }

    /// Pins the epoch of this store for the calling thread.
    pub(crate) fn pin(&self) -> Guard<'_> {
        self.epoch.pin()
    }

    /// The LSN up to which commits can be read.
    pub(crate) fn visible(&self) -> Lsn {
        self.visible.load()
    }

    /// Whether pages other than those of long values may be missing from memory.
    pub(crate) fn is_partial(&self) -> bool {
        self.partial.load(Ordering::Relaxed)
    }

    /// Whether any pages may be missing from memory.
    pub(crate) fn lacks_pages(&self) -> bool {
        self.is_partial() || self.bypassed.load(Ordering::Relaxed)
    }

    /// A snapshot at the current `visible`.
    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        // Pinned until it is registered: no page may be changed in place meanwhile (CACHE-7).
        let _guard = self.pin();
        let lsn = self.registry.register(&self.visible, |missed| self.drop_versions_for(missed));
        Snapshot { cache: self, lsn }
    }

    /// Ends a registration made by [`Snapshot::into_lsn`].
    pub(crate) fn unregister(&self, lsn: Lsn) {
        if !self.process.is_here() {
            return; // FORK-1: a lock that another thread held at the fork is never free
        }
        self.registry.unregister(lsn);
        self.drop_versions_for(lsn);
    }

    /// Sums of the counters.
    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats {
            frames: u64::from(self.arena.frames()),
            dirty_pages: self.dirty.load(Ordering::Relaxed).max(0) as u64,
            old_versions: self.history.len() as u64,
            ..self.counters.sum()
        }
    }

    /// Frees frames that nobody can find any more, once the epoch has passed.
    pub(super) fn retire(&self, frames: Vec<Frame>) {
        if !frames.is_empty() {
            // Weak: deferred calls that threads still hold do not keep the memory.
            let arena = Arc::downgrade(&self.arena);
            let guard = self.epoch.pin();
            guard.defer(move || {
                if let Some(arena) = arena.upgrade() {
                    arena.release(&frames);
                }
            });
            guard.flush();
        }
    }

    /// An id for a new page.
    pub(crate) fn new_page_id(&self) -> Result<PageId> {
        let id = {
            let mut ids = self.ids.lock();
            match ids.free.pop() {
                Some(id) => id,
                None if ids.next < PAGE_IDS => {
                    ids.next += 1;
                    PageId(ids.next - 1)
                }
                None => {
                    return Err(Error::DiskFull {
                        file: "the page table".into(),
                        needed: self.page_bytes() as u64,
                    });
                }
            }
        };
        self.table.load(id, PageAddr::NONE);
        debug_assert_eq!(self.table.newest(id), Word::Nothing, "page {id} is in use");
        Ok(id)
    }

    /// Counts all page ids below `next` as used.
    #[cfg(all(test, not(syncline_shuttle)))]
    pub(super) fn skip_page_ids(&self, next: PageId) {
        self.ids.lock().next = next.0;
    }

    /// Gives back an id that no page ever had.
    pub(crate) fn reuse_page_id(&self, id: PageId) {
        self.ids.lock().free.push(id);
    }

    /// Gives back an id that no page, snapshot or checkpoint has any more. An unregistered reader may
    /// still follow it, and must not find another page there: the id is free when the epoch has passed.
    pub(super) fn reuse_page_id_later(&self, id: PageId) {
        let ids = Arc::downgrade(&self.ids);
        self.epoch.pin().defer(move || {
            if let Some(ids) = ids.upgrade() {
                ids.lock().free.push(id);
            }
        });
    }

    /// Page ids from here on were never used.
    pub(crate) fn next_page_id(&self) -> u64 {
        self.ids.lock().next
    }

    /// Adds the ids that a leaf of the page map leaves free.
    pub(super) fn add_free_ids(&self, leaf: u64, free: impl Iterator<Item = PageId>) {
        let mut ids = self.ids.lock();
        if ids.leaves_read.insert(leaf) {
            let opened_at = ids.opened_at;
            ids.free.extend(free.filter(|id| id.0 != 0 && id.0 < opened_at));
        }
    }

    /// Whether a leaf of the page map has been read.
    pub(super) fn is_leaf_read(&self, leaf: u64) -> bool {
        self.ids.lock().leaves_read.contains(&leaf)
    }

    /// Whether a snapshot in `[from, until)` is open.
    pub(crate) fn has_snapshot_in(&self, from: Lsn, until: Lsn) -> bool {
        !self.registry.is_empty() && self.registry.any_in(from, until)
    }

    /// Whether a snapshot older than `lsn` is open.
    pub(crate) fn has_snapshot_below(&self, lsn: Lsn) -> bool {
        self.registry.oldest().is_some_and(|oldest| oldest < lsn)
    }

    /// See [`Arena::touch_ahead`].
    pub(crate) fn touch_ahead(&self, bytes: usize, touched: &mut usize) -> usize {
        self.arena.touch_ahead(bytes, touched)
    }
}

/// A point in time whose versions stay until this is dropped.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    cache: &'a Cache,
    lsn: Lsn,
}

impl Snapshot<'_> {
    /// The snapshot shows every commit at or below this LSN.
    pub(crate) fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Leaves the snapshot registered: end it with [`Cache::unregister`].
    pub(crate) fn into_lsn(self) -> Lsn {
        let lsn = self.lsn;
        std::mem::forget(self);
        lsn
    }
}

impl Clone for Snapshot<'_> {
    fn clone(&self) -> Self {
        self.cache.registry.register_again(self.lsn);
        Snapshot { cache: self.cache, lsn: self.lsn }
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        self.cache.unregister(self.lsn);
    }
}
