//! Reserving what a commit needs before its record is appended: log space, blocks and frames.
//!
//! No commit fails for want of space after the append (COMMIT-5). Three steps see to that:
//!
//! 1. [`Engine::estimate_needs`] computes an upper bound from the operations;
//! 2. [`Engine::reserve_needs`] provides it outside of any lock, where the file can grow, pages can be
//!    evicted and a checkpoint can be made;
//! 3. [`Engine::try_promise`] checks it again under the commit lock, where no other commit can take it.
//!
//! The most pages that operations change, in a tree of any height:
//!
//! | pages | because |
//! |---|---|
//! | their leaves, and the pages above that a split or merge of these changes | two per operation, and no more than there are pages |
//! | new leaves | each leaf may be full; after a split one is at least three eighths full, or behind all others |
//! | a third of that, above | an inner page has at least three children after its split |
//! | 10 | the path up to the root, once, and a root that is pushed down |
//!
//! A full disk still takes deletes and checkpoints, which free space. The last blocks and the last quarter
//! of a segment are reserved for commits that only delete, the very last for checkpoints. A commit that
//! finds no space has a checkpoint made, which frees the blocks of changed pages and the log below it, and
//! tries again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::engine::{CommitState, Engine, LiveLog};
use super::group::{Prepared, prepare};
use super::keyspaces::{KeyspaceState, KeyspacesById};
use super::ops::{CommitNeeds, Op, Operations, Payload};
use crate::engine::base::error::{Error, Result};
use crate::engine::mutants::mutant;
use crate::engine::space::Claim;
use crate::engine::tree::{ReadAt, max_inline, touch};

/// Pages that any group may change: the path up to the root.
const PATH_TO_ROOT: u64 = 10;
/// Pages that each operation may change besides: a leaf that is split, and the page above.
const PER_OPERATION: u64 = 4;
/// Up to so many operations the bound does not use the number of existing pages.
const FEW_OPERATIONS: u64 = 4;
/// About the pages that one step of housekeeping changes besides: it merges up to 32 leaves, mostly neighbours.
const HOUSEKEEPING_PAGES: u64 = 24;
/// How often a commit that found no space has some freed and tries again.
const SPACE_RETRIES: u32 = 4;
/// The same for a commit that only deletes: more often, since other commits may take its space first.
const SPACE_RETRIES_OF_DELETES: u32 = 64;
/// Bytes of a row in a leaf besides its key and value.
const ROW_BYTES: usize = 16;

impl CommitNeeds {
    /// The needs of a group that has these and `more`.
    pub(super) fn and(self, more: CommitNeeds) -> CommitNeeds {
        if self.pages == 0 {
            return more;
        }
        let pages = self.pages + more.pages.saturating_sub(PATH_TO_ROOT).max(PER_OPERATION);
        CommitNeeds { pages, claim: self.claim.min(more.claim) }
    }
}

impl Engine {
    /// Computes an upper bound of a commit's needs, without its long values.
    pub(super) fn estimate_needs(&self, payload: &mut Payload) {
        let operations = payload.operations as u64;
        debug_assert!(payload.notes == 0 || payload.notes == payload.operations);
        let claim = match payload {
            Payload { additions: 1.., .. } => Claim::More,
            Payload { notes: 1.., .. } => Claim::Checkpoint,
            _ => Claim::Less,
        };
        let mut pages = PATH_TO_ROOT + PER_OPERATION;
        if claim == Claim::Checkpoint {
            // A note replaces one of the same length: nothing splits.
            debug_assert!(payload.noted_in > 0, "COMMIT-5: the pages of the notes were counted");
            pages = operations.min(payload.noted_in as u64);
        } else if operations > 1 {
            let page_bytes = self.cache.page_bytes();
            let existing = match operations {
                ..=FEW_OPERATIONS => u64::MAX,
                _ => self.cache.next_page_id(),
            };
            let rows = row_bytes(payload, max_inline(page_bytes)) as u64 / page_bytes as u64;
            let made = operations.min(existing) + 8 * rows / 3 + 4;
            pages += existing.min(2 * operations) + made + made.div_ceil(3);
        } else if payload.trims > 0 {
            pages += HOUSEKEEPING_PAGES.min(self.cache.next_page_id() / 16);
        }
        payload.needs = CommitNeeds { pages, claim };
    }

    /// Provides log space, blocks and frames for a commit. No lock is held.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::CacheExhausted`], [`Error::Poisoned`], or the error that kept pages
    /// from being written: nothing has changed.
    pub(super) fn reserve_needs(&self, live: &LiveLog, payload: &Payload) -> Result<()> {
        self.retry_when_full(live, payload.needs.claim, || self.try_reserve_needs(live, payload))
    }

    /// Calls `attempt` until it finds space: after each [`Error::DiskFull`] it frees some and tries again,
    /// because other commits may take it first. It gives up when nothing more can be freed.
    fn retry_when_full<T>(
        &self,
        live: &LiveLog,
        claim: Claim,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let retries = match claim {
            Claim::More => SPACE_RETRIES,
            Claim::Less => SPACE_RETRIES_OF_DELETES,
            Claim::Checkpoint => 0, // the checkpoint's lock is held
        };
        for _ in 0..retries {
            // Read before the attempt: space that others free while it fails is for the next one.
            let before = self.counts.checkpoints.load(Ordering::Relaxed);
            match attempt() {
                Err(full @ Error::DiskFull { .. }) => {
                    let has_slid = self.free_space(live);
                    if !has_slid && self.counts.checkpoints.load(Ordering::Relaxed) == before {
                        return Err(full);
                    }
                }
                done => return done,
            }
        }
        attempt()
    }

