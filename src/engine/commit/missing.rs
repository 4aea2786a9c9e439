//! No page is read with the commit lock held (COMMIT-6).
//!
//! What a commit will read is brought into memory before it enters ([`Engine::touch_leaves`]). Under the
//! lock [`Trees::missing`] looks whether it is still there, before the record is appended. What is not is
//! named to the committer, who leaves the lock, reads it and enters again. So every other commit waits for
//! memory alone, and a device that does not answer refuses a commit instead of poisoning the store.
//!
//! Two kinds of commit read within all the same: one of more operations than a quarter of the frames,
//! which would evict its own pages, and one that left the lock [`ROUNDS`] times and found pages evicted
//! again each time.

use super::engine::{Engine, Live};
use super::group::Trees;
use super::keyspaces::catalog_key;
use super::ops::{Op, Operations, Payload};
use crate::engine::base::error::Result;
use crate::engine::cache::{Absent, Cache};
use crate::engine::space::PageId;
use crate::engine::tree;

/// How often a commit leaves the lock to read pages. It takes one round for each level of a tree that
/// is not in memory, and one more for each page of the index of a long value that is replaced.
const ROUNDS: u32 = 64;

/// How often a commit has left the lock to read pages.
#[derive(Debug, Default)]
pub(super) struct Rounds(u32);

impl Rounds {
    /// Whether the commit reads what is missing with the lock held.
    pub(super) fn are_over(&self) -> bool {
        self.0 >= ROUNDS
    }
}

impl Engine {
    /// Operations of a commit whose pages are all kept in memory together, at most.
    pub(super) fn kept_operations(&self) -> usize {
        usize::try_from(self.cache.frames() / 4).unwrap_or(usize::MAX)
    }

    /// Whether pages of a commit with so many operations are all kept in memory together.
    pub(super) fn keeps_leaves_of(&self, operations: usize) -> bool {
        operations <= self.kept_operations()
    }

    /// Pages that a commit would have to read with the lock held (COMMIT-6): of each operation the first.
    #[inline]
    pub(super) fn missing(&self, trees: &Trees, payload: &Payload) -> Vec<Absent> {
        let is_exempt = payload.reads_within || !self.keeps_leaves_of(payload.operations);
        match self.cache.lacks_pages() && !is_exempt {
            true => trees.missing(&self.cache, payload),
            false => Vec::new(),
        }
    }

    /// Reads what a commit has missed. No lock is held.
    ///
    /// # Errors
    /// What reading met: nothing has changed.
    pub(super) fn read_missing(
        &self,
        live: &Live,
        payload: &Payload,
        missing: &[Absent],
        rounds: &mut Rounds,
    ) -> Result<()> {
        rounds.0 += 1;
        // Room first: made afterwards it might take what was read.
        self.make_ready(live, payload)?;
        missing.iter().try_for_each(|&absent| tree::load_visible(&self.cache, absent))
    }
}

impl Trees {
    /// In how many pages of the catalog the notes of `payload` are, at most.
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

    /// The first page that each operation of `payload` would read and that is not in memory.
    fn missing(&self, cache: &Cache, payload: &Payload) -> Vec<Absent> {
        let mut missing = Vec::new();
        let mut look = |root: PageId, key: &[u8]| {
            if root != PageId::NONE
                && let Some(absent) = tree::missing(cache, root, key)
            {
                missing.push(absent);
            }
        };
        // What cannot be decoded is told by whoever applies it.
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
