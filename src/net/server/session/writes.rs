//! Writes: at once where that can be, otherwise through the queue of writes and the pool.
//!
//! A write that has to wait takes all behind it to the queue. A client that always has writes on
//! their way sends the next before the last run has ended. So its queue would never be empty again,
//! and each write would cost a trip to the pool and back. Therefore the session tries the front of the
//! queue itself once a run has ended, as if those writes had just come, and stops at the first that
//! has to wait (WRITES-1).

use std::sync::Arc;

use tokio::time::Instant;

use super::flight::{Awaits, Flight, OnTime};
use super::session::Session;
use super::task::too_busy;
use super::time::fails_at;
use crate::engine::base::error::Result;
use crate::engine::store::Gathered;
use crate::net::proto::{Applied, Job, JobState, Kind, Mode, Packet, Request, Response, Written};
use crate::net::server::work::{QueuedWrite, WriteOutcome, WriteRun};
use crate::net::service::Appended;

/// Writes at the front of the queue that are tried together.
const TRIED_TOGETHER: usize = 64;

impl Session {
    /// Gathers a write whose packet ends at `end` of the input. False if it cannot be gathered.
    pub(super) fn gather(
        &mut self,
        packet: &Packet<'_>,
        request: &Request<'_>,
        end: usize,
        now: Instant,
    ) -> bool {
        let service = &self.context.shared.service;
        match self.gather.add(service, &mut self.recent, (packet, request), end, now) {
            Ok(is_gathered) => is_gathered,
            Err(error) => {
                self.refuse(packet.head.id, error);
                true
            }
        }
    }

    /// Commits the writes that were gathered from `input`, and answers them.
    pub(super) fn commit_gathered(&mut self, input: &[u8], now: Instant) {
        if self.gather.len() == 0 {
            return;
        }
        let shared = Arc::clone(&self.context.shared);
        std::mem::take(&mut self.gather).commit(&shared.service, |gathered, result| {
            let (head, mode) = (gathered.head, gathered.mode);
            match result {
                Ok(Some(lsn)) => {
                    let appended = Appended::now(*lsn);
                    self.answer_write(head.id, gathered.kind, mode, appended, gathered.until);
                }
                Ok(None) => {
                    let packet = Packet { head, body: &input[gathered.body] };
                    let request = Request::decode(&packet).expect("decoded before");
                    self.queue_write(&packet, &request, mode, now);
                }
                Err(error) => self.refuse(head.id, shared.service.failed(error.clone())),
            }
        });
    }

    /// Does a write at once, or queues it.
    #[inline]
    pub(super) fn write(
        &mut self,
        packet: &Packet<'_>,
        request: &Request<'_>,
        mode: Mode,
        now: Instant,
    ) {
        if !self.writes.is_empty() {
            return self.queue_write(packet, request, mode, now);
        }
        let (id, context) = (packet.head.id, &self.context);
        let service = &context.shared.service;
        match service.write_at_once(request, &context.caller, &mut self.recent) {
            Ok(Some(appended)) => {
                self.answer_write(id, request.kind(), mode, appended, fails_at(packet, now));
            }
            Ok(None) => self.queue_write(packet, request, mode, now),
            Err(error) => self.refuse(id, self.context.shared.service.failed(error)),
        }
    }

    /// Answers a write that is in the log, or has it wait for the sync line.
    fn answer_write(
        &mut self,
        id: u64,
        kind: Kind,
        mode: Mode,
        appended: Appended,
        until: Option<(Instant, OnTime)>,
    ) {
        let Appended { lsn, applied } = appended;
        let service = &self.context.shared.service;
        match mode {
            Mode::Async => {
                let receipt = service.position(lsn);
                let written = Written { receipt, durable: false, applied };
                self.reply(id).send(&Response::Written(written));
            }
            // An earlier request made it, and it may have been durable for long.
            Mode::Sync if applied == Applied::Before && lsn <= service.durable() => {
                self.answer_durable(id, kind, lsn, applied);
            }
            Mode::Sync => {
                self.tally.awaited += u64::from(applied == Applied::Now);
                self.sync_waiters.request(lsn, id);
                self.launch(id, Flight { kind, until, awaits: Awaits::Durable { lsn, applied } });
            }
            Mode::Job => {
                let job = service.job_of_write(lsn).into();
                let state = JobState::Appended;
                self.reply(id).send(&Response::Job(Job { job, state }));
            }
        }
    }

    /// Queues a write until all before it have ended.
    pub(super) fn queue_write(
        &mut self,
        packet: &Packet<'_>,
        request: &Request<'_>,
        mode: Mode,
        now: Instant,
    ) {
        let queued = self.launch_pooled(packet, request.kind(), Some(mode), now);
        self.writes.push(request, queued);
        self.submit_run(now);
    }

