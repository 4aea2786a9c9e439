//! A served store: its state, its jobs, and their ids.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::jobs::{JobNumber, Jobs};
use super::names::Names;
use super::once::{Once, Swept};
use super::operations::{Operation, OperationOutcome};
use super::shortage::Shortage;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Incarnation, LifeMark, Lsn};
use crate::engine::mutants::mutant;
use crate::engine::store::Token;
use crate::net::proto::{Code, CommitPosition, Failure, JobId, JobState, Marks};
use crate::{Receipt, Status, Store};

/// A store, and the state that serving it needs.
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

/// What a job id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum JobRef {
    /// A write of this incarnation.
    Write(Lsn),
    /// An operation of this incarnation.
    Operation(JobNumber),
    /// A job of another incarnation, which this copy of the store may never have had. Its state is
    /// final, and pages may have to be read for it.
    Former,
}

impl Service {
    /// Serves `store`. Begins a new incarnation, so that job ids of this process are unique.
    ///
    /// # Errors
    /// The store cannot be written. It can still be opened to be read.
    pub(crate) fn new(store: Store) -> Result<Service> {
        store.begin()?;
        let once = Once::default();
        match once.keyspaces(&store).and_then(|_| store.flush()) {
            Ok(_) => {}
            // A write that needs them tries again; reads need no space.
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

    /// Tells this incarnation from those of other copies of the store.
    pub(crate) fn mark(&self) -> LifeMark {
        self.mark
    }

    /// The watermarks. Never blocks.
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

    /// The LSN that the sync line must reach for a flush that begins now.
    ///
    /// # Errors
    /// `Poisoned`: the sync line moves no more.
    pub(crate) fn to_flush(&self) -> Result<Lsn> {
        self.store.poisoned().map_or_else(|| Ok(self.store.watermarks().appended), Err)
    }

    pub(crate) fn position(&self, lsn: Lsn) -> CommitPosition {
        CommitPosition { incarnation: self.incarnation.get(), lsn: lsn.get() }
    }

    /// The job id of a write of this incarnation.
    pub(crate) fn job_of_write(&self, lsn: Lsn) -> String {
        self.store.receipt_at(lsn).token()
    }

    /// The job id of an operation of this incarnation.
    pub(crate) fn job_of_operation(&self, number: JobNumber) -> String {
        JobId::of_operation(self.store.receipt_at(Lsn::ZERO).token, number.0).to_string()
    }

    /// The id of a job of this incarnation.
    pub(crate) fn name_of(&self, job: JobRef) -> String {
        match job {
            JobRef::Write(lsn) => self.job_of_write(lsn),
            JobRef::Operation(number) => self.job_of_operation(number),
            JobRef::Former => {
                unreachable!("the pool judges jobs of other incarnations by their ids")
            }
        }
    }

    /// What a job id names. Never blocks.
    ///
    /// # Errors
    /// The text is no job id, or the job never existed.
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
            // The catalog tells whether this copy of the store had that incarnation.
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

    /// The state of a job of this incarnation. Never blocks.
    ///
    /// # Errors
    /// `Poisoned` if the state is unknown until the store is opened again.
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
            JobRef::Former => Err(Failure::new(
                Code::Internal,
                "the state of a job of another incarnation has to be read",
            )),
        }
    }

    /// The state of any job. May read pages.
    pub(crate) fn state(&self, job: &str) -> Result<JobState<'static>, Failure<'static>> {
        match self.find_job(job)? {
            // The outcome of an operation is lost with its process (SERVICE-4).
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

    /// The failure that a client gets for an error. For a write that is in the log it names the job,
    /// whose state the next incarnation tells. Without a job nothing was written.
    pub(crate) fn failed(&self, error: Error) -> Failure<'static> {
        let job = self.store.receipt_of(&error).map(|receipt| receipt.token());
        let failure = Failure::from(&error);
        match job {
            Some(job) => failure.with("job", job),
            None => failure,
        }
    }

    /// The receipt of a write of this incarnation.
    pub(crate) fn receipt(&self, lsn: Lsn) -> Receipt {
        self.store.receipt_at(lsn)
    }

    /// `Ready` once the sync line has passed `lsn`. Requests a flush.
    pub(crate) fn poll_durable(&self, lsn: Lsn, cx: &mut Context<'_>) -> Poll<Result<()>> {
        std::pin::pin!(self.receipt(lsn)).poll(cx)
    }

    /// Begins a long operation.
    ///
    /// # Errors
    /// `TooBusy`: the queue is full.
    pub(crate) fn begin(&self, operation: Operation) -> Result<JobNumber, Failure<'static>> {
        self.jobs.submit(operation)
    }

    pub(crate) fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    /// The outcome of an operation that has ended.
    pub(crate) fn outcome(&self, number: JobNumber) -> Option<OperationOutcome> {
        self.jobs.outcome(number)
    }

    /// Forgets a bounded number of idempotency keys older than `age`. May wait for the store.
    ///
    /// # Errors
    /// Of the store. The next sweep tries again.
    pub(crate) fn sweep_once(&self, age: Duration) -> Result<Swept> {
        self.once.sweep(&self.store, age)
    }

    /// Whether the disk refused a write, and no write of its size has had room since.
    pub(crate) fn is_short(&self) -> bool {
        self.shortage.is_known()
    }

    /// Tries whether there is room for a write as large as the one that was refused, or for a small one
    /// if none was. Waits where such a write would.
    ///
    /// # Errors
    /// As of the write.
    pub(crate) fn try_room(&self) -> Result<()> {
        self.shortage.try_room(|size| self.store.try_room_for_write(size))
    }

    /// Cancels all operations, and waits for the end of the one that runs.
    pub(crate) fn close(&self) {
        self.jobs.close();
    }
}
