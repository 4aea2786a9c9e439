//! What a commit needs before its record is appended: log, blocks of the data file, frames.
//!
//! Nothing that fails for want of space comes after the append (COMMIT-5). What a commit can need at most
//! is reckoned from its operations; it is looked for outside of any lock, where the file can grow, pages
//! can be evicted and a checkpoint can be made; and it is looked at again under the commit lock
//! ([`Engine::is_ready`]), where nobody else can take it.
//!
//! How many pages operations change at most, in a tree of any height:
//!
//! | pages | because |
//! |---|---|
//! | leaves they belong into, and pages above that a split or merge of these changes | two for each operation, and no more than there are pages |
//! | leaves that are made | each of those may be full; one that has been split is three eighths full at least, or behind all others |
//! | a third of that, above | an inner page has three children at least after its split |
//! | 10 | the way up to the root, once, and a root that is pushed down |
//!
//! A disk that is full still takes what leads out of it. The last blocks and the last quarter of a segment
//! are kept for commits that only take away, and the very last for checkpoints. A commit that finds
//! no space has a checkpoint made, which frees the blocks of changed pages and the log below, and looks
//! once more.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::engine::{CommitState, Engine, Live};
use super::group::{Prepared, prepare};
use super::keyspaces::{KeyspaceState, Numbered};
use super::ops::{Needs, Op, Operations, Payload};
use crate::engine::base::error::{Error, Result};
use crate::engine::mutants::mutant;
use crate::engine::space::Claim;
use crate::engine::tree::{ReadAt, max_inline, touch};

/// What any group may change: the way up to the root.
const WAY_UP: u64 = 10;
/// And each operation of it: a leaf that is split, and the page above.
const EACH: u64 = 4;
/// Operations whose leaves are not compared with the pages that there are.
const FEW: u64 = 4;
/// What one step of housekeeping changes beside, about: it merges up to 32 leaves, mostly neighbours.
const TRIM: u64 = 24;
/// How often a commit that found no space has some made.
const RELIEFS: u32 = 4;
/// The same for one that only takes away: there is space for it, if others leave it some.
const RELIEFS_OF_DELETES: u32 = 64;
/// What a row takes in a leaf beside its key and its value.
const ROW_BYTES: usize = 16;

impl Needs {
    /// What a group needs that has these and `more`.
    pub(super) fn and(self, more: Needs) -> Needs {
        if self.pages == 0 {
            return more;
        }
        let pages = self.pages + more.pages.saturating_sub(WAY_UP).max(EACH);
        Needs { pages, claim: self.claim.min(more.claim) }
    }
}

impl Engine {
    /// Reckons what a commit needs, except for the long values that are written ahead.
    pub(super) fn weigh(&self, payload: &mut Payload) {
        let operations = payload.operations as u64;
        debug_assert!(payload.notes == 0 || payload.notes == payload.operations);
        let claim = match payload {
            Payload { additions: 1.., .. } => Claim::More,
            Payload { notes: 1.., .. } => Claim::Checkpoint,
            _ => Claim::Less,
        };
        let mut pages = WAY_UP + EACH;
        if claim == Claim::Checkpoint {
            // They replace what is as long.
            debug_assert!(payload.noted_in > 0, "COMMIT-5: somebody looked where they are");
            pages = operations.min(payload.noted_in as u64);
        } else if operations > 1 {
            let page_bytes = self.cache.page_bytes();
            let existing = match operations {
                ..=FEW => u64::MAX,
                _ => self.cache.next_page_id(),
            };
            let rows = row_bytes(payload, max_inline(page_bytes)) as u64 / page_bytes as u64;
            let made = operations.min(existing) + 8 * rows / 3 + 4;
            pages += existing.min(2 * operations) + made + made.div_ceil(3);
        } else if payload.trims > 0 {
            pages += TRIM.min(self.cache.next_page_id() / 16);
        }
        payload.needs = Needs { pages, claim };
    }

    /// Sees to it that what a commit needs is there. No lock is held.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::CacheExhausted`], [`Error::Poisoned`], or what kept pages from
    /// being written: nothing has changed.
    pub(super) fn make_ready(&self, live: &Live, payload: &Payload) -> Result<()> {
        self.relieved(live, payload.needs.claim, || self.try_make_ready(live, payload))
    }

