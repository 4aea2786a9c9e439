//! Operations on the whole store: keyspaces, figures, watermarks, flush, checkpoint, check.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;

use super::call::Repeat;
use super::client::Client;
use super::error::Result;
use super::job::Job;
use super::keyspace::Keyspace;
use super::parts::Parts;
use super::watch::{Told, Watch, subscribing};
use crate::engine::base::lsn::{Incarnation, Lsn};
use crate::net::proto::{
    self, Answer, Checkpoint, CreateKeyspace, DropKeyspace, Existing, Marks, Request, Response,
    Verified, Verify, WatchWatermarks,
};
use crate::{Verification, Watermarks};

/// Events of a watch that may be in flight: few, since a late one is out of date.
const CREDIT: u32 = 2;

/// Figures of a served store.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The watermarks of the store.
    pub watermarks: Watermarks,
    /// Names and numbers.
    pub figures: Vec<(String, u64)>,
}

impl Figures {
    /// The figure of this name.
    pub fn figure(&self, name: &str) -> Option<u64> {
        self.figures.iter().find(|(known, _)| known == name).map(|(_, figure)| *figure)
    }
}

impl Client {
    /// The names of all keyspaces, sorted.
    ///
    /// # Errors
    /// An error of the server or of the connection.
    pub async fn keyspaces(&self) -> Result<Vec<String>> {
        let answer = self.call(&Request::Keyspaces, Repeat::Reads).await?;
        match answer.response()? {
            Response::Names(names) => Ok(names.iter().map(ToString::to_string).collect()),
            _ => answer.unexpected(),
        }
    }

    /// The keyspace `name`, created if there is none, as [`Store::keyspace`](crate::Store::keyspace):
    /// it is durable when this returns. Needs the scope `admin` even if the keyspace exists:
    /// [`Client::existing_keyspace`] does not.
    ///
    /// # Errors
    /// As [`Client::keyspaces`], among others [`Code::InvalidName`](super::Code::InvalidName).
    pub async fn keyspace(&self, name: &str) -> Result<Keyspace> {
        let create = CreateKeyspace { name, existing: Existing::Accept };
        self.call(&Request::CreateKeyspace(create), Repeat::Once).await?;
        Ok(self.existing_keyspace(name))
    }

    /// Creates the keyspace `name`, durably, as [`Store::create_keyspace`](crate::Store::create_keyspace).
    /// Not sent again if its connection is lost: a second try would find the keyspace of the first.
    ///
    /// # Errors
    /// [`Code::KeyspaceExists`](super::Code::KeyspaceExists) if there is one, and as
    /// [`Client::keyspace`].
    pub async fn create_keyspace(&self, name: &str) -> Result<Keyspace> {
        let create = CreateKeyspace { name, existing: Existing::Refuse };
        self.call(&Request::CreateKeyspace(create), Repeat::Unsafe).await?;
        Ok(self.existing_keyspace(name))
    }

    /// Drops a keyspace with all that is in it.
    ///
    /// # Errors
    /// As [`Client::keyspaces`].
    pub async fn drop_keyspace(&self, name: &str) -> Result<()> {
        let request = Request::DropKeyspace(DropKeyspace { name });
        self.call(&request, Repeat::Unsafe).await.map(drop)
    }

    /// Checks that the server answers.
    ///
    /// # Errors
    /// As [`Client::keyspaces`].
    pub async fn ping(&self) -> Result<()> {
        self.call(&Request::Ping, Repeat::Reads).await.map(drop)
    }

    /// The store's figures.
    ///
    /// # Errors
    /// As [`Client::keyspaces`].
    pub async fn stats(&self) -> Result<Figures> {
        let answer = self.call(&Request::Stats, Repeat::Reads).await?;
        match answer.response()? {
            Response::Figures(proto::Figures { marks, figures }) => {
                let figures = figures.iter().map(|(name, figure)| (name.to_string(), *figure));
                Ok(Figures { watermarks: watermarks(marks), figures: figures.collect() })
            }
            _ => answer.unexpected(),
        }
    }

    /// The watermarks of the store.
    ///
    /// # Errors
    /// As [`Client::keyspaces`].
    pub async fn watermarks(&self) -> Result<Watermarks> {
        self.marks(&Request::Watermarks).await
    }

    /// Makes all earlier commits durable.
    ///
    /// # Errors
    /// As [`Client::keyspaces`].
    pub async fn flush(&self) -> Result<Watermarks> {
        self.marks(&Request::Flush).await
    }

