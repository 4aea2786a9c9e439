//! The writes of a connection take effect in the order in which they were sent.
//!
//! ```text
//!   packets --> nothing before it, and all it needs is in memory: done at once
//!          \
//!           '-> queue: w7 w6 w5 ---> run: w4 w3 w2 ---> one thread of the pool, in order
//!                ^     came = 7                 done = 1
//!                tried where it is once a run has ended (`front`)
//! ```
//!
//! Puts, deletes, batches, and whatever makes or drops a keyspace are writes, with or without an
//! idempotency key. Most are done where they come. One that would have to wait joins the queue, and
//! so does everything behind it, until the queue is empty again.
//!
//! - WRITES-1 a write is begun when all before it have ended: a run is one task, a connection has one at a
//!   time, and nothing is done at once while `done < came`;
//! - WRITES-2 a run holds up nobody else: each connection has its own queue, and a run is bounded;
//! - WRITES-3 a read waits for the writes before it (`held`), except a get of a key that none of those
//!   names, in a keyspace that none of them makes or drops. Names are kept as numbers by the hash of the key: two keys of one hash only make a get
//!   wait that need not.
//!
//! What reading leaves costs is paid side by side nevertheless: see `run`.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::Session;
use super::flight::{AtTime, Flight, What};
use super::held::HeldReads;
use super::pooled::{Pooled, Turn, Waiting, deadline};
use super::run::Run;
use crate::net::proto::{Code, Failure, Get, Mode, Op, Packet, Request};
use crate::net::server::budget::Made;
use crate::net::service::Appended;

/// Writes and their bytes in one run. A longer write is a run of its own.
const RUN: usize = 64;
const RUN_BYTES: usize = 1 << 20;
/// Hashes of keys that are told apart (WRITES-3).
const NAMES: usize = 512;

/// Writes that could not be done when they came: `done <= came`.
#[derive(Debug, Default)]
pub(super) struct Writes {
    queue: VecDeque<Queued>,
    /// What the pool gave back undone; it goes before the queue.
    left: Option<Arc<Run>>,
    is_running: bool,
    /// A run has ended, and the front of the queue was not tried since.
    may_go_on: bool,
    /// The number of the write that came last, and of the last that has ended.
    came: u64,
    done: u64,
    names: Option<Box<Names>>,
    pub(super) held: HeldReads,
}

/// A write that waits for its turn.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(super) number: u64,
    pub(super) waiting: Waiting,
}

/// What became of a write in the pool.
#[derive(Debug)]
pub(crate) enum Wrote {
    /// It was given up before its turn.
    Unwanted,
    /// It has its answer: an error.
    Answer(Made),
    Refused(Failure<'static>),
    Appended(Appended),
}

/// Of each hash, the last write that names a key of it, or makes or drops a keyspace of it.
#[derive(Debug)]
struct Names([u64; NAMES]);

impl Names {
    fn of(&mut self, name: &[u8]) -> &mut u64 {
        &mut self.0[Names::slot(name)]
    }

    fn slot(name: &[u8]) -> usize {
        crc32fast::hash(name) as usize % NAMES
    }

