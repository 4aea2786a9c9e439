//! A request that has come: answered at once, or launched.

use tokio::time::Instant;

use super::flight::{AtTime, Flight, What};
use super::pooled::deadline;
use super::{Phase, Session};
use crate::net::proto::{
    Answer, Applied, Code, Delivery, Failure, Head, Job, JobState, JobWait, Kind, Mode, Packet,
    Refused, Request, Response, Written,
};
use crate::net::service::{Appended, JobRef, Operation, Reply};

impl Session {
    /// Takes a packet, the last one in `input`.
    pub(super) fn dispatch(&mut self, packet: &Packet<'_>, input: &[u8], now: Instant) {
        let id = packet.head.id;
        let decoded = Request::decode(packet);
        // Whatever is no write comes after those before it. Whether a write may be asked depends
        // on what is in flight, to which those that were gathered are about to belong.
        let is_write = matches!(decoded, Ok(Request::Put(_) | Request::Delete(_)));
        let in_flight = self.flights.len() + self.gathered();
        if !is_write || in_flight >= self.shared.limits.max_in_flight || self.has_gathered(id) {
            self.commit_gathered(input, now);
        }
        let request = match decoded {
            Ok(request) => request,
            Err(refused) => return self.refuse_unread(packet, &refused),
        };
        self.tally.received(id, &request);
        match &request {
            Request::Cancel(cancel) => {
                return self.give_up(cancel.id, Code::Cancelled, "the client has cancelled it");
            }
            Request::Credit(credit) => return self.add_credit(credit.id, credit.more, now),
            Request::Hello(_) => {
                return self.end(Failure::new(Code::BadHandshake, "a second Hello"));
            }
            _ => {}
        }
        if let Err(failure) = self.admit(id, &request) {
            return self.refuse(if failure.code == Code::BadId { 0 } else { id }, failure);
        }
        match &request {
            Request::Put(_) | Request::Delete(_)
                if self.writes.is_empty() && self.gather(packet, &request, input.len(), now) => {}
            Request::Put(put) => self.write_alone(packet, input, &request, put.mode, now),
            Request::Delete(delete) => self.write_alone(packet, input, &request, delete.mode, now),
            Request::Batch(batch) => self.write(packet, &request, batch.mode, now),
            Request::CreateKeyspace(_) | Request::DropKeyspace(_) => {
                // Its answer says that it is durable.
                self.queue_write(packet, &request, Mode::Sync, now);
            }
            _ => match self.writes.before(&request) {
                Some(before) => self.hold(packet, &request, before, now),
                None => self.begin(packet, &request, now),
            },
        }
    }

    /// Refuses a packet that is no request. The answer has its id if that is one that a request may
    /// have: no other may be taken for the answer to a request in flight.
    fn refuse_unread(&mut self, packet: &Packet<'_>, refused: &Refused) {
        let Head { id, kind, .. } = packet.head;
        let failure = match refused {
            Refused::UnknownKind(kind) => {
                Failure::new(Code::Unsupported, format!("no request has kind {kind}"))
            }
            Refused::Malformed(malformed) => Failure::new(Code::Malformed, malformed.to_string()),
        };
        if [Kind::Cancel.number(), Kind::Credit.number()].contains(&kind) {
            return self.refuse(0, failure);
        }
        match self.check_id(id) {
            Ok(()) => self.refuse(id, failure),
            Err(bad_id) => self.refuse(0, bad_id),
        }
    }

    /// Begins what is no write, and has none to wait for.
    pub(super) fn begin(&mut self, packet: &Packet<'_>, request: &Request<'_>, now: Instant) {
        let id = packet.head.id;
        let Request::Get(get) = request else { return self.begin_rest(packet, request, now) };
        let mut reply = Reply { id, max_body: self.max_body, out: self.output.buffer() };
        match self.shared.service.get_at_once(get, &mut self.recent, &mut reply) {
            Ok(true) => {}
            Ok(false) => self.hand_over(packet, now),
            Err(error) => self.refuse(id, error),
        }
    }

