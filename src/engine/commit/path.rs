//! The commit path: the steps that every commit takes, in the order of their numbers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::combine::{CommitAnswer, CommitRequest};
use super::engine::{CommitState, Engine, LiveLog};
use super::group::{Prepared, Trees};
use super::keyspaces::KeyspaceState;
use super::missing::ReadRetries;
use super::ops::{CLASS_COMMIT, CommitNeeds, Payload};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::WriteGroup;
use crate::engine::mutants::mutant;
use crate::engine::options::CommitMode;
use crate::engine::tree::Aim;

/// How often a committer spins before it waits for the lock.
pub(super) const SPINS: usize = 200;

impl Engine {
    /// Commits `payload`, which changes `keyspaces`, and returns its LSN once it is visible (`Async`)
    /// or durable (`Sync`). The payload is empty afterwards.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Poisoned`], [`Error::Closed`], [`Error::NoSuchKeyspace`]: the
    /// commit left no trace. If [`Error::Poisoned`] gives its position in the log, recovery decides.
    pub(crate) fn commit(
        &self,
        payload: &mut Payload,
        keyspaces: &[Arc<KeyspaceState>],
        mode: CommitMode,
    ) -> Result<Lsn> {
        self.check_writable()?;
        let live = self.live()?;
        // 1. Outside any lock: every step that can be slow or can fail.
        self.throttle(live)?;
        self.estimate_needs(payload);
        let mut prepared = self.prepare_values(live, payload)?;
        self.touch_leaves(payload, keyspaces)?;
        payload.seal(mode);
        self.reserve_needs(live, payload)?;
        let mut retries = ReadRetries::default();
        let lsn = loop {
            // 2. Enter, or leave the request to the holder of the lock.
            let answer = match self.commit.try_lock() {
                Some(state) if state.sealed => break Err(Error::Closed),
                Some(mut state) => {
                    let answer =
                        self.serve_one(live, &mut state, payload, keyspaces, &mut prepared);
                    self.serve_queue(live, &mut state);
                    answer
                }
                None if prepared.is_empty() => self.follow(live, payload, keyspaces),
                None => {
                    let mut state = self.commit.lock();
                    if state.sealed {
                        break Err(Error::Closed);
                    }
                    self.serve_one(live, &mut state, payload, keyspaces, &mut prepared)
                }
            };
            match answer {
                CommitAnswer::Done(result) => break result,
                CommitAnswer::NeedsSpace => self.reserve_needs(live, payload)?,
                CommitAnswer::NeedsPages(missing) => {
                    self.read_missing(live, payload, &missing, &mut retries)?;
                    payload.reads_under_lock = retries.are_exhausted();
                }
            }
        };
        payload.clear();
        let lsn = lsn?;
        self.after_commit(live, lsn)?;
        // 6. What the caller asked to wait for.
        if mutant!(SyncAcknowledgedEarly: mode == CommitMode::Sync => false) {
            live.log.wait_durable(lsn, None).map_err(|error| error.after_append(lsn))?;
            assert!(live.log.durable() >= lsn, "COMMIT-4");
            self.background.moved();
        }
        Ok(lsn)
    }

    /// Commits operations that depend on the present state. `build` is called with the commit lock held,
    /// may refuse, and is called again if the commit had to leave the lock.
    pub(crate) fn commit_built(
        &self,
        mode: CommitMode,
        build: impl FnMut(&mut CommitState) -> Result<Option<Payload>>,
    ) -> Result<Option<Lsn>> {
        self.commit_built_then(mode, build, |_| ()).map(|(lsn, ())| lsn)
    }

    /// As [`Engine::commit_built`], and calls `then` under the same hold of the lock, even if `build`
    /// had nothing to commit.
    pub(crate) fn commit_built_then<T>(
        &self,
        mode: CommitMode,
        mut build: impl FnMut(&mut CommitState) -> Result<Option<Payload>>,
        then: impl FnOnce(&mut CommitState) -> T,
    ) -> Result<(Option<Lsn>, T)> {
        if self.is_read_only {
            self.check_writable()?;
        }
        let live = self.live()?;
        let mut retries = ReadRetries::default();
        let (lsn, mut state) = loop {
            let mut state = self.commit.lock();
            let Some(mut payload) = build(&mut state)? else { break (None, state) };
            self.estimate_needs(&mut payload);
            payload.seal(mode);
            payload.reads_under_lock = retries.are_exhausted();
            let answer = self.serve_one(live, &mut state, &payload, &[], &mut []);
            if let CommitAnswer::Done(lsn) = answer {
                break (Some(lsn?), state);
            }
            drop(state);
            match answer {
                CommitAnswer::NeedsPages(missing) => {
                    self.read_missing(live, &payload, &missing, &mut retries)?;
                }
                _ => self.reserve_needs(live, &payload)?,
            }
        };
        let made = then(&mut state);
        drop(state);
        if let Some(lsn) = lsn {
            self.background.moved();
            if mutant!(CreationAcknowledgedEarly: mode == CommitMode::Sync => false) {
                live.log.wait_durable(lsn, None).map_err(|error| error.after_append(lsn))?;
            }
        }
        Ok((lsn, made))
    }