    /// Gives the next run of writes to the pool, if it has none (WRITES-1).
    pub(super) fn submit_run(&mut self, now: Instant) {
        while !self.writes.is_running() && !self.is_full() {
            if self.writes.take_try_front() {
                while !self.is_full() && (self.gather_front(now) || self.write_first(now)) {}
            }
            if self.pool_queue.is_in_pool() && !self.context.has_room() {
                // It goes on when a task of this connection comes back.
                return;
            }
            let Some(run) = self.writes.next_run() else { return };
            let task = Arc::clone(&run);
            match self.context.submit(move |context| context.execute(task)) {
                Ok(()) => {
                    self.writes.run_submitted();
                    self.context.prefetch(&run);
                }
                Err(_) => self.refuse_run(&run, now),
            }
        }
    }

    /// Refuses the writes of a run that the pool did not take: none of them is done.
    fn refuse_run(&mut self, run: &WriteRun, now: Instant) {
        for QueuedWrite { number, request } in run.left() {
            let outcome = WriteOutcome::Refused(too_busy());
            self.write_ended(*number, request.id, request.ticket, outcome, now);
        }
    }

    /// Commits the puts and deletes at the front of the queue together. False if the first of them
    /// has to wait, or the queue is empty.
    fn gather_front(&mut self, now: Instant) -> bool {
        let mut gathered = Gathered::default();
        let (mut count, service) = (0, &self.context.shared.service);
        for queued in self.writes.front(TRIED_TOGETHER) {
            let packet = queued.packet();
            let request = Request::decode(&packet).expect("decoded before");
            if queued.is_cancelled()
                || !matches!(service.gather(&request, &mut self.recent, &mut gathered), Ok(true))
            {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return false;
        }
        service.commit_gathered(&mut gathered);
        for result in gathered.answers() {
            let Some(result) = result.clone().transpose() else { return false };
            self.first_ended(self.outcome_of(result.map(Appended::now)), now);
        }
        true
    }

    /// Does the first write of the queue if it is a batch or has an idempotency key, or drops it if
    /// it is cancelled. False if it has to wait.
    fn write_first(&mut self, now: Instant) -> bool {
        let Some(queued) = self.writes.front(1).next() else { return false };
        if queued.is_cancelled() {
            self.first_ended(WriteOutcome::Cancelled, now);
            return true;
        }
        let packet = queued.packet();
        let request = Request::decode(&packet).expect("decoded before");
        if !matches!(request, Request::Put(_) | Request::Delete(_) | Request::Batch(_)) {
            return false;
        }
        let (service, caller) = (&self.context.shared.service, &self.context.caller);
        let result = service.write_at_once(&request, caller, &mut self.recent);
        let Some(result) = result.transpose() else { return false };
        self.first_ended(self.outcome_of(result), now);
        true
    }

    fn first_ended(&mut self, outcome: WriteOutcome, now: Instant) {
        let QueuedWrite { number, request } = self.writes.pop_front();
        let was_cancelled = !request.take();
        debug_assert_eq!(
            was_cancelled,
            matches!(outcome, WriteOutcome::Cancelled),
            "by the session"
        );
        self.write_ended(number, request.id, request.ticket, outcome, now);
    }

    fn outcome_of(&self, result: Result<Appended>) -> WriteOutcome {
        match result {
            Ok(appended) => WriteOutcome::Appended(appended),
            Err(error) => WriteOutcome::Refused(self.context.shared.service.failed(error)),
        }
    }

    /// A queued write has ended: answers it, and begins the reads that waited for it.
    pub(super) fn write_ended(
        &mut self,
        number: u64,
        id: u64,
        ticket: u64,
        outcome: WriteOutcome,
        now: Instant,
    ) {
        self.writes.ended(number);
        if self.flights.is_pooled(id, ticket) {
            self.answer_queued_write(id, outcome);
        }
        self.release_held(now);
    }

    fn answer_queued_write(&mut self, id: u64, outcome: WriteOutcome) {
        if let WriteOutcome::Cancelled = outcome {
            return;
        }
        let flight = self.land(id).expect("looked at");
        match outcome {
            WriteOutcome::Cancelled => {}
            WriteOutcome::Answered(made) => self.take_over(made),
            WriteOutcome::Refused(failure) => self.refuse(id, failure),
            WriteOutcome::Appended(appended) => {
                let Awaits::Pool(pooled) = flight.awaits else { unreachable!("looked at") };
                let mode = pooled.mode.expect("a write has a mode");
                self.answer_write(id, flight.kind, mode, appended, flight.until);
                if let Some((code, message)) = pooled.cancelled {
                    self.cancel(id, code, message);
                }
            }
        }
    }
}
