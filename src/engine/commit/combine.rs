//! The queue of commits that wait for the commit lock: its holder serves them all.
//!
//! Flat combining (Hendler, Incze, Shavit, Tzafrir 2010): a committer that finds the lock taken
//! leaves its request in the queue. The holder of the lock serves the queue as one group while
//! the tree is in its processor's cache. The followers find their answers, and most never
//! take the lock at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::keyspaces::KeyspaceState;
use super::ops::Payload;
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::Absent;

/// Requests for the holder of the commit lock.
#[derive(Debug, Default)]
pub(crate) struct CommitQueue {
    requests: Mutex<Vec<Arc<CommitRequest>>>,
    /// How many there are, readable without the lock.
    count: AtomicUsize,
}

/// A commit for another thread to serve.
#[derive(Debug)]
pub(crate) struct CommitRequest {
    /// Locked by the thread that serves it.
    pub(super) work: Mutex<CommitWork>,
    done: AtomicBool,
}

#[derive(Debug)]
pub(super) struct CommitWork {
    pub(super) payload: Payload,
    pub(super) keyspaces: Vec<Arc<KeyspaceState>>,
    pub(super) answer: Option<CommitAnswer>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) enum CommitAnswer {
    Done(Result<Lsn>),
    /// There was not enough log space, or room for its pages: provide it and try again.
    NeedsSpace,
    /// These pages are not in memory: read them and try again (COMMIT-6).
    NeedsPages(Vec<Absent>),
}

impl CommitRequest {
    pub(super) fn new(payload: Payload, keyspaces: Vec<Arc<KeyspaceState>>) -> Self {
        let work = Mutex::new(CommitWork { payload, keyspaces, answer: None });
        CommitRequest { work, done: AtomicBool::new(false) }
    }

    pub(super) fn answer(&self, answer: CommitAnswer) {
        self.work.lock().answer = Some(answer);
        self.done.store(true, Ordering::Release);
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

impl CommitQueue {
    pub(super) fn push(&self, request: Arc<CommitRequest>) {
        let mut requests = self.requests.lock();
        requests.push(request);
        self.count.store(requests.len(), Ordering::Release);
    }

    /// Takes all requests, in order of arrival.
    pub(super) fn take(&self) -> Vec<Arc<CommitRequest>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut requests = self.requests.lock();
        self.count.store(0, Ordering::Release);
        std::mem::take(&mut *requests)
    }
}
