//! The commit path.

use std::sync::Arc;
use std::sync::atomic::Ordering;

#[cfg(feature = "server")]
use super::at_once::Single;
use super::combine::{Answer, Request};
use super::engine::{CommitState, Engine, Live};
use super::group::{Prepared, Trees};
use super::keyspaces::KeyspaceState;
use super::missing::Rounds;
use super::ops::{CLASS_COMMIT, Needs, Payload};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::WriteGroup;
use crate::engine::mutants::mutant;
use crate::engine::options::CommitMode;
use crate::engine::tree::Aim;

/// How often a follower looks for its answer before it waits for the lock.
pub(super) const SPINS: usize = 200;

impl Engine {
    /// Commits `payload`, which changes `keyspaces`, and returns its LSN: at once when it is
    /// visible (`Async`), or when it is durable (`Sync`). The payload is empty afterwards.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Poisoned`], [`Error::Closed`], [`Error::NoSuchKeyspace`]: the
    /// commit left no trace, unless [`Error::Poisoned`] says where it is in the log: recovery will
    /// tell.
    pub(crate) fn commit(
        &self,
        payload: &mut Payload,
        keyspaces: &[Arc<KeyspaceState>],
        mode: CommitMode,
    ) -> Result<Lsn> {
        self.check_writable()?;
        let live = self.live()?;
        // 1. Outside any lock: everything that can be slow or can fail.
        self.throttle(live)?;
        self.weigh(payload);
        let mut prepared = self.prepare_values(live, payload)?;
        self.touch_leaves(payload, keyspaces)?;
        payload.seal(mode);
        self.make_ready(live, payload)?;
        let mut rounds = Rounds::default();
        let lsn = loop {
            // 2. Enter, or leave the request to whoever is inside.
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
                Answer::Done(result) => break result,
                Answer::Reserve => self.make_ready(live, payload)?,
                Answer::Read(missing) => {
                    self.read_missing(live, payload, &missing, &mut rounds)?;
                    payload.reads_within = rounds.are_over();
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

    /// Commits operations that depend on what is there: `build` is called with the commit lock
    /// held, and may refuse. Always waits until it is durable if `mode` says so.
    pub(crate) fn commit_built(
        &self,
        mode: CommitMode,
        build: impl FnMut(&mut CommitState) -> Result<Option<Payload>>,
    ) -> Result<Option<Lsn>> {
        self.commit_built_then(mode, build, |_| ()).map(|(lsn, ())| lsn)
    }

    /// As [`Engine::commit_built`], and calls `then` before any other commit can come, whether
    /// there was something to commit or not.
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
        let mut rounds = Rounds::default();
        let (lsn, mut state) = loop {
            let mut state = self.commit.lock();
            let Some(mut payload) = build(&mut state)? else { break (None, state) };
            self.weigh(&mut payload);
            payload.seal(mode);
            payload.reads_within = rounds.are_over();
            let answer = self.serve_one(live, &mut state, &payload, &[], &mut []);
            if let Answer::Done(lsn) = answer {
                break (Some(lsn?), state);
            }
            drop(state);
            match answer {
                Answer::Read(missing) => {
                    self.read_missing(live, &payload, &missing, &mut rounds)?;
                }
                _ => self.make_ready(live, &payload)?,
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

    /// Leaves the request in the queue, and serves the queue itself if nobody does.
    fn follow(
        &self,
        live: &Live,
        payload: &mut Payload,
        keyspaces: &[Arc<KeyspaceState>],
    ) -> Answer {
        let keyspaces = keyspaces.to_vec();
        let request = Arc::new(Request::new(std::mem::take(payload), keyspaces));
        self.queue.push(Arc::clone(&request));
        let mut spins = 0;
        while !request.is_done() {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                // Whoever has the lock may be past looking at the queue: so serve it.
                let mut state = self.commit.lock();
                self.serve_queue(live, &mut state);
                if !request.is_done() {
                    // Whoever took it from the queue panicked.
                    let poisoned = live.log.poisoned();
                    return Answer::Done(Err(poisoned.expect("a panic amid a commit poisons")));
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
        live: &Live,
        state: &mut CommitState,
        payload: &Payload,
        keyspaces: &[Arc<KeyspaceState>],
        prepared: &mut [Prepared<'_>],
    ) -> Answer {
        if let Err(error) = keyspaces.iter().try_for_each(|keyspace| keyspace.check()) {
            return Answer::Done(Err(error));
        }
        let missing = self.missing(&state.trees, payload);
        if !missing.is_empty() {
            return Answer::Read(missing);
        }
        if !self.is_ready(live, state, payload.bytes.len(), 0, payload.needs) {
            return Answer::Reserve;
        }
        let answer = whole(live, || {
            // While the record is copied, the leaf is on its way from memory.
            let aim = match prepared {
                [] => state.trees.aim(&self.cache, payload),
                _ => None,
            };
            // 3. The LSN is where the record ends in the log.
            let Some(lsn) = append(live, state, payload) else { return Answer::Reserve };
            live.log.publish(lsn);
            Answer::Done(self.apply_alone(live, state, payload, prepared, lsn, aim).map(|()| lsn))
        });
        self.end_promise(payload.needs.pages);
        answer
    }

    /// A commit, or a group of them, has been applied: what was left of the promise is free.
    #[inline]
    fn end_promise(&self, pages: u64) {
        self.cache.end_promise(pages);
        // With threads others may have blocks at the moment that they will give back.
        debug_assert!(self.options.background || self.cache.is_backed(), "CACHE-12");
    }

    /// Serves commits that were gathered, one after the other, up to the first that would have to wait
    /// (GATHER-4). Returns the last one's LSN.
    ///
    /// Each is a group of its own: the only change of a group may be made in place (CACHE-7), which is
    /// cheaper than a copy of its page.
    #[cfg(feature = "server")]
    pub(crate) fn serve_each(
        &self,
        live: &Live,
        state: &mut CommitState,
        singles: &mut [Single],
    ) -> Option<Lsn> {
        let mut last = None;
        for Single { payload, keyspaces, answer, .. } in
            singles.iter_mut().filter(|single| single.is_ready)
        {
            match self.serve_one(live, state, payload, keyspaces, &mut []) {
                Answer::Done(Ok(lsn)) => {
                    *answer = Ok(Some(lsn));
                    last = Some(lsn);
                }
                Answer::Done(Err(error)) => *answer = Err(error),
                Answer::Read(_) => break,
                Answer::Reserve => {
                    self.cache.want_ahead(payload.needs.pages);
                    self.background.ring_cleaner();
                    break;
                }
            }
        }
        last
    }

    /// 4. Applies what the log has as a group of its own, at its LSN, and makes it visible (COMMIT-1,
    ///    COMMIT-2).
    #[inline]
    fn apply_alone(
        &self,
        live: &Live,
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
        // A step of housekeeping is reckoned roughly.
        let is_kept = group.changed() <= promised || payload.trims > 0;
        debug_assert!(is_kept, "COMMIT-5: {} of {promised} pages", group.changed());
        trees.publish(group);
        self.note_sparse(trees);
        self.counts.add(payload);
        Ok(())
    }

    /// Serves everything in the queue as one group.
    pub(super) fn serve_queue(&self, live: &Live, state: &mut CommitState) {
        let requests = self.queue.take();
        if !requests.is_empty() {
            whole(live, || self.serve_group(live, state, requests));
        }
    }

    fn serve_group(&self, live: &Live, state: &mut CommitState, requests: Vec<Arc<Request>>) {
        let mut group: Vec<(Arc<Request>, Lsn)> = Vec::with_capacity(requests.len());
        let mut promised = Needs::default();
        for request in requests {
            let work = request.work.lock();
            let checked = match state.sealed {
                true => Err(Error::Closed),
                false => work.keyspaces.iter().try_for_each(|keyspace| keyspace.check()),
            };
            let answer = match checked {
                Err(error) => Answer::Done(Err(error)),
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
            request.answer(Answer::Done(failed.map_or(Ok(lsn), Err)));
        }
    }

    /// Appends a request's record if the group, with all that it has, is ready for it (COMMIT-5, COMMIT-6).
    fn append_to_group(
        &self,
        live: &Live,
        state: &mut CommitState,
        payload: &Payload,
        promised: &mut Needs,
    ) -> Result<Lsn, Answer> {
        let missing = self.missing(&state.trees, payload);
        if !missing.is_empty() {
            return Err(Answer::Read(missing));
        }
        let more = promised.and(payload.needs);
        if !self.is_ready(live, state, payload.bytes.len(), promised.pages, more) {
            return Err(Answer::Reserve);
        }
        *promised = more;
        append(live, state, payload).ok_or(Answer::Reserve)
    }

    /// Serves what is left in the queue. For whoever closes the store.
    pub(crate) fn drain(&self, live: &Live, state: &mut CommitState) {
        self.serve_queue(live, state);
    }

    /// Tells the housekeeping of leaves that became small.
    #[inline]
    fn note_sparse(&self, trees: &Trees) {
        if !trees.sparse.is_empty() {
            self.background.sparse.store(true, Ordering::Relaxed);
        }
    }

    /// A page could not be read while a logged commit was applied (COMMIT-3): the store stops taking
    /// commits, and recovery will apply what the log has.
    fn give_up(&self, live: &Live, error: Error) -> Error {
        crate::engine::base::foreign::error!(
            "{}: a commit could not be applied: {error}",
            self.disk.path("")
        );
        live.log.poison(error.clone());
        live.log.poisoned().unwrap_or(error)
    }
}

/// Does what must come to its end: a panic amid it leaves pages half changed and requests without an
/// answer. Then the log is poisoned: nothing more is committed, whoever waits is told, and recovery
/// applies what the log has.
#[inline]
fn whole<T>(live: &Live, work: impl FnOnce() -> T) -> T {
    let amid = Amid(live);
    let done = work();
    std::mem::forget(amid);
    done
}

/// Poisons the log if it is dropped.
struct Amid<'a>(&'a Live);

impl Drop for Amid<'_> {
    fn drop(&mut self) {
        self.0.log.poison(Error::Io {
            action: "commit".into(),
            file: "the commit path".into(),
            source: Arc::new(std::io::Error::other("a thread panicked amid a commit")),
        });
    }
}

/// Copies a record into the log. `None` if there is no room that was reserved.
fn append(live: &Live, state: &mut CommitState, payload: &Payload) -> Option<Lsn> {
    let appender = state.appender.as_mut().expect("the log has begun");
    live.log.append(appender, CLASS_COMMIT, &payload.bytes, payload.crc)
}
