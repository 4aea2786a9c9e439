//! Answers and pushes of a server.
//!
//! Fields are in the order in which they are on the wire; `PROTOCOL.md` is the same in words.

use serde::{Deserialize, Serialize};

use super::body::{self, Malformed, Text};
use super::entries::Entries;
use super::failure::{Code, Failure};
use super::job::{CommitPosition, JobState};
use super::kind::Kind;
use super::packet::{Head, Packet, Part};
use super::request::Refused;
use super::writer::{Begun, TooLarge};

/// An answer, or a push.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)] // documented by their types
pub enum Response<'a> {
    Welcome(Welcome<'a>),
    Error(Failure<'a>),
    Pong,
    Done,
    /// The value of the key, if it has one.
    Value(Option<&'a [u8]>),
    Written(Written),
    Entries(Entries<'a>),
    /// The names of all keyspaces, sorted.
    Names(Vec<Text<'a>>),
    Figures(Figures<'a>),
    Marks(Marks),
    Job(Job<'a>),
    JobEvent(JobEvent<'a>),
    MarksEvent(MarksEvent),
    Verified(Verified<'a>),
    Goodbye(Goodbye<'a>),
}

/// The answer to `Hello`. Its layout is the same in every version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome<'a> {
    /// The protocol version of the connection.
    pub version: u16,
    /// The store's id.
    pub store: [u8; 16],
    /// The present incarnation.
    pub incarnation: u32,
    /// The server's name and version.
    #[serde(borrow)]
    pub server: Text<'a>,
    /// The longest body that the server takes.
    pub max_body: u32,
    /// The most requests in flight.
    pub max_in_flight: u32,
    /// The most streams and watches.
    pub max_subscriptions: u32,
    /// After this time without a packet the server ends the connection; 0 for never.
    pub idle_timeout_ms: u32,
    /// Names and values, for later versions. A client ignores those that it does not know.
    #[serde(borrow, deserialize_with = "body::growing")]
    pub options: Vec<(Text<'a>, Text<'a>)>,
}

/// When a write was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// By this request.
    Now,
    /// By an earlier one with the same idempotency key.
    Before,
}

/// The answer to a write in mode `Sync` or `Async`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its position, which makes the job id together with the store's id.
    pub receipt: CommitPosition,
    /// Whether it is known to survive a power loss.
    pub durable: bool,
    /// Whether this request applied it.
    pub applied: Applied,
}

/// The answer to `Stats`. New figures may come at any time, in any place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures<'a> {
    /// The watermarks.
    pub marks: Marks,
    /// Names and numbers.
    #[serde(borrow, deserialize_with = "body::growing")]
    pub figures: Vec<(Text<'a>, u64)>,
}

/// The watermarks: `checkpoint <= durable <= appended`, `visible <= appended`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The incarnation.
    pub incarnation: u32,
    /// Commits up to here survive a kill of the process.
    pub appended: u64,
    /// Commits up to here can be read.
    pub visible: u64,
    /// Commits up to here survive a power loss.
    pub durable: u64,
    /// Commits up to here are in the data file.
    pub checkpoint: u64,
}

/// A job and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Job<'a> {
    #[serde(borrow)]
    pub job: Text<'a>,
    #[serde(borrow)]
    pub state: JobState<'a>,
}

/// Tells of a job that is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvent<'a> {
    /// Its id, as the watch named it.
    #[serde(borrow)]
    pub job: Text<'a>,
    /// Its state now.
    #[serde(borrow)]
    pub state: JobState<'a>,
    /// Events of this watch that were skipped for lack of credit. Never the end of a job.
    pub skipped: u64,
}

/// Tells that the watermarks moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarksEvent {
    /// Where they are now.
    pub marks: Marks,
    /// Events of this watch that were skipped for lack of credit.
    pub skipped: u64,
}

/// The answer to `Verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified<'a> {
    /// The problems, in words; none in a sound store.
    #[serde(borrow, deserialize_with = "body::growing")]
    pub problems: Vec<Text<'a>>,
    /// The number of keyspaces.
    pub keyspaces: u64,
    /// The number of keys in all keyspaces.
    pub keys: u64,
    /// The number of pages.
    pub pages: u64,
    /// Blocks of the data file that the last checkpoint does not use; 2^64 - 1 if that is not known.
    pub free_blocks: u64,
}

impl Verified<'_> {
    /// A number that is not known.
    pub const UNKNOWN: u64 = u64::MAX;
}

/// Announces the end of the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye<'a> {
    /// Why.
    pub code: Code,
    /// The same for people.
    #[serde(borrow)]
    pub message: Text<'a>,
    /// For this time requests in flight are still answered. New ones are refused.
    pub drain_ms: u32,
}

