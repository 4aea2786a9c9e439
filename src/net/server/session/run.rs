//! A run: writes of one connection that one thread of the pool does one after the other.
//!
//! Most that come here want a leaf that is not in memory. To wait for each of them in turn would cost
//! a read of the device for each write; so a few other threads go through the run as well and bring
//! the leaves in, without changing anything. A leaf that was not brought in, or is gone again, is read
//! by the write that needs it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::pooled::attempt;
use super::writes::{Queued, Wrote};
use crate::net::proto::Request;
use crate::net::server::budget::{Level, Made};
use crate::net::server::mailbox::{Letter, Mailbox};
use crate::net::server::pool::Lane;
use crate::net::server::shared::Shared;
use crate::net::service::{Caller, Performed, Reply};

/// Threads that bring leaves in for a run.
const READERS: usize = 3;

/// Writes in their order: `done <= writes.len()`.
#[derive(Debug)]
pub(crate) struct Run {
    writes: Vec<Queued>,
    /// So many of them have ended. Only the thread that executes the run moves it.
    done: AtomicUsize,
    /// The leaves of so many are looked after.
    read: AtomicUsize,
}

impl Run {
    pub(super) fn new(writes: Vec<Queued>) -> Run {
        Run { writes, done: AtomicUsize::new(0), read: AtomicUsize::new(1) }
    }

    /// What has not ended.
    pub(super) fn left(&self) -> &[Queued] {
        &self.writes[self.done.load(Ordering::Acquire)..]
    }

    pub(super) fn left_bytes(&self) -> usize {
        self.left().iter().map(|queued| queued.waiting.len()).sum()
    }

    pub(super) fn is_done(&self) -> bool {
        self.left().is_empty()
    }

    /// Does the writes, and tells of each. What is left when the client reads nothing any more (BUDGET-2) is
    /// put off.
    pub(super) fn execute(
        self: Arc<Self>,
        shared: &Shared,
        mailbox: &Mailbox,
        caller: &Caller,
        max_body: u32,
    ) {
        while let Some(queued) = self.left().first() {
            if shared.budget.level() > Level::Free && mailbox.is_stuck() {
                shared.metrics.held_back.inc();
                break;
            }
            let Queued { number, waiting } = queued;
            let wrote = write(shared, caller, max_body, queued);
            self.done.fetch_add(1, Ordering::Release);
            let (number, of) = (*number, (waiting.id, waiting.ticket));
            mailbox.send(Letter::Wrote { number, of, wrote });
        }
        mailbox.send(Letter::RunEnded(self));
    }

    /// Has leaves brought in. Where the pool is busy, or all are in memory, they are not.
    pub(super) fn read_ahead(self: &Arc<Self>, shared: &Arc<Shared>, lane: Lane) {
        if !shared.service.store().is_partial() {
            return;
        }
        for _ in 0..READERS.min(self.left().len().saturating_sub(1)) {
            let (run, inside) = (Arc::clone(self), Arc::clone(shared));
            if shared.pool.submit(lane, move || run.read(&inside)).is_err() {
                return;
            }
        }
    }

    fn read(&self, shared: &Shared) {
        loop {
            let at = self.read.fetch_add(1, Ordering::Relaxed);
            let Some(queued) = self.writes.get(at) else { return };
            if at > self.done.load(Ordering::Relaxed) {
                let request = Request::decode(&queued.waiting.packet()).expect("decoded before");
                shared.service.read_ahead(&request);
            }
        }
    }
}

fn write(shared: &Shared, caller: &Caller, max_body: u32, queued: &Queued) -> Wrote {
    let Queued { waiting, .. } = queued;
    if !waiting.take() {
        return Wrote::Unwanted;
    }
    let request = Request::decode(&waiting.packet()).expect("decoded before");
    let mut packet = Vec::new();
    let mut reply = Reply { id: waiting.id, max_body, out: &mut packet };
    match attempt(shared, &request, caller, &mut reply) {
        Performed::Appended(appended) => Wrote::Appended(appended),
        Performed::Answered => Wrote::Answer(Made::new(packet, &shared.budget)),
        Performed::Streaming(_) => unreachable!("a write is no stream"),
    }
}
