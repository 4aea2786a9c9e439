//! The write-ahead log: makes commits durable, many with one flush (group commit).
//!
//! ```text
//!                 recycled                durable            appended     limit
//!   <-- spares --|            ...           |  being flushed  |   free     |
//!   segment n-2  |  segment n-1  |        segment n           | segment n+1 (prepared)
//!                                           ^                 ^
//!                               one leader moves it   one appender moves it
//! ```
//!
//! The log is an endless row of bytes, cut into segment files of one size ([`mod@format`]). The holder
//! of the [`Appender`] copies records into the mapped segment: no system call, no allocation of disk
//! space, and no lock except for a moment when a segment is full. The preallocator ([`preallocate`]) makes
//! the next segment, or more of the first one, before that. A committer that needs durability leads a
//! flush of everything appended so far, or waits for another leader ([`flush`]). After a crash the
//! [`Scan`] reads the log back and tells a torn tail from damage to durable bytes ([`scan`]).
//!
//! Invariants, asserted:
//!
//! - LOG-1 a record goes only into a segment whose header and name are durable and whose blocks exist
//! - LOG-2 at most one flush runs at a time, and only its leader moves `durable`
//! - LOG-3 `durable` moves only to an `appended` that was read before the flush began, after the
//!   flush of every segment between the two has succeeded
//! - LOG-4 after one failed flush `durable` never moves again, and every later wait fails
//! - LOG-5 a record's `sync_line` is a `durable` read before the record was written; it is never
//!   above the record's own position
//! - LOG-6 a log writes only to files that it made and flushed itself. Files of an earlier life, or of a
//!   failed attempt to begin, are removed and not recycled: if a flush of them failed, their content and
//!   even their length may never become durable
//! - LOG-7 a large payload is copied, under the commit lock, only into memory that was prefaulted
//!   outside of it: no page of the log is read from the device while other commits wait
//! - LOG-8 a segment is mapped as a whole and used as far as its file has blocks and a durable
//!   length: `limit` is never above that. The file grows ahead of the appender, never under the
//!   commit lock, and never becomes shorter while it is mapped
//! - LOG-9 a segment's header holds the length of its file, durably before a record goes into the part that
//!   it grew by: a file that is shorter is damaged. Where the header holds no length, a file is damaged if
//!   a record ends above the longest step within its length, or beyond its end ([`steps`])
//! - LOG-10 the log of a closed store is removed once no superblock is left that needs it, and once a
//!   mark in its place is durable ([`retire`])
//! - LOG-11 a segment is noted in the superblock before a record goes into it; if a superblock is being
//!   made at that moment, right after that. The segment with the byte before a checkpoint stays until the
//!   next checkpoint. So recovery can detect that a log is missing ([`presence`])
//! - LOG-12 a file is removed or recycled only if its header says that it is the store's ([`ownership`]), and
//!   no other file is replaced
//! - LOG-13 a hole punched on a full disk lies below what recovery may need, no byte of it is written
//!   again, and its file is not recycled ([`punch`])
//! - LOG-14 `durable <= appended <= limit`, unless the log is poisoned; the first two only grow (LSN-3)
//!
//! Left out: compression and encryption (a payload is bytes); reading from the mapped memory (the
//! reader uses files, so that it sees what a recovery would see); any meaning of a payload.

mod appender;
mod awaiting;
mod checksum;
mod cursor;
mod flush;
pub(crate) mod format;
mod group_delay;
mod newer_log;
mod ownership;
mod preallocate;
mod presence;
mod punch;
mod retire;
mod scan;
mod segment;
mod steps;
#[cfg(test)]
mod tests;
mod threads;
mod waiter;

pub(crate) use appender::{Appender, Log, LogOptions};
pub(crate) use cursor::RecordScan;
pub(crate) use format::{Kind, is_end_of_record, segment_number};
pub(crate) use newer_log::{KnownLife, find_newer_log};
pub(crate) use ownership::{Segments, is_segment};
pub(crate) use presence::{LogRegistry, check_presence};
pub(crate) use scan::Scan;
pub(crate) use steps::LEAST_SEGMENT;
pub(crate) use threads::LogThreads;
