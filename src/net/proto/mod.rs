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
//!
//! - PROTO-1 a length is within the limit before room is made for what it announces;
//! - PROTO-2 nothing of a packet but its length is acted upon before its checksum was found right;
//! - PROTO-3 a body is read whole: bytes that are left over make it malformed;
//! - PROTO-4 keys, values and texts are borrowed from the packet; a list grows by what has been read,
//!   never by what it says of itself. So the memory for a packet is a small multiple of its bytes,
//!   and none at all for a get, put, delete or batch;
//! - PROTO-5 what is decoded and encoded again is the same message, and the bytes of every kind are
//!   those of `tests/golden/proto/packets.txt`, whatever changes here;
//! - PROTO-6 a broken packet is the end of its connection, since nobody knows where the next one
//!   begins; a malformed body or an unknown kind is the end of its request only;
//! - PROTO-7 the header, `Hello`, `Welcome` and `Error` are the same in every version.
//!
//! Left out: encryption and compression (TLS is for the one; the other is better done to values by
//! who knows them), and a number for each packet against replay (TCP orders them, TLS guards them).

mod batch;
mod body;
mod entries;
mod failure;
mod job;
mod kind;
mod packet;
mod request;
mod response;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

pub use batch::{Batch, Op, Ops, OpsBuffer};
pub use body::{Malformed, Text};
pub use entries::{Entries, EntriesWriter, Rows};
pub use failure::{Code, Failure};
#[allow(unused_imports)] // only the service reads ids
pub(crate) use job::JobId;
pub use job::JobState;
pub use kind::Kind;
#[cfg(feature = "server")]
pub(crate) use packet::peek;
pub use packet::{Broken, HEADER, Head, MAX_BODY, MAX_HELLO, Packet, Part, Progress, decode};
#[allow(unused_imports)] // only server and client name it
pub(crate) use request::MARK_OPTION;
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
