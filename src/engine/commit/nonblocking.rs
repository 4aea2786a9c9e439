//! Non-blocking commits, for a thread that serves many connections.
//!
//! An asynchronous commit seldom waits, but it may: for pages to be read, for frames or log space, for
//! the commit lock while a checkpoint or a check holds it, or for back-pressure.
//! [`Engine::try_commit_each`] checks all of these first. A commit that would have to wait is not done
//! at all; the caller then has [`Engine::commit`] called on a thread that may block.
//!
//! - GATHER-1 it makes no system call except to wake a background thread or to yield, and waits
//!   for no lock that is held for longer than a commit takes;
//! - GATHER-2 after `None` nothing has changed, and the payload is as it was;
//! - GATHER-3 commits that are made together share the lock and nothing else: each is a record of its
//!   own, and is applied at its own LSN;
//! - GATHER-4 they keep their order: the first that would have to wait and all behind it are not done.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::combine::CommitAnswer;
use super::engine::{CommitState, Engine, LiveLog};
use super::keyspaces::KeyspaceState;
use super::ops::Payload;
use super::path::SPINS;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::options::CommitMode;
use crate::engine::tree::{max_inline, peek};

/// How often a committer yields, after it has spun, before it gives up on the commit lock.
const YIELDS: usize = 20;

/// One of several commits that are made in one hold of the commit lock.
#[derive(Debug)]
pub(crate) struct GatheredCommit {
    pub(crate) payload: Payload,
    /// The keyspaces that it changes.
    pub(crate) keyspaces: Vec<Arc<KeyspaceState>>,
    /// `Ok(None)`, and nothing done, if it would have to wait.
    pub(crate) answer: Result<Option<Lsn>>,
}

impl Default for GatheredCommit {
    fn default() -> GatheredCommit {
        GatheredCommit { payload: Payload::default(), keyspaces: Vec::new(), answer: Ok(None) }
    }
}

impl GatheredCommit {
    pub(crate) fn new(payload: Payload, keyspaces: Vec<Arc<KeyspaceState>>) -> GatheredCommit {
        GatheredCommit { payload, keyspaces, ..GatheredCommit::default() }
    }

    /// Makes it empty, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.payload.clear();
        self.keyspaces.clear();
        self.answer = Ok(None);
    }

    fn is_unanswered(&self) -> bool {
        matches!(self.answer, Ok(None))
    }
}

impl Engine {
    /// Commits each of `commits` asynchronously, in one hold of the commit lock, and sets its answer:
    ///
    /// - its LSN;
    /// - `None` if it would have to wait: then nothing was done, and no later one has an LSN (GATHER-4);
    /// - [`Error::Closed`], [`Error::NoSuchKeyspace`], or [`Error::Poisoned`] if applying it failed.
    ///
    /// No other commit comes between them. Each is a record of its own: a crash may undo the later ones
    /// and leave the earlier ones.
    pub(crate) fn try_commit_each(&self, commits: &mut [GatheredCommit]) {
        if let Err(error) = self.commit_prepared(commits) {
            for commit in commits.iter_mut().filter(|commit| commit.is_unanswered()) {
                commit.answer = Err(error.clone());
            }
        }
    }

    /// As [`Engine::try_commit_each`]. An error is the answer of every commit that has none yet.
    fn commit_prepared(&self, commits: &mut [GatheredCommit]) -> Result<()> {
        self.check_writable()?;
        let Some(live) = self.live.get().filter(|_| self.options.background) else {
            return Ok(());
        };
        // 1. Outside the lock: check the needs of each, then of all together.
        let (prepared, operations, bytes) = self.prepare(commits);
        if operations == 0
            || self.is_throttled(live)
            || !self.cache.has_room_for(operations)
            || !live.log.has_room(bytes)
        {
            return Ok(());
        }
        // 2. Inside.
        let Some(mut state) = self.try_lock_briefly() else { return Ok(()) };
        if state.sealed {
            return Err(Error::Closed);
        }
        let last = self.serve_prepared(live, &mut state, &mut commits[..prepared]);
        self.serve_queue(live, &mut state);
        drop(state);
        last.map_or(Ok(()), |lsn| self.after_commit(live, lsn))
    }

    /// Prepares commits that need nothing more except the commit lock, log space and blocks, up to the
    /// first that would have to wait (GATHER-4). Returns how many of `commits` that covers, refused ones
    /// included, and the operations and log bytes of the prepared ones.
    pub(crate) fn prepare(&self, commits: &mut [GatheredCommit]) -> (usize, usize, usize) {
        let (mut operations, mut bytes) = (0, 0);
        for (at, commit) in commits.iter_mut().enumerate() {
            let GatheredCommit { payload, keyspaces, answer } = commit;
            match self.has_leaves_in_memory(payload, keyspaces) {
                Ok(true) if payload.longest_value <= max_inline(self.cache.page_bytes()) => {
                    self.estimate_needs(payload);
                    payload.seal(CommitMode::Async);
                    operations += payload.operations;
                    bytes += payload.log_bytes();
                }
                Ok(_) => return (at, operations, bytes),
                Err(error) => *answer = Err(error),
            }
        }
        (commits.len(), operations, bytes)
    }

    /// Takes the commit lock, unless another thread holds it for long.
    fn try_lock_briefly(&self) -> Option<MutexGuard<'_, CommitState>> {
        for attempt in 0..SPINS + YIELDS {
            if let Some(state) = self.commit.try_lock() {
                return Some(state);
            }
            match attempt {
                ..SPINS => std::hint::spin_loop(),
                _ => std::thread::yield_now(),
            }
        }
        None
    }

    /// Whether the leaves that a commit will change are in memory.
    fn has_leaves_in_memory(
        &self,
        payload: &Payload,
        keyspaces: &[Arc<KeyspaceState>],
    ) -> Result<bool> {
        if self.cache.is_partial() && !self.keeps_leaves_of(payload.operations) {
            return Ok(false);
        }
        self.each_leaf(payload, keyspaces, |state, key| {
            Ok(peek(&self.cache, state.root, key, |_| ()).is_some())
        })
    }

    /// Serves prepared commits in order, up to the first that would have to wait (GATHER-4). Returns the
    /// last one's LSN.
    ///
    /// Each is a group of its own: a group's only change may be made in place (CACHE-7), which is
    /// cheaper than a copy of its page.
    pub(crate) fn serve_prepared(
        &self,
        live: &LiveLog,
        state: &mut CommitState,
        commits: &mut [GatheredCommit],
    ) -> Option<Lsn> {
        let mut last = None;
        for commit in commits.iter_mut().filter(|commit| commit.is_unanswered()) {
            let GatheredCommit { payload, keyspaces, answer } = commit;
            match self.serve_one(live, state, payload, keyspaces, &mut []) {
                CommitAnswer::Done(Ok(lsn)) => {
                    *answer = Ok(Some(lsn));
                    last = Some(lsn);
                }
                CommitAnswer::Done(Err(error)) => *answer = Err(error),
                CommitAnswer::NeedsPages(_) => break,
                CommitAnswer::NeedsSpace => {
                    self.cache.want_ahead(payload.needs.pages);
                    self.background.wake_cleaner();
                    break;
                }
            }
        }
        last
    }
}
