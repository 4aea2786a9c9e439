//! Flights that last as long as the client likes: watches and streams. Each goes on under credit.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::net::proto::{Failure, JobState, Marks};
use crate::net::service::{JobRef, Stream};

/// Jobs of former lives that one task judges.
const JUDGED_PER_TASK: usize = 64;

/// Jobs that a client watches.
#[derive(Debug, Default)]
pub(super) struct JobsWatch {
    pub(super) credit: u32,
    pub(super) pending: BTreeSet<JobRef>,
    /// Jobs of former lives whose state the pool has yet to find.
    pub(super) unjudged: usize,
    /// Those of them that no task has yet.
    pub(super) to_judge: VecDeque<String>,
    pub(super) ticket: u64,
    /// Ends that wait for credit.
    pub(super) ended: VecDeque<(String, JobState<'static>)>,
    /// Why the state of some job is unknown. The watch ends with it after all other ends are sent.
    pub(super) unknown: Option<Failure<'static>>,
    /// Intermediate states that were not sent for want of credit.
    pub(super) skipped: u64,
}

impl JobsWatch {
    /// The next jobs of former lives for one task.
    pub(super) fn next_to_judge(&mut self) -> Vec<String> {
        let count = self.to_judge.len().min(JUDGED_PER_TASK);
        self.to_judge.drain(..count).collect()
    }

    /// Takes over the state of a job of a former life, or why it is unknown.
    pub(super) fn judged(
        &mut self,
        job: String,
        state: Result<JobState<'static>, Failure<'static>>,
    ) {
        self.unjudged -= 1;
        match state {
            Ok(state) => self.ended.push_back((job, state)),
            Err(failure) => self.cannot_tell(job, failure),
        }
    }

    /// Notes that the state of a job is unknown here.
    pub(super) fn cannot_tell(&mut self, job: String, failure: Failure<'static>) {
        let names_it = failure.job().is_some();
        let failure = || if names_it { failure } else { failure.with("job", job) };
        self.unknown.get_or_insert_with(failure);
    }

    /// Whether no job's state is still awaited.
    pub(super) fn is_over(&self) -> bool {
        self.pending.is_empty() && self.unjudged == 0
    }
}

/// A client that watches the watermarks.
#[derive(Debug)]
pub(super) struct MarksWatch {
    pub(super) credit: u32,
    pub(super) min_interval: Duration,
    /// The watermarks that were sent last, and when.
    pub(super) last: Option<(Instant, Marks)>,
    /// Changes that were not sent for want of credit.
    pub(super) skipped: u64,
    pub(super) deadline: Option<Instant>,
}

/// A stream of a range.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) credit: u32,
    pub(super) ticket: u64,
    /// Present between two parts; the pool has it while it makes one.
    pub(super) stream: Option<Box<Stream>>,
}
