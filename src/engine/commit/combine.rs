//! Who waits for the commit lock, and how one thread serves them all.
//!
//! Flat combining (Hendler, Incze, Shavit, Tzafrir 2010): a committer that finds the lock taken
//! leaves its request in the queue; whoever holds the lock serves the queue as one group while
//! the tree is in its processor's cache. The followers then find their answer, and most never
//! take the lock at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::keyspaces::KeyspaceState;
use super::ops::Payload;
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::Absent;

/// Requests that were left for whoever holds the commit lock.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    requests: Mutex<Vec<Arc<Request>>>,
    /// How many there are, readable without the lock.
    count: AtomicUsize,
}

/// A commit that somebody else is to serve.
#[derive(Debug)]
pub(crate) struct Request {
    /// Taken by whoever serves it, and given back with the answer.
    pub(super) work: Mutex<Work>,
    done: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Work {
    pub(super) payload: Payload,
    pub(super) keyspaces: Vec<Arc<KeyspaceState>>,
    pub(super) answer: Option<Answer>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Done(Result<Lsn>),
    /// There was not enough log space, or room for its pages: provide it and try again.
    Reserve,
    /// These pages are not in memory: read them and try again (COMMIT-6).
    Read(Vec<Absent>),
}

impl Request {
    pub(super) fn new(payload: Payload, keyspaces: Vec<Arc<KeyspaceState>>) -> Self {
        let work = Mutex::new(Work { payload, keyspaces, answer: None });
        Request { work, done: AtomicBool::new(false) }
    }

    pub(super) fn answer(&self, answer: Answer) {
        self.work.lock().answer = Some(answer);
        self.done.store(true, Ordering::Release);
    }

    /// Whether it has been served.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

impl Queue {
    pub(super) fn push(&self, request: Arc<Request>) {
        let mut requests = self.requests.lock();
        requests.push(request);
        self.count.store(requests.len(), Ordering::Release);
    }

    /// Everything that is waiting, in order of arrival.
    pub(super) fn take(&self) -> Vec<Arc<Request>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut requests = self.requests.lock();
        self.count.store(0, Ordering::Release);
        std::mem::take(&mut *requests)
    }
}