    /// Makes a checkpoint.
    ///
    /// # Errors
    /// As [`Client::keyspaces`].
    pub async fn checkpoint(&self) -> Result<Watermarks> {
        self.marks(&Request::Checkpoint(Checkpoint { answer: Answer::AtEnd })).await
    }

    /// Begins a checkpoint, and returns its job.
    ///
    /// # Errors
    /// As [`Client::keyspaces`].
    pub async fn begin_checkpoint(&self) -> Result<Job> {
        self.begin(&Request::Checkpoint(Checkpoint { answer: Answer::Job })).await
    }

    /// Checks the whole store.
    ///
    /// # Errors
    /// As [`Client::keyspaces`].
    pub async fn verify(&self) -> Result<Verification> {
        let request = Request::Verify(Verify { answer: Answer::AtEnd });
        let answer = self.call(&request, Repeat::Reads).await?;
        match answer.response()? {
            Response::Verified(found) => Ok(Verification {
                problems: found.problems.iter().map(ToString::to_string).collect(),
                keyspaces: found.keyspaces,
                keys: found.keys,
                pages: found.pages,
                free_blocks: (found.free_blocks != Verified::UNKNOWN).then_some(found.free_blocks),
            }),
            _ => answer.unexpected(),
        }
    }

    /// Begins to check the whole store, and returns its job.
    ///
    /// # Errors
    /// As [`Client::keyspaces`].
    pub async fn begin_verify(&self) -> Result<Job> {
        self.begin(&Request::Verify(Verify { answer: Answer::Job })).await
    }

    /// Watches the watermarks: the stream tells their moves, at most one per `min_interval`.
    pub fn watch_watermarks(&self, min_interval: Duration) -> WatermarkEvents {
        let min_interval_ms = u32::try_from(min_interval.as_millis()).unwrap_or(u32::MAX);
        WatermarkEvents { client: self.clone(), min_interval_ms, watch: Watch::Idle, skipped: 0 }
    }

    async fn marks(&self, request: &Request<'_>) -> Result<Watermarks> {
        let answer = self.call(request, Repeat::Reads).await?;
        match answer.response()? {
            Response::Marks(marks) => Ok(watermarks(marks)),
            _ => answer.unexpected(),
        }
    }

    async fn begin(&self, request: &Request<'_>) -> Result<Job> {
        let answer = self.call(request, Repeat::Unsafe).await?;
        match answer.response()? {
            Response::Job(job) => Ok(Job::told(self.clone(), job)),
            _ => answer.unexpected(),
        }
    }
}

/// The watermarks as they move: a stream. A slow reader gets the newest ones, and the number that was
/// skipped.
pub struct WatermarkEvents {
    client: Client,
    min_interval_ms: u32,
    watch: Watch,
    skipped: u64,
}

impl WatermarkEvents {
    /// The watermarks after their next move. Goes on with the next connection when one is lost.
    /// Cancel-safe.
    ///
    /// # Errors
    /// An error of the server, or no connection can be made.
    pub async fn next(&mut self) -> Option<Result<Watermarks>> {
        poll_fn(|cx| self.poll_event(cx)).await.into()
    }

    /// Events that were skipped on the present connection.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Watermarks>> {
        let (client, min_interval_ms) = (&self.client, self.min_interval_ms);
        let ask = || -> BoxFuture<'static, Result<Parts>> {
            let watch = WatchWatermarks { credit: CREDIT, min_interval_ms };
            subscribing!(client, CREDIT, move || Request::WatchWatermarks(watch))
        };
        let answer = loop {
            match ready!(self.watch.poll_next(cx, ask))? {
                Told::Answer(answer) => break answer,
                Told::Over => {}
            }
        };
        self.watch.add_credit();
        Poll::Ready(match answer.response() {
            Ok(Response::MarksEvent(event)) => {
                self.skipped = event.skipped;
                Ok(watermarks(event.marks))
            }
            Ok(_) => answer.unexpected(),
            Err(error) => Err(error),
        })
    }
}

impl Stream for WatermarkEvents {
    type Item = Result<Watermarks>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(cx).map(Some)
    }
}

fn watermarks(marks: Marks) -> Watermarks {
    Watermarks {
        incarnation: Incarnation::new(marks.incarnation),
        appended: Lsn::new(marks.appended),
        visible: Lsn::new(marks.visible),
        durable: Lsn::new(marks.durable),
        checkpoint: Lsn::new(marks.checkpoint),
    }
}
