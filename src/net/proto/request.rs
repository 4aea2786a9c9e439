//! Requests of a client. Everything is borrowed from the packet.
//!
//! Fields are in the order in which they are on the wire; `PROTOCOL.md` is the same in words.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::batch::{Batch, Mode};
use super::body::{self, Malformed};
use super::kind::Kind;
use super::packet::{Head, Packet, Part};
use super::writer::{Begun, TooLarge};

/// The first bytes of every `Hello`.
pub const MAGIC: [u8; 8] = *b"syncline";
/// The option of `Welcome` with the mark of the incarnation, in 16 hexadecimal digits.
#[allow(dead_code)] // used only by the layers above
pub(crate) const MARK_OPTION: &str = "mark";
/// The protocol version that this software speaks.
pub const VERSION: u16 = 1;
/// The longest idempotency key, in bytes. The shortest has one byte.
pub const MAX_ONCE: usize = 64;
/// The most jobs that one `JobWatch` names.
pub const MAX_WATCHED: usize = 1024;

/// A request, or one of the two packets that steer other requests (`Cancel`, `Credit`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)] // documented by their types
pub enum Request<'a> {
    Hello(Hello<'a>),
    Ping,
    Cancel(Cancel),
    Credit(Credit),
    Get(Get<'a>),
    Put(Put<'a>),
    Delete(Delete<'a>),
    Batch(Batch<'a>),
    Range(Range<'a>),
    Keyspaces,
    CreateKeyspace(CreateKeyspace<'a>),
    DropKeyspace(DropKeyspace<'a>),
    Stats,
    Watermarks,
    Flush,
    Checkpoint(Checkpoint),
    Verify(Verify),
    JobStatus(JobStatus<'a>),
    JobWait(JobWait<'a>),
    JobWatch(JobWatch<'a>),
    WatchWatermarks(WatchWatermarks),
    JobCancel(JobCancel<'a>),
}

/// The first packet of a connection. Its layout is the same in every version.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// The oldest version that the client speaks.
    pub min_version: u16,
    /// The newest version that the client speaks.
    pub max_version: u16,
    /// The client's name and version, for the server's log.
    pub client: &'a str,
    /// The secret that identifies the client.
    pub token: Option<&'a str>,
    /// The longest body that the client takes.
    pub max_body: u32,
    /// Names and values, for later versions. A server ignores those that it does not know.
    #[serde(borrow, deserialize_with = "body::growing")]
    pub options: Vec<(&'a str, &'a str)>,
}

/// The token is not shown.
impl fmt::Debug for Hello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("magic", &self.magic)
            .field("min_version", &self.min_version)
            .field("max_version", &self.max_version)
            .field("client", &self.client)
            .field("token", &self.token.map(|_| "hidden"))
            .field("max_body", &self.max_body)
            .field("options", &self.options)
            .finish()
    }
}

/// Cancels a request. Not answered itself; the request is answered in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The request's id.
    pub id: u64,
}

/// Lets a stream or a watch send more packets. Not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// The request's id.
    pub id: u64,
    /// Packets, added to the credit that is left.
    pub more: u32,
}

/// Reads one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Get<'a> {
    pub keyspace: &'a str,
    #[serde(with = "serde_bytes")]
    pub key: &'a [u8],
}

/// Writes one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put<'a> {
    /// The keyspace's name. It must exist.
    pub keyspace: &'a str,
    /// The key.
    #[serde(with = "serde_bytes")]
    pub key: &'a [u8],
    /// The value.
    #[serde(with = "serde_bytes")]
    pub value: &'a [u8],
    /// When it is answered.
    pub mode: Mode,
    /// Idempotency key: a retry with the same one is not applied again.
    #[serde(with = "serde_bytes", borrow)]
    pub once: Option<&'a [u8]>,
}

/// Deletes one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete<'a> {
    /// The keyspace's name. It must exist.
    pub keyspace: &'a str,
    /// The key, which need not exist.
    #[serde(with = "serde_bytes")]
    pub key: &'a [u8],
    /// When it is answered.
    pub mode: Mode,
    /// Idempotency key: a retry with the same one is not applied again.
    #[serde(with = "serde_bytes", borrow)]
    pub once: Option<&'a [u8]>,
}

/// Reads keys in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range<'a> {
    /// The keyspace's name.
    pub keyspace: &'a str,
    /// The lower end of the keys, in either order.
    #[serde(borrow)]
    pub lower: Bound<'a>,
    /// The upper end.
    #[serde(borrow)]
    pub upper: Bound<'a>,
    /// Which end comes first.
    pub order: Order,
    /// The most entries, in all parts together.
    pub limit: Option<u64>,
    /// One packet or many.
    pub delivery: Delivery,
    /// The state of the store that is read.
    pub at: At,
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound<'a> {
    /// No end.
    Unbounded,
    /// The key itself is in the range.
    Included(#[serde(with = "serde_bytes", borrow)] &'a [u8]),
    /// The key itself is not in the range.
    Excluded(#[serde(with = "serde_bytes", borrow)] &'a [u8]),
}

/// The order of a range's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// From the lowest key up.
    Ascending,
    /// From the highest key down.
    Descending,
}

/// How the server delivers the entries of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// One packet, with the first key of the next page.
    Page {
        /// Bytes of keys and values, about. At least one entry comes.
        max_bytes: u32,
    },
    /// As many packets as needed, all of one snapshot, as far as there is credit.
    Stream {
        /// Packets that may come before a `Credit`.
        credit: u32,
    },
}

/// The state of the store that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum At {
    /// The present one.
    Latest,
}

/// Creates a keyspace, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateKeyspace<'a> {
    /// Its name.
    pub name: &'a str,
    /// What to do if there is one.
    pub existing: Existing,
}

