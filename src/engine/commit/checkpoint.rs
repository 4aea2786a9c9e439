//! The checkpoint: a snapshot that writes itself to the data file.
//!
//! 1. pin: with the commit lock held, commit the key counts that changed, take C = `visible`,
//!    register a snapshot at C, take the list of pages that changed since the last checkpoint;
//! 2. make the log durable up to C (CHECKPOINT-1);
//! 3. write every page version visible at C that is not on disk, sorted, in batches, flushing now
//!    and then so that no flush at the end is long;
//! 4. build the changed leaves of the page map;
//! 5. write maps and superblock, copy-on-write (see [`crate::engine::space`]);
//! 6. hand the extents over to the checkpoint, in steps under the commit lock;
//! 7. move the watermark, recycle the log below C, end the snapshot, remove freed pages.
//!
//! Commits run on meanwhile, except during 1 and each step of 6.
//!
//! - CHECKPOINT-1 `checkpoint <= durable`: a checkpoint has no commit that the log could still lose;
//! - CHECKPOINT-2 a checkpoint that fails before 5 has changed nothing: it is tried again later. It can be
//!   cancelled until the end of 3;
//! - CHECKPOINT-3 a checkpoint has no part of a commit that was applied halfway: none is begun once the log
//!   is poisoned.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Incarnation, Life, LifeMark, Lsn};
use crate::engine::base::progress::OperationProgress;
use crate::engine::cache::{Changes, OtherWriter};
use crate::engine::commit::{CommitState, Engine, KeyspaceState, LiveLog, Op, Payload};
use crate::engine::mutants::mutant;
use crate::engine::options::CommitMode;
use crate::engine::space::{self, Head, PageId};

/// The data file is flushed after this many bytes, so that a log flush never queues behind more.
const FLUSH_EVERY: u64 = 32 << 20;
/// The most key counts that are committed at a time; fewer if the cache could not keep the pages that they
/// are in (COMMIT-6).
const COUNT_BATCH: usize = 512;
/// Extra batches of counts, since more counts change meanwhile.
const MORE_STEPS: usize = 8;
/// Pages that change owner in one hold of the commit lock.
const ADOPT_BATCH: usize = 1024;

/// The state that the checkpoint's lock guards.
#[derive(Debug, Default)]
pub(crate) struct CheckpointState {
    /// Freed pages that snapshots may still read.
    unreaped: Vec<(PageId, Lsn)>,
}

/// What the last checkpoint did.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CheckpointStats {
    /// How long it took.
    pub duration: Duration,
    /// Pages that it wrote, or that eviction had written before.
    pub pages: u64,
    /// Bytes written to the data file meanwhile, including evictions and long values.
    pub bytes: u64,
    /// Every commit up to here is in the data file.
    pub lsn: Lsn,
}

/// Why a checkpoint is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The store goes on.
    Running,
    /// The store is being closed: no commit comes after.
    Closing,
    /// Recovery has replayed the log of a former life; the present life has just begun.
    Recovery(FormerLife),
}

/// The last incarnation that committed anything, and where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FormerLife {
    pub(crate) incarnation: Incarnation,
    pub(crate) mark: LifeMark,
    pub(crate) end: Lsn,
}

/// The result of step 1.
struct PinnedCheckpoint {
    at: Lsn,
    changes: Changes,
    head: Head,
}

impl Engine {
    /// Makes a checkpoint, and returns its LSN: every commit up to there is in the data file.
    pub(crate) fn checkpoint(&self) -> Result<Lsn> {
        self.checkpoint_for(Purpose::Running)
    }

