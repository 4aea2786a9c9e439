//! Requests other than writes: answered at once, held behind writes, or handed to the pool.

use std::sync::Arc;

use tokio::time::Instant;

use super::flight::{Awaits, Flight};
use super::session::Session;
use super::task::too_busy;
use super::time::{fails_at, millis};
use crate::net::proto::{Delivery, Head, Kind, Packet, Request, Response};
use crate::net::server::work::QueuedRequest;
use crate::net::service::{JobRef, Operation};

impl Session {
    /// Begins a request that is no write and need not wait for one.
    pub(super) fn begin(&mut self, packet: &Packet<'_>, request: &Request<'_>, now: Instant) {
        let id = packet.head.id;
        let Request::Get(get) = request else { return self.begin_other(packet, request, now) };
        let mut reply = self.outbox.reply(id, self.context.max_body);
        match self.context.shared.service.get_at_once(get, &mut self.recent, &mut reply) {
            Ok(true) => {}
            Ok(false) => self.hand_over(packet, now),
            Err(error) => self.refuse(id, error),
        }
    }

    fn begin_other(&mut self, packet: &Packet<'_>, request: &Request<'_>, now: Instant) {
        let (id, service) = (packet.head.id, &self.context.shared.service);
        match request {
            Request::Ping => self.reply(id).send(&Response::Pong),
            Request::Watermarks => {
                let marks = service.marks();
                self.reply(id).send(&Response::Marks(marks));
            }
            Request::Flush => self.flush(packet, now),
            Request::JobStatus(status) => match service.find_job(status.job) {
                Ok(JobRef::Former) => self.hand_over(packet, now),
                Ok(job) => self.answer_job(id, job),
                Err(failure) => self.refuse(id, failure),
            },
            Request::JobWait(wait) => self.wait_for_job(packet, wait, now),
            Request::JobWatch(watch) => self.watch_jobs(packet, watch, now),
            Request::WatchWatermarks(watch) => self.watch_marks(packet, watch, now),
            Request::Checkpoint(checkpoint) => {
                self.operate(packet, Operation::Checkpoint, checkpoint.answer, now);
            }
            Request::Verify(verify) => self.operate(packet, Operation::Verify, verify.answer, now),
            Request::Range(range) => match range.delivery {
                Delivery::Stream { credit } => self.begin_stream(packet, credit, now),
                Delivery::Page { .. } => self.hand_over(packet, now),
            },
            _ => self.hand_over(packet, now),
        }
    }

    /// Holds a read until the write of this number has ended.
    pub(super) fn hold(
        &mut self,
        packet: &Packet<'_>,
        request: &Request<'_>,
        write: u64,
        now: Instant,
    ) {
        let ticket = self.flights.new_ticket();
        let (until, awaits) = (fails_at(packet, now), Awaits::Writes { ticket });
        self.launch(packet.head.id, Flight { kind: request.kind(), until, awaits });
        self.held_reads.hold(write, QueuedRequest::new(packet, ticket, Arc::default()));
    }

    /// Begins the reads that no longer have to wait for a write.
    pub(super) fn release_held(&mut self, now: Instant) {
        while let Some(read) = self.held_reads.next(self.writes.done()) {
            let awaits = self.flights.get(read.id).map(|flight| &flight.awaits);
            if !matches!(awaits, Some(Awaits::Writes { ticket }) if *ticket == read.ticket) {
                continue;
            }
            let flight = self.land(read.id).expect("looked at");
            let Packet { head, body } = read.packet();
            // Only the rest of its time is left to it.
            let left = flight.until.map_or(0, |(at, _)| millis(at - now).max(1));
            let packet = Packet { head: Head { deadline_ms: left, ..head }, body };
            let request = Request::decode(&packet).expect("decoded before");
            self.begin(&packet, &request, now);
        }
    }

    /// Hands a request to the pool.
    pub(super) fn hand_over(&mut self, packet: &Packet<'_>, now: Instant) {
        let kind = Kind::from_number(packet.head.kind).expect("decoded before");
        let request = self.launch_pooled(packet, kind, None, now);
        self.pool_queue.push(request);
        self.submit_queued(now);
    }

    /// Gives queued requests to the pool, as many as may be there at a time.
    pub(super) fn submit_queued(&mut self, now: Instant) {
        while !self.is_full()
            && let Some(request) = self.pool_queue.next(now, || self.context.has_room())
        {
            let id = request.id;
            let submitted = self.context.submit(move |context| context.answer(request));
            self.is_submitted(id, submitted.is_ok());
        }
    }

    /// Counts a task that the pool has taken, or refuses the request if it did not.
    pub(super) fn is_submitted(&mut self, id: u64, is_submitted: bool) {
        if is_submitted {
            self.pool_queue.submitted();
        } else if self.land(id).is_some() {
            self.refuse(id, too_busy());
        }
    }
}
