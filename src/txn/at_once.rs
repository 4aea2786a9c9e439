//! Commits for callers that must not wait: those that serve many connections with one thread.
//!
//! An asynchronous commit seldom waits for anything, but it may: for pages to be read, for frames
//! or log space, for the commit lock while a checkpoint or a check holds it, or because
//! back-pressure slows it down. [`Engine::commit_at_once`] looks at all of these beforehand. What
//! cannot be done at once is not done at all, and the caller has [`Engine::commit`] called where
//! waiting hurts nobody.
//!
//! - A1 it makes no system call but to wake a background thread or to make way for one, and waits
//!   for no lock that is held for longer than a commit takes;
//! - A2 after `None` nothing has changed, and the payload is as it was.

use std::sync::Arc;

use super::combine::Answer;
use super::commit::SPINS;
use super::engine::{Engine, Live};
use super::keyspaces::KeyspaceState;
use super::ops::{Op, Operations, Payload};
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::options::CommitMode;
use crate::tree::{max_inline, peek};

/// How often a committer makes way for others, one of which has the commit lock, after it has spun.
/// Whoever has the lock for long is not waited for longer than this.
const YIELDS: usize = 20;

impl Engine {
    /// Commits `payload`, which changes `keyspaces`, asynchronously, and returns its LSN; `None`
    /// if that would have to wait.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::NoSuchKeyspace`]; [`Error::Poisoned`] if applying it failed.
    pub(crate) fn commit_at_once(
        &self,
        payload: &mut Payload,
        keyspaces: &[&Arc<KeyspaceState>],
    ) -> Result<Option<Lsn>> {
        self.check_open()?;
        // The first write begins the log; without threads a commit does their work as well.
        let Some(live) = self.live.get().filter(|_| self.options.background) else {
            return Ok(None);
        };
        if !self.is_ready_for(live, payload) || !self.has_leaves(payload, keyspaces)? {
            return Ok(None);
        }
        payload.seal(CommitMode::Async);
        for attempt in 0..SPINS + YIELDS {
            let Some(mut state) = self.commit.try_lock() else {
                match attempt {
                    ..SPINS => std::hint::spin_loop(),
                    _ => std::thread::yield_now(),
                }
                continue;
            };
            if state.sealed {
                return Err(Error::Closed);
            }
            let answer = self.serve_one(live, &mut state, payload, keyspaces, &mut []);
            self.serve_queue(live, &mut state);
            drop(state);
            let Answer::Done(lsn) = answer else { return Ok(None) };
            let lsn = lsn?;
            self.after_commit(live, lsn)?;
            return Ok(Some(lsn));
        }
        Ok(None)
    }

    /// Whether there are log space and frames, and no back-pressure.
    fn is_ready_for(&self, live: &Live, payload: &Payload) -> bool {
        // Longer values are written to pages of their own first.
        payload.longest_value <= max_inline(self.cache.page_bytes())
            && !self.is_pressed(live)
            && self.cache.has_room_for(payload.operations)
            && live.log.has_room(payload.bytes.len())
    }

    /// Whether the leaves that a commit will change are in memory.
    fn has_leaves(&self, payload: &Payload, keyspaces: &[&Arc<KeyspaceState>]) -> Result<bool> {
        if !self.cache.is_partial() {
            return Ok(true);
        }
        if payload.operations as u64 > self.cache.frames() / 4 {
            return Ok(false);
        }
        for op in Operations::new(&payload.bytes) {
            let (Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key }) = op? else {
                continue;
            };
            let state = keyspaces.iter().find(|state| state.id == keyspace);
            let Some(state) = state else { continue };
            state.check()?;
            if peek(&self.cache, state.root, key, |_| ()).is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