    fn try_reserve_needs(&self, live: &LiveLog, payload: &Payload) -> Result<()> {
        let CommitNeeds { pages, claim } = payload.needs;
        live.log.reserve(payload.bytes.len())?;
        let with_kept = payload.log_bytes() + kept_of_log(live, claim);
        if !live.log.has_space(with_kept) {
            live.log.reserve(with_kept)?;
        }
        self.cache.provide_blocks(pages, claim)?;
        mutant!(RoomNotMade: self.cache.make_room_for(payload.operations, pages)? => ());
        Ok(())
    }

    /// Frees space: makes a checkpoint if that can free any, and lets the log reuse the front of its
    /// segment. Returns whether the log has more room now.
    fn free_space(&self, live: &LiveLog) -> bool {
        // Without threads, a call during a flush or a checkpoint comes from inside it.
        let is_within = live.log.is_flushing() || self.checkpointing.is_locked();
        if is_within && !self.options.background {
            return false;
        }
        let told = |freed: Result<bool>| {
            freed.unwrap_or_else(|error| {
                crate::engine::base::foreign::warning!(
                    "{}: making space: {error}",
                    self.disk.path("")
                );
                false
            })
        };
        self.stalled(|| {
            let _no_snapshot = self.background.snapshot_in_use.lock();
            told(self.checkpoint_if_useful().map(|()| false));
        });
        let _no_growth = self.space.hold_growth();
        told(live.log.punch_hole())
    }

    /// Promises `needs` to a group until [`Cache::end_promise`](crate::engine::cache::Cache::end_promise),
    /// if `bytes` can be appended and then surely be applied (COMMIT-5). `already` is how many pages the
    /// group had been promised before this commit joined it.
    #[inline]
    pub(super) fn try_promise(
        &self,
        live: &LiveLog,
        state: &mut CommitState,
        bytes: usize,
        already: u64,
        needs: CommitNeeds,
    ) -> bool {
        let CommitNeeds { pages, claim } = needs;
        debug_assert!(pages > 0, "COMMIT-5: its needs were estimated");
        live.log.has_space(bytes + kept_of_log(live, claim))
            && self.cache.promise(&mut state.writer, already, pages, claim)
    }

    /// Writes the long values of a commit to pages of their own, and adds those without a copy on disk
    /// to its needs.
    pub(super) fn prepare_values(
        &self,
        live: &LiveLog,
        payload: &mut Payload,
    ) -> Result<Vec<Prepared<'_>>> {
        if payload.longest_value <= max_inline(self.cache.page_bytes()) {
            return Ok(Vec::new());
        }
        let prepare = || prepare(&self.cache, &payload.bytes);
        let prepared = self.retry_when_full(live, payload.needs.claim, prepare)?;
        let unwritten = prepared.iter().map(|(_, _, draft)| draft.unwritten() as u64);
        payload.needs.pages += unwritten.sum::<u64>();
        Ok(prepared)
    }

    /// Brings the leaves that a commit will change into memory, so that no page is read with the
    /// commit lock held. Does nothing while all pages are in memory.
    ///
    /// A commit that is large for the cache evicts its own leaves and reads them again later. A page
    /// that cannot be read at all refuses the commit here.
    pub(super) fn touch_leaves(
        &self,
        payload: &Payload,
        keyspaces: &[Arc<KeyspaceState>],
    ) -> Result<()> {
        let touched = self.each_leaf(payload, keyspaces, |state, key| {
            touch(&self.cache, state.root, key, ReadAt::Newest).map(|_| true)
        });
        touched.map(drop)
    }

    /// Calls `look` for each put and delete of `payload` until it returns false. Returns whether it never
    /// did. While all pages are in memory it makes no call.
    pub(super) fn each_leaf(
        &self,
        payload: &Payload,
        keyspaces: &[Arc<KeyspaceState>],
        mut look: impl FnMut(&KeyspaceState, &[u8]) -> Result<bool>,
    ) -> Result<bool> {
        if !self.cache.is_partial() {
            return Ok(true);
        }
        let keyspaces = KeyspacesById::new(keyspaces);
        for op in Operations::new(&payload.bytes) {
            let (Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key }) = op? else {
                continue;
            };
            let Some(state) = keyspaces.find(keyspace) else { continue };
            state.check()?;
            if !look(state, key)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Bytes of the log that a commit must leave: the last quarter is reserved for deletes, and a part of
/// that for checkpoints.
#[inline]
fn kept_of_log(live: &LiveLog, claim: Claim) -> usize {
    match claim {
        Claim::More => live.log.delete_reserve(),
        Claim::Less => live.log.delete_reserve() / 8,
        Claim::Checkpoint => 0,
    }
}

/// The most bytes that the rows of a payload take in leaves.
fn row_bytes(payload: &Payload, max_inline: usize) -> usize {
    let beside = ROW_BYTES * payload.operations;
    if payload.longest_value <= max_inline {
        return payload.bytes.len() + beside;
    }
    let rows = Operations::new(&payload.bytes).map_while(|op| match op.ok()? {
        Op::Put { key, value, .. } if value.len() > max_inline => Some(key.len() + ROW_BYTES),
        Op::Put { key, value, .. } => Some(key.len() + value.len()),
        _ => Some(ROW_BYTES),
    });
    rows.sum::<usize>() + beside
}
