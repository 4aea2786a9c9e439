//! Watched jobs: each one's end is told once, under credit.
//!
//! What waits to be told is at most one event for each job that was named. A state in between (an
//! operation begins) is passed over for want of credit, and counted; an end never is. No end is told
//! that a later life, or another copy of the store, could contradict: where nobody can tell, the watch
//! ends with the error that a question after the job is answered with.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Weak};

use tokio::time::Instant;

use super::Session;
use super::flight::{AtTime, Flight, What};
use super::line::Line;
use super::pooled::deadline;
use crate::engine::base::lsn::Lsn;
use crate::net::proto::{
    Code, Failure, JobEvent, JobState, JobWatch, Kind, Packet, Response, Verified,
};
use crate::net::server::mailbox::{Judged, Letter, Mailbox};
use crate::net::service::{JobListener, JobNumber, JobRef, OperationOutcome, verified};

/// Jobs of former lives that one task judges.
const JUDGED_AT_ONCE: usize = 64;

/// Jobs that a client watches.
#[derive(Debug)]
pub(super) struct Watch {
    credit: u32,
    pending: BTreeSet<JobRef>,
    /// Jobs of former lives that the pool has not judged yet: a few at a time are there.
    unjudged: usize,
    to_judge: VecDeque<String>,
    ticket: u64,
    /// Ends that wait for credit.
    ended: VecDeque<(String, JobState<'static>)>,
    /// Why nobody can tell what has become of some of the jobs: the watch ends with it once the ends
    /// of all others are told.
    unknown: Option<Failure<'static>>,
    skipped: u64,
}

impl Watch {
    /// Takes a watch that ends out of the line.
    pub(super) fn forget(&self, line: &mut Line, id: u64) {
        for job in &self.pending {
            if let JobRef::Write(lsn) = job {
                line.forget(*lsn, id);
            }
        }
    }

    /// The pool has found out what became of a job of a former life, or why nobody can tell.
    fn judged(&mut self, job: String, state: Result<JobState<'static>, Failure<'static>>) {
        self.unjudged -= 1;
        match state {
            Ok(state) => self.ended.push_back((job, state)),
            Err(failure) => self.cannot_tell(job, failure),
        }
    }

    /// Nobody can tell here what became of a job.
    fn cannot_tell(&mut self, job: String, failure: Failure<'static>) {
        let names_it = failure.job().is_some();
        let failure = || if names_it { failure } else { failure.with("job", job) };
        self.unknown.get_or_insert_with(failure);
    }

    fn is_over(&self) -> bool {
        self.pending.is_empty() && self.unjudged == 0
    }
}

impl Session {
    pub(super) fn watch_jobs(&mut self, packet: &Packet<'_>, watch: &JobWatch<'_>, now: Instant) {
        let id = packet.head.id;
        if let Err(failure) = self.admit_subscription() {
            return self.refuse(id, failure);
        }
        let (mut pending, mut former) = (BTreeSet::new(), VecDeque::new());
        for &job in &watch.jobs {
            match self.shared.service.find_job(job) {
                Ok(JobRef::Former) => former.push_back(job.to_owned()),
                Ok(known) => {
                    pending.insert(known);
                }
                Err(failure) => return self.refuse(id, failure.with("job", job.to_owned())),
            }
        }
        let ticket = self.ticket();
        let (ended, skipped) = (VecDeque::new(), 0);
        let unjudged = former.len();
        let begun = Watch {
            credit: watch.credit,
            pending: pending.clone(),
            unjudged,
            to_judge: former,
            ticket,
            ended,
            unknown: None,
            skipped,
        };
        let until = deadline(packet, now).map(|at| (at, AtTime::Fail));
        let what = What::Watch(Box::new(begun));
        self.launch(id, Flight { kind: Kind::JobWatch, until, what });
        for job in pending {
            match job {
                JobRef::Write(lsn) => self.line.watch(lsn, id),
                JobRef::Operation(number) => self.listen(number),
                JobRef::Former => unreachable!("sorted out above"),
            }
        }
        self.judge(id);
    }

    /// Has the pool find out what became of the next few jobs of former lives. A watch has one task
    /// there, however many jobs it names.
    fn judge(&mut self, id: u64) {
        let Some(watch) = self.watch(id) else { return };
        let few = watch.to_judge.len().min(JUDGED_AT_ONCE);
        let jobs: Vec<String> = watch.to_judge.drain(..few).collect();
        if jobs.is_empty() {
            return;
        }
        let ticket = watch.ticket;
        let (shared, mailbox) = (Arc::clone(&self.shared), Arc::clone(&self.mailbox));
        let submitted = self.shared.pool.submit(self.lane, move || {
            let judged = jobs.into_iter().map(|job| {
                let state = shared.service.state(&job);
                (job, state)
            });
            mailbox.send(Letter::Judged { id, ticket, jobs: judged.collect() });
        });
        match submitted {
            Ok(()) => self.pooled += 1,
            Err(_) => {
                if self.land(id).is_some() {
                    let failure = Failure::new(Code::TooBusy, "the server has too much to do");
                    self.refuse(id, failure);
                }
            }
        }
    }

