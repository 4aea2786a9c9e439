//! A watch of jobs: their ends, as they come.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::time::{Sleep, sleep};

use super::answer::Answer;
use super::client::Client;
use super::error::{Error, Result};
use super::parts::Parts;
use super::watch::{Told, Watch, subscribing};
use crate::net::proto::{Code, JobState, JobWatch, MAX_WATCHED, Request, Response};

/// Events that may be on their way to a watch.
const CREDIT: u32 = 64;
/// If there are more jobs than one watch takes, the watch is renewed with later ones when this many
/// have ended, or this long after the last end. A renewal names all jobs again, in a long request.
const RENEW_AFTER: usize = 64;
const RENEW_PAUSE: Duration = Duration::from_millis(50);

/// The states of watched jobs up to their ends: a stream.
///
/// When the connection is lost, the jobs that have not ended are watched on the next one, so no end is
/// lost. The buffer is bounded: states before the end may be skipped, and [`JobEvents::skipped`] counts
/// them. At most 1,024 jobs are watched at a time; later ones follow as these end.
pub struct JobEvents {
    client: Client,
    /// Jobs whose end has not been told.
    open: BTreeSet<String>,
    /// The jobs that the present watch names, and how many of them have ended since. All of them have
    /// when the watch is over.
    watched: Vec<String>,
    ended: usize,
    /// When the watch is renewed with later jobs.
    renewal: Option<Pin<Box<Sleep>>>,
    watch: Watch,
    skipped: u64,
}

impl JobEvents {
    pub(super) fn of<'a>(client: Client, ids: impl IntoIterator<Item = &'a str>) -> JobEvents {
        JobEvents {
            client,
            open: ids.into_iter().map(str::to_owned).collect(),
            watched: Vec::new(),
            ended: 0,
            renewal: None,
            watch: Watch::Idle,
            skipped: 0,
        }
    }

    /// The next event: a job's id and its state. `None` when all have ended. Cancel-safe.
    ///
    /// # Errors
    /// An error of the server, or no connection can be made. No end is lost: the next call watches the
    /// remaining jobs again. A server whose log is poisoned answers with an error for a write that is
    /// not durable, until it is restarted. A job that the server can never know (of another store, or
    /// of an incarnation that it never had) is told once, by its error.
    pub async fn next(&mut self) -> Option<Result<(String, JobState<'static>)>> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Events that were skipped because earlier ones were not read in time. Never the end of a job.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(String, JobState<'static>)>>> {
        loop {
            if self.open.is_empty() {
                return Poll::Ready(None);
            }
            if self.is_behind() && self.ended >= RENEW_AFTER {
                self.watch = Watch::Idle;
            }
            match self.poll_watch(cx) {
                Poll::Ready(Ok(Told::Answer(answer))) => {
                    return Poll::Ready(Some(self.read(&answer)));
                }
                Poll::Ready(Ok(Told::Over)) => {
                    for job in self.watched.drain(..) {
                        self.open.remove(&job);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(self.without(error)))),
                Poll::Pending if self.is_behind() && self.ended > 0 => {
                    let renewal = self.renewal.get_or_insert_with(|| Box::pin(sleep(RENEW_PAUSE)));
                    if renewal.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.watch = Watch::Idle;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<Result<Told>> {
        let JobEvents { client, open, watched, ended, renewal, watch, .. } = self;
        watch.poll_next(cx, || -> BoxFuture<'static, Result<Parts>> {
            *watched = open.iter().take(MAX_WATCHED).cloned().collect();
            (*ended, *renewal) = (0, None);
            let jobs = watched.clone();
            subscribing!(client, CREDIT, move || {
                let jobs = jobs.iter().map(String::as_str).collect();
                Request::JobWatch(JobWatch { jobs, credit: CREDIT })
            })
        })
    }

    /// Whether there are jobs that the present watch does not name.
    fn is_behind(&self) -> bool {
        matches!(self.watch, Watch::Watching(_))
            && self.open.len() + self.ended > self.watched.len()
    }

    fn read(&mut self, answer: &Answer) -> Result<(String, JobState<'static>)> {
        if !answer.is_last() {
            self.watch.add_credit();
        }
        match answer.response() {
            Ok(Response::JobEvent(event)) => {
                self.skipped = self.skipped.max(event.skipped);
                let (job, state) = (event.job.to_string(), event.state.into_owned());
                if state.is_final() && self.open.remove(&job) {
                    self.ended += 1;
                    self.renewal = None;
                }
                Ok((job, state))
            }
            Ok(_) => answer.unexpected(),
            Err(error) => {
                // The next call watches the remaining jobs again.
                self.watch = Watch::Idle;
                Err(self.without(error))
            }
        }
    }

    /// Removes the job of an error that says that the server can never know it.
    fn without(&mut self, error: Error) -> Error {
        let is_never =
            matches!(error.code(), Some(Code::UnknownLife | Code::InvalidToken | Code::NoSuchJob));
        if let Some(job) = error.job().filter(|_| is_never) {
            self.open.remove(job);
        }
        error
    }
}

impl Stream for JobEvents {
    type Item = Result<(String, JobState<'static>)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(cx)
    }
}