/// What to do if there is a keyspace of the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Existing {
    /// Refuse.
    Refuse,
    /// Accept it.
    Accept,
}

/// Drops a keyspace with all that is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DropKeyspace<'a> {
    pub name: &'a str,
}

/// When a long operation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// At its end.
    AtEnd,
    /// At once, with a job id.
    Job,
}

/// Makes a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Checkpoint {
    pub answer: Answer,
}

/// Checks the whole store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Verify {
    pub answer: Answer,
}

/// Asks for a job's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct JobStatus<'a> {
    pub job: &'a str,
}

/// Waits for a job's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobWait<'a> {
    /// The job's id.
    pub job: &'a str,
    /// After this time the server answers with the present state.
    pub timeout_ms: u32,
}

/// Watches jobs: one packet tells the end of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobWatch<'a> {
    /// The jobs' ids, 1 to [`MAX_WATCHED`].
    #[serde(borrow, deserialize_with = "body::growing")]
    pub jobs: Vec<&'a str>,
    /// Packets that may come before a `Credit`.
    pub credit: u32,
}

/// Watches the watermarks, until it is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchWatermarks {
    /// Packets that may come before a `Credit`.
    pub credit: u32,
    /// The least time between two of them.
    pub min_interval_ms: u32,
}

/// Asks a long operation to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct JobCancel<'a> {
    pub job: &'a str,
}

/// Why a packet is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No request has this kind.
    UnknownKind(u8),
    /// The body is not what the kind says.
    Malformed(Malformed),
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Refused {
        Refused::Malformed(malformed)
    }
}