    pub(super) fn watched_jobs_judged(&mut self, id: u64, ticket: u64, jobs: Vec<Judged>) {
        let Some(watch) = self.watch(id).filter(|watch| watch.ticket == ticket) else { return };
        for (job, state) in jobs {
            watch.judged(job, state);
        }
        self.push_ended(id);
        self.judge(id);
    }

    pub(super) fn watched_write_ended(&mut self, id: u64, lsn: Lsn, _now: Instant) {
        let service = &self.shared.service;
        let name = service.job_of_write(lsn);
        let Some(watch) = self.watch(id) else { return };
        watch.pending.remove(&JobRef::Write(lsn));
        watch.ended.push_back((name, JobState::Durable));
        self.push_ended(id);
    }

    /// Nobody can tell what became of a job: of a write, since a flush failed, before the next life;
    /// of an operation, since its outcome is forgotten.
    pub(super) fn watched_job_is_unknown(
        &mut self,
        id: u64,
        job: JobRef,
        failure: Failure<'static>,
    ) {
        let name = self.shared.service.name_of(job);
        let Some(watch) = self.watch(id) else { return };
        watch.pending.remove(&job);
        watch.cannot_tell(name, failure);
        self.push_ended(id);
    }

    /// A long operation has changed: tells whoever waits for it on this connection.
    pub(super) fn job_changed(&mut self, number: JobNumber, _now: Instant) {
        let job = JobRef::Operation(number);
        let concerned = self.flights.iter().filter(|(_, flight)| match &flight.what {
            What::Operation { number: known } => *known == number,
            What::Wait { job: known } => *known == job,
            What::Watch(watch) => watch.pending.contains(&job),
            _ => false,
        });
        let mut ids: Vec<u64> = concerned.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let state = self.shared.service.state_now(job);
        let is_over = state.as_ref().map_or(true, JobState::is_final);
        for id in ids {
            match (&self.flights[&id].what, state.clone()) {
                (What::Watch(_), Ok(state)) => self.watched_operation_changed(id, number, state),
                (What::Watch(_), Err(failure)) => self.watched_job_is_unknown(id, job, failure),
                (What::Wait { .. }, _) if is_over => self.tell_wait(id),
                (What::Operation { .. }, _) if is_over => self.answer_operation(id, number),
                _ => {}
            }
        }
    }

    fn watched_operation_changed(&mut self, id: u64, number: JobNumber, state: JobState<'static>) {
        let name = self.shared.service.job_of_operation(number);
        let Some(watch) = self.watch(id) else { return };
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

    /// Tells ends, as far as there is credit. The last one ends the watch.
    pub(super) fn push_ended(&mut self, id: u64) {
        loop {
            let Some(watch) = self.watch(id) else { return };
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

    /// Answers a checkpoint or check that was to be answered at its end.
    fn answer_operation(&mut self, id: u64, number: JobNumber) {
        self.land(id);
        let Some(outcome) = self.shared.service.outcome(number) else {
            return self.refuse(id, Failure::new(Code::NoSuchJob, "its outcome is gone"));
        };
        let marks = self.shared.service.marks();
        match outcome {
            OperationOutcome::Checkpoint(_) => self.reply(id).send(&Response::Marks(marks)),
            OperationOutcome::Verified(found) => {
                let found: Verified<'_> = verified(&found);
                self.reply(id).send(&Response::Verified(found));
            }
            OperationOutcome::Failed(error) => self.refuse(id, error),
            OperationOutcome::Cancelled => {
                self.refuse(id, Failure::new(Code::Cancelled, "the operation was cancelled"));
            }
        }
    }

    /// Has this connection told when an operation changes.
    pub(super) fn listen(&mut self, number: JobNumber) {
        let mailbox: Weak<Mailbox> = Arc::downgrade(&self.mailbox);
        let listener: Weak<dyn JobListener> = mailbox;
        self.shared.service.jobs().listen(number, listener);
    }

    /// Adds credit to whatever has this id.
    pub(super) fn add_credit(&mut self, id: u64, more: u32, now: Instant) {
        match self.flights.get_mut(&id).map(|flight| &mut flight.what) {
            Some(What::Watch(watch)) => {
                watch.credit = watch.credit.saturating_add(more);
                self.push_ended(id);
            }
            Some(What::Marks(marks)) => {
                marks.add_credit(more);
                self.push_marks(id, now);
            }
            Some(What::Stream(stream)) => {
                stream.add_credit(more);
                self.resume_streams();
            }
            // It may have ended while the credit was on its way.
            _ => {}
        }
    }

    fn watch(&mut self, id: u64) -> Option<&mut Watch> {
        match self.flights.get_mut(&id).map(|flight| &mut flight.what) {
            Some(What::Watch(watch)) => Some(watch),
            _ => None,
        }
    }
}