    /// Does what may find no space; then makes some, and tries again. Others may take it first: so as
    /// often as there was some, a good many times.
    fn relieved<T>(
        &self,
        live: &Live,
        claim: Claim,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let reliefs = match claim {
            Claim::More => RELIEFS,
            Claim::Less => RELIEFS_OF_DELETES,
            Claim::Checkpoint => 0, // whose lock is held
        };
        for _ in 0..reliefs {
            // Before the attempt: what others free while it fails is for the next one.
            let before = self.counts.checkpoints.load(Ordering::Relaxed);
            match attempt() {
                Err(full @ Error::DiskFull { .. }) => {
                    let has_slid = self.relieve(live);
                    if !has_slid && self.counts.checkpoints.load(Ordering::Relaxed) == before {
                        return Err(full);
                    }
                }
                done => return done,
            }
        }
        attempt()
    }

    fn try_make_ready(&self, live: &Live, payload: &Payload) -> Result<()> {
        let Needs { pages, claim } = payload.needs;
        live.log.reserve(payload.bytes.len())?;
        let with_kept = payload.bytes.len() + kept_of_log(live, claim);
        if !live.log.has_space(with_kept) {
            live.log.reserve(with_kept)?;
        }
        self.cache.provide_blocks(pages, claim)?;
        mutant!(RoomNotMade: self.cache.make_room_for(payload.operations, pages)? => ());
        Ok(())
    }

    /// Makes a checkpoint where space has run out, if that can free any, and lets the log slide, and
    /// tells whether it did.
    fn relieve(&self, live: &Live) -> bool {
        // Without threads, who comes while a flush or a checkpoint is at the device was called by it.
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
            let _no_snapshot = self.background.looking.lock();
            told(self.checkpoint_if_useful().map(|()| false));
        });
        let _no_growth = self.space.hold_growth();
        told(live.log.punch_hole())
    }

    /// Whether `bytes` of the log can be appended and what is in them is then sure to be applied (COMMIT-5).
    /// If so, `needs` is promised to it, and to those before it in its group, which had been promised
    /// `already` so many pages, until [`Cache::end_promise`](crate::engine::cache::Cache::end_promise).
    #[inline]
    pub(super) fn is_ready(
        &self,
        live: &Live,
        state: &mut CommitState,
        bytes: usize,
        already: u64,
        needs: Needs,
    ) -> bool {
        let Needs { pages, claim } = needs;
        debug_assert!(pages > 0, "COMMIT-5: it was weighed");
        live.log.has_space(bytes + kept_of_log(live, claim))
            && self.cache.promise(&mut state.writer, already, pages, claim)
    }

    /// Writes the long values of a commit to pages of their own, and adds what that needs.
    pub(super) fn prepare_values(
        &self,
        live: &Live,
        payload: &mut Payload,
    ) -> Result<Vec<Prepared<'_>>> {
        if payload.longest_value <= max_inline(self.cache.page_bytes()) {
            return Ok(Vec::new());
        }
        let prepare = || prepare(&self.cache, &payload.bytes);
        let prepared = self.relieved(live, payload.needs.claim, prepare)?;
        let unwritten = prepared.iter().map(|(_, _, draft)| draft.unwritten() as u64);
        payload.needs.pages += unwritten.sum::<u64>();
        Ok(prepared)
    }

    /// Brings the leaves that a commit will change into memory, so that no page is read with the
    /// commit lock held. Does nothing while everything is in memory.
    ///
    /// A commit of more than a good part of the cache evicts its own, and reads them once more. By then
    /// the device has answered for each of them: one that cannot be read refuses the commit here.
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

    /// Looks for the leaf of each operation of `payload`, as long as `look` finds them. Returns whether it
    /// found all. While everything is in memory it looks for none.
    pub(super) fn each_leaf(
        &self,
        payload: &Payload,
        keyspaces: &[Arc<KeyspaceState>],
        mut look: impl FnMut(&KeyspaceState, &[u8]) -> Result<bool>,
    ) -> Result<bool> {
        if !self.cache.is_partial() {
            return Ok(true);
        }
        let keyspaces = Numbered::new(keyspaces);
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

/// Bytes of the log that a commit must leave: the last quarter is for those that take away, and a
/// little of that for checkpoints.
#[inline]
fn kept_of_log(live: &Live, claim: Claim) -> usize {
    match claim {
        Claim::More => live.log.delete_reserve(),
        Claim::Less => live.log.delete_reserve() / 8,
        Claim::Checkpoint => 0,
    }
}

/// Bytes that the rows of a payload take in leaves, at most.
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
