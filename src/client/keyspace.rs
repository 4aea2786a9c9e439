//! Keyspaces of a store that is served.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use futures_util::Stream;

use super::call::Repeat;
use super::client::Client;
use super::error::Result;
use super::job::Job;
use super::link::Parts;
use super::write::{At, Write};
use crate::CommitMode;
use crate::proto::{self, Delivery, Get, Order, Request, Response};

/// Parts of a stream that may be on their way.
const CREDIT: u32 = 4;

/// A keyspace of a store that is served. Making one sends nothing.
#[derive(Clone, Debug)]
pub struct Keyspace {
    client: Client,
    name: String,
}

impl Client {
    /// The keyspace of this name, which must exist when it is used.
    pub fn keyspace(&self, name: impl Into<String>) -> Keyspace {
        Keyspace { client: self.clone(), name: name.into() }
    }
}

impl Keyspace {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a key.
    ///
    /// # Errors
    /// What the server says, or the connection.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let request = Request::Get(Get { keyspace: &self.name, key: key.as_ref() });
        let answer = self.client.call(&request, Repeat::Reads).await?;
        match answer.response()? {
            Response::Value(value) => Ok(value.map(<[u8]>::to_vec)),
            _ => answer.unexpected(),
        }
    }

    /// Gives `key` the value `value`. It survives a power loss when this returns.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Job> {
        self.put_with(key, value, CommitMode::Sync).await
    }

    /// As [`Keyspace::put`], answered as `how` says: a [`CommitMode`], or a [`Write`].
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        how: impl Into<Write>,
    ) -> Result<Job> {
        self.client.put(self.at(key.as_ref()), value.as_ref(), how.into()).await
    }

    /// Deletes `key`. That survives a power loss when this returns.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Job> {
        self.delete_with(key, CommitMode::Sync).await
    }

    /// As [`Keyspace::delete`], answered as `how` says.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn delete_with(&self, key: impl AsRef<[u8]>, how: impl Into<Write>) -> Result<Job> {
        self.client.delete(self.at(key.as_ref()), how.into()).await
    }

    /// The entries whose keys are in `bounds`, in order, as of one moment.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range {
        let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        Range {
            keyspace: self.clone(),
            lower: bound(bounds.start_bound()),
            upper: bound(bounds.end_bound()),
            order: Order::Ascending,
            limit: None,
        }
    }

    fn at<'a>(&'a self, key: &'a [u8]) -> At<'a> {
        At { keyspace: &self.name, key }
    }
}

/// A range of keys that is about to be read.
#[derive(Clone, Debug)]
pub struct Range {
    keyspace: Keyspace,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    order: Order,
    limit: Option<u64>,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

impl Range {
    /// From the highest key down.
    #[must_use]
    pub fn descending(mut self) -> Range {
        self.order = Order::Descending;
        self
    }

    /// At most so many entries.
    #[must_use]
    pub fn limit(mut self, entries: u64) -> Range {
        self.limit = Some(entries);
        self
    }

    /// Begins to read. All entries are of one snapshot; few of them are here at a time, and the
    /// server goes on as they are taken.
    ///
    /// # Errors
    /// No connection can be made.
    pub async fn entries(self) -> Result<Entries> {
        let request = Request::Range(proto::Range {
            keyspace: &self.keyspace.name,
            lower: on_wire(&self.lower),
            upper: on_wire(&self.upper),
            order: self.order,
            limit: self.limit,
            delivery: Delivery::Stream { credit: CREDIT },
            at: proto::At::Latest,
        });
        let parts = self.keyspace.client.subscribe(&request, CREDIT).await?;
        Ok(Entries { parts, here: VecDeque::new() })
    }
}

fn on_wire(bound: &Bound<Vec<u8>>) -> proto::Bound<'_> {
    match bound {
        Bound::Unbounded => proto::Bound::Unbounded,
        Bound::Included(key) => proto::Bound::Included(key),
        Bound::Excluded(key) => proto::Bound::Excluded(key),
    }
}

/// The entries of a range, as they come. A connection that is lost ends them with an error: the
/// snapshot is gone with it.
pub struct Entries {
    parts: Parts,
    here: VecDeque<Entry>,
}

impl Entries {
    /// The next entry. Cancel-safe.
    ///
    /// # Errors
    /// What the server says, or the connection. Nothing follows an error.
    pub async fn next(&mut self) -> Option<Result<Entry>> {
        loop {
            if let Some(entry) = self.here.pop_front() {
                return Some(Ok(entry));
            }
            let answer = match self.parts.next().await? {
                Ok(answer) => answer,
                Err(error) => return Some(Err(error)),
            };
            match answer.response() {
                Ok(Response::Entries(entries)) => {
                    let owned = |(key, value): (&[u8], &[u8])| (key.to_vec(), value.to_vec());
                    self.here.extend(entries.rows.map(owned));
                }
                Ok(_) => return Some(answer.unexpected()),
                Err(error) => return Some(Err(error)),
            }
            if !answer.is_last() {
                self.parts.add_credit(1);
            }
        }
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Entry>> {
        let next = async |mut entries: Entries| entries.next().await.map(|next| (next, entries));
        futures_util::stream::unfold(self, next)
    }
}
