//! The tasks that a session gives to the pool. Each ends with a message to the session's mailbox.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::net::proto::{Code, Delivery, Failure, Packet, Request};
use crate::net::server::mailbox::{Mailbox, Message};
use crate::net::server::output_budget::{EncodedAnswer, Level, MemoryCharge, SMALL_PAGE};
use crate::net::server::pool::{Busy, Lane};
use crate::net::server::shared::Shared;
use crate::net::server::work::{DeferReason, QueuedRequest, QueuedWrite, WriteOutcome, WriteRun};
use crate::net::service::{Caller, Performed, Reply, Stream};

/// Threads that load leaves for a run.
const PREFETCHERS: usize = 3;

/// An answer of up to this many bytes is made however little memory there is.
const SHORT: usize = 4 << 10;

/// Bytes of answers that one connection may have unread and in the making, or one answer (BUDGET-5).
const UNREAD_LIMIT: usize = 1 << 20;

/// What a session and its tasks in the pool both need.
#[derive(Clone)]
pub(super) struct TaskContext {
    pub(super) shared: Arc<Shared>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) caller: Arc<Caller>,
    /// The longest body that the client takes.
    pub(super) max_body: u32,
    pub(super) lane: Lane,
}

/// The error for a request that the pool did not take.
pub(super) fn too_busy() -> Failure<'static> {
    Failure::new(Code::TooBusy, "the server has too much to do")
}

impl TaskContext {
    /// Whether the pool would take a task now.
    pub(super) fn has_room(&self) -> bool {
        self.shared.pool.has_room(self.lane)
    }

    /// Gives a task to the pool.
    ///
    /// # Errors
    /// [`Busy`]: it will not be done.
    pub(super) fn submit(
        &self,
        task: impl FnOnce(&TaskContext) + Send + 'static,
    ) -> Result<(), Busy> {
        let context = self.clone();
        self.shared.pool.submit(self.lane, move || task(&context))
    }

    /// Answers a request other than a write.
    pub(super) fn answer(&self, queued: QueuedRequest) {
        let mut request = Request::decode(&queued.packet()).expect("decoded before");
        make_small(&mut request, self.shared.output_budget.level());
        let size = self.shared.service.answer_bytes(&request, self.max_body);
        let charge = match self.may_make(size) {
            Ok(charge) => charge,
            Err(reason) => {
                self.shared.metrics.held_back.inc();
                let patience = self.shared.limits.memory;
                let is_over = queued.starved_since.is_some_and(|since| since.elapsed() >= patience);
                if reason == DeferReason::Memory && is_over {
                    return self.refuse_starved(&queued);
                }
                return self.mailbox.send(Message::Deferred(queued, reason));
            }
        };
        if !queued.take() {
            return self.mailbox.send(Message::Cancelled);
        }
        let _reserved = self.mailbox.reserve(size);
        let QueuedRequest { id, ticket, .. } = queued;
        let (performed, made) = self.perform(&request, id);
        drop(charge);
        match performed {
            Performed::Answered => self.mailbox.send(Message::Answer { id, ticket, made: made() }),
            Performed::Appended(_) => unreachable!("writes are done in runs"),
            Performed::Streaming(_) => unreachable!("streams are opened by `open_stream`"),
        }
    }

    /// Performs a request. Also returns a function that charges its answer to the budget. A panic is
    /// answered as an error, so that the pool keeps the thread.
    fn perform(
        &self,
        request: &Request<'_>,
        id: u64,
    ) -> (Performed, impl FnOnce() -> EncodedAnswer) {
        let (shared, mut packet) = (&self.shared, Vec::new());
        let mut reply = Reply { id, max_body: self.max_body, out: &mut packet };
        let perform = || shared.service.perform(request, &self.caller, &mut reply);
        let performed = catch_unwind(AssertUnwindSafe(perform)).unwrap_or_else(|_| {
            tracing::error!(kind = request.kind().name(), "a request panicked");
            reply.out.clear();
            reply.fail(Failure::new(Code::Internal, "the server made a mistake"));
            Performed::Answered
        });
        (performed, move || EncodedAnswer::new(packet, &shared.output_budget))
    }

    /// Charges an answer of `size` bytes to the budget, if it may be made now for this client.
    fn may_make(&self, size: usize) -> Result<MemoryCharge, DeferReason> {
        let (budget, unread) = (&self.shared.output_budget, self.mailbox.unread());
        if self.is_stuck() || unread > 0 && unread + size > UNREAD_LIMIT {
            return Err(DeferReason::Unread);
        }
        let counted = if size > SHORT { size } else { 0 };
        let charge = MemoryCharge::of(budget, counted);
        let is_small = size <= SMALL_PAGE as usize;
        if counted == 0 || budget.has_room_for(&charge, is_small) {
            return Ok(charge);
        }
        Err(DeferReason::Memory)
    }

