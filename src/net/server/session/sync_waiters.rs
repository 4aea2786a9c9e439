//! Flights that wait for the sync line: writes in mode `Sync`, flushes, long polls and watches.
//!
//! Each connection has one ordered set of them, and one waker in the log, at the lowest position. So
//! a flush wakes a connection once, however many of its writes became durable, and wakes no
//! connection without need.
//!
//! Writes in mode `Sync` (to make or drop a keyspace is one), flushes and long polls *request* a
//! flush. Watches are *quiet*: they hear of the next flush whenever it comes. None of them takes a
//! thread while the device flushes, and each can be cancelled.

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::{Context, Poll};

use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::net::service::Service;

/// Which flight waits for which position.
#[derive(Debug, Default)]
pub(super) struct SyncWaiters {
    requesting: Waiters,
    quiet: Waiters,
}

#[derive(Debug, Default)]
struct Waiters {
    waiting: BTreeSet<(Lsn, u64)>,
    /// The position at which the log has our waker.
    registered: Option<Lsn>,
    /// A flight was added since the log was last polled.
    has_new: bool,
}

impl Waiters {
    fn add(&mut self, lsn: Lsn, id: u64) {
        self.has_new |= self.waiting.insert((lsn, id));
    }

    fn pass(&mut self, durable: Lsn) -> Option<(Lsn, u64)> {
        let first = *self.waiting.first()?;
        if first.0 > durable {
            return None;
        }
        self.waiting.pop_first()
    }

    /// The position to poll the log for, if it has to be polled: there are new waiters, another one
    /// is first, or the log is poisoned and wakes nobody again.
    fn next_to_poll(&mut self, is_poisoned: bool) -> Option<Lsn> {
        let (first, _) = *self.waiting.first()?;
        if !self.has_new && self.registered == Some(first) && !is_poisoned {
            return None;
        }
        (self.registered, self.has_new) = (Some(first), false);
        Some(first)
    }
}

impl SyncWaiters {
    /// Adds a flight that requests a flush.
    pub(super) fn request(&mut self, lsn: Lsn, id: u64) {
        self.requesting.add(lsn, id);
    }

    /// Adds a flight that waits for a flush without requesting one.
    pub(super) fn watch(&mut self, lsn: Lsn, id: u64) {
        self.quiet.add(lsn, id);
    }

    pub(super) fn forget(&mut self, lsn: Lsn, id: u64) {
        self.requesting.waiting.remove(&(lsn, id));
        self.quiet.waiting.remove(&(lsn, id));
    }

    /// Takes out a flight whose position the sync line at `durable` has passed.
    pub(super) fn pass(&mut self, durable: Lsn) -> Option<(Lsn, u64)> {
        self.requesting.pass(durable).or_else(|| self.quiet.pass(durable))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requesting.waiting.is_empty() && self.quiet.waiting.is_empty()
    }

    /// Takes out all.
    pub(super) fn take_all(&mut self) -> BTreeSet<(Lsn, u64)> {
        let mut all = std::mem::take(&mut self.requesting.waiting);
        all.append(&mut self.quiet.waiting);
        all
    }

    /// Has the log wake this task when the first position is durable.
    ///
    /// # Errors
    /// The log is poisoned.
    pub(super) fn poll(&mut self, service: &Service, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let is_poisoned = service.store().is_poisoned();
        if let Some(first) = self.requesting.next_to_poll(is_poisoned)
            && let Poll::Ready(passed) = service.poll_durable(first, cx)
        {
            return Poll::Ready(passed);
        }
        match self.quiet.next_to_poll(is_poisoned) {
            Some(first) => pin!(service.receipt(first)).poll_quietly(cx),
            None => Poll::Pending,
        }
    }
}
