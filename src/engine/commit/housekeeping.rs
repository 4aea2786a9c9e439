//! Housekeeping of the trees: merging leaves that became small, taking dropped keyspaces apart.
//!
//! Both are done in small steps, each a commit of its own. A step first reads what it needs outside
//! of any lock, and keeps it in memory; with the commit lock held it reads nothing.
//!
//! Invariant:
//!
//! - HOUSEKEEPING-1 a step holds the commit lock for work in memory alone, on a bounded number of pages.
//!
//! Which leaves were noted is not in the log. A replay notes and merges what it meets itself, and a
//! step that is replayed does as much as is in memory then: the keys are the same either way.

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

/// Leaves that one step merges at most.
const STEP: usize = 32;
/// Leaves that are noted at most: those beyond it are noted again when more of their keys go.
const MOST: usize = 1 << 16;
/// Steps made at a time before a checkpoint of a store that has no threads, or that is being closed.
const STEPS: usize = 64;
/// Dropped keyspaces that may wait to be taken apart: who drops more takes others apart first.
const MOST_DROPPED: usize = 8;

/// Leaves that became small while their neighbours were not in memory, by keyspace and key.
#[derive(Debug, Default)]
pub(crate) struct Sparse {
    keys: BTreeMap<KeyspaceId, VecDeque<Vec<u8>>>,
    len: usize,
}

impl Sparse {
    #[inline]
    pub(super) fn add(&mut self, keyspace: KeyspaceId, keys: Vec<Vec<u8>>) {
        if !keys.is_empty() && self.len < MOST {
            self.len += keys.len();
            self.keys.entry(keyspace).or_default().extend(keys);
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes out some of a keyspace's.
    pub(super) fn take(&mut self, keyspace: KeyspaceId) -> Vec<Vec<u8>> {
        let Some(keys) = self.keys.get_mut(&keyspace) else { return Vec::new() };
        let taken: Vec<_> = keys.drain(..keys.len().min(STEP)).collect();
        if keys.is_empty() {
            self.keys.remove(&keyspace);
        }
        self.len -= taken.len();
        taken
    }

    /// What the next step is about, if there is anything: some of one keyspace's.
    fn next(&mut self, catalog: &Catalog) -> Option<(Arc<KeyspaceState>, Vec<Vec<u8>>)> {
        while let Some((&id, keys)) = self.keys.first_key_value() {
            if let Some(keyspace) = catalog.numbered(id) {
                return Some((Arc::clone(keyspace), keys.iter().take(STEP).cloned().collect()));
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
        let looking = self.background.looking.lock();
        // 1. What there is to do. The snapshot is taken with the lock held: the keyspace is there.
        let (keyspace, keys, snapshot) = {
            let mut state = self.commit.lock();
            let trees = &mut state.trees;
            let Some((keyspace, keys)) = trees.sparse.next(&trees.catalog) else {
                self.background.sparse.store(false, Ordering::Relaxed);
                return Ok(false);
            };
            (keyspace, keys, self.cache.snapshot())
        };
        // 2. Into memory, outside of the lock.
        let (mut held, mut read) = (Vec::new(), Ok(()));
        for key in &keys {
            let most = self.cache.frames() as usize / 8;
            if held.len() < most && read.is_ok() {
                read = load_for_tidy(&self.cache, keyspace.root, key, snapshot.lsn(), &mut held);
            }
        }
        drop((snapshot, looking));
        // 3. Merged, and noted anew if something has gone from memory meanwhile.
        let merged = read.and_then(|()| {
            self.commit_built(CommitMode::Async, |state| {
                Ok((!state.sealed).then(|| trim_payload(keyspace.id)))
            })
        });
        if merged.is_err() {
            // Not tried for ever: a page may be damaged, the disk full. The next commit asks again.
            self.commit.lock().trees.sparse.take(keyspace.id);
            self.background.sparse.store(false, Ordering::Relaxed);
        }
        Ok(merged?.is_some())
    }

    /// Merges what became small, in the foreground.
    pub(crate) fn merge_all_sparse(&self) {
        self.some_steps("merging leaves", || self.merge_sparse());
    }

    /// Takes dropped keyspaces apart in the foreground, for a while: what is left a later life does.
    pub(crate) fn trim_some_dropped(&self) {
        self.some_steps("taking a dropped keyspace apart", || self.trim_dropped());
    }

    /// Up to [`STEPS`] steps, until there is none left or one fails.
    fn some_steps(&self, what: &str, step: impl Fn() -> Result<bool>) {
        for _ in 0..STEPS {
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

    /// Takes dropped keyspaces apart while there are too many of them: whoever drops faster than the
    /// thread can follow does its work, so that the data file does not grow by what is dead.
    pub(crate) fn keep_few_dropped(&self) {
        while self.commit.lock().trees.catalog.doomed.len() > MOST_DROPPED
            && self.trim_dropped().unwrap_or(false)
        {}
    }

    /// One step of taking a dropped keyspace apart. False if there is none.
    pub(crate) fn trim_dropped(&self) -> Result<bool> {
        let Some(live) = self.live.get() else { return Ok(false) };
        if live.log.poisoned().is_some() {
            return Ok(false);
        }
        // One at a time: a plan is right as long as nobody else takes the tree apart.
        let _turn = self.background.trimming.lock();
        let looking = self.background.looking.lock();
        let (keyspace, root, snapshot) = {
            let state = self.commit.lock();
            let Some((&keyspace, &root)) = state.trees.catalog.doomed.first_key_value() else {
                return Ok(false);
            };
            (keyspace, root, self.cache.snapshot())
        };
        let mut held = Vec::new();
        let plan = TrimPlan::new(&self.cache, root, snapshot.lsn(), TRIM_PAGES, &mut held)?;
        drop((snapshot, looking));
        let mut plan = Some(plan);
        let committed = self.commit_built(CommitMode::Async, |state| {
            // What is applied next, with the lock held all the while.
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
