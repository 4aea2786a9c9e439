//! Jobs of long operations: one thread runs them, one after the other.
//!
//! ```text
//!   queued ----------> running ----------> done | failed
//!      |                  |                (kept until LATEST others have ended)
//!      '--(cancel)--------'--> cancelled
//! ```
//!
//! A running operation stops within a few pages of being cancelled. A checkpoint whose pages are all
//! written cannot be cancelled any more.
//!
//! The store keeps nothing of this. A client repeats an operation that the end of the process
//! interrupted: all of them can be repeated.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use parking_lot::{Condvar, Mutex};

use super::operations::{Operation, OperationOutcome};
use crate::Store;
use crate::engine::base::progress::OperationProgress;
use crate::net::proto::{Code, Failure, JobState};

/// The most queued operations.
const QUEUE: usize = 64;
/// Ended operations whose outcome is kept.
const LATEST: usize = 1000;

/// The number of an operation in this incarnation, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobNumber(pub(crate) u64);

/// Is called when an operation changes.
pub(crate) trait JobListener: Send + Sync {
    /// The operation has changed. Must not block.
    fn changed(&self, job: JobNumber);
}

/// All operations of this process.
pub(crate) struct Jobs {
    table: Mutex<Table>,
    work: Condvar,
}

#[derive(Default)]
struct Table {
    last: u64,
    jobs: BTreeMap<JobNumber, Job>,
    queue: VecDeque<JobNumber>,
    ended: VecDeque<JobNumber>,
    is_closed: bool,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Job {
    operation: Operation,
    state: State,
    listeners: Vec<Weak<dyn JobListener>>,
}

enum State {
    Queued,
    Running(Arc<OperationProgress>),
    Ended(OperationOutcome),
}

impl Jobs {
    /// Starts the thread. If that fails, operations stay queued, and the log says so.
    pub(super) fn start(store: Store) -> Arc<Jobs> {
        let jobs = Arc::new(Jobs { table: Mutex::default(), work: Condvar::new() });
        let shared = Arc::clone(&jobs);
        let builder = std::thread::Builder::new().name("syncline-jobs".into());
        match builder.spawn(move || shared.run(&store)) {
            Ok(thread) => jobs.table.lock().thread = Some(thread),
            Err(error) => log::error!(
                "cannot start the thread for long operations, which will stay queued: {error}"
            ),
        }
        jobs
    }

    pub(super) fn submit(&self, operation: Operation) -> Result<JobNumber, Failure<'static>> {
        let mut table = self.table.lock();
        if table.is_closed {
            return Err(Failure::new(Code::ShuttingDown, "the server is about to end"));
        }
        if table.queue.len() >= QUEUE {
            return Err(Failure::new(
                Code::TooBusy,
                format!("{QUEUE} operations are queued already; try again later"),
            ));
        }
        table.last += 1;
        let number = JobNumber(table.last);
        let job = Job { operation, state: State::Queued, listeners: Vec::new() };
        table.jobs.insert(number, job);
        table.queue.push_back(number);
        self.work.notify_one();
        Ok(number)
    }

    pub(super) fn has(&self, number: JobNumber) -> bool {
        self.table.lock().jobs.contains_key(&number)
    }

    pub(super) fn state(&self, number: JobNumber) -> Result<JobState<'static>, Failure<'static>> {
        let table = self.table.lock();
        let gone = || Failure::new(Code::NoSuchJob, "the outcome of the job is no longer known");
        Ok(match &table.jobs.get(&number).ok_or_else(gone)?.state {
            State::Queued => JobState::Queued,
            State::Running(progress) => {
                let (done, total) = progress.done_of_total();
                JobState::Running { done, total }
            }
            State::Ended(outcome) => outcome.state(),
        })
    }

    pub(super) fn outcome(&self, number: JobNumber) -> Option<OperationOutcome> {
        match &self.table.lock().jobs.get(&number)?.state {
            State::Ended(outcome) => Some(outcome.clone()),
            _ => None,
        }
    }

    /// Registers `listener` for changes from now on.
    pub(crate) fn listen(&self, number: JobNumber, listener: Weak<dyn JobListener>) {
        let mut table = self.table.lock();
        let Some(job) = table.jobs.get_mut(&number) else { return };
        if let State::Ended(_) = job.state {
            drop(table);
            tell(number, &[listener]);
            return;
        }
        job.listeners.retain(|known| known.strong_count() > 0 && !known.ptr_eq(&listener));
        job.listeners.push(listener);
    }

    /// Takes an operation out of the queue, or tells it to stop if it runs.
    pub(super) fn cancel(&self, number: JobNumber) {
        let mut table = self.table.lock();
        if let Some(State::Running(progress)) = table.jobs.get(&number).map(|job| &job.state) {
            progress.cancel();
        }
        if let Some(at) = table.queue.iter().position(|queued| *queued == number) {
            table.queue.remove(at);
            table.end(number, OperationOutcome::Cancelled);
        }
    }

    pub(super) fn close(&self) {
        let thread = {
            let mut table = self.table.lock();
            table.is_closed = true;
            for job in table.jobs.values() {
                if let State::Running(progress) = &job.state {
                    progress.cancel();
                }
            }
            for number in std::mem::take(&mut table.queue) {
                table.end(number, OperationOutcome::Cancelled);
            }
            self.work.notify_all();
            table.thread.take()
        };
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread for long operations panicked");
        }
    }

    fn run(&self, store: &Store) {
        loop {
            let (number, operation, progress) = {
                let mut table = self.table.lock();
                let number = loop {
                    if let Some(number) = table.queue.pop_front() {
                        break number;
                    }
                    if table.is_closed {
                        return;
                    }
                    self.work.wait(&mut table);
                };
                let job = table.jobs.get_mut(&number).expect("a queued job is in the table");
                let progress = Arc::default();
                job.state = State::Running(Arc::clone(&progress));
                tell(number, &job.listeners);
                (number, job.operation, progress)
            };
            let outcome = operation.run(store, &progress);
            self.table.lock().end(number, outcome);
        }
    }
}

impl Table {
    fn end(&mut self, number: JobNumber, outcome: OperationOutcome) {
        let job = self.jobs.get_mut(&number).expect("a job that ends is in the table");
        job.state = State::Ended(outcome);
        tell(number, &std::mem::take(&mut job.listeners));
        self.ended.push_back(number);
        if self.ended.len() > LATEST
            && let Some(oldest) = self.ended.pop_front()
        {
            self.jobs.remove(&oldest);
        }
    }
}

fn tell(number: JobNumber, listeners: &[Weak<dyn JobListener>]) {
    for listener in listeners.iter().filter_map(Weak::upgrade) {
        listener.changed(number);
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}