    /// Leaves the request in the queue, and serves the queue itself if no holder does.
    fn follow(
        &self,
        live: &LiveLog,
        payload: &mut Payload,
        keyspaces: &[Arc<KeyspaceState>],
    ) -> CommitAnswer {
        let keyspaces = keyspaces.to_vec();
        let request = Arc::new(CommitRequest::new(std::mem::take(payload), keyspaces));
        self.queue.push(Arc::clone(&request));
        let mut spins = 0;
        while !request.is_done() {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                // The holder may have looked at the queue before the push.
                let mut state = self.commit.lock();
                self.serve_queue(live, &mut state);
                if !request.is_done() {
                    // The thread that took it from the queue panicked.
                    let poisoned = live.log.poisoned();
                    return CommitAnswer::Done(Err(
                        poisoned.expect("a panic amid a commit poisons")
                    ));
                }
            }
        }
        let mut work = request.work.lock();
        *payload = std::mem::take(&mut work.payload);
        work.answer.take().expect("a request that is done has its answer")
    }

    /// Serves a request as a group of its own.
    pub(super) fn serve_one(
        &self,
        live: &LiveLog,
        state: &mut CommitState,
        payload: &Payload,
        keyspaces: &[Arc<KeyspaceState>],
        prepared: &mut [Prepared<'_>],
    ) -> CommitAnswer {
        if let Err(error) = keyspaces.iter().try_for_each(|keyspace| keyspace.check()) {
            return CommitAnswer::Done(Err(error));
        }
        let missing = self.missing(&state.trees, payload);
        if !missing.is_empty() {
            return CommitAnswer::NeedsPages(missing);
        }
        if !self.try_promise(live, state, payload.log_bytes(), 0, payload.needs) {
            return CommitAnswer::NeedsSpace;
        }
        let answer = poison_on_panic(live, || {
            // Prefetches the leaf while the record is copied.
            let aim = match prepared {
                [] => state.trees.aim(&self.cache, payload),
                _ => None,
            };
            // 3. The LSN is where the record ends in the log.
            let Some(lsn) = append(live, state, payload) else { return CommitAnswer::NeedsSpace };
            live.log.publish(lsn);
            CommitAnswer::Done(
                self.apply_alone(live, state, payload, prepared, lsn, aim).map(|()| lsn),
            )
        });
        self.end_promise(payload.needs.pages);
        answer
    }

    /// Frees the rest of the promise of a commit or group that has been applied.
    #[inline]
    fn end_promise(&self, pages: u64) {
        self.cache.end_promise(pages);
        // With threads, others may hold blocks that they will give back.
        debug_assert!(self.options.background || self.cache.is_backed(), "CACHE-12");
    }

    /// 4. Applies a logged commit as a group of its own, at its LSN, and makes it visible (COMMIT-1,
    ///    COMMIT-2).
    #[inline]
    fn apply_alone(
        &self,
        live: &LiveLog,
        state: &mut CommitState,
        payload: &Payload,
        prepared: &mut [Prepared<'_>],
        lsn: Lsn,
        aim: Option<Aim<'_>>,
    ) -> Result<()> {
        let CommitState { writer, trees, .. } = state;
        let promised = payload.needs.pages;
        let (guard, aimed) = aim.map(Aim::split).unzip();
        let mut group = WriteGroup::begin_single(&self.cache, writer, lsn).under(guard);
        trees
            .apply(&mut group, &payload.bytes, payload.operations, prepared, aimed)
            .map_err(|error| self.give_up(live, error).after_append(lsn))?;
        // The needs of a housekeeping step are an estimate, not a bound.
        let is_kept = group.changed() <= promised || payload.trims > 0;
        debug_assert!(is_kept, "COMMIT-5: {} of {promised} pages", group.changed());
        trees.publish(group);
        self.note_sparse(trees);
        self.counts.add(payload);
        Ok(())
    }

    /// Serves everything in the queue as one group.
    pub(super) fn serve_queue(&self, live: &LiveLog, state: &mut CommitState) {
        let requests = self.queue.take();
        if !requests.is_empty() {
            poison_on_panic(live, || self.serve_group(live, state, requests));
        }
    }

    fn serve_group(
        &self,
        live: &LiveLog,
        state: &mut CommitState,
        requests: Vec<Arc<CommitRequest>>,
    ) {
        let mut group: Vec<(Arc<CommitRequest>, Lsn)> = Vec::with_capacity(requests.len());
        let mut promised = CommitNeeds::default();
        for request in requests {
            let work = request.work.lock();
            let checked = match state.sealed {
                true => Err(Error::Closed),
                false => work.keyspaces.iter().try_for_each(|keyspace| keyspace.check()),
            };
            let answer = match checked {
                Err(error) => CommitAnswer::Done(Err(error)),
                Ok(()) => match self.append_to_group(live, state, &work.payload, &mut promised) {
                    Err(answer) => answer,
                    Ok(lsn) => {
                        drop(work);
                        group.push((request, lsn));
                        continue;
                    }
                },
            };
            drop(work);
            request.answer(answer);
        }
        let Some(&(_, last)) = group.last() else { return self.end_promise(promised.pages) };
        live.log.publish(last);
        let CommitState { writer, trees, .. } = state;
        let mut pages = match group.len() {
            1 => WriteGroup::begin_single(&self.cache, writer, last),
            _ => WriteGroup::begin(&self.cache, writer, last),
        };
        let applied = group.iter().try_for_each(|(request, _)| {
            let work = request.work.lock();
            trees.apply(&mut pages, &work.payload.bytes, work.payload.operations, &mut [], None)
        });
        let failed = match applied {
            Ok(()) => {
                debug_assert!(pages.changed() <= promised.pages, "COMMIT-5: {}", pages.changed());
                trees.publish(pages);
                self.note_sparse(trees);
                None
            }
            Err(error) => Some(self.give_up(live, error)),
        };
        self.end_promise(promised.pages);
        for (request, lsn) in group {
            if failed.is_none() {
                self.counts.add(&request.work.lock().payload);
            }
            let failed = failed.clone().map(|error| error.after_append(lsn));
            request.answer(CommitAnswer::Done(failed.map_or(Ok(lsn), Err)));
        }
    }

    /// Appends a request's record if the whole group can still be promised its needs (COMMIT-5, COMMIT-6).
    fn append_to_group(
        &self,
        live: &LiveLog,
        state: &mut CommitState,
        payload: &Payload,
        promised: &mut CommitNeeds,
    ) -> Result<Lsn, CommitAnswer> {
        let missing = self.missing(&state.trees, payload);
        if !missing.is_empty() {
            return Err(CommitAnswer::NeedsPages(missing));
        }
        let more = promised.and(payload.needs);
        if !self.try_promise(live, state, payload.log_bytes(), promised.pages, more) {
            return Err(CommitAnswer::NeedsSpace);
        }
        *promised = more;
        append(live, state, payload).ok_or(CommitAnswer::NeedsSpace)
    }

    /// Serves the rest of the queue before the store is closed.
    pub(crate) fn drain(&self, live: &LiveLog, state: &mut CommitState) {
        self.serve_queue(live, state);
    }

    /// Tells housekeeping that leaves became small.
    #[inline]
    fn note_sparse(&self, trees: &Trees) {
        if !trees.sparse.is_empty() {
            self.background.sparse.store(true, Ordering::Relaxed);
        }
    }

    /// Poisons the store after a logged commit could not be applied (COMMIT-3). Recovery will apply it.
    fn give_up(&self, live: &LiveLog, error: Error) -> Error {
        crate::engine::base::foreign::error!(
            "{}: a commit in the log could not be applied; reopen the store to recover it: {error}",
            self.disk.path("")
        );
        live.log.poison(error.clone());
        live.log.poisoned().unwrap_or(error)
    }
}

/// Does `work`, and poisons the log if it panics: that leaves pages half changed and requests without an
/// answer. Nothing more is committed, waiting committers get the error, and recovery applies the log.
#[inline]
fn poison_on_panic<T>(live: &LiveLog, work: impl FnOnce() -> T) -> T {
    let guard = PoisonGuard(live);
    let done = work();
    std::mem::forget(guard);
    done
}

/// Poisons the log if it is dropped.
struct PoisonGuard<'a>(&'a LiveLog);

impl Drop for PoisonGuard<'_> {
    fn drop(&mut self) {
        self.0.log.poison(Error::Io {
            action: "commit".into(),
            file: "the commit path".into(),
            source: Arc::new(std::io::Error::other("a thread panicked in a commit")),
        });
    }
}

/// Copies a record into the log. `None` if no space is reserved for it.
fn append(live: &LiveLog, state: &mut CommitState, payload: &Payload) -> Option<Lsn> {
    let appender = state.appender.as_mut().expect("the log has begun");
    live.log.append(appender, CLASS_COMMIT, &payload.bytes, payload.crc)
}
