//! The protocol between server and client: packets, and the messages in them. No I/O.
//!
//! ```text
//!   Request, Response     messages                 request, response, job, failure
//!        |
//!      body               their bytes              body, batch, entries
//!        |
//!     Packet              with length, checksum    packet (reading), writer
//!        |                and the request's id
//!   a byte buffer         in server or client
//! ```
//!
//! `PROTOCOL.md` is the specification, for clients in other languages. The tests check its examples.
//!
//! - PROTO-1 a length is checked against the limit before memory is reserved for it;
//! - PROTO-2 before its checksum was verified, only the length of a packet is acted upon;
//! - PROTO-3 a body is read whole: bytes that are left over make it malformed;
//! - PROTO-4 keys, values and texts are borrowed from the packet. A list grows by the items read, never
//!   by the length that it claims. So the memory for a packet is a small multiple of its bytes, and
//!   none at all for a get, put, delete or batch;
//! - PROTO-5 a message that is decoded and encoded again is the same, and the bytes of every kind are
//!   those of `tests/golden/proto/packets.txt`, whatever changes here;
//! - PROTO-6 a broken packet ends its connection, since the start of the next one is unknown. A malformed
//!   body or an unknown kind ends only its request;
//! - PROTO-7 the header, `Hello`, `Welcome` and `Error` are the same in every version.
//!
//! Left out: encryption (TLS does it), compression (better done by the application, on values), and a
//! number per packet against replay (TCP orders packets, TLS protects them).

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

pub use batch::{Batch, Mode, Op, Ops, OpsBuffer};
pub use body::{Malformed, Text};
pub use entries::{Entries, EntriesWriter, Rows};
pub use failure::{Code, Failure};
#[allow(unused_imports)] // only the service reads ids
pub(crate) use job::JobId;
pub use job::{CommitPosition, JobState};
pub use kind::Kind;
#[cfg(feature = "server")]
pub(crate) use packet::peek;
pub use packet::{Broken, HEADER, Head, MAX_BODY, MAX_HELLO, Packet, Part, Progress, decode};
#[allow(unused_imports)] // only server and client name it
pub(crate) use request::MARK_OPTION;
pub use request::{
    Answer, At, Bound, Cancel, Checkpoint, CreateKeyspace, Credit, Delete, Delivery, DropKeyspace,
    Existing, Get, Hello, JobCancel, JobStatus, JobWait, JobWatch, MAGIC, MAX_ONCE, MAX_WATCHED,
    Order, Put, Range, Refused, Request, VERSION, Verify, WatchWatermarks,
};
pub use response::{
    Applied, Figures, Goodbye, Job, JobEvent, Marks, MarksEvent, Response, Verified, Welcome,
    Written,
};
pub use writer::{Begun, TooLarge};
