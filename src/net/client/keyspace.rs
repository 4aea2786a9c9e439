//! Keyspaces of a served store.

use std::ops::{Bound, RangeBounds};

use super::call::Repeat;
use super::client::Client;
use super::error::Result;
use super::job::Job;
use super::range::{Entry, Range};
use super::write::{At, Write};
use crate::CommitMode;
use crate::engine::store::prefix_bounds;
use crate::net::proto::{Get, Request, Response};

/// A keyspace of a served store: a client, and the name of the keyspace.
#[derive(Clone, Debug)]
pub struct Keyspace {
    client: Client,
    name: String,
}

impl Client {
    /// The keyspace of this name, which must exist when it is used. Sends nothing, and needs no scope
    /// `admin`. [`Client::keyspace`] creates it if there is none.
    pub fn existing_keyspace(&self, name: impl Into<String>) -> Keyspace {
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
    /// An error of the server or of the connection.
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

    /// The entries whose keys are in `bounds`, in order, of one snapshot.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range {
        let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        self.range_of((bound(bounds.start_bound()), bound(bounds.end_bound())))
    }

    /// The entries whose keys begin with `prefix`, in order, of one snapshot.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        self.range_of(prefix_bounds(prefix.as_ref()))
    }

    /// All entries, in order, of one snapshot.
    pub fn iter(&self) -> Range {
        self.range::<&[u8]>(..)
    }

    /// The entry with the least key.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn first(&self) -> Result<Option<Entry>> {
        self.iter().one().await
    }

    /// The entry with the greatest key.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn last(&self) -> Result<Option<Entry>> {
        self.iter().descending().one().await
    }

    /// Whether there is `key`. Costs as much as [`Keyspace::get`]: the value is sent as well.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.get(key).await.map(|value| value.is_some())
    }

    /// The exact number of keys, in one snapshot. **Reads them all**, with their values: the protocol has
    /// no count, so time and traffic are in proportion to the keyspace. Embedded,
    /// [`Keyspace::len`](crate::Keyspace::len) is O(1).
    ///
    /// # Errors
    /// As [`Keyspace::get`], and those of [`Entries::next`](super::Entries::next).
    pub async fn len(&self) -> Result<u64> {
        self.iter().entries().await?.count().await
    }

    /// Whether there is no key. Reads one entry at most.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn is_empty(&self) -> Result<bool> {
        self.first().await.map(|first| first.is_none())
    }

    fn range_of(&self, bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Range {
        Range::new(self.client.clone(), self.name.clone(), bounds)
    }

    fn at<'a>(&'a self, key: &'a [u8]) -> At<'a> {
        At { keyspace: &self.name, key }
    }
}