    fn begin_rest(&mut self, packet: &Packet<'_>, request: &Request<'_>, now: Instant) {
        let id = packet.head.id;
        match request {
            Request::Ping => self.reply(id).send(&Response::Pong),
            Request::Watermarks => {
                let marks = self.shared.service.marks();
                self.reply(id).send(&Response::Marks(marks));
            }
            Request::Flush => self.flush(packet, now),
            Request::JobStatus(status) => match self.shared.service.find_job(status.job) {
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

    /// Whether a request may be asked now, by this caller.
    pub(super) fn admit(&mut self, id: u64, request: &Request<'_>) -> Result<(), Failure<'static>> {
        self.check_id(id)?;
        let max = self.shared.limits.max_in_flight;
        if self.flights.len() >= max {
            let message = "too many requests are in flight on this connection";
            return Err(Failure::new(Code::TooManyInFlight, message).with("max", max.to_string()));
        }
        if self.phase == Phase::Draining {
            return Err(Failure::new(Code::ShuttingDown, "the server is about to end"));
        }
        self.caller.check(request)
    }

    /// Whether a request may have this id.
    fn check_id(&self, id: u64) -> Result<(), Failure<'static>> {
        let message = match id {
            0 => "a request has an id other than 0",
            _ if !self.flights.is_empty() && self.flights.contains_key(&id) => {
                "the id is that of a request in flight"
            }
            _ => return Ok(()),
        };
        Err(Failure::new(Code::BadId, message).with("id", id.to_string()))
    }

    /// Whether there may be one more stream or watch.
    pub(super) fn admit_subscription(&mut self) -> Result<(), Failure<'static>> {
        let max = self.shared.limits.max_subscriptions;
        if self.subscriptions < max {
            return Ok(());
        }
        let message = "too many streams and watches are open on this connection";
        Err(Failure::new(Code::TooManySubscriptions, message).with("max", max.to_string()))
    }

    /// A put or delete that cannot be gathered comes after those that were.
    fn write_alone(
        &mut self,
        packet: &Packet<'_>,
        input: &[u8],
        request: &Request<'_>,
        mode: Mode,
        now: Instant,
    ) {
        self.commit_gathered(input, now);
        self.write(packet, request, mode, now);
    }

    #[inline]
    fn write(&mut self, packet: &Packet<'_>, request: &Request<'_>, mode: Mode, now: Instant) {
        if !self.writes.is_empty() {
            return self.queue_write(packet, request, mode, now);
        }
        match self.shared.service.write_at_once(request, &self.caller, &mut self.recent) {
            Ok(Some(appended)) => {
                let until = deadline(packet, now).map(|at| (at, AtTime::Fail));
                self.answer_write(packet.head.id, request.kind(), mode, appended, until);
            }
            Ok(None) => self.queue_write(packet, request, mode, now),
            Err(error) => self.refuse(packet.head.id, self.shared.service.failed(error)),
        }
    }

    /// Answers a write that is in the log, or has it wait for the sync line.
    pub(super) fn answer_write(
        &mut self,
        id: u64,
        kind: Kind,
        mode: Mode,
        appended: Appended,
        until: Option<(Instant, AtTime)>,
    ) {
        let Appended { lsn, applied } = appended;
        match mode {
            Mode::Async => {
                let receipt = self.shared.service.position(lsn);
                let written = Written { receipt, durable: false, applied };
                self.reply(id).send(&Response::Written(written));
            }
            // It was made by somebody else, and may be durable for long.
            Mode::Sync if applied == Applied::Before && lsn <= self.shared.service.durable() => {
                self.answer_durable(id, kind, lsn, applied);
            }
            Mode::Sync => {
                self.tally.awaited += u64::from(applied == Applied::Now);
                self.line.ask(lsn, id);
                self.launch(id, Flight { kind, until, what: What::Durable { lsn, applied } });
            }
            Mode::Job => {
                let job = self.shared.service.job_of_write(lsn).into();
                let state = JobState::Appended;
                self.reply(id).send(&Response::Job(Job { job, state }));
            }
        }
    }

    /// Waits for the sync line to come to where the log is now.
    fn flush(&mut self, packet: &Packet<'_>, now: Instant) {
        let id = packet.head.id;
        let lsn = match self.shared.service.to_flush() {
            Ok(lsn) => lsn,
            Err(error) => return self.refuse(id, error),
        };
        let until = deadline(packet, now).map(|at| (at, AtTime::Fail));
        self.line.ask(lsn, id);
        let what = What::Durable { lsn, applied: Applied::Before };
        self.launch(id, Flight { kind: Kind::Flush, until, what });
    }

    fn wait_for_job(&mut self, packet: &Packet<'_>, wait: &JobWait<'_>, now: Instant) {
        let id = packet.head.id;
        let service = &self.shared.service;
        let job = match service.find_job(wait.job) {
            Ok(JobRef::Former) => return self.hand_over(packet, now),
            Ok(job) => job,
            Err(failure) => return self.refuse(id, failure),
        };
        let is_final = service.state_now(job).map_or(true, |state| state.is_final());
        if is_final || wait.timeout_ms == 0 {
            return self.answer_job(id, job);
        }
        let patience = now + std::time::Duration::from_millis(u64::from(wait.timeout_ms));
        let until = match deadline(packet, now) {
            Some(deadline) if deadline < patience => (deadline, AtTime::Fail),
            _ => (patience, AtTime::Tell),
        };
        let what = What::Wait { job };
        self.launch(id, Flight { kind: Kind::JobWait, until: Some(until), what });
        match job {
            JobRef::Write(lsn) => self.line.ask(lsn, id),
            JobRef::Operation(number) => self.listen(number),
            JobRef::Former => unreachable!("handed over above"),
        }
    }

    /// Begins a long operation.
    fn operate(&mut self, packet: &Packet<'_>, operation: Operation, answer: Answer, now: Instant) {
        let id = packet.head.id;
        let number = match self.shared.service.begin(operation) {
            Ok(number) => number,
            Err(failure) => return self.refuse(id, failure),
        };
        match answer {
            Answer::Job => {
                let job = self.shared.service.job_of_operation(number).into();
                self.reply(id).send(&Response::Job(Job { job, state: JobState::Queued }));
            }
            Answer::AtEnd => {
                let kind = Kind::from_number(packet.head.kind).expect("decoded before");
                let until = deadline(packet, now).map(|at| (at, AtTime::Fail));
                self.launch(id, Flight { kind, until, what: What::Operation { number } });
                self.listen(number);
            }
        }
    }
}
