//! The ways in which requests and conversations end early.

use super::flight::{Awaits, Flight};
use super::session::{Phase, Session};
use super::time::millis;
use crate::net::proto::{Code, Failure, Goodbye, Kind, Response};

impl Session {
    /// Ends a request before it is done, if its outcome can still be told.
    pub(super) fn cancel(&mut self, id: u64, code: Code, message: &'static str) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        let mut failure = Failure::new(code, message);
        let service = &self.context.shared.service;
        match &mut flight.awaits {
            // A thread has it, and will answer soon with the true outcome. Only the wait for the
            // sync line after that is cancelled.
            Awaits::Pool(pooled) if !pooled.cancel(flight.kind) => {
                pooled.cancelled.get_or_insert((code, message));
                return;
            }
            Awaits::Durable { .. } if flight.kind == Kind::Flush => {}
            Awaits::Durable { lsn, .. } => {
                failure = failure.with("job", service.job_of_write(*lsn));
            }
            Awaits::Operation { number } => {
                failure = failure.with("job", service.job_of_operation(*number));
            }
            _ => {}
        }
        self.land(id);
        self.refuse(id, failure);
    }

    /// Ends a request whose deadline has passed.
    pub(super) fn deadline_passed(&mut self, id: u64) {
        self.cancel(id, Code::DeadlineExceeded, "the deadline has passed");
    }

    /// Ends every flight in which only the client waits.
    fn cancel_waits(&mut self, code: Code, message: &'static str) {
        for id in self.flights.ids_of(Awaits::is_wait) {
            self.cancel(id, code, message);
        }
    }

    /// Forgets all flights, because no client is there to be answered.
    pub(super) fn abandon_flights(&mut self) {
        for id in self.flights.ids_of(|_| true) {
            if let Some(Flight { kind, awaits: Awaits::Pool(pooled), .. }) = self.land(id) {
                pooled.cancel(kind);
            }
        }
        self.pool_queue.clear();
        self.writes.clear();
        self.held_reads = Default::default();
    }

    /// The client has sent its last byte: work in progress is finished, waits end.
    pub(crate) fn hung_up(&mut self) {
        if self.phase != Phase::Ending {
            self.phase = Phase::Draining;
            self.cancel_waits(Code::Cancelled, "the client has hung up");
        }
    }

    /// Ends the conversation with an error that belongs to no request.
    pub(crate) fn end(&mut self, failure: Failure<'static>) {
        if self.phase == Phase::Ending {
            return;
        }
        let peer = self.context.mailbox.peer();
        tracing::debug!(%peer, code = failure.code.name(), "connection ends: {failure}");
        self.enter_ending(failure.code);
        self.reply(0).fail(failure);
    }

    /// Ends the conversation without a word: the client would not read it, or not understand it in
    /// the middle of an answer.
    pub(crate) fn cut(&mut self, code: Code) {
        if self.phase != Phase::Ending {
            let peer = self.context.mailbox.peer();
            tracing::debug!(%peer, code = code.name(), "connection is cut");
            self.enter_ending(code);
        }
        self.outbox.discard();
    }

    fn enter_ending(&mut self, code: Code) {
        self.context.shared.metrics.ended(code);
        self.phase = Phase::Ending;
        self.abandon_flights();
    }

    /// Tells the client that the server is stopping.
    pub(super) fn drain(&mut self) {
        const MESSAGE: &str = "the server is stopping";
        match self.phase {
            Phase::Draining | Phase::Ending => return,
            Phase::Greeting => return self.end(Failure::new(Code::ShuttingDown, MESSAGE)),
            Phase::Open => self.phase = Phase::Draining,
        }
        let drain_ms = millis(self.context.shared.limits.drain);
        let goodbye = Goodbye { code: Code::ShuttingDown, message: MESSAGE.into(), drain_ms };
        self.reply(0).send(&Response::Goodbye(goodbye));
        self.cancel_waits(Code::ShuttingDown, MESSAGE);
    }
}
