//! Writes: when the server answers one, and batches.

use super::call::Repeat;
use super::client::Client;
use super::error::Result;
use super::job::Job;
use crate::CommitMode;
use crate::net::proto::{self, Mode, Op, OpsBuffer, Request, Response};

/// When a write is answered, and its idempotency key.
///
/// ```
/// # #[cfg(feature = "client")] {
/// use syncline::CommitMode;
/// use syncline::client::Write;
///
/// let plain: Write = CommitMode::Sync.into(); // answered when it is durable
/// let retried = Write::from(CommitMode::Sync).once("order 17"); // sent again, applied once
/// let job = Write::job(); // answered when it is appended, with a job
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    mode: Mode,
    once: Option<Vec<u8>>,
}

impl Write {
    /// Answered when it is appended, with a job that tells when it is durable.
    pub fn job() -> Write {
        Write { mode: Mode::Job, once: None }
    }

    /// Sets an idempotency key of 1 to 64 bytes, which makes a retry safe. Of all writes with one key
    /// only the first is applied, and the others get its answer, for as long as the server keeps the
    /// key (24 hours by default).
    #[must_use]
    pub fn once(mut self, key: impl Into<Vec<u8>>) -> Write {
        self.once = Some(key.into());
        self
    }

    fn repeat(&self) -> Repeat {
        if self.once.is_some() { Repeat::Once } else { Repeat::Unsafe }
    }
}

impl From<CommitMode> for Write {
    fn from(mode: CommitMode) -> Write {
        let mode = match mode {
            CommitMode::Sync => Mode::Sync,
            CommitMode::Async => Mode::Async,
        };
        Write { mode, once: None }
    }
}

/// Puts and deletes, in one or more keyspaces, that are committed together: whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    ops: OpsBuffer,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Gives `key` the value `value`.
    pub fn put(&mut self, keyspace: &str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.ops.push(&Op::Put { keyspace, key: key.as_ref(), value: value.as_ref() });
    }

    /// Deletes `key`.
    pub fn delete(&mut self, keyspace: &str, key: impl AsRef<[u8]>) {
        self.ops.push(&Op::Delete { keyspace, key: key.as_ref() });
    }

    /// The number of changes.
    pub fn len(&self) -> u64 {
        self.ops.ops().len()
    }

    /// Whether there is no change.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Client {
    /// Commits a batch.
    ///
    /// # Errors
    /// An error of the server or of the connection.
    pub async fn write(&self, batch: &Batch, how: impl Into<Write>) -> Result<Job> {
        let how = how.into();
        let (mode, once, ops) = (how.mode, how.once.as_deref(), batch.ops.ops());
        self.commit(&Request::Batch(proto::Batch { mode, once, ops }), how.repeat()).await
    }

    pub(super) async fn put(&self, at: At<'_>, value: &[u8], how: Write) -> Result<Job> {
        let At { keyspace, key } = at;
        let (mode, once) = (how.mode, how.once.as_deref());
        let put = proto::Put { keyspace, key, value, mode, once };
        self.commit(&Request::Put(put), how.repeat()).await
    }

    pub(super) async fn delete(&self, at: At<'_>, how: Write) -> Result<Job> {
        let At { keyspace, key } = at;
        let (mode, once) = (how.mode, how.once.as_deref());
        let delete = proto::Delete { keyspace, key, mode, once };
        self.commit(&Request::Delete(delete), how.repeat()).await
    }

    async fn commit(&self, request: &Request<'_>, repeat: Repeat) -> Result<Job> {
        let answer = self.call(request, repeat).await?;
        match answer.response()? {
            Response::Written(written) => Ok(Job::of_write(self.clone(), &answer, &written)),
            Response::Job(job) => Ok(Job::told(self.clone(), job)),
            _ => answer.unexpected(),
        }
    }
}

/// A key in a keyspace.
pub(super) struct At<'a> {
    pub(super) keyspace: &'a str,
    pub(super) key: &'a [u8],
}
