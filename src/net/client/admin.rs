//! What concerns the whole store: keyspaces, figures, watermarks, flush, checkpoint, check.

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

/// Events that may be on their way to a watch: what comes late is old.
const CREDIT: u32 = 2;

/// Figures of a store that is served.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Where the store is.
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
    /// What the server says, or the connection.
    pub async fn keyspaces(&self) -> Result<Vec<String>> {
        let answer = self.call(&Request::Keyspaces, Repeat::Reads).await?;
        match answer.response()? {
            Response::Names(names) => Ok(names.iter().map(ToString::to_string).collect()),
            _ => answer.unexpected(),
        }
    }

    /// The keyspace `name`, made if there is none, as [`Store::keyspace`](crate::Store::keyspace):
    /// it is there durably when this returns. Needs the scope `admin`, also where there is one: see
    /// [`Client::existing_keyspace`].
    ///
    /// # Errors
    /// As [`Client::keyspaces`], among others [`Code::InvalidName`](super::Code::InvalidName).
    pub async fn keyspace(&self, name: &str) -> Result<Keyspace> {
        let create = CreateKeyspace { name, existing: Existing::Accept };
        self.call(&Request::CreateKeyspace(create), Repeat::Once).await?;
        Ok(self.existing_keyspace(name))
    }

    /// Makes the keyspace `name`, durably, as [`Store::create_keyspace`](crate::Store::create_keyspace).
    /// Not sent again if its connection is lost: the second try would find what the first has made.
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

    /// Asks for a sign of life.
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

    /// Where the store is.
    ///
    /// # Errors
    /// As [`Client::keyspaces`].
    pub async fn watermarks(&self) -> Result<Watermarks> {
        self.marks(&Request::Watermarks).await
    }

    /// Makes everything durable that has been committed.
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

    /// Begins a checkpoint, and returns the job that tells how far it is.
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

    /// Begins to check the whole store, and returns the job that tells how far it is.
    ///
    /// # Errors
    /// As [`Client::keyspaces`].
    pub async fn begin_verify(&self) -> Result<Job> {
        self.begin(&Request::Verify(Verify { answer: Answer::Job })).await
    }

    /// Asks to be told when the watermarks move, at most every `min_interval`.
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

/// The watermarks, told as they move: a stream. A slow reader is told the newest, and how many were
/// passed over.
pub struct WatermarkEvents {
    client: Client,
    min_interval_ms: u32,
    watch: Watch,
    skipped: u64,
}

impl WatermarkEvents {
    /// Where the store is now. Goes on with the next connection when one is lost. Cancel-safe.
    ///
    /// # Errors
    /// What the server says, or that no connection can be made.
    pub async fn next(&mut self) -> Option<Result<Watermarks>> {
        poll_fn(|cx| self.poll_event(cx)).await.into()
    }

    /// Events of the present connection that were passed over.
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
