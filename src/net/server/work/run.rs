//! A run: writes of one connection that one thread of the pool does one after the other.
//!
//! Most writes of a run need a leaf that is not in memory. To wait for each leaf in turn would cost
//! one device read per write. So a few other threads go through the run as well and load its leaves
//! (prefetch); they change nothing. A write whose leaf is missing all the same reads it itself.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::request::QueuedRequest;
use crate::net::proto::Failure;
use crate::net::server::output_budget::EncodedAnswer;
use crate::net::service::Appended;

/// A write that waits for its turn.
#[derive(Debug)]
pub(crate) struct QueuedWrite {
    /// Its place in the connection's order (WRITES-1).
    pub(crate) number: u64,
    pub(crate) request: QueuedRequest,
}

/// How a queued write ended.
#[derive(Debug)]
pub(crate) enum WriteOutcome {
    /// It was cancelled before its turn.
    Cancelled,
    /// A pool thread has made its answer: an error.
    Answered(EncodedAnswer),
    Refused(Failure<'static>),
    Appended(Appended),
}

/// Writes in their order: `done <= writes.len()`.
#[derive(Debug)]
pub(crate) struct WriteRun {
    writes: Vec<QueuedWrite>,
    /// How many have ended. Only the thread that executes the run advances it.
    done: AtomicUsize,
    /// The next write whose leaf is to be loaded. The first one is read by the executing thread.
    prefetched: AtomicUsize,
}

impl WriteRun {
    pub(crate) fn new(writes: Vec<QueuedWrite>) -> WriteRun {
        WriteRun { writes, done: AtomicUsize::new(0), prefetched: AtomicUsize::new(1) }
    }

    /// The writes that have not ended.
    pub(crate) fn left(&self) -> &[QueuedWrite] {
        &self.writes[self.done.load(Ordering::Acquire)..]
    }

    /// Bytes of the writes that have not ended.
    pub(crate) fn left_bytes(&self) -> usize {
        self.left().iter().map(|write| write.request.len()).sum()
    }

    /// Counts one more write as ended. Only for the executing thread.
    pub(crate) fn advance(&self) {
        self.done.fetch_add(1, Ordering::Release);
    }

    /// The next write whose leaf another thread should load; each write comes once.
    pub(crate) fn next_to_prefetch(&self) -> Option<&QueuedWrite> {
        loop {
            let at = self.prefetched.fetch_add(1, Ordering::Relaxed);
            let write = self.writes.get(at)?;
            if at > self.done.load(Ordering::Relaxed) {
                return Some(write);
            }
        }
    }
}
