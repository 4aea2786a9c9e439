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
use super::put_off::Why;
use crate::net::proto::{Code, Delivery, Failure, Head, Kind, Mode, Packet, Request};
use crate::net::server::budget::{Level, Made, SMALL_PAGE, Share};
use crate::net::server::mailbox::{Letter, Mailbox};
use crate::net::server::shared::Shared;
use crate::net::service::{Caller, Performed, Reply};

/// Requests of one connection that are in the pool at a time.
const AT_A_TIME: usize = 8;

/// An answer that is made however little memory there is.
const SHORT: usize = 4 << 10;

/// Bytes of answers that one connection may have unread and in the making, or one answer (BUDGET-5).
const AT_ONCE: usize = 1 << 20;

/// A request in the pool, or on its way there.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) ticket: u64,
    pub(super) mode: Option<Mode>,
    /// It was to end while a thread had it: why, for what it then waits for.
    pub(super) given_up: Option<(Code, &'static str)>,
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
        Pooled { ticket, mode, given_up: None, turn }
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
    /// Since when there is no memory for its answer.
    since: Option<Instant>,
}

impl Waiting {
    pub(super) fn new(packet: &Packet<'_>, ticket: u64, turn: Arc<Turn>) -> Waiting {
        let Packet { head, body } = *packet;
        Waiting { id: head.id, ticket, turn, head, body: body.into(), since: None }
    }

    pub(super) fn packet(&self) -> Packet<'_> {
        Packet { head: self.head, body: &self.body }
    }

    /// Bytes that it holds.
    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether it was given up.
    pub(super) fn is_unwanted(&self) -> bool {
        self.turn.0.load(Ordering::Acquire) == UNWANTED
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
        self.submit_backlog(now);
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Hands over as many as may be there at a time.
    pub(super) fn submit_backlog(&mut self, now: Instant) {
        while self.pooled < AT_A_TIME && !self.is_full() && self.put_off.goes_on(now) {
            if self.pooled > 0 && !self.shared.pool.has_room(self.lane) {
                // It goes on when one of those comes back.
                return;
            }
            let Some(waiting) = self.backlog.pop_front() else { return self.put_off.is_content() };
            self.backlog_bytes -= waiting.body.len();
            if waiting.is_unwanted() {
                continue;
            }
            let (id, turn) = (waiting.id, Arc::clone(&waiting.turn));
            let (shared, mailbox) = (Arc::clone(&self.shared), Arc::clone(&self.mailbox));
            let (caller, max_body) = (Arc::clone(&self.caller), self.max_body);
            let task = move || do_in_pool(&shared, &mailbox, &caller, max_body, waiting);
            match self.shared.pool.submit(self.lane, task) {
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
            Letter::Later(mut waiting, why) => {
                self.pooled -= 1;
                match why {
                    // With nothing that could end it there is nothing to wait for.
                    Why::Unread if self.pooled == 0 && self.output.is_empty() => {}
                    Why::Unread => self.put_off.unread(),
                    Why::Memory => {
                        waiting.since.get_or_insert(now);
                        self.put_off.memory(self.shared.budget.want(), now);
                    }
                }
                self.backlog_bytes += waiting.body.len();
                self.backlog.push_front(waiting);
            }
            Letter::Answer { id, ticket, made } => {
                self.pooled -= 1;
                self.put_off.has_room();
                self.put_off.is_content();
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
            Letter::Judged { id, ticket, jobs } => {
                self.pooled -= 1;
                self.watched_jobs_judged(id, ticket, jobs);
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
    let mut request = Request::decode(&waiting.packet()).expect("decoded before");
    make_small(&mut request, shared.budget.level());
    let size = shared.service.answer_bytes(&request, max_body);
    let share = match may_make(shared, mailbox, size) {
        Ok(share) => share,
        Err(why) => {
            shared.metrics.held_back.inc();
            let is_over = |since: Instant| since.elapsed() >= shared.limits.memory;
            if why == Why::Memory && waiting.since.is_some_and(is_over) {
                return refuse(shared, mailbox, max_body, &waiting);
            }
            return mailbox.send(Letter::Later(waiting, why));
        }
    };
    if !waiting.take() {
        return mailbox.send(Letter::Unwanted);
    }
    let _reserved = mailbox.reserve(size);
    let Waiting { id, ticket, .. } = waiting;
    let mut packet = Vec::new();
    let mut reply = Reply { id, max_body, out: &mut packet };
    let performed = attempt(shared, &request, caller, &mut reply);
    drop(share);
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

/// Makes an answer small where that can be (BUDGET-3).
fn make_small(request: &mut Request<'_>, level: Level) {
    if level > Level::Free
        && let Request::Range(range) = request
        && let Delivery::Page { max_bytes } = &mut range.delivery
    {
        *max_bytes = (*max_bytes).min(SMALL_PAGE);
    }
}

/// Takes the memory for an answer of so many bytes, if it may be made now for a client that has so much
/// unread.
fn may_make(shared: &Shared, mailbox: &Mailbox, size: usize) -> Result<Share, Why> {
    let unread = mailbox.unread();
    let is_stuck = mailbox.is_stuck() && shared.budget.level() > Level::Free;
    if is_stuck || unread > 0 && unread + size > AT_ONCE {
        return Err(Why::Unread);
    }
    let counted = if size > SHORT { size } else { 0 };
    let share = Share::of(&shared.budget, counted);
    let is_small = size <= SMALL_PAGE as usize;
    if counted == 0 || shared.budget.has_room_for(&share, is_small) {
        return Ok(share);
    }
    Err(Why::Memory)
}

/// There was no memory for its answer for as long as it may wait (BUDGET-4).
fn refuse(shared: &Shared, mailbox: &Mailbox, max_body: u32, waiting: &Waiting) {
    if !waiting.take() {
        return mailbox.send(Letter::Unwanted);
    }
    let (id, ticket, mut packet) = (waiting.id, waiting.ticket, Vec::new());
    let mut reply = Reply { id, max_body, out: &mut packet };
    reply.fail(Failure::new(Code::TooBusy, "clients leave too much unread"));
    mailbox.send(Letter::Answer { id, ticket, made: Made::new(packet, &shared.budget) });
}
