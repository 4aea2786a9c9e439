//! Jobs: the state of a write or of a long operation, by poll, long poll or push.

use std::fmt;
use std::time::Duration;

use super::answer::Answer;
use super::call::Repeat;
use super::client::Client;
use super::error::Result;
use super::job_events::JobEvents;
use crate::engine::base::lsn::{Incarnation, Lsn};
use crate::engine::store::Token;
use crate::net::proto::{
    self, Applied, JobCancel, JobState, JobStatus, JobWait, Request, Response, Written,
};

/// How much longer than its own time a long poll may take.
const ANSWER: Duration = Duration::from_secs(1);

/// A write or a long operation: its id, and ways to learn its state. The counterpart of a
/// [`Receipt`](crate::Receipt). The server keeps nothing for the job of a write, and knows its state
/// after a restart too.
#[derive(Clone)]
pub struct Job {
    client: Client,
    id: String,
    known: JobState<'static>,
    applied: Option<Applied>,
}

impl Job {
    pub(super) fn of_write(client: Client, answer: &Answer, written: &Written) -> Job {
        let proto::CommitPosition { incarnation, lsn } = written.receipt;
        let known = if written.durable { JobState::Durable } else { JobState::Appended };
        let (incarnation, lsn) = (Incarnation::new(incarnation), Lsn::new(lsn));
        let token = Token { store: answer.store, incarnation, mark: answer.mark, lsn };
        let id = token.to_string();
        // A write that was applied before may have been an earlier try of this call.
        let is_known = written.applied == Applied::Now || !answer.is_retried;
        Job { client, id, known, applied: is_known.then_some(written.applied) }
    }

    pub(super) fn told(client: Client, job: proto::Job<'_>) -> Job {
        let (id, known) = (job.job.to_string(), job.state.into_owned());
        Job { client, id, known, applied: None }
    }

    /// Its id. Any process may ask any later server of the same store for its state. The id of a
    /// write is the token of its receipt.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The last state that the server told.
    pub fn known(&self) -> &JobState<'static> {
        &self.known
    }

    /// Whether a write is known to survive a power loss.
    pub fn is_durable(&self) -> bool {
        self.known == JobState::Durable
    }

    /// Whether a write was applied by this call, or by an earlier one with the same idempotency
    /// key. `None` where that is not known:
    ///
    /// - for a write in mode `Job` ([`Write::job`](super::Write::job));
    /// - for an operation, and for a job made from its id;
    /// - if the write was applied before and this call sent it twice: its first try may have done it.
    pub fn applied(&self) -> Option<Applied> {
        self.applied
    }

    /// Its state now: a short poll.
    ///
    /// # Errors
    /// An error of the server or of the connection.
    pub async fn status(&self) -> Result<JobState<'static>> {
        let request = Request::JobStatus(JobStatus { job: &self.id });
        self.client.ask_state(&request, self.client.timeout()).await
    }

    /// Waits for its end, at most for `timeout`: a long poll. Returns the state at the end, or at the
    /// timeout.
    ///
    /// # Errors
    /// As [`Job::status`]. A server that does not answer gets a second or two more.
    pub async fn wait(&self, timeout: Duration) -> Result<JobState<'static>> {
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let request = Request::JobWait(JobWait { job: &self.id, timeout_ms });
        self.client.ask_state(&request, Some(timeout.saturating_add(ANSWER))).await
    }

    /// Watches for its end: a push.
    pub fn watch(&self) -> JobEvents {
        self.client.watch_jobs([self.id.as_str()])
    }

    /// Asks a long operation to stop.
    ///
    /// # Errors
    /// As [`Job::status`].
    pub async fn cancel(&self) -> Result<()> {
        let request = Request::JobCancel(JobCancel { job: &self.id });
        self.client.call(&request, Repeat::Once).await.map(drop)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("id", &self.id).field("known", &self.known).finish()
    }
}

impl Client {
    /// The job with this id.
    pub fn job(&self, id: impl Into<String>) -> Job {
        let known = JobState::Queued;
        Job { client: self.clone(), id: id.into(), known, applied: None }
    }

    /// Watches jobs: the stream tells the end of each once.
    pub fn watch_jobs<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> JobEvents {
        JobEvents::of(self.clone(), ids)
    }

    async fn ask_state(
        &self,
        request: &Request<'_>,
        timeout: Option<Duration>,
    ) -> Result<JobState<'static>> {
        let answer = self.call_within(request, Repeat::Reads, timeout).await?;
        match answer.response()? {
            Response::Job(job) => Ok(job.state.into_owned()),
            _ => answer.unexpected(),
        }
    }
}
