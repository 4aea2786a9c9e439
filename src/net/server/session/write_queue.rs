//! The writes of a connection take effect in the order in which they were sent.
//!
//! ```text
//!   packets --> no write before it, and everything it needs is in memory: done at once
//!          \
//!           '-> queue: w7 w6 w5 ---> run: w4 w3 w2 ---> one thread of the pool, in order
//!                ^     came = 7                 done = 1
//!                tried by the session itself once a run has ended
//! ```
//!
//! Puts, deletes, batches, and requests that make or drop a keyspace are writes, with or without an
//! idempotency key. Most are done as they come. A write that would have to wait joins the queue, and
//! so does every write behind it, until the queue is empty again.
//!
//! Example: puts 1 to 4 come, and the leaf of put 2 is not in memory. Put 1 is done at once. Puts 2,
//! 3 and 4 go to the pool as one run; its other threads load their leaves meanwhile. Put 5 comes while
//! the run is in the pool and queues. When the run has ended, the session tries put 5 itself.
//!
//! - WRITES-1 a write is begun when all before it have ended: a run is one task, a connection has one
//!   at a time, and nothing is done at once while `done < came`;
//! - WRITES-2 a run delays no other connection: each has its own queue, and a run is bounded;
//! - WRITES-3 a read waits for the writes before it ([`HeldReads`](super::held_reads::HeldReads)),
//!   except a get of a key that none of them names, in a keyspace that none of them makes or drops.
//!   Names are kept by the hash of the key: two keys of one hash make a get wait without need.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::net::proto::{Get, Op, Request};
use crate::net::server::work::{QueuedRequest, QueuedWrite, WriteRun};

/// Writes and their bytes in one run. A longer write is a run of its own.
const RUN_WRITES: usize = 64;
const RUN_BYTES: usize = 1 << 20;
/// Slots for hashes of keys (WRITES-3).
const SLOTS: usize = 512;

/// Writes that could not be done when they came: `done <= came`.
#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    queue: VecDeque<QueuedWrite>,
    /// A run that the pool gave back before its end. It goes before the queue.
    deferred: Option<Arc<WriteRun>>,
    is_running: bool,
    /// A run has ended, and the session has not tried the front of the queue since.
    try_front: bool,
    /// The number of the write that came last, and of the last that has ended.
    came: u64,
    done: u64,
    /// Bytes of the packets that are here.
    bytes: usize,
    names: Option<Box<Names>>,
}

/// For each hash, the last write that names a key, or makes or drops a keyspace, of that hash.
#[derive(Debug)]
struct Names([u64; SLOTS]);

impl Names {
    fn slot(name: &[u8]) -> usize {
        crc32fast::hash(name) as usize % SLOTS
    }

    fn add(&mut self, request: &Request<'_>, number: u64) {
        let mut note = |name| self.0[Names::slot(name)] = number;
        match request {
            Request::Put(put) => note(put.key),
            Request::Delete(delete) => note(delete.key),
            Request::CreateKeyspace(create) => note(create.name.as_bytes()),
            Request::DropKeyspace(drop) => note(drop.name.as_bytes()),
            Request::Batch(batch) => {
                for op in batch.ops {
                    let (Op::Put { key, .. } | Op::Delete { key, .. }) = op;
                    note(key);
                }
            }
            _ => unreachable!("no other request is a write"),
        }
    }

    fn last_of(&self, get: &Get<'_>) -> u64 {
        let last = |name| self.0[Names::slot(name)];
        last(get.key).max(last(get.keyspace.as_bytes()))
    }
}

impl WriteQueue {
    /// Whether every write has ended.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.done == self.came
    }

    /// The number of the last write that has ended.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// Bytes of the packets that wait here.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The write that this read has to wait for, if there is one (WRITES-3).
    pub(super) fn write_before(&self, request: &Request<'_>) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let before = match request {
            Request::Get(get) => self.write_before_get(get),
            Request::Range(_)
            | Request::Keyspaces
            | Request::Flush
            | Request::Checkpoint(_)
            | Request::Verify(_) => self.came,
            _ => return None,
        };
        (before > self.done).then_some(before)
    }

    /// Whether a get has to wait for a write (WRITES-3).
    pub(super) fn blocks(&self, get: &Get<'_>) -> bool {
        self.write_before_get(get) > self.done
    }

    fn write_before_get(&self, get: &Get<'_>) -> u64 {
        self.names.as_ref().map_or(0, |names| names.last_of(get))
    }

    /// Adds a write at the end.
    pub(super) fn push(&mut self, write: &Request<'_>, request: QueuedRequest) {
        self.came += 1;
        self.bytes += request.len();
        let none = || Box::new(Names([0; SLOTS]));
        self.names.get_or_insert_with(none).add(write, self.came);
        self.queue.push_back(QueuedWrite { number: self.came, request });
    }

    /// The first `most` of the queue, unless a deferred run goes before them.
    pub(super) fn front(&self, most: usize) -> impl Iterator<Item = &QueuedRequest> {
        let most = if self.deferred.is_none() { most } else { 0 };
        self.queue.iter().take(most).map(|write| &write.request)
    }

    pub(super) fn pop_front(&mut self) -> QueuedWrite {
        let first = self.queue.pop_front().expect("the caller has looked at the front");
        self.bytes -= first.request.len();
        first
    }

    /// Whether the session should try the front of the queue itself: once after each run.
    pub(super) fn take_try_front(&mut self) -> bool {
        std::mem::take(&mut self.try_front)
    }

    /// Whether the pool has a run (WRITES-1).
    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    /// Takes the next run. It is not in the pool before [`WriteQueue::run_submitted`].
    pub(super) fn next_run(&mut self) -> Option<Arc<WriteRun>> {
        let run = self.deferred.take().or_else(|| self.new_run())?;
        self.bytes -= run.left_bytes();
        Some(run)
    }

    fn new_run(&mut self) -> Option<Arc<WriteRun>> {
        let (mut count, mut bytes) = (0, 0);
        for QueuedWrite { request, .. } in self.queue.iter().take(RUN_WRITES) {
            bytes += request.len();
            if count > 0 && bytes > RUN_BYTES {
                break;
            }
            count += 1;
        }
        (count > 0).then(|| Arc::new(WriteRun::new(self.queue.drain(..count).collect())))
    }

    /// The pool has taken a run.
    pub(super) fn run_submitted(&mut self) {
        self.is_running = true;
    }

    /// A run has ended, or was deferred.
    pub(super) fn run_ended(&mut self, run: Arc<WriteRun>) {
        (self.is_running, self.try_front) = (false, true);
        if !run.left().is_empty() {
            self.bytes += run.left_bytes();
            self.deferred = Some(run);
        }
    }

    /// The write of this number has ended, and with it all before it (WRITES-1).
    pub(super) fn ended(&mut self, number: u64) {
        assert!(self.done < number && number <= self.came, "WRITES-1: writes end in their order");
        self.done = number;
        if self.is_empty() {
            self.names = None;
        }
    }

    /// Forgets everything that is not in the pool.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.deferred = None;
        self.bytes = 0;
    }
}
