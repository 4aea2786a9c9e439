//! The write-ahead log: the promise that a commit survives, kept with one flush for many.
//!
//! ```text
//!                 recycled                durable            appended     limit
//!   <-- spares --|            ...           |  being flushed  |   free     |
//!   segment n-2  |  segment n-1  |        segment n           | segment n+1 (prepared)
//!                                           ^                 ^
//!                               one leader moves it   one appender moves it
//! ```
//!
//! The log is an endless row of bytes, cut into segment files of one size ([`mod@format`]). Whoever
//! holds the [`Appender`] copies records into the mapped segment: no system call, no allocation of
//! disk space, no lock but for a moment when a segment is full. The keeper ([`keeper`]) has the
//! next segment, or more of the first one, ready before that. Whoever needs durability leads a flush of everything appended
//! so far, or waits for one who does ([`flush`]). After a crash the [`Scan`] reads the log back
//! and tells the torn tail of a crash from damage to what was durable ([`scan`]).
//!
//! Invariants, asserted:
//!
//! - LOG-1 a record goes only into a segment whose header and name are durable and whose blocks exist
//! - LOG-2 at most one flush runs at a time, and only its leader moves `durable`
//! - LOG-3 `durable` moves only to an `appended` that was read before the flush began, after the
//!   flush of every segment between the two has succeeded
//! - LOG-4 after one failed flush `durable` never moves again and nobody is told otherwise
//! - LOG-5 a record's `sync_line` is a `durable` read before the record was written; it is never
//!   above the record's own position
//! - LOG-6 a log writes only to files that it made itself, and flushed. What another one left, an
//!   earlier life or an attempt to begin that failed, is removed and not used again: a flush of
//!   it may have failed, and then what it shows, its length even, may never become durable
//! - LOG-7 a large payload is copied, under the commit lock, only into memory that was made ready
//!   outside of it: no page of the log is read from the device for it while others wait
//! - LOG-8 a segment is mapped as a whole and used as far as its file has blocks and a durable
//!   length: `limit` is never above that. The file grows ahead of the appender, never under the
//!   commit lock, and never becomes shorter while it is mapped
//! - LOG-9 a segment's header says how long its file is, durably before a record lies in what it grew by: a
//!   file that is shorter is damaged. Where that was not noted, one is that has a record above the longest
//!   step within its length, or the header of one that ends beyond it ([`steps`])
//! - LOG-10 the log of a closed store is removed once no superblock is left that needs it, and once a
//!   mark that it has been is durable ([`retire`])
//! - LOG-11 a segment is noted in the superblock before a record goes into it, or, if a superblock is
//!   being made at that moment, when that is done; and the segment with the byte before a
//!   checkpoint stays until a later one. So a log that is missing can be told ([`presence`])
//! - LOG-12 a file is removed or used again only if its header says that it is the store's ([`own`]), and
//!   no file of another is replaced
//! - LOG-13 a hole that a full disk was given lies below what recovery may need, no byte of it is written
//!   again, and its file is not used again ([`slide`])
//! - LOG-14 `durable <= appended <= limit`, unless the log is poisoned; the first two only grow (LSN-3)
//!
//! What is left out: compression and encryption (a payload is bytes); reading from the mapped
//! memory (the reader uses files, so that it sees what a recovery would see); any meaning of a
//! payload.

mod appender;
mod awaiting;
mod checksum;
mod company;
mod cursor;
mod flush;
pub(crate) mod format;
mod keeper;
mod later;
mod own;
mod presence;
mod retire;
mod scan;
mod segment;
mod slide;
mod steps;
#[cfg(test)]
mod tests;
mod threads;
mod waiter;

pub(crate) use appender::{Appender, Log, LogOptions};
pub(crate) use cursor::RecordScan;
pub(crate) use format::{Kind, is_end_of_record, segment_number};
pub(crate) use later::{Known, find_later};
pub(crate) use own::{Segments, is_segment};
pub(crate) use presence::{Witness, check_presence};
pub(crate) use scan::Scan;
pub(crate) use steps::LEAST_SEGMENT;
pub(crate) use threads::LogThreads;