impl<'a> Request<'a> {
    /// Reads the request in a packet. Allocates only for the lists of `Hello` and `JobWatch`.
    ///
    /// # Errors
    /// The kind is that of no request, or the body is malformed. The connection can go on.
    pub fn decode(packet: &Packet<'a>) -> Result<Request<'a>, Refused> {
        let kind = packet.head.kind;
        let known = Kind::from_number(kind).filter(|kind| kind.is_request());
        let known = known.ok_or(Refused::UnknownKind(kind))?;
        if packet.head.part == Part::More {
            return Err(
                Malformed::new("a request is one packet: the flag *more* is not set").into()
            );
        }
        let request = Request::decode_body(known, packet.body)?;
        request.check()?;
        Ok(request)
    }

    fn decode_body(kind: Kind, bytes: &'a [u8]) -> Result<Request<'a>, Malformed> {
        Ok(match kind {
            Kind::Get => Request::Get(body::decode(bytes)?),
            Kind::Put => Request::Put(body::decode(bytes)?),
            Kind::Delete => Request::Delete(body::decode(bytes)?),
            Kind::Batch => Request::Batch(Batch::decode(bytes)?),
            Kind::Range => Request::Range(body::decode(bytes)?),
            Kind::Hello => Request::Hello(body::decode(bytes)?),
            Kind::Cancel => Request::Cancel(body::decode(bytes)?),
            Kind::Credit => Request::Credit(body::decode(bytes)?),
            Kind::CreateKeyspace => Request::CreateKeyspace(body::decode(bytes)?),
            Kind::DropKeyspace => Request::DropKeyspace(body::decode(bytes)?),
            Kind::Checkpoint => Request::Checkpoint(body::decode(bytes)?),
            Kind::Verify => Request::Verify(body::decode(bytes)?),
            Kind::JobStatus => Request::JobStatus(body::decode(bytes)?),
            Kind::JobWait => Request::JobWait(body::decode(bytes)?),
            Kind::JobWatch => Request::JobWatch(body::decode(bytes)?),
            Kind::WatchWatermarks => Request::WatchWatermarks(body::decode(bytes)?),
            Kind::JobCancel => Request::JobCancel(body::decode(bytes)?),
            Kind::Ping => body::decode(bytes).map(|()| Request::Ping)?,
            Kind::Keyspaces => body::decode(bytes).map(|()| Request::Keyspaces)?,
            Kind::Stats => body::decode(bytes).map(|()| Request::Stats)?,
            Kind::Watermarks => body::decode(bytes).map(|()| Request::Watermarks)?,
            Kind::Flush => body::decode(bytes).map(|()| Request::Flush)?,
            _ => unreachable!("{kind:?} is no request"),
        })
    }

    /// Checks the limits that the types do not express.
    fn check(&self) -> Result<(), Malformed> {
        if self.once().is_some_and(|once| once.is_empty() || once.len() > MAX_ONCE) {
            return Err(Malformed::new("an idempotency key has 1 to 64 bytes"));
        }
        match self {
            Request::JobWatch(watch) if watch.jobs.is_empty() => {
                Err(Malformed::new("a watch without jobs"))
            }
            Request::JobWatch(watch) if watch.jobs.len() > MAX_WATCHED => {
                Err(Malformed::new("a watch names at most 1024 jobs"))
            }
            _ => Ok(()),
        }
    }

    /// The idempotency key of a write.
    pub fn once(&self) -> Option<&'a [u8]> {
        match self {
            Request::Put(put) => put.once,
            Request::Delete(delete) => delete.once,
            Request::Batch(batch) => batch.once,
            _ => None,
        }
    }

    /// The kind of packet that it is.
    pub fn kind(&self) -> Kind {
        match self {
            Request::Hello(_) => Kind::Hello,
            Request::Ping => Kind::Ping,
            Request::Cancel(_) => Kind::Cancel,
            Request::Credit(_) => Kind::Credit,
            Request::Get(_) => Kind::Get,
            Request::Put(_) => Kind::Put,
            Request::Delete(_) => Kind::Delete,
            Request::Batch(_) => Kind::Batch,
            Request::Range(_) => Kind::Range,
            Request::Keyspaces => Kind::Keyspaces,
            Request::CreateKeyspace(_) => Kind::CreateKeyspace,
            Request::DropKeyspace(_) => Kind::DropKeyspace,
            Request::Stats => Kind::Stats,
            Request::Watermarks => Kind::Watermarks,
            Request::Flush => Kind::Flush,
            Request::Checkpoint(_) => Kind::Checkpoint,
            Request::Verify(_) => Kind::Verify,
            Request::JobStatus(_) => Kind::JobStatus,
            Request::JobWait(_) => Kind::JobWait,
            Request::JobWatch(_) => Kind::JobWatch,
            Request::WatchWatermarks(_) => Kind::WatchWatermarks,
            Request::JobCancel(_) => Kind::JobCancel,
        }
    }

    /// Writes the request's packet at the end of `out`. `deadline_ms` is 0 for none.
    ///
    /// # Errors
    /// The body is longer than the server takes: nothing was written.
    pub fn encode(
        &self,
        id: u64,
        deadline_ms: u32,
        max_body: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLarge> {
        let begun = Begun::new(out);
        match self {
            Request::Hello(hello) => body::encode(hello, out),
            Request::Cancel(cancel) => body::encode(cancel, out),
            Request::Credit(credit) => body::encode(credit, out),
            Request::Get(get) => body::encode(get, out),
            Request::Put(put) => body::encode(put, out),
            Request::Delete(delete) => body::encode(delete, out),
            Request::Batch(batch) => batch.encode(out),
            Request::Range(range) => body::encode(range, out),
            Request::CreateKeyspace(create) => body::encode(create, out),
            Request::DropKeyspace(drop) => body::encode(drop, out),
            Request::Checkpoint(checkpoint) => body::encode(checkpoint, out),
            Request::Verify(verify) => body::encode(verify, out),
            Request::JobStatus(status) => body::encode(status, out),
            Request::JobWait(wait) => body::encode(wait, out),
            Request::JobWatch(watch) => body::encode(watch, out),
            Request::WatchWatermarks(watch) => body::encode(watch, out),
            Request::JobCancel(cancel) => body::encode(cancel, out),
            Request::Ping
            | Request::Keyspaces
            | Request::Stats
            | Request::Watermarks
            | Request::Flush => {}
        }
        let head = Head { id, kind: self.kind().number(), part: Part::Last, deadline_ms };
        begun.finish(out, head, max_body)
    }
}
