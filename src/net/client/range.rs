//! Ranges of keys, and the stream of their entries.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Bound;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::time::{Sleep, sleep};

use super::answer::Answer;
use super::call::Repeat;
use super::client::Client;
use super::deadline::Deadline;
use super::error::Result;
use super::parts::Parts;
use crate::net::proto::{self, Delivery, Order, Request, Response};

/// Parts of a stream that may be in flight.
const CREDIT: u32 = 4;

/// A range of keys, to be read.
#[derive(Clone, Debug)]
pub struct Range {
    client: Client,
    keyspace: String,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    order: Order,
    limit: Option<u64>,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

impl Range {
    pub(super) fn new(
        client: Client,
        keyspace: String,
        (lower, upper): (Bound<Vec<u8>>, Bound<Vec<u8>>),
    ) -> Range {
        Range { client, keyspace, lower, upper, order: Order::Ascending, limit: None }
    }

    /// From the highest key down.
    #[must_use]
    pub fn descending(mut self) -> Range {
        self.order = Order::Descending;
        self
    }

    /// At most this many entries.
    #[must_use]
    pub fn limit(mut self, entries: u64) -> Range {
        self.limit = Some(entries);
        self
    }

    /// Begins to read. All entries are of one snapshot. Few are held here at a time: the server sends
    /// more as they are taken. If the connection has as many ranges and watches as the server allows,
    /// this waits for as long as a request may take.
    ///
    /// # Errors
    /// No connection can be made, or [`Error::NotSent`](super::Error::NotSent) at the deadline.
    pub async fn entries(self) -> Result<Entries> {
        let deadline = Deadline::within(self.client.timeout());
        let request = self.request(Delivery::Stream { credit: CREDIT }, self.limit);
        let parts = self.client.subscribe(&request, CREDIT, &deadline).await?;
        Ok(Entries { client: self.client.clone(), parts, here: VecDeque::new(), patience: None })
    }

    /// The first entry, as a page of one: tried again if the connection is lost.
    pub(super) async fn one(self) -> Result<Option<Entry>> {
        let request = self.request(Delivery::Page { max_bytes: 1 }, Some(1));
        let answer = self.client.call(&request, Repeat::Reads).await?;
        let mut here = VecDeque::new();
        read(&answer, &mut here)?;
        Ok(here.pop_front())
    }

    fn request(&self, delivery: Delivery, limit: Option<u64>) -> Request<'_> {
        Request::Range(proto::Range {
            keyspace: &self.keyspace,
            lower: on_wire(&self.lower),
            upper: on_wire(&self.upper),
            order: self.order,
            limit,
            delivery,
            at: proto::At::Latest,
        })
    }
}

fn on_wire(bound: &Bound<Vec<u8>>) -> proto::Bound<'_> {
    match bound {
        Bound::Unbounded => proto::Bound::Unbounded,
        Bound::Included(key) => proto::Bound::Included(key),
        Bound::Excluded(key) => proto::Bound::Excluded(key),
    }
}

fn read(answer: &Answer, here: &mut VecDeque<Entry>) -> Result<()> {
    match answer.response()? {
        Response::Entries(entries) => {
            let owned = |(key, value): (&[u8], &[u8])| (key.to_vec(), value.to_vec());
            here.extend(entries.rows.map(owned));
            Ok(())
        }
        _ => answer.unexpected(),
    }
}

/// The entries of a range: a stream. It keeps the connection. A lost connection ends it with an error,
/// since the snapshot is gone.
pub struct Entries {
    client: Client,
    parts: Parts,
    here: VecDeque<Entry>,
    /// The timeout of the next part.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Entries {
    /// The next entry. Cancel-safe.
    ///
    /// # Errors
    /// An error of the server or of the connection, or [`Error::TimedOut`](super::Error::TimedOut) if
    /// nothing comes for as long as a request may take. Nothing follows an error.
    pub async fn next(&mut self) -> Option<Result<Entry>> {
        poll_fn(|cx| self.poll_entry(cx)).await
    }

    /// Counts the remaining entries.
    pub(super) async fn count(mut self) -> Result<u64> {
        let mut count = 0;
        while let Some(entry) = self.next().await {
            entry?;
            count += 1;
        }
        Ok(count)
    }

    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Entry>>> {
        loop {
            if let Some(entry) = self.here.pop_front() {
                return Poll::Ready(Some(Ok(entry)));
            }
            let answer = match self.parts.poll_next(cx) {
                Poll::Ready(Some(Ok(answer))) => answer,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return self.poll_patience(cx),
            };
            self.patience = None;
            if let Err(error) = read(&answer, &mut self.here) {
                self.parts.give_up();
                return Poll::Ready(Some(Err(error)));
            }
            if !answer.is_last() {
                self.parts.add_credit(1);
            }
        }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Entry>>> {
        let Some((time, late)) = Deadline::patience(self.client.timeout()) else {
            return Poll::Pending;
        };
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(time)));
        if patience.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.parts.give_up();
        Poll::Ready(Some(Err(late)))
    }
}

impl Stream for Entries {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_entry(cx)
    }
}