/// `Value`'s body.
#[derive(Serialize, Deserialize)]
struct ValueBody<'a>(#[serde(with = "serde_bytes", borrow)] Option<&'a [u8]>);

/// `Names`'s body.
#[derive(Deserialize)]
struct NamesBody<'a>(#[serde(borrow, deserialize_with = "body::growing")] Vec<Text<'a>>);

impl<'a> Response<'a> {
    /// Reads the answer in a packet.
    ///
    /// # Errors
    /// The kind is that of no answer, or the body is malformed.
    pub fn decode(packet: &Packet<'a>) -> Result<Response<'a>, Refused> {
        let (kind, bytes) = (packet.head.kind, packet.body);
        let known = Kind::from_number(kind).filter(|kind| !kind.is_request());
        Ok(match known.ok_or(Refused::UnknownKind(kind))? {
            Kind::Value => {
                let ValueBody(value) = body::decode(bytes)?;
                Response::Value(value)
            }
            Kind::Written => Response::Written(body::decode(bytes)?),
            Kind::Entries => Response::Entries(Entries::decode(bytes)?),
            Kind::Welcome => Response::Welcome(body::decode(bytes)?),
            Kind::Error => Response::Error(body::decode(bytes)?),
            Kind::Pong => body::decode(bytes).map(|()| Response::Pong)?,
            Kind::Done => body::decode(bytes).map(|()| Response::Done)?,
            Kind::Names => {
                let NamesBody(names) = body::decode(bytes)?;
                Response::Names(names)
            }
            Kind::Figures => Response::Figures(body::decode(bytes)?),
            Kind::Marks => Response::Marks(body::decode(bytes)?),
            Kind::Job => Response::Job(body::decode(bytes)?),
            Kind::JobEvent => Response::JobEvent(body::decode(bytes)?),
            Kind::MarksEvent => Response::MarksEvent(body::decode(bytes)?),
            Kind::Verified => Response::Verified(body::decode(bytes)?),
            Kind::Goodbye => Response::Goodbye(body::decode(bytes)?),
            kind => return Err(Malformed::new(format!("{} is no answer", kind.name())).into()),
        })
    }

    /// The kind of packet that it is.
    pub fn kind(&self) -> Kind {
        match self {
            Response::Welcome(_) => Kind::Welcome,
            Response::Error(_) => Kind::Error,
            Response::Pong => Kind::Pong,
            Response::Done => Kind::Done,
            Response::Value(_) => Kind::Value,
            Response::Written(_) => Kind::Written,
            Response::Entries(_) => Kind::Entries,
            Response::Names(_) => Kind::Names,
            Response::Figures(_) => Kind::Figures,
            Response::Marks(_) => Kind::Marks,
            Response::Job(_) => Kind::Job,
            Response::JobEvent(_) => Kind::JobEvent,
            Response::MarksEvent(_) => Kind::MarksEvent,
            Response::Verified(_) => Kind::Verified,
            Response::Goodbye(_) => Kind::Goodbye,
        }
    }

    /// Writes the packet of the only or last answer to request `id` at the end of `out`.
    ///
    /// # Errors
    /// The body is longer than the client takes: nothing was written.
    pub fn encode(&self, id: u64, max_body: u32, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        self.encode_part(id, Part::Last, max_body, out)
    }

    /// As [`Response::encode`], for an answer that others may follow.
    ///
    /// # Errors
    /// As [`Response::encode`].
    pub fn encode_part(
        &self,
        id: u64,
        part: Part,
        max_body: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLarge> {
        if let Response::Value(Some(value)) = self
            && value.len() >= max_body as usize
        {
            return Err(TooLarge { len: value.len(), max: max_body });
        }
        let begun = Begun::new(out);
        match self {
            Response::Value(value) => body::encode(&ValueBody(*value), out),
            Response::Written(written) => body::encode(written, out),
            Response::Entries(entries) => entries.encode(out),
            Response::Welcome(welcome) => body::encode(welcome, out),
            Response::Error(failure) => body::encode(failure, out),
            Response::Pong | Response::Done => {}
            Response::Names(names) => body::encode(names, out),
            Response::Figures(figures) => body::encode(figures, out),
            Response::Marks(marks) => body::encode(marks, out),
            Response::Job(job) => body::encode(job, out),
            Response::JobEvent(event) => body::encode(event, out),
            Response::MarksEvent(event) => body::encode(event, out),
            Response::Verified(verified) => body::encode(verified, out),
            Response::Goodbye(goodbye) => body::encode(goodbye, out),
        }
        let head = Head { id, kind: self.kind().number(), part, deadline_ms: 0 };
        begun.finish(out, head, max_body)
    }
}
