//! Reading pages before the commit lock is taken, so that none is read under it (COMMIT-6).
//!
//! A commit brings its pages into memory before it takes the lock ([`Engine::touch_leaves`]). Under the
//! lock, before the record is appended, [`Trees::missing`] checks that they are still there. If not, the
//! committer leaves the lock, reads them and enters again. So a commit under the lock never waits for the
//! device, and a device that does not answer refuses a commit instead of poisoning the store.
//!
//! Two kinds of commit read under the lock all the same: one with more operations than a quarter of the
//! frames, which would evict its own pages, and one that left the lock [`MAX_READ_RETRIES`] times and
//! found pages evicted again each time.

use super::engine::{Engine, LiveLog};
use super::group::Trees;
use super::keyspaces::catalog_key;
use super::ops::{Op, Operations, Payload};
use crate::engine::base::error::Result;
use crate::engine::cache::{Absent, Cache};
use crate::engine::space::PageId;
use crate::engine::tree;

/// How often a commit leaves the lock to read pages, at most. It needs one retry per level of a tree that
/// is not in memory, and one per page of the index of a long value that is replaced.
const MAX_READ_RETRIES: u32 = 64;

/// How often a commit has left the lock to read pages.
#[derive(Debug, Default)]
pub(super) struct ReadRetries(u32);

impl ReadRetries {
    /// Whether the commit reads missing pages with the lock held.
    pub(super) fn are_exhausted(&self) -> bool {
        self.0 >= MAX_READ_RETRIES
    }
}

impl Engine {
    /// The most operations of a commit whose pages all stay in memory together.
    pub(super) fn kept_operations(&self) -> usize {
        usize::try_from(self.cache.frames() / 4).unwrap_or(usize::MAX)
    }

    /// Whether the pages of a commit with so many operations all stay in memory together.
    pub(super) fn keeps_leaves_of(&self, operations: usize) -> bool {
        operations <= self.kept_operations()
    }

    /// The first page of each operation that a commit would have to read with the lock held (COMMIT-6).
    #[inline]
    pub(super) fn missing(&self, trees: &Trees, payload: &Payload) -> Vec<Absent> {
        let is_exempt = payload.reads_under_lock || !self.keeps_leaves_of(payload.operations);
        match self.cache.lacks_pages() && !is_exempt {
            true => trees.missing(&self.cache, payload),
            false => Vec::new(),
        }
    }

    /// Reads the missing pages of a commit. No lock is held.
    ///
    /// # Errors
    /// Any error of reading a page: nothing has changed.
    pub(super) fn read_missing(
        &self,
        live: &LiveLog,
        payload: &Payload,
        missing: &[Absent],
        retries: &mut ReadRetries,
    ) -> Result<()> {
        retries.0 += 1;
        // Frames first: an eviction afterwards might take the pages that were read.
        self.reserve_needs(live, payload)?;
        missing.iter().try_for_each(|&absent| tree::load_visible(&self.cache, absent))
    }
}

impl Trees {
    /// The most catalog pages that the count notes of `payload` are in.
    pub(super) fn leaves_of_notes(&self, cache: &Cache, payload: &Payload) -> usize {
        let keys =
            Operations::new(&payload.bytes).map_while(Result::ok).filter_map(|op| match op {
                Op::Count { keyspace, .. } => {
                    self.catalog.numbered(keyspace).map(|state| catalog_key::keyspace(&state.name))
                }
                _ => None,
            });
        tree::leaves_of(cache, self.catalog_root, keys)
    }

    /// The first page of each operation of `payload` that is not in memory.
    fn missing(&self, cache: &Cache, payload: &Payload) -> Vec<Absent> {
        let mut missing = Vec::new();
        let mut look = |root: PageId, key: &[u8]| {
            if root != PageId::NONE
                && let Some(absent) = tree::missing(cache, root, key)
            {
                missing.push(absent);
            }
        };
        // Applying the payload reports an operation that cannot be decoded.
        for op in Operations::new(&payload.bytes).map_while(Result::ok) {
            let state = |id| self.catalog.numbered(id);
            match op {
                Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key } => {
                    if let Some(state) = state(keyspace) {
                        look(state.root, key);
                    }
                }
                Op::Create { name, .. } => look(self.catalog_root, &catalog_key::keyspace(name)),
                Op::Drop { keyspace } => {
                    if let Some(state) = state(keyspace) {
                        look(self.catalog_root, &catalog_key::keyspace(&state.name));
                        look(self.catalog_root, &catalog_key::dropped(keyspace));
                    }
                }
                Op::Count { keyspace, .. } => {
                    if let Some(state) = state(keyspace) {
                        look(self.catalog_root, &catalog_key::keyspace(&state.name));
                    }
                }
                Op::Trim { keyspace } => {
                    look(self.catalog_root, &catalog_key::dropped(keyspace));
                }
            }
        }
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}
