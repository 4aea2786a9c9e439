//! The protocol between server and client: packets, and the messages in them. No I/O.
//!
//! ```text
//!   Request, Response     what is said             request, response, job, failure
//!        |
//!      body               as bytes                 body, batch, entries
//!        |
//!     Packet              with length, checksum    packet (reading), writer
//!        |                and the request's id
//!   a byte buffer         in server or client
//! ```
//!
//! `PROTOCOL.md` is the specification, for those who write a client in another language; its
//! examples are checked here.

mod batch;
mod body;
mod entries;
mod failure;
mod job;
mod kind;
mod packet;
mod request;
mod response;
mod writer;

pub use batch::{Batch, Op, Ops, OpsBuffer};
pub use body::{Malformed, Text};
pub use entries::{Entries, EntriesWriter, Rows};
pub use failure::{Code, Failure};
#[allow(unused_imports)] // only the service reads ids
pub(crate) use job::JobId;
pub use job::JobState;
pub use kind::Kind;
pub use packet::{Broken, HEADER, Head, MAX_BODY, MAX_HELLO, Packet, Part, Progress, decode};
pub use request::{
    Answer, At, Bound, Cancel, Checkpoint, CreateKeyspace, Credit, Delete, Delivery, DropKeyspace,
    Existing, Get, Hello, JobCancel, JobStatus, JobWait, JobWatch, MAGIC, MAX_ONCE, MAX_WATCHED,
    Mode, Order, Put, Range, Refused, Request, VERSION, Verify, WatchWatermarks,
};
pub use response::{
    Applied, Figures, Goodbye, Job, JobEvent, Marks, MarksEvent, Place, Response, Verified,
    Welcome, Written,
};
pub use writer::{Begun, TooLarge};
