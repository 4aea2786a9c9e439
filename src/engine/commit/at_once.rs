//! Commits for callers that must not wait: those that serve many connections with one thread.
//!
//! An asynchronous commit seldom waits for anything, but it may: for pages to be read, for frames
//! or log space, for the commit lock while a checkpoint or a check holds it, or because
//! back-pressure slows it down. [`Engine::commit_each_at_once`] looks at all of these beforehand. What
//! cannot be done at once is not done at all, and the caller has [`Engine::commit`] called where
//! waiting hurts nobody.
//!
//! - GATHER-1 it makes no system call but to wake a background thread or to make way for one, and waits
//!   for no lock that is held for longer than a commit takes;
//! - GATHER-2 after `None` nothing has changed, and the payload is as it was;
//! - GATHER-3 commits that are made together share the lock and nothing else: each is a record of its
//!   own, and is applied at its own LSN;
//! - GATHER-4 and they keep their order: from the first that would have to wait on, none is done.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::engine::{CommitState, Engine};
use super::keyspaces::KeyspaceState;
use super::ops::Payload;
use super::path::SPINS;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::options::CommitMode;
use crate::engine::tree::{max_inline, peek};

/// How often a committer makes way for others, one of which has the commit lock, after it has spun.
/// Whoever has the lock for long is not waited for longer than this.
const YIELDS: usize = 20;

/// More than a record's header and its share of a block's end.
const EACH: usize = 64;

/// One of many commits that are made together, each on its own.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) payload: Payload,
    /// Those that it changes.
    pub(crate) keyspaces: Vec<Arc<KeyspaceState>>,
    /// `Ok(None)`, and nothing done, if it would have to wait.
    pub(crate) answer: Result<Option<Lsn>>,
    /// Nothing stands in its way but the commit lock.
    pub(super) is_ready: bool,
}

impl Default for Single {
    fn default() -> Single {
        Single {
            payload: Payload::default(),
            keyspaces: Vec::new(),
            answer: Ok(None),
            is_ready: false,
        }
    }
}

impl Single {
    pub(crate) fn new(payload: Payload, keyspaces: Vec<Arc<KeyspaceState>>) -> Single {
        Single { payload, keyspaces, ..Single::default() }
    }

    /// Makes it empty, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.payload.clear();
        self.keyspaces.clear();
        self.answer = Ok(None);
        self.is_ready = false;
    }

    /// What it takes of the log, at most.
    pub(super) fn log_bytes(&self) -> usize {
        self.payload.bytes.len() + EACH
    }

    fn is_open(&self) -> bool {
        matches!(self.answer, Ok(None))
    }
}

impl Engine {
    /// Commits each of `singles` on its own, asynchronously, in one hold of the commit lock; its
    /// answer is then in it: its LSN; `None`, and nothing done, if it would have to wait; or
    /// [`Error::Closed`], [`Error::NoSuchKeyspace`], [`Error::Poisoned`] if applying it failed. Nothing
    /// comes in between them, and each has a place of its own in the log: a crash may take the later and
    /// leave the earlier ones. After the first `None` there is no LSN any more (GATHER-4).
    pub(crate) fn commit_each_at_once(&self, singles: &mut [Single]) {
        if let Err(error) = self.try_commit_each(singles) {
            for single in singles.iter_mut().filter(|single| single.is_open()) {
                single.answer = Err(error.clone());
            }
        }
    }

    /// What is left without an answer has that of the error.
    fn try_commit_each(&self, singles: &mut [Single]) -> Result<()> {
        self.check_writable()?;
        let Some(live) = self.live.get().filter(|_| self.options.background) else {
            return Ok(());
        };
        // 1. Outside the lock: what each needs alone, and what they need together.
        let (operations, bytes) = self.look_at_each(singles);
        if operations == 0
            || self.is_pressed(live)
            || !self.cache.has_room_for(operations)
            || !live.log.has_room(bytes)
        {
            return Ok(());
        }
        // 2. Inside.
        let Some(mut state) = self.enter_soon() else { return Ok(()) };
        if state.sealed {
            return Err(Error::Closed);
        }
        let last = self.serve_each(live, &mut state, singles);
        self.serve_queue(live, &mut state);
        drop(state);
        last.map_or(Ok(()), |lsn| self.after_commit(live, lsn))
    }

    /// Makes those ready that need no waiting, up to the first that does (GATHER-4). Returns how many
    /// operations they are, and what of the log they take.
    pub(crate) fn look_at_each(&self, singles: &mut [Single]) -> (usize, usize) {
        let (mut operations, mut bytes) = (0, 0);
        for single in singles.iter_mut() {
            let Single { payload, keyspaces, .. } = single;
            match self.has_leaves(payload, keyspaces) {
                Ok(true) if payload.longest_value <= max_inline(self.cache.page_bytes()) => {
                    self.weigh(payload);
                    payload.seal(CommitMode::Async);
                    operations += payload.operations;
                    single.is_ready = true;
                    bytes += single.log_bytes();
                }
                Ok(_) => break,
                Err(error) => single.answer = Err(error),
            }
        }
        (operations, bytes)
    }

    /// The commit lock, unless somebody has it for long.
    fn enter_soon(&self) -> Option<MutexGuard<'_, CommitState>> {
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
    fn has_leaves(&self, payload: &Payload, keyspaces: &[Arc<KeyspaceState>]) -> Result<bool> {
        if self.cache.is_partial() && !self.keeps_leaves_of(payload.operations) {
            return Ok(false);
        }
        self.each_leaf(payload, keyspaces, |state, key| {
            Ok(peek(&self.cache, state.root, key, |_| ()).is_some())
        })
    }
}
