//! The service: what a store is to those who ask from outside.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::jobs::{JobNumber, Jobs};
use super::names::Names;
use super::once::{Once, Swept};
use super::operations::{Operation, Outcome};
use super::shortage::Shortage;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Incarnation, LifeMark, Lsn};
use crate::engine::mutants::mutant;
use crate::engine::store::Token;
use crate::net::proto::{Code, Failure, JobId, JobState, Marks, Place};
use crate::{Receipt, Status, Store};

/// A store, and what serving it needs beside it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(super) store: Store,
    pub(super) names: Names,
    pub(super) once: Once,
    pub(super) shortage: Shortage,
    pub(super) jobs: Arc<Jobs>,
    incarnation: Incarnation,
    mark: LifeMark,
}

/// What a job id names, of those that may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum JobRef {
    /// A write of this life of the store.
    Write(Lsn),
    /// An operation of this life of the store.
    Operation(JobNumber),
    /// Something of another life: its state is final, and may have to be read. It may be one that
    /// this copy of the store never had.
    Former,
}

impl Service {
    /// Serves `store`. Begins a new life of it, so that job ids of this process are its own.
    ///
    /// # Errors
    /// The store cannot be written. It can still be read, by whoever opens it for that.
    pub(crate) fn new(store: Store) -> Result<Service> {
        store.begin()?;
        let once = Once::default();
        match once.keyspaces(&store).and_then(|_| store.flush()) {
            Ok(_) => {}
            // Whoever needs them asks again; what is there can be read.
            Err(error @ Error::DiskFull { .. }) => {
                crate::engine::base::foreign::warning!(
                    "{}: no space for idempotency keys: {error}",
                    store.directory()
                );
            }
            Err(error) => return Err(error),
        }
        let Token { incarnation, mark, .. } = store.receipt_at(Lsn::ZERO).token;
        let jobs = Jobs::start(store.clone());
        let names = Names::of(&store)?;
        let shortage = Shortage::default();
        Ok(Service { store, names, once, shortage, jobs, incarnation, mark })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// What sets this life apart from those of other copies of the store.
    pub(crate) fn mark(&self) -> LifeMark {
        self.mark
    }

    /// Where the store is. Waits for nothing.
    pub(crate) fn marks(&self) -> Marks {
        let marks = self.store.watermarks();
        Marks {
            incarnation: marks.incarnation.get(),
            appended: marks.appended.get(),
            visible: marks.visible.get(),
            durable: marks.durable.get(),
            checkpoint: marks.checkpoint.get(),
        }
    }

    /// The sync line.
    pub(crate) fn durable(&self) -> Lsn {
        self.store.durable()
    }

    /// Where the sync line has to come for a flush that is asked for now.
    ///
    /// # Errors
    /// `Poisoned`: it moves no more.
    pub(crate) fn to_flush(&self) -> Result<Lsn> {
        self.store.poisoned().map_or_else(|| Ok(self.store.watermarks().appended), Err)
    }

    pub(crate) fn place(&self, lsn: Lsn) -> Place {
        Place { incarnation: self.incarnation.get(), lsn: lsn.get() }
    }

    /// The job id of a write of this life.
    pub(crate) fn job_of_write(&self, lsn: Lsn) -> String {
        self.store.receipt_at(lsn).token()
    }

    /// The job id of an operation of this life.
    pub(crate) fn job_of_operation(&self, number: JobNumber) -> String {
        JobId::of_operation(self.store.receipt_at(Lsn::ZERO).token, number.0).to_string()
    }

    /// The id of a job of this life.
    pub(crate) fn name_of(&self, job: JobRef) -> String {
        match job {
            JobRef::Write(lsn) => self.job_of_write(lsn),
            JobRef::Operation(number) => self.job_of_operation(number),
            JobRef::Former => unreachable!("the pool judges former lives by their names"),
        }
    }

    /// What a job id names. Waits for nothing.
    ///
    /// # Errors
    /// The text is no job id, or names what never was.
    pub(crate) fn find_job(&self, job: &str) -> Result<JobRef, Failure<'static>> {
        let id: JobId = job.parse()?;
        let refused = |reason: &str| Error::InvalidToken {
            token: job.chars().take(100).collect(),
            reason: reason.into(),
        };
        if id.to_string() != job {
            return Err(refused("numbers with leading zeros").into());
        }
        let Token { store, incarnation, mark, lsn } = *id.token();
        if store != self.store.id() {
            return Err(refused("belongs to another store").into());
        }
        if (incarnation, mark) != (self.incarnation, self.mark) {
            // Whether this copy of the store had that life stands in its catalog.
            return Ok(JobRef::Former);
        }
        match id {
            JobId::Write(_) if lsn > self.store.watermarks().appended => {
                Err(refused("the store has made no such commit").into())
            }
            JobId::Write(_) => Ok(JobRef::Write(lsn)),
            JobId::Operation(_) => {
                let number = JobNumber(lsn.get());
                if !self.jobs.has(number) {
                    return Err(Failure::new(Code::NoSuchJob, format!("there is no job {job}")));
                }
                Ok(JobRef::Operation(number))
            }
        }
    }

