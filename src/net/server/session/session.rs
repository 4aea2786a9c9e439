//! The state of one conversation, and what all of its parts need: replies, flights, the phase.

use std::sync::Arc;

use tokio::time::Instant;

use super::flight::{Awaits, Flight, Pooled};
use super::flights::Flights;
use super::gather::Gather;
use super::held_reads::HeldReads;
use super::look_ahead::LookAhead;
use super::outbox::Outbox;
use super::pool_queue::PoolQueue;
use super::sync_waiters::SyncWaiters;
use super::task::TaskContext;
use super::time::fails_at;
use super::write_queue::WriteQueue;
use crate::net::proto::{Code, Failure, Kind, MAX_HELLO, Mode, Packet};
use crate::net::server::buffers::Output;
use crate::net::server::mailbox::Mailbox;
use crate::net::server::output_budget::EncodedAnswer;
use crate::net::server::shared::Shared;
use crate::net::server::tally::Tally;
use crate::net::server::tokens::Token;
use crate::net::server::work::{Ownership, QueuedRequest};
use crate::net::service::{Caller, JobRef, Recent, Reply};

/// The conversation on one connection.
pub(crate) struct Session {
    pub(super) context: TaskContext,
    pub(super) phase: Phase,
    /// The client's token, if one was needed.
    pub(super) token: Option<Arc<Token>>,
    pub(super) recent: Recent,
    pub(super) flights: Flights,
    pub(super) sync_waiters: SyncWaiters,
    pub(super) gather: Gather,
    pub(super) look_ahead: LookAhead,
    pub(super) writes: WriteQueue,
    pub(super) held_reads: HeldReads,
    pub(super) pool_queue: PoolQueue,
    pub(super) outbox: Outbox,
    pub(super) tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Greeting,
    Open,
    Draining,
    Ending,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, mailbox: Arc<Mailbox>) -> Session {
        let (outbox, lane) = (Outbox::new(&shared), shared.pool.lane());
        let caller = Arc::new(Caller::anybody());
        Session {
            context: TaskContext { shared, mailbox, caller, max_body: MAX_HELLO, lane },
            phase: Phase::Greeting,
            token: None,
            recent: Recent::default(),
            flights: Flights::default(),
            sync_waiters: SyncWaiters::default(),
            gather: Gather::default(),
            look_ahead: LookAhead::default(),
            writes: WriteQueue::default(),
            held_reads: HeldReads::default(),
            pool_queue: PoolQueue::default(),
            outbox,
            tally: Tally::default(),
        }
    }

    /// Whether more packets may be taken (SESSION-3).
    pub(crate) fn accepts_input(&self) -> bool {
        self.phase != Phase::Ending
            && !self.is_full()
            && self.queued_bytes() < self.context.shared.limits.max_output_bytes
    }

    /// Whether the output has reached its cap, so that streams and queues pause.
    pub(crate) fn is_full(&self) -> bool {
        self.outbox.is_full(&self.context.shared)
    }

    /// Bytes of the requests that wait.
    pub(super) fn queued_bytes(&self) -> usize {
        self.writes.bytes() + self.held_reads.bytes() + self.pool_queue.bytes()
    }

    /// The socket has taken all output.
    pub(crate) fn flows(&mut self) {
        self.outbox.flows(&self.context.mailbox);
        self.pool_queue.release();
    }

    /// The socket takes nothing more.
    pub(crate) fn sticks(&mut self) {
        self.outbox.sticks(&self.context.mailbox);
    }

    /// Whether requests that were deferred go on now.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.pool_queue.take_release()
    }

    /// Whether more is unread than a small page (BUDGET-6).
    pub(crate) fn has_much_unread(&self) -> bool {
        self.outbox.is_long()
    }

    /// Whether the conversation is over, except for output that is still to be written.
    pub(crate) fn is_over(&self) -> bool {
        match self.phase {
            Phase::Ending => true,
            Phase::Draining => self.flights.is_empty(),
            Phase::Greeting | Phase::Open => false,
        }
    }

    /// Whether the client was told that the server is stopping.
    pub(crate) fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }

    pub(crate) fn is_greeted(&self) -> bool {
        self.phase != Phase::Greeting
    }

    /// Whether the client waits for nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.outbox.is_empty()
    }

    pub(crate) fn output(&mut self) -> &mut Output {
        self.outbox.output()
    }

    /// The next time at which this session has to run by itself.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.flights.next_deadline().into_iter().chain(self.pool_queue.retry_at()).min()
    }

    pub(crate) fn heard(&mut self, bytes: usize) {
        self.tally.bytes_in += bytes as u64;
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.tally.bytes_out += bytes as u64;
    }

    /// Adds the counts of this turn to the server's figures.
    pub(crate) fn report(&mut self) {
        self.count_unread();
        let shared = &self.context.shared;
        if self.tally.awaited > 0 {
            shared.service.store().count_awaited(std::mem::take(&mut self.tally.awaited));
        }
        shared.metrics.add(&mut self.tally);
    }

    fn count_unread(&mut self) {
        let queued = self.queued_bytes();
        self.outbox.count(&self.context.mailbox, queued);
    }

    /// Takes over an answer that the pool has made.
    pub(super) fn take_over(&mut self, made: EncodedAnswer) {
        let queued = self.queued_bytes();
        if let Some(code) = self.outbox.take_over(made, &self.context.mailbox, queued) {
            self.tally.failed(code);
        }
    }

    #[inline]
    pub(super) fn reply(&mut self, id: u64) -> Reply<'_> {
        self.outbox.reply(id, self.context.max_body)
    }

    /// Answers with an error.
    pub(super) fn refuse(&mut self, id: u64, failure: impl Into<Failure<'static>>) {
        let failure = failure.into();
        self.tally.failed(failure.code);
        if self.phase != Phase::Ending {
            self.reply(id).fail(failure);
        }
    }

    /// Enters a request into the table of flights.
    pub(super) fn launch(&mut self, id: u64, flight: Flight) {
        self.flights.launch(id, flight);
        self.tally.launched(id);
    }

    /// Enters a request that waits for the pool, and returns it for its queue.
    pub(super) fn launch_pooled(
        &mut self,
        packet: &Packet<'_>,
        kind: Kind,
        mode: Option<Mode>,
        now: Instant,
    ) -> QueuedRequest {
        let (ticket, owner) = (self.flights.new_ticket(), Arc::new(Ownership::default()));
        let awaits = Awaits::Pool(Pooled::new(ticket, mode, Arc::clone(&owner)));
        self.launch(packet.head.id, Flight { kind, until: fails_at(packet, now), awaits });
        QueuedRequest::new(packet, ticket, owner)
    }

    /// Takes a request out of the table of flights, and from the sync line (SESSION-1). The caller
    /// sends its last answer.
    pub(super) fn land(&mut self, id: u64) -> Option<Flight> {
        let flight = self.flights.land(id)?;
        match &flight.awaits {
            Awaits::Durable { lsn, .. } | Awaits::Job { job: JobRef::Write(lsn) } => {
                self.sync_waiters.forget(*lsn, id);
            }
            Awaits::JobsWatch(watch) => {
                for job in &watch.pending {
                    if let JobRef::Write(lsn) = job {
                        self.sync_waiters.forget(*lsn, id);
                    }
                }
            }
            _ => {}
        }
        self.tally.landed(id);
        Some(flight)
    }

    /// Whether there may be one more stream or watch.
    pub(super) fn admit_subscription(&self) -> Result<(), Failure<'static>> {
        let max = self.context.shared.limits.max_subscriptions;
        if self.flights.subscriptions() < max {
            return Ok(());
        }
        let message = "too many streams and watches are open on this connection";
        Err(Failure::new(Code::TooManySubscriptions, message).with("max", max.to_string()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.abandon_flights();
        self.report();
    }
}
