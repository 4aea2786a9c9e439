//! Jobs: their state, long polls, long operations, and watches that send each end once, under credit.
//!
//! A watch holds at most one unsent event per job. A state in between (an operation begins) is
//! skipped for want of credit, and counted; an end never is. A watch sends no end that a later life,
//! or another copy of the store, could contradict: where the state is unknown, the watch ends with the
//! error that a request for the job's status gets.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::flight::{Awaits, Flight, OnTime};
use super::session::Session;
use super::subscription::JobsWatch;
use super::time::{deadline, fails_at};
use crate::engine::base::lsn::Lsn;
use crate::net::proto::{
    Answer, Code, Failure, Job, JobEvent, JobState, JobWait, JobWatch, Kind, Packet, Response,
};
use crate::net::server::mailbox::Judged;
use crate::net::service::{JobListener, JobNumber, JobRef, Operation, OperationOutcome, verified};

impl Session {
    /// Answers with a job's present state.
    pub(super) fn answer_job(&mut self, id: u64, job: JobRef) {
        let service = &self.context.shared.service;
        let name = service.name_of(job);
        match service.state_now(job) {
            Ok(state) => self.reply(id).send(&Response::Job(Job { job: name.into(), state })),
            Err(failure) => self.refuse(id, failure),
        }
    }

    /// Answers a long poll with the present state.
    pub(super) fn answer_wait(&mut self, id: u64) {
        let Some(Flight { awaits: Awaits::Job { job }, .. }) = self.land(id) else {
            unreachable!("only long polls are answered so");
        };
        self.answer_job(id, job);
    }

    /// Begins a long poll.
    pub(super) fn wait_for_job(&mut self, packet: &Packet<'_>, wait: &JobWait<'_>, now: Instant) {
        let id = packet.head.id;
        let service = &self.context.shared.service;
        let job = match service.find_job(wait.job) {
            Ok(JobRef::Former) => return self.hand_over(packet, now),
            Ok(job) => job,
            Err(failure) => return self.refuse(id, failure),
        };
        let is_final = service.state_now(job).map_or(true, |state| state.is_final());
        if is_final || wait.timeout_ms == 0 {
            return self.answer_job(id, job);
        }
        let timeout = now + Duration::from_millis(u64::from(wait.timeout_ms));
        let until = match deadline(packet, now) {
            Some(deadline) if deadline < timeout => (deadline, OnTime::Fail),
            _ => (timeout, OnTime::Answer),
        };
        let awaits = Awaits::Job { job };
        self.launch(id, Flight { kind: Kind::JobWait, until: Some(until), awaits });
        match job {
            JobRef::Write(lsn) => self.sync_waiters.request(lsn, id),
            JobRef::Operation(number) => self.listen(number),
            JobRef::Former => unreachable!("handed over above"),
        }
    }

    /// Begins a long operation.
    pub(super) fn operate(
        &mut self,
        packet: &Packet<'_>,
        operation: Operation,
        answer: Answer,
        now: Instant,
    ) {
        let id = packet.head.id;
        let service = &self.context.shared.service;
        let number = match service.begin(operation) {
            Ok(number) => number,
            Err(failure) => return self.refuse(id, failure),
        };
        match answer {
            Answer::Job => {
                let job = service.job_of_operation(number).into();
                self.reply(id).send(&Response::Job(Job { job, state: JobState::Queued }));
            }
            Answer::AtEnd => {
                let kind = Kind::from_number(packet.head.kind).expect("decoded before");
                let awaits = Awaits::Operation { number };
                self.launch(id, Flight { kind, until: fails_at(packet, now), awaits });
                self.listen(number);
            }
        }
    }

    /// Has this connection told when an operation changes.
    fn listen(&self, number: JobNumber) {
        let mailbox = Arc::downgrade(&self.context.mailbox);
        let listener: Weak<dyn JobListener> = mailbox;
        self.context.shared.service.jobs().listen(number, listener);
    }

    /// A long operation has changed: tells the flights that wait for it.
    pub(super) fn job_changed(&mut self, number: JobNumber) {
        let job = JobRef::Operation(number);
        let state = self.context.shared.service.state_now(job);
        let is_over = state.as_ref().map_or(true, JobState::is_final);
        let ids = self.flights.ids_of(|awaits| match awaits {
            Awaits::Operation { number: awaited } => *awaited == number,
            Awaits::Job { job: awaited } => *awaited == job,
            Awaits::JobsWatch(watch) => watch.pending.contains(&job),
            _ => false,
        });
        for id in ids {
            let awaits = self.flights.get(id).map(|flight| &flight.awaits);
            match (awaits, state.clone()) {
                (Some(Awaits::JobsWatch(_)), Ok(state)) => {
                    self.operation_changed(id, number, state)
                }
                (Some(Awaits::JobsWatch(_)), Err(failure)) => {
                    self.watched_job_is_unknown(id, job, failure);
                }
                (Some(Awaits::Job { .. }), _) if is_over => self.answer_wait(id),
                (Some(Awaits::Operation { .. }), _) if is_over => self.answer_operation(id, number),
                _ => {}
            }
        }
    }

    /// Answers a checkpoint or check at its end.
    fn answer_operation(&mut self, id: u64, number: JobNumber) {
        self.land(id);
        let service = &self.context.shared.service;
        let Some(outcome) = service.outcome(number) else {
            return self.refuse(id, Failure::new(Code::NoSuchJob, "its outcome is gone"));
        };
        match outcome {
            OperationOutcome::Checkpoint(_) => {
                let marks = service.marks();
                self.reply(id).send(&Response::Marks(marks));
            }
            OperationOutcome::Verified(found) => {
                self.reply(id).send(&Response::Verified(verified(&found)));
            }
            OperationOutcome::Failed(error) => self.refuse(id, error),
            OperationOutcome::Cancelled => {
                self.refuse(id, Failure::new(Code::Cancelled, "the operation was cancelled"));
            }
        }
    }