    /// As [`Engine::checkpoint`], with progress; `None` if it was cancelled before step 4.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn checkpoint_on(&self, progress: &OperationProgress) -> Result<Option<Lsn>> {
        match self.checkpoint_through(Purpose::Running, progress) {
            // Step 3 stops with this error. A store that was closed meanwhile gives the same result.
            Err(Error::Closed) if progress.is_cancelled() => Ok(None),
            done => done.map(Some),
        }
    }

    /// Makes a checkpoint. If nothing has changed since the last one, the log frees its spare segments
    /// instead.
    pub(crate) fn checkpoint_if_changed(&self) -> Result<()> {
        let unchanged = self.live.get().is_none()
            || self.commit.lock().writer.is_unchanged()
            || self.checkpointed.load() >= self.cache.visible();
        match self.live.get() {
            Some(live) if unchanged => live.log.remove_spares(),
            _ if unchanged => Ok(()),
            _ => self.checkpoint().map(drop),
        }
    }

    /// Makes a checkpoint if it can free space. Waits for a running one.
    pub(crate) fn checkpoint_if_useful(&self) -> Result<()> {
        let is_unchanged = self.live.get().is_none() || self.commit.lock().writer.is_unchanged();
        if is_unchanged && self.checkpointing.lock().unreaped.is_empty() {
            return Ok(());
        }
        self.checkpoint().map(drop)
    }

    pub(crate) fn checkpoint_for(&self, purpose: Purpose) -> Result<Lsn> {
        self.checkpoint_through(purpose, &OperationProgress::default())
    }

    fn checkpoint_through(&self, purpose: Purpose, progress: &OperationProgress) -> Result<Lsn> {
        let Some(live) = self.live.get() else {
            return Ok(self.checkpointed.load());
        };
        let mut state = self.checkpointing.lock();
        let begun = Instant::now();
        let written = self.space.stats().bytes_written;
        let mut pinned = self.pin_checkpoint(live, purpose)?;
        let result = self.write_checkpoint(live, &mut pinned, progress);
        // The snapshot at C ends in any case.
        self.cache.unregister(pinned.at);
        let pages = match result {
            Ok(pages) => pages,
            Err(error) => {
                mutant!(ChangesLostOnFailure:
                    self.commit.lock().writer.restore_changes(pinned.changes) => ());
                self.pass_poison_on(&error);
                return Err(error);
            }
        };
        // 7
        self.checkpointed.advance(pinned.at);
        self.counts.checkpoints.fetch_add(1, Ordering::Relaxed);
        state.unreaped.extend(pinned.changes.freed);
        self.reap(&mut state);
        let done = CheckpointStats {
            duration: begun.elapsed(),
            pages,
            bytes: self.space.stats().bytes_written - written,
            lsn: pinned.at,
        };
        self.counts.checkpoint_durations.add(done.duration);
        *self.last_checkpoint.lock() = Some(done);
        self.background.moved();
        // Space that a log with a hole frees is for the log, not for the data file.
        let _no_growth = live.log.has_hole().then(|| self.space.hold_growth());
        if let Err(error) = live.log.recycle_below(pinned.at) {
            crate::engine::base::foreign::warning!(
                "{}: removing old log segments: {error}",
                self.disk.path("")
            );
        }
        Ok(pinned.at)
    }

    /// Makes the checkpoint of a recovery that found no space for a log. The replayed commits go to the
    /// data file, and the store is then as one that was closed: the incarnation in `head` ends at
    /// `visible`. CHECKPOINT-1 holds, because the log is needed no more.
    pub(crate) fn checkpoint_without_log(&self, head: Head) -> Result<()> {
        let mut state = self.checkpointing.lock();
        let mut pinned = {
            let mut state = self.commit.lock();
            let CommitState { writer, trees, .. } = &mut *state;
            let at = self.cache.snapshot().into_lsn();
            let head = Head {
                checkpoint: at,
                durable: at,
                next_page_id: PageId(self.cache.next_page_id()),
                catalog_root: trees.catalog_root,
                next_keyspace: trees.next_keyspace,
                clean: true,
                ..head
            };
            PinnedCheckpoint { at, changes: writer.take_changes(at), head }
        };
        let written = self.write_pages(&mut pinned, &OperationProgress::default());
        self.cache.unregister(pinned.at);
        written?;
        self.checkpointed.advance(pinned.at);
        state.unreaped.extend(pinned.changes.freed);
        self.reap(&mut state);
        Ok(())
    }

    /// What the last checkpoint did, if there was one since the store was opened.
    pub(crate) fn last_checkpoint(&self) -> Option<CheckpointStats> {
        *self.last_checkpoint.lock()
    }

    /// Step 1. Counts that changed go into the catalog by an ordinary commit. No other commit may come
    /// between that and the pin: its keys would be in the pages but not in the counts.
    fn pin_checkpoint(&self, live: &LiveLog, purpose: Purpose) -> Result<PinnedCheckpoint> {
        // Many counts are committed in batches first: no other commit waits for all of them.
        let batch = self.kept_operations().clamp(1, COUNT_BATCH);
        let changed = || self.commit.lock().trees.changed_count();
        for _ in 0..changed() / batch + MORE_STEPS {
            if changed() <= batch {
                break;
            }
            self.note_counts_then(live, batch, |_| ())?;
        }
        self.note_counts_then(live, usize::MAX, |state| self.pin(live, purpose, state))
    }

    /// Commits up to `most` counts that changed, and calls `then` before any other commit can come.
    fn note_counts_then<T>(
        &self,
        live: &LiveLog,
        most: usize,
        then: impl FnOnce(&mut CommitState) -> T,
    ) -> Result<T> {
        let mut counts: Vec<Arc<KeyspaceState>> = Vec::new();
        let noted = self.commit_built_then(
            CommitMode::Async,
            |state| {
                // A commit that was applied halfway may be among the changed pages (CHECKPOINT-3).
                live.log.check_poison()?;
                // This is called again if the log needs space: more counts may have changed meanwhile.
                counts.append(&mut state.trees.changed_counts(most.saturating_sub(counts.len())));
                counts.sort_unstable_by_key(|keyspace| keyspace.id);
                counts.dedup_by_key(|keyspace| keyspace.id);
                let mut payload = Payload::default();
                for keyspace in counts.iter().filter(|keyspace| !keyspace.is_dropped()) {
                    let count = keyspace.count.latest();
                    payload.push(Op::Count { keyspace: keyspace.id, count });
                }
                payload.noted_in = state.trees.leaves_of_notes(&self.cache, &payload);
                let is_noted = mutant!(CountsUnnoted: payload.operations > 0 => false);
                Ok(is_noted.then_some(payload))
            },
            then,
        );
        if noted.is_err() {
            self.commit.lock().trees.restore_counts(&counts);
        }
        noted.map(|(_, then)| then)
    }

    /// The second part of step 1.
    fn pin(&self, live: &LiveLog, purpose: Purpose, state: &mut CommitState) -> PinnedCheckpoint {
        let CommitState { writer, trees, .. } = state;
        let at = self.cache.snapshot().into_lsn();
        let changes = writer.take_changes(at);
        let former = self.space.superblock().head;
        let ended = match purpose {
            Purpose::Recovery(ended) => ended,
            Purpose::Running | Purpose::Closing => FormerLife {
                incarnation: former.former,
                mark: former.former_mark,
                end: former.former_end,
            },
        };
        let Life { incarnation, mark, secret, .. } = live.log.life();
        let head = Head {
            checkpoint: at,
            durable: at,
            incarnation,
            mark,
            secret,
            log_start: live.log.start(),
            former: ended.incarnation,
            former_mark: ended.mark,
            former_end: ended.end,
            newest_segment: live.log.first_segment(),
            next_page_id: mutant!(
                NextPageIdStale: PageId(self.cache.next_page_id()) => former.next_page_id
            ),
            catalog_root: mutant!(CatalogRootStale: trees.catalog_root => former.catalog_root),
            next_keyspace: mutant!(
                KeyspaceNumberStale: trees.next_keyspace => former.next_keyspace
            ),
            clean: mutant!(CleanWhileRunning: purpose == Purpose::Closing => true),
        };
        PinnedCheckpoint { at, changes, head }
    }

    /// Steps 2 to 6. Returns how many pages are new in this checkpoint.
    fn write_checkpoint(
        &self,
        live: &LiveLog,
        pinned: &mut PinnedCheckpoint,
        progress: &OperationProgress,
    ) -> Result<u64> {
        // 2
        mutant!(CheckpointAheadOfLog: live.log.wait_quietly(pinned.at, None)? => true);
        assert!(
            mutant!(CheckpointAheadOfLog: pinned.at <= live.log.durable() => true),
            "CHECKPOINT-1"
        );
        pinned.head.durable = pinned.at.max(live.log.durable());
        mutant!(LogRecycledEarly => live.log.recycle_below(pinned.at)?);
        self.write_pages(pinned, progress)
    }

    /// Steps 3 to 6.
    fn write_pages(
        &self,
        pinned: &mut PinnedCheckpoint,
        progress: &OperationProgress,
    ) -> Result<u64> {
        // 3
        let Changes { written, freed } = &mut pinned.changes;
        let is_freed: std::collections::HashSet<PageId> = freed.iter().map(|(id, _)| *id).collect();
        written.sort_unstable();
        written.dedup();
        let ids: Vec<PageId> =
            written.iter().copied().filter(|id| !is_freed.contains(id)).collect();
        progress.expect(ids.len() as u64);
        let mut flushed = 0;
        let page_bytes = self.cache.page_bytes() as u64;
        let settle = || drop(self.commit.lock());
        let mut placed = self.cache.place(&ids, pinned.at, &settle, &mut |done| {
            progress.advance(done as u64 - progress.done());
            if progress.is_cancelled() {
                return Err(Error::Closed);
            }
            if (done as u64 - flushed) * page_bytes >= FLUSH_EVERY {
                flushed = done as u64;
                self.space.sync()?;
            }
            Ok(())
        })?;
        let pages = placed.len() as u64;
        if let Some(live) = self.live.get() {
            // The superblock proves the sync line too, which has moved meanwhile.
            pinned.head.durable = pinned.at.max(live.log.durable());
        }
        mutant!(CheckpointLsnLate => pinned.head.checkpoint = pinned.head.durable);
        let result = self.finish_checkpoint(pinned, &mut placed);
        if result.is_err() {
            self.cache.unplace(&placed);
        }
        result.map(|()| pages)
    }

    /// Steps 4 to 6.
    fn finish_checkpoint(
        &self,
        pinned: &PinnedCheckpoint,
        placed: &mut Vec<crate::engine::cache::Placed>,
    ) -> Result<()> {
        // 4
        let freed: Vec<PageId> = pinned.changes.freed.iter().map(|(id, _)| *id).collect();
        let (released, kept, taken) = self.cache.hand_over(placed, &freed)?;
        let leaves = self.cache.map_leaves(placed)?;
        // 5
        let changes =
            space::Changes { leaves: &leaves, released: &released, kept: &kept, taken: &taken };
        self.cache.write_alone_if_full(OtherWriter::Eviction, || {
            self.space.checkpoint(changes, pinned.head)
        })?;
        // 6
        for batch in placed.chunks(ADOPT_BATCH) {
            let _no_commits = self.commit.lock();
            self.cache.adopt_placed(batch, pinned.at);
        }
        Ok(())
    }

    /// Removes freed pages that no snapshot can reach any more. The next checkpoint tries again with
    /// the rest.
    fn reap(&self, state: &mut CheckpointState) {
        let mut failed = None;
        state.unreaped.retain(|&(id, lsn)| {
            let is_needed =
                mutant!(ReapedUnderSnapshot: self.cache.has_snapshot_below(lsn) => false);
            if is_needed || failed.is_some() {
                return true;
            }
            failed = self.cache.remove(id).err();
            failed.is_some()
        });
        if let Some(error) = failed {
            crate::engine::base::foreign::warning!(
                "{}: removing freed pages: {error}",
                self.disk.path("")
            );
        }
    }

    /// Keeps checkpoints from running while the guard is held. Also returns the pages that were freed
    /// and are not removed yet.
    pub(crate) fn hold_checkpoints(&self) -> (MutexGuard<'_, CheckpointState>, Vec<PageId>) {
        let state = self.checkpointing.lock();
        let unreaped = state.unreaped.iter().map(|(id, _)| *id).collect();
        (state, unreaped)
    }

    /// Closes the store: refuses further commits, makes all commits durable, writes a last
    /// checkpoint, and stops the threads. The first call does it; others wait for its result.
    pub(crate) fn close(&self) -> Result<()> {
        self.process.check()?;
        self.closed.store(true, Ordering::SeqCst);
        let result = {
            let mut outcome = self.outcome.lock();
            match &*outcome {
                Some(result) => result.clone(),
                None => outcome.insert(self.close_once()).clone(),
            }
        };
        // Wakers are called with no lock held. The flusher may have left some.
        if let Some(live) = self.live.get() {
            live.log.deliver();
        }
        result
    }

    fn close_once(&self) -> Result<()> {
        self.background.stop();
        if self.is_read_only {
            self.commit.lock().sealed = true;
            self.end_log_threads();
            self.background.moved();
            *self.lock.lock() = None;
            return Ok(());
        }
        self.merge_all_sparse();
        self.trim_some_dropped();
        // Commits that had the lock when the store was closed have ended once it is taken here.
        {
            let mut state = self.commit.lock();
            if let Some(live) = self.live.get() {
                self.drain(live, &mut state);
            }
            state.sealed = true;
        }
        let result = match self.live.get() {
            Some(live) => self.close_log(live),
            // The first write may have failed to begin the log.
            None => self.space.check_poison(),
        };
        // Only now may another process open the directory.
        *self.lock.lock() = None;
        result
    }

    /// If `error` says that the data file is poisoned, poisons the log too: no checkpoint could ever have
    /// a later commit.
    pub(crate) fn pass_poison_on(&self, error: &Error) {
        mutant!(DataPoisonUntold => return);
        if let (Error::Poisoned { .. }, Some(live)) = (error, self.live.get()) {
            live.log.poison(error.clone());
        }
    }

    fn close_log(&self, live: &LiveLog) -> Result<()> {
        let result = match live.log.poisoned() {
            Some(error) => Err(error),
            None => self.checkpoint_for(Purpose::Closing).map(|_| ()),
        };
        self.end_log_threads();
        self.background.moved();
        // The store is closed in any case: files that cannot be removed stay.
        if result.is_ok()
            && let Err(error) = self.retire_log(live)
        {
            crate::engine::base::foreign::warning!(
                "{}: files of the closed log could not be removed, which does no harm: {error}",
                self.disk.path("")
            );
        }
        result
    }

    /// Removes the log of the closed store, once no superblock needs it.
    fn retire_log(&self, live: &LiveLog) -> Result<()> {
        self.space.sync()?; // the superblock's other slot
        let appender = self.commit.lock().appender.take();
        live.log.retire(appender)
    }
}