    /// The state of a job of this life. Waits for nothing.
    ///
    /// # Errors
    /// `Poisoned` if nobody can tell before the store is opened anew.
    pub(crate) fn state_now(&self, job: JobRef) -> Result<JobState<'static>, Failure<'static>> {
        match job {
            JobRef::Write(lsn) => {
                if self.store.receipt_at(lsn).is_durable() {
                    return Ok(JobState::Durable);
                }
                match self.store.poisoned() {
                    Some(error) => Err(self.failed(error.after_append(lsn))),
                    None => Ok(JobState::Appended),
                }
            }
            JobRef::Operation(number) => self.jobs.state(number),
            JobRef::Former => Err(Failure::new(Code::Internal, "a former life is to be read")),
        }
    }

    /// The state of any job. May read pages.
    pub(crate) fn state(&self, job: &str) -> Result<JobState<'static>, Failure<'static>> {
        match self.find_job(job)? {
            // The outcome of an operation goes with its process (SERVICE-4).
            JobRef::Former if job.contains("-op-") => {
                self.store.check_life(job.parse::<JobId>()?.token(), job)?;
                Ok(JobState::Interrupted)
            }
            JobRef::Former => {
                mutant!(FormerToldDurable => return Ok(JobState::Durable));
                Ok(match self.store.status(job)? {
                    Status::Pending => JobState::Appended,
                    Status::Durable => JobState::Durable,
                    Status::Lost => JobState::Lost,
                })
            }
            now => self.state_now(now),
        }
    }

    /// What a client is told of an error. One of a write that is in the log names its job: what
    /// becomes of it the next life tells. One without a job left no trace.
    pub(crate) fn failed(&self, error: Error) -> Failure<'static> {
        let job = self.store.receipt_of(&error).map(|receipt| receipt.token());
        let failure = Failure::from(&error);
        match job {
            Some(job) => failure.with("job", job),
            None => failure,
        }
    }

    /// The receipt of a write of this life.
    pub(crate) fn receipt(&self, lsn: Lsn) -> Receipt {
        self.store.receipt_at(lsn)
    }

    /// `Ready` once the sync line has passed `lsn`; asks for a flush.
    pub(crate) fn poll_durable(&self, lsn: Lsn, cx: &mut Context<'_>) -> Poll<Result<()>> {
        std::pin::pin!(self.receipt(lsn)).poll(cx)
    }

    /// Begins a long operation.
    ///
    /// # Errors
    /// `TooBusy`: too many wait already.
    pub(crate) fn begin(&self, operation: Operation) -> Result<JobNumber, Failure<'static>> {
        self.jobs.submit(operation)
    }

    pub(crate) fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    /// What came of an operation that has ended.
    pub(crate) fn outcome(&self, number: JobNumber) -> Option<Outcome> {
        self.jobs.outcome(number)
    }

    /// Forgets idempotency keys that are older than `age`, a bounded number. May wait for the store.
    ///
    /// # Errors
    /// What stood in the way; the next time it tries again.
    pub(crate) fn sweep_once(&self, age: Duration) -> Result<Swept> {
        self.once.sweep(&self.store, age)
    }

    /// Ends the operations: they are cancelled, and the one that runs is waited for.
    pub(crate) fn close(&self) {
        self.jobs.close();
    }
}