    /// Begins to watch jobs.
    pub(super) fn watch_jobs(&mut self, packet: &Packet<'_>, watch: &JobWatch<'_>, now: Instant) {
        let id = packet.head.id;
        if let Err(failure) = self.admit_subscription() {
            return self.refuse(id, failure);
        }
        let mut begun = JobsWatch { credit: watch.credit, ..JobsWatch::default() };
        for &job in &watch.jobs {
            match self.context.shared.service.find_job(job) {
                Ok(JobRef::Former) => begun.to_judge.push_back(job.to_owned()),
                Ok(known) => {
                    begun.pending.insert(known);
                }
                Err(failure) => return self.refuse(id, failure.with("job", job.to_owned())),
            }
        }
        begun.unjudged = begun.to_judge.len();
        begun.ticket = self.flights.new_ticket();
        let pending: BTreeSet<JobRef> = begun.pending.clone();
        let awaits = Awaits::JobsWatch(Box::new(begun));
        self.launch(id, Flight { kind: Kind::JobWatch, until: fails_at(packet, now), awaits });
        for job in pending {
            match job {
                JobRef::Write(lsn) => self.sync_waiters.watch(lsn, id),
                JobRef::Operation(number) => self.listen(number),
                JobRef::Former => unreachable!("sorted out above"),
            }
        }
        self.judge_next(id);
    }

    /// Has the pool find the states of the next few jobs of former lives. A watch has one task there,
    /// however many jobs it names.
    fn judge_next(&mut self, id: u64) {
        let Some(watch) = self.watch_mut(id) else { return };
        let (ticket, jobs) = (watch.ticket, watch.next_to_judge());
        if !jobs.is_empty() {
            let judge = self.context.submit(move |context| context.judge(id, ticket, jobs));
            self.is_submitted(id, judge.is_ok());
        }
    }

    pub(super) fn jobs_judged(&mut self, id: u64, ticket: u64, jobs: Vec<Judged>) {
        let Some(watch) = self.watch_mut(id).filter(|watch| watch.ticket == ticket) else { return };
        for (job, state) in jobs {
            watch.judged(job, state);
        }
        self.push_ended(id);
        self.judge_next(id);
    }

    pub(super) fn watched_write_is_durable(&mut self, id: u64, lsn: Lsn) {
        let name = self.context.shared.service.job_of_write(lsn);
        let Some(watch) = self.watch_mut(id) else { return };
        watch.pending.remove(&JobRef::Write(lsn));
        watch.ended.push_back((name, JobState::Durable));
        self.push_ended(id);
    }

    /// The state of a watched job is unknown: of a write, because a flush failed; of an operation,
    /// because its outcome is forgotten.
    pub(super) fn watched_job_is_unknown(
        &mut self,
        id: u64,
        job: JobRef,
        failure: Failure<'static>,
    ) {
        let name = self.context.shared.service.name_of(job);
        let Some(watch) = self.watch_mut(id) else { return };
        watch.pending.remove(&job);
        watch.cannot_tell(name, failure);
        self.push_ended(id);
    }

    fn operation_changed(&mut self, id: u64, number: JobNumber, state: JobState<'static>) {
        let name = self.context.shared.service.job_of_operation(number);
        let Some(watch) = self.watch_mut(id) else { return };
        if state.is_final() {
            watch.pending.remove(&JobRef::Operation(number));
            watch.ended.push_back((name, state));
        } else if watch.credit == 0 {
            watch.skipped += 1;
        } else {
            watch.credit -= 1;
            let event = JobEvent { job: name.into(), state, skipped: watch.skipped };
            self.reply(id).push(&Response::JobEvent(event));
        }
        self.push_ended(id);
    }

    /// Sends ends, as far as there is credit. The last one ends the watch.
    fn push_ended(&mut self, id: u64) {
        loop {
            let Some(watch) = self.watch_mut(id) else { return };
            if watch.ended.is_empty() {
                if watch.is_over()
                    && let Some(failure) = watch.unknown.take()
                {
                    self.land(id);
                    self.refuse(id, failure);
                }
                return;
            }
            if watch.credit == 0 {
                return;
            }
            let Some((job, state)) = watch.ended.pop_front() else { return };
            watch.credit -= 1;
            let is_last = watch.is_over() && watch.ended.is_empty() && watch.unknown.is_none();
            let event = JobEvent { job: job.into(), state, skipped: watch.skipped };
            if is_last {
                self.land(id);
                return self.reply(id).send(&Response::JobEvent(event));
            }
            self.reply(id).push(&Response::JobEvent(event));
        }
    }

    /// Adds credit to the watch or stream with this id.
    pub(super) fn add_credit(&mut self, id: u64, more: u32, now: Instant) {
        match self.flights.get_mut(id).map(|flight| &mut flight.awaits) {
            Some(Awaits::JobsWatch(watch)) => {
                watch.credit = watch.credit.saturating_add(more);
                self.push_ended(id);
            }
            Some(Awaits::MarksWatch(watch)) => {
                watch.credit = watch.credit.saturating_add(more);
                self.push_marks(id, now);
            }
            Some(Awaits::Stream(stream)) => {
                stream.credit = stream.credit.saturating_add(more);
                self.resume_streams();
            }
            // It may have ended while the credit was on its way.
            _ => {}
        }
    }

    fn watch_mut(&mut self, id: u64) -> Option<&mut JobsWatch> {
        match &mut self.flights.get_mut(id)?.awaits {
            Awaits::JobsWatch(watch) => Some(watch),
            _ => None,
        }
    }
}
