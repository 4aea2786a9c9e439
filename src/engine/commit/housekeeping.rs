//! Housekeeping of the trees: merging leaves that became small, taking dropped keyspaces apart.
//!
//! Both are done in small steps, each a commit of its own. A step first reads its pages outside
//! of any lock, and keeps them in memory; with the commit lock held it reads nothing.
//!
//! Invariant:
//!
//! - HOUSEKEEPING-1 a step holds the commit lock for work in memory alone, on a bounded number of pages.
//!
//! The list of small leaves is not in the log. A replay makes its own list, and a replayed step merges
//! whatever is in memory then: the keys are the same either way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::engine::Engine;
use super::group::TRIM_PAGES;
use super::keyspaces::{Catalog, KeyspaceState};
use super::ops::{KeyspaceId, Op, Payload};
use crate::engine::base::error::Result;
use crate::engine::options::CommitMode;
use crate::engine::tree::{TrimPlan, load_for_tidy};

/// The most leaves that one step merges.
const MERGES_PER_STEP: usize = 32;
/// The most leaves that are noted. A leaf beyond that is noted when it loses more keys.
const MAX_NOTED: usize = 1 << 16;
/// Steps at a time before a checkpoint of a store that has no threads or is being closed.
const FOREGROUND_STEPS: usize = 64;
/// The most dropped keyspaces that wait to be taken apart. Dropping one more takes some apart first.
const MAX_DROPPED: usize = 8;

/// Leaves that became small while their neighbours were not in memory, by keyspace and key.
#[derive(Debug, Default)]
pub(crate) struct Sparse {
    keys: BTreeMap<KeyspaceId, VecDeque<Vec<u8>>>,
    len: usize,
}

impl Sparse {
    #[inline]
    pub(super) fn add(&mut self, keyspace: KeyspaceId, keys: Vec<Vec<u8>>) {
        if !keys.is_empty() && self.len < MAX_NOTED {
            self.len += keys.len();
            self.keys.entry(keyspace).or_default().extend(keys);
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes out the noted leaves of one step in a keyspace.
    pub(super) fn take(&mut self, keyspace: KeyspaceId) -> Vec<Vec<u8>> {
        let Some(keys) = self.keys.get_mut(&keyspace) else { return Vec::new() };
        let taken: Vec<_> = keys.drain(..keys.len().min(MERGES_PER_STEP)).collect();
        if keys.is_empty() {
            self.keys.remove(&keyspace);
        }
        self.len -= taken.len();
        taken
    }

    /// The keyspace and the noted leaves of the next step, if there is one.
    fn next(&mut self, catalog: &Catalog) -> Option<(Arc<KeyspaceState>, Vec<Vec<u8>>)> {
        while let Some((&id, keys)) = self.keys.first_key_value() {
            if let Some(keyspace) = catalog.numbered(id) {
                return Some((
                    Arc::clone(keyspace),
                    keys.iter().take(MERGES_PER_STEP).cloned().collect(),
                ));
            }
            self.len -= keys.len();
            self.keys.remove(&id); // it was dropped
        }
        None
    }
}

impl Engine {
    /// One step of merging leaves that became small. False if there is none.
    pub(crate) fn merge_sparse(&self) -> Result<bool> {
        let Some(live) = self.live.get() else { return Ok(false) };
        if !self.background.sparse.load(Ordering::Relaxed) || live.log.poisoned().is_some() {
            return Ok(false);
        }
        let in_use = self.background.snapshot_in_use.lock();
        // 1. Choose leaves. The snapshot is taken with the lock held, while the keyspace exists.
        let (keyspace, keys, snapshot) = {
            let mut state = self.commit.lock();
            let trees = &mut state.trees;
            let Some((keyspace, keys)) = trees.sparse.next(&trees.catalog) else {
                self.background.sparse.store(false, Ordering::Relaxed);
                return Ok(false);
            };
            (keyspace, keys, self.cache.snapshot())
        };
        // 2. Bring them and their neighbours into memory, outside of the lock.
        let (mut held, mut read) = (Vec::new(), Ok(()));
        for key in &keys {
            let most = self.cache.frames() as usize / 8;
            if held.len() < most && read.is_ok() {
                read = load_for_tidy(&self.cache, keyspace.root, key, snapshot.lsn(), &mut held);
            }
        }
        drop((snapshot, in_use));
        // 3. Merge them. A leaf whose neighbours have left memory meanwhile is noted again.
        let merged = read.and_then(|()| {
            self.commit_built(CommitMode::Async, |state| {
                Ok((!state.sealed).then(|| trim_payload(keyspace.id)))
            })
        });
        if merged.is_err() {
            // Not retried for ever: a page may be damaged, the disk full. A later delete notes it again.
            self.commit.lock().trees.sparse.take(keyspace.id);
            self.background.sparse.store(false, Ordering::Relaxed);
        }
        Ok(merged?.is_some())
    }

    /// Merges small leaves in the foreground, for a while.
    pub(crate) fn merge_all_sparse(&self) {
        self.run_steps("merging leaves", || self.merge_sparse());
    }

    /// Takes dropped keyspaces apart in the foreground, for a while. A later life does the rest.
    pub(crate) fn trim_some_dropped(&self) {
        self.run_steps("taking a dropped keyspace apart", || self.trim_dropped());
    }

    /// Up to [`FOREGROUND_STEPS`] steps, until there is none left or one fails.
    fn run_steps(&self, what: &str, step: impl Fn() -> Result<bool>) {
        for _ in 0..FOREGROUND_STEPS {
            match step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    crate::engine::base::foreign::warning!(
                        "{}: {what}: {error}",
                        self.disk.path("")
                    );
                    break;
                }
            }
        }
    }

    /// Takes dropped keyspaces apart while more than [`MAX_DROPPED`] wait for it: a caller that drops
    /// faster than the thread can follow does part of its work, so that the data file does not grow.
    pub(crate) fn limit_dropped(&self) {
        while self.commit.lock().trees.catalog.doomed.len() > MAX_DROPPED
            && self.trim_dropped().unwrap_or(false)
        {}
    }

    /// One step of taking a dropped keyspace apart. False if there is none.
    pub(crate) fn trim_dropped(&self) -> Result<bool> {
        let Some(live) = self.live.get() else { return Ok(false) };
        if live.log.poisoned().is_some() {
            return Ok(false);
        }
        // One thread at a time: a plan is valid as long as no other step takes the tree apart.
        let _turn = self.background.trimming.lock();
        let in_use = self.background.snapshot_in_use.lock();
        let (keyspace, root, snapshot) = {
            let state = self.commit.lock();
            let Some((&keyspace, &root)) = state.trees.catalog.doomed.first_key_value() else {
                return Ok(false);
            };
            (keyspace, root, self.cache.snapshot())
        };
        let mut held = Vec::new();
        let plan = TrimPlan::new(&self.cache, root, snapshot.lsn(), TRIM_PAGES, &mut held)?;
        drop((snapshot, in_use));
        let mut plan = Some(plan);
        let committed = self.commit_built(CommitMode::Async, |state| {
            // The lock is held until this payload is applied, so it is the one that takes the plan.
            state.trees.plan = plan.take().or(state.trees.plan.take());
            Ok((!state.sealed).then(|| trim_payload(keyspace)))
        })?;
        Ok(committed.is_some())
    }
}

fn trim_payload(keyspace: KeyspaceId) -> Payload {
    let mut payload = Payload::default();
    payload.push(Op::Trim { keyspace });
    payload
}
