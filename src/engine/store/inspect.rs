//! Looking at a store's files without opening it.

use std::fmt;
use std::sync::Arc;

use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Incarnation, Lsn, StoreId};
use crate::engine::commit::{CLASS_COMMIT, Op, Operations};
use crate::engine::disk::Disk;
use crate::engine::log::RecordScan;
use crate::engine::space::{DATA_FILE, Space};

/// One record of the log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogRecord {
    /// Where it begins.
    pub lsn: Lsn,
    /// Where it ends. The end of a commit's last record is the LSN of the commit.
    pub end: Lsn,
    /// The sync line when it was written.
    pub sync_line: Lsn,
    /// The life of the store that wrote it.
    pub incarnation: Incarnation,
    /// "full", or "first", "middle" or "last" if the transaction is in several records.
    pub kind: &'static str,
    /// Bytes of its payload.
    pub bytes: u64,
    /// Its operations; empty if it is a part of a transaction.
    pub operations: Vec<LoggedOperation>,
}

/// An operation in a record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LoggedOperation {
    /// A key was given a value.
    Put {
        /// The number of the keyspace.
        keyspace: u32,
        /// The key.
        key: Vec<u8>,
        /// The length of the value.
        value_bytes: u64,
    },
    /// A key was deleted.
    Delete {
        /// The number of the keyspace.
        keyspace: u32,
        /// The key.
        key: Vec<u8>,
    },
    /// A keyspace was created.
    CreateKeyspace {
        /// Its number.
        keyspace: u32,
        /// Its name.
        name: String,
    },
    /// A keyspace was dropped.
    DropKeyspace {
        /// Its number.
        keyspace: u32,
    },
    /// Housekeeping, or bytes that are no operation.
    Other(String),
}

/// Where the log ends.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogTail {
    /// The end of the last valid record.
    pub end: Lsn,
    /// Why the log ends there.
    pub reason: String,
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "end of the log at LSN {}: {}", self.end, self.reason)
    }
}

/// The contents of a superblock.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Description {
    /// The store's id.
    pub id: StoreId,
    /// Bytes of a page.
    pub page_bytes: u32,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// The life of the store that wrote the superblock.
    pub incarnation: Incarnation,
    /// Every commit up to here is in the data file.
    pub checkpoint: Lsn,
    /// Whether the store was closed: the log has nothing above the checkpoint.
    pub is_closed: bool,
}

/// Reads the superblock of the store on `disk`. Takes no lock and changes nothing.
///
/// # Errors
/// [`Error::NotAStore`], or the error of a damaged superblock.
pub fn describe(disk: &Arc<dyn Disk>) -> Result<Description> {
    let superblock = open_space(disk)?.superblock();
    Ok(Description {
        id: superblock.store,
        page_bytes: superblock.page_size,
        segment_bytes: superblock.segment_bytes,
        incarnation: superblock.head.incarnation,
        checkpoint: superblock.head.checkpoint,
        is_closed: superblock.head.clean,
    })
}

/// Calls `each` with every record that recovery would read, until it returns false. Takes no lock
/// and changes nothing. If the store is open, the records may not match any one moment.
///
/// # Errors
/// As [`describe`], or an error of reading a segment.
pub fn dump_log(disk: Arc<dyn Disk>, each: &mut dyn FnMut(LogRecord) -> bool) -> Result<LogTail> {
    let superblock = open_space(&disk)?.superblock();
    let head = superblock.head;
    let from = head.checkpoint.max(head.log_start);
    let mut scan = RecordScan::open(disk, superblock.life(), superblock.segment_bytes, from);
    let mut end = from;
    while let Some(record) = scan.next()? {
        end = record.header.end();
        let is_whole = record.header.kind == crate::engine::log::Kind::Full;
        let operations = match is_whole && record.header.class == CLASS_COMMIT {
            true => operations(record.payload),
            false => Vec::new(),
        };
        let shown = LogRecord {
            lsn: record.header.lsn,
            end,
            sync_line: record.header.sync_line,
            incarnation: head.incarnation,
            kind: record.header.kind.name(),
            bytes: record.payload.len() as u64,
            operations,
        };
        if !each(shown) {
            return Ok(LogTail { end, reason: "stopped there".into() });
        }
    }
    let reason = scan.stop().map_or("no more records".into(), |stop| {
        format!("{} at offset {}: {}", stop.file, stop.offset, stop.found)
    });
    Ok(LogTail { end, reason })
}

fn open_space(disk: &Arc<dyn Disk>) -> Result<Space> {
    if !disk.list()?.iter().any(|name| name == DATA_FILE) {
        let (directory, reason) = (disk.path(""), "holds no store".into());
        return Err(Error::NotAStore { directory, reason });
    }
    Space::open(&**disk)
}

fn operations(payload: &[u8]) -> Vec<LoggedOperation> {
    Operations::new(payload)
        .map(|op| match op {
            Ok(Op::Put { keyspace, key, value }) => LoggedOperation::Put {
                keyspace: keyspace.0,
                key: key.to_vec(),
                value_bytes: value.len() as u64,
            },
            Ok(Op::Delete { keyspace, key }) => {
                LoggedOperation::Delete { keyspace: keyspace.0, key: key.to_vec() }
            }
            Ok(Op::Create { keyspace, name }) => {
                LoggedOperation::CreateKeyspace { keyspace: keyspace.0, name: name.to_owned() }
            }
            Ok(Op::Drop { keyspace }) => LoggedOperation::DropKeyspace { keyspace: keyspace.0 },
            Ok(Op::Count { keyspace, count }) => {
                LoggedOperation::Other(format!("keyspace {} has {count} keys", keyspace.0))
            }
            Ok(Op::Trim { keyspace }) => LoggedOperation::Other(format!(
                "keyspace {} loses pages that it does not need",
                keyspace.0
            )),
            Err(error) => LoggedOperation::Other(error.to_string()),
        })
        .collect()
}
