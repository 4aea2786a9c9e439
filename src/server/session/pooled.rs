//! Requests that a thread of the pool does.
//!
//! A connection has only a few of them in the pool at a time; the others wait here. So one that
//! asks for much does not keep the others' requests out, and the answers that may come back at
//! once are bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::time::Instant;

use super::Session;
use super::flight::{AtTime, Flight, What};
use crate::proto::{Code, Delivery, Failure, Head, Kind, Mode, Packet, Request};
use crate::server::budget::{Level, Made, SMALL_PAGE};
use crate::server::mailbox::{Letter, Mailbox};
use crate::server::shared::Shared;
use crate::service::{Caller, Performed, Reply};

/// Requests of one connection that are in the pool at a time.
const AT_A_TIME: usize = 8;

/// A request in the pool, or on its way there.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) ticket: u64,
    pub(super) mode: Option<Mode>,
    turn: Arc<Turn>,
}

/// Whether a thread has taken it, or nobody wants it any more: whichever comes first.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU8);

const TAKEN: u8 = 1;
const UNWANTED: u8 = 2;

impl Turn {
    fn claim(&self, state: u8) -> bool {
        self.0.compare_exchange(0, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Pooled {
    pub(super) fn new(ticket: u64, mode: Option<Mode>, turn: Arc<Turn>) -> Pooled {
        Pooled { ticket, mode, turn }
    }

    /// Gives it up. False if a thread has begun to do it and it changes something: then its
    /// answer says what became of it.
    pub(super) fn give_up(&self, kind: Kind) -> bool {
        self.turn.claim(UNWANTED)
            || matches!(
                kind,
                Kind::Get
                    | Kind::Range
                    | Kind::JobStatus
                    | Kind::JobWait
                    | Kind::Stats
                    | Kind::Keyspaces
            )
    }
}

/// A request that waits for its turn.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(super) id: u64,
    pub(super) ticket: u64,
    turn: Arc<Turn>,
    head: Head,
    body: Box<[u8]>,
}

impl Waiting {
    pub(super) fn new(packet: &Packet<'_>, ticket: u64, turn: Arc<Turn>) -> Waiting {
        let Packet { head, body } = *packet;
        Waiting { id: head.id, ticket, turn, head, body: body.into() }
    }

    pub(super) fn packet(&self) -> Packet<'_> {
        Packet { head: self.head, body: &self.body }
    }

    /// Bytes that it holds.
    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    /// Takes it to do it. False if nobody wants it any more.
    pub(super) fn take(&self) -> bool {
        self.turn.claim(TAKEN)
    }
}

impl Session {
    /// Has a request done by the pool.
    pub(super) fn hand_over(&mut self, packet: &Packet<'_>, now: Instant) {
        let (id, ticket) = (packet.head.id, self.ticket());
        let turn = Arc::new(Turn::default());
        let kind = Kind::from_number(packet.head.kind).expect("decoded before");
        let until = deadline(packet, now).map(|at| (at, AtTime::Fail));
        let pooled = Pooled::new(ticket, None, Arc::clone(&turn));
        self.launch(id, Flight { kind, until, what: What::Pooled(pooled) });
        self.backlog_bytes += packet.body.len();
        self.backlog.push_back(Waiting::new(packet, ticket, turn));
        self.submit_backlog();
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Hands over as many as may be there at a time.
    pub(super) fn submit_backlog(&mut self) {
        while self.pooled < AT_A_TIME && !self.is_full() {
            let Some(waiting) = self.backlog.pop_front() else { return };
            self.backlog_bytes -= waiting.body.len();
            if waiting.turn.0.load(Ordering::Acquire) == UNWANTED {
                continue;
            }
            let (id, turn) = (waiting.id, Arc::clone(&waiting.turn));
            let (shared, mailbox) = (Arc::clone(&self.shared), Arc::clone(&self.mailbox));
            let (caller, max_body) = (Arc::clone(&self.caller), self.max_body);
            let task = move || do_in_pool(&shared, &mailbox, &caller, max_body, waiting);
            match self.shared.pool.submit(task) {
                Ok(()) => self.pooled += 1,
                Err(_) => {
                    turn.claim(UNWANTED);
                    self.land(id);
                    let failure = Failure::new(Code::TooBusy, "the server has too much to do");
                    self.refuse(id, failure);
                }
            }
        }
    }

    pub(super) fn open_letter(&mut self, letter: Letter, now: Instant) {
        match letter {
            Letter::Unwanted => self.pooled -= 1,
            Letter::Later(waiting) => {
                self.pooled -= 1;
                self.backlog_bytes += waiting.body.len();
                self.backlog.push_front(waiting);
            }
            Letter::Answer { id, ticket, made } => {
                self.pooled -= 1;
                if self.is_pooled(id, ticket) {
                    self.land(id);
                    self.take_over(made);
                }
            }
            Letter::Wrote { number, of, wrote } => self.wrote(number, of, wrote, now),
            Letter::RunEnded(run) => self.run_ended(run),
            Letter::Part { id, ticket, made, stream } => {
                self.pooled -= 1;
                self.part_came(id, ticket, made, stream);
            }
            Letter::Standing { id, ticket, stream } => {
                self.pooled -= 1;
                self.stands_still(id, ticket, stream);
            }
            Letter::Judged { id, ticket, job, state } => {
                self.pooled -= 1;
                self.watched_job_judged(id, ticket, job, state, now);
            }
        }
    }

    pub(super) fn is_pooled(&self, id: u64, ticket: u64) -> bool {
        matches!(
            self.flights.get(&id),
            Some(Flight { what: What::Pooled(pooled), .. }) if pooled.ticket == ticket
        )
    }
}

/// When a request that has just come is to be given up.
pub(super) fn deadline(packet: &Packet<'_>, now: Instant) -> Option<Instant> {
    let ms = u64::from(packet.head.deadline_ms);
    (ms > 0).then(|| now + std::time::Duration::from_millis(ms))
}

fn do_in_pool(
    shared: &Shared,
    mailbox: &Mailbox,
    caller: &Caller,
    max_body: u32,
    waiting: Waiting,
) {
    let level = shared.budget.level();
    if level > Level::Free && mailbox.is_stuck() {
        shared.metrics.held_back.inc();
        return mailbox.send(Letter::Later(waiting));
    }
    if !waiting.take() {
        return mailbox.send(Letter::Unwanted);
    }
    let Waiting { id, ticket, .. } = waiting;
    let mut packet = Vec::new();
    let mut reply = Reply { id, max_body, out: &mut packet };
    let mut request = Request::decode(&waiting.packet()).expect("decoded before");
    if level > Level::Free && !make_small(&mut request, level) {
        shared.metrics.held_back.inc();
        reply.fail(Failure::new(Code::TooBusy, "clients leave too much unread"));
        return mailbox.send(Letter::Answer {
            id,
            ticket,
            made: Made::new(packet, &shared.budget),
        });
    }
    let performed = attempt(shared, &request, caller, &mut reply);
    let made = |packet| Made::new(packet, &shared.budget);
    mailbox.send(match performed {
        Performed::Answered => Letter::Answer { id, ticket, made: made(packet) },
        Performed::Appended(_) => unreachable!("writes are done in runs"),
        Performed::Streaming(stream) => {
            Letter::Part { id, ticket, made: made(packet), stream: Some(stream) }
        }
    });
}

/// Does a request. A mistake in it must not take the thread from all others.
pub(super) fn attempt(
    shared: &Shared,
    request: &Request<'_>,
    caller: &Caller,
    reply: &mut Reply<'_>,
) -> Performed {
    let perform =
        std::panic::AssertUnwindSafe(|| shared.service.perform(request, caller, &mut *reply));
    std::panic::catch_unwind(perform).unwrap_or_else(|_| {
        tracing::error!(kind = request.kind().name(), "a request panicked");
        reply.out.clear();
        reply.fail(Failure::new(Code::Internal, "the server made a mistake"));
        Performed::Answered
    })
}

/// Makes an answer small where that can be (U3). False if it must not be made at all (U4).
fn make_small(request: &mut Request<'_>, level: Level) -> bool {
    match request {
        Request::Range(range) => {
            if let Delivery::Page { max_bytes } = &mut range.delivery {
                *max_bytes = (*max_bytes).min(SMALL_PAGE);
            }
            level < Level::Full
        }
        Request::Get(_) => level < Level::Full,
        _ => true,
    }
}
