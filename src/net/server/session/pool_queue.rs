//! The connection's queue to the pool: requests other than writes, streams, and watches.
//!
//! Only a few of a connection's requests are in the pool at a time; the others wait here. So a client
//! that asks for much does not keep others out, and the answers that may come back at once are bounded.
//!
//! A thread gives a request back if its answer would be too long now. The queue then pauses:
//!
//! | reason | the queue goes on when |
//! |---|---|
//! | unread | an answer has come from the pool, or the client has read all output |
//! | memory | 50 ms have passed; again and again, up to the limit of the server |
//!
//! No thread is blocked meanwhile, and other connections go on (BUDGET-5).

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::net::server::output_budget::MemoryWaiter;
use crate::net::server::work::QueuedRequest;

/// Requests of one connection that are in the pool at a time.
const AT_A_TIME: usize = 8;
/// Time after which memory is requested again.
const RETRY: Duration = Duration::from_millis(50);

/// Requests that wait for the pool, and the number that it has.
#[derive(Debug, Default)]
pub(super) struct PoolQueue {
    waiting: VecDeque<QueuedRequest>,
    bytes: usize,
    in_pool: usize,
    /// The client has to read first.
    waits_for_reader: bool,
    /// That wait ended since this was last asked.
    was_released: bool,
    retry_at: Option<Instant>,
    /// Registers this connection as waiting for memory (BUDGET-6).
    wanted: Option<MemoryWaiter>,
}

impl PoolQueue {
    /// Bytes of the packets that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the pool has a task of this connection; a run of writes does not count.
    pub(super) fn is_in_pool(&self) -> bool {
        self.in_pool > 0
    }

    /// The pool has taken one more task.
    pub(super) fn submitted(&mut self) {
        self.in_pool += 1;
    }

    /// A task has come back.
    pub(super) fn returned(&mut self) {
        self.in_pool -= 1;
    }

    pub(super) fn push(&mut self, request: QueuedRequest) {
        self.bytes += request.len();
        self.waiting.push_back(request);
    }

    /// Takes a request back that goes before all others.
    pub(super) fn give_back(&mut self, request: QueuedRequest) {
        self.bytes += request.len();
        self.waiting.push_front(request);
    }

    /// The next request for the pool, if one may go there now.
    pub(super) fn next(
        &mut self,
        now: Instant,
        has_room: impl Fn() -> bool,
    ) -> Option<QueuedRequest> {
        while self.in_pool < AT_A_TIME && self.goes_on(now) {
            if self.in_pool > 0 && !has_room() {
                // It goes on when one of those in the pool comes back.
                return None;
            }
            let Some(request) = self.waiting.pop_front() else {
                self.has_memory();
                return None;
            };
            self.bytes -= request.len();
            if !request.is_cancelled() {
                return Some(request);
            }
        }
        None
    }

    fn goes_on(&mut self, now: Instant) -> bool {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
        !self.waits_for_reader && self.retry_at.is_none()
    }

    /// Pauses until the client has read, or an answer has come.
    pub(super) fn wait_for_reader(&mut self) {
        self.waits_for_reader = true;
    }

    /// Pauses for a moment, for want of memory.
    pub(super) fn wait_for_memory(&mut self, wanted: MemoryWaiter, now: Instant) {
        self.retry_at = Some(now + RETRY);
        self.wanted = Some(wanted);
    }

    /// An answer has come, or all output was read.
    pub(super) fn release(&mut self) {
        self.was_released |= std::mem::take(&mut self.waits_for_reader);
    }

    /// No request waits for memory any more.
    pub(super) fn has_memory(&mut self) {
        (self.retry_at, self.wanted) = (None, None);
    }

    /// Whether it was released since the last call, and has requests.
    pub(super) fn take_release(&mut self) -> bool {
        std::mem::take(&mut self.was_released) && !self.waiting.is_empty()
    }

    /// When to ask for memory again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| !self.waiting.is_empty())
    }

    /// Forgets everything that is not in the pool.
    pub(super) fn clear(&mut self) {
        *self = PoolQueue { in_pool: self.in_pool, ..PoolQueue::default() };
    }
}