    fn add(&mut self, request: &Request<'_>, number: u64) {
        match request {
            Request::Put(put) => *self.of(put.key) = number,
            Request::Delete(delete) => *self.of(delete.key) = number,
            Request::CreateKeyspace(create) => *self.of(create.name.as_bytes()) = number,
            Request::DropKeyspace(drop) => *self.of(drop.name.as_bytes()) = number,
            Request::Batch(batch) => {
                for op in batch.ops {
                    let (Op::Put { key, .. } | Op::Delete { key, .. }) = op;
                    *self.of(key) = number;
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

impl Writes {
    /// Whether every write has ended.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.done == self.came
    }

    /// The write that this request has to wait for, if there is one (WRITES-3).
    pub(super) fn before(&self, request: &Request<'_>) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let before = match request {
            Request::Get(get) => self.before_get(get),
            Request::Range(_)
            | Request::Keyspaces
            | Request::Flush
            | Request::Checkpoint(_)
            | Request::Verify(_) => self.came,
            _ => return None,
        };
        (before > self.done).then_some(before)
    }

    /// Whether a get has to wait (WRITES-3).
    pub(super) fn holds_up(&self, get: &Get<'_>) -> bool {
        self.before_get(get) > self.done
    }

    fn before_get(&self, get: &Get<'_>) -> u64 {
        self.names.as_ref().map_or(0, |names| names.last_of(get))
    }

    fn add(&mut self, request: &Request<'_>, waiting: Waiting) {
        self.came += 1;
        let none = || Box::new(Names([0; NAMES]));
        self.names.get_or_insert_with(none).add(request, self.came);
        self.queue.push_back(Queued { number: self.came, waiting });
    }

    /// The first of the queue, unless the pool gave something back that goes before it.
    pub(super) fn front(&self, most: usize) -> impl Iterator<Item = &Queued> {
        let most = if self.left.is_none() { most } else { 0 };
        self.queue.iter().take(most)
    }

    pub(super) fn take_first(&mut self) -> Queued {
        self.queue.pop_front().expect("there is one")
    }

    /// What a run takes from the queue.
    fn next_run(&mut self) -> Option<Arc<Run>> {
        if let Some(left) = self.left.take() {
            return Some(left);
        }
        let (mut count, mut bytes) = (0, 0);
        for Queued { waiting, .. } in self.queue.iter().take(RUN) {
            bytes += waiting.len();
            if count > 0 && bytes > RUN_BYTES {
                break;
            }
            count += 1;
        }
        (count > 0).then(|| Arc::new(Run::new(self.queue.drain(..count).collect())))
    }

    /// The write of this number has ended, and with it all before it (WRITES-1).
    fn ended(&mut self, number: u64) {
        assert!(self.done < number && number <= self.came, "WRITES-1: writes end in their order");
        self.done = number;
        if self.is_empty() {
            self.names = None;
        }
    }

    /// Forgets what is not in the pool.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.left = None;
        self.held.clear();
    }
}

impl Session {
    /// Has a write done when all before it have ended.
    pub(super) fn queue_write(
        &mut self,
        packet: &Packet<'_>,
        request: &Request<'_>,
        mode: Mode,
        now: Instant,
    ) {
        let (id, ticket) = (packet.head.id, self.ticket());
        let turn = Arc::new(Turn::default());
        let until = deadline(packet, now).map(|at| (at, AtTime::Fail));
        let pooled = Pooled::new(ticket, Some(mode), Arc::clone(&turn));
        self.launch(id, Flight { kind: request.kind(), until, what: What::Pooled(pooled) });
        let waiting = Waiting::new(packet, ticket, turn);
        self.backlog_bytes += waiting.len();
        self.writes.add(request, waiting);
        self.submit_run(now);
    }

    /// Hands the next run over, if none is in the pool (WRITES-1).
    pub(super) fn submit_run(&mut self, now: Instant) {
        while !self.writes.is_running && !self.is_full() {
            if std::mem::take(&mut self.writes.may_go_on) {
                self.do_front(now);
            }
            if self.pooled > 0 && !self.shared.pool.has_room(self.lane) {
                // It goes on when something of this connection comes back.
                return;
            }
            let Some(run) = self.writes.next_run() else { return };
            self.backlog_bytes -= run.left_bytes();
            let (shared, mailbox) = (Arc::clone(&self.shared), Arc::clone(&self.mailbox));
            let (caller, max_body) = (Arc::clone(&self.caller), self.max_body);
            let begun = Arc::clone(&run);
            let task = move || begun.execute(&shared, &mailbox, &caller, max_body);
            match self.shared.pool.submit(self.lane, task) {
                Ok(()) => {
                    self.writes.is_running = true;
                    run.read_ahead(&self.shared, self.lane);
                }
                Err(_) => self.refuse_run(&run, now),
            }
        }
    }

    /// The pool takes nothing more: nothing of the run is done.
    fn refuse_run(&mut self, run: &Run, now: Instant) {
        for Queued { number, waiting } in run.left() {
            let failure = Failure::new(Code::TooBusy, "the server has too much to do");
            self.wrote(*number, (waiting.id, waiting.ticket), Wrote::Refused(failure), now);
        }
    }

    /// A write has ended.
    pub(super) fn wrote(
        &mut self,
        number: u64,
        (id, ticket): (u64, u64),
        wrote: Wrote,
        now: Instant,
    ) {
        self.writes.ended(number);
        if self.is_pooled(id, ticket) {
            match wrote {
                Wrote::Unwanted => {}
                Wrote::Answer(made) => {
                    self.land(id);
                    self.take_over(made);
                }
                Wrote::Refused(failure) => {
                    self.land(id);
                    self.refuse(id, failure);
                }
                Wrote::Appended(appended) => {
                    let flight = self.land(id).expect("looked at");
                    let What::Pooled(pooled) = &flight.what else { unreachable!("looked at") };
                    let mode = pooled.mode.expect("a write has a mode");
                    let given_up = pooled.given_up;
                    self.answer_write(id, flight.kind, mode, appended, flight.until);
                    if let Some((code, message)) = given_up {
                        self.give_up(id, code, message);
                    }
                }
            }
        }
        self.release_held(self.writes.done, now);
    }

    /// A run has ended, or was put off.
    pub(super) fn run_ended(&mut self, run: Arc<Run>) {
        self.writes.is_running = false;
        self.writes.may_go_on = true;
        if !run.is_done() {
            self.backlog_bytes += run.left_bytes();
            self.writes.left = Some(run);
        }
    }
}