    /// Whether nothing is made for this client, because it does not read and memory is scarce
    /// (BUDGET-2).
    fn is_stuck(&self) -> bool {
        self.mailbox.is_stuck() && self.shared.output_budget.level() > Level::Free
    }

    /// Refuses a request whose answer had no memory for as long as it may wait (BUDGET-4).
    fn refuse_starved(&self, queued: &QueuedRequest) {
        if !queued.take() {
            return self.mailbox.send(Message::Cancelled);
        }
        let (id, ticket, mut packet) = (queued.id, queued.ticket, Vec::new());
        let mut reply = Reply { id, max_body: self.max_body, out: &mut packet };
        reply.fail(Failure::new(Code::TooBusy, "clients leave too much unread"));
        let made = EncodedAnswer::new(packet, &self.shared.output_budget);
        self.mailbox.send(Message::Answer { id, ticket, made });
    }

    /// Does the writes of a run, and sends the outcome of each. The rest is deferred when the client
    /// does not read any more (BUDGET-2).
    pub(super) fn execute(&self, run: Arc<WriteRun>) {
        while let Some(write) = run.left().first() {
            if self.is_stuck() {
                self.shared.metrics.held_back.inc();
                break;
            }
            let QueuedWrite { number, request } = write;
            let (number, id, ticket) = (*number, request.id, request.ticket);
            let outcome = self.write(request);
            run.advance();
            self.mailbox.send(Message::Wrote { number, id, ticket, outcome });
        }
        self.mailbox.send(Message::RunEnded(run));
    }

    fn write(&self, queued: &QueuedRequest) -> WriteOutcome {
        if !queued.take() {
            return WriteOutcome::Cancelled;
        }
        let request = Request::decode(&queued.packet()).expect("decoded before");
        let (performed, made) = self.perform(&request, queued.id);
        match performed {
            Performed::Appended(appended) => WriteOutcome::Appended(appended),
            Performed::Answered => WriteOutcome::Answered(made()),
            Performed::Streaming(_) => unreachable!("a write is no stream"),
        }
    }

    /// Has leaves loaded for a run that the pool has, unless the pool is busy or all are in memory.
    pub(super) fn prefetch(&self, run: &Arc<WriteRun>) {
        if !self.shared.service.store().is_partial() {
            return;
        }
        for _ in 0..PREFETCHERS.min(run.left().len().saturating_sub(1)) {
            let run = Arc::clone(run);
            let load = move |context: &TaskContext| {
                while let Some(write) = run.next_to_prefetch() {
                    let request = Request::decode(&write.request.packet()).expect("decoded before");
                    context.shared.service.read_ahead(&request);
                }
            };
            if self.submit(load).is_err() {
                return;
            }
        }
    }

    /// Opens a stream, and makes its first part.
    pub(super) fn open_stream(&self, packet: &Packet<'_>, ticket: u64) {
        let (id, request) = (packet.head.id, Request::decode(packet).expect("decoded before"));
        let (performed, made) = self.perform(&request, id);
        let stream = match performed {
            Performed::Streaming(stream) => Some(stream),
            _ => None,
        };
        self.mailbox.send(Message::Part { id, ticket, made: made(), stream });
    }

    /// Makes the next part of a stream.
    pub(super) fn next_part(&self, id: u64, ticket: u64, stream: Box<Stream>) {
        if self.is_stuck() {
            self.shared.metrics.held_back.inc();
            return self.mailbox.send(Message::PartDeferred { id, ticket, stream });
        }
        let mut packet = Vec::new();
        let mut reply = Reply { id, max_body: self.max_body, out: &mut packet };
        let stream = self.shared.service.next_part(stream, &mut reply);
        let made = EncodedAnswer::new(packet, &self.shared.output_budget);
        self.mailbox.send(Message::Part { id, ticket, made, stream });
    }

    /// Finds the states of jobs of former lives.
    pub(super) fn judge(&self, id: u64, ticket: u64, jobs: Vec<String>) {
        let judged = jobs.into_iter().map(|job| {
            let state = self.shared.service.state(&job);
            (job, state)
        });
        self.mailbox.send(Message::Judged { id, ticket, jobs: judged.collect() });
    }
}

/// Makes a page small while memory is scarce (BUDGET-3).
fn make_small(request: &mut Request<'_>, level: Level) {
    if level > Level::Free
        && let Request::Range(range) = request
        && let Delivery::Page { max_bytes } = &mut range.delivery
    {
        *max_bytes = (*max_bytes).min(SMALL_PAGE);
    }
}
